"""report.html and report.md: the figures and the items, in one file that a phone shows offline.

A table of eight numbers is read in a second and believed for a year. So the page holds what the
numbers stand on: intervals, chance, published rows by their own versions, and up to 200 items of
each task with prompt, choices and answer, since only the eye sees a prompt that went wrong.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from numpy.typing import NDArray

from minna.artifact.files import write_text_atomically
from minna.evaluate import wording
from minna.evaluate.bar_chart import Bar, Group, bar_chart
from minna.evaluate.beside import Row, nearest_rows, rows_beside
from minna.evaluate.browser import MOST_ITEMS, chance_level, embedded
from minna.evaluate.page_bits import bits_context
from minna.evaluate.radar_chart import MOST_AXES, Outline, radar_chart
from minna.evaluate.report import Cost, Report, Task, read_items
from minna.evaluate.svg import NARROW, WIDE
from minna.evaluate.wording import short_title
from minna.units import format_bytes, format_count, format_seconds

if TYPE_CHECKING:
    from minna.evaluate.documents import HeldOut

PAGE_NAME = "report.html"
SUMMARY_NAME = "report.md"
_BITS = "bits_per_byte"


def write_page(
    directory: Path,
    *,
    report: Report,
    held: HeldOut | None = None,
    nats: NDArray[np.float64] | None = None,
) -> None:
    """Write report.html and report.md into a directory that holds the items already.

    Args:
        directory: of the report.
        report: its content.
        held: the documents of bits per byte, of which some are shown.
        nats: what the model paid for each.
    """
    tasks = [task for task in report.tasks if task.name != _BITS]
    items = {task.name: read_items(directory, task.name) for task in tasks}
    chances = {task.name: chance_level(items[task.name], main=task.main) for task in tasks}
    rows, costs = rows_beside(report, tasks), _costs(report, tasks)
    context: dict[str, Any] = {
        "report": report,
        "tasks": tasks,
        "chances": chances,
        "rows": rows,
        "scored": [row for row in rows if any(row.cells)],
        "averaged": [row for row in rows if not any(row.cells)],
        "average": wording.shown(report.average) if report.average else "",
        "facts": _facts(report, tasks),
        "browsers": [
            {
                "task": task,
                "shown": min(len(items[task.name]), MOST_ITEMS),
                "all": len(items[task.name]),
                "data": embedded(items[task.name], main=task.main),
            }
            for task in tasks
        ],
        "bars": _bars(report, tasks, chances),
        "radar": _radar(report, tasks, rows),
        "compared": bool(tasks) and bool(nearest_rows(tasks, rows)),
        "costs": costs,
        "partly": any(cost.answered != cost.requests for _, cost in costs),
        "most": MOST_ITEMS,
        "bits": None,
    }
    for task in report.tasks:
        if task.name == _BITS:
            context["bits"] = bits_context(task, model=report.model_name, held=held, nats=nats)
    page = environment(escape=True).get_template("report.html").render(**context)
    write_text_atomically(directory / PAGE_NAME, page)
    summary = environment(escape=False).get_template("report.md").render(**context)
    write_text_atomically(directory / SUMMARY_NAME, summary)


def environment(*, escape: bool) -> Environment:
    """The templates, for HTML (escaped) or Markdown (values pass `cell`)."""
    made = Environment(
        loader=PackageLoader("minna.evaluate"),
        autoescape=escape,  # noqa: S701 - False is for Markdown, whose values pass `cell`
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    words: dict[str, Any] = {
        "modes": wording.MODES,
        "names": wording.REFERENCE_NAMES,
        "shown": wording.shown,
        "signed": wording.signed,
        "shown_p": wording.shown_p,
        "metric_name": wording.metric_name,
        "short_title": short_title,
        "shots_words": wording.shots_words,
        "at_most": wording.at_most,
        "seconds": format_seconds,
        "count": format_count,
        "size": format_bytes,
    }
    made.globals.update(words)
    made.filters["cell"] = _cell
    return made


def both_widths(draw: Any, **arguments: Any) -> Markup:
    """The same chart for wide and for narrow pages; the style shows one of them."""
    name = arguments.pop("name")
    parts = [
        f'<div class="{kind}">{draw(**arguments, name=f"{name}-{kind}", width=width)}</div>'
        for kind, width in (("wide", WIDE), ("narrow", NARROW))
    ]
    return Markup("\n".join(parts))  # noqa: S704 - charts escape what they are given


def in_hundreds(task: Task) -> bool:
    """Whether the task's main figure runs from 0 to 100."""
    return task.metrics[task.main].unit in wording.HUNDREDS


def bar_of(task: Task) -> Bar:
    """The task's main figure as a bar."""
    metric = task.metrics[task.main]
    text = f"{metric.value:.1f}"
    if metric.low is not None and metric.high is not None:
        text += f" ({metric.low:.1f}–{metric.high:.1f})"
    return Bar(value=metric.value, low=metric.low, high=metric.high, text=text)


def _bars(report: Report, tasks: list[Task], chances: dict[str, float | None]) -> Markup | None:
    drawn = [task for task in tasks if in_hundreds(task)]
    if not drawn:
        return None
    said = "; ".join(
        f"{short_title(task)}: {wording.shown(task.metrics[task.main])}" for task in drawn
    )
    groups = [
        Group(
            label=short_title(task),
            note=f"{wording.metric_name(task.main)}, {wording.shots_words(task)}, n {task.n:,}",
            bars=(bar_of(task),),
            chance=chances[task.name],
        )
        for task in drawn
    ]
    return both_widths(
        bar_chart,
        groups=groups,
        series=[report.model_name],
        name="bars",
        title=f"Scores of {report.model_name}",
        description=f"Percent with 95 % intervals. {said}.",
    )


def _radar(report: Report, tasks: list[Task], rows: list[Row]) -> Markup | None:
    drawn = [task for task in tasks if in_hundreds(task)]
    if not 3 <= len(drawn) <= MOST_AXES:  # noqa: PLR2004 - a triangle is the least
        return None
    outlines = [
        Outline(
            name=report.model_name, values=tuple(task.metrics[task.main].value for task in drawn)
        )
    ]
    if drawn == tasks:
        outlines += [
            Outline(name=row.name, values=tuple(cell.value for cell in row.cells if cell))
            for row in nearest_rows(tasks, rows)
        ]
    return both_widths(
        radar_chart,
        axes=[short_title(task) for task in drawn],
        outlines=outlines,
        name="radar",
        title="Profile over the tasks",
        description="; ".join(
            f"{outline.name}: {', '.join(f'{value:.1f}' for value in outline.values)}"
            for outline in outlines
        ),
    )


def _costs(report: Report, tasks: list[Task]) -> list[tuple[str, Cost]]:
    rows = [(short_title(task), task.cost) for task in tasks if task.cost is not None]
    if report.cost is not None and len(rows) != 1:
        rows.append(("all together", report.cost))
    return rows


def _facts(report: Report, tasks: list[Task]) -> list[tuple[str, str]]:
    facts = [("tasks", f"{len(tasks)}"), ("items", f"{sum(task.n for task in tasks):,}")]
    if report.cost is not None:
        part = report.cost.answered < report.cost.requests
        name = "time of the last run" if part else "time"
        facts.append((name, format_seconds(report.cost.seconds)))
    return facts


def _cell(value: object) -> str:
    """Words that cannot break a Markdown table."""
    return " ".join(str(value).split()).replace("|", "\\|")
