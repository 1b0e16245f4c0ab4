"""Prefix beam search of CTC in C++ (`csrc/beam.cpp`); its twin in numpy is in minna.runtime.ctc."""

from __future__ import annotations

import ctypes
import functools
import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from minna.console import warn
from minna.native.build import library

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

COST = "beam search takes about 30 times as long"
_LONG, _POINTER = ctypes.c_int64, ctypes.c_void_p


class Row(NamedTuple):
    """One text: its ids, the first frame of each and the frame behind its last, log of its sum."""

    ids: Ints
    starts: Ints
    ends: Ints
    score: float


def beam_search(logprobs_TV: Floats, *, beam: int, best: int) -> list[Row]:
    """Return the `best` texts of a beam; call it where `ready` says so.

    Args:
        logprobs_TV: float64; symbol 0 is the blank.
        beam: prefixes kept after each frame.
        best: how many texts, the best first.

    Raises:
        MemoryError: there is not enough of it.
    """
    kernels = _library()
    assert kernels is not None, "asked without `ready`"
    logprobs = np.ascontiguousarray(logprobs_TV, dtype=np.float64)
    T, V = logprobs.shape
    ids, starts, ends = (np.empty((best, T), dtype=np.int64) for _ in range(3))
    lengths, scores = np.empty(best, dtype=np.int64), np.empty(best)
    count = kernels.beam_search(
        logprobs.ctypes.data,
        T,
        V,
        beam,
        best,
        *(array.ctypes.data for array in (ids, starts, ends, lengths, scores)),
    )
    if count < 0:
        raise MemoryError(f"a beam of {beam} over {T} frames does not fit into memory")
    return [
        Row(ids[k, :n].copy(), starts[k, :n].copy(), ends[k, :n].copy(), float(scores[k]))
        for k, n in enumerate(lengths[:count].tolist())
    ]


@functools.cache
def ready() -> bool:
    """Whether the search can be had here and finds the right text; says so once where not."""
    if _library() is None:
        return False
    sound = _self_test()
    if not sound:
        warn(f"the native beam search gives wrong texts here; numpy's is used, and {COST}")
    return sound


@functools.cache
def _library() -> ctypes.CDLL | None:
    found = library("beam", cost=COST)
    if found is not None:
        search: Any = found.beam_search
        search.restype = _LONG
        search.argtypes = [_POINTER, *[_LONG] * 4, *[_POINTER] * 5]
    return found


def _self_test() -> bool:
    """Three frames of blank and one symbol by halves: once 6 of 8 ways, twice and never 1 each."""
    rows = beam_search(np.full((3, 2), math.log(0.5)), beam=4, best=3)
    found = sorted((row.ids.tolist(), round(8 * math.exp(row.score))) for row in rows)
    return found == [([], 1), ([1], 6), ([1, 1], 1)]
