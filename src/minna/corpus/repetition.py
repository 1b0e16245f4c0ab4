"""How much of a document repeats itself: characters, lines, and runs of ten characters.

The measures are those of Gopher (Rae et al. 2021, table A1), with ten characters for its words:
Japanese has no spaces to count words by, and ten characters are about five of its words. Sorting
hashes is the dearest step of the whole cleaning (28 ns a character of 100), so it is done in 32
bits: 18 of the hash beside 14 of the document for documents under 2,048 characters (at most one
place in 128 is taken for a repeat by chance), all 32 for longer ones.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from minna.corpus.points import Int64, Points, Spans, UInt32

GRAM: Final = 10
SHORTEST: Final = 50
"""Documents with fewer characters have no share of repeated runs: a chorus is not spam."""
_LONG: Final = 2048
_HASH_BITS: Final = 18
_BASE: Final = 0x9E3779B1


def commonest(piece: Points) -> Int64:
    """Occurrences of each document's commonest character [D]; characters that are 0 are left out.

    Characters are counted in 64 buckets first. Where no bucket holds a quarter of the document, no
    character does, and the bucket's count stands for it; the few others are counted exactly.
    """
    documents, owners = len(piece.ends), piece.documents()
    bucket = (piece.codes * np.uint32(_BASE)) >> np.uint32(26)
    bucket += owners.astype(np.uint32) << np.uint32(6)
    counts = np.bincount(bucket, minlength=64 * documents).reshape(documents, 64)
    counts[:, 0] -= np.bincount(owners[piece.codes == 0], minlength=documents)
    most = counts.max(axis=1)
    few = np.flatnonzero(4 * most >= np.maximum(1, piece.lengths))
    if len(few):
        exact = np.zeros(documents, dtype=bool)
        exact[few] = True
        chosen = np.flatnonzero(exact[owners] & (piece.codes != 0))
        keys = (owners[chosen].astype(np.uint64) << np.uint64(21)) | piece.codes[chosen]
        keys.sort()
        starts = np.flatnonzero(np.diff(keys, prepend=~np.uint64(0)))
        most[few] = 0
        runs = np.diff(starts, append=len(keys))
        np.maximum.at(most, (keys[starts] >> np.uint64(21)).astype(np.int64), runs)
    return most


def repeated_grams(piece: Points) -> Int64:
    """Ten-character runs of each document: all, those that came before, the commonest's: [D, 3].

    Documents under `SHORTEST` characters get zeros.
    """
    counts = np.zeros((len(piece.ends), 3), dtype=np.int64)
    lengths = piece.lengths
    if not (lengths >= SHORTEST).any():
        return counts
    hashes = _gram_hashes(piece.codes)
    starts = piece.ends - lengths
    counts[:, 0] = np.where(lengths >= SHORTEST, lengths - GRAM + 1, 0)
    for document in np.flatnonzero(lengths >= _LONG):
        keys = np.sort(hashes[starts[document] : piece.ends[document] - GRAM + 1])
        again, most = _repeats(keys, np.uint32(32), 1)
        counts[document, 1:] = again[0], most[0]
    chosen = np.flatnonzero((lengths >= SHORTEST) & (lengths < _LONG))
    if len(chosen):
        number = np.full(len(piece.ends), -1)
        number[chosen] = np.arange(len(chosen))
        places = np.repeat(number, lengths)[: len(hashes)]
        ends = np.repeat(piece.ends, lengths)[: len(hashes)]
        inside = (places >= 0) & (np.arange(len(hashes)) + GRAM <= ends)
        keys = hashes[inside] >> np.uint32(32 - _HASH_BITS)
        keys |= places[inside].astype(np.uint32) << np.uint32(_HASH_BITS)
        keys.sort()
        counts[chosen, 1], counts[chosen, 2] = _repeats(keys, np.uint32(_HASH_BITS), len(chosen))
    return counts


def _repeats(keys: UInt32, shift: np.uint32, documents: int) -> tuple[Int64, Int64]:
    """Of sorted keys (document above `shift`, hash below): repeats, and the most of one."""
    same = np.flatnonzero(keys[1:] == keys[:-1])
    number = (keys[same].astype(np.uint64) >> np.uint64(shift)).astype(np.int64)
    again = np.bincount(number, minlength=documents)
    most = np.minimum(again, 1)
    if len(same):
        firsts = np.flatnonzero(np.diff(same, prepend=-2) > 1)
        np.maximum.at(most, number[firsts], np.diff(firsts, append=len(same)) + 1)
    return again, most


def _gram_hashes(codes: UInt32) -> UInt32:
    """Polynomial hash of every ten neighbours, by doubling: 2, 4, 8, then 8 and 2."""
    if len(codes) < GRAM:
        return np.zeros(0, dtype=np.uint32)
    with np.errstate(over="ignore"):
        two = codes[:-1] * _power(1) + codes[1:]
        four = two[:-2] * _power(2) + two[2:]
        eight = four[:-4] * _power(4) + four[4:]
        ten = eight[:-2] * _power(2) + two[8:]
    return ten * np.uint32(_BASE)


def _power(exponent: int) -> np.uint32:
    return np.uint32(pow(_BASE, exponent, 1 << 32))


def repeated_lines(hashes: Spans, starts: Int64, stops: Int64, documents: Int64) -> Int64:
    """Characters of each line that stood in its document before, else 0 [L]; lines of one piece."""
    again = np.zeros(len(starts), dtype=np.int64)
    # only documents of two lines and more are worth hashing
    neighbours = documents[1:] == documents[:-1]
    several = np.zeros(len(starts), dtype=bool)
    several[1:] |= neighbours
    several[:-1] |= neighbours
    lines = np.flatnonzero(several)
    values = hashes.hashes(starts[lines], stops[lines])
    order = np.lexsort((values, documents[lines]))
    values, number = values[order], documents[lines][order]
    same = np.concatenate(([False], (values[1:] == values[:-1]) & (number[1:] == number[:-1])))
    repeats = lines[order[: len(same)]][same[: len(order)]]
    again[repeats] = stops[repeats] - starts[repeats]
    return again
