"""compare.html and compare.md: models beside each other, task by task, with what the tests say.

A grouped chart alone invites reading a winner into every pair of bars, so each task's table has the
difference, its paired interval and a plain word, corrected for the number of tasks.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from markupsafe import Markup

from minna.artifact.files import write_text_atomically
from minna.errors import UsageError
from minna.evaluate import wording
from minna.evaluate.bar_chart import Bar, Group, bar_chart
from minna.evaluate.compared import SIGNIFICANT, Comparison, TaskComparison, verdict
from minna.evaluate.page import both_widths, environment
from minna.evaluate.svg import SERIES

PAGE_NAME = "compare.html"
SUMMARY_NAME = "compare.md"


def write_comparison(directory: Path, comparison: Comparison) -> None:
    """Write compare.html and compare.md into a directory, which is made where it is missing.

    Raises:
        UsageError: a file, or a folder that holds something else.
    """
    strange = directory.is_file() or (
        directory.is_dir()
        and any(directory.iterdir())
        and not (directory / "compare.html").is_file()
    )
    if strange:
        raise UsageError(
            f"{directory} holds something else than a comparison", remedy="choose another --out"
        )
    labels = labels_of(comparison)
    shares = [e for e in comparison.tasks if _unit(e) in wording.HUNDREDS]
    others = [e for e in comparison.tasks if e not in shares]
    context: dict[str, Any] = {
        "comparison": comparison,
        "labels": labels,
        "verdict": verdict,
        "level": f"{SIGNIFICANT:g}",
        "chart": _chart(shares, labels, name="compare", top=100.0) if shares else None,
        "charts": [
            (entry, _chart([entry], labels, name=f"compare-{place}", top=_top(entry)))
            for place, entry in enumerate(others)
        ],
        "more": max(0, len(labels) - SERIES),
        "most": SERIES,
    }
    for name, escape in ((PAGE_NAME, True), (SUMMARY_NAME, False)):
        text = environment(escape=escape).get_template(name).render(**context)
        write_text_atomically(directory / name, text)


def labels_of(comparison: Comparison) -> list[str]:
    """A name per report: the model's, with the path where two are called the same."""
    names = comparison.models
    return [
        name if names.count(name) == 1 else f"{name} ({path})"
        for name, path in zip(names, comparison.paths, strict=True)
    ]


def _unit(entry: TaskComparison) -> str:
    return entry.task.metrics[entry.task.main].unit


def _top(entry: TaskComparison) -> float:
    """A round end of the scale above every value."""
    metrics = [row.metrics[entry.task.main] for row in entry.rows]
    most = max(abs(metric.high or metric.value) for metric in metrics) or 1.0
    step = 10 ** math.floor(math.log10(most))
    return next(step * k for k in (1, 2, 4, 6, 8, 10) if step * k >= most)


def _chart(entries: list[TaskComparison], labels: list[str], *, name: str, top: float) -> Markup:
    groups = [
        Group(
            label=wording.short_title(entry.task),
            note=f"{wording.metric_name(entry.task.main)}, n {entry.task.n:,}",
            bars=tuple(_bar(row.metrics[entry.task.main]) for row in entry.rows[:SERIES]),
        )
        for entry in entries
    ]
    said = "; ".join(
        f"{group.label}: " + ", ".join(bar.text for bar in group.bars if bar) for group in groups
    )
    return both_widths(
        bar_chart,
        groups=groups,
        series=labels[:SERIES],
        name=name,
        title=f"{', '.join(labels[:SERIES])} side by side",
        description=f"With 95 % intervals. {said}.",
        top=top,
    )


def _bar(metric: wording.Metric) -> Bar:
    digits = 1 if metric.unit in wording.HUNDREDS else 3
    return Bar(
        value=metric.value, low=metric.low, high=metric.high, text=f"{metric.value:.{digits}f}"
    )
