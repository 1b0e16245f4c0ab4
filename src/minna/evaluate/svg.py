"""What the charts are drawn with: SVG elements as text, and how wide words are.

A plotting library would add 30 MB to an install for two pictures, and its output is a bitmap or a
page of styles. Charts stand inline in the report, take their colours from the page (so that they
hold in light and dark), and every label's place is computed from an estimate of its width that is
rather too wide: on a real page no two labels touch. A picture that is scaled down to a phone cannot
be read, so the page holds each chart twice, drawn for 720 and for 340 units of width.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from typing import Final
from xml.sax.saxutils import escape, quoteattr

WIDE: Final = 720
NARROW: Final = 340
BESIDE: Final = 560
"""From this width on labels stand beside the bars, below it above them."""
SERIES: Final = 6
"""Colours that are told apart, also by eyes that see no red; a chart shows no more series."""
LABEL: Final = 13
SMALL: Final = 11
LINE: Final = 17

_EMS = ((0.3, "ijlI|'"), (0.36, " .,:;/-"), (0.43, "tfr()[]!"), (0.56, "scz–"), (1.0, "mwMW%@—…"))


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


def legend(entries: Sequence[tuple[str, str]], *, y: float, width: int) -> tuple[list[str], float]:
    """Marks with names, broken into lines; and where it ends."""
    parts: list[str] = []
    x, top = 0.0, y
    for kind, text in entries:
        words = fitted(text, SMALL + 1, width - 30)
        wide = 24 + text_width(words, SMALL + 1) + 14
        if x > 0 and x + wide > width:
            x, top = 0.0, top + LINE + 2
        middle = top + 10
        if kind in ("chance", "whisker"):
            parts.append(line(x + 2, middle, x + 16, middle, class_=f"{kind} key"))
        else:
            parts.append(
                tag("rect", class_=f"key {kind}", x=x, y=middle - 5, width=16, height=10, rx=2)
            )
        parts.append(words_at(words, x=x + 22, y=middle + 4, size=SMALL + 1, class_="key"))
        x += wide
    return parts, top + (LINE + 6 if entries else 0)


def drawing(
    parts: Sequence[str], *, name: str, title: str, description: str, width: int, height: float
) -> str:
    """The whole SVG element around its parts, with the words that a screen reader says."""
    head = tag("title", text=title, id=f"{name}-title")
    head += tag("desc", text=description, id=f"{name}-desc")
    return tag(
        "svg",
        inner=head + "\n" + "\n".join(parts) + "\n",
        viewBox=f"0 0 {width} {plain(height)}",
        role="img",
        id=name,
        class_="chart",
        aria_labelledby=f"{name}-title {name}-desc",
    )


def line(x1: float, y1: float, x2: float, y2: float, *, class_: str) -> str:
    """A straight line."""
    return tag("line", class_=class_, x1=x1, y1=y1, x2=x2, y2=y2)


def words_at(
    text: str, *, x: float, y: float, class_: str, size: int = LABEL, anchor: str = "start"
) -> str:
    """Words at a place; `anchor` says which end of them stands there."""
    return tag("text", text=text, class_=class_, x=x, y=y, font_size=size, text_anchor=anchor)


def tag(element: str, *, text: str = "", inner: str = "", **attributes: str | float) -> str:
    """An element with escaped text and attributes; `class_` stands for class, `x_y` for x-y."""
    words = "".join(
        f" {key.rstrip('_').replace('_', '-')}={quoteattr(plain(value))}"
        for key, value in attributes.items()
    )
    content = escape(text) + inner
    return f"<{element}{words}>{content}</{element}>" if content else f"<{element}{words}/>"


def plain(value: str | float) -> str:
    """A number to two decimals without trailing zeros; words as they are."""
    if isinstance(value, str):
        return value
    return f"{value:.2f}".rstrip("0").rstrip(".")
