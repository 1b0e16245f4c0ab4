"""Is an answer right? Exact match, overlap of words or characters, and numbers in running text.

The rules are those of the paper's harness (its jasquad and mgsm scripts), so that figures compare
with published ones. They are kinder than string equality (widths, emoji, spaces) and stricter than
English SQuAD's: case and punctuation count. On its published MGSM log of 250 answers the number
rule gives each recorded verdict, and 0.8 % in all.
"""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Callable, Sequence

from minna.errors import DataError
from minna.metrics.words import normalise, normalised_words

INVALID = "[invalid]"
"""What the harness records where an answer holds no number that counts."""

_NUMBER = re.compile(r"-?[0-9.,]+")

_BLOCKS = (
    (0xFF01, 0xFF0D),  # full-width ! to -; the full-width stop is no part of the harness's list
    (0xFF0F, 0xFF0F),
    (0xFF1A, 0xFF20),
    (0xFF3B, 0xFF40),
    (0xFF5B, 0xFF64),  # braces, half-width stops and corner brackets; not the middle dot
    (0x3001, 0x3003),
    (0x300B, 0x3011),  # brackets but for the first angle ones
    (0x3014, 0x301F),
    (0x3030, 0x3030),
    (0x303E, 0x303F),
    (0x2013, 0x2014),
    (0x2018, 0x2019),
    (0x201B, 0x201F),
    (0x2026, 0x2027),
    (0xFE4F, 0xFE4F),
)
PUNCTUATION = frozenset(string.punctuation) | {
    chr(code) for first, last in _BLOCKS for code in range(first, last + 1)
}
"""Words that do not count in `token_f1`; the harness's list, gaps (the middle dot) included."""


def exact_match(answer: str, golds: Sequence[str]) -> bool:
    """Whether the answer equals one of `golds`, both normalised."""
    return best_of(lambda gold: float(normalise(answer) == normalise(gold)), golds) > 0


def token_f1(answer: str, golds: Sequence[str]) -> float:
    """Overlap of MeCab words with the nearest of `golds`, 0..1; punctuation does not count."""
    return best_of(lambda gold: overlap_f1(_content(answer), _content(gold)), golds)


def character_f1(answer: str, golds: Sequence[str]) -> float:
    """Overlap of characters with the nearest of `golds`, 0..1: both normalised, without spaces.

    A bag of characters, as `token_f1` is a bag of words. (Some suites call an edit ratio by this
    name; figures of the two do not compare.)
    """
    return best_of(lambda gold: overlap_f1(_characters(answer), _characters(gold)), golds)


def overlap_f1(answer: Sequence[str], gold: Sequence[str]) -> float:
    """F1 of two bags: 2 common / (sizes added), 0 where nothing is common."""
    common = sum((Counter(answer) & Counter(gold)).values())
    return 2 * common / (len(answer) + len(gold)) if common else 0.0


def extract_number(text: str) -> int | None:
    """The last number of a text if it is a whole one, else None.

    Commas are taken out ("1,234"), a stop at either end is not part of the number ("18."). "19.50"
    is a number and does not count; an ordinary text of digits and stops ("1.2.3") is none.
    """
    found = _NUMBER.findall(text)
    if not found:
        return None
    try:
        value = float(found[-1].strip(".").replace(",", ""))
    except ValueError:  # "-", ",", "1.2.3": the harness stops with an error here
        return None
    return int(value) if value.is_integer() else None


def number_match(answer: str, golds: Sequence[str]) -> bool:
    """Whether the last number of the answer is that of one of `golds`."""
    found = extract_number(answer)
    return (
        best_of(lambda gold: float(found is not None and found == extract_number(gold)), golds) > 0
    )


def best_of(score: Callable[[str], float], golds: Sequence[str]) -> float:
    """The best score over the texts that count as right.

    Raises:
        DataError: there are none.
    """
    if not golds:
        raise DataError(
            "a question has no right answer to compare with",
            remedy="mend the data set: every question needs at least one answer",
        )
    return max(score(gold) for gold in golds)


def _content(text: str) -> list[str]:
    return [word for word in normalised_words(text) if word not in PUNCTUATION]


def _characters(text: str) -> str:
    return normalise(text).replace(" ", "")
