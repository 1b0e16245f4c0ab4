"""`minna pipeline NAME` and `minna quickstart`: everything in order, then what came of it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from minna.cli.duel import lines as duel_lines
from minna.cli.output import JsonOption, emit

_SHOWN = 4
UntilOption = Annotated[
    str | None, typer.Option(help="End with this part or stage (`minna list pipelines NAME`).")
]


def pipeline(
    name: Annotated[str, typer.Argument(help="A pipeline's name, or a .toml file.")],
    *,
    out: Annotated[Path, typer.Option(help="Where every stage's directory goes.")],
    until: UntilOption = None,
    as_json: JsonOption = False,
) -> None:
    """Run every stage of a pipeline; what is done already is skipped.

    Example: minna pipeline quickstart --out build/quickstart
    """
    _run(name, out, until=until, as_json=as_json)


def quickstart(
    *,
    out: Annotated[Path, typer.Option(help="Where everything goes.")] = Path("build/quickstart"),
    until: UntilOption = None,
    as_json: JsonOption = False,
) -> None:
    """From raw Japanese text to a released GPT that answers, in minutes on two CPU cores.

    Pre-training, supervised tuning, a reward model and PPO, each judged beside the one before.
    `--until pretrain` ends with the released GPT, in about ten minutes.

    Example: minna quickstart --until pretrain
    """
    _run("quickstart", out, until=until, as_json=as_json)


def _run(name: str, out: Path, *, until: str | None, as_json: bool) -> None:
    from minna.train.allocator import restart_tuned

    restart_tuned()
    from minna import pipeline as pipelines
    from minna.evaluate.duel import read_duel

    chosen = pipelines.load(name)
    if until is not None:
        chosen = pipelines.until(chosen, until)
    seconds = pipelines.run(chosen, out=out)
    ends = {stage.verb: out / stage.out for stage in chosen.stage}
    result: dict[str, Any] = {"out": str(out), "seconds": seconds}
    lines = [f"finished in {sum(seconds.values()):.0f} s; everything is in {out}"]
    place = ends.get("release", ends.get("export"))
    if place is not None and chosen.show:
        samples = _continue(place, chosen.show)
        result["samples"] = samples
        lines += ["", "It continues Japanese:", *(f"  {p} → {p}{t}" for p, t in samples.items())]
    for report in (out / stage.out for stage in chosen.stage if stage.verb == "evaluate"):
        bits, tasks = _figures(report)
        if bits:
            result["bits_per_byte"] = bits
            lines += ["", "Bits per byte on held-out text (lower is better):"]
            lines += [f"  {key:<12} {value:.3f}" for key, value in bits.items()]
        if tasks:
            result.setdefault("tasks", {}).update(tasks)
            lines += ["", "Tasks, each by its main metric:"]
            lines += [f"  {key:<28} {value:6.2f}" for key, value in tasks.items()]
    for stage in chosen.stage:
        if stage.verb == "duel":
            met = read_duel(out / stage.out)
            result.setdefault("duels", []).append(met)
            lines += ["", *duel_lines(met)]
    if (last := ends.get("duel")) is not None:
        lines += ["", *_answering(last, out)]
    if place is not None:
        lines += ["", *_closing(name, place, ends)]
    emit(result, as_json=as_json, text="\n".join(lines))


def _continue(model: Path, prompts: tuple[str, ...]) -> dict[str, str]:
    from minna.runtime.generate import GenerateSettings, generate
    from minna.runtime.load import load_model
    from minna.runtime.sampling import Sampling

    sampling = Sampling(temperature=0.7, top_p=0.9, seed=0)
    settings = GenerateSettings(max_new_tokens=40, sampling=sampling)
    results = generate(load_model(model), list(prompts), settings=settings)
    return {prompt: result.text for prompt, result in zip(prompts, results, strict=True)}


def _figures(report: Path) -> tuple[dict[str, float], dict[str, float]]:
    """Bits per byte of the model and its references, and the main metric of every task."""
    from minna.evaluate import read_report

    bits: dict[str, float] = {}
    tasks: dict[str, float] = {}
    for task in read_report(report).tasks:
        if task.name != "bits_per_byte":
            tasks[task.full_name] = task.metrics[task.main].value
            continue
        bits["this model"] = task.metrics[task.main].value
        bits |= {
            name: reference.metrics[task.main].value for name, reference in task.references.items()
        }
    return bits, tasks


def _answering(duel: Path, out: Path) -> list[str]:
    """Some answers of the last model of a duel, what to expect of it, and how to ask it."""
    from minna.evaluate.duel import read_answers

    rows = read_answers(duel)[:: max(1, len(read_answers(duel)) // _SHOWN)][:_SHOWN]
    name = list(rows[0]["answers"])[-1]
    return [
        f"{name} answers questions that it has not seen:",
        *(f"  {row['turns'][-1][1]} → {row['answers'][name]['text']}" for row in rows),
        "It writes a sentence with given words in a given style, and follows no other instruction.",
        f"  minna chat {out / name} --once 「海」で丁寧な文",
    ]


def _closing(name: str, model: Path, ends: dict[str, Path]) -> list[str]:
    """What to expect of it, where it lies, what to try next."""
    run = ends.get("train")
    card = " (README.md is its card)" if "release" in ends else ""
    expect = (
        "At this size it writes short, mostly grammatical sentences. It knows no facts, keeps to",
        "no topic over several sentences, and cannot translate.",
        "",
    )
    return [
        *(expect if name == "quickstart" else ()),
        f"The model is {model}{card}; transformers loads it as it is.",
        "Try next:",
        f"  minna generate {model} 日本の --samples 5",
        f"  minna inspect {model}",
        *([f"  open {run / 'report.html'}"] if run is not None else []),
    ]
