"""report.html of pictures: figures, classes from best to worst, and the pictures themselves.

An accuracy of 40 % is read as "bad at pictures", until one sees that half of the errors are one
class called by a wrong word. So the page shows what was taken for what, and wrong pictures spread
over all errors with the names that were put before the right one. Everything is inside the file.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from markupsafe import Markup

from minna.artifact.files import write_text_atomically
from minna.evaluate.bar_chart import Bar, Group, bar_chart
from minna.evaluate.page import PAGE_NAME, both_widths, environment
from minna.evaluate.pictures_data import Labelled, LabelledPictures
from minna.evaluate.pictures_zero_shot import (
    TOP,
    ClassFigures,
    Judged,
    by_class,
    confusions,
)
from minna.evaluate.report import Metric, Report, Task
from minna.runtime.class_names import Templates, shared_names
from minna.runtime.picture_batches import PROBLEMS, opened
from minna.runtime.places import Place
from minna.runtime.thumbnails import data_uri
from minna.units import format_seconds

if TYPE_CHECKING:
    from minna.evaluate.pictures_retrieval import Looked

_SIDE: Final = 112
_WRONG: Final = 60
_SHOWN_CLASSES: Final = 40
_SHOWN_PAIRS: Final = 30
_MATRIX: Final = 16
_TEMPLATES: Final = 12
_QUERIES: Final = 18
_BAD: Final = 20


@dataclass(frozen=True, kw_only=True)
class ZeroShotPage:
    """What the page shows beside the report: one task's answers in full."""

    task: Task
    judged: Judged
    pictures: Sequence[Labelled]
    found: LabelledPictures
    bad: Mapping[str, str]
    templates: Templates


def write_zero_shot_page(directory: Path, *, report: Report, page: ZeroShotPage) -> None:
    """Write report.html of a zero-shot report into its directory."""
    figures = by_class(page.judged, page.found.classes)
    classes = page.found.classes
    pairs = confusions(page.judged)
    context: dict[str, Any] = {
        "report": report,
        "tasks": report.tasks,
        "task": page.task,
        "facts": _facts(report, page.task),
        "bars": _top_bars(report),
        "class_bars": _class_bars(figures),
        "classes": sorted(figures, key=lambda one: (-one.right / one.n, one.name)),
        "shown_classes": _SHOWN_CLASSES,
        "pairs": [
            {
                "gold": classes[pair.gold].name,
                "guess": classes[pair.guess].name,
                "count": pair.count,
                "share": 100 * pair.count / int((page.judged.labels == pair.gold).sum()),
            }
            for pair in pairs[:_SHOWN_PAIRS]
        ],
        "all_pairs": len(pairs),
        "matrix": _matrix(page),
        "wrong": _wrong(page),
        "all_wrong": int((page.judged.ranks > 1).sum()),
        "shared": shared_names(classes),
        "templates": page.templates.texts[:_TEMPLATES],
        "all_templates": len(page.templates.texts),
        "templates_title": page.templates.title,
        "bad": _told(page.bad),
        "all_bad": len(page.bad),
        "left_out": dict(list(page.found.left_out.items())[:_BAD]),
        "all_left_out": sum(page.found.left_out.values()),
    }
    text = environment(escape=True).get_template("zero_shot.html").render(**context)
    write_text_atomically(directory / PAGE_NAME, text)


def write_retrieval_page(directory: Path, *, report: Report, looked: Looked) -> None:
    """Write report.html of a retrieval report into its directory."""
    context: dict[str, Any] = {
        "report": report,
        "tasks": report.tasks,
        "facts": [
            ("pictures", f"{len(looked.ids):,}"),
            ("texts", f"{len(looked.texts):,}"),
            ("groups", f"{report.tasks[0].conditions['groups']:,}"),
            *_time(report),
        ],
        "bars": _recall_bars(report),
        "asked": _asked(looked),
        "seen": _seen(looked),
        "bad": _told(looked.bad),
        "all_bad": len(looked.bad),
    }
    text = environment(escape=True).get_template("retrieval.html").render(**context)
    write_text_atomically(directory / PAGE_NAME, text)


def thumbnails(place: Place, paths: Collection[str]) -> dict[str, str]:
    """Path -> a small picture as a data: address, of those that are still there."""
    contents = place.read(dict.fromkeys(paths))
    return {
        content.path: data_uri(image, side=_SIDE) for content, image in opened(contents, bad={})
    }


def _facts(report: Report, task: Task) -> list[tuple[str, str]]:
    return [
        ("pictures", f"{task.n:,}"),
        ("classes", f"{task.conditions['classes']:,}"),
        ("chance", f"{task.conditions['chance_top_1']:.2f} %"),
        *_time(report),
    ]


def _time(report: Report) -> list[tuple[str, str]]:
    return [("time", format_seconds(report.cost.seconds))] if report.cost else []


def _bar(metric: Metric) -> Bar:
    text = f"{metric.value:.1f}"
    if metric.low is not None and metric.high is not None:
        text += f" ({metric.low:.1f}–{metric.high:.1f})"
    return Bar(value=metric.value, low=metric.low, high=metric.high, text=text)


def _top_bars(report: Report) -> Markup:
    names = [name for name in (f"top_{k}" for k in TOP) if name in report.tasks[0].metrics]
    chances = report.tasks[0].conditions
    groups = [
        Group(
            label=name.replace("_", " "),
            bars=tuple(_bar(task.metrics[name]) for task in report.tasks),
            chance=float(chances["chance_top_1"]) * int(name.removeprefix("top_")),
        )
        for name in names
    ]
    return both_widths(
        bar_chart,
        groups=groups,
        series=[task.title["en"] for task in report.tasks],
        name="top",
        title=f"Accuracy of {report.model_name}",
        description=_said(report.tasks, names),
    )


