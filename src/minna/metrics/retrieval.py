"""How high the right one stands when texts look for pictures, and pictures for texts.

One concept drawn by four artists is four right answers to its name, and a picture may have several
captions: counted as wrong, they would push each other down. So a query is answered where the best
of its right ones stands, and the others are not in its way. An equal score is in its way: a model
that gives every picture the same vector finds nothing, and must not be told it found everything.

Scores are float32 products of the whole, a part of the queries at a time: exact, in bounded memory.

Names: N queries, M candidates, D width, P pairs that belong together, G groups, R draws.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from minna.errors import DataError
from minna.metrics.interval import Interval
from minna.metrics.share import share_interval

Vectors = NDArray[np.floating[Any]]
Ints = NDArray[np.int64]

_CELLS = 4_000_000
"""Scores held at once: 16 MB."""


@dataclass(frozen=True, kw_only=True)
class Direction:
    """One way of looking: texts for pictures, or pictures for texts.

    Attributes:
        queries: [Q] numbers of those that have something to find, ascending.
        ranks: [Q] where the best right one stands, from 1.
        candidates: among how many.
        recall: k -> share of queries with a right one among the first k.
        median: of the ranks.
        chance: k -> what guessing would reach.
    """

    queries: Ints
    ranks: Ints
    candidates: int
    recall: dict[int, Interval]
    median: Interval
    chance: dict[int, float]


@dataclass(frozen=True, kw_only=True)
class Retrieval:
    """Both ways of looking."""

    image_to_text: Direction
    text_to_image: Direction


def retrieval(
    images: Vectors,
    texts: Vectors,
    positives: ArrayLike,
    *,
    image_groups: ArrayLike | None = None,
    text_groups: ArrayLike | None = None,
    at: Sequence[int] = (1, 5, 10),
    resamples: int = 1000,
    seed: int = 0,
) -> Retrieval:
    """Look both ways.

    A picture or text without anything that belongs to it is no query, but it is in the others' way.

    Args:
        images: [N, D] L2-normalised.
        texts: [M, D] L2-normalised; a text that stands twice should be one row.
        positives: [P, 2] (image, text) numbers that belong together.
        image_groups: [N] what is drawn together in intervals; each picture alone if None.
        text_groups: [M] the same for texts.
        at: the k of recall.
        resamples: bootstrap draws.
        seed: of the draws.

    Raises:
        DataError: no pairs, a number outside, or widths that differ.
    """
    pairs_P2 = np.asarray(positives, dtype=np.int64).reshape(-1, 2)
    image_ranks = positive_ranks(images, texts, pairs_P2)
    text_ranks = positive_ranks(texts, images, pairs_P2[:, ::-1])
    of_images = np.bincount(pairs_P2[:, 0], minlength=len(images))
    of_texts = np.bincount(pairs_P2[:, 1], minlength=len(texts))
    return Retrieval(
        image_to_text=_direction(
            image_ranks, of_images, len(texts), image_groups, at, resamples=resamples, seed=seed
        ),
        text_to_image=_direction(
            text_ranks, of_texts, len(images), text_groups, at, resamples=resamples, seed=seed
        ),
    )


def positive_ranks(queries: Vectors, candidates: Vectors, positives: Ints) -> Ints:
    """[N] where the best right candidate of each query stands, from 1; 0 where it has none.

    Args:
        queries: [N, D].
        candidates: [M, D].
        positives: [P, 2] (query, candidate) numbers that belong together.

    Raises:
        DataError: no pairs, a number outside, widths that differ, or a score that is no number.
    """
    _check(queries, candidates, positives)
    pairs_P2 = np.unique(positives, axis=0)  # sorted by query
    ranks_N = np.zeros(len(queries), dtype=np.int64)
    part = max(1, _CELLS // max(1, len(candidates)))
    for start in range(0, len(queries), part):
        end = min(start + part, len(queries))
        first, last = np.searchsorted(pairs_P2[:, 0], [start, end])
        if first == last:
            continue
        scores_QM = (
            np.asarray(queries[start:end], np.float32) @ np.asarray(candidates, np.float32).T
        )
        if not np.isfinite(scores_QM).all():
            raise DataError("a similarity is no number", remedy="are the model's weights damaged?")
        rows, columns = pairs_P2[first:last, 0] - start, pairs_P2[first:last, 1]
        best_Q = np.full(end - start, -np.inf, dtype=np.float32)
        np.maximum.at(best_Q, rows, scores_QM[rows, columns])
        scores_QM[rows, columns] = -np.inf
        found = np.isfinite(best_Q)
        ranks_N[start:end] = np.where(found, 1 + (scores_QM >= best_Q[:, None]).sum(axis=1), 0)
    return ranks_N


def nearest(queries: Vectors, candidates: Vectors, *, count: int) -> Ints:
    """[N, count] numbers of the candidates with the highest scores, the highest first.

    Of equals the first comes first; fewer where there are fewer.
    """
    table = np.asarray(candidates, np.float32).T
    part = max(1, _CELLS // max(1, len(candidates)))
    found = [
        np.argsort(-(np.asarray(queries[start : start + part], np.float32) @ table), axis=1,
                   kind="stable")[:, :count]
        for start in range(0, len(queries), part)
    ]  # fmt: skip
    return np.concatenate(found) if found else np.empty((0, count), dtype=np.int64)


def chance_of(right: int, *, among: int, at: int) -> float:
    """The chance that at least one of `right` stands among the first `at` of a shuffled list."""
    if among - right < at:
        return 1.0
    missed = 1.0
    for place in range(at):
        missed *= (among - right - place) / (among - place)
    return 1 - missed


def median_interval(
    values: ArrayLike,
    *,
    groups: ArrayLike | None = None,
    resamples: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> Interval:
    """Median with a percentile bootstrap interval.

    Args:
        values: [N] one per item.
        groups: [N] items of one group are drawn together; each item alone if None.
        resamples: number of bootstrap draws.
        level: share of the draws inside the interval.
        seed: of the draws.

    Raises:
        DataError: no items, or lengths that differ.
    """
    values_N = np.asarray(values, dtype=np.float64)
    if values_N.ndim != 1 or len(values_N) == 0:
        raise DataError(f"a median needs at least one item, not the shape {values_N.shape}")
    member_N = np.arange(len(values_N))
    if groups is not None:
        member_N = np.unique(np.asarray(groups), return_inverse=True)[1]
        if member_N.shape != values_N.shape:
            raise DataError(f"{len(member_N)} groups were given for {len(values_N)} items")
    order = np.argsort(values_N, kind="stable")
    sorted_N, member_N = values_N[order], member_N[order]
    units = int(member_N.max()) + 1
    generator = np.random.default_rng(seed)
    part = max(1, _CELLS // len(values_N))
    found: list[NDArray[np.float64]] = []
    for start in range(0, resamples, part):
        draws = min(part, resamples - start)
        chosen = generator.integers(0, units, size=(draws, units))
        chosen += np.arange(draws)[:, None] * units
        times_RG = np.bincount(chosen.ravel(), minlength=draws * units).reshape(draws, units)
        found.append(_weighted_medians(sorted_N, times_RG[:, member_N]))
    tail = (1 - level) / 2
    low, high = np.quantile(np.concatenate(found), [tail, 1 - tail])
    return Interval(value=float(np.median(values_N)), low=float(low), high=float(high), units=units)


def _weighted_medians(sorted_N: NDArray[np.float64], times_RN: Ints) -> NDArray[np.float64]:
    """[R] medians of ascending values that stand so many times each."""
    upto_RN = np.cumsum(times_RN, axis=1)
    half_R = upto_RN[:, -1:] / 2
    lower = (upto_RN < half_R).sum(axis=1)
    upper = (upto_RN <= half_R).sum(axis=1)
    return (sorted_N[lower] + sorted_N[np.minimum(upper, len(sorted_N) - 1)]) / 2


def _direction(
    ranks_N: Ints,
    right_N: Ints,
    candidates: int,
    groups: ArrayLike | None,
    at: Sequence[int],
    *,
    resamples: int,
    seed: int,
) -> Direction:
    queries = np.flatnonzero(ranks_N)
    ranks = ranks_N[queries]
    of_queries = None if groups is None else np.asarray(groups)[queries]
    counts, times = np.unique(right_N[queries], return_counts=True)
    chance = {
        k: sum(
            chance_of(count, among=candidates, at=k) * number
            for count, number in zip(counts.tolist(), times.tolist(), strict=True)
        )
        / len(queries)
        for k in at
    }
    return Direction(
        queries=queries,
        ranks=ranks,
        candidates=candidates,
        recall={
            k: share_interval(ranks <= k, groups=of_queries, resamples=resamples, seed=seed)
            for k in at
        },
        median=median_interval(ranks, groups=of_queries, resamples=resamples, seed=seed),
        chance=chance,
    )


def _check(queries: Vectors, candidates: Vectors, positives: Ints) -> None:
    shapes = queries.shape, candidates.shape
    if queries.ndim != 2 or candidates.ndim != 2 or shapes[0][1] != shapes[1][1]:  # noqa: PLR2004
        raise DataError(f"vectors of shapes {shapes[0]} and {shapes[1]} cannot be compared")
    if len(positives) == 0:
        raise DataError(
            "no picture and no text belong together, so there is nothing to find",
            remedy="give pairs whose captions are not empty",
        )
    outside = (positives < 0) | (positives >= np.array([len(queries), len(candidates)]))
    if outside.any():
        row = positives[np.flatnonzero(outside.any(axis=1))[0]].tolist()
        raise DataError(
            f"the pair {row} names none of {len(queries)} and {len(candidates)} vectors"
        )
