"""What kind of character each code point is: one table, from which every share is counted.

Chinese is told from Japanese by its simplified characters, and which those are needs no list of
ours: they are the kanji of GB 2312 that JIS X 0213 does not have (2,278 of 6,763).
"""

from __future__ import annotations

import functools
import itertools
import unicodedata
from enum import IntEnum
from typing import Final

import numpy as np
import numpy.typing as npt

from minna.corpus.points import table


class Kind(IntEnum):
    """Classes of characters."""

    SPACE = 0
    HIRAGANA = 1
    KATAKANA = 2
    KANJI = 3
    SIMPLIFIED = 4
    LATIN = 5
    LETTER = 6
    DIGIT = 7
    SYMBOL = 8
    REPLACEMENT = 9


KINDS: Final = 16
"""Columns of a table of counts: a power of two, so that a cell is found by a shift."""
_ROWS = range(0xA1, 0xFF)


@functools.cache
def kinds() -> npt.NDArray[np.uint8]:
    """Code point -> Kind (0.5 s, once a process)."""
    found = table(_kind, dtype=np.uint8)
    found[_simplified()] = Kind.SIMPLIFIED
    return found


def _kind(character: str) -> int:
    if character.isspace():
        return Kind.SPACE
    if "ぁ" <= character <= "ゖ" or character in "ゝゞ〱〲〳〴〵":
        return Kind.HIRAGANA
    if "ァ" <= character <= "ヺ" or character in "ーヽヾ":  # between them stands ・
        return Kind.KATAKANA
    if character == "\ufffd":
        return Kind.REPLACEMENT
    category = unicodedata.category(character)
    if category[0] in "LM":
        name = unicodedata.name(character, "")
        if character in "々〆〻" or name.startswith("CJK "):
            return Kind.KANJI
        return Kind.LATIN if "LATIN" in name else Kind.LETTER
    if character == "〇":
        return Kind.KANJI
    return Kind.DIGIT if category[0] == "N" else Kind.SYMBOL


def _simplified() -> list[int]:
    """Code points of kanji in GB 2312 and not in JIS X 0213."""
    pairs = (bytes(pair) for pair in itertools.product(_ROWS, _ROWS))
    chinese = (pair.decode("gb2312", "ignore") for pair in pairs)
    return [
        ord(character)
        for character in chinese
        if "\u4e00" <= character <= "\u9fff" and not character.encode("euc_jis_2004", "ignore")
    ]
