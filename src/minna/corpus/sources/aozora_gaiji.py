"""Characters that Shift_JIS lacks, from the words Aozora's volunteers describe them with.

Of the 19,424 descriptions (※［＃...］) in the bodies of 6,110 works 18,286 resolve by a code: a
place in JIS X 0213 or a Unicode number. The rest are words. Resolved of these are 342 that say
exactly one thing (small kana, a letter in a circle, a kana with a voicing mark, the cursive form of
a character that is named). 796 stay 〓: signs of shops, and shapes put together (「口＋姜」), for
which no table was at hand that may be shipped.
"""

from __future__ import annotations

import functools
import re
import unicodedata
from typing import Final

GETA: Final = "〓"
"""Printers' mark for a missing character: for those no code is given for."""

_PLANE_ROW_CELL = re.compile(r"(?<![0-9\-])([12])-([0-9]{1,2})-([0-9]{1,2})(?![0-9\-])")
_UNICODE = re.compile(r"[UＵ]\+([0-9A-Fa-f]{4,6})")
_SMALL_KANA = re.compile(r"小書き(?:片仮名|平仮名|の)?「?([ぁ-ヶ])")
_VOICED = re.compile(r"(小書き)?濁点付き(?:の)?(小書き)?(?:片仮名|平仮名|の)?「?([ぁ-ヶ井二])")
_CIRCLED = re.compile(r"丸(?:付き)?([A-ZＡ-Ｚ])(?:大文字)?(?![A-Za-z])")
_ROMAN = re.compile(r"ローマ数字([0-9]{1,2})(?![0-9])")
_CURSIVE = re.compile(r"「([^「」＋／－]+)」の(?:草書体|くずし字|合字)")
_SMALL_OF = dict(
    zip(
        "あいうえおつやゆよわアイウエオカケツヤユヨワ",
        "ぁぃぅぇぉっゃゅょゎァィゥェォヵヶッャュョヮ",
        strict=True,
    )
)
_NAMED: Final = {
    "感嘆符三つ": "！！！",
    "白ゴマ点": "﹆",
}
_VOICING_MARK = "\u3099"
_ROMAN_TENS = ("", "X", "XX", "XXX", "XL", "L", "LX", "LXX", "LXXX", "XC")
_ROMAN_UNITS = ("", "I", "II", "III", "IV", "V", "VI", "VII", "VIII", "IX")


def resolve(note: str) -> str:
    """The character that a description means, or `GETA`.

    Args:
        note: what stands between ※［＃ and ］, such as 「てへん＋劣」、第3水準1-84-77.
    """
    found: str | None = None
    if code := _UNICODE.search(note):
        found = _from_number(int(code.group(1), 16))
    elif place := _PLANE_ROW_CELL.search(note):
        found = jis_x_0213(*(int(number) for number in place.groups()))
    return found or _from_words(note) or GETA


def _from_number(number: int) -> str | None:
    if number > 0x10FFFF or 0xD800 <= number <= 0xDFFF:  # noqa: PLR2004 - limits of Unicode
        return None
    return chr(number)


@functools.cache
def jis_x_0213(plane: int, row: int, cell: int) -> str | None:
    """The character at plane (1 or 2), row and cell (1 to 94) of JIS X 0213, or None."""
    if not (1 <= row <= 94 and 1 <= cell <= 94):  # noqa: PLR2004 - the size of a plane
        return None
    code = bytes([0xA0 + row, 0xA0 + cell])
    try:
        return (b"\x8f" + code if plane == 2 else code).decode("euc_jis_2004")  # noqa: PLR2004
    except UnicodeDecodeError:
        return None


def _from_words(note: str) -> str | None:
    for words, meant in _NAMED.items():
        if note.startswith(words):
            return meant
    if small := _SMALL_KANA.match(note):
        return small.group(1)
    if voiced := _VOICED.match(note):
        return _voiced(voiced)
    if circled := _CIRCLED.match(note):
        letter = unicodedata.normalize("NFKC", circled.group(1))
        return chr(ord("Ⓐ") + ord(letter) - ord("A"))
    if roman := _ROMAN.match(note):
        tens, units = divmod(int(roman.group(1)), 10)
        return _ROMAN_TENS[tens] + _ROMAN_UNITS[units] or None
    if cursive := _CURSIVE.match(note):
        return cursive.group(1)
    return None


def _voiced(match: re.Match[str]) -> str:
    """濁点付き井 -> 井゙ (no such character exists: the mark is combined)."""
    base = match.group(3)
    if base == "二":  # 濁点付きの二の字点
        base = "〻"
    if match.group(1) or match.group(2):
        base = _SMALL_OF.get(base, base)
    return unicodedata.normalize("NFC", base + _VOICING_MARK)
