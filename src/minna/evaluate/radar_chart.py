"""A radar of values from 0 to 100 as SVG text; see `svg`.

A profile is good for one thing, seeing which task sticks out; so it carries no intervals, and no
more than 12 axes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from minna.evaluate.svg import (
    BESIDE,
    LABEL,
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

MOST_AXES: Final = 12
"""A radar with more axes than this is a disc."""

_UPRIGHT = 0.15  # an axis whose cosine is below this counts as upright


@dataclass(frozen=True, kw_only=True)
class Outline:
    """One line of a radar: a value per axis, from 0 to 100."""

    name: str
    values: tuple[float, ...]


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
        points = " ".join(f"{plain(x)},{plain(y)}" for x, y in corners)
        tip = tag("title", text=outline.name)
        parts.append(tag("polygon", inner=tip, class_=f"outline s{number}", points=points))
        parts += [
            tag("circle", class_=f"corner s{number}", cx=x, cy=y, r=3.5 if number == 0 else 2)
            for x, y in corners
        ]
    parts += place.labels(axes)
    entries = [(f"s{number}", outline.name) for number, outline in enumerate(outlines)]
    keys, y = legend(entries, y=place.height, width=width)
    return drawing(
        [*parts, *keys],
        name=name,
        title=title,
        description=description,
        width=width,
        height=y + 4,
    )


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
        radius = 150.0 if width >= BESIDE else 105.0
        for number, axis in enumerate(axes):
            across = abs(math.cos(_angle(number, len(axes))))
            if across > _UPRIGHT:  # the others stand above or below
                room = width / 2 - text_width(axis, LABEL) - 4
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
            line(*self.centre, *self.point(axis, 100), class_="grid") for axis in range(self.count)
        ]
        for ring in (25, 50, 75, 100):
            corners = [self.point(axis, ring) for axis in range(self.count)]
            points = " ".join(f"{plain(x)},{plain(y)}" for x, y in corners)
            parts.append(tag("polygon", class_="grid ring", points=points))
        for ring in (50, 100):
            x, y = self.point(0, ring)
            parts.append(words_at(f"{ring}", x=x + 4, y=y + 12, size=SMALL, class_="faint tick"))
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
            lower = LABEL * (0.36 + 0.4 * math.sin(angle))
            words = fitted(axis, LABEL, room)
            parts.append(words_at(words, x=x, y=y + lower, anchor=anchor, class_="label"))
        return parts


def _angle(axis: int, count: int) -> float:
    return 2 * math.pi * axis / count - math.pi / 2
