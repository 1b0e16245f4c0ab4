"""Spearman and Pearson against plain ways to count them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minna.errors import DataError
from minna.metrics.correlation import average_ranks, correlation_interval, pearson, spearman

COLUMN = st.lists(st.integers(-5, 5), min_size=3, max_size=20)


def ranks_plainly(values):
    below = [sum(other < value for other in values) for value in values]
    equal = [sum(other == value for other in values) for value in values]
    return [first + (same + 1) / 2 for first, same in zip(below, equal, strict=True)]


@given(COLUMN)
def test_ranks_share_the_mean_of_their_places(values):
    assert average_ranks(values).tolist() == ranks_plainly(values)


@given(COLUMN, st.integers(0, 99))
@settings(deadline=None)
def test_the_correlations_are_numpys(values, seed):
    other = np.random.default_rng(seed).integers(-4, 5, len(values)).astype(float)
    if len(set(values)) > 1 and len(set(other.tolist())) > 1:
        assert pearson(values, other) == pytest.approx(np.corrcoef(values, other)[0, 1])
        ranks = ranks_plainly(values), ranks_plainly(other.tolist())
        assert spearman(values, other) == pytest.approx(np.corrcoef(*ranks)[0, 1])
    else:
        assert spearman(values, other) == 0


def test_spearman_knows_order_alone_without_ties_by_the_textbook():
    first = [106, 100, 86, 101, 99, 103, 97, 113, 112, 110]
    second = [7, 27, 2, 50, 28, 29, 20, 12, 6, 17]
    assert spearman(first, second) == pytest.approx(-29 / 165)  # 1 - 6 * 194 / 990
    assert spearman(first, np.exp(np.array(first) / 10)) == pytest.approx(1)


def test_the_interval_holds_the_truth_and_shrinks():
    generator = np.random.default_rng(1)
    found = []
    for count in (40, 640):
        first = generator.normal(size=count)
        second = first + generator.normal(size=count)
        found.append(correlation_interval(first, second, pearson, resamples=300))
    assert all(one.low < 0.7071 < one.high for one in found)
    assert found[1].high - found[1].low < 0.5 * (found[0].high - found[0].low)


def test_too_few_uneven_or_missing_figures_are_refused():
    for first, second in (([1, 2], [1, 2]), ([1, 2, 3], [1, 2]), ([1, 2, float("nan")], [1, 2, 3])):
        with pytest.raises(DataError):
            correlation_interval(first, second, spearman)
