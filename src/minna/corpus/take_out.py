"""Lines that leave a document which may stay: boilerplate, repeated paragraphs, evaluation data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import numpy.typing as npt

from minna.corpus import japanese
from minna.corpus.contamination import Items, guilty_lines
from minna.corpus.points import Int64, Lines, UInt64, lines, points
from minna.corpus.settings import ContaminationSettings
from minna.corpus.statistics import Statistics, count, keep_example

BOILERPLATE: Final = "boilerplate"
REPEATED: Final = "repeated_paragraph"
CONTAMINATED: Final = "contaminated"
_REASONS: Final = ("", CONTAMINATED, REPEATED, BOILERPLATE)


def _none() -> UInt64:
    return np.zeros(0, dtype=np.uint64)


def _no_document() -> Int64:
    return np.zeros(0, dtype=np.int64)


@dataclass(frozen=True, kw_only=True)
class Unwanted:
    """What is taken out.

    Attributes:
        boilerplate: hashes of boilerplate lines, sorted.
        boilerplate_characters: shorter lines stay.
        repeated: hashes of paragraphs that several documents have, sorted.
        first: the document each of these was first in; it keeps it.
        items: evaluation items, if any are to be looked for.
        contamination: how.
    """

    boilerplate: UInt64 = field(default_factory=_none)
    boilerplate_characters: int = 1
    repeated: UInt64 = field(default_factory=_none)
    first: Int64 = field(default_factory=_no_document)
    items: Items | None = None
    contamination: ContaminationSettings = field(default_factory=ContaminationSettings)


def take_out(
    texts: Sequence[str], *, documents: Int64, unwanted: Unwanted, statistics: Statistics
) -> tuple[list[str], dict[int, str]]:
    """Return the texts without unwanted lines, and why those that have nothing left lost it.

    Args:
        texts: a batch of normalised texts.
        documents: the number of each, counted through the source.
        unwanted: what goes.
        statistics: the lines taken out are counted here.
    """
    kept: list[str] = list(texts)
    emptied: dict[int, str] = {}
    batch = points(texts)
    looked_at = len(unwanted.boilerplate) or len(unwanted.repeated) or unwanted.items is not None
    if not looked_at or not len(batch.codes):
        return kept, emptied
    found = lines(batch)
    why = _why(found, documents=documents, unwanted=unwanted)
    if unwanted.items is not None:
        mask = guilty_lines(
            batch,
            items=unwanted.items,
            n=unwanted.contamination.ngram,
            overlap=unwanted.contamination.overlap,
        )
        if mask is not None:
            touched = np.concatenate(([0], np.cumsum(mask)))
            why[touched[found.stops] > touched[found.starts]] = _REASONS.index(CONTAMINATED)
    unwelcome = np.flatnonzero(why)
    owners = found.documents[unwelcome]
    for document in np.unique(owners).tolist():
        first, last = np.searchsorted(owners, [document, document + 1])
        start = int(batch.ends[document - 1]) if document else 0
        stays: list[str] = []
        reason = ""
        text, at = kept[document], 0
        for line in unwelcome[first:last].tolist():
            begin, end = int(found.starts[line]) - start, int(found.stops[line]) - start
            reason = _REASONS[why[line]]
            count(statistics.lines_removed, reason)
            keep_example(statistics.line_examples, reason, text[begin:end])
            stays.append(text[at:begin])
            at = end + (text[end : end + 1] == "\n")  # a line goes with its end
        stays.append(text[at:])
        kept[document] = japanese.normalise("".join(stays))
        if not kept[document]:
            emptied[document] = reason
    return kept, emptied


def _why(found: Lines, *, documents: Int64, unwanted: Unwanted) -> npt.NDArray[np.int8]:
    """Number in `_REASONS` for each line; a document of one line has no boilerplate."""
    why = np.zeros(len(found.hashes), dtype=np.int8)
    several = np.bincount(found.documents, minlength=1)[found.documents] > 1
    at, known = _among(unwanted.repeated, found.hashes)
    if known.any():
        later = unwanted.first[at] != documents[found.documents]
        why[known & later & several] = _REASONS.index(REPEATED)
    _, known = _among(unwanted.boilerplate, found.hashes)
    long = found.stops - found.starts >= unwanted.boilerplate_characters
    why[known & long & several] = _REASONS.index(BOILERPLATE)
    return why


def _among(hashes: UInt64, wanted: UInt64) -> tuple[Int64, npt.NDArray[np.bool_]]:
    """Where each wanted hash stands in the sorted ones, and whether it does."""
    if not len(hashes):
        return np.zeros(len(wanted), np.int64), np.zeros(len(wanted), np.bool_)
    at = np.minimum(np.searchsorted(hashes, wanted), len(hashes) - 1)
    return at, hashes[at] == wanted
