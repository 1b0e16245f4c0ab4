"""Second pass over a pair corpus: which pictures are copies, and what must stay on one side.

Equal files are one picture with the captions of all. Pictures that are nearly equal (a copy scaled,
saved again, with a line of text) stay, each with its captions, but share a group: a held-out
picture must not be one that was trained on. They are found by their difference hashes: two that
differ in at most two bits agree in two of the four quarters of the 64, so only pictures that agree
in two quarters are compared, and each with at most a thousand of them (drawings on white agree in
half of their bits by the ten thousand). A hash with almost no bit or almost all of them set is a
blank or one gradient; it says nothing, and such pictures are not compared.

P pictures, L links between two of them.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from minna.corpus.pair_rows import Caption
from minna.corpus.passes.blobs import seen_columns
from minna.corpus.passes.grouping import (
    Int64,
    UInt64,
    are_good,
    digests,
    first_of,
    group_hashes,
    joined,
    told_groups,
)
from minna.corpus.passes.select import exact_copies
from minna.corpus.passes.stage import Part

_BITS: Final = 64
_QUARTERS: Final = [0xFFFF << (16 * place) for place in range(4)]
_HALVES: Final = [one | other for one, other in itertools.combinations(_QUARTERS, 2)]
_MOST_COMPARED: Final = 1000
_TELLING: Final = 4  # a hash with fewer bits set, or unset, says nothing


@dataclass(frozen=True, kw_only=True)
class Selection:
    """What is decided about every picture, in the order of the source.

    Attributes:
        stays: whether it is written [P].
        copies: whether it goes because an equal file came before [P].
        names: the picture that names its group [P]: the first of all that belong together.
        told: names of groups, of those pictures that name others' groups.
        further: picture -> captions of its copies.
        dropped: reason -> pictures.
        near: pictures that share a group because they look alike.
        starts: the first picture of each part [parts + 1].
    """

    stays: npt.NDArray[np.bool_]
    copies: npt.NDArray[np.bool_]
    names: Int64
    starts: Int64
    told: dict[int, str] = field(default_factory=dict[int, str])
    further: dict[int, list[Caption]] = field(default_factory=dict[int, list[Caption]])
    dropped: Counter[str] = field(default_factory=Counter[str])
    near: int = 0


def select(parts: Sequence[Part], *, near: int | None) -> Selection:
    """Decide about all pictures that were described.

    Args:
        parts: of the first pass.
        near: bits in which the hashes of nearly equal pictures differ at most; None does not look.
    """
    tables = [seen_columns(part, "problem", "digest", "hash", "group") for part in parts]
    starts = np.cumsum([0, *(table.num_rows for table in tables)])
    good = joined([are_good(table) for table in tables], np.bool_)
    files = digests(tables)
    hashes = joined([np.asarray(table.column("hash")) for table in tables], np.uint64)
    groups = joined([group_hashes(table) for table in tables], np.uint64)
    stays = good.copy()
    found = np.flatnonzero(good)
    links = found[exact_copies(files[found])]
    copies = np.zeros(len(good), dtype=np.bool_)
    copies[links[:, 1]] = True
    stays &= ~copies
    own = np.flatnonzero(stays)
    alike = own[near_pairs(hashes[own], bits=near)] if near is not None else links[:0]
    alone = groups == 0
    groups[alone] = files[alone, 0]
    names = first_of(groups, np.concatenate((links, alike)), good)
    dropped: Counter[str] = Counter()
    for table in tables:
        dropped.update(reason for reason in table.column("problem").to_pylist() if reason)
    dropped["duplicate"] = int(copies.sum())
    return Selection(
        stays=stays,
        copies=copies,
        names=names,
        starts=starts,
        told=told_groups(parts, names, starts),
        further=_further(parts, links, starts),
        dropped=+dropped,
        near=len(np.unique(alike)),
    )


def near_pairs(hashes: UInt64, *, bits: int) -> Int64:
    """Pairs of pictures whose hashes differ in at most `bits` (0 to 2) bits [L, 2].

    Of many with one hash, each is paired with the first of them only: together they are one group
    all the same.
    """
    told = np.bitwise_count(hashes)
    sure = np.flatnonzero((told >= _TELLING) & (told <= _BITS - _TELLING))
    values, first, inverse = np.unique(hashes[sure], return_index=True, return_inverse=True)
    firsts = sure[first]
    equal = np.stack((firsts[inverse], sure), axis=1)
    found = [equal[equal[:, 0] != equal[:, 1]]]
    for half in _HALVES if bits else ():
        keys = values & np.uint64(half)
        order = np.lexsort((values, keys))
        keys, ordered = keys[order], values[order]
        at = np.arange(len(order))
        for step in range(1, _MOST_COMPARED + 1):
            at = at[at + step < len(order)]
            at = at[keys[at] == keys[at + step]]
            if not len(at):
                break
            close = at[np.bitwise_count(ordered[at] ^ ordered[at + step]) <= bits]
            found.append(np.stack((firsts[order[close]], firsts[order[close + step]]), axis=1))
    return np.unique(np.sort(np.concatenate(found), axis=1), axis=0)


def _further(parts: Sequence[Part], links: Int64, starts: Int64) -> dict[int, list[Caption]]:
    """Captions of copies, by the picture they are copies of."""
    original = dict(zip(links[:, 1].tolist(), links[:, 0].tolist(), strict=True))
    found: dict[int, list[Caption]] = {}
    for part, start, stop in zip(parts, starts[:-1], starts[1:], strict=True):
        here = [number for number in original if start <= number < stop]
        if here:
            rows = seen_columns(part, "captions").take(pa.array([n - start for n in here]))
            for number, row in zip(here, rows.to_pylist(), strict=True):
                captions = [Caption(**caption) for caption in row["captions"]]
                found.setdefault(original[number], []).extend(captions)
    return found
