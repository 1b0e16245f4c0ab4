"""Where a space belongs between words, and where only a tool put it.

Japanese has none. A tokeniser writes them between all words, and a line that is broken in its
source becomes one where it is put together again: a model trained on either would write them.
Spaces that an author put around words in Latin letters are a style of their own, and stay.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final, Literal

State = Literal["tokenised", "plain"]

JAPANESE: Final = r"\u3000-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\uff00-\uffef"
"""Ranges of kana, kanji, their punctuation and the full-width forms, for a character class."""

_NEEDLESS = re.compile(rf"(?<=[{JAPANESE}]) +| +(?=[{JAPANESE}])")
_BREAK = re.compile(rf"(?<=[{JAPANESE}])[ \t]*\n[ \t\n]*(?=[{JAPANESE}])")
_WHITE = re.compile(r"[ \t\r\n]+")
_BETWEEN_JAPANESE = re.compile(rf"(?<=[{JAPANESE}]) (?=[{JAPANESE}])")
_BEFORE_MARK = re.compile(r" (?=[.,!?;:)\]}%])")
_BEFORE_ENDING = re.compile(r" (?=(?:'(?:s|m|d|re|ve|ll|t)|n't)\b)", re.IGNORECASE)
_BEHIND_OPENING = re.compile(r"(?<=[(\[{]) ")
_ENGLISH_SIGNS = re.compile(r" (?:[.,!?;]|'(?:s|m|d|re|ve|ll|t)\b|n't\b)", re.IGNORECASE)
_MANY: Final = 0.5


def join_japanese(text: str) -> str:
    """Take out the spaces that touch a Japanese character: 私 は GNU Emacs -> 私はGNU Emacs."""
    return _NEEDLESS.sub("", text)


def join_lines(text: str) -> str:
    """One line out of several: no space where both sides of a break are Japanese, else one."""
    return _WHITE.sub(" ", _BREAK.sub("", text)).strip(" ")


def join_english(text: str) -> str:
    """Put marks and endings back to their words: i can 't , you know . -> i can't, you know.

    Only that: quotation marks stay where they are, since which of them open is not written, and
    small letters stay small.
    """
    text = _BEFORE_ENDING.sub("", _BEFORE_MARK.sub("", text))
    return _BEHIND_OPENING.sub("", text)


def japanese_state(lines: Iterable[str]) -> State:
    """Tokenised, if most of these lines have single spaces between Japanese characters."""
    return _state([_BETWEEN_JAPANESE.search(line) is not None for line in lines if line.strip()])


def english_state(lines: Iterable[str]) -> State:
    """Tokenised, if most of these lines have a mark or an ending that stands alone."""
    return _state([_ENGLISH_SIGNS.search(line) is not None for line in lines if line.strip()])


def _state(seen: list[bool]) -> State:
    return "tokenised" if seen and sum(seen) / len(seen) > _MANY else "plain"
