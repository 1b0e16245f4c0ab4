"""Cutting a text for translation models, and putting it together again.

They learned single sentences of a few hundred tokens: line breaks are spaces to them, lists and
code are ruined, and of five sentences the last two are left out. So each line is translated by
itself, a long one in stretches of whole sentences, and what holds no words (code, rules, numbers)
goes through as it is.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final, NamedTuple

from minna.label.verbatim import has_words

_FENCE = re.compile(r"^\s*(```|~~~)")
_LINE: Final = re.compile(r"(\s*(?:[-*•]\s+|\d+[.)]\s+|#+\s+|>\s+)?)(.*?)(\s*)", re.DOTALL)
_SENTENCE_END = re.compile(r"(?<=[.!?])[\"')\]]*\s+(?=[\"'(\[]?[A-Z0-9])|(?<=[。！？])")


class Piece(NamedTuple):
    """A stretch of a text.

    Attributes:
        text: of it.
        translated: whether it is to be translated, or stays.
    """

    text: str
    translated: bool


def cut(text: str, *, size: Callable[[str], int], most: int) -> list[Piece] | None:
    """Cut a text into pieces; joined as they are they give the text.

    Args:
        text: any.
        size: tokens of a stretch.
        most: tokens of the longest stretch that is translated.

    Returns:
        The pieces; None where one sentence alone is longer than that.
    """
    pieces: list[Piece] = []
    fenced = False
    for line in text.splitlines(keepends=True):
        fence = _FENCE.match(line) is not None
        if fenced or fence or not has_words(line):
            fenced ^= fence
            pieces.append(Piece(line, translated=False))
            continue
        match = _LINE.fullmatch(line)
        assert match is not None
        before, body, after = match.groups()
        stretches = _stretches(body, size=size, most=most)
        if stretches is None:
            return None
        pieces += [Piece(before, translated=False), *stretches, Piece(after, translated=False)]
    return [piece for piece in pieces if piece.text]


def _stretches(line: str, *, size: Callable[[str], int], most: int) -> list[Piece] | None:
    """Whole sentences together, as many as fit."""
    if size(line) <= most:
        return [Piece(line, translated=True)]
    places = [match.end() for match in _SENTENCE_END.finditer(line)]
    ends = [*(place for place in places if place < len(line)), len(line)]
    pieces: list[Piece] = []
    start = last = 0
    for end in ends:
        if size(line[start:end]) > most:
            if last == start:
                return None
            pieces.append(Piece(line[start:last], translated=True))
            start = last
            if size(line[start:end]) > most:
                return None
        last = end
    return [*pieces, Piece(line[start:], translated=True)]
