"""What labels of frames are like, and what they know of phones, read from the labels alone.

The middle of a frame decides which phone it belongs to: 12.5 ms behind its start. Frames behind the
last time that is told are left out.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from minna.corpus.clip_rows import timed_phones
from minna.corpus.read import part_batches, parts
from minna.errors import DataError

if TYPE_CHECKING:
    from minna.metrics.clusters import Agreement

_MIDDLE = 0.0125
"""Seconds from the start of a frame to its middle."""


@dataclass(frozen=True, kw_only=True)
class Usage:
    """How often labels were given.

    Attributes:
        clips: labelled.
        frames: labelled.
        distance: mean squared distance of a frame from its centre.
        used: different labels.
        perplexity: exp of the entropy of their shares.
    """

    clips: int
    frames: int
    distance: float
    used: int
    perplexity: float


def usage(sidecar: Path, *, clusters: int) -> Usage:
    """Count the labels of a side-car, or of the draft of one."""
    counts_K = np.zeros(clusters, dtype=np.int64)
    clips, squared = 0, 0.0
    for index in sorted((sidecar / "data").glob("*.parquet")):
        table = pq.read_table(index, columns=["frames", "distance"])
        clips += table.num_rows
        squared += float((table["frames"].to_numpy() * table["distance"].to_numpy()).sum())
        labels = np.load(index.with_suffix(".npy"), mmap_mode="r", allow_pickle=False)
        counts_K += np.bincount(labels, minlength=clusters)
    total = int(counts_K.sum())
    shares = counts_K[counts_K > 0] / max(total, 1)
    return Usage(
        clips=clips,
        frames=total,
        distance=squared / max(total, 1),
        used=len(shares),
        perplexity=float(np.exp(-(shares * np.log(shares)).sum())),
    )


def agree(corpus: Path, sidecar: Path, *, rate: int, clusters: int) -> Agreement | None:
    """Compare labels with phones where their times are known; None where they are not."""
    from minna.metrics.clusters import agreement

    names: dict[str, int] = {}
    rows: list[NDArray[np.int64]] = []
    for clip, labels_F in _labelled(corpus, sidecar):
        told = timed_phones(clip["phones"], clip["times"])
        if not told:
            continue
        ends = np.array([end for _, _, end in told])
        at_F = np.searchsorted(ends, np.arange(len(labels_F)) / rate + _MIDDLE, side="right")
        known = at_F < len(told)
        for place in np.unique(at_F[known]).tolist():
            number = names.setdefault(told[place][0], len(names))
            if number == len(rows):
                rows.append(np.zeros(clusters, dtype=np.int64))
            rows[number] += np.bincount(labels_F[at_F == place], minlength=clusters)
    try:
        return agreement(np.stack(rows)) if rows else None
    except DataError:
        return None  # one phone alone: there is nothing to know


def _labelled(corpus: Path, sidecar: Path) -> Iterator[tuple[dict[str, Any], NDArray[np.int64]]]:
    """Each clip's phones with its labels."""
    for part in parts(corpus):
        index = sidecar / "data" / f"{part.number:05d}.parquet"
        labels = np.load(index.with_suffix(".npy"), mmap_mode="r", allow_pickle=False)
        places = iter(pq.read_table(index, columns=["id", "start", "frames"]).to_pylist())
        for batch in part_batches(part, split="all", columns=("id", "phones", "times")):
            for clip in batch.to_pylist():
                place = next(places)
                assert place["id"] == clip["id"], "labels are in the order of the corpus"
                own = labels[place["start"] : place["start"] + place["frames"]]
                yield clip, own.astype(np.int64)
