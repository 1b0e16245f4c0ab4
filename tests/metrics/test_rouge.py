"""ROUGE-2 against Google's rouge_score, on many strings."""

from __future__ import annotations

import numpy as np
import pytest

from minna.metrics.rouge import rouge_n
from minna.metrics.words import normalised_words

rouge_scorer = pytest.importorskip("rouge_score.rouge_scorer")
scoring = pytest.importorskip("rouge_score.scoring")


class Characters:
    def tokenize(self, text: str) -> list[str]:
        return list(text)


class Mecab:
    def tokenize(self, text: str) -> list[str]:
        return list(normalised_words(text))


def random_texts(count: int, *, seed: int) -> list[str]:
    generator = np.random.default_rng(seed)
    letters = np.array(list("あいう犬猫。a "))
    return [
        "".join(generator.choice(letters, size=generator.integers(0, 30))) for _ in range(count)
    ]


@pytest.mark.parametrize("n", [1, 2, 3])
def test_it_equals_rouge_score_on_random_strings(n: int):
    name = f"rouge{n}"
    scorer = rouge_scorer.RougeScorer([name], tokenizer=Characters())
    for ours, theirs in zip(random_texts(300, seed=0), random_texts(300, seed=1), strict=True):
        expected = scorer.score(theirs, ours)[name].fmeasure
        assert rouge_n(ours, theirs, n=n) == pytest.approx(expected, abs=1e-12)


def test_it_equals_rouge_score_on_mecab_words():
    pairs = [
        ("東京で大きな地震がありました。", "東京で地震がありました。"),
        ("首相は辞任した", "首相が辞任を表明した"),
        ("", "何か"),
        ("同じ文です。", "同じ文です。"),
    ]
    scorer = rouge_scorer.RougeScorer(["rouge2"], tokenizer=Mecab())
    for ours, theirs in pairs:
        expected = scorer.score(theirs, ours)["rouge2"].fmeasure
        found = rouge_n(normalised_words(ours), normalised_words(theirs))
        assert found == pytest.approx(expected, abs=1e-12)


def test_ids_and_pieces_score_alike_and_short_texts_score_nothing():
    assert rouge_n([1, 2, 3], [2, 3, 4]) == rouge_n(["a", "b", "c"], ["b", "c", "d"]) == 0.5
    assert rouge_n([1], [1]) == 0
    assert rouge_n([], []) == 0


def test_a_pair_counts_no_more_often_than_it_stands_on_the_other_side():
    assert rouge_n("ababab", "ab") == pytest.approx(2 * 1 / (5 + 1))


def test_the_harness_s_median_of_bootstrap_means_lies_within_a_twentieth_of_the_mean():
    # as many items, and as varied, as XL-Sum's 766 summaries of which most share little
    values = np.random.default_rng(5).beta(0.4, 6, size=766)
    aggregator = scoring.BootstrapAggregator()
    np.random.seed(0)  # noqa: NPY002 - what the aggregator draws from
    for value in values:
        aggregator.add_scores({"rouge2": scoring.Score(value, value, value)})
    median = aggregator.aggregate()["rouge2"].mid.fmeasure
    assert median != values.mean()
    assert 100 * median == pytest.approx(100 * values.mean(), abs=0.05)
