"""Several reports beside each other, and the refusal where they do not belong beside each other.

Two intervals that overlap do not say that two models are alike: on the same items most of the
spread is shared. So the difference to the first report is tested itself, item by item (items/),
which is several times sharper; and where eight tasks are tested at once, one of them would look
"significant" by chance in a third of all comparisons, so p is corrected over the tasks (Holm).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np

from minna.errors import ArtifactError, DataError, UsageError
from minna.evaluate.items import read_item
from minna.evaluate.report import Metric, Report, Task, read_items, read_report
from minna.evaluate.scoring import compare_items
from minna.evaluate.wording import shown, shown_p, signed
from minna.metrics.paired import Difference, holm, statistic_difference

SIGNIFICANT: Final = 0.05
_BITS = "bits_per_byte"


@dataclass(frozen=True, kw_only=True)
class Row:
    """One report on one task, and its main figure minus that of the first report.

    Attributes:
        path: of the report.
        model: its name.
        metrics: its figures.
        difference: to the first report, with its paired interval; None for the first.
        p: two-sided, of that task alone.
        p_holm: the same, corrected over the tasks of this report.
        test: "mcnemar" (exact) or "bootstrap".
    """

    path: str
    model: str
    metrics: dict[str, Metric]
    difference: Metric | None = None
    p: float | None = None
    p_holm: float | None = None
    test: str = ""

    @property
    def significant(self) -> bool:
        """Whether the difference is there beyond chance (corrected p below 0.05)."""
        return self.p_holm is not None and self.p_holm < SIGNIFICANT


@dataclass(frozen=True, kw_only=True)
class TaskComparison:
    """One task over several reports, in the order they were given."""

    task: Task
    rows: list[Row]
    references: dict[str, Metric]

    def as_json(self) -> dict[str, Any]:
        """The comparison as plain data."""
        task = self.task
        return {
            "task": task.name,
            "version": task.version,
            "prompt": task.prompt,
            "shots": task.shots,
            "n": task.n,
            "main": task.main,
            "data": {
                "title": task.data.title,
                "split": task.data.split,
                "sha256": task.data.sha256,
            },
            "rows": [_row_as_json(row) for row in self.rows],
            "references": {key: value.model_dump() for key, value in self.references.items()},
        }


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Reports of one mode: the tasks all of them have, and which only some have."""

    mode: str
    paths: list[str]
    models: list[str]
    tasks: list[TaskComparison]
    partial: dict[str, list[str]]

    def as_json(self) -> dict[str, Any]:
        """The comparison as plain data."""
        return {
            "mode": self.mode,
            "reports": [
                {"path": path, "model": model}
                for path, model in zip(self.paths, self.models, strict=True)
            ],
            "tasks": [task.as_json() for task in self.tasks],
            "not_in_all": self.partial,
        }

    def table(self) -> str:
        """The comparison as lines of text."""
        parts = [_lines(entry) for entry in self.tasks]
        if self.partial:
            listed = "; ".join(f"{task} ({', '.join(p)})" for task, p in self.partial.items())
            parts.append(f"not in every report: {listed}")
        return "\n\n".join(parts)


def compare(paths: Sequence[Path]) -> Comparison:
    """Put reports beside each other; the first is what the others are compared with.

    Raises:
        UsageError: fewer than two, no task in common, or they differ in mode, task version, prompt,
            shots or data.
        ArtifactError: one is not a report, or its items do not fit it.
    """
    if len(paths) < 2:  # noqa: PLR2004 - a comparison has two sides
        raise UsageError(
            f"a comparison needs at least 2 reports, and {len(paths)} was given",
            remedy="minna compare REPORT REPORT ...",
        )
    reports = [read_report(path) for path in paths]
    _refuse(paths, [("mode", report.mode) for report in reports])
    names = [{task.name for task in report.tasks} for report in reports]
    common = [task.name for task in reports[0].tasks if all(task.name in has for has in names)]
    if not common:
        listed = "; ".join(
            f"{path} has {', '.join(sorted(has))}" for path, has in zip(paths, names, strict=True)
        )
        raise UsageError(
            f"these reports have no task in common: {listed}",
            remedy="evaluate the models with the same --tasks or --suite",
        )
    compared = [_compare_task(name, paths, reports) for name in common]
    every = list(dict.fromkeys(task.name for report in reports for task in report.tasks))
    return Comparison(
        mode=reports[0].mode,
        paths=[path.as_posix() for path in paths],
        models=[report.model_name for report in reports],
        tasks=_corrected(compared),
        partial={
            name: [path.as_posix() for path, has in zip(paths, names, strict=True) if name in has]
            for name in every
            if name not in common
        },
    )


def _refuse(paths: Sequence[Path], facts: Sequence[tuple[str, str]], *, task: str = "") -> None:
    """Raise if any report's fact differs from the first's."""
    for path, (name, value) in zip(paths, facts, strict=True):
        if value != facts[0][1]:
            where = f" on {task}" if task else ""
            raise UsageError(
                f"these reports do not compare{where}: {name} is {facts[0][1]!r} in {paths[0]} and "
                f"{value!r} in {path}",
                remedy="evaluate both models with the same minna, data, mode, versions, prompts, "
                "shots and --limit",
            )


