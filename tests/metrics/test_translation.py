"""BLEU and chrF against sacrebleu itself, and their resampling against scoring a sample anew."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from minna.errors import DataError, MissingExtraError
from minna.metrics import translation
from minna.metrics.translation import (
    bleu_of_sums,
    bleu_rows,
    bleu_signature,
    chrf_of_sums,
    chrf_rows,
    target_language,
)
from minna.metrics.words import words

metrics = pytest.importorskip("sacrebleu.metrics")

ENGLISH = [
    ("The cat sat on the mat.", ["The cat is on the mat."]),
    ("He went home early yesterday.", ["He went home early yesterday .", "He left early."]),
    ("I don't know, really!", ["I do not really know."]),
    ("", ["Something."]),
    ("Yes.", ["Yes."]),
    ("a b c d e f g h", ["a b c d x f g h"]),
]
JAPANESE = [
    ("猫がマットの上に座った。", ["猫はマットの上にいる。"]),
    ("彼は昨日早く帰った。", ["彼は昨日早く帰宅した。", "昨日彼は早く帰った。"]),
    ("知りません", ["本当に知りません。"]),
    ("", ["はい。"]),
]


def split(pairs: list[tuple[str, list[str]]]) -> tuple[list[str], list[list[str]]]:
    return [answer for answer, _ in pairs], [golds for _, golds in pairs]


def columns(golds: list[list[str]]) -> list[list[str | None]]:
    """As sacrebleu wants references: one list per reference number, gaps are None."""
    most = max(map(len, golds))
    return [[g[i] if i < len(g) else None for g in golds] for i in range(most)]


def test_english_bleu_is_sacrebleu_s_own():
    answers, golds = split(ENGLISH)
    sums = bleu_rows(answers, golds, language="en").sum(axis=0)
    expected = metrics.BLEU().corpus_score(answers, columns(golds)).score
    assert bleu_of_sums(sums) == pytest.approx(expected, abs=1e-9)
    assert 0 < expected < 100


def test_japanese_bleu_is_sacrebleu_s_over_mecab_words():
    answers, golds = split(JAPANESE)
    sums = bleu_rows(answers, golds, language="ja").sum(axis=0)
    cut = [" ".join(words(a)) for a in answers]
    references = columns([[" ".join(words(g)) for g in each] for each in golds])
    expected = metrics.BLEU(tokenize="none").corpus_score(cut, references).score
    assert bleu_of_sums(sums) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("pairs", [ENGLISH, JAPANESE])
def test_chrf_is_sacrebleu_s_own_of_a_corpus_and_of_each_sentence(
    pairs: list[tuple[str, list[str]]],
):
    answers, golds = split(pairs)
    rows = chrf_rows(answers, golds)
    scorer = metrics.CHRF()
    expected = scorer.corpus_score(answers, columns(golds)).score
    assert chrf_of_sums(rows.sum(axis=0)) == pytest.approx(expected, abs=1e-9)
    each = [scorer.sentence_score(a, g).score for a, g in zip(answers, golds, strict=True)]
    assert chrf_of_sums(rows) == pytest.approx(each, abs=1e-9)


@pytest.mark.parametrize("seed", range(5))
def test_random_sentences_score_as_sacrebleu_scores_them(seed: int):
    generator = np.random.default_rng(seed)
    vocabulary = np.array(["a", "b", "c", "dd", "e.", "f,g", "1,000"])

    def sentence() -> str:
        return " ".join(generator.choice(vocabulary, size=generator.integers(1, 12)))

    answers, golds = [sentence() for _ in range(20)], [[sentence()] for _ in range(20)]
    bleu = metrics.BLEU().corpus_score(answers, columns(golds)).score
    chrf = metrics.CHRF().corpus_score(answers, columns(golds)).score
    assert bleu_of_sums(bleu_rows(answers, golds, language="en").sum(axis=0)) == pytest.approx(
        bleu, abs=1e-9
    )
    assert chrf_of_sums(chrf_rows(answers, golds).sum(axis=0)) == pytest.approx(chrf, abs=1e-9)


def test_orders_without_a_match_are_smoothed_as_sacrebleu_smooths_them():
    answers, golds = ["a b x c d y"], [["a b z c d w"]]  # no trigram in common
    sums = bleu_rows(answers, golds, language="en").sum(axis=0)
    expected = metrics.BLEU().corpus_score(answers, columns(golds)).score
    assert expected > 0
    assert bleu_of_sums(sums) == pytest.approx(expected, abs=1e-9)
    assert bleu_of_sums(bleu_rows(["q"], [["r s t u"]], language="en"))[0] == 0


def test_adding_counts_is_scoring_the_sample():
    answers, golds = split(ENGLISH)
    rows, letters = bleu_rows(answers, golds, language="en"), chrf_rows(answers, golds)
    for chosen in np.random.default_rng(0).integers(0, len(answers), size=(20, len(answers))):
        sample = [answers[i] for i in chosen]
        references = columns([golds[i] for i in chosen])
        assert bleu_of_sums(rows[chosen].sum(axis=0)) == pytest.approx(
            metrics.BLEU().corpus_score(sample, references).score, abs=1e-9
        )
        assert chrf_of_sums(letters[chosen].sum(axis=0)) == pytest.approx(
            metrics.CHRF().corpus_score(sample, references).score, abs=1e-9
        )


def test_the_language_is_what_most_references_are_written_in():
    assert target_language(["犬がいる", "dog", "ねこ"]) == "ja"
    assert target_language(["The dog", "東京"]) == "en"


def test_the_signature_names_versions_and_tokens():
    assert "unidic-lite" in bleu_signature("ja")
    assert "13a" in bleu_signature("en")


def test_missing_references_are_refused():
    with pytest.raises(DataError, match="1 references"):
        chrf_rows(["a", "b"], [["a"]])
    with pytest.raises(DataError, match="translation 1 has no reference"):
        bleu_rows(["a", "b"], [["a"], []], language="en")


def test_a_missing_sacrebleu_is_named(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "sacrebleu.metrics", None)
    translation._sacrebleu.cache_clear()  # pyright: ignore[reportPrivateUsage]
    with pytest.raises(MissingExtraError, match="sacrebleu"):
        bleu_rows(["a"], [["a"]], language="en")
