"""Many texts as one array of code points: what filters and de-duplication count and hash on.

A Python loop over characters runs at 4 MB/s on short sentences; numpy over half a million
characters of many documents at once at hundreds, whatever their length. So every measure of the
corpus is taken from one `Points` by tables (code point -> class, code point -> folded form) and
sums, and longer documents are never treated otherwise than shorter ones.

N characters of a batch, D documents in it, M n-grams, K classes.
"""

from __future__ import annotations

import functools
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

UInt64 = npt.NDArray[np.uint64]
UInt32 = npt.NDArray[np.uint32]
Int64 = npt.NDArray[np.int64]

WINDOW: Final = 1 << 19
"""Positions worked on at a time: arrays of 4 MB, which stay near the caches."""

_PLANES = 0x110000
_BASE = np.uint64(0x9E3779B97F4A7C15)  # odd, so that multiplying by it loses nothing
_MIX = (np.uint64(0xFF51AFD7ED558CCD), np.uint64(0xC4CEB9FE1A85EC53))  # MurmurHash3's finaliser


@dataclass(frozen=True, slots=True)
class Points:
    """Texts end to end.

    Attributes:
        codes: code points [N].
        ends: where each document ends [D].
    """

    codes: UInt32
    ends: Int64

    @property
    def lengths(self) -> Int64:
        """Characters of each document [D]."""
        return np.diff(self.ends, prepend=0)

    def documents(self, start: int = 0, stop: int | None = None) -> Int64:
        """Index of the document that each of the characters start:stop belongs to."""
        stop = len(self.codes) if stop is None else stop
        first, last = np.searchsorted(self.ends, [start, max(start, stop - 1)], side="right")
        bounds = np.clip(self.ends[first : last + 1], start, stop)
        return np.repeat(np.arange(first, last + 1), np.diff(bounds, prepend=start))


def points(texts: Sequence[str]) -> Points:
    """Put texts end to end (lone surrogates are kept as they are)."""
    encoded = "".join(texts).encode("utf-32-le", "surrogatepass")
    lengths = np.fromiter(map(len, texts), dtype=np.int64, count=len(texts))
    return Points(np.frombuffer(encoded, dtype="<u4"), np.cumsum(lengths))


def table(value: Callable[[str], int], *, dtype: type[np.integer[Any]]) -> npt.NDArray[Any]:
    """Tabulate a function of one character over all code points (0.5 s: cache the result).

    Planes 3 to 13 hold no assigned characters but rare kanji: they get the value of U+20000.
    """
    result = np.empty(_PLANES, dtype=dtype)
    low = 0x20000
    result[:low] = np.fromiter(map(value, map(chr, range(low))), dtype=dtype, count=low)
    result[low:] = value(chr(low))
    result[0xE0000:] = value(chr(0xE0001))
    return result


def class_counts(texts: Points, classes: npt.NDArray[np.uint8], *, count: int) -> Int64:
    """Count characters by class: [D, `count`], for a table of class numbers under `count`."""
    total = np.zeros(len(texts.ends) * count, dtype=np.int64)
    for start in range(0, len(texts.codes), WINDOW):
        stop = min(start + WINDOW, len(texts.codes))
        cells = texts.documents(start, stop) * count + classes[texts.codes[start:stop]]
        found = np.bincount(cells)
        total[: len(found)] += found
    return total.reshape(-1, count)


@functools.cache
def fold_table() -> npt.NDArray[np.uint32]:
    """Code point -> the form in which texts are compared; 0 for what is left out.

    NFKC, lower case, katakana as hiragana; punctuation, symbols and white space left out: two
    copies of a page differ in these first.
    """

    def fold(character: str) -> int:
        folded = unicodedata.normalize("NFKC", character).lower()[:1]
        if not folded or not (folded.isalnum() or folded in "ー々〆"):
            return 0
        code = ord(folded)
        return code - 0x60 if 0x30A1 <= code <= 0x30F6 else code  # noqa: PLR2004 - ァ to ヶ

    folds = table(fold, dtype=np.uint32)
    folds[0x20000:0xE0000] = np.arange(0x20000, 0xE0000)
    return folds


def folded(texts: Points) -> Points:
    """The texts in the form in which they are compared (`fold_table`)."""
    codes = fold_table()[texts.codes]
    stays = codes != 0
    before = np.concatenate(([0], np.cumsum(stays)))
    return Points(codes[stays], before[texts.ends])


def mixed(hashes: UInt64) -> UInt64:
    """Scramble hashes in place, so that each bit depends on all (MurmurHash3's finaliser)."""
    for multiplier in _MIX:
        hashes ^= hashes >> np.uint64(33)
        hashes *= multiplier
    hashes ^= hashes >> np.uint64(33)
    return hashes


def grams(texts: Points, n: int) -> Iterator[tuple[UInt64, Int64, Int64]]:
    """Hash every n-gram of characters inside a document, a window of the batch at a time.

    Yields:
        hashes [M] (not mixed: a polynomial of the characters), the document of each [M], and the
        position of its first character in the batch [M].
    """
    for start in range(0, max(0, len(texts.codes) - n + 1), WINDOW):
        stop = min(start + WINDOW, len(texts.codes) - n + 1)
        hashes = _rolling(texts.codes[start : stop + n - 1].astype(np.uint64), n)
        documents = texts.documents(start, stop)
        places = np.arange(start, stop)
        inside = places + n <= texts.ends[documents]
        yield hashes[inside], documents[inside], places[inside]


