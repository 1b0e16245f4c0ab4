"""How much clusters of frames say about phones: purities, and mutual information.

The measures of HuBERT (Hsu et al. 2021, section IV-E), of frames whose phone is known. Phone purity
grows with the number of clusters by itself (each frame its own cluster is pure), cluster purity
falls with it; the share of the phones' entropy that knowing the cluster takes away (PNMI) compares
best, though never beside one of another number of clusters without saying so.

Names: P phones, K clusters.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from minna.errors import DataError


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """Clusters beside phones.

    Attributes:
        phone_purity: share of frames whose phone is the commonest of their cluster.
        cluster_purity: share of frames whose cluster is the commonest of their phone.
        pnmi: mutual information over the entropy of the phones.
        frames: that were counted.
        phones: different ones.
        clusters: that any of these frames is in.
    """

    phone_purity: float
    cluster_purity: float
    pnmi: float
    frames: int
    phones: int
    clusters: int


def agreement(counts_PK: ArrayLike) -> Agreement:
    """Compare clusters with phones.

    Args:
        counts_PK: frames of each phone in each cluster.

    Raises:
        DataError: no frames, or all are of one phone, of which nothing can be known.
    """
    counts = np.asarray(counts_PK, dtype=np.float64)
    total = counts.sum()
    if counts.ndim != 2 or not total > 0:  # noqa: PLR2004 - phones and clusters
        raise DataError(f"clusters are compared with phones frame by frame, and there are {total}")
    joint = counts / total
    of_phones, of_clusters = joint.sum(axis=1), joint.sum(axis=0)
    entropy = _entropy(of_phones)
    if not entropy > 0:
        raise DataError(
            f"all {int(total)} frames are of one phone, so no cluster can say anything of it",
            remedy="compare on clips in which more is said",
        )
    shared = entropy + _entropy(of_clusters) - _entropy(joint.ravel())
    return Agreement(
        phone_purity=float(joint.max(axis=0).sum()),
        cluster_purity=float(joint.max(axis=1).sum()),
        pnmi=float(max(0.0, shared / entropy)),
        frames=int(total),
        phones=int((of_phones > 0).sum()),
        clusters=int((of_clusters > 0).sum()),
    )


def _entropy(shares: NDArray[np.float64]) -> float:
    """In nats."""
    there = shares[shares > 0]
    return float(-(there * np.log(there)).sum())
