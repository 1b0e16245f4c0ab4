"""Wilson's interval by its published values, and groups where items belong together."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minna.errors import DataError
from minna.metrics.share import share_interval, wilson


@pytest.mark.parametrize(
    ("right", "count", "low", "high"),
    # Newcombe 1998, table I, method 3
    [
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_the_ends_are_the_published_ones(right, count, low, high):
    assert wilson(right, count) == pytest.approx((low, high), abs=5e-5)


@given(st.integers(1, 500), st.data())
def test_the_share_is_inside_and_both_sides_mirror(count, data):
    right = data.draw(st.integers(0, count))
    low, high = wilson(right, count)
    assert 0 <= low <= right / count <= high <= 1
    assert wilson(count - right, count) == pytest.approx((1 - high, 1 - low))


def test_groups_are_drawn_whole_and_at_the_end_wilson_stands_in():
    right = np.repeat([1, 0, 1, 1, 0, 1, 1, 0, 1, 1], 8)
    groups = np.repeat(np.arange(10), 8)
    alone, together = share_interval(right), share_interval(right, groups=groups)
    assert (alone.units, together.units) == (80, 10)
    assert together.high - together.low > 2 * (alone.high - alone.low)
    every = share_interval(np.ones(80), groups=groups)
    assert (every.value, every.high) == (1, 1)
    assert every.low == pytest.approx(wilson(10, 10)[0])


def test_what_is_no_share_is_refused():
    for values in ([], [0.5], [[1]]):
        with pytest.raises(DataError):
            share_interval(values)
    with pytest.raises(DataError, match="3 right of 2"):
        wilson(3, 2)
