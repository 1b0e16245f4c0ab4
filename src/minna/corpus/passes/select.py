"""Third pass: which documents are copies, and what must stand on one side of a split.

The first of several copies stays. A document goes as nearly another only when that other one stays,
so a chain A like B like C does not pull C down with A. All documents that are linked, kept or not,
share one group afterwards: a copy dropped here cannot leak through its relatives. Where signatures
cannot tell (0.15 around the threshold), the n-grams of both texts are compared: the error left is
that of the bands, 2 pairs of 1,000 at a similarity of 0.8.

Memory is about 100 bytes a document (digests, groups, their order, one band at a time) and as much
a pair that is compared; signatures stay on disk.

D documents that passed the filters, P pairs.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, cast

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from minna.corpus.minhash import BINS, DOUBT, candidate_pairs, similarity
from minna.corpus.passes.clean import DOCUMENT
from minna.corpus.passes.clean import NAME as CLEAN
from minna.corpus.passes.stage import Part
from minna.corpus.points import Int64, UInt64, folded, grams, points
from minna.corpus.settings import DedupSettings
from minna.corpus.workers import Workers

STAYS: Final = 0
DUPLICATE: Final = 1
NEAR: Final = 2
REASONS: Final = {DUPLICATE: "duplicate", NEAR: "near_duplicate"}
_PAIRS = 1 << 16
_TEXT_PAIRS = 1 << 12


@dataclass(frozen=True, kw_only=True)
class Selection:
    """What is decided about every document, in the order of the source.

    Attributes:
        verdicts: STAYS, DUPLICATE or NEAR [D].
        names: the document whose group name this one's group has [D]: the first of all that were
            joined, so a document stays in its split when the corpus grows at its end.
        sizes: UTF-8 bytes [D].
        starts: the first document of each part [parts + 1].
    """

    verdicts: npt.NDArray[np.uint8]
    names: Int64
    sizes: Int64
    starts: Int64


@dataclass(frozen=True, kw_only=True)
class _Comparison:
    """Pairs of documents whose n-grams one process compares."""

    directory: Path
    pairs: Int64
    starts: Int64
    n: int


def select(
    directory: Path,
    clean: list[Part],
    *,
    dedup: DedupSettings,
    early: UInt64,
    workers: Workers,
) -> Selection:
    """Decide about all documents of the clean parts.

    Args:
        directory: the draft of the corpus.
        clean: the parts.
        dedup: what counts as a copy.
        early: hashes of the groups of copies that were dropped before, and of their originals
            [P, 2].
        workers: who compares texts.
    """
    starts = np.cumsum([0] + [part.record()["documents"] for part in clean])
    documents = np.zeros(int(starts[-1]), dtype=DOCUMENT)
    for part, start, stop in zip(clean, starts[:-1], starts[1:], strict=True):
        documents[start:stop] = part.array("documents")
    verdicts = np.zeros(len(documents), dtype=np.uint8)
    copies = exact_copies(documents["digest"])
    verdicts[copies[:, 1]] = DUPLICATE
    links = copies
    if dedup.near != "off":
        near = _near(
            directory, clean, starts=starts, verdicts=verdicts, dedup=dedup, workers=workers
        )
        links = np.concatenate((copies, near))
        if dedup.near == "drop":
            _drop(near, verdicts)
    groups = documents["group"]
    names = _names(groups, np.concatenate((groups[links], early)))
    return Selection(verdicts=verdicts, names=names, sizes=documents["bytes"].copy(), starts=starts)


def exact_copies(digests: UInt64) -> Int64:
    """Pairs (first, copy) of documents with one digest: [P, 2] of [D, 2]."""
    order = np.lexsort((digests[:, 1], digests[:, 0]))
    ordered = digests[order]
    same = np.concatenate(([False], (ordered[1:] == ordered[:-1]).all(axis=1)))[: len(order)]
    places = np.arange(len(order))
    heads = np.maximum.accumulate(np.where(same, 0, places)) if len(order) else places
    return np.stack((order[heads[same]], order[same]), axis=1)


def _near(
    directory: Path,
    clean: list[Part],
    *,
    starts: Int64,
    verdicts: npt.NDArray[np.uint8],
    dedup: DedupSettings,
    workers: Workers,
) -> Int64:
    """Pairs of documents that are nearly the same [P, 2], the earlier one first."""
    sure = unsure = np.zeros((0, 2), dtype=np.int64)
    tried = np.zeros(0, dtype=np.int64)
    # where paragraphs are taken out, what was signed is no longer there to be compared
    doubt = 0.0 if dedup.paragraph_characters else DOUBT
    hashes = np.zeros(len(verdicts), dtype=np.uint64)
    for band in range(dedup.bands):
        for part, start, stop in zip(clean, starts[:-1], starts[1:], strict=True):
            hashes[start:stop] = part.array("bands")[band]
        hashes[verdicts == DUPLICATE] = 0
        pairs = candidate_pairs(hashes)
        keys = (pairs[:, 0] << 32) | pairs[:, 1]
        pairs = pairs[~np.isin(keys, tried)]
        tried = np.union1d(tried, keys)
        for at in range(0, len(pairs), _PAIRS):
            chunk = pairs[at : at + _PAIRS]
            alike = _similarities(clean, chunk, starts=starts)
            close = np.abs(alike - dedup.similarity) < doubt
            unsure = np.concatenate((unsure, chunk[close]))
            sure = np.concatenate((sure, chunk[~close & (alike >= dedup.similarity)]))
    parts = np.searchsorted(starts, unsure, side="right")
    unsure = unsure[np.lexsort((parts[:, 0], parts[:, 1]))]  # neighbours open the same parts
    tasks = [
        _Comparison(
            directory=directory, pairs=unsure[at : at + _TEXT_PAIRS], starts=starts, n=dedup.ngram
        )
        for at in range(0, len(unsure), _TEXT_PAIRS)
    ]
    true = np.concatenate([np.zeros(0), *workers.in_order(_true_similarities, tasks)])
    return np.concatenate((sure, unsure[true >= dedup.similarity]))


def _similarities(clean: list[Part], pairs: Int64, *, starts: Int64) -> npt.NDArray[np.float64]:
    documents, back = np.unique(pairs, return_inverse=True)
    signatures = np.zeros((len(documents), BINS), dtype=np.uint16)
    for part, inside in _by_part(documents, starts):
        signatures[inside] = clean[part].array("signatures")[documents[inside] - starts[part]]
    back = back.reshape(-1, 2)
    return similarity(signatures[back[:, 0]], signatures[back[:, 1]])


def _by_part(documents: Int64, starts: Int64) -> Iterator[tuple[int, slice]]:
    """The part of each run of sorted documents."""
    bounds = np.searchsorted(documents, starts)
    for part in np.flatnonzero(np.diff(bounds)).tolist():
        yield part, slice(int(bounds[part]), int(bounds[part + 1]))


def _true_similarities(task: _Comparison) -> npt.NDArray[np.float64]:
    """Jaccard similarity of the n-grams themselves [P]."""
    documents = np.unique(task.pairs)
    sets: dict[int, UInt64] = {}
    for number, inside in _by_part(documents, task.starts):
        wanted = documents[inside]
        rows = Part(task.directory, CLEAN, number).rows().column("text")
        texts = rows.take(pa.array(wanted - task.starts[number])).to_pylist()
        for document, text in zip(wanted.tolist(), cast("list[str]", texts), strict=True):
            hashes = [found for found, _, _ in grams(folded(points([text])), task.n)]
            sets[document] = np.unique(np.concatenate(hashes))
    result = np.zeros(len(task.pairs))
    for place, (one, other) in enumerate(task.pairs.tolist()):
        common = len(np.intersect1d(sets[one], sets[other], assume_unique=True))
        result[place] = common / (len(sets[one]) + len(sets[other]) - common)
    return result


def _drop(pairs: Int64, verdicts: npt.NDArray[np.uint8]) -> None:
    """Going forward, drop what is like an earlier document that stays."""
    ordered = pairs[np.lexsort((pairs[:, 0], pairs[:, 1]))]
    for at in range(0, len(ordered), _PAIRS):
        for earlier, later in ordered[at : at + _PAIRS].tolist():
            if verdicts[earlier] == STAYS and verdicts[later] == STAYS:
                verdicts[later] = NEAR


def _names(groups: UInt64, links: UInt64) -> Int64:
    """The first document of all groups that are linked with each document's [D].

    Args:
        groups: hash of the group of each document [D].
        links: pairs of group hashes that belong together; some may have no document left [P, 2].
    """
    known, place = np.unique(np.concatenate((groups, links.reshape(-1))), return_inverse=True)
    none = len(groups)
    first = np.full(len(known), none, dtype=np.int64)
    np.minimum.at(first, place[: len(groups)], np.arange(len(groups)))
    ends = place[len(groups) :].reshape(-1, 2)
    while True:  # as many rounds as a chain of links is long, at most
        lowest = first[ends].min(axis=1)
        before = first.copy()
        np.minimum.at(first, ends[:, 0], lowest)
        np.minimum.at(first, ends[:, 1], lowest)
        if np.array_equal(before, first):
            return first[place[:none]]
