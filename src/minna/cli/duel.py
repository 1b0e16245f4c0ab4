"""`minna duel MODEL MODEL ...`: who answers better, by a judge."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from minna.cli.output import JsonOption, emit

if TYPE_CHECKING:
    from collections.abc import Mapping


def duel(
    models: Annotated[list[Path], typer.Argument(help="Two or more model dirs.")],
    *,
    on: Annotated[Path, typer.Option(help="The dialogue corpus whose questions are asked.")],
    judge: Annotated[
        str, typer.Option(help="rule:NAME, rule:FILE.py:NAME, or a reward model's folder.")
    ],
    out: Annotated[Path, typer.Option(help="The directory to write.")],
    split: Annotated[str, typer.Option(help="train, valid or test.")] = "test",
    limit: Annotated[int, typer.Option(help="Questions.")] = 200,
    answer_tokens: Annotated[int, typer.Option(help="Longest answer.")] = 64,
    temperature: Annotated[float, typer.Option(help="0 takes the most likely.")] = 0.7,
    top_p: Annotated[float, typer.Option(help="Keep the most likely up to this.")] = 1.0,
    seed: Annotated[int, typer.Option(help="Of the answers.")] = 0,
    fmt: Annotated[
        str, typer.Option("--format", help="Ask all in this prompt format, not by their templates.")
    ] = "",
    as_json: JsonOption = False,
) -> None:
    """Ask models the same held-out questions and count whose answers a judge likes better.

    Example: minna duel build/sft build/ppo --on build/keywords --judge rule:keywords
    --out build/duel
    """
    from minna.cli.output import checked
    from minna.evaluate.duel import PAGE, DuelSettings, read_duel
    from minna.evaluate.duel import duel as meet

    settings = checked(
        DuelSettings,
        {
            "judge": judge,
            "split": split,
            "limit": limit,
            "answer_tokens": answer_tokens,
            "temperature": temperature,
            "top_p": top_p,
            "seed": seed,
            "format": fmt,
        },
    )
    done = meet(models, on=on, out=out, settings=settings)
    result = read_duel(done)
    text = "\n".join([*lines(result), f"look at {done / PAGE}"])
    emit(result | {"path": done.as_posix()}, as_json=as_json, text=text)


def lines(result: Mapping[str, Any]) -> list[str]:
    """What came of a duel, for people."""
    told = [f"{result['questions']} questions, judged by {result['judge']}:"]
    for one in result["models"]:
        score = one["score"]
        told.append(
            f"  {one['name']:<24} score {score['value']:6.3f} [{score['low']:.3f}, "
            f"{score['high']:.3f}]  ended {one['ended']:.0%}  repeated {one['repeated']:.1%}"
        )
    for one in result["meetings"]:
        rate = one["rate"]
        told.append(
            f"  {one['model']} over {one['over']}: wins {one['wins']:.0%}, ties {one['ties']:.0%}, "
            f"losses {one['losses']:.0%}; win rate {rate['value']:.1%} [{rate['low']:.1%}, "
            f"{rate['high']:.1%}]"
        )
    return told
