"""Which language a document is in, for sources that do not know: Japanese, English or another.

Scripts settle it: kana is Japanese whatever else a page holds, and a text without it is Chinese
from some thirty characters on (the longest sentence without kana among 207,995 of Tatoeba has 32,
a list of numbers). Latin letters are English when a fifth of the words are English function words;
in French or German a twentieth look like some. No model, no dictionary, 2 ns a character.
"""

from __future__ import annotations

from typing import Final, Literal

import numpy as np

from minna.corpus.profile import Profiles

Language = Literal["ja", "en", "other"]

HEADING: Final = 30
"""A text of fewer characters may do without kana: names, headings."""
_MOSTLY: Final = 0.8
_SOME: Final = 0.25
_KANA: Final = 0.02
_SIMPLIFIED: Final = 0.02
_STOP_WORDS: Final = 0.2
_FEW_WORDS: Final = 5


def languages(profiles: Profiles) -> list[Language]:
    """Tell the language of each document.

    ja: a quarter of the letters are kana and kanji, 2 % of them kana (from 30 characters on), and
    less than 2 % of the kanji are simplified Chinese ones (or half of the letters are kana).
    en: 80 % of the letters are Latin, a fifth of the words (from five on) function words.
    other: the rest, texts without letters among them.
    """
    kana, latin = profiles.kana, profiles.latin
    kanji = profiles.kanji + profiles.simplified
    letters = kana + kanji + latin + profiles.letters
    chinese = (profiles.simplified > _SIMPLIFIED * kanji) & (2 * kana < letters)
    no_kana = (kana < _KANA * letters) & (profiles.characters >= HEADING)
    japanese = (letters > 0) & (kana + kanji >= _SOME * letters) & ~chinese & ~no_kana
    unlike = (profiles.stop_words < _STOP_WORDS) & (profiles.words >= _FEW_WORDS)
    english = (letters > 0) & (latin >= _MOSTLY * letters) & ~unlike & ~japanese
    names = np.select([japanese, english], [0, 1], default=2).tolist()
    known: tuple[Language, ...] = ("ja", "en", "other")
    return [known[number] for number in names]
