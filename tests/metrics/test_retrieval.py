"""Ranks of what is looked for: as counted one by one, fair to several right ones, hard on ties."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minna.errors import DataError
from minna.metrics import retrieval as room
from minna.metrics.retrieval import chance_of, median_interval, nearest, positive_ranks, retrieval


def unit(rows):
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def plainly(queries, candidates, pairs):
    """The rank of the best right one, counted one candidate at a time."""
    ranks = []
    for number, query in enumerate(queries):
        right = {c for q, c in pairs if q == number}
        scores = [float(np.float32(query @ one)) for one in candidates]
        best = max((scores[c] for c in right), default=None)
        ahead = [
            c
            for c in range(len(candidates))
            if c not in right and best is not None and scores[c] >= best
        ]
        ranks.append(0 if best is None else 1 + len(ahead))
    return ranks


@given(
    st.integers(1, 7),
    st.integers(1, 7),
    st.integers(0, 10_000),
    st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), min_size=1, max_size=12),
)
@settings(max_examples=60, deadline=None)
def test_ranks_are_those_counted_one_by_one_whatever_the_block(n, m, seed, wanted):
    generator = np.random.default_rng(seed)
    # whole numbers: products are exact, and ties happen
    queries, candidates = (generator.integers(-2, 3, (k, 3)).astype(np.float32) for k in (n, m))
    pairs = sorted({(q % n, c % m) for q, c in wanted})
    expected = plainly(queries, candidates, pairs)
    kept = room._CELLS
    try:
        for cells in (1, 3 * m, kept):
            room._CELLS = cells
            assert positive_ranks(queries, candidates, np.array(pairs)).tolist() == expected
    finally:
        room._CELLS = kept


def test_other_right_ones_are_not_in_the_way():
    text = unit(np.array([[1.0, 0.0]]))
    pictures = unit(np.array([[1.0, 0.1], [1.0, 0.2], [1.0, 0.3], [0.0, 1.0]]))
    found = retrieval(pictures, text, [(0, 0), (1, 0), (2, 0)])
    assert found.text_to_image.ranks.tolist() == [1]
    assert found.image_to_text.queries.tolist() == [0, 1, 2]  # the last picture has no text
    assert found.image_to_text.recall[1].value == 1


def test_a_model_that_says_the_same_of_everything_finds_nothing():
    same = np.ones((20, 4)) / 2
    found = retrieval(same, same, [(k, k) for k in range(20)])
    assert found.text_to_image.ranks.tolist() == [20] * 20
    assert found.text_to_image.recall[10].value == 0
    assert found.text_to_image.chance[10] == pytest.approx(0.5)


@given(st.integers(1, 6), st.integers(1, 6), st.integers(1, 6))
def test_chance_is_what_all_shuffles_together_give(right, among, at):
    right = min(right, among)
    at = min(at, among)
    shuffles = list(itertools.combinations(range(among), at))
    hits = sum(any(place < right for place in first) for first in shuffles)
    assert chance_of(right, among=among, at=at) == pytest.approx(hits / len(shuffles))


def test_the_nearest_come_in_order_and_of_equals_the_first():
    queries = np.array([[1.0, 0.0]])
    candidates = np.array([[0.5, 0], [0.9, 0], [0.5, 0], [0.1, 0]])
    assert nearest(queries, candidates, count=3).tolist() == [[1, 0, 2]]
    assert nearest(queries, candidates, count=9).shape == (1, 4)


def test_groups_widen_the_interval_and_count_as_units():
    generator = np.random.default_rng(0)
    texts = unit(generator.normal(size=(30, 8)))
    images = unit(
        np.repeat(texts, 4, axis=0) + np.repeat(generator.normal(size=(30, 8)), 4, axis=0)
    )
    pairs = [(k, k // 4) for k in range(120)]
    alone = retrieval(images, texts, pairs).image_to_text.recall[1]
    together = retrieval(
        images, texts, pairs, image_groups=[str(k // 4) for k in range(120)]
    ).image_to_text.recall[1]
    assert (alone.units, together.units) == (120, 30)
    assert alone.value == together.value
    assert together.high - together.low > 1.5 * (alone.high - alone.low)


@given(st.lists(st.integers(1, 9), min_size=1, max_size=30), st.integers(0, 3))
@settings(deadline=None)
def test_the_median_is_numpys_and_inside_its_interval(ranks, seed):
    found = median_interval(ranks, resamples=50, seed=seed)
    assert found.value == np.median(ranks)
    assert min(ranks) <= found.low <= found.high <= max(ranks)


def test_resampled_medians_are_those_of_the_repeated_values():
    values = np.array([1.0, 2.0, 5.0, 9.0])
    times = np.array([[0, 2, 1, 1], [1, 1, 1, 1], [4, 0, 0, 0], [0, 0, 1, 2]])
    expected = [np.median(np.repeat(values, row)) for row in times]
    assert room._weighted_medians(values, times).tolist() == expected


def test_what_cannot_be_ranked_is_refused():
    vectors = np.eye(3)
    with pytest.raises(DataError, match="nothing to find"):
        retrieval(vectors, vectors, np.empty((0, 2), dtype=int))
    with pytest.raises(DataError, match=r"\[0, 7\]"):
        retrieval(vectors, vectors, [(0, 7)])
    with pytest.raises(DataError, match="cannot be compared"):
        retrieval(vectors, np.eye(4), [(0, 0)])
    with pytest.raises(DataError, match="no number"):
        retrieval(vectors * np.nan, vectors, [(0, 0)])
