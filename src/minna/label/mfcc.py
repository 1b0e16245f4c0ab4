"""Mel-frequency cepstra as Kaldi computes them: what HuBERT's first labels are clusters of.

The settings are those of HuBERT's own recipe: 25 ms every 10 ms, 23 mel bins from 20 to 8,000 Hz,
13 cepstra with the first from the bins and not from the energy, no dither, then differences and
their differences over five frames: 39 numbers, 100 times a second. A frame needs all its 400
samples (Kaldi's snip_edges), so n samples have floor((n - 400) / 160) + 1 frames, and frame 2i
covers the very samples that frame i of the encoders' convolutions does.

Samples are in [-1, 1], as there; Kaldi itself takes them 32,768 times as loud, which moves the
first cepstrum by a constant, and where silence ends. In numpy: an hour takes two seconds on one
core, and `tests/label/test_mfcc.py` compares it with kaldi-native-fbank.

Names: S samples, F frames, M mel bins, C cepstra.
"""

from __future__ import annotations

import functools
from typing import Final

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

RATE: Final = 16_000
WINDOW: Final = 400
"""Samples of a frame."""
HOP: Final = 160
"""Samples from the start of a frame to that of the next."""
WIDTH: Final = 39
"""Numbers of a frame."""

_CEPSTRA, _BINS = 13, 23
_LOWEST, _HIGHEST = 20.0, 8000.0
_FFT = 512
_PREEMPHASIS = np.float32(0.97)
_LIFTER = 22.0
_FLOOR = np.float32(np.finfo(np.float32).eps)
_DELTA = 2  # frames on either side
_BLOCK = 256  # frames at once: a megabyte of windows and spectra


def mfcc_frames(samples: int) -> int:
    """How many frames so many samples have; 0 below 400."""
    return max(0, (samples - WINDOW) // HOP + 1)


def mfcc(samples_S: Floats) -> Floats:
    """[F, 39] cepstra with their first and second differences, of samples at 16 kHz."""
    count = mfcc_frames(len(samples_S))
    if not count:
        return np.zeros((0, WIDTH), dtype=np.float32)
    windows = np.lib.stride_tricks.sliding_window_view(samples_S, WINDOW)[::HOP]
    parts = [_cepstra(windows[start : start + _BLOCK]) for start in range(0, count, _BLOCK)]
    cepstra_FC = np.concatenate(parts)
    first = deltas(cepstra_FC)
    return np.concatenate([cepstra_FC, first, deltas(first)], axis=1)


def deltas(values_FC: Floats) -> Floats:
    """Slopes over five frames; the first and last frame stand for what is beyond them."""
    padded = np.pad(values_FC, ((_DELTA, _DELTA), (0, 0)), mode="edge")
    count = len(values_FC)
    total = np.zeros_like(values_FC)
    for step in range(1, _DELTA + 1):
        ahead = padded[_DELTA + step : _DELTA + step + count]
        total += np.float32(step) * (ahead - padded[_DELTA - step : _DELTA - step + count])
    return total / np.float32(2 * sum(step * step for step in range(1, _DELTA + 1)))


def _cepstra(windows_FS: Floats) -> Floats:
    """[F, 13] of frames of 400 samples."""
    frames = windows_FS.astype(np.float32)
    frames -= frames.mean(axis=1, keepdims=True)
    frames[:, 1:] -= _PREEMPHASIS * frames[:, :-1]  # the right side is read before it changes
    frames[:, 0] *= 1 - _PREEMPHASIS
    frames *= _povey()
    spectrum = np.fft.rfft(frames, _FFT, axis=1)[:, : _FFT // 2]
    power = np.square(spectrum.real) + np.square(spectrum.imag)
    mel_FM = power @ _mel_filters()
    return np.log(np.maximum(mel_FM, _FLOOR)) @ _cosines()


@functools.cache
def _povey() -> Floats:
    """Kaldi's window: Hann's to the power of 0.85, which ends at zero."""
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(WINDOW) / (WINDOW - 1))
    return (hann**0.85).astype(np.float32)


def _mel(hertz: NDArray[np.float64]) -> NDArray[np.float64]:
    return 1127.0 * np.log1p(hertz / 700.0)


@functools.cache
def _mel_filters() -> Floats:
    """[256, M] triangles of equal width on the mel scale."""
    low, high = _mel(np.array([_LOWEST, _HIGHEST])).tolist()
    edges = np.linspace(low, high, _BINS + 2)
    left, centre, right = edges[:-2], edges[1:-1], edges[2:]
    at = _mel(np.arange(_FFT // 2, dtype=np.float64) * (RATE / _FFT))[:, None]
    filters = np.minimum((at - left) / (centre - left), (right - at) / (right - centre))
    return np.maximum(filters, 0.0).astype(np.float32)


@functools.cache
def _cosines() -> Floats:
    """[M, C] the cosine transform, each cepstrum with its weight (the lifter)."""
    order = np.arange(_CEPSTRA)
    angle = np.pi / _BINS * (np.arange(_BINS)[:, None] + 0.5) * order
    scale = np.where(order == 0, np.sqrt(1 / _BINS), np.sqrt(2 / _BINS))
    lifter = 1 + 0.5 * _LIFTER * np.sin(np.pi * order / _LIFTER)
    return (np.cos(angle) * scale * lifter).astype(np.float32)
