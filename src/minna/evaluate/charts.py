"""Charts as SVG text: bars with intervals, and a radar. Pure functions, no library, no script.

A plotting library would add 30 MB to an install for two pictures, and its output is a bitmap or a
page of styles. These stand inline in the report, take their colours from the page (so that they
hold in light and dark), and every label's place is computed from an estimate of its width that is
rather too wide: on a real page no two labels touch. A picture that is scaled down to a phone cannot
be read, so the page holds each chart twice, drawn for 720 and for 340 units of width.
"""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from xml.sax.saxutils import escape, quoteattr

WIDE: Final = 720
NARROW: Final = 340
SERIES: Final = 6
"""Colours that are told apart, also by eyes that see no red; a chart shows no more series."""
MOST_AXES: Final = 12
"""A radar with more axes than this is a disc."""

_BESIDE = 560  # from this width on labels stand beside the bars, below it above them
_BAR, _ONE_BAR, _GAP, _GROUP_GAP = 14, 18, 4, 14
_LABEL, _SMALL = 13, 11
_LINE = 17
_TICKS = 4
_UPRIGHT = 0.15  # an axis whose cosine is below this counts as upright
_EMS = ((0.3, "ijlI|'"), (0.36, " .,:;/-"), (0.43, "tfr()[]!"), (0.56, "scz–"), (1.0, "mwMW%@—…"))


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


@dataclass(frozen=True, kw_only=True)
class Outline:
    """One line of a radar: a value per axis, from 0 to 100."""

    name: str
    values: tuple[float, ...]


def text_width(text: str, size: float) -> float:
    """About how wide a text is at a font size, in its unit; rather too wide than too narrow."""
    return size * sum(_ems(character) for character in text)


def _ems(character: str) -> float:
    """The width of a character in DejaVu Sans, the widest of the usual fonts, or a little more."""
    if unicodedata.east_asian_width(character) in "WFA":
        return 1.0
    for ems, characters in _EMS:
        if character in characters:
            return ems
    return 0.78 if character.isupper() else 0.65


def fitted(text: str, size: float, width: float) -> str:
    """The text, or as much of its beginning as fits into the width, with an ellipsis."""
    if text_width(text, size) <= width:
        return text
    while text and text_width(text + "…", size) > width:
        text = text[:-1]
    return text.rstrip() + "…"


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
    legend, start = _legend(entries, y=0.0, width=width)
    y = start
    for group in groups:
        drawn, y = _group(group, scale, y=y + _GROUP_GAP)
        parts += drawn
    bottom = y + _GROUP_GAP / 2
    parts = [*legend, *_axis(scale, top=start + _GROUP_GAP / 2, bottom=bottom), *parts]
    return _svg(
        parts, name=name, title=title, description=description, width=width, height=bottom + 20
    )


