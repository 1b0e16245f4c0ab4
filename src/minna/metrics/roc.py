"""How well a score tells two kinds apart, whatever cut is chosen: the ROC curve and its area.

The area is the chance that something of the first kind has a higher score than something of the
second (Mann and Whitney 1947): 1 is never wrong, 0.5 is a coin.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from minna.errors import DataError

Floats = NDArray[np.float64]


def area_under_roc(higher: ArrayLike, lower: ArrayLike) -> float:
    """Chance that one of `higher` is above one of `lower`, ties counted half.

    Args:
        higher: [N] scores of those that should be high.
        lower: [M] scores of those that should be low.

    Raises:
        DataError: one side is empty, or a score is no number.
    """
    above, below = _sorted(higher), _sorted(lower)
    under = np.searchsorted(below, above, side="left")
    at_most = np.searchsorted(below, above, side="right")
    return float((under.mean() + at_most.mean()) / 2 / len(below))


def passing(scores: ArrayLike, cuts: ArrayLike) -> Floats:
    """Share of scores at or above each cut, in their order.

    Raises:
        DataError: there are no scores, or one is no number.
    """
    ordered = _sorted(scores)
    places = np.searchsorted(ordered, np.asarray(cuts, dtype=np.float64), side="left")
    return 1 - places / len(ordered)


def roc_curve(higher: ArrayLike, lower: ArrayLike, *, points: int = 101) -> tuple[Floats, Floats]:
    """Shares of `lower` and of `higher` that pass, from (0, 0) to (1, 1), as the cut falls.

    Args:
        higher: [N] scores of those that should be high.
        lower: [M] scores of those that should be low.
        points: of the curve.

    Raises:
        DataError: one side is empty, or a score is no number.
    """
    both = np.concatenate([_sorted(higher), _sorted(lower)])
    cuts = np.quantile(both, np.linspace(1, 0, points))
    cuts[0] = np.inf
    return passing(lower, cuts), passing(higher, cuts)


def _sorted(scores: ArrayLike) -> Floats:
    values = np.sort(np.asarray(scores, dtype=np.float64).ravel())
    if not len(values):
        raise DataError("scores of one kind are needed on each side, and one side is empty")
    if not np.isfinite(values).all():
        raise DataError("scores must be finite", remedy="look for nan in what gave them")
    return values
