"""Tests between two models: hand values, and whether they hold what they promise."""

from __future__ import annotations

import math

import numpy as np
import pytest

from minna.errors import DataError
from minna.metrics import holm, mcnemar, mean_difference, statistic_difference
from minna.metrics.classify import as_matrix, confusion_rows, matthews
from minna.metrics.interval import mean_of_sums


@pytest.mark.parametrize(
    ("first", "second", "p"),
    [
        (0, 0, 1.0),
        (1, 0, 1.0),
        (0, 5, 2 / 32),
        (2, 8, 2 * (1 + 10 + 45) / 1024),
        (8, 2, 2 * (1 + 10 + 45) / 1024),
        (5, 5, 1.0),
    ],
)
def test_mcnemar_equals_the_binomial_by_hand(first: int, second: int, p: float):
    assert mcnemar(first, second) == pytest.approx(p, rel=1e-12)


@pytest.mark.parametrize(("first", "second"), [(3, 17), (40, 61), (1000, 1100), (600, 2000)])
def test_mcnemar_equals_exact_integers(first: int, second: int):
    n, few = first + second, min(first, second)
    exact = 2 * sum(math.comb(n, k) for k in range(few + 1)) / 2**n if n < 1000 else None
    if exact is None:
        from fractions import Fraction

        exact = float(Fraction(2 * sum(math.comb(n, k) for k in range(few + 1)), 2**n))
    assert mcnemar(first, second) == pytest.approx(exact, rel=1e-9)


def test_the_difference_of_two_accuracies_is_tested_exactly():
    first = [1] * 60 + [0] * 40
    second = [1] * 50 + [0] * 10 + [1] * 30 + [0] * 10
    found = mean_difference(first, second)
    assert found.value == pytest.approx(0.2)
    assert found.test == "mcnemar"
    assert found.p == pytest.approx(mcnemar(10, 30))
    assert found.low < 0.2 < found.high
    assert found.low > 0


def test_other_scores_and_groups_are_tested_by_resampling():
    first, second = np.zeros(30), np.full(30, 0.5)
    assert mean_difference(first, second).test == "bootstrap"
    grouped = mean_difference(first, np.ones(30), groups=np.repeat(np.arange(10), 3))
    assert (grouped.test, grouped.units) == ("bootstrap", 10)
    alone = mean_difference(first, np.ones(30), groups=np.arange(30))
    assert (alone.test, alone.units) == ("mcnemar", 30)


def test_a_model_does_not_differ_from_itself():
    scores = np.random.default_rng(0).random(50)
    found = mean_difference(scores, scores)
    assert (found.value, found.low, found.high, found.p) == (0, 0, 0, 1)
    rows = confusion_rows([0, 1, 0, 1], [0, 1, 1, 1], classes=2)
    same = statistic_difference(rows, rows, lambda cells: matthews(as_matrix(cells)))
    assert (same.value, same.p) == (0, 1)


def test_p_is_never_zero_and_follows_the_number_of_draws():
    found = mean_difference(np.zeros(40), np.full(40, 0.7), resamples=999)
    assert found.p == pytest.approx(2 / 1000)


def test_exchanging_the_models_turns_the_sign():
    generator = np.random.default_rng(1)
    first, second = generator.random(80), generator.random(80)
    one, other = mean_difference(first, second, seed=2), mean_difference(second, first, seed=2)
    assert one.value == pytest.approx(-other.value)
    assert (one.low, one.high) == pytest.approx((-other.high, -other.low))
    assert one.p == pytest.approx(other.p)


def test_a_statistic_of_means_is_the_difference_of_means():
    generator = np.random.default_rng(3)
    first, second = generator.random(60), generator.random(60)
    ones = np.ones(60)
    ours, theirs = (np.stack([scores, ones], axis=1) for scores in (first, second))
    by_sums = statistic_difference(ours, theirs, mean_of_sums, seed=5)
    direct = mean_difference(first, second, seed=5)
    assert by_sums.value == pytest.approx(direct.value)
    assert (by_sums.low, by_sums.high) == pytest.approx((direct.low, direct.high))
    assert by_sums.p == pytest.approx(direct.p)


def test_intervals_and_p_hold_about_what_they_promise_where_nothing_differs():
    generator = np.random.default_rng(7)
    held = rejected = exact = 0
    for trial in range(300):
        ease = generator.normal(size=60)  # what makes both err on the same items
        first, second = (ease + generator.normal(size=60) for _ in range(2))
        found = mean_difference(first, second, resamples=400, seed=trial)
        held += found.low <= 0 <= found.high
        rejected += found.p < 0.05
        right = mean_difference(first > 0, second > 0, resamples=10)
        exact += right.p < 0.05
    assert 0.90 <= held / 300 <= 0.98
    assert 0.02 <= rejected / 300 <= 0.10
    assert exact / 300 <= 0.06  # exact tests err on the safe side


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.5, 0.001]) == pytest.approx([0.5, 0.002])
    assert holm([0.9, 0.8]) == pytest.approx([1, 1])
    assert holm([]) == []


def test_other_items_are_refused():
    with pytest.raises(DataError, match="the same items, not 2 and 3"):
        mean_difference([0, 1], [0, 1, 1])
    with pytest.raises(DataError, match="the same items"):
        statistic_difference(np.ones((2, 2)), np.ones((2, 3)), mean_of_sums)
