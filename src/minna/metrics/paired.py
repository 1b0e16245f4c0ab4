"""Is one model better than another on the same items, or did it only meet the easier ones?

Two models are asked the same questions, so their errors go together: the interval of the
*difference* is much narrower than the two intervals side by side suggest, and overlapping intervals
prove nothing. Right or wrong is tested exactly (McNemar 1947); any other figure by resampling items
for both models at once. Over several tasks the smallest p of many is small by chance; Holm's
correction (1979) keeps the chance of any false claim at the stated level.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from minna.errors import DataError
from minna.metrics.bootstrap import Statistic, group_sums, resampled
from minna.metrics.interval import mean_of_sums

_TIE = 1e-12
"""Differences below this are rounding of equal figures."""


@dataclass(frozen=True, kw_only=True)
class Difference:
    """Second minus first, on the same items.

    Attributes:
        value: the difference.
        low: end of its interval.
        high: other end.
        p: two-sided: how often so large a difference comes from chance alone.
        units: independent groups it rests on.
        test: "mcnemar" (exact) or "bootstrap".
    """

    value: float
    low: float
    high: float
    p: float
    units: int
    test: str


def mcnemar(only_first: int, only_second: int) -> float:
    """Exact two-sided p that two models are equally often right.

    Args:
        only_first: items that the first got right and the second wrong.
        only_second: the other way round. Items on which both agree say nothing.
    """
    discordant = only_first + only_second
    if discordant == 0:
        return 1.0
    tail = range(min(only_first, only_second) + 1)
    # in logarithms: 2^-n underflows beyond 1,074 items
    logs = [
        math.lgamma(discordant + 1)
        - math.lgamma(k + 1)
        - math.lgamma(discordant - k + 1)
        - discordant * math.log(2)
        for k in tail
    ]
    return min(1.0, 2 * math.fsum(math.exp(value) for value in logs))


def mean_difference(
    first: ArrayLike,
    second: ArrayLike,
    *,
    groups: ArrayLike | None = None,
    resamples: int = 10_000,
    level: float = 0.95,
    seed: int = 0,
) -> Difference:
    """Difference of two means over the same items.

    Where every score is 0 or 1 and every item stands alone, p is McNemar's; the interval is always
    the bootstrap's.

    Args:
        first: [N] scores of the one model.
        second: [N] scores of the other, in the same order of items.
        groups: [N] items that are drawn together.
        resamples: number of bootstrap draws; p cannot fall below 2 / (resamples + 1).
        level: share of the draws inside the interval.
        seed: of the draws.

    Raises:
        DataError: no items, or lengths that differ.
    """
    ours, theirs = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    if ours.shape != theirs.shape or ours.ndim != 1:
        raise DataError(f"two models must answer the same items, not {ours.size} and {theirs.size}")
    rows = np.stack([theirs - ours, np.ones_like(ours)], axis=-1)
    found = _difference(
        rows, mean_of_sums, groups=groups, resamples=resamples, level=level, seed=seed
    )
    alone = groups is None or found.units == len(ours)
    if alone and bool(np.isin(ours, (0, 1)).all() and np.isin(theirs, (0, 1)).all()):
        exact = mcnemar(int((ours > theirs).sum()), int((theirs > ours).sum()))
        return Difference(
            value=found.value,
            low=found.low,
            high=found.high,
            p=exact,
            units=found.units,
            test="mcnemar",
        )
    return found


def statistic_difference(
    first: ArrayLike,
    second: ArrayLike,
    statistic: Statistic,
    *,
    groups: ArrayLike | None = None,
    resamples: int = 10_000,
    level: float = 0.95,
    seed: int = 0,
) -> Difference:
    """Difference of any figure of sums (BLEU, Matthews) over the same items.

    Args:
        first: [N, K] what each item adds to the sums of the one model.
        second: [N, K] the same of the other.
        statistic: from sums [..., K] to the figure.
        groups: [N] items that are drawn together.
        resamples: number of bootstrap draws; p cannot fall below 2 / (resamples + 1).
        level: share of the draws inside the interval.
        seed: of the draws.

    Raises:
        DataError: no items, or shapes that differ.
    """
    ours, theirs = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    if ours.shape != theirs.shape or ours.ndim != 2:  # noqa: PLR2004 - items and their sums
        raise DataError(
            f"two models must answer the same items, not {ours.shape} and {theirs.shape}"
        )
    width = ours.shape[1]

    def both(sums: NDArray[np.float64]) -> NDArray[np.float64]:
        return statistic(sums[..., width:]) - statistic(sums[..., :width])

    rows = np.concatenate([ours, theirs], axis=1)
    return _difference(rows, both, groups=groups, resamples=resamples, level=level, seed=seed)


def holm(p_values: Sequence[float]) -> list[float]:
    """Corrected p of several tests, in their order (Holm 1979)."""
    order = sorted(range(len(p_values)), key=p_values.__getitem__)
    corrected = [0.0] * len(p_values)
    reached = 0.0
    for rank, index in enumerate(order):
        reached = max(reached, min(1.0, (len(order) - rank) * p_values[index]))
        corrected[index] = reached
    return corrected


def _difference(
    rows: ArrayLike,
    statistic: Statistic,
    *,
    groups: ArrayLike | None,
    resamples: int,
    level: float,
    seed: int,
) -> Difference:
    rows_GK = group_sums(rows, groups=groups)
    draws = resampled(rows_GK, statistic, resamples=resamples, seed=seed)
    tail = (1 - level) / 2
    low, high = np.quantile(draws, [tail, 1 - tail])
    value = statistic(rows_GK.sum(axis=0, keepdims=True))[0]
    # the value itself counts as one more draw, so that p is never zero
    rarer = min((draws <= _TIE).sum(), (draws >= -_TIE).sum())
    return Difference(
        value=float(value),
        low=float(low),
        high=float(high),
        p=min(1.0, 2 * float(1 + rarer) / (resamples + 1)),
        units=len(rows_GK),
        test="bootstrap",
    )
