"""Between reading and cleaning: copies of whole documents, and which lines stand in many.

Exact copies go first, by the text as it was read: otherwise a line that a document and its copy
share would count twice, and a paragraph taken out of the copy would make it another text.

Counting is exact and by 64-bit hash, in slices of the hash space. Each part holds its lines in the
order of their hashes, so a slice is one run of every file: all is read once, and memory is that of
a million lines (about 100 MB) and 24 bytes a document. (Of 10^9 different lines, two share a hash
once in 37 corpora.)
"""

from __future__ import annotations

import itertools
import math
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from minna.corpus.passes.read import READ_DOCUMENT
from minna.corpus.passes.select import exact_copies
from minna.corpus.passes.stage import Part, parts
from minna.corpus.points import Int64, UInt64
from minna.corpus.settings import DedupSettings

NAME: Final = "frequent"
_SLICE_LINES = 1_000_000


def count_lines(directory: Path, *, read_parts: int, dedup: DedupSettings) -> Part:
    """Find copies, boilerplate lines and repeated paragraphs; return the part that holds them.

    Its arrays: `copies`, numbers of documents (counted through the whole source) that are copies of
    an earlier one; `links`, hashes of the groups of original and copy [P, 2]; `boilerplate`, sorted
    hashes; `repeated`, sorted hashes of paragraphs that stand in two documents or more; `first`,
    the document where each of these was first.
    """
    result = Part(directory, NAME, 0)
    if result.is_done:
        return result
    read = parts(directory, "read", read_parts)
    starts = np.cumsum([0] + [part.record()["documents"] for part in read])
    documents = np.zeros(int(starts[-1]), dtype=READ_DOCUMENT)
    for part, start, stop in zip(read, starts[:-1], starts[1:], strict=True):
        documents[start:stop] = part.array("documents")
    usable = np.flatnonzero(documents["usable"])
    copies = usable[exact_copies(documents["digest"][usable])]
    counted = documents["usable"].copy()
    counted[copies[:, 1]] = False
    total = int(np.count_nonzero(counted))
    most = max(dedup.boilerplate_documents, math.ceil(dedup.boilerplate_share * total), 2)
    lines = _Lines(read, starts=starts, counted=counted)
    boilerplate, _ = lines.repeated("frequent", at_least=most)
    repeated, first = lines.repeated("paragraphs", at_least=2)
    result.write_array("copies", np.sort(copies[:, 1]))
    result.write_array("links", documents["group"][copies])
    result.write_array("boilerplate", boilerplate)
    result.write_array("repeated", repeated)
    result.write_array("first", first)
    result.finish({"boilerplate": len(boilerplate), "repeated": len(repeated), "documents": most})
    return result


class _Lines:
    """The lines of all parts of the first pass."""

    def __init__(self, read: list[Part], *, starts: Int64, counted: npt.NDArray[np.bool_]) -> None:
        self._read = read
        self._starts = starts
        self._counted = counted

    def repeated(self, name: str, *, at_least: int) -> tuple[UInt64, Int64]:
        """Hashes that so many documents have, sorted, and the first document of each."""
        hashes: list[UInt64] = [np.zeros(0, np.uint64)]
        firsts: list[Int64] = [np.zeros(0, np.int64)]
        total = sum(int(part.record().get(name, 0)) for part in self._read)
        slices = math.ceil(total / _SLICE_LINES)
        bounds = [number * 2**64 // slices for number in range(1, slices)] if slices else []
        edges = np.array([0, *bounds, 2**64 - 1], dtype=np.uint64)
        for low, high in itertools.pairwise(edges) if slices else ():
            found, documents = self._slice(name, low, high, last=high == edges[-1])
            order = np.argsort(found, kind="stable")
            ordered = found[order]
            heads = np.flatnonzero(np.concatenate(([True], ordered[1:] != ordered[:-1])))
            heads = heads[: len(ordered)]
            counts = np.diff(np.append(heads, len(ordered)))
            often = heads[counts >= at_least]
            hashes.append(ordered[often])
            firsts.append(documents[order[often]])
        return np.concatenate(hashes), np.concatenate(firsts)

    def _slice(
        self, name: str, low: np.uint64, high: np.uint64, *, last: np.bool_
    ) -> tuple[UInt64, Int64]:
        """(hash, document) of lines with low <= hash < high, in the order of the source."""
        hashes: list[UInt64] = [np.zeros(0, np.uint64)]
        documents: list[Int64] = [np.zeros(0, np.int64)]
        for part, start in zip(self._read, self._starts[:-1].tolist(), strict=True):
            rows = part.array(name)
            begin = int(np.searchsorted(rows[0], low))
            end = rows.shape[1] if last else int(np.searchsorted(rows[0], high))
            owners = rows[1, begin:end].astype(np.int64) + start
            counted = self._counted[owners]
            hashes.append(rows[0, begin:end][counted])
            documents.append(owners[counted])
        return np.concatenate(hashes), np.concatenate(documents)
