"""Horizontal bars with intervals and the level of chance, as SVG text; see `svg`.

Bars lie, for the names of tasks are long; the value stands at the right edge of its own line, where
a column of figures can be read without the bars.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from minna.evaluate.svg import (
    BESIDE,
    LABEL,
    LINE,
    SMALL,
    WIDE,
    drawing,
    fitted,
    legend,
    line,
    plain,
    tag,
    text_width,
    words_at,
)

_BAR, _ONE_BAR, _GAP, _GROUP_GAP = 14, 18, 4, 14
_TICKS = 4


@dataclass(frozen=True, kw_only=True)
class Bar:
    """A value, the ends of its interval (None where it has none), and the words beside it."""

    value: float
    low: float | None = None
    high: float | None = None
    text: str


@dataclass(frozen=True, kw_only=True)
class Group:
    """The bars that stand together: one per series, None where a series has no value.

    Attributes:
        label: what they measure.
        note: a few more words, in small.
        bars: in the order of the series.
        chance: what guessing would reach.
    """

    label: str
    bars: tuple[Bar | None, ...]
    note: str = ""
    chance: float | None = None


def bar_chart(
    groups: Sequence[Group],
    *,
    series: Sequence[str],
    name: str,
    title: str,
    description: str,
    width: int = WIDE,
    top: float = 100.0,
) -> str:
    """Draw horizontal bars with interval whiskers, one group below the other.

    Args:
        groups: at least one, each with one entry per series.
        series: names of what is compared; a single one gets no legend of its own.
        name: of the element ids, unique on the page.
        title: for screen readers.
        description: the same, longer.
        width: of the drawing; from 560 on labels stand beside the bars.
        top: end of the scale, or a part of it where a value lies beyond.
    """
    scale = _scale(groups, width, top)
    parts: list[str] = []
    entries = [(f"s{number}", text) for number, text in enumerate(series)] if series[1:] else []
    if any(group.chance is not None for group in groups):
        entries.append(("chance", "chance level"))
    if any(bar and bar.low is not None for group in groups for bar in group.bars):
        entries.append(("whisker", "95 % interval"))
    keys, start = legend(entries, y=0.0, width=width)
    y = start
    for group in groups:
        drawn, y = _group(group, scale, y=y + _GROUP_GAP)
        parts += drawn
    bottom = y + _GROUP_GAP / 2
    parts = [*keys, *_axis(scale, top=start + _GROUP_GAP / 2, bottom=bottom), *parts]
    return drawing(
        parts, name=name, title=title, description=description, width=width, height=bottom + 20
    )


@dataclass(frozen=True, kw_only=True)
class _Scale:
    """Where things stand in a bar chart, and how a value becomes a place."""

    width: int
    left: float
    right: float
    least: float
    most: float

    @property
    def beside(self) -> bool:
        """Whether labels stand beside the bars."""
        return self.width >= BESIDE

    def x(self, value: float) -> float:
        """The place of a value."""
        share = (value - self.least) / (self.most - self.least)
        return self.left + (self.right - self.left) * min(max(share, 0), 1)


def _scale(groups: Sequence[Group], width: int, top: float) -> _Scale:
    bars = [bar for group in groups for bar in group.bars if bar is not None]
    ends = [end for b in bars for end in (b.value, b.low, b.high) if end is not None]
    least = 0.0 if min(ends, default=0) >= 0 else -top * math.ceil(-min(ends) / top)
    most = top * max(1, math.ceil(max(ends, default=0) / top))
    words = max((text_width(bar.text, SMALL + 1) for bar in bars), default=0)
    left = 2.0
    if width >= BESIDE:
        names = [text_width(group.label, LABEL) for group in groups]
        names += [text_width(group.note, SMALL) for group in groups]
        left = min(max(names) + 14, width * 0.34)
    return _Scale(width=width, left=left, right=width - words - 12, least=least, most=most)


def _group(group: Group, scale: _Scale, *, y: float) -> tuple[list[str], float]:
    """The drawing of one group from y on, and where it ends."""
    parts: list[str] = []
    thick = _BAR if group.bars[1:] else _ONE_BAR
    tall = len(group.bars) * (thick + _GAP) - _GAP
    if scale.beside:
        lines = LINE * (2 if group.note else 1)
        room = max(tall, lines)
        label_y = y + (room - lines) / 2 + LABEL
        note_at, note_y, anchor = 0.0, label_y + 15, "start"
        widest = note_room = scale.left - 10
        first = y + (room - tall) / 2
        end = y + room
    else:
        label_y = note_y = y + LABEL
        note_at, anchor = float(scale.width), "end"
        widest = scale.width * 0.6
        note_room = scale.width - min(text_width(group.label, LABEL), widest) - 14
        first = y + LINE + 3
        end = first + tall
    parts.append(words_at(fitted(group.label, LABEL, widest), x=0, y=label_y, class_="label"))
    if group.note:
        note = fitted(group.note, SMALL, note_room)
        parts.append(
            words_at(note, x=note_at, y=note_y, size=SMALL, anchor=anchor, class_="faint aside")
        )
    for number, bar in enumerate(group.bars):
        if bar is not None:
            place = first + number * (thick + _GAP)
            parts += _bar(bar, group, scale, y=place, thick=thick, number=number)
    if group.chance is not None:
        x = scale.x(group.chance)
        parts.append(line(x, first - 3, x, first + tall + 3, class_="chance"))
    return parts, end


def _bar(
    bar: Bar, group: Group, scale: _Scale, *, y: float, thick: float, number: int
) -> list[str]:
    zero, end = scale.x(0), scale.x(bar.value)
    tip = tag("title", text=f"{group.label}: {bar.text}")
    rect = tag(
        "rect",
        inner=tip,
        class_=f"bar s{number}",
        x=min(zero, end),
        y=y,
        width=abs(end - zero),
        height=thick,
        rx=2,
    )
    parts = [rect]
    middle = y + thick / 2
    if bar.low is not None and bar.high is not None:
        low, high = scale.x(bar.low), scale.x(bar.high)
        path = f"M{plain(low)} {plain(middle)}H{plain(high)}"
        path += "".join(f"M{plain(x)} {plain(middle - 4)}V{plain(middle + 4)}" for x in (low, high))
        parts += [tag("path", class_="halo", d=path), tag("path", class_="whisker", d=path)]
    words = words_at(
        bar.text, x=scale.width, y=y + thick / 2 + 4, size=SMALL + 1, anchor="end", class_="value"
    )
    return [*parts, words]


def _axis(scale: _Scale, *, top: float, bottom: float) -> list[str]:
    parts: list[str] = []
    for number in range(_TICKS + 1):
        value = scale.least + (scale.most - scale.least) * number / _TICKS
        x = scale.x(value)
        parts.append(line(x, top, x, bottom, class_="grid"))
        # the first stands at the very edge of a narrow drawing
        anchor = "start" if number == 0 and not scale.beside else "middle"
        parts.append(
            words_at(
                f"{value:g}", x=x, y=bottom + 14, size=SMALL, anchor=anchor, class_="faint tick"
            )
        )
    return parts
