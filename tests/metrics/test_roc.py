"""The area under a ROC curve is what counting all pairs says."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as some
from hypothesis.extra import numpy as arrays

from minna.errors import DataError
from minna.metrics.roc import area_under_roc, passing, roc_curve

scores = arrays.arrays(np.float64, some.integers(1, 30), elements=some.integers(-5, 5).map(float))


@given(higher=scores, lower=scores)
def test_the_area_counts_pairs_in_order_and_ties_half(higher, lower):
    apart = higher[:, None] - lower[None]
    expected = ((apart > 0) + 0.5 * (apart == 0)).mean()
    assert area_under_roc(higher, lower) == pytest.approx(expected)
    assert area_under_roc(lower, higher) == pytest.approx(1 - expected)


@given(values=scores, cut=some.integers(-6, 6))
def test_what_is_at_the_cut_passes(values, cut):
    assert passing(values, [cut])[0] == pytest.approx((values >= cut).mean())


def test_the_curve_runs_from_nothing_to_all_and_has_the_area():
    generator = np.random.default_rng(0)
    higher, lower = generator.normal(1, 1, 4000), generator.normal(0, 1, 3000)
    false, true = roc_curve(higher, lower, points=400)
    assert (false[0], true[0], false[-1], true[-1]) == (0, 0, 1, 1)
    assert (np.diff(false) >= 0).all() and (np.diff(true) >= 0).all()
    area = float(np.trapezoid(true, false))
    assert area == pytest.approx(area_under_roc(higher, lower), abs=2e-3)


def test_an_empty_side_or_no_number_is_an_error():
    for bad in ([], [float("nan")]):
        with pytest.raises(DataError):
            area_under_roc(bad, [1.0])
