"""Documents that are in two corpora at once: one may hold out what the other trains on.

Ids are hashes of raw content, so the same id is the same text. Two Wikipedia dumps a year apart
share most of theirs, and each may draw its own valid and test: without this, a held-out document of
one would be trained on through the other.

All ids of 100 M documents are 800 MB of numbers, so they are compared in portions of equal
remainders, each at most about 4 M ids (80 MB while they are sorted).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq

from minna.corpus.components import id_numbers
from minna.corpus.read import Part, part_batches

IDS_AT_ONCE = 1 << 22

_Ids = npt.NDArray[np.uint64]


@dataclass(frozen=True, kw_only=True, eq=False)
class Overlap:
    """What several corpora have in common.

    Attributes:
        shared: documents in more than one corpus.
        left_out: for each corpus, sorted ids of copies that must not be read from it.
    """

    shared: int
    left_out: list[_Ids]


def find_overlap(corpora: Sequence[list[Part]], *, ids_at_once: int = IDS_AT_ONCE) -> Overlap:
    """Compare the ids of corpora and decide whose copy of a shared document is read.

    Held out in one corpus is held out in all: only the copy of the first corpus that holds it out
    is read. A document that all of them train on stays in each, since repeats were asked for.

    Args:
        corpora: the files of each.
        ids_at_once: how many ids may be in memory.
    """
    total = sum(_rows(part) for corpus in corpora for part in corpus)
    portions = max(1, math.ceil(total / ids_at_once))
    shared = 0
    left_out: list[list[_Ids]] = [[] for _ in corpora]
    for portion in range(portions):
        read = [_portion(corpus, portion, portions) for corpus in corpora]
        common = _in_several([ids for ids, _ in read])
        shared += len(common)
        for index, ids in enumerate(_not_to_read(read, common) if len(common) else []):
            left_out[index].append(ids)
    nothing = np.zeros(0, dtype=np.uint64)
    return Overlap(
        shared=shared, left_out=[np.sort(np.concatenate([nothing, *ids])) for ids in left_out]
    )


def _not_to_read(read: list[tuple[_Ids, npt.NDArray[np.bool_]]], common: _Ids) -> Iterator[_Ids]:
    held = [np.intersect1d(ids[out], common) for ids, out in read]
    anywhere = np.unique(np.concatenate(held))
    kept = np.zeros(0, dtype=np.uint64)
    for (ids, _), mine in zip(read, held, strict=True):
        first = np.setdiff1d(mine, kept, assume_unique=True)
        kept = np.union1d(kept, first)
        yield np.setdiff1d(np.intersect1d(ids, anywhere), first, assume_unique=True)


def _in_several(every: list[_Ids]) -> _Ids:
    ids, counts = np.unique(np.concatenate([np.unique(one) for one in every]), return_counts=True)
    return ids[counts > 1]


def _portion(corpus: list[Part], portion: int, portions: int) -> tuple[_Ids, npt.NDArray[np.bool_]]:
    """The ids of one remainder, and whether each is held out."""
    ids, held = [np.zeros(0, dtype=np.uint64)], [np.zeros(0, dtype=np.bool_)]
    for part in corpus:
        for batch in part_batches(part, split="all", columns=["id", "split"]):
            numbers = id_numbers(cast("list[str]", batch.column(0).to_pylist()), file=part.file)
            splits = np.asarray(batch.column(1).to_pylist())
            mine = numbers % np.uint64(portions) == portion
            ids.append(numbers[mine])
            held.append(splits[mine] != "train")
    return np.concatenate(ids), np.concatenate(held)


def _rows(part: Part) -> int:
    for _ in part_batches(part, split="all", columns=["id"]):
        break  # says in a user's words what is wrong with a damaged file
    with pq.ParquetFile(part.file) as parquet:
        return parquet.metadata.num_rows
