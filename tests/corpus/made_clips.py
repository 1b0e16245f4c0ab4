"""Recordings for tests: tones over noise, in any form that libsndfile writes."""

from __future__ import annotations

import io

import numpy as np
import soundfile


def tone(seconds=0.6, *, rate=16_000, seed=0, loud=0.3):
    """A tone of its own pitch over some noise [samples], in [-1, 1]."""
    random = np.random.default_rng(seed)
    time = np.arange(round(seconds * rate)) / rate
    wave = np.sin(2 * np.pi * (180 + 37 * seed) * time) + 0.1 * random.normal(size=len(time))
    return (loud * wave / max(1e-9, np.abs(wave).max(initial=0))).astype(np.float32)


def saved(samples, kind="FLAC", *, rate=16_000, subtype=None, channels=1):
    """The bytes of a file; several channels: each half as loud as the one before."""
    out = io.BytesIO()
    if channels > 1:
        samples = np.stack([samples / 2**n for n in range(channels)], axis=1)
    soundfile.write(out, samples, rate, format=kind, subtype=subtype)
    return out.getvalue()


def clip(seed=0, kind="FLAC", **values):
    """A file with a tone."""
    subtype = {"OGG": "OPUS"}.get(kind)
    return saved(tone(seed=seed, **values), kind, subtype=subtype)


def talk(*stretches, seed=0, floor=1e-3):
    """Bursts of tone in near silence: (seconds of silence, seconds of tone), and half a second."""
    random = np.random.default_rng(seed)
    pieces = []
    for number, (quiet, loud) in enumerate(stretches):
        pieces += [random.normal(0, floor, round(quiet * 16_000)), tone(loud, seed=seed + number)]
    pieces.append(random.normal(0, floor, 8_000))
    return np.concatenate(pieces).astype(np.float32)