def _recall_bars(report: Report) -> Markup:
    names = [name for name in report.tasks[0].metrics if name.startswith("recall_at_")]
    groups = [
        Group(
            label=f"R@{name.removeprefix('recall_at_')}, {task.title['en'].lower()}",
            bars=(_bar(task.metrics[name]),),
            chance=float(task.conditions[f"chance_{name}"]),
        )
        for task in report.tasks
        for name in names
    ]
    return both_widths(
        bar_chart,
        groups=groups,
        series=[report.model_name],
        name="recall",
        title=f"Recall of {report.model_name}",
        description=_said(report.tasks, names),
    )


def _said(tasks: Sequence[Task], names: Sequence[str]) -> str:
    """The figures as a sentence, for screen readers."""
    parts = [
        f"{task.title['en']}: "
        + ", ".join(f"{name.replace('_', ' ')} {task.metrics[name].value:.1f}" for name in names)
        for task in tasks
    ]
    return f"Percent with 95 % intervals. {'; '.join(parts)}."


def _class_bars(figures: Sequence[ClassFigures]) -> Markup:
    """All classes where they are few, else the best and the worst."""
    order = sorted(figures, key=lambda one: (-one.right / one.n, one.name))
    half = _SHOWN_CLASSES // 2
    shown = order if len(order) <= _SHOWN_CLASSES else [*order[:half], *order[-half:]]
    groups = [
        Group(
            label=one.name,
            note=f"{one.right} of {one.n}",
            bars=(
                Bar(
                    value=100 * one.right / one.n,
                    low=100 * one.low,
                    high=100 * one.high,
                    text=f"{100 * one.right / one.n:.0f}",
                ),
            ),
        )
        for one in shown
    ]
    return both_widths(
        bar_chart,
        groups=groups,
        series=["right"],
        name="classes",
        title="Classes from best to worst",
        description="; ".join(f"{one.name}: {one.right} of {one.n}" for one in shown),
    )


def _matrix(page: ZeroShotPage) -> list[dict[str, Any]]:
    """Rows of the confusion matrix, where it fits on a page: name, and (count, share) by class."""
    classes = page.found.classes
    if len(classes) > _MATRIX:
        return []
    counts = np.zeros((len(classes), len(classes)), dtype=np.int64)
    np.add.at(counts, (page.judged.labels, page.judged.guesses[:, 0]), 1)
    return [
        {
            "name": one.name,
            "number": number,
            "cells": [(count, count / max(1, sum(row))) for count in row],
        }
        for number, (one, row) in enumerate(zip(classes, counts.tolist(), strict=True))
    ]


def _wrong(page: ZeroShotPage) -> list[dict[str, Any]]:
    """Wrong pictures, spread evenly over all of them, with the names put before the right one."""
    wrong = np.flatnonzero(page.judged.ranks > 1)
    if len(wrong) > _WRONG:
        wrong = wrong[np.linspace(0, len(wrong) - 1, _WRONG).astype(int)]
    names = [one.name for one in page.found.classes]
    numbers: list[int] = wrong.tolist()
    small = thumbnails(page.found.place, [page.pictures[number].path for number in numbers])
    judged = page.judged
    return [
        {
            "path": page.pictures[number].path,
            "image": small.get(page.pictures[number].path, ""),
            "gold": names[judged.labels[number]],
            "rank": int(judged.ranks[number]),
            "guesses": [
                (names[guess], 100 * share)
                for guess, share in zip(
                    judged.guesses[number, :3].tolist(),
                    judged.shares[number, :3].tolist(),
                    strict=True,
                )
            ],
        }
        for number in numbers
    ]


def _asked(looked: Looked) -> list[dict[str, Any]]:
    """Some texts, the nearest pictures of each, and which of them are right."""
    way, of_texts = looked.found.text_to_image, looked.of_texts()
    chosen = _spread(len(way.queries))
    numbers = [int(way.queries[place]) for place in chosen]
    first = {number: looked.first_pictures[number].tolist() for number in numbers}
    small = thumbnails(
        looked.place, [looked.ids[picture] for some in first.values() for picture in some]
    )
    return [
        {
            "text": looked.texts[number],
            "rank": int(way.ranks[place]),
            "cards": [
                {
                    "image": small.get(looked.ids[picture], ""),
                    "text": looked.texts[looked.right[picture][0]],
                    "right": picture in of_texts[number],
                }
                for picture in first[number]
            ],
        }
        for place, number in zip(chosen, numbers, strict=True)
    ]


def _seen(looked: Looked) -> list[dict[str, Any]]:
    """Some pictures, and the nearest texts of each."""
    way = looked.found.image_to_text
    chosen = _spread(len(way.queries))
    numbers = [int(way.queries[place]) for place in chosen]
    small = thumbnails(looked.place, [looked.ids[number] for number in numbers])
    return [
        {
            "image": small.get(looked.ids[number], ""),
            "rank": int(way.ranks[place]),
            "gold": looked.texts[looked.right[number][0]],
            "texts": [
                (looked.texts[text], text in looked.right[number])
                for text in looked.first_texts[number].tolist()
            ],
        }
        for place, number in zip(chosen, numbers, strict=True)
    ]


def _spread(count: int) -> list[int]:
    return np.linspace(0, count - 1, min(count, _QUERIES)).astype(int).tolist()


def _told(bad: Mapping[str, str]) -> list[tuple[str, str]]:
    return [(path, PROBLEMS.get(why, why)) for path, why in list(bad.items())[:_BAD]]
