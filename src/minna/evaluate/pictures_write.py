"""What all reports on pictures have in common: their files and their shape."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

from minna.artifact.atomic import Draft
from minna.artifact.manifest import Parent
from minna.evaluate.items import Item
from minna.evaluate.report import Cost, Metric, Report, Task, write_items, write_report
from minna.metrics.interval import Interval
from minna.runtime.memory import peak_bytes

if TYPE_CHECKING:
    from minna.runtime.two_towers import TwoTowers

VERSION = "1"
"""Of the rules; figures of two versions do not compare."""


def write_figures(
    draft: Draft,
    tasks: Sequence[Task],
    items: Mapping[str, Sequence[Item]],
    *,
    towers: TwoTowers,
    model: Parent,
    start: float,
) -> Report:
    """Write items/TASK.jsonl and report.json; `start` is when the work began (time.monotonic)."""
    for name, rows in items.items():
        write_items(draft.path, name, (asdict(row) for row in rows))
    report = Report(
        mode="fixed",
        model=model.sha256,
        model_name=towers.name,
        tasks=list(tasks),
        cost=Cost(seconds=round(time.monotonic() - start, 3), peak_bytes=peak_bytes()),
    )
    write_report(draft.path, report)
    return report


def metric_of(found: Interval, *, unit: str, scale: float = 1.0) -> Metric:
    """An interval as a report has it."""
    return Metric(
        value=found.value * scale, low=found.low * scale, high=found.high * scale, unit=unit
    )


def in_percent(found: Interval) -> Metric:
    """A share as a report has it."""
    return metric_of(found, unit="percent", scale=100.0)
