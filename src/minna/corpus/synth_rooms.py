"""Rooms, noise and distance for speech that a program spoke, which is dry and all alike.

A room is the direct sound and a tail of noise that dies away; noise has a colour between white and
brown. The direct sound stays where it is, so the times of phones hold. A model that was trained on
dry speech alone fails on the first real recording.
"""

from __future__ import annotations

from typing import Final, Literal

import numpy as np
import numpy.typing as npt

from minna.corpus.audio import RATE, Float32

_ROOM: Final = 0.5  # share of clips in a room
_NOISY: Final = 0.7  # share of clips with noise
_DECAY: Final = (0.1, 0.5)  # seconds until the tail is 60 dB down
_DIRECT: Final = (0.0, 15.0)  # dB of the direct sound over the tail
_SNR: Final = (10.0, 35.0)  # dB
_COLOUR: Final = (0.0, 1.5)  # noise's amplitude falls as 1 / f ** colour
_LEVEL: Final = (-32.0, -18.0)  # dB under full scale
_DRY_LEVEL: Final = -23.0
_MOST: Final = 0.9
_FIRST: Final = 0.003  # seconds until the first reflection


def surrounded(
    samples: Float32, *, kind: Literal["mixed", "none"], random: np.random.Generator
) -> Float32:
    """A clip as it is heard somewhere, of the same length."""
    level = _DRY_LEVEL
    heard = samples.astype(np.float64)
    if kind == "mixed":
        level = random.uniform(*_LEVEL)
        if random.uniform() < _ROOM:
            heard = _in_room(heard, random)
        if random.uniform() < _NOISY:
            heard = heard + _noise(heard, random)
    power = float(np.mean(np.square(heard)))
    peak = float(np.abs(heard).max(initial=0.0))
    if not power:
        return samples
    gain = min(10 ** (level / 20) / np.sqrt(power), _MOST / peak)
    return (heard * gain).astype(np.float32)


def _in_room(dry: npt.NDArray[np.float64], random: np.random.Generator) -> npt.NDArray[np.float64]:
    seconds = random.uniform(*_DECAY)
    times = np.arange(int(seconds * RATE)) / RATE
    tail = random.normal(size=len(times)) * 10 ** (-3 * times / seconds)
    tail[times < _FIRST] = 0
    tail *= 10 ** (-random.uniform(*_DIRECT) / 20) / np.sqrt(np.sum(np.square(tail)))
    size = 1 << (len(dry) + len(tail) - 1).bit_length()
    wet = np.fft.irfft(np.fft.rfft(dry, size) * np.fft.rfft(tail, size), size)
    return dry + wet[: len(dry)]


def _noise(heard: npt.NDArray[np.float64], random: np.random.Generator) -> npt.NDArray[np.float64]:
    size = 1 << max(1, (len(heard) - 1).bit_length())
    spectrum = np.fft.rfft(random.normal(size=size))
    frequencies = np.maximum(np.fft.rfftfreq(size, 1 / RATE), 50.0)
    noise = np.fft.irfft(spectrum / frequencies ** random.uniform(*_COLOUR), size)[: len(heard)]
    speech, own = np.mean(np.square(heard)), np.mean(np.square(noise))
    return noise * np.sqrt(speech / own) * 10 ** (-random.uniform(*_SNR) / 20)
