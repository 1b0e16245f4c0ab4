"""Bits per byte against minutes, as an SVG file that stands alone: on a page, in a README.

The first tenth of a run is left out: there every recipe falls from the bits of chance to twice the
final figure, and on that scale no two records can be told apart.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from minna.evaluate.svg import LINE, SMALL, fitted, line, plain, tag, text_width, words_at
from minna.speedrun.record import Point

_WIDTH: Final = 720
_HEIGHT: Final = 320
_TOP: Final = 34
_BOTTOM: Final = 40
_LEFT: Final = 52
_TICKS: Final = 6
_SHOWN_FROM: Final = 0.099  # share of the time
COLOURS: Final = ("#2a6fbb", "#c8511b", "#3a8f4d", "#8a4fb0", "#b5890b", "#5b6770")
_STYLE = """
text { font-family: sans-serif; fill: #24292f; }
.grid { stroke: #8888; stroke-width: 0.5; }
.faint { fill: #57606a; }
@media (prefers-color-scheme: dark) { text { fill: #e6edf3; } .faint { fill: #9aa4ae; } }
"""


@dataclass(frozen=True, kw_only=True)
class _Axis:
    """From a value to its place."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        share = (value - self.low) / (self.high - self.low)
        return self.start + share * (self.end - self.start)


def line_chart(curves: Mapping[str, Sequence[Point]], *, title: str) -> str:
    """Draw the curves of a track, each with its name and last figure below."""
    shown = {name: _later(points) for name, points in curves.items()}
    every = [point for points in shown.values() for point in points]
    if not every:
        return _svg([words_at("no looks along the way", x=_LEFT, y=_TOP, class_="faint")], title)
    x = _Axis(low=0.0, high=_nice_end(every), start=_LEFT, end=_WIDTH - 16)
    y = _y_axis([point.bits_per_byte for point in every])
    parts = [*_grid(x, y), words_at(fitted(title, 14, _WIDTH), x=0, y=16, size=14, class_="title")]
    for number, points in enumerate(shown.values()):
        places = " ".join(f"{plain(x(p.minutes))},{plain(y(p.bits_per_byte))}" for p in points)
        colour = COLOURS[number % len(COLOURS)]
        # more curves than colours: the next round is dashed
        dashes = "5 4" if number >= len(COLOURS) else "none"
        parts.append(
            tag("polyline", points=places, fill="none", stroke=colour, stroke_width=2,
                stroke_dasharray=dashes)
        )  # fmt: skip
        parts += [
            tag("circle", cx=x(p.minutes), cy=y(p.bits_per_byte), r=2.5, fill=colour)
            for p in points
        ]
    return _svg([*parts, *_names(shown)], title, lines=len(shown))


def _later(points: Sequence[Point]) -> list[Point]:
    """The points after the steep beginning; all of them where that would leave none."""
    end = max((point.minutes for point in points), default=0.0)
    return [point for point in points if point.minutes >= _SHOWN_FROM * end] or list(points)


def _nice_end(points: Sequence[Point]) -> float:
    return max(point.minutes for point in points) or 1.0


def _y_axis(values: Sequence[float]) -> _Axis:
    step = _step(max(values) - min(values))
    low, high = math.floor(min(values) / step) * step, math.ceil(max(values) / step) * step
    if low == high:
        high = low + step
    return _Axis(low=low, high=high, start=_HEIGHT - _BOTTOM, end=_TOP)


def _step(span: float) -> float:
    """A round distance of grid lines: about `_TICKS` of them over the span."""
    if span <= 0:
        return 0.1
    rough = span / _TICKS
    power = 10.0 ** math.floor(math.log10(rough))
    return next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough)


def _grid(x: _Axis, y: _Axis) -> list[str]:
    parts: list[str] = []
    for axis, is_x in ((x, True), (y, False)):
        step = _step(axis.high - axis.low)
        for number in range(math.ceil(axis.low / step - 1e-9), int(axis.high / step + 1e-9) + 1):
            value = number * step
            label, place = f"{value:.6g}", axis(value)
            if is_x:
                parts.append(line(place, _TOP, place, _HEIGHT - _BOTTOM, class_="grid"))
                at, anchor = (place, _HEIGHT - _BOTTOM + 16.0), "middle"
            else:
                parts.append(line(_LEFT, place, _WIDTH - 16, place, class_="grid"))
                at, anchor = (_LEFT - 6.0, place + 4), "end"
            parts.append(
                words_at(label, x=at[0], y=at[1], class_="faint", size=SMALL, anchor=anchor)
            )
    parts.append(
        words_at("minutes of training", x=_WIDTH - 16, y=_HEIGHT - 6, class_="faint", size=SMALL,
                 anchor="end")
    )  # fmt: skip
    parts.append(words_at("bits per byte (valid)", x=0, y=_TOP - 2, class_="faint", size=SMALL))
    return parts


def _names(curves: Mapping[str, Sequence[Point]]) -> list[str]:
    parts: list[str] = []
    for number, (name, points) in enumerate(curves.items()):
        top = _HEIGHT + LINE * (number + 1) - 4
        colour = COLOURS[number % len(COLOURS)]
        parts.append(tag("rect", x=_LEFT, y=top - 9, width=16, height=10, rx=2, fill=colour))
        last = f"  {points[-1].bits_per_byte:.3f}" if points else ""
        room = _WIDTH - _LEFT - 40 - text_width(last, SMALL + 1)
        words = fitted(name, SMALL + 1, room) + last
        parts.append(words_at(words, x=_LEFT + 22, y=top, size=SMALL + 1, class_="key"))
    return parts


def _svg(parts: Sequence[str], title: str, *, lines: int = 0) -> str:
    height = _HEIGHT + LINE * lines + 8
    inner = tag("title", text=title) + f"<style>{_STYLE}</style>\n" + "\n".join(parts)
    return (
        tag(
            "svg",
            inner=inner + "\n",
            xmlns="http://www.w3.org/2000/svg",
            viewBox=f"0 0 {_WIDTH} {height}",
            width=_WIDTH,
            height=height,
            role="img",
        )
        + "\n"
    )
