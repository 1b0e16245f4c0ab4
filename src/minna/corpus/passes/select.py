"""Third pass: which documents are copies, and what must stand on one side of a split.

The first of several copies stays. A document goes as nearly another only when that other one stays,
so a chain A like B like C does not pull C down with A. All documents that are linked, kept or not,
share one group afterwards: a copy dropped here cannot leak through its relatives. Where signatures
cannot tell (0.15 around the threshold), the n-grams of both texts are compared: the error left is
that of the bands, 2 pairs of 1,000 at a similarity of 0.8.

Memory is about 100 bytes a document (digests, groups, their order, one band at a time); signatures
stay on disk.

D documents that passed the filters, P pairs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, cast

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from minna.corpus.minhash import candidate_pairs, similarity
from minna.corpus.passes.stage import Part
from minna.corpus.points import Int64, UInt64, folded, grams, points
from minna.corpus.settings import DedupSettings

STAYS: Final = 0
DUPLICATE: Final = 1
NEAR: Final = 2
REASONS: Final = {DUPLICATE: "duplicate", NEAR: "near_duplicate"}
_PAIRS = 1 << 16
_TEXT_PAIRS = 1 << 12
_UNSURE = 0.15  # four standard errors of the estimate from a signature of 128 bins


@dataclass(frozen=True, kw_only=True)
class Selection:
    """What is decided about every document, in the order of the source.

    Attributes:
        verdicts: STAYS, DUPLICATE or NEAR [D].
        groups: hash of the group [D]; joined ones have the hash of their first member.
        joined: whether the group was joined with another [D].
        sizes: UTF-8 bytes [D].
        starts: the first document of each part [parts + 1].
    """

    verdicts: npt.NDArray[np.uint8]
    groups: UInt64
    joined: npt.NDArray[np.bool_]
    sizes: Int64
    starts: Int64


def select(clean: list[Part], *, dedup: DedupSettings) -> Selection:
    """Decide about all documents of the clean parts."""
    starts = np.cumsum([0] + [part.record()["documents"] for part in clean])
    verdicts = np.zeros(int(starts[-1]), dtype=np.uint8)
    documents = _all(clean)
    groups = documents["group"].copy()
    copies = _exact(documents["digest"])
    verdicts[copies[:, 1]] = DUPLICATE
    links = [copies]
    if dedup.near != "off":
        pairs = _near(clean, starts=starts, verdicts=verdicts, dedup=dedup)
        links.append(pairs)
        if dedup.near == "drop":
            _drop(pairs, verdicts)
    joined = _join(groups, np.concatenate(links))
    return Selection(
        verdicts=verdicts,
        groups=groups,
        joined=joined,
        sizes=documents["bytes"].copy(),
        starts=starts,
    )


def _all(clean: list[Part]) -> npt.NDArray[Any]:
    return np.concatenate([part.array("documents") for part in clean])


def _exact(digests: UInt64) -> Int64:
    """Pairs (first, copy) of documents with one digest [P, 2]."""
    order = np.lexsort((digests[:, 1], digests[:, 0]))
    ordered = digests[order]
    same = np.concatenate(([False], (ordered[1:] == ordered[:-1]).all(axis=1)))[: len(order)]
    places = np.arange(len(order))
    heads = np.maximum.accumulate(np.where(same, 0, places)) if len(order) else places
    return np.stack((order[heads[same]], order[same]), axis=1)


def _near(
    clean: list[Part], *, starts: Int64, verdicts: npt.NDArray[np.uint8], dedup: DedupSettings
) -> Int64:
    """Pairs of documents that are nearly the same [P, 2], the earlier one first."""
    sure = unsure = np.zeros((0, 2), dtype=np.int64)
    tried = np.zeros(0, dtype=np.int64)
    for band in range(dedup.bands):
        hashes = np.concatenate([part.array("bands")[band] for part in clean])
        hashes[verdicts == DUPLICATE] = 0
        pairs = candidate_pairs(hashes)
        keys = (pairs[:, 0] << 32) | pairs[:, 1]
        pairs = pairs[~np.isin(keys, tried)]
        tried = np.union1d(tried, keys)
        alike = np.concatenate(
            [
                _similarities(clean, pairs[start : start + _PAIRS], starts=starts)
                for start in range(0, len(pairs), _PAIRS)
            ]
            or [np.zeros(0)]
        )
        close = np.abs(alike - dedup.similarity) < _UNSURE
        unsure = np.concatenate((unsure, pairs[close]))
        sure = np.concatenate((sure, pairs[~close & (alike >= dedup.similarity)]))
    true = _true_similarities(clean, unsure, starts=starts, n=dedup.ngram)
    return np.concatenate((sure, unsure[true >= dedup.similarity]))


def _similarities(clean: list[Part], pairs: Int64, *, starts: Int64) -> npt.NDArray[np.float64]:
    documents, back = np.unique(pairs, return_inverse=True)
    part_of = np.searchsorted(starts, documents, side="right") - 1
    rows = [
        clean[part].array("signatures")[documents[part_of == part] - starts[part]]
        for part in np.unique(part_of).tolist()
    ]
    if not rows:
        return np.zeros(0)
    signatures = np.concatenate(rows)
    back = back.reshape(-1, 2)
    return similarity(signatures[back[:, 0]], signatures[back[:, 1]])


def _true_similarities(
    clean: list[Part], pairs: Int64, *, starts: Int64, n: int
) -> npt.NDArray[np.float64]:
    """Jaccard similarity of the n-grams themselves, for pairs the signatures are unsure of [P]."""
    result = np.zeros(len(pairs))
    for start in range(0, len(pairs), _TEXT_PAIRS):
        chunk = pairs[start : start + _TEXT_PAIRS]
        documents = np.unique(chunk)
        part_of = np.searchsorted(starts, documents, side="right") - 1
        sets: dict[int, UInt64] = {}
        for part in np.unique(part_of).tolist():
            wanted = documents[part_of == part]
            texts = clean[part].rows().column("text").take(pa.array(wanted - starts[part]))
            for document, text in zip(wanted.tolist(), texts.to_pylist(), strict=True):
                compared = folded(points([cast("str", text)]))
                hashes = [found for found, _, _ in grams(compared, n)]
                sets[document] = np.unique(np.concatenate(hashes))
        for place, (one, other) in enumerate(chunk.tolist(), start=start):
            common = len(np.intersect1d(sets[one], sets[other], assume_unique=True))
            result[place] = common / (len(sets[one]) + len(sets[other]) - common)
    return result


def _drop(pairs: Int64, verdicts: npt.NDArray[np.uint8]) -> None:
    """Going forward, drop what is like an earlier document that stays."""
    order = np.lexsort((pairs[:, 0], pairs[:, 1]))
    for earlier, later in pairs[order].tolist():
        if verdicts[earlier] == STAYS and verdicts[later] == STAYS:
            verdicts[later] = NEAR


def _join(groups: UInt64, links: Int64) -> npt.NDArray[np.bool_]:
    """Join the groups of linked documents in place; say which documents are concerned."""
    linked = groups[links]
    linked = linked[linked[:, 0] != linked[:, 1]]
    parent: dict[int, int] = {}

    def root(group: int) -> int:
        while (above := parent.setdefault(group, group)) != group:
            parent[group] = parent[above]
            group = above
        return group

    for one, other in linked.tolist():
        first, second = root(one), root(other)
        if first != second:
            parent[second] = first
    if not parent:
        return np.zeros(len(groups), dtype=np.bool_)
    known = np.array(sorted(parent), dtype=np.uint64)
    roots = np.array([root(group) for group in known.tolist()], dtype=np.uint64)
    at = np.minimum(np.searchsorted(known, groups), len(known) - 1)
    joined = known[at] == groups
    groups[joined] = roots[at[joined]]
    return joined
