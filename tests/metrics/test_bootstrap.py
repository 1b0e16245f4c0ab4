"""Resampling: the same distribution both ways, groups, and published standard errors."""

from __future__ import annotations

import math

import numpy as np
import pytest

from minna.errors import DataError
from minna.metrics import mean_interval, ratio_interval, standard_error, statistic_interval
from minna.metrics.bootstrap import group_sums, resampled
from minna.metrics.classify import as_matrix, confusion_rows, matthews
from minna.metrics.interval import mean_of_sums


@pytest.mark.parametrize(
    ("accuracy", "n", "published"),
    [
        (0.3163538873994638, 1119, 0.013908534121227658),
        (0.3442892358258012, 2434, 0.009632673153167076),
        (0.7481688175793513, 5734, 0.005732757658862212),
        (0.708029197080292, 959, 0.014689686963716971),
        (0.008, 250, 0.00564548367669015),
    ],
)
def test_the_standard_error_of_an_accuracy_is_the_published_one(
    accuracy: float, n: int, published: float
):
    right = round(accuracy * n)
    assert right / n == pytest.approx(accuracy, abs=1e-12)
    assert standard_error([1] * right + [0] * (n - right)) == pytest.approx(published, rel=1e-12)


def test_a_standard_error_of_one_value_is_refused():
    with pytest.raises(DataError, match="at least two"):
        standard_error([1.0])


def test_drawing_counts_and_drawing_items_give_the_same_distribution():
    few = np.repeat([[1.0, 1.0], [0.0, 1.0]], [300, 700], axis=0)  # two different rows
    many = few.copy()
    many[:, 0] += np.arange(1000) * 1e-9  # the same figures, every row another
    by_count = resampled(few, mean_of_sums, resamples=20_000)
    by_item = resampled(many, mean_of_sums, resamples=20_000)
    expected = math.sqrt(0.3 * 0.7 / 1000)
    for draws in (by_count, by_item):
        assert draws.mean() == pytest.approx(0.3, abs=5e-4)
        assert draws.std() == pytest.approx(expected, rel=0.03)


def test_the_parts_that_bound_memory_do_not_change_what_is_drawn(monkeypatch: pytest.MonkeyPatch):
    values = np.random.default_rng(0).random(300)
    whole = mean_interval(values, resamples=500, seed=4)
    monkeypatch.setattr("minna.metrics.bootstrap._CELLS", 7 * 300)
    assert mean_interval(values, resamples=500, seed=4) == whole


def test_a_mean_of_groups_weighs_items_and_draws_groups():
    values = [1.0, 1.0, 1.0, 0.0]
    groups = ["a", "a", "a", "b"]
    found = mean_interval(values, groups=groups)
    assert found.value == 0.75
    assert found.units == 2
    assert (found.low, found.high) == (0.0, 1.0)


def test_copies_within_a_group_leave_the_interval_as_wide_as_it_was():
    values = np.random.default_rng(1).random(60)
    alone = mean_interval(values, resamples=4000)
    copied = mean_interval(np.repeat(values, 5), groups=np.repeat(np.arange(60), 5), resamples=4000)
    blind = mean_interval(np.repeat(values, 5), resamples=4000)
    assert (copied.low, copied.high) == pytest.approx((alone.low, alone.high))
    assert blind.high - blind.low < 0.6 * (alone.high - alone.low)


def test_a_mean_agrees_with_the_ratio_to_ones():
    values = np.random.default_rng(2).normal(size=400)
    ours = mean_interval(values, resamples=4000)
    ratio = ratio_interval(values, np.ones(400), resamples=4000)
    assert ours.value == pytest.approx(ratio.value)
    assert (ours.low, ours.high) == pytest.approx((ratio.low, ratio.high), abs=0.01)


def test_a_hundred_thousand_draws_of_matthews_spread_as_slow_draws_do():
    generator = np.random.default_rng(3)
    gold = generator.integers(0, 2, 5734)
    taken = np.where(generator.random(5734) < 0.8, gold, 1 - gold)
    rows = confusion_rows(gold.tolist(), taken.tolist(), classes=2)

    def figure(cells: np.ndarray) -> np.ndarray:
        return matthews(as_matrix(cells))

    fast = resampled(group_sums(rows), figure, resamples=100_000)
    slow = [
        np.corrcoef(gold[chosen], taken[chosen])[0, 1]  # which Matthews is, for two classes
        for chosen in (generator.integers(0, 5734, 5734) for _ in range(300))
    ]
    assert len(fast) == 100_000
    assert fast.mean() == pytest.approx(np.mean(slow), abs=0.003)
    assert fast.std() == pytest.approx(np.std(slow), rel=0.15)
    found = statistic_interval(rows, figure)
    assert found.low < found.value < found.high
    assert found.units == 5734


@pytest.mark.parametrize(
    ("rows", "groups", "said"),
    [([], None, "at least one item"), ([1.0, 2.0], ["a"], "1 groups were given for 2 items")],
)
def test_unusable_rows_are_refused(rows: list[float], groups: list[str] | None, said: str):
    with pytest.raises(DataError, match=said):
        group_sums(rows, groups=groups)
