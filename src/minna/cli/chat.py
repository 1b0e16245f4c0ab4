"""`minna chat MODEL`: talk with a model, turn by turn."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from minna.cli.output import JsonOption, emit
from minna.cli.talk import Talk, closed_quietly, piped, typed
from minna.errors import MinnaError, UsageError

if TYPE_CHECKING:
    from minna.runtime.chat import Chat


def chat(
    model: Annotated[Path, typer.Argument(help="A model dir, as transformers loads it.")],
    *,
    once: Annotated[str | None, typer.Option(help="Ask this one question, and end.")] = None,
    system: Annotated[str | None, typer.Option(help="The system turn.")] = None,
    fmt: Annotated[
        str | None,
        typer.Option(
            "--format",
            help="A prompt format by name or file, in place of the model's own chat template "
            "(`minna list formats`).",
        ),
    ] = None,
    max_new_tokens: Annotated[
        int | None, typer.Option(help="Longest answer (default: 512, or what fits).")
    ] = None,
    temperature: Annotated[
        float | None, typer.Option(help="0 takes the most likely (default: the model's setting).")
    ] = None,
    top_p: Annotated[
        float | None, typer.Option(help="Keep the most likely tokens up to this probability.")
    ] = None,
    top_k: Annotated[int | None, typer.Option(help="Keep the k most likely tokens.")] = None,
    repetition_penalty: Annotated[
        float | None, typer.Option(help="Above 1: tokens already there become less likely.")
    ] = None,
    seed: Annotated[int, typer.Option(help="The same seed gives the same answers.")] = 0,
    dtype: Annotated[str, typer.Option(help="auto, fp32, bf16, fp16, int8 or int4.")] = "auto",
    threads: Annotated[int | None, typer.Option(help="CPU threads (default: torch's).")] = None,
    as_json: JsonOption = False,
) -> None:
    """Talk with MODEL: questions are typed, or lines of a pipe; /help lists commands.

    Example: minna chat build/chat/model --once こんにちは。
    """
    from minna import prompts

    at_terminal = once is None and sys.stdin.isatty()
    if as_json and at_terminal:
        raise UsageError(
            "--json prints one result at the end, and a terminal has no end",
            remedy="give --once TEXT, or questions on stdin, one a line",
        )
    chosen = prompts.load(fmt) if fmt is not None else None

    import torch

    from minna.runtime.chat import Chat, open_asks
    from minna.runtime.generate import default_sampling
    from minna.runtime.load import check_dtype, load_model

    if threads is not None:
        torch.set_num_threads(threads)
    known = check_dtype(dtype)
    asks = open_asks(model, chosen)
    loaded = load_model(model, dtype=known)
    sampling = default_sampling(
        loaded,
        seed=seed,
        temperature=temperature,
        top_p=top_p,
        top_k=top_k,
        repetition_penalty=repetition_penalty,
    )
    made = Chat(loaded, asks, sampling=sampling, max_new_tokens=max_new_tokens, system=system)
    talk = Talk(
        made,
        place="terminal" if at_terminal else "pipe",
        shown="nothing" if as_json else "answers",
    )
    with closed_quietly():
        try:
            if once is not None:
                talk.ask(once)
            else:
                talk.run(typed() if at_terminal else piped())
        except MinnaError:
            if as_json and talk.replies:  # what was answered before is not lost
                _print(talk, made, model=model, fmt=fmt)
            raise
        if as_json:
            _print(talk, made, model=model, fmt=fmt)


def _print(talk: Talk, made: Chat, *, model: Path, fmt: str | None) -> None:
    turns = [{"role": "system", "text": made.system}] if made.system is not None else []
    turns += [{"role": turn.role, "text": turn.text} for turn in made.turns]
    answers = [asdict(reply) for reply in talk.replies]
    emit(
        {"model": str(model), "format": fmt, "turns": turns, "answers": answers},
        as_json=True,
        text="",
    )
