"""Charts of a card as inline SVG, drawn here: 100 lines for two kinds of bars.

matplotlib would bring a font of its own, and none of those that come with it can write Japanese;
text in SVG is set in the reader's fonts. Colours are classes, so the page's light and dark styles
decide; each shape also has a plain colour for readers that know no style sheets.
"""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Sequence
from typing import Final, NamedTuple

from markupsafe import Markup

from minna.units import format_count

WIDTH: Final = 720
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 12, 34, 46
_HEIGHT = 260
_LABEL_WIDTH = 232
_BAR_STEP = 26
_LABEL_CELLS: Final = 30
"""Width of a bar's label in half-width cells of about 7 px."""
_COLOURS: Final = {"read": "#c9bda6", "kept": "#165e83"}


class Series(NamedTuple):
    """Counts of bins; `style` (read, kept) decides the colour."""

    style: str
    name: str
    counts: Sequence[int]


def histogram(
    series: Sequence[Series],
    *,
    labels: Sequence[str],
    key: str,
    title: str,
    axes: tuple[str, str],
) -> Markup:
    """Bars over bins: the first series wide and pale behind, the second narrow in front.

    Args:
        series: each with a count for every bin.
        labels: of the left edge of every bin, and of the right edge of the last; "" for none.
        key: makes the ids unique in the page.
        title: what the chart shows.
        axes: what lies along the bottom, what along the left side.
    """
    bins = len(labels) - 1
    top = _ceiling(max(max(each.counts) for each in series))
    wide = WIDTH - _LEFT - _RIGHT
    high = _HEIGHT - _TOP - _BOTTOM
    step = wide / bins
    parts = [_grid(top, high), *_edges(labels, step)]
    for place, (style, name, counts) in enumerate(series):
        gap = 1 + place * step / 5
        for at, count in enumerate(counts):
            tall = high * count / top
            parts.append(
                Markup(
                    '<rect class="{}" fill="{}" x="{:.1f}" y="{:.1f}" width="{:.1f}" '
                    'height="{:.1f}"><title>{}</title></rect>'
                ).format(
                    style,
                    _COLOURS[style],
                    _LEFT + at * step + gap,
                    _TOP + high - tall,
                    max(step - 2 * gap, 1),
                    tall,
                    f"{name}: {count:,}",
                )
            )
    parts += [*_legend(series), *_axis_names(axes)]
    return _svg(parts, height=_HEIGHT, key=key, title=title, about=f"{axes[0]} × {axes[1]}")


def bars(counts: Sequence[tuple[str, int]], *, key: str, title: str, about: str) -> Markup:
    """One horizontal bar for each name, with its number behind it."""
    most = max(count for _, count in counts)
    room = WIDTH - _LABEL_WIDTH - 80
    parts: list[Markup] = []
    for row, (name, count) in enumerate(counts):
        y = 6 + row * _BAR_STEP
        parts.append(
            Markup(
                '<text x="{}" y="{}" text-anchor="end">{}</text>'
                '<rect class="kept" fill="{}" x="{}" y="{}" width="{:.1f}" height="16">'
                "<title>{}</title></rect>"
                '<text x="{:.1f}" y="{}">{}</text>'
            ).format(
                _LABEL_WIDTH - 8,
                y + 13,
                fitted(name, _LABEL_CELLS),
                _COLOURS["kept"],
                _LABEL_WIDTH,
                y,
                max(room * count / most, 1),
                f"{name}: {count:,}",
                _LABEL_WIDTH + room * count / most + 8,
                y + 13,
                format_count(count),
            )
        )
    return _svg(parts, height=8 + _BAR_STEP * len(counts), key=key, title=title, about=about)


def fitted(text: str, cells: int) -> str:
    """Cut `text` to a width in half-width cells, where a full-width character takes two."""
    used = 0
    for place, character in enumerate(text):
        used += 2 if unicodedata.east_asian_width(character) in "WFA" else 1
        if used > cells:
            return text[:place] + "…"
    return text


def _svg(parts: Sequence[Markup], *, height: int, key: str, title: str, about: str) -> Markup:
    head = Markup(
        '<svg role="img" viewBox="0 0 {} {}" font-size="12" aria-labelledby="{}-title {}-about">'
        '<title id="{}-title">{}</title><desc id="{}-about">{}</desc>'
    ).format(WIDTH, height, key, key, key, title, key, about)
    return Markup("").join([head, *parts, Markup("</svg>")])


def _grid(top: int, high: int) -> Markup:
    lines = [
        Markup(
            '<line class="grid" stroke="#8884" x1="{}" x2="{}" y1="{:.1f}" y2="{:.1f}"/>'
            '<text x="{}" y="{:.1f}" text-anchor="end">{}</text>'
        ).format(_LEFT, WIDTH - _RIGHT, y, y, _LEFT - 6, y + 4, format_count(top * quarter / 4))
        for quarter in range(5)
        for y in [_TOP + high * (1 - quarter / 4)]
    ]
    return Markup("").join(lines)


def _edges(labels: Sequence[str], step: float) -> list[Markup]:
    place = _HEIGHT - _BOTTOM + 16
    return [
        Markup('<text x="{:.1f}" y="{}" text-anchor="middle">{}</text>').format(
            _LEFT + at * step, place, label
        )
        for at, label in enumerate(labels)
        if label
    ]


def _legend(series: Sequence[Series]) -> list[Markup]:
    return [
        Markup(
            '<rect class="{}" fill="{}" x="{}" y="8" width="12" height="12"/>'
            '<text x="{}" y="18">{}</text>'
        ).format(style, _COLOURS[style], left, left + 18, name)
        for place, (style, name, _) in enumerate(series)
        for left in [_LEFT + 150 * place]
    ]


def _axis_names(axes: tuple[str, str]) -> list[Markup]:
    below = Markup('<text class="axis" x="{}" y="{}" text-anchor="end">{}</text>').format(
        WIDTH - _RIGHT, _HEIGHT - 8, axes[0]
    )
    above = Markup('<text class="axis" x="{}" y="18" text-anchor="end">{}</text>').format(
        WIDTH - _RIGHT, axes[1]
    )
    return [below, above]


def _ceiling(value: int) -> int:
    """The next number of the form 4, 8, 12, 20 or 40 times a power of ten: quarters are whole."""
    if value <= 4:  # noqa: PLR2004
        return 4
    power = 10 ** int(math.log10(value / 4))
    return next(m * power for m in (4, 8, 12, 20, 40, 80) if m * power >= value)
