"""Long recordings in windows that overlap, joined frame by frame.

Attention costs the square of the length, and no encoder was trained on an hour. So what is longer
than a window is heard in windows; of two that overlap each gives the frames up to the middle of
what they share, where both have heard the same on either side. Windows begin at whole frames and
are all of one length (the last one begins earlier instead of being short), so there are exactly as
many frames as without them.

Names: F frames, B windows, S samples.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice, pairwise
from typing import Final, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from minna.errors import UsageError
from minna.models.speech.config import FIELD, HOP, frames_of

WINDOW: Final = 1500
"""Frames of a window: 30 s."""
OVERLAP: Final = 300
"""Frames that two neighbours share, at least: 6 s."""


class Window(NamedTuple):
    """Frames that are heard together, and those of them that are kept."""

    start: int
    stop: int
    kept_from: int
    kept_to: int

    @property
    def samples(self) -> tuple[int, int]:
        """Where its samples begin and end."""
        return self.start * HOP, (self.stop - 1) * HOP + FIELD


def windows_of(frames: int, *, window: int = WINDOW, overlap: int = OVERLAP) -> list[Window]:
    """Cut frames into windows of one length; what is kept of them is every frame once.

    Raises:
        UsageError: an overlap that leaves nothing, or less than nothing.
    """
    if not 0 <= overlap < window:
        raise UsageError(
            f"windows of {window} frames cannot overlap by {overlap}",
            remedy="let them overlap by less than their length",
        )
    if frames <= window:
        return [Window(0, frames, 0, frames)] if frames else []
    starts = [*range(0, frames - window, window - overlap), frames - window]
    cuts = [(before + window + after) // 2 for before, after in pairwise(starts)]
    return [
        Window(start, start + window, kept_from, kept_to)
        for start, kept_from, kept_to in zip(starts, [0, *cuts], [*cuts, frames], strict=True)
    ]


def by_windows(
    samples_S: NDArray[np.float32],
    hear: Callable[[Tensor], Tensor],
    *,
    together: int = 1,
    window: int = WINDOW,
    overlap: int = OVERLAP,
) -> Tensor:
    """What `hear` says of every frame of a recording.

    Args:
        samples_S: at 16 kHz; 400 or more.
        hear: from samples [B, S] to anything by frame [B, F, ...].
        together: windows in a batch.
        window: frames of one.
        overlap: of two neighbours.
    """
    frames = frames_of(len(samples_S))
    if frames <= window:
        return hear(torch.from_numpy(samples_S)[None])[0]
    waiting = iter(windows_of(frames, window=window, overlap=overlap))
    parts: list[Tensor] = []
    while batch := list(islice(waiting, together)):
        cut = np.stack([samples_S[slice(*one.samples)] for one in batch])
        for one, rows in zip(batch, hear(torch.from_numpy(cut)), strict=True):
            parts.append(rows[one.kept_from - one.start : one.kept_to - one.start])
    return torch.cat(parts)
