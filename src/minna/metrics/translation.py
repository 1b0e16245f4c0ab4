"""BLEU and chrF over a whole test set, from counts per sentence that can be resampled exactly.

Both are figures of a corpus, not means over sentences. Their counts add up, though: so a bootstrap
adds counts, and needs no sentence twice. Equal to sacrebleu 2.6 to 1e-9 in the tests.

Papineni et al. 2002, "BLEU"; Post 2018, "A Call for Clarity in Reporting BLEU Scores" (arXiv
1804.08771); Popovic 2015, "chrF".
"""

from __future__ import annotations

import functools
import re
from collections import Counter
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from minna.errors import DataError, MissingExtraError
from minna.metrics.words import word_source, words

Floats = NDArray[np.float64]
Language = Literal["ja", "en"]

_ORDER = 4
_CHARACTERS = 6
_BETA = 2
_JAPANESE = re.compile("[\u3041-\u30ff\u3400-\u9fff]")


def target_language(references: Sequence[str]) -> Language:
    """Japanese where more than half of the references hold kana or kanji, else English."""
    japanese = sum(_JAPANESE.search(text) is not None for text in references)
    return "ja" if 2 * japanese > len(references) else "en"


def bleu_rows(
    answers: Sequence[str], references: Sequence[Sequence[str]], *, language: Language
) -> Floats:
    """[N, 10] per sentence: tokens, reference tokens, matches of n-grams 1..4, n-grams 1..4.

    Japanese is compared as MeCab words, anything else by sacrebleu's default tokens (13a).

    Raises:
        DataError: lengths that differ, or a sentence without a reference.
        MissingExtraError: sacrebleu, fugashi or unidic-lite is not installed.
    """
    _check(answers, references)
    cut = _as_words if language == "ja" else str
    scorer = _sacrebleu(language)
    rows: list[list[float]] = []
    for answer, golds in zip(answers, references, strict=True):
        found = scorer.sentence_score(cut(answer), [cut(gold) for gold in golds])
        rows.append([found.sys_len, found.ref_len, *found.counts, *found.totals])
    return np.array(rows, dtype=np.float64)


def bleu_of_sums(sums: Floats) -> Floats:
    """[...] BLEU, 0..100, of sums [..., 10] of `bleu_rows`.

    An order without a match counts as if it had half a match, the next one a quarter and so on
    (sacrebleu's "exp"); 0 where not one word matches.
    """
    length, reference = sums[..., 0], sums[..., 1]
    matched, total = sums[..., 2 : 2 + _ORDER], sums[..., 2 + _ORDER :]
    missed = (matched == 0) & (total > 0)
    counted = np.where(missed, 0.5 ** np.cumsum(missed, axis=-1), matched)
    possible = (total > 0).all(axis=-1) & (matched > 0).any(axis=-1)
    with np.errstate(divide="ignore", invalid="ignore"):
        mean_log = np.log(counted / total).mean(axis=-1)
        brevity = np.minimum(0.0, 1 - reference / length)
        found = 100 * np.exp(mean_log + brevity)
    return np.where(possible, found, 0.0)


def bleu_signature(language: Language) -> str:
    """What BLEU was made by, for the conditions of a report."""
    from importlib.metadata import version

    _sacrebleu(language)
    tokens = f"words of {word_source()}" if language == "ja" else "tokens 13a"
    return f"sacrebleu {version('sacrebleu')}, {tokens}, smoothing exp, case kept"


def chrf_rows(answers: Sequence[str], references: Sequence[Sequence[str]]) -> Floats:
    """[N, 18] per sentence and n of 1..6: character n-grams, those of the reference, matches.

    Spaces do not count; of several references the one that scores best is taken.

    Raises:
        DataError: lengths that differ, or a sentence without a reference.
    """
    _check(answers, references)
    rows: list[Floats] = []
    for answer, golds in zip(answers, references, strict=True):
        candidates = [_matches(answer, gold) for gold in golds]
        rows.append(max(candidates, key=chrf_of_sums))
    return np.array(rows, dtype=np.float64)


def chrf_of_sums(sums: Floats) -> Floats:
    """[...] chrF2, 0..100, of sums [..., 18] of `chrf_rows`.

    F with beta 2 of the mean precision and mean recall over the orders that both sides have.
    """
    by_order = sums.reshape(*sums.shape[:-1], _CHARACTERS, 3)
    ours, theirs, matched = by_order[..., 0], by_order[..., 1], by_order[..., 2]
    usable = (ours > 0) & (theirs > 0)
    orders = np.maximum(usable.sum(axis=-1), 1)
    nothing = np.zeros_like(matched)
    precision = np.divide(matched, ours, out=nothing.copy(), where=usable).sum(axis=-1) / orders
    recall = np.divide(matched, theirs, out=nothing.copy(), where=usable).sum(axis=-1) / orders
    below = _BETA**2 * precision + recall
    above = (1 + _BETA**2) * precision * recall
    return 100 * np.divide(above, below, out=np.zeros_like(below), where=below > 0)


def _matches(answer: str, reference: str) -> Floats:
    ours, theirs = "".join(answer.split()), "".join(reference.split())
    counts: list[int] = []
    for n in range(1, _CHARACTERS + 1):
        left, right = _grams(ours, n), _grams(theirs, n)
        common = sum((left & right).values())
        # an order that the reference is too short for counts on neither side
        counts += [left.total() if right else 0, right.total(), common]
    return np.array(counts, dtype=np.float64)


def _grams(text: str, n: int) -> Counter[str]:
    return Counter(text[start : start + n] for start in range(len(text) - n + 1))


def _as_words(text: str) -> str:
    return " ".join(words(text))


def _check(answers: Sequence[str], references: Sequence[Sequence[str]]) -> None:
    if len(answers) != len(references):
        raise DataError(f"{len(references)} references were given for {len(answers)} translations")
    for number, golds in enumerate(references):
        if not golds:
            raise DataError(f"translation {number} has no reference")


@functools.cache
def _sacrebleu(language: Language) -> Any:
    try:
        from sacrebleu.metrics import BLEU  # pyright: ignore[reportPrivateImportUsage]
    except ImportError as error:
        raise MissingExtraError("sacrebleu", extra="evaluate") from error
    # effective_order changes no count; without it sacrebleu warns at every sentence
    return BLEU(effective_order=True, tokenize="none" if language == "ja" else "13a")
