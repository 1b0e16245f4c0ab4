"""`minna pipeline NAME` and `minna quickstart`: everything in order, then what came of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from minna.cli.duel import lines as duel_lines
from minna.cli.output import JsonOption, emit

_SHOWN: Final = 4
_EXPECT: Final = {
    "quickstart": (
        "At this size it writes short, mostly grammatical sentences. It knows no facts, keeps to",
        "no topic over several sentences, and cannot translate.",
        "",
    )
}
UntilOption = Annotated[
    str | None, typer.Option(help="End with this part or stage (`minna list pipelines NAME`).")
]


def pipeline(
    name: Annotated[str, typer.Argument(help="A pipeline's name, or a .toml file.")],
    overrides: Annotated[
        list[str] | None, typer.Argument(help="Settings to change, as stage.key=value.")
    ] = None,
    *,
    out: Annotated[Path, typer.Option(help="Where every stage's directory goes.")],
    until: UntilOption = None,
    as_json: JsonOption = False,
) -> None:
    """Run every stage of a pipeline; what is done already is skipped.

    A stage is named by its `out`: corpus.path=talks, run.train.steps=200. What a pipeline needs to
    be told (`minna list pipelines NAME`) is told so too.

    Example: minna pipeline laptop-hubert --out build/speech corpus.path=sentences.txt
    """
    _run(name, out, overrides=overrides or [], until=until, as_json=as_json)


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
    _run("quickstart", out, overrides=[], until=until, as_json=as_json)


def _run(name: str, out: Path, *, overrides: list[str], until: str | None, as_json: bool) -> None:
    from minna.train.allocator import restart_tuned

    restart_tuned()
    from minna import pipeline as pipelines

    chosen = pipelines.load(name, overrides=overrides)
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
    for stage in chosen.stage:
        if stage.verb in _TOLD:
            lines += _TOLD[stage.verb](out / stage.out, result)
    if (last := ends.get("duel")) is not None:
        lines += ["", *_answering(last, out)]
    if place is not None:
        lines += ["", *_EXPECT.get(name, ()), *_closing(place, ends)]
    emit(result, as_json=as_json, text="\n".join(lines))


def _continue(model: Path, prompts: tuple[str, ...]) -> dict[str, str]:
    from minna.runtime.generate import GenerateSettings, generate
    from minna.runtime.load import load_model
    from minna.runtime.sampling import Sampling

    sampling = Sampling(temperature=0.7, top_p=0.9, seed=0)
    settings = GenerateSettings(max_new_tokens=40, sampling=sampling)
    results = generate(load_model(model), list(prompts), settings=settings)
    return {prompt: result.text for prompt, result in zip(prompts, results, strict=True)}


def _judged(report: Path, result: dict[str, Any]) -> list[str]:
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
    lines: list[str] = []
    if bits:
        result["bits_per_byte"] = bits
        lines += ["", "Bits per byte on held-out text (lower is better):"]
        lines += [f"  {key:<12} {value:.3f}" for key, value in bits.items()]
    if tasks:
        result.setdefault("tasks", {}).update(tasks)
        lines += ["", "Tasks, each by its main metric:"]
        lines += [f"  {key:<28} {value:6.2f}" for key, value in tasks.items()]
    return lines


def _heard(report: Path, result: dict[str, Any]) -> list[str]:
    """How much of what is said a recogniser gets wrong."""
    from minna.evaluate import read_report
    from minna.evaluate.wording import metric_name, shown

    found = read_report(report)
    (task,) = found.tasks
    values = {name: one.value for name, one in task.metrics.items()}
    result.setdefault("recognition", {})[report.name] = values
    return [
        "",
        f"{found.model_name} on {task.n:,} clips of the split {task.data.split}:",
        *(f"  {metric_name(name):<38} {shown(one)}" for name, one in task.metrics.items()),
    ]


def _met(duel: Path, result: dict[str, Any]) -> list[str]:
    """Whose answers are better."""
    from minna.evaluate.duel import read_duel

    met = read_duel(duel)
    result.setdefault("duels", []).append(met)
    return ["", *duel_lines(met)]


_TOLD: Final[dict[str, Callable[[Path, dict[str, Any]], list[str]]]] = {
    "evaluate": _judged,
    "transcribe": _heard,
    "duel": _met,
}
"""What is said of a report, which also goes into the result for machines."""


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


def _closing(model: Path, ends: dict[str, Path]) -> list[str]:
    """Where the model lies, what to try next."""
    run = ends.get("train")
    card = " (README.md is its card)" if "release" in ends else ""
    tries = [f"  minna generate {model} 日本の --samples 5"]
    if "transcribe" in ends:
        tries = [f"  minna transcribe {model} RECORDING"]
    elif "label kmeans" in ends:  # an encoder: it says nothing by itself
        tries = []
    return [
        f"The model is {model}{card}; transformers loads it as it is.",
        "Try next:",
        *tries,
        f"  minna inspect {model}",
        *([f"  open {run / 'report.html'}"] if run is not None else []),
    ]