def radar_chart(
    axes: Sequence[str],
    outlines: Sequence[Outline],
    *,
    name: str,
    title: str,
    description: str,
    width: int = WIDE,
) -> str:
    """Draw values from 0 to 100 around a circle, the first axis at the top, clockwise.

    Args:
        axes: 3 to 12 names.
        outlines: one value per axis each; the first is filled.
        name: of the element ids, unique on the page.
        title: for screen readers.
        description: the same, longer.
        width: of the drawing.
    """
    assert 3 <= len(axes) <= MOST_AXES, axes  # noqa: PLR2004 - a triangle is the least
    place = _Radar.fit(axes, width=width)
    parts = place.web()
    for number, outline in reversed(list(enumerate(outlines))):
        corners = [place.point(k, value) for k, value in enumerate(outline.values)]
        points = " ".join(f"{_n(x)},{_n(y)}" for x, y in corners)
        tip = _tag("title", text=outline.name)
        parts.append(_tag("polygon", inner=tip, class_=f"outline s{number}", points=points))
        parts += [
            _tag("circle", class_=f"corner s{number}", cx=x, cy=y, r=3.5 if number == 0 else 2)
            for x, y in corners
        ]
    parts += place.labels(axes)
    entries = [(f"s{number}", outline.name) for number, outline in enumerate(outlines)]
    legend, y = _legend(entries, y=place.height, width=width)
    return _svg(
        [*parts, *legend],
        name=name,
        title=title,
        description=description,
        width=width,
        height=y + 4,
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
        return self.width >= _BESIDE

    def x(self, value: float) -> float:
        """The place of a value."""
        share = (value - self.least) / (self.most - self.least)
        return self.left + (self.right - self.left) * min(max(share, 0), 1)


def _scale(groups: Sequence[Group], width: int, top: float) -> _Scale:
    bars = [bar for group in groups for bar in group.bars if bar is not None]
    ends = [end for b in bars for end in (b.value, b.low, b.high) if end is not None]
    least = 0.0 if min(ends, default=0) >= 0 else -top * math.ceil(-min(ends) / top)
    most = top * max(1, math.ceil(max(ends, default=0) / top))
    words = max((text_width(bar.text, _SMALL + 1) for bar in bars), default=0)
    left = 2.0
    if width >= _BESIDE:
        names = [text_width(group.label, _LABEL) for group in groups]
        names += [text_width(group.note, _SMALL) for group in groups]
        left = min(max(names) + 14, width * 0.34)
    return _Scale(width=width, left=left, right=width - words - 12, least=least, most=most)


def _group(group: Group, scale: _Scale, *, y: float) -> tuple[list[str], float]:
    """The drawing of one group from y on, and where it ends."""
    parts: list[str] = []
    thick = _BAR if group.bars[1:] else _ONE_BAR
    tall = len(group.bars) * (thick + _GAP) - _GAP
    if scale.beside:
        lines = _LINE * (2 if group.note else 1)
        room = max(tall, lines)
        label_y = y + (room - lines) / 2 + _LABEL
        note_at, note_y, anchor = 0.0, label_y + 15, "start"
        widest = note_room = scale.left - 10
        first = y + (room - tall) / 2
        end = y + room
    else:
        label_y = note_y = y + _LABEL
        note_at, anchor = float(scale.width), "end"
        widest = scale.width * 0.6
        note_room = scale.width - min(text_width(group.label, _LABEL), widest) - 14
        first = y + _LINE + 3
        end = first + tall
    parts.append(_text(fitted(group.label, _LABEL, widest), x=0, y=label_y, class_="label"))
    if group.note:
        note = fitted(group.note, _SMALL, note_room)
        parts.append(
            _text(note, x=note_at, y=note_y, size=_SMALL, anchor=anchor, class_="faint aside")
        )
    for number, bar in enumerate(group.bars):
        if bar is not None:
            place = first + number * (thick + _GAP)
            parts += _bar(bar, group, scale, y=place, thick=thick, number=number)
    if group.chance is not None:
        x = scale.x(group.chance)
        parts.append(_line(x, first - 3, x, first + tall + 3, class_="chance"))
    return parts, end


def _bar(
    bar: Bar, group: Group, scale: _Scale, *, y: float, thick: float, number: int
) -> list[str]:
    zero, end = scale.x(0), scale.x(bar.value)
    tip = _tag("title", text=f"{group.label}: {bar.text}")
    rect = _tag(
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
        path = f"M{_n(low)} {_n(middle)}H{_n(high)}"
        path += "".join(f"M{_n(x)} {_n(middle - 4)}V{_n(middle + 4)}" for x in (low, high))
        parts += [_tag("path", class_="halo", d=path), _tag("path", class_="whisker", d=path)]
    words = _text(
        bar.text, x=scale.width, y=y + thick / 2 + 4, size=_SMALL + 1, anchor="end", class_="value"
    )
    return [*parts, words]


def _axis(scale: _Scale, *, top: float, bottom: float) -> list[str]:
    parts: list[str] = []
    for number in range(_TICKS + 1):
        value = scale.least + (scale.most - scale.least) * number / _TICKS
        x = scale.x(value)
        parts.append(_line(x, top, x, bottom, class_="grid"))
        # the first stands at the very edge of a narrow drawing
        anchor = "start" if number == 0 and not scale.beside else "middle"
        parts.append(
            _text(f"{value:g}", x=x, y=bottom + 14, size=_SMALL, anchor=anchor, class_="faint tick")
        )
    return parts


def _legend(entries: Sequence[tuple[str, str]], *, y: float, width: int) -> tuple[list[str], float]:
    """Marks with names, broken into lines; and where it ends."""
    parts: list[str] = []
    x, line = 0.0, y
    for kind, text in entries:
        words = fitted(text, _SMALL + 1, width - 30)
        wide = 24 + text_width(words, _SMALL + 1) + 14
        if x > 0 and x + wide > width:
            x, line = 0.0, line + _LINE + 2
        middle = line + 10
        if kind in ("chance", "whisker"):
            parts.append(_line(x + 2, middle, x + 16, middle, class_=f"{kind} key"))
        else:
            parts.append(
                _tag("rect", class_=f"key {kind}", x=x, y=middle - 5, width=16, height=10, rx=2)
            )
        parts.append(_text(words, x=x + 22, y=middle + 4, size=_SMALL + 1, class_="key"))
        x += wide
    return parts, line + (_LINE + 6 if entries else 0)


@dataclass(frozen=True, kw_only=True)
class _Radar:
    """Where the circle stands."""

    centre: tuple[float, float]
    radius: float
    height: float
    count: int

    @classmethod
    def fit(cls, axes: Sequence[str], *, width: int) -> _Radar:
        """The largest circle that leaves room for the labels around it."""
        radius = 150.0 if width >= _BESIDE else 105.0
        for number, axis in enumerate(axes):
            across = abs(math.cos(_angle(number, len(axes))))
            if across > _UPRIGHT:  # the others stand above or below
                room = width / 2 - text_width(axis, _LABEL) - 4
                radius = min(radius, room / across - 10)
        radius = max(radius, 60.0)  # longer labels are cut instead
        centre = (width / 2, radius + 30)
        return cls(centre=centre, radius=radius, height=2 * radius + 66, count=len(axes))

    def point(self, axis: int, value: float, *, beyond: float = 0) -> tuple[float, float]:
        """The place of a value on an axis."""
        away = self.radius * min(max(value, 0), 100) / 100 + beyond
        angle = _angle(axis, self.count)
        return self.centre[0] + away * math.cos(angle), self.centre[1] + away * math.sin(angle)

    def web(self) -> list[str]:
        """Spokes, and a ring at every quarter with its number."""
        parts = [
            _line(*self.centre, *self.point(axis, 100), class_="grid") for axis in range(self.count)
        ]
        for ring in (25, 50, 75, 100):
            corners = [self.point(axis, ring) for axis in range(self.count)]
            points = " ".join(f"{_n(x)},{_n(y)}" for x, y in corners)
            parts.append(_tag("polygon", class_="grid ring", points=points))
        for ring in (50, 100):
            x, y = self.point(0, ring)
            parts.append(_text(f"{ring}", x=x + 4, y=y + 12, size=_SMALL, class_="faint tick"))
        return parts

    def labels(self, axes: Sequence[str]) -> list[str]:
        """The names around the circle."""
        parts: list[str] = []
        for number, axis in enumerate(axes):
            angle = _angle(number, self.count)
            sideways = math.cos(angle)
            # above and below, a wide label must clear the two beside it
            x, y = self.point(number, 100, beyond=9 if abs(sideways) > _UPRIGHT else 14)
            if abs(sideways) <= _UPRIGHT:
                anchor, room = "middle", 2 * min(x, 2 * self.centre[0] - x)
            elif sideways > 0:
                anchor, room = "start", 2 * self.centre[0] - x
            else:
                anchor, room = "end", x
            lower = _LABEL * (0.36 + 0.4 * math.sin(angle))
            words = fitted(axis, _LABEL, room)
            parts.append(_text(words, x=x, y=y + lower, anchor=anchor, class_="label"))
        return parts


def _angle(axis: int, count: int) -> float:
    return 2 * math.pi * axis / count - math.pi / 2


def _svg(
    parts: Sequence[str], *, name: str, title: str, description: str, width: int, height: float
) -> str:
    head = _tag("title", text=title, id=f"{name}-title")
    head += _tag("desc", text=description, id=f"{name}-desc")
    return _tag(
        "svg",
        inner=head + "\n" + "\n".join(parts) + "\n",
        viewBox=f"0 0 {width} {_n(height)}",
        role="img",
        id=name,
        class_="chart",
        aria_labelledby=f"{name}-title {name}-desc",
    )


def _line(x1: float, y1: float, x2: float, y2: float, *, class_: str) -> str:
    return _tag("line", class_=class_, x1=x1, y1=y1, x2=x2, y2=y2)


def _text(
    text: str, *, x: float, y: float, class_: str, size: int = _LABEL, anchor: str = "start"
) -> str:
    return _tag("text", text=text, class_=class_, x=x, y=y, font_size=size, text_anchor=anchor)


def _tag(element: str, *, text: str = "", inner: str = "", **attributes: str | float) -> str:
    words = "".join(
        f" {key.rstrip('_').replace('_', '-')}={quoteattr(_n(value))}"
        for key, value in attributes.items()
    )
    content = escape(text) + inner
    return f"<{element}{words}>{content}</{element}>" if content else f"<{element}{words}/>"


def _n(value: str | float) -> str:
    """A number to two decimals without trailing zeros; words as they are."""
    if isinstance(value, str):
        return value
    return f"{value:.2f}".rstrip("0").rstrip(".")
