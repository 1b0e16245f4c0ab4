"""Several reports beside each other, and the refusal where they do not belong beside each other.

Two intervals that overlap do not say that two models are alike: on the same documents most of the
spread is shared. So the difference to the first report is resampled itself, document by document
(items/), which is several times sharper.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from minna.errors import ArtifactError, UsageError
from minna.evaluate.report import Metric, Report, Task, read_items, read_report
from minna.metrics import ratio_interval

_BITS = "bits_per_byte"


@dataclass(frozen=True, kw_only=True)
class Row:
    """One report: its figures, and its bits per byte minus those of the first report."""

    path: str
    model: str
    metrics: dict[str, Metric]
    difference: Metric | None


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """One task over several reports, in the order they were given."""

    task: str
    version: str
    mode: str
    n: int
    corpus: str
    split: str
    rows: list[Row]
    references: dict[str, Metric]

    def as_json(self) -> dict[str, Any]:
        """The comparison as plain data."""
        return {
            "task": self.task,
            "version": self.version,
            "mode": self.mode,
            "n": self.n,
            "corpus": self.corpus,
            "split": self.split,
            "rows": [
                {
                    "path": row.path,
                    "model": row.model,
                    "metrics": {key: value.model_dump() for key, value in row.metrics.items()},
                    "difference": row.difference.model_dump() if row.difference else None,
                }
                for row in self.rows
            ],
            "references": {key: value.model_dump() for key, value in self.references.items()},
        }

    def table(self) -> str:
        """The comparison as lines of text."""
        names = list(self.rows[0].metrics)
        head = ["", *(name.replace("_", " ") for name in names), "against the first"]
        body = [
            [row.path, *(_words(row.metrics[name]) for name in names), _signed(row.difference)]
            for row in self.rows
        ]
        body += [
            [name, _words(metric), *([""] * (len(names) - 1)), ""]
            for name, metric in self.references.items()
        ]
        widths = [max(len(line[column]) for line in [head, *body]) for column in range(len(head))]
        lines = [
            "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
            for line in [head, *body]
        ]
        note = f"{self.n} documents of {self.corpus}, split {self.split!r}, version {self.version}"
        return "\n".join([*lines, note])


def compare(paths: Sequence[Path]) -> Comparison:
    """Put reports beside each other; the first is what the others are compared with.

    Raises:
        UsageError: fewer than two, or they differ in mode, task version or documents.
        ArtifactError: one is not a report, or its items do not fit it.
    """
    if len(paths) < 2:  # noqa: PLR2004 - a comparison has two sides
        raise UsageError(
            f"a comparison needs at least 2 reports, and {len(paths)} was given",
            remedy="minna compare REPORT REPORT ...",
        )
    reports = [read_report(path) for path in paths]
    tasks = [report.task(_BITS) for report in reports]
    _refuse_mixture(paths, reports, tasks)
    items = [_items(path) for path in paths]
    first = tasks[0]
    # Kneser-Ney counts the tokens of one tokenizer, xz bytes: only xz holds for every row
    references = {
        name: reference.metrics[_BITS]
        for task in reversed(tasks)
        for name, reference in task.references.items()
        if name == "xz" or task is first
    }
    return Comparison(
        task=first.name,
        version=first.version,
        mode=reports[0].mode,
        n=first.n,
        corpus=first.data.title,
        split=first.data.split,
        rows=[
            Row(
                path=path.as_posix(),
                model=report.model,
                metrics=task.metrics,
                difference=None if task is first else _difference(items[0], own, path),
            )
            for path, report, task, own in zip(paths, reports, tasks, items, strict=True)
        ],
        references=references,
    )


def _refuse_mixture(paths: Sequence[Path], reports: list[Report], tasks: list[Task]) -> None:
    def facts(report: Report, task: Task) -> dict[str, str]:
        return {
            "mode": report.mode,
            "task version": str(task.version),
            "corpus": f"{task.data.title}, split {task.data.split}",
            "scored documents": f"{task.n}, {task.data.sha256[:12]}",
        }

    expected = facts(reports[0], tasks[0])
    for path, report, task in zip(paths, reports, tasks, strict=True):
        for name, value in facts(report, task).items():
            if value != expected[name]:
                raise UsageError(
                    f"these reports do not compare: {name} is {expected[name]!r} in {paths[0]} "
                    f"and {value!r} in {path}",
                    remedy="evaluate both models with the same minna, corpus, --split and --limit",
                )


@dataclass(frozen=True, kw_only=True)
class _Items:
    ids: list[str]
    groups: list[str]
    bytes: list[int]
    nats: list[float]


def _items(path: Path) -> _Items:
    rows = read_items(path, _BITS)
    try:
        return _Items(
            ids=[row["id"] for row in rows],
            groups=[row["group"] for row in rows],
            bytes=[row["bytes"] for row in rows],
            nats=[row["nats"] for row in rows],
        )
    except KeyError as error:
        raise ArtifactError(
            f"an item of {path} has no {error}", remedy="run the evaluation again"
        ) from error


def _difference(first: _Items, other: _Items, path: Path) -> Metric:
    if first.ids != other.ids:
        raise ArtifactError(
            f"{path} has other items than its report.json says",
            remedy="run the evaluation again",
        )
    bits = (np.array(other.nats) - np.array(first.nats)) / math.log(2)
    found = ratio_interval(bits, first.bytes, groups=first.groups)
    return Metric(value=found.value, low=found.low, high=found.high, unit="bits/byte")


def _words(metric: Metric) -> str:
    if metric.low is None or metric.high is None:
        return f"{metric.value:.4f}"
    return f"{metric.value:.4f} [{metric.low:.4f}, {metric.high:.4f}]"


def _signed(metric: Metric | None) -> str:
    if metric is None:
        return ""
    return f"{metric.value:+.4f} [{metric.low:+.4f}, {metric.high:+.4f}]"
