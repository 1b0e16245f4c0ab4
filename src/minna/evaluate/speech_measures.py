"""Rates of error of recognised speech, from texts: what was said, and what was understood.

An item keeps both as `Sounds.told` writes them, so a report can be scored again, and two models be
compared clip by clip, without audio and without either model. The paper's figure is the word error
rate over words of phones; see `metrics/edits.py` for what each rate counts.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from minna.metrics.edits import Words, edit_counts, sound_units, word_units
from minna.tokenizer.sounds import SoundKind

WORDS: Final = "word_error_rate"
PHONES: Final = "phone_error_rate"
PHONES_AND_BOUNDARIES: Final = "phone_error_rate_with_boundaries"
CHARACTERS: Final = "character_error_rate"

_UNITS: Final[dict[str, Callable[[Words], Sequence[Hashable]]]] = {
    WORDS: word_units,
    PHONES: lambda words: sound_units(words, boundaries="left"),
    PHONES_AND_BOUNDARIES: lambda words: sound_units(words, boundaries="counted"),
    CHARACTERS: lambda words: sound_units(words, boundaries="left"),
}
RATES: Final = tuple(_UNITS)
RATES_OF: Final[dict[SoundKind, tuple[str, ...]]] = {
    "phones": (WORDS, PHONES, PHONES_AND_BOUNDARIES),
    "kana": (CHARACTERS,),
}
"""What is reported of a model, its main figure first; kana of corpora have no boundaries."""


def counts_of(rate: str, said: Sequence[Words], heard: Sequence[Words]) -> NDArray[np.int64]:
    """[N, 4] substitutions, insertions, deletions and reference units of each clip."""
    units = _UNITS[rate]
    return edit_counts([units(words) for words in said], [units(words) for words in heard])


def rows_of(rate: str, said: Sequence[str], heard: Sequence[str]) -> NDArray[np.float64]:
    """[N, 2] edits and reference units of each clip, from texts."""
    split = _kana if rate == CHARACTERS else _phones
    counts_N4 = counts_of(rate, [split(one) for one in said], [split(one) for one in heard])
    return np.stack([counts_N4[:, :3].sum(axis=1), counts_N4[:, 3]], axis=1).astype(np.float64)


def _phones(text: str) -> list[list[str]]:
    return [word.split() for word in text.split("|")]


def _kana(text: str) -> list[list[str]]:
    return [list(word) for word in text.split()]
