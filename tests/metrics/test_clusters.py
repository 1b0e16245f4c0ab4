"""Clusters beside phones: all, nothing, and what is worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minna.errors import DataError
from minna.metrics.clusters import agreement


def test_clusters_that_are_phones_know_everything_and_one_cluster_nothing():
    same = agreement(np.diag([3, 5, 2]))
    assert (same.phone_purity, same.cluster_purity) == (1, 1)
    assert same.pnmi == pytest.approx(1)
    one = agreement([[3, 0], [5, 0], [2, 0]])
    assert one.phone_purity == pytest.approx(0.5) and one.cluster_purity == pytest.approx(1)
    assert one.pnmi == pytest.approx(0, abs=1e-12) and (one.phones, one.clusters) == (3, 1)


def test_a_small_table_by_hand():
    # phones: 6 and 4 frames; clusters 5, 3, 2
    found = agreement([[4, 2, 0], [1, 1, 2]])
    assert found.phone_purity == pytest.approx((4 + 2 + 2) / 10)
    assert found.cluster_purity == pytest.approx((4 + 2) / 10)
    shared = sum(
        n / 10 * math.log(n / 10 / (p / 10) / (k / 10))
        for n, p, k in ((4, 6, 5), (2, 6, 3), (1, 4, 5), (1, 4, 3), (2, 4, 2))
    )
    entropy = -(0.6 * math.log(0.6) + 0.4 * math.log(0.4))
    assert found.pnmi == pytest.approx(shared / entropy) and found.frames == 10


@given(st.lists(st.lists(st.integers(0, 9), min_size=3, max_size=3), min_size=2, max_size=5))
def test_measures_are_shares_and_splitting_a_cluster_loses_nothing(rows):
    counts = np.array(rows)
    if (counts.sum(axis=1) > 0).sum() < 2:
        return
    found = agreement(counts)
    assert all(
        -1e-9 <= x <= 1 + 1e-9 for x in (found.phone_purity, found.cluster_purity, found.pnmi)
    )
    halves = agreement(np.concatenate([counts // 2, counts - counts // 2], axis=1))
    assert halves.pnmi >= found.pnmi - 1e-9
    assert halves.phone_purity >= found.phone_purity - 1e-9
    assert halves.cluster_purity <= found.cluster_purity + 1e-9


@pytest.mark.parametrize("counts", [np.zeros((2, 2)), np.zeros((0, 0)), np.zeros(3), [[4, 2]]])
def test_what_cannot_be_compared_is_told(counts):
    with pytest.raises(DataError, match=r"frame by frame|of one phone"):
        agreement(counts)
