"""A value with the range that chance alone would give it.

The bootstrap draws whole *groups* (one work, all translations of one sentence), not documents: what
was written together errs together, and an interval that ignores it is too narrow.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import ArrayLike, NDArray

from minna.errors import DataError
from minna.metrics.bootstrap import Statistic, group_sums, resampled


@dataclasses.dataclass(frozen=True, kw_only=True)
class Interval:
    """A figure and the ends of its interval; `units` is how many independent groups it rests on."""

    value: float
    low: float
    high: float
    units: int


def ratio_interval(
    numerators: ArrayLike,
    denominators: ArrayLike,
    *,
    groups: ArrayLike | None = None,
    resamples: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> Interval:
    """Sum of numerators over sum of denominators, with a percentile bootstrap interval.

    A ratio of sums, never a mean of ratios: a short document must not weigh as much as a long one.
    With a single group there is nothing to resample, and the interval is the value itself.

    Args:
        numerators: [N] float, one per document.
        denominators: [N] float, one per document, their sum above zero.
        groups: [N] of any sortable dtype; documents of one group are drawn together.
        resamples: number of bootstrap draws.
        level: share of the draws inside the interval.
        seed: of the draws.

    Raises:
        DataError: no documents, lengths that differ, a denominator sum that is not positive.
    """
    upper = np.asarray(numerators, dtype=np.float64)
    lower = np.asarray(denominators, dtype=np.float64)
    _check(upper, lower)
    if groups is not None:
        names, member = np.unique(np.asarray(groups), return_inverse=True)
        if member.shape != upper.shape:
            raise DataError(f"{len(member)} groups were given for {len(upper)} documents")
        upper = np.bincount(member, weights=upper, minlength=len(names)).astype(np.float64)
        lower = np.bincount(member, weights=lower, minlength=len(names)).astype(np.float64)
    draws = _resampled(upper, lower, resamples=resamples, seed=seed)
    tail = (1 - level) / 2
    low, high = np.quantile(draws, [tail, 1 - tail])
    return Interval(
        value=float(upper.sum() / lower.sum()), low=float(low), high=float(high), units=len(upper)
    )


def _check(upper: NDArray[np.float64], lower: NDArray[np.float64]) -> None:
    if upper.ndim != 1 or upper.shape != lower.shape or len(upper) == 0:
        raise DataError(
            f"a ratio needs two equally long lists of at least one document, not shapes "
            f"{upper.shape} and {lower.shape}"
        )
    if not (lower >= 0).all() or not lower.sum() > 0:
        raise DataError(f"denominators must be positive, and they sum to {lower.sum()}")


def _resampled(
    upper: NDArray[np.float64], lower: NDArray[np.float64], *, resamples: int, seed: int
) -> NDArray[np.float64]:
    """[resamples] ratios of bootstrap samples; one draw at a time keeps memory at one corpus."""
    generator = np.random.default_rng(seed)
    draws = np.empty(resamples)
    for number in range(resamples):
        chosen = generator.integers(0, len(upper), size=len(upper))
        below = lower[chosen].sum()
        # only groups without a single byte were drawn: possible in toys, no evidence either way
        draws[number] = upper[chosen].sum() / below if below > 0 else upper.sum() / lower.sum()
    return draws


def statistic_interval(
    rows: ArrayLike,
    statistic: Statistic,
    *,
    groups: ArrayLike | None = None,
    resamples: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> Interval:
    """Any figure of sums over items, with a percentile bootstrap interval.

    Args:
        rows: [N, K] what each item adds to the sums.
        statistic: from sums [..., K] to the figure.
        groups: [N] items of one group are drawn together; each item alone if None.
        resamples: number of bootstrap draws.
        level: share of the draws inside the interval.
        seed: of the draws.

    Raises:
        DataError: no items, or lengths that differ.
    """
    rows_GK = group_sums(rows, groups=groups)
    draws = resampled(rows_GK, statistic, resamples=resamples, seed=seed)
    tail = (1 - level) / 2
    low, high = np.quantile(draws, [tail, 1 - tail])
    value = statistic(rows_GK.sum(axis=0, keepdims=True))[0]
    return Interval(value=float(value), low=float(low), high=float(high), units=len(rows_GK))


def mean_interval(
    values: ArrayLike,
    *,
    groups: ArrayLike | None = None,
    resamples: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> Interval:
    """Mean over items with a percentile bootstrap interval.

    Every item weighs the same, also in a sample that drew large groups: the figure is the sum of
    the values over the number of items, both of the sample.

    Args:
        values: [N] one per item.
        groups: [N] items of one group are drawn together; each item alone if None.
        resamples: number of bootstrap draws.
        level: share of the draws inside the interval.
        seed: of the draws.

    Raises:
        DataError: no items, or lengths that differ.
    """
    column = np.asarray(values, dtype=np.float64)
    return statistic_interval(
        np.stack([column, np.ones_like(column)], axis=-1),
        mean_of_sums,
        groups=groups,
        resamples=resamples,
        level=level,
        seed=seed,
    )


def mean_of_sums(sums: NDArray[np.float64]) -> NDArray[np.float64]:
    """[...] first sum over second, of sums [..., 2]: the statistic of a mean."""
    return sums[..., 0] / sums[..., 1]


def standard_error(values: ArrayLike) -> float:
    """Standard error of a mean of independent items: sample deviation over the root of n.

    What evaluation harnesses print beside an accuracy. It knows no groups, and it is no interval:
    for 2 right answers of 250 it is +-0.56 points about 0.8, the interval 0 to 2.

    Raises:
        DataError: fewer than two values.
    """
    column = np.asarray(values, dtype=np.float64)
    if column.ndim != 1 or len(column) < 2:  # noqa: PLR2004 - one value has no deviation
        raise DataError(f"a standard error needs at least two values, not {column.size}")
    return float(column.std(ddof=1) / np.sqrt(len(column)))
