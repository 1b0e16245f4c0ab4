"""Bits per byte: the one figure that compares language models of any tokenizer.

Loss per token punishes long tokens (4.9 bytes each at 4k pieces, 5.9 at 8k), so it cannot compare
two tokenizers; the cost of the text itself can. The convention everywhere in minna: a document of n
UTF-8 bytes counts n + 1, because its end must be predicted too and is worth a newline; the models
pay for that end with `</s>`, xz with the newline that joins documents.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from minna.metrics.interval import Interval, ratio_interval


def document_bytes(texts: Sequence[str]) -> NDArray[np.int64]:
    """[N] bytes that documents count for: their UTF-8 length, and one for their end."""
    return np.array([len(text.encode()) + 1 for text in texts], dtype=np.int64)


def bits_per_byte(
    nats: ArrayLike,
    byte_counts: ArrayLike,
    *,
    groups: ArrayLike | None = None,
    resamples: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> Interval:
    """Bits per byte of a set of documents, with a bootstrap interval.

    Args:
        nats: [N] negative log-likelihood of each document in nats, its `</s>` included.
        byte_counts: [N] from `document_bytes`.
        groups: [N] what belongs together and is resampled together; each document alone if None.
        resamples: number of bootstrap draws.
        level: share of the draws inside the interval.
        seed: of the draws.

    Raises:
        DataError: no documents, or lengths that differ.
    """
    nats_per_byte = ratio_interval(
        nats, byte_counts, groups=groups, resamples=resamples, level=level, seed=seed
    )
    return dataclasses.replace(
        nats_per_byte,
        value=nats_per_byte.value / math.log(2),
        low=nats_per_byte.low / math.log(2),
        high=nats_per_byte.high / math.log(2),
    )
