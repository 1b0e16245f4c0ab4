"""Cutting a long recording where nobody speaks.

Energy, and nothing learned: a frame of 20 ms is speech when it rises well above the recording's own
floor, and goes on being speech until it has sunk back near it (two thresholds, so that a word's
quiet end stays with it). Gaps under 0.3 s close, bursts under 0.1 s go, 0.1 s stay at both sides,
and neighbours are joined while they fit into one clip. Speech without a gap is cut at the quietest
frame of the clip's second half.

S samples, F frames.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np
import numpy.typing as npt

from minna.corpus.audio import RATE, Float32

FRAME: Final = 320
"""Samples of 20 ms."""
_BEGIN: Final = 0.35  # of the way from the floor to the loud, in dB
_GO_ON: Final = 0.2
_LEAST_RISE: Final = 9.0  # dB between floor and loud; a recording with less is all one thing
_GAP: Final = 15  # frames
_BURST: Final = 5
_EDGE: Final = 5
_QUIETEST: Final = -90.0  # dB: digital silence is not infinitely far from the rest

Span = tuple[int, int]


def speech_spans(samples: Float32, *, longest: float) -> list[Span]:
    """Where a recording at 16,000 Hz is spoken [S]: (start, end) in samples, in order.

    Args:
        samples: one channel.
        longest: seconds of a span at most.
    """
    frames = len(samples) // FRAME
    most = int(longest * RATE) // FRAME
    if not frames:
        return []
    levels_F = _levels(samples, frames)
    spans = list(_joined(_split(_spoken(levels_F), levels_F, most), most))
    return [(start * FRAME, min(end * FRAME, len(samples))) for start, end in spans]


def _levels(samples: Float32, frames: int) -> npt.NDArray[np.float64]:
    """The level of each frame in dB [F], over 3 frames: a single click is no speech."""
    blocks = samples[: frames * FRAME].reshape(frames, FRAME)
    power = np.einsum("fs,fs->f", blocks, blocks, dtype=np.float64) / FRAME
    padded = np.pad(power, 1, mode="edge")
    smooth = (padded[:-2] + padded[1:-1] + padded[2:]) / 3
    return np.maximum(10 * np.log10(np.maximum(smooth, 1e-12)), _QUIETEST)


def _spoken(levels_F: npt.NDArray[np.float64]) -> list[Span]:
    """Frames of speech, widened by the edges; the whole where nothing rises."""
    low, high = np.percentile(levels_F, [10, 95])
    if high - low < _LEAST_RISE:
        return [(0, len(levels_F))]
    begins = levels_F >= low + _BEGIN * (high - low)
    lasts = levels_F >= low + _GO_ON * (high - low)
    found: list[Span] = []
    for start, end in _runs(lasts):
        if not begins[start:end].any():
            continue
        if found and start - found[-1][1] < _GAP:
            found[-1] = (found[-1][0], end)
        else:
            found.append((start, end))
    kept = [(start, end) for start, end in found if end - start >= _BURST]
    return [(max(0, a - _EDGE), min(len(levels_F), b + _EDGE)) for a, b in kept]


def _runs(flags: npt.NDArray[np.bool_]) -> Iterator[Span]:
    """Stretches of true."""
    edges = np.flatnonzero(np.diff(np.concatenate(([0], flags.astype(np.int8), [0]))))
    yield from zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True)


def _split(spans: list[Span], levels_F: npt.NDArray[np.float64], most: int) -> Iterator[Span]:
    """Spans of at most `most` frames, cut at the quietest frame of their second half."""
    for start, end in spans:
        begin = start
        while end - begin > most:
            half = begin + most // 2
            cut = half + int(np.argmin(levels_F[half : begin + most]))
            yield begin, cut + 1
            begin = cut + 1
        yield begin, end


def _joined(spans: Iterator[Span], most: int) -> Iterator[Span]:
    """Neighbours as one span while they fit, the gap between them with them."""
    current: Span | None = None
    for start, end in spans:
        if current is not None and end - current[0] <= most:
            current = (current[0], end)
            continue
        if current is not None:
            yield current
        current = (start, end)
    if current is not None:
        yield current
