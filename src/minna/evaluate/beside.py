"""Published rows beside a model's own: which may stand there, and what of them is of other rules.

Only `compat` results stand beside published ones. Even there a published score may be of another
prompt or task version (the README of the harness mixes five prompts), which moves a task by ten
points, and so do other examples or a part of the items; so every cell that is not of the report's
own version, prompt, shots and items is marked.
"""

from __future__ import annotations

from dataclasses import dataclass

from minna.evaluate.published import PublishedRow, published
from minna.evaluate.report import Report, Task
from minna.evaluate.suite import read_suite
from minna.evaluate.wording import HUNDREDS

_NEAREST = 3
# what the published runs scored; a data set's later version or a --limit has another number
_ITEMS = {
    "jcommonsenseqa": 1119,
    "jnli": 2434,
    "marc_ja": 5734,
    "jsquad": 4442,
    "jaqket_v2": 1164,
    "xlsum_ja": 766,
    "xwinograd_ja": 959,
    "mgsm": 250,
}


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One published score, 0 to 100; `same` is whether it was made by the report's own rules."""

    value: float
    same: bool


@dataclass(frozen=True, kw_only=True)
class Row:
    """One published model, with a cell per task of the report (None where it has no score)."""

    name: str
    source: str
    prompt: str
    average: float | None
    cells: tuple[Cell | None, ...]
    note: str = ""

    @property
    def same(self) -> bool:
        """Whether every score is by the report's own rules, on as many items."""
        return all(cell is not None and cell.same for cell in self.cells)


def rows_beside(report: Report, tasks: list[Task]) -> list[Row]:
    """Published rows that have anything to say beside the report, the best first."""
    if report.mode != "compat" or not tasks:
        return []
    rows = [
        Row(
            name=entry.name,
            source=entry.source,
            prompt=entry.prompt,
            average=entry.average if report.average else None,
            cells=tuple(_cell(entry, task) for task in tasks),
            note=entry.note,
        )
        for entry in published()
        if entry.mode == report.mode
    ]
    telling = [row for row in rows if row.average is not None or any(row.cells)]
    return sorted(telling, key=_rank, reverse=True)


def nearest_rows(tasks: list[Task], rows: list[Row]) -> list[Row]:
    """The three complete rows whose mean over the report's tasks is nearest to the model's."""
    own = sum(task.metrics[task.main].value for task in tasks) / len(tasks)
    complete = [row for row in rows if all(row.cells)]
    return sorted(complete, key=lambda row: abs(_mean(row) - own))[:_NEAREST]


def _rank(row: Row) -> float:
    return _mean(row) if row.average is None else row.average


def _mean(row: Row) -> float:
    found = [cell.value for cell in row.cells if cell is not None]
    return sum(found) / len(found) if found else 0.0


def _cell(entry: PublishedRow, task: Task) -> Cell | None:
    metric, value = entry.scores.get(task.name, ("", 0.0))
    if metric != task.main or task.metrics[task.main].unit not in HUNDREDS:
        return None
    return Cell(
        value=100 * value if metric == "acc" else value,
        same=task.full_name in entry.metrics and _as_published(task),
    )


def _as_published(task: Task) -> bool:
    """Whether the report asked with the examples of the published runs, and all of the items."""
    wanted = task.conditions.get("shots_wanted", task.shots)
    shots = read_suite("jp8").shots.get(task.name)
    return wanted == shots and task.n == _ITEMS.get(task.name)
