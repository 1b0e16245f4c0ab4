"""The statistics of a comparison: the difference of two models on the same items, and its p.

Two intervals that overlap do not say that two models are alike: on the same items most of the
spread is shared. So the difference is tested itself, item by item (items/), which is several times
sharper; and where eight tasks are tested at once, one of them would look "significant" by chance in
a third of all comparisons, so p is corrected over the tasks (Holm).
"""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np

from minna.errors import ArtifactError, DataError
from minna.evaluate.compared import TaskComparison
from minna.evaluate.items import read_item
from minna.evaluate.report import Task
from minna.evaluate.scoring import compare_items
from minna.metrics.paired import Difference, holm, statistic_difference

_BITS: Final = "bits_per_byte"


def difference_of(
    task: Task,
    first: list[dict[str, Any]],
    other: list[dict[str, Any]],
    *,
    paths: tuple[Path, Path],
    mode: str,
) -> Difference:
    """The other report's main figure minus the first's, item by item.

    Args:
        task: as the first report has it.
        first: items of the first report.
        other: items of the other.
        paths: of the two reports, for errors.
        mode: of both.

    Raises:
        ArtifactError: the two do not hold the same items.
    """
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


def corrected(tasks: list[TaskComparison]) -> list[TaskComparison]:
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
