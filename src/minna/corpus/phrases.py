"""Counting the phrases of a list in many documents at once.

A table of two-character beginnings lets through the few places where a phrase can start, and only
these are compared, by hashes of spans. On novels: 230 MB/s for 60 phrases (a regular expression of
them: 76), 36 MB/s for 10,000 (where the expression stands still), and sentences of 18 characters
cost the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from minna.corpus.classes import Kind, kinds
from minna.corpus.points import Int64, Points, Spans, UInt64, points

_BITS: Final = 18
_STEP = np.uint32(0x9E3779B1)
SHORTEST: Final = 2
LONGEST: Final = 64


class Phrases:
    """Phrases of 2 to 64 characters, each in one group.

    Upper and lower case must have been made one, in the phrases and in what is searched. A phrase
    that begins or ends in katakana or a Latin letter matches only whole words of that script:
    ヌード is not in ヌードル, nor "sex" in "Essex". Other phrases match wherever they stand.
    """

    def __init__(self, groups: Sequence[Sequence[str]]) -> None:
        self.count = len(groups)
        numbered = [(text, group) for group, texts in enumerate(groups) for text in texts]
        # beginning -> which lengths it can be the beginning of, one bit each
        self._may_start = np.zeros(1 << _BITS, dtype=np.uint64)
        self._by_length: list[tuple[int, UInt64, Int64]] = []
        for length in sorted({len(text) for text, _ in numbered}):
            hashes = {_hash(text): group for text, group in numbered if len(text) == length}
            order = sorted(hashes)
            ids = np.array([hashes[value] for value in order], dtype=np.int64)
            self._by_length.append((length, np.array(order, dtype=np.uint64), ids))
        for text, _ in numbered:
            bit = np.uint64(1 << len(text) - 1)
            self._may_start[_beginnings(points([text[:SHORTEST]]).codes)] |= bit

    def counts(self, piece: Points, codes: npt.NDArray[np.uint32], spans: Spans) -> Int64:
        """Count hits in each document of a piece: [D, groups].

        `codes` are those of the piece with case made one, and `spans` belong to them. Phrases that
        overlap are counted each.
        """
        total = np.zeros((len(piece.ends), self.count), dtype=np.int64)
        if len(codes) < SHORTEST or not self._by_length:
            return total
        lengths = self._may_start[_beginnings(codes)]
        places = np.flatnonzero(lengths)
        lengths = lengths[places]
        documents = np.searchsorted(piece.ends, places, side="right")
        room = piece.ends[documents] - places
        for length, hashes, groups in self._by_length:
            chosen = np.flatnonzero((lengths & np.uint64(1 << length - 1)) * (room >= length))
            starts = places[chosen]
            found = spans.hashes(starts, starts + length)
            at = np.minimum(np.searchsorted(hashes, found), len(hashes) - 1)
            hit = np.flatnonzero(hashes[at] == found)
            hit = hit[_whole_words(codes, starts[hit], length)]
            np.add.at(total, (documents[chosen[hit]], groups[at[hit]]), 1)
        return total


def _hash(text: str) -> int:
    codes = points([text]).codes
    return int(Spans(codes).hashes(np.array([0]), np.array([len(codes)]))[0])


def _beginnings(codes: npt.NDArray[np.uint32]) -> npt.NDArray[np.uint32]:
    """A number under 2^18 for every two neighbours."""
    with np.errstate(over="ignore"):
        mixed = codes[:-1] * _STEP + codes[1:]
        mixed *= _STEP
    mixed >>= np.uint32(32 - _BITS)
    return mixed


def _whole_words(codes: npt.NDArray[Any], starts: Int64, length: int) -> npt.NDArray[np.bool_]:
    """Whether no katakana or Latin word is cut at either end of codes[start:start + length]."""
    kind = kinds()
    last = len(codes) - 1
    stops = starts + length
    edges = (
        (starts > 0, np.maximum(starts - 1, 0), starts),
        (stops <= last, np.minimum(stops, last), stops - 1),
    )
    whole = np.ones(len(starts), dtype=bool)
    for exists, outside, inside in edges:
        script = kind[codes[inside]]
        same = script == kind[codes[outside]]
        whole &= ~(exists & same & ((script == Kind.KATAKANA) | (script == Kind.LATIN)))
    return whole
