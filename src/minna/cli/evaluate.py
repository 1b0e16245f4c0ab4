"""`minna evaluate MODEL` and `minna compare REPORT...`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from minna.cli.output import JsonOption, emit


def evaluate(
    model: Annotated[Path, typer.Argument(help="A model dir or a release.")],
    *,
    corpus: Annotated[Path, typer.Option(help="The corpus whose held-out text is scored.")],
    out: Annotated[Path, typer.Option(help="The report directory to write.")],
    split: Annotated[str, typer.Option(help="train, valid or test.")] = "test",
    references: Annotated[
        bool,
        typer.Option("--references", help="Measure Kneser-Ney and xz on the same documents too."),
    ] = False,
    limit: Annotated[
        int | None, typer.Option(help="At most this many documents, spread over the split.")
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")] = "auto",
    dtype: Annotated[str, typer.Option(help="fp32, bf16, fp16 or auto.")] = "fp32",
    as_json: JsonOption = False,
) -> None:
    """Measure bits per byte of MODEL on held-out text, with 95 % intervals.

    Example: minna evaluate build/model --corpus build/corpus --references --out build/report
    """
    from minna.cli.output import checked
    from minna.evaluate import REFERENCES, EvaluateSettings, read_report
    from minna.evaluate import evaluate as measure

    settings = checked(
        EvaluateSettings,
        {
            "split": split,
            "limit": limit,
            "references": REFERENCES if references else (),
            "device": device,
            "dtype": dtype,
        },
    )
    measure(model, corpus=corpus, out=out, settings=settings)
    report = read_report(out)
    task = report.tasks[0]
    rows = {"model": task.metrics["bits_per_byte"]}
    rows |= {name: item.metrics["bits_per_byte"] for name, item in task.references.items()}
    lines = [f"{out}: {task.n} documents of {task.data.title}, split {task.data.split!r}"]
    for name, metric in rows.items():
        span = f"  [{metric.low:.4f}, {metric.high:.4f}]" if metric.low is not None else ""
        lines.append(f"  {name:<12} {metric.value:.4f} bits per byte{span}")
    lines.append(f"look at {out / 'report.html'}")
    result = report.model_dump(mode="json", by_alias=True) | {"path": out.as_posix()}
    emit(result, as_json=as_json, text="\n".join(lines))


def compare(
    reports: Annotated[list[Path], typer.Argument(help="Reports; the first is the base.")],
    *,
    as_json: JsonOption = False,
) -> None:
    """Put reports of the same task and documents beside each other.

    Example: minna compare build/report-a build/report-b
    """
    from minna.evaluate import compare as beside

    comparison = beside(reports)
    emit(comparison.as_json(), as_json=as_json, text=comparison.table())
