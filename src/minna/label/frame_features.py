"""What frames are clustered by: cepstra of the audio, or what a layer of a model says.

The first labels of HuBERT are clusters of MFCC, the later ones of a layer of the model trained on
the labels before. Both are numbers for each frame of a recording; they differ in how many frames a
second has.

Names: S samples at 16 kHz, F frames, D width.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Final, Protocol

import torch
from torch import Tensor

from minna.errors import UsageError
from minna.label import mfcc

if TYPE_CHECKING:
    from minna.runtime.speech import Encoder, Float32

_MFCC: Final = "mfcc-39-kaldi-1"  # raise the number when cepstra are computed differently


class FrameFeatures(Protocol):
    """Numbers for each frame of a recording."""

    @property
    def name(self) -> str:
        """In words."""
        ...

    @property
    def digest(self) -> str:
        """Hex sha256 of all that decides them."""
        ...

    @property
    def rate(self) -> int:
        """Frames of a second: 100 or 50."""
        ...

    @property
    def width(self) -> int:
        """D."""
        ...

    def of(self, samples_S: Float32) -> Tensor:
        """Return [F, D] fp32; no frames of less than 25 ms."""
        ...


class Mfcc:
    """Cepstra and their differences, 100 times a second."""

    name = "mfcc"
    rate = mfcc.RATE // mfcc.HOP
    width = mfcc.WIDTH
    digest = hashlib.sha256(_MFCC.encode()).hexdigest()

    def of(self, samples_S: Float32) -> Tensor:
        """Return [F, 39]."""
        return torch.from_numpy(mfcc.mfcc(samples_S))


class LayerFeatures:
    """What a layer of an encoder says, 50 times a second.

    Args:
        encoder: who is asked.
        layer: counted from 1, as in the papers and in fairseq (HuBERT: 6 of 12, later 9).

    Raises:
        UsageError: there is no such layer.
    """

    rate = 50

    def __init__(self, encoder: Encoder, *, layer: int) -> None:
        if not 1 <= layer <= encoder.layers:
            raise UsageError(
                f"{encoder.name} has {encoder.layers} layers, and --layer {layer} was asked for",
                remedy=f"count from 1 to {encoder.layers}; HuBERT takes the one in the middle",
            )
        self._encoder, self._layer = encoder, layer
        self.name = f"layer {layer} of {encoder.name}"
        self.width = encoder.width

    @property
    def digest(self) -> str:
        """Of the encoder: one of its layers is told by the name."""
        return self._encoder.digest

    @property
    def layer(self) -> int:
        """Counted from 1."""
        return self._layer

    def of(self, samples_S: Float32) -> Tensor:
        """Return [F, D]."""
        return self._encoder.hidden(samples_S, layer=self._layer)
