"""What objectives of speech ask of a batch: how many frames there are, and which are asked about.

A batch holds `samples` [B, S] (fp32, 16 kHz, padded behind), `masked` [B, F] (boolean, never behind
the end of a clip), and `lengths` [B] (samples of each clip) unless all rows are full.
"""

from __future__ import annotations

import torch
from torch import Tensor

from minna.models.speech.config import frames_of
from minna.models.speech.encoder import SpeechOut
from minna.objectives.comparing import widened

Batch = dict[str, Tensor]


def frames_in(batch: Batch) -> Tensor:
    """Return the frames of each clip [B], int64."""
    samples = batch["samples"]
    if "lengths" in batch:
        return frames_of(batch["lengths"])
    frames = frames_of(samples.shape[1])
    return torch.full((len(samples),), frames, device=samples.device)


def seen_of(batch: Batch, frames: int) -> Tensor | None:
    """Return which frames are there [B, F]; None: all of them."""
    if "lengths" not in batch:
        return None
    places = torch.arange(frames, device=batch["samples"].device)
    return places < frames_in(batch)[:, None]


def places_of(chosen_BF: Tensor) -> Tensor:
    """Return where something holds, as places among the B F frames [N]."""
    return chosen_BF.flatten().nonzero().squeeze(1)


def at(x_BFD: Tensor, places_N: Tensor) -> Tensor:
    """Return what stands at places [N, D]."""
    return x_BFD.flatten(0, 1).index_select(0, places_N)


def loudness(heard: SpeechOut, batch: Batch) -> Tensor:
    """Sum, over the frames that are there, of the mean square of what the convolutions said.

    The features penalty of HuBERT and wav2vec 2.0; fp32, a scalar.
    """
    square_BF = widened(heard.raw).square().mean(-1)
    seen_BF = seen_of(batch, square_BF.shape[1])
    return square_BF.sum() if seen_BF is None else (square_BF * seen_BF).sum()
