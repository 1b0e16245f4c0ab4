"""Second pass over files that are rows: which are copies, and what must stay on one side.

Only the descriptions of the first pass are read: 16 bytes of sha256 for equal ones, the group that
the source knows. B rows, L links between two of them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from minna.corpus.passes.blobs import seen_columns
from minna.corpus.passes.stage import Part

Int64 = npt.NDArray[np.int64]
UInt64 = npt.NDArray[np.uint64]

_COMPUTE: Any = pc  # its functions are made when it is imported: no checker knows them


def joined(arrays: list[npt.NDArray[Any]], kind: Any) -> Any:
    """Arrays of the parts as one, also where there is none."""
    return np.concatenate([np.zeros(0, dtype=kind), *arrays]).astype(kind)


def are_good(table: pa.Table) -> npt.NDArray[np.bool_]:
    """Which rows have no problem."""
    return np.asarray(_COMPUTE.equal(table.column("problem"), ""), dtype=np.bool_)


def digests(tables: Sequence[pa.Table], name: str = "digest") -> UInt64:
    """A column of 16 bytes [B, 2]."""
    raw = b"".join(value for table in tables for value in table.column(name).to_pylist())
    return np.frombuffer(raw, dtype=">u8").astype(np.uint64).reshape(-1, 2)


def group_hashes(table: pa.Table) -> UInt64:
    """A number for each group that a source knows, 0 where it knows none."""
    names = cast("list[str]", table.column("group").to_pylist())
    return np.asarray([_hash(name) if name else 0 for name in names], dtype=np.uint64)


def _hash(name: str) -> int:
    return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), "big") or 1


def first_of(groups: UInt64, links: Int64, good: npt.NDArray[np.bool_]) -> Int64:
    """The first usable row of all whose groups are joined by equality or a link [B]."""
    known, place = np.unique(groups, return_inverse=True)
    first = np.full(len(known), len(groups), dtype=np.int64)
    here = np.flatnonzero(good)
    np.minimum.at(first, place[here], here)
    ends = place[links]
    while True:  # as many rounds as a chain of links is long, at most
        before = first.copy()
        lowest = first[ends].min(axis=1) if len(ends) else np.zeros(0, np.int64)
        np.minimum.at(first, ends[:, 0], lowest)
        np.minimum.at(first, ends[:, 1], lowest)
        if np.array_equal(before, first):
            return first[place]


def told_groups(parts: Sequence[Part], names: Int64, starts: Int64) -> dict[int, str]:
    """The names of groups, of those rows that name the group of another one."""
    wanted = np.unique(names[names != np.arange(len(names))])
    found: dict[int, str] = {}
    for part, start, stop in zip(parts, starts[:-1], starts[1:], strict=True):
        here = wanted[(wanted >= start) & (wanted < stop)]
        if len(here):
            rows = seen_columns(part, "group", "digest").take(pa.array(here - start)).to_pylist()
            for number, row in zip(here.tolist(), rows, strict=True):
                found[number] = row["group"] or row["digest"].hex()[:16]
    return found
