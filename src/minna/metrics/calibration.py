"""Whether somebody who says 80 % is right in 80 % of the cases."""

from __future__ import annotations

from collections.abc import Sequence


def expected_calibration_error(
    probabilities: Sequence[float], right: Sequence[bool], *, bins: int = 10
) -> float:
    """Mean distance between what was claimed and what held (Naeini et al. 2015).

    Args:
        probabilities: claimed for each case, between 0 and 1.
        right: whether it held.
        bins: of equal width; each weighs what it holds.

    Returns:
        0 (calibrated, or no case) to 1.
    """
    total = [0.0] * bins
    held = [0] * bins
    count = [0] * bins
    for claimed, was in zip(probabilities, right, strict=True):
        place = min(bins - 1, int(claimed * bins))
        total[place] += claimed
        held[place] += was
        count[place] += 1
    if not probabilities:
        return 0.0
    apart = sum(abs(total[k] - held[k]) for k in range(bins))
    return apart / len(probabilities)
