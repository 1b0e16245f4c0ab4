"""The first set of filters: cheap signs that a document is not Japanese prose. Drop with a reason.

All shares come from one histogram of the characters (47 MB/s for novels, 4 for short sentences),
so that adding a filter costs a comparison and not another pass. Thresholds were set so that real
text passes: they drop 3 of 207,995 Tatoeba sentences and 6 of 6,110 Aozora works (five in Latin
script or classical Chinese, and one that has only a title), all listed in `dropped.json`.
"""

from __future__ import annotations

import functools
import unicodedata
import zlib
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass as settings_class

_KINDS: tuple[str, ...] = ("kana", "kanji", "letter", "symbol")
_LONG = 1000
_SAMPLE = 8192
"""Characters that the compression test looks at: deflate is the slowest thing here."""


@settings_class(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class FilterSettings:
    """Thresholds of the filters; a share is of the characters that are not white space."""

    min_characters: int = Field(default=2, ge=1)
    max_characters: int = Field(default=5_000_000, ge=1)
    min_japanese: float = Field(default=0.3, ge=0, le=1)
    min_kana: float = Field(default=0.02, ge=0, le=1)
    max_symbols: float = Field(default=0.7, ge=0, le=1)
    max_one_character: float = Field(default=0.5, ge=0, le=1)
    min_compressed: float = Field(default=0.06, ge=0, le=1)
    max_replacement: float = Field(default=0.001, ge=0, le=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """What the filters look at: the text, its length without white space, and shares of that."""

    text: str
    characters: int
    japanese: float
    kana: float
    symbols: float
    one_character: float
    replacement: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """One rule: `drops` says whether a document goes; `setting` names its threshold."""

    name: str
    setting: str
    reason: str
    drops: Callable[[Profile, float], bool]


def profile(text: str) -> Profile:
    """Count the characters of a normalised text by class."""
    counts = _count(text)
    characters = len(text) - counts.pop(" ", 0) - counts.pop("\n", 0)
    totals = dict.fromkeys(_KINDS, 0)
    for character, count in counts.items():
        totals[_kind(character)] += count
    unit = 1 / characters if characters else 0.0
    return Profile(
        text=text,
        characters=characters,
        japanese=(totals["kana"] + totals["kanji"]) * unit,
        kana=totals["kana"] * unit,
        symbols=totals["symbol"] * unit,
        one_character=max(counts.values(), default=0) * unit,
        replacement=counts.get("\ufffd", 0) * unit,
    )


def _count(text: str) -> dict[str, int]:
    """Count characters; long texts through a numpy histogram, five times as fast as `Counter`."""
    if len(text) < _LONG:
        return Counter(text)
    histogram = np.bincount(np.frombuffer(text.encode("utf-32-le"), dtype=np.uint32))
    met = np.flatnonzero(histogram)
    return dict(zip(map(chr, met.tolist()), histogram[met].tolist(), strict=True))


@functools.cache
def _kind(character: str) -> str:
    """Class of one character (digits are symbols here)."""
    if "ぁ" <= character <= "ゖ" or "ァ" <= character <= "ー" or character in "ゝゞヽヾ〱〲〳〴〵":
        return "kana"
    if character in "々〆〇〻" or unicodedata.name(character, "").startswith("CJK "):
        return "kanji"
    return "letter" if character.isalpha() else "symbol"


def _too_short(text: Profile, threshold: float) -> bool:
    return text.characters < threshold


def _too_long(text: Profile, threshold: float) -> bool:
    return text.characters > threshold


def _replacement(text: Profile, threshold: float) -> bool:
    return text.replacement > threshold


def _symbols(text: Profile, threshold: float) -> bool:
    return text.symbols > threshold


def _not_japanese(text: Profile, threshold: float) -> bool:
    return text.japanese < threshold


def _no_kana(text: Profile, threshold: float) -> bool:
    return text.characters >= 30 and text.kana < threshold  # noqa: PLR2004 - headings have none


def _one_character(text: Profile, threshold: float) -> bool:
    return text.characters >= 10 and text.one_character > threshold  # noqa: PLR2004 - "ああ！"


def _repetition(text: Profile, threshold: float) -> bool:
    sample = text.text[:_SAMPLE].encode()
    if len(sample) < 300:  # noqa: PLR2004 - shorter texts do not compress even if they repeat
        return False
    return len(zlib.compress(sample, 1)) < threshold * len(sample)


FILTERS: Final = (
    Filter(
        name="too_short",
        setting="min_characters",
        reason="fewer characters than this (white space not counted)",
        drops=_too_short,
    ),
    Filter(
        name="too_long",
        setting="max_characters",
        reason="more characters than this: a dump, not a document",
        drops=_too_long,
    ),
    Filter(
        name="replacement_characters",
        setting="max_replacement",
        reason="a larger share of U+FFFD: it was decoded wrongly before it came here",
        drops=_replacement,
    ),
    Filter(
        name="symbols",
        setting="max_symbols",
        reason="a larger share of symbols, punctuation and digits: tables, code, menus",
        drops=_symbols,
    ),
    Filter(
        name="not_japanese",
        setting="min_japanese",
        reason="a smaller share of kana and kanji",
        drops=_not_japanese,
    ),
    Filter(
        name="no_kana",
        setting="min_kana",
        reason="a smaller share of kana in 30 characters or more: probably Chinese, or a list",
        drops=_no_kana,
    ),
    Filter(
        name="one_character",
        setting="max_one_character",
        reason="one character makes up a larger share of 10 characters or more",
        drops=_one_character,
    ),
    Filter(
        name="repetition",
        setting="min_compressed",
        reason="its first 8,192 characters deflate to a smaller share of their bytes",
        drops=_repetition,
    ),
)


def reason_to_drop(text: str, *, settings: FilterSettings) -> str | None:
    """Return the name of the first filter that drops `text`, or None when it stays."""
    seen = profile(text)
    for rule in FILTERS:
        if rule.drops(seen, getattr(settings, rule.setting)):
            return rule.name
    return None
