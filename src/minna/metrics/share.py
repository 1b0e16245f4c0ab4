"""How sure a share of right answers is, also where all or none are right.

The bootstrap of 86 pictures that are all right says 100 to 100: no sample of them holds a wrong
one. Wilson's interval says 95.7 to 100, and is closer to what it promises everywhere else too, so
single items get it; where items belong together (one concept by four artists), whole groups are
drawn, and Wilson's over the number of groups stands in at the ends alone.
"""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike

from minna.errors import DataError
from minna.metrics.interval import Interval, mean_interval


def wilson(right: float, count: int, *, level: float = 0.95) -> tuple[float, float]:
    """The ends of Wilson's interval (1927) of `right` out of `count`, as shares.

    Raises:
        DataError: nothing was counted, or more was right than counted.
    """
    if count < 1 or not 0 <= right <= count:
        raise DataError(f"{right:g} right of {count} is no share")
    z = NormalDist().inv_cdf(0.5 + level / 2)
    share, part = right / count, z * z / count
    middle = (share + part / 2) / (1 + part)
    half = z * math.sqrt(share * (1 - share) / count + part / (4 * count)) / (1 + part)
    low = 0.0 if right == 0 else max(0.0, middle - half)
    high = 1.0 if right == count else min(1.0, middle + half)
    return low, high


def share_interval(
    right: ArrayLike,
    *,
    groups: ArrayLike | None = None,
    resamples: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> Interval:
    """The share of items that are right.

    Args:
        right: [N] 1 where an item is right, else 0.
        groups: [N] items of one group are drawn together; each item alone if None.
        resamples: bootstrap draws, where there are groups of several items.
        level: of the interval.
        seed: of the draws.

    Raises:
        DataError: no items, a value that is neither 0 nor 1, or lengths that differ.
    """
    right_N = np.asarray(right, dtype=np.float64)
    if right_N.ndim != 1 or len(right_N) == 0:
        raise DataError(f"a share needs at least one item, not the shape {right_N.shape}")
    if not np.isin(right_N, (0.0, 1.0)).all():
        raise DataError("a share counts items that are right (1) or wrong (0), and nothing between")
    value = float(right_N.mean())
    units = len(right_N) if groups is None else len(np.unique(np.asarray(groups)))
    if units < len(right_N) and 0 < value < 1:
        return mean_interval(right_N, groups=groups, resamples=resamples, level=level, seed=seed)
    low, high = wilson(value * units, units, level=level)
    return Interval(value=value, low=low, high=high, units=units)
