"""A bounded random sample of the frames of a corpus, without holding or storing the others.

Each frame gets a random number that depends on the seed and its clip alone, and those with the
lowest ones are the sample: a reservoir whose content does not depend on the order of clips. To hear
all of a large corpus for a few of its frames would double the work, so only a random part of the
clips is heard, of four times as many frames as are wanted.

Names: F frames of a clip, D width.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from minna.corpus.frame_labels import key_of_id

POOL: Final = 4
"""Frames heard for each that is kept, where the corpus has so many."""


class FrameSample:
    """A sample that grows to `size` frames and then keeps that many.

    Args:
        size: frames wanted.
        total: frames there are, about; decides which share of the clips is heard.
        seed: of the choice.
    """

    def __init__(self, size: int, *, total: float, seed: int) -> None:
        self._size, self._seed = size, seed
        self._share = min(1.0, POOL * size / max(total, 1.0))
        self._numbers: list[NDArray[np.float64]] = []
        self._frames: list[Tensor] = []
        self._limit, self._held = np.inf, 0

    def wants(self, clip: str) -> bool:
        """Whether a clip is to be heard."""
        return bool(self._generator(clip).random() < self._share)

    def add(self, clip: str, frames_FD: Tensor) -> None:
        """Offer the frames of a clip."""
        generator = self._generator(clip)
        generator.random()  # the number of the clip itself
        numbers = generator.random(len(frames_FD))
        kept = np.flatnonzero(numbers < self._limit)
        self._numbers.append(numbers[kept])
        self._frames.append(frames_FD[torch.from_numpy(kept)].cpu())
        self._held += len(kept)
        if self._held >= 2 * self._size:
            self._tighten()

    def frames(self) -> Tensor:
        """Return the sample [N, D], in an order that is random too."""
        self._tighten()
        return self._frames[0]

    def _generator(self, clip: str) -> np.random.Generator:
        return np.random.default_rng((self._seed, key_of_id(clip)))

    def _tighten(self) -> None:
        """Keep the lowest."""
        numbers = np.concatenate([np.zeros(0), *self._numbers])
        order = np.argsort(numbers, kind="stable")[: self._size]
        frames = torch.cat(self._frames) if self._frames else torch.zeros(0, 0)
        self._numbers, self._frames = [numbers[order]], [frames[torch.from_numpy(order)]]
        self._held = len(order)
        if self._held == self._size:
            self._limit = float(self._numbers[0][-1])
