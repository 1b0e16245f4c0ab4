"""Which frames, and which channels, are hidden from an encoder: spans from (seed, epoch, clip).

A clip's spans do not depend on what else is in its batch or on how often a random state was asked,
so a run that goes on, on however many ranks, hides what it would have hidden, and no clip twice the
same. fairseq draws them from the global state of NumPy, and then uncovers frames until all rows of
the batch have equally many; transformers draws from that state too.

`start_probability` is the published number: the share of frames at which a span begins. The share
of frames that end up hidden is another, because spans overlap: 0.08 and spans of 10 hide 56 % of
780 frames, 0.075 54 %, 0.065 49 %, 0.05 40 % (tests/models/test_speech_masks.py). fairseq and
transformers name ten times the published number `mask_prob`, which is neither.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass
from torch import Tensor

Hides = Literal["frames", "channels"]
_NUMBER: dict[Hides, int] = {"frames": 0, "channels": 1}


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class SpanSettings:
    """How much is hidden.

    Attributes:
        start_probability: share of places at which a span begins (HuBERT 0.08, wav2vec 2.0 and
            data2vec 0.065; fine-tuning 0.05 to 0.075); 0 with `least` 0 hides nothing.
        span: places of a span.
        least: spans of a clip (data2vec 1).
    """

    start_probability: float = Field(default=0.08, ge=0, lt=1)
    span: int = Field(default=10, ge=1)
    least: int = Field(default=2, ge=0)


CHANNELS = SpanSettings(start_probability=0.5 / 64, span=64, least=0)
"""Of fine-tuning with few labels: at most half of 768 channels, 64 in a row."""


def clip_number(name: str) -> int:
    """Return the number of a clip, which its masks are drawn by: 63 bits of a hash of its id."""
    digest = hashlib.blake2b(name.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


def spans(
    places: int, *, settings: SpanSettings, generator: np.random.Generator
) -> npt.NDArray[np.bool_]:
    """Draw what is hidden of so many places: boolean [places].

    p x places spans, rounded up or down by chance, at least `least`, begin at different places and
    may overlap. As in fairseq none reaches the last place, so something is always seen; where a
    span would not leave that, it is half of the places long.
    """
    hidden = np.zeros(places, dtype=np.bool_)
    span = settings.span if settings.span < places else places // 2
    count = max(int(settings.start_probability * places + generator.random()), settings.least)
    count = min(count, places - span) if span else 0
    if not count:
        return hidden
    starts = generator.choice(places - span, count, replace=False)
    hidden[(starts[:, None] + np.arange(span)).reshape(-1)] = True
    return hidden


def hidden_of(
    clips: Sequence[int],
    places: Sequence[int],
    *,
    settings: SpanSettings,
    seed: int,
    epoch: int,
    what: Hides = "frames",
) -> Tensor:
    """Draw what is hidden of each clip of a batch: boolean [B, most places].

    Args:
        clips: their numbers (`clip_number`).
        places: frames of each clip, or the width of the encoder for each.
        settings: how much.
        seed: of the run.
        epoch: so that no clip is hidden twice the same.
        what: channels are not hidden where frames are.
    """
    out = np.zeros((len(clips), max(places)), dtype=np.bool_)
    for row, (clip, count) in enumerate(zip(clips, places, strict=True)):
        generator = np.random.default_rng((seed, epoch, clip, _NUMBER[what]))
        out[row, :count] = spans(count, settings=settings, generator=generator)
    return torch.from_numpy(out)
