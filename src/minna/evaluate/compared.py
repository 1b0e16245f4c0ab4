"""What a comparison of reports is: plain data, and the same as lines of text for a terminal.

The verdict is a word and not a star: "no clear difference" is read as it is meant, and a star that
is missing is not read at all.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any, Final

from minna.evaluate.report import Metric, Task
from minna.evaluate.wording import shown, shown_p, signed

SIGNIFICANT: Final = 0.05
_BITS: Final = "bits_per_byte"


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
        note: in what else the two were not asked alike, though it is no reason to refuse.
    """

    path: str
    model: str
    metrics: dict[str, Metric]
    difference: Metric | None = None
    p: float | None = None
    p_holm: float | None = None
    test: str = ""
    note: str = ""

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


def verdict(row: Row) -> str:
    """What the test says, plainly."""
    if row.difference is None or row.p_holm is None:
        return ""
    if not row.significant:
        return "no clear difference"
    return "higher" if row.difference.value > 0 else "lower"


def _row_as_json(row: Row) -> dict[str, Any]:
    values = asdict(replace(row, metrics={}, difference=None))
    values["metrics"] = {key: value.model_dump() for key, value in row.metrics.items()}
    values["difference"] = row.difference.model_dump() if row.difference else None
    return values | {"significant": row.significant}


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
    told = [f"note: {row.path}: {row.note}" for row in entry.rows if row.note]
    return "\n".join([note, *lines, *told])