def _compare_task(name: str, paths: Sequence[Path], reports: list[Report]) -> TaskComparison:
    tasks = [report.task(name) for report in reports]
    first = tasks[0]
    for fact in (
        [("task version", task.version) for task in tasks],
        [("prompt", task.prompt) for task in tasks],
        [("text of the prompt", task.hashes.get("prompts", "")[:12]) for task in tasks],
        [("number of examples (shots)", str(task.shots)) for task in tasks],
        [("main metric", task.main) for task in tasks],
        [("data", f"{task.data.title}, split {task.data.split}") for task in tasks],
        [("scored documents", f"{task.n}, {task.data.sha256[:12]}") for task in tasks],
    ):
        _refuse(paths, fact, task=name)
    items = [read_items(path, name) for path in paths]
    rows: list[Row] = []
    for path, report, task, own in zip(paths, reports, tasks, items, strict=True):
        row = Row(path=path.as_posix(), model=report.model_name, metrics=task.metrics)
        if task is not first:
            found = _difference(first, items[0], own, paths=(paths[0], path), mode=report.mode)
            unit = task.metrics[task.main].unit
            difference = Metric(value=found.value, low=found.low, high=found.high, unit=unit)
            row = replace(row, difference=difference, p=found.p, test=found.test)
        rows.append(row)
    # Kneser-Ney counts the tokens of one tokenizer, xz bytes: only xz holds for every row
    references = {
        key: reference.metrics[first.main]
        for task in reversed(tasks)
        for key, reference in task.references.items()
        if key == "xz" or task is first
    }
    return TaskComparison(task=first, rows=rows, references=references)


def _difference(
    task: Task,
    first: list[dict[str, Any]],
    other: list[dict[str, Any]],
    *,
    paths: tuple[Path, Path],
    mode: str,
) -> Difference:
    ours, theirs = ([row["id"] for row in rows] for rows in (first, other))
    if sorted(ours) != sorted(theirs) or (task.name == _BITS and ours != theirs):
        raise ArtifactError(
            f"{paths[1]} has other items of {task.name} than its report.json says",
            remedy="run the evaluation again",
        )
    if task.name == _BITS:
        return _bits_difference(first, other)
    left = [read_item(row, where=str(paths[0])) for row in first]
    right = [read_item(row, where=str(paths[1])) for row in other]
    kind = "choice" if any(item.continuations for item in left) else "generate"
    try:
        return compare_items(
            task.main, left, right, kind=kind, mode="compat" if mode == "compat" else "fixed"
        )
    except DataError as error:  # the data hash agrees, so an item was changed by hand
        raise ArtifactError(
            f"the items of {task.name} in {paths[0]} and {paths[1]} are not the same: {error.rule}",
            remedy="run the evaluations again",
        ) from error


def _bits_difference(first: list[dict[str, Any]], other: list[dict[str, Any]]) -> Difference:
    """Bits per byte of the other minus that of the first, over the same documents."""
    try:
        ours, theirs = (
            np.array([(row["nats"] / math.log(2), row["bytes"]) for row in rows])
            for rows in (first, other)
        )
        groups = [row["group"] for row in first]
    except (KeyError, TypeError) as error:
        raise ArtifactError(
            f"an item of {_BITS} has no {error}", remedy="run the evaluation again"
        ) from error
    return statistic_difference(
        ours, theirs, lambda sums: sums[..., 0] / np.maximum(sums[..., 1], 1), groups=groups
    )


def _corrected(tasks: list[TaskComparison]) -> list[TaskComparison]:
    """The same with p corrected over the tasks, for every report by itself."""
    columns = [holm([p for p in column if p is not None]) for column in _p_by_report(tasks)]
    return [
        replace(
            entry,
            rows=[
                replace(row, p_holm=column[place] if row.p is not None else None)
                for row, column in zip(entry.rows, columns, strict=True)
            ],
        )
        for place, entry in enumerate(tasks)
    ]


def _p_by_report(tasks: list[TaskComparison]) -> list[list[float | None]]:
    return [[entry.rows[k].p for entry in tasks] for k in range(len(tasks[0].rows))]


def _row_as_json(row: Row) -> dict[str, Any]:
    values = asdict(replace(row, metrics={}, difference=None))
    values["metrics"] = {key: value.model_dump() for key, value in row.metrics.items()}
    values["difference"] = row.difference.model_dump() if row.difference else None
    return values | {"significant": row.significant}


def verdict(row: Row) -> str:
    """What the test says, plainly."""
    if row.difference is None or row.p_holm is None:
        return ""
    if not row.significant:
        return "no clear difference"
    return "higher" if row.difference.value > 0 else "lower"


def _lines(entry: TaskComparison) -> str:
    task, names = entry.task, list(entry.rows[0].metrics)
    head = ["", *(name.replace("_", " ") for name in names), "against the first", "p (Holm)", ""]
    body = [
        [
            row.path,
            *(shown(row.metrics[name]) if name in row.metrics else "" for name in names),
            signed(row.difference) if row.difference else "",
            f"{shown_p(row.p)} ({shown_p(row.p_holm)})"
            if row.p is not None and row.p_holm is not None
            else "",
            verdict(row),
        ]
        for row in entry.rows
    ]
    body += [
        [name, *(shown(metric) if key == task.main else "" for key in names), "", "", ""]
        for name, metric in entry.references.items()
    ]
    widths = [max(len(line[column]) for line in [head, *body]) for column in range(len(head))]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in [head, *body]
    ]
    shots = f", {task.shots}-shot" if task.prompt else ""
    split = f", split {task.data.split!r}" if task.name == _BITS else ""
    note = f"{task.full_name}{shots}: {task.n} items of {task.data.title}{split}"
    return "\n".join([note, *lines])
