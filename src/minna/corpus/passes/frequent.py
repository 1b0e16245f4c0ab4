"""Between reading and cleaning: which lines stand in many documents, and which stood before.

Counting is exact and by 64-bit hash, in slices of the hash space, so that memory is 128 MB at most
however many lines there are. (Of 10^9 different lines, two share a hash once in 37 corpora.)
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Final

import numpy as np

from minna.corpus.passes.stage import Part, parts
from minna.corpus.points import Int64, UInt64
from minna.corpus.settings import DedupSettings

NAME: Final = "frequent"
_SLICE_LINES = 8_000_000


def count_lines(directory: Path, *, read_parts: int, dedup: DedupSettings) -> Part:
    """Find boilerplate lines and repeated paragraphs; return the part that holds their hashes.

    Its arrays: `boilerplate`, sorted hashes; `repeated`, sorted hashes of paragraphs that stand in
    two documents or more; `first`, the document (counted through the whole source) where each was
    first.
    """
    result = Part(directory, NAME, 0)
    if result.is_done:
        return result
    read = parts(directory, "read", read_parts)
    documents = sum(part.record()["documents"] for part in read)
    most = max(dedup.boilerplate_documents, math.ceil(dedup.boilerplate_share * documents), 2)
    counted = read if dedup.boilerplate_documents else []
    boilerplate, _ = _repeated(counted, "frequent", at_least=most)
    counted = read if dedup.paragraph_characters else []
    repeated, first = _repeated(counted, "paragraphs", at_least=2)
    result.write_array("boilerplate", boilerplate)
    result.write_array("repeated", repeated)
    result.write_array("first", first)
    result.finish({"boilerplate": len(boilerplate), "repeated": len(repeated), "documents": most})
    return result


def _repeated(read: list[Part], name: str, *, at_least: int) -> tuple[UInt64, Int64]:
    """Hashes that so many documents have, sorted, and the first document of each."""
    total = sum(len(part.array(name)) for part in read)
    slices = max(1, math.ceil(total / _SLICE_LINES))
    width = 2**64 // slices + 1
    hashes: list[UInt64] = [np.zeros(0, np.uint64)]
    firsts: list[Int64] = [np.zeros(0, np.int64)]
    for number in range(slices if total else 0):
        found, documents = _slice(read, name, low=number * width, high=(number + 1) * width)
        order = np.argsort(found, kind="stable")
        values, places, counts = np.unique(found[order], return_index=True, return_counts=True)
        often = counts >= at_least
        hashes.append(values[often])
        firsts.append(documents[order[places[often]]])
    return np.concatenate(hashes), np.concatenate(firsts)


def _slice(read: list[Part], name: str, *, low: int, high: int) -> tuple[UInt64, Int64]:
    """All (hash, document) whose hash lies in [low, high), in the order of the source."""
    hashes: list[UInt64] = []
    documents: list[Int64] = []
    before = 0
    for part in read:
        rows = np.asarray(part.array(name))
        inside = (rows[:, 0] >= np.uint64(low)) & (rows[:, 0] <= np.uint64(min(high, 2**64) - 1))
        hashes.append(rows[inside, 0])
        documents.append(rows[inside, 1].astype(np.int64) + before)
        before += part.record()["documents"]
    return np.concatenate(hashes), np.concatenate(documents)
