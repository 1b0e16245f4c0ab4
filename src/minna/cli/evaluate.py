"""`minna evaluate MODEL` and `minna compare REPORT...`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from minna.cli.output import JsonOption, emit

if TYPE_CHECKING:
    from minna.evaluate import Report, Server
    from minna.evaluate.report import Metric, Task


def evaluate(
    model: Annotated[
        str,
        typer.Argument(help="A model dir, a Hugging Face folder, or the URL of a server."),
    ],
    *,
    out: Annotated[Path, typer.Option(help="The report directory to write.")],
    suite: Annotated[
        str | None, typer.Option(help="A set of tasks: jp8 (the paper's eight), ja-open, ...")
    ] = None,
    tasks: Annotated[
        str | None, typer.Option(help="Tasks by comma: jnli, jnli-1.1-0.2, my/task.toml.")
    ] = None,
    data: Annotated[
        Path | None, typer.Option(help="Folder of the tasks' data; without it, from the Hub.")
    ] = None,
    corpus: Annotated[
        Path | None, typer.Option(help="The corpus whose held-out text is scored.")
    ] = None,
    mode: Annotated[
        str | None,
        typer.Option(help="compat (the paper's harness, bug for bug) or fixed (our rules)."),
    ] = None,
    prompt: Annotated[
        str | None,
        typer.Option(
            "--prompt",
            "--prompt-version",
            help="Which prompts, such as 0.2 or 0.4; see `minna list tasks`.",
        ),
    ] = None,
    versions: Annotated[
        str | None, typer.Option(help="Which task versions of the suite: ja8 or paper.")
    ] = None,
    num_fewshot: Annotated[
        str | None, typer.Option(help="Examples before a question: 3, or 3,3,2,... by task.")
    ] = None,
    limit: Annotated[
        int | None, typer.Option(help="At most this many items of a task or documents.")
    ] = None,
    missing: Annotated[
        str, typer.Option(help="When a task cannot be asked (no data): refuse or skip.")
    ] = "refuse",
    split: Annotated[str, typer.Option(help="Of the corpus: train, valid or test.")] = "test",
    references: Annotated[
        bool,
        typer.Option("--references", help="Measure Kneser-Ney and xz on the same documents too."),
    ] = False,
    plain: Annotated[
        bool, typer.Option("--plain", help="Ask one thing at a time: slow, the reference.")
    ] = False,
    backend: Annotated[str, typer.Option(help="auto, minna or transformers.")] = "auto",
    served_name: Annotated[
        str | None, typer.Option(help="The model's name on the server of a URL.")
    ] = None,
    tokenizer: Annotated[
        Path | None, typer.Option(help="The tokenizer of the model behind a URL.")
    ] = None,
    api_key_env: Annotated[
        str, typer.Option(help="Environment variable that holds the server's API key.")
    ] = "",
    max_length: Annotated[
        int | None, typer.Option(help="Tokens that the model behind a URL reads.")
    ] = None,
    batch_tokens: Annotated[
        int | None, typer.Option(help="Tokens read in one call; bounds the memory.")
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")] = "auto",
    dtype: Annotated[str, typer.Option(help="fp32, bf16, fp16, int8, int4 or auto.")] = "fp32",
    as_json: JsonOption = False,
) -> None:
    """Judge MODEL: Japanese tasks, bits per byte of held-out text, with 95 % intervals.

    Example: minna evaluate build/model --suite jp8 --data data --out build/report
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
            "suite": suite,
            "tasks": _words(tasks),
            "mode": mode,
            "prompt": prompt,
            "versions": versions,
            "shots": _words(num_fewshot),
            "missing": missing,
            "backend": backend,
            "way": "plain" if plain else "shared",
            "batch_tokens": batch_tokens,
            "device": device,
            "dtype": dtype,
        },
    )
    finished = measure(
        model,
        out=out,
        settings=settings,
        corpus=corpus,
        data=data,
        server=_server(served_name, tokenizer, api_key_env, max_length),
    )
    if finished is None:
        return  # a rank that only helped
    report = read_report(finished)
    result = report.model_dump(mode="json", by_alias=True) | {"path": out.as_posix()}
    emit(result, as_json=as_json, text="\n".join(_lines(report, out)))


def _server(
    name: str | None, tokenizer: Path | None, key_variable: str, max_length: int | None
) -> Server | None:
    from minna.errors import UsageError
    from minna.evaluate import Server

    if name is not None:
        return Server(
            name=name, tokenizer=tokenizer, key_variable=key_variable, max_length=max_length
        )
    if tokenizer is not None or key_variable or max_length is not None:
        raise UsageError(
            "--tokenizer, --api-key-env and --max-length belong to a model behind a URL",
            remedy="name it too: --served-name NAME",
        )
    return None


def _words(text: str | None) -> tuple[str, ...]:
    return tuple(word.strip() for word in text.split(",")) if text else ()


def _lines(report: Report, out: Path) -> list[str]:
    """The figures for people."""
    lines = [f"{out}: {report.model_name}, {report.mode} rules"]
    for task in report.tasks:
        lines += _bits_lines(task) if task.name == "bits_per_byte" else [_task_line(task)]
    if report.average is not None:
        lines.append(f"  {'average':<28} {report.average.value:8.2f}")
    return [*lines, f"look at {out / 'report.html'}"]


def _task_line(task: Task) -> str:
    metric = task.metrics[task.main]
    seconds = f"  {task.cost.seconds:.1f} s" if task.cost else ""
    return (
        f"  {task.full_name:<28} {metric.value:8.2f}{_span(metric, digits=2)}  {task.main}, "
        f"{task.n} items, {task.shots} shots{seconds}"
    )


def _bits_lines(task: Task) -> list[str]:
    rows = {"model": task.metrics["bits_per_byte"]}
    rows |= {name: item.metrics["bits_per_byte"] for name, item in task.references.items()}
    head = f"  {task.n} documents of {task.data.title}, split {task.data.split!r}"
    return [
        head,
        *(
            f"  {name:<12} {metric.value:.4f} bits per byte{_span(metric, digits=4)}"
            for name, metric in rows.items()
        ),
    ]


def _span(metric: Metric, *, digits: int) -> str:
    if metric.low is None or metric.high is None:
        return ""
    return f"  [{metric.low:.{digits}f}, {metric.high:.{digits}f}]"


def compare(
    reports: Annotated[list[Path], typer.Argument(help="Reports; the first is the base.")],
    *,
    out: Annotated[
        Path | None, typer.Option(help="Write compare.html and compare.md into this directory.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Put reports beside each other, task by task, and test the differences item by item.

    Example: minna compare build/report-a build/report-b --out build/compared
    """
    from minna.artifact.verify import verify
    from minna.evaluate import compare as beside

    for report in reports:
        verify(report)  # a figure changed by hand would be tested like any other
    comparison = beside(reports)
    result, text = comparison.as_json(), comparison.table()
    if out is not None:
        from minna.evaluate.compare_page import PAGE_NAME, write_comparison

        write_comparison(out, comparison)
        result["path"] = out.as_posix()
        text += f"\n\nlook at {out / PAGE_NAME}"
    emit(result, as_json=as_json, text=text)
