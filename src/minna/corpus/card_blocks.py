"""What a card is made of, before it is Markdown or HTML, Japanese or English.

A card is told four times (two languages, two formats). Said once as a list of blocks, it cannot say
four different things: 60 lines of template instead of 700, and one place where text is escaped.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple

from markupsafe import Markup, escape

Language = Literal["ja", "en"]
LANGUAGES: Final[tuple[Language, ...]] = ("ja", "en")
"""In the order of the card: Japanese first, as the card of a release has it."""

_QUOTED: Final = 400
_STRIP: Final = 24
_LEAST: Final = 0.0001
_FINE: Final = 0.1
_HIDDEN: Final = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
_MARKDOWN: Final = re.compile(r"([\\`*_\[\]|~$])")
_LINE_START: Final = re.compile(r"^(\d*)([#+\-=]|(?<=\d)[.)](?=\s|$))")
_WEB: Final = re.compile(r"https?://[^\s<>\"\\|`]+")
_FENCE: Final = re.compile("`+")


class Words(NamedTuple):
    """One thing said in both languages."""

    en: str
    ja: str


@dataclass(frozen=True, slots=True)
class Code:
    """A name or a value as a machine writes it."""

    text: str


@dataclass(frozen=True, slots=True)
class Link:
    """An address; a link only when it is one of the web."""

    url: str


@dataclass(frozen=True, slots=True)
class Share:
    """A share of a whole from 0 to 1, shown with a bar."""

    value: float


@dataclass(frozen=True, slots=True)
class Amount:
    """A number that is already written out, such as 61 MB."""

    text: str


Cell = str | int | Words | Code | Link | Share | Amount


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Rows under a header; `folded` ones are opened by the reader, under their title."""

    header: Sequence[Words]
    rows: Sequence[Sequence[Cell]]
    folded: Words | None = None
    kind: str = "table"


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """Points, each of them a sentence; those `to_confirm` have a box to tick."""

    items: Sequence[Words]
    kind: Literal["points", "to_confirm"] = "points"


@dataclass(frozen=True, slots=True, kw_only=True)
class Quotes:
    """Texts of the corpus itself, under what they are examples of."""

    label: Cell
    texts: Sequence[str]
    kind: str = "quotes"


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """A picture of numbers (SVG, by language) and the table of the same numbers."""

    title: Words
    svg: Mapping[Language, Markup]
    numbers: Table
    kind: str = "chart"

    @property
    def strips(self) -> list[str]:
        """The last column of the numbers as strips of blocks: a chart that needs no picture."""
        counts = [row[-1] for row in self.numbers.rows if isinstance(row[-1], int)]
        most = max(counts, default=0) or 1
        return ["█" * round(_STRIP * count / most) or "▏" * bool(count) for count in counts]


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """A heading, its name in links, and what stands under it (`Words` are a paragraph)."""

    key: str
    title: Words
    blocks: Sequence[Words | Table | Listing | Quotes | Chart]


def shown(text: str) -> str:
    """One line, with invisible characters made visible.

    A right-to-left override in a file name would turn round the rest of the page, and a lone
    surrogate could not be written at all: each is shown by its number.
    """
    return "".join(
        f"‹U+{ord(character):04X}›" if unicodedata.category(character) in _HIDDEN else character
        for character in " ".join(text.split())
    )


def cut(text: str) -> str:
    """The beginning of a text of the corpus, as `shown`."""
    return shown(text if len(text) <= _QUOTED else text[:_QUOTED] + "…")


def as_html(cell: Cell, language: Language) -> Markup:
    """A cell in HTML, escaped."""
    match cell:
        case Code(text):
            return Markup("<code>{}</code>").format(shown(text))
        case Link(url) if _WEB.fullmatch(url):
            return Markup('<a href="{}">{}</a>').format(url, shown(url))
        case Share(value):
            bar = Markup('<span class="bar" style="width:{:.1f}%"></span>').format(100 * value)
            return Markup('<span class="share">{}{}</span>').format(
                percent(value), bar if value else ""
            )
        case _:
            return escape(_plain(cell, language))


def as_markdown(cell: Cell, language: Language) -> str:
    """A cell in Markdown, escaped so that it may stand in a row of a table."""
    match cell:
        case Code(text):
            return quoted(text).replace("|", "\\|")
        case Link(url) if _WEB.fullmatch(url):
            return f"<{url}>"
        case _:
            return markdown(_plain(cell, language))


def markdown(text: str) -> str:
    """Plain text in Markdown: nothing in it is markup."""
    line = shown(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return _LINE_START.sub(r"\1\\\2", _MARKDOWN.sub(r"\\\1", line))


def quoted(text: str) -> str:
    """Text as a code span, whatever backticks it holds."""
    line = shown(text)
    if not line:
        return "-"
    fence = "`" * (1 + max(map(len, _FENCE.findall(line)), default=0))
    space = " " if "`" in line else ""
    return f"{fence}{space}{line}{space}{fence}"


def is_number(cell: Cell) -> bool:
    """Whether a cell stands at the right of its column."""
    return isinstance(cell, (int, Share, Amount))


def percent(share: float) -> str:
    """A share as people read it; what is there is never nothing, nor is nearly all all."""
    if 0 < share < _LEAST:
        return "<0.01 %"
    if 1 - _LEAST < share < 1:
        return ">99.99 %"
    return f"{100 * share:.2f} %" if share < _FINE or share > 1 - _FINE else f"{100 * share:.1f} %"


def _plain(cell: Cell, language: Language) -> str:
    match cell:
        case Words():
            return shown(getattr(cell, language))
        case Share(value):
            return percent(value)
        case Link(text) | Code(text) | Amount(text):
            return shown(text)
        case int():
            return f"{cell:,}"
        case str():
            return shown(cell)