def _rolling(codes: UInt64, n: int) -> UInt64:
    """Polynomial hash of every window of n codes, by doubling: n = 16 costs four products."""
    done, result = 0, codes
    width, block, block_power = 1, codes, _BASE
    with np.errstate(over="ignore"):
        while width <= n:
            if n & width:
                # what is done covers `done` codes in front; this block follows it
                size = len(codes) - done - width + 1
                part = block[done : done + size]
                result = part if done == 0 else result[:size] * block_power + part
                done += width
            if width * 2 > n:
                break
            block = block[:-width] * block_power + block[width:]
            block_power = block_power * block_power
            width *= 2
    return result


@dataclass(frozen=True, slots=True)
class Lines:
    """The lines of a batch that hold a character.

    Attributes:
        hashes: 64 bits of the characters of each line [L].
        documents: which document it stands in [L].
        starts, stops: where in the batch [L].
    """

    hashes: UInt64
    documents: Int64
    starts: Int64
    stops: Int64


def lines(texts: Points) -> Lines:
    """Hash every line that is not empty (64 bits: of 100 million lines, 0.03 % to collide once)."""
    breaks = np.flatnonzero(texts.codes == 10)  # noqa: PLR2004 - LF
    bounds = np.unique(np.concatenate((breaks, texts.ends)))
    starts = np.concatenate(([0], bounds[:-1]))
    starts = starts + (texts.codes[np.minimum(starts, max(0, len(texts.codes) - 1))] == 10)  # noqa: PLR2004
    stays = starts < bounds
    starts, stops = starts[stays], bounds[stays]
    if not len(starts):
        empty = np.zeros(0, np.int64)
        return Lines(np.zeros(0, np.uint64), empty, empty, empty)
    place = np.arange(len(texts.codes), dtype=np.int64)
    inside = np.zeros(len(texts.codes), dtype=np.int64)
    inside[starts] = np.diff(starts, prepend=0)
    inside = place - np.cumsum(inside)  # position in the line (breaks count to the line before)
    with np.errstate(over="ignore"):
        keyed = texts.codes.astype(np.uint64) + inside.astype(np.uint64) * _BASE
    keyed = mixed(keyed)
    keyed[breaks] = 0
    hashes = np.add.reduceat(keyed, starts)
    documents = np.searchsorted(texts.ends, starts, side="right")
    return Lines(hashes, documents, starts, stops)


def pieces(texts: Points) -> Iterator[tuple[Points, int]]:
    """Cut a batch into pieces of at most WINDOW characters, each with its first document's index.

    Documents are whole in a piece as long as they fit; a longer one is cut into pieces of its own,
    behind its last line break where there is one. So what a piece tells of a document does not
    depend on the documents beside it, and memory does not grow with the longest document.
    """
    first, start, total = 0, 0, len(texts.ends)
    while first < total:
        last = int(np.searchsorted(texts.ends, start + WINDOW, side="right"))
        if last > first:
            stop = int(texts.ends[last - 1])
            yield Points(texts.codes[start:stop], texts.ends[first:last] - start), first
            first, start = last, stop
            continue
        end = int(texts.ends[first])
        while start < end:
            stop = min(end, start + WINDOW)
            if stop < end:
                breaks = np.flatnonzero(texts.codes[start:stop] == 10)  # noqa: PLR2004 - LF
                stop = start + int(breaks[-1]) + 1 if len(breaks) else stop
            yield Points(texts.codes[start:stop], np.array([stop - start])), first
            start = stop
        first += 1


@functools.cache
def _powers() -> tuple[UInt64, UInt64]:
    """Powers of a base, and of its inverse modulo 2^64, for every place of a piece (8 MB)."""
    inverse = np.uint64(pow(int(_BASE), -1, 1 << 64))
    steps = np.ones((2, WINDOW + 1), dtype=np.uint64)
    steps[0, 1:], steps[1, 1:] = _BASE, inverse
    with np.errstate(over="ignore"):
        powers = np.cumprod(steps, axis=1)
    return powers[0], powers[1]


class Spans:
    """Hashes of any spans of a piece, each in constant time: sums of code times power of the place.

    Equal strings hash equally wherever they stand, in this piece or another. Two multiplications a
    character and two a span: 4 ns, against 25 for a hash that looks at each line by itself.
    """

    def __init__(self, codes: npt.NDArray[np.integer[Any]]) -> None:
        self._sums = np.zeros(len(codes) + 1, dtype=np.uint64)
        with np.errstate(over="ignore"):
            np.cumsum(codes * _powers()[0][: len(codes)], out=self._sums[1:])

    def hashes(self, starts: Int64, stops: Int64) -> UInt64:
        """Hash codes[start:stop] for each pair [M]; not mixed."""
        with np.errstate(over="ignore"):
            return (self._sums[stops] - self._sums[starts]) * _powers()[1][starts]


def line_bounds(texts: Points) -> tuple[Int64, Int64]:
    """Where the lines that hold a character start and stop [L], as `lines` cuts them."""
    if not len(texts.codes):
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    breaks = np.flatnonzero(texts.codes == 10)  # noqa: PLR2004 - LF
    stops = np.sort(np.concatenate((breaks, texts.ends)))  # np.unique takes five times as long
    stops = stops[np.diff(stops, append=-1) != 0]
    starts = np.concatenate(([0], stops[:-1]))
    starts += texts.codes[np.minimum(starts, len(texts.codes) - 1)] == 10  # noqa: PLR2004
    stays = starts < stops
    return starts[stays], stops[stays]
