"""What a side-car of scores says as a whole: read from its files, so a page can be made again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from minna.metrics.roc import area_under_roc, passing

Floats = NDArray[np.float32]
CUTS: Final = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
"""Shares of pictures that a cut leaves out."""
_COMPUTE: Any = pc  # its functions are made when it is imported: no checker knows them


@dataclass(frozen=True, kw_only=True, eq=False)
class ClipFigures:
    """The scores of a corpus.

    Attributes:
        read: pictures of the corpus.
        best: [N] score of the best caption of each scored picture.
        places: [N] their rows, counted over all files.
        each: [M] scores of all captions.
        shuffled_best: the best of another picture's captions, where there was another.
        shuffled_each: all of those.
        problems: why pictures have no score -> pictures.
    """

    read: int
    best: Floats
    places: NDArray[np.int64]
    each: Floats
    shuffled_best: Floats
    shuffled_each: Floats
    problems: dict[str, int]

    @cached_property
    def auc(self) -> float | None:
        """Chance that a caption scores above a shuffled one."""
        if not len(self.shuffled_each) or not len(self.each):
            return None
        return area_under_roc(self.each, self.shuffled_each)

    @cached_property
    def auc_best(self) -> float | None:
        """The same of the best caption of each picture."""
        if not len(self.shuffled_best) or not len(self.best):
            return None
        return area_under_roc(self.best, self.shuffled_best)

    @cached_property
    def cuts(self) -> NDArray[np.float64]:
        """Scores below which the shares `CUTS` of pictures lie."""
        return np.quantile(self.best.astype(np.float64), CUTS)

    def shuffled_kept(self) -> list[float | None]:
        """Share of shuffled pairs at or above each of `cuts`."""
        if not len(self.shuffled_best):
            return [None] * len(CUTS)
        return [float(share) for share in passing(self.shuffled_best, self.cuts)]


def read_figures(sidecar: Path) -> ClipFigures:
    """Read the files of a side-car that `label clip-score` wrote, or is writing."""
    read = 0
    problems: Counter[str] = Counter()
    best: list[Floats] = []
    places: list[NDArray[np.int64]] = []
    each: list[Floats] = []
    shuffled_best: list[Floats] = []
    shuffled_each: list[Floats] = []
    for file in sorted((sidecar / "data").glob("*.parquet")):
        table: Any = pq.read_table(file, columns=["scores", "shuffled", "problem"])
        problems.update(why for why in table.column("problem").to_pylist() if why)
        scores, others = (table.column(name).combine_chunks() for name in ("scores", "shuffled"))
        own, places_here = _largest(scores)
        best.append(own)
        places.append(places_here + read)
        each.append(_flat(scores))
        shuffled_best.append(_largest(others)[0])
        shuffled_each.append(_flat(others))
        read += len(table)
    return ClipFigures(
        read=read,
        best=_joined(best),
        places=np.concatenate([np.zeros(0, np.int64), *places]),
        each=_joined(each),
        shuffled_best=_joined(shuffled_best),
        shuffled_each=_joined(shuffled_each),
        problems=dict(problems),
    )


def _largest(lists: Any) -> tuple[Floats, NDArray[np.int64]]:
    """The largest number of each list that has one, and the places of those lists."""
    sizes = np.asarray(_COMPUTE.list_value_length(lists), dtype=np.int64)
    (places,) = np.nonzero(sizes)
    flat = _flat(lists)
    if not len(places):
        return flat, places
    starts = np.concatenate([[0], np.cumsum(sizes[places])[:-1]])
    return np.maximum.reduceat(flat, starts), places


def _flat(lists: Any) -> Floats:
    return np.asarray(lists.flatten(), dtype=np.float32)


def _joined(arrays: Sequence[Floats]) -> Floats:
    return np.concatenate([np.zeros(0, np.float32), *arrays])
