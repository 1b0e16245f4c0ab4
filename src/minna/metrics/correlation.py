"""Do two columns of figures go together? Pearson on the values, Spearman on their ranks.

Similarity data sets compare a model's cosine with what people said, 0 to 5. The cosine has no scale
of its own, so the order is what counts (Spearman); people's scores stand in many ties, which get
the mean of their ranks, as every statistics package has it.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from minna.errors import DataError
from minna.metrics.interval import Interval

Floats = NDArray[np.float64]
_FEWEST = 3


def average_ranks(values: ArrayLike) -> Floats:
    """[N] ranks from 1, equal values sharing the mean of theirs."""
    _, place_N, counts = np.unique(
        np.asarray(values, dtype=np.float64), return_inverse=True, return_counts=True
    )
    return (np.cumsum(counts) - (counts - 1) / 2)[place_N]


def pearson(first: ArrayLike, second: ArrayLike) -> float:
    """Correlation of two columns, -1..1; 0 where one of them is constant."""
    left, right = (np.asarray(side, dtype=np.float64) for side in (first, second))
    left, right = left - left.mean(), right - right.mean()
    spread = float(np.sqrt((left @ left) * (right @ right)))
    return float(np.clip(left @ right / spread, -1, 1)) if spread > 0 else 0.0


def spearman(first: ArrayLike, second: ArrayLike) -> float:
    """Correlation of the ranks of two columns, -1..1; 0 where one of them is constant."""
    return pearson(average_ranks(first), average_ranks(second))


def correlation_interval(
    first: ArrayLike,
    second: ArrayLike,
    correlation: Callable[[Floats, Floats], float],
    *,
    resamples: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> Interval:
    """A correlation with a percentile bootstrap interval over its pairs.

    Args:
        first: [N] one column.
        second: [N] the other.
        correlation: `pearson` or `spearman`; ranks are made anew in every draw.
        resamples: number of bootstrap draws.
        level: share of the draws inside the interval.
        seed: of the draws.

    Raises:
        DataError: fewer than three pairs, lengths that differ, or a value that is no number.
    """
    left, right = (np.asarray(side, dtype=np.float64) for side in (first, second))
    if left.ndim != 1 or left.shape != right.shape or len(left) < _FEWEST:
        raise DataError(
            f"a correlation needs two equally long columns of at least {_FEWEST} figures, not "
            f"shapes {left.shape} and {right.shape}"
        )
    if not (np.isfinite(left).all() and np.isfinite(right).all()):
        raise DataError("a correlation needs finite figures", remedy="look for nan in the columns")
    generator = np.random.default_rng(seed)
    draws = np.empty(resamples)
    for number in range(resamples):
        chosen = generator.integers(0, len(left), size=len(left))
        draws[number] = correlation(left[chosen], right[chosen])
    tail = (1 - level) / 2
    low, high = np.quantile(draws, [tail, 1 - tail])
    return Interval(
        value=correlation(left, right), low=float(low), high=float(high), units=len(left)
    )
