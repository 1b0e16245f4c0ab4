"""The shape of a speech encoder, and how many frames a clip has.

One class for three families: they share the convolutions, the blocks and nearly all fields of
config.json, and differ in how places are told (`position_layers`) and in which norms are allowed.
Settings that only training knows (masks, what the convolutions learn at, codebooks) are not here.

Convolutions are the published ones, so a frame is 400 samples, the next begins 320 later, and n
samples have floor((n - 400) / 320) + 1 of them (tests/models/test_speech_encoder.py).
"""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Literal, overload

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass
from torch import Tensor

from minna.errors import UsageError

SpeechFamily = Literal["hubert", "wav2vec2", "data2vec-audio"]

RATE = 16_000
"""Samples of a second."""
FIELD, HOP = 400, 320
"""Samples that a frame hears (25 ms), and from the start of one to that of the next (20 ms)."""
KERNELS, STRIDES = (10, 3, 3, 3, 3, 2, 2), (5, 2, 2, 2, 2, 2, 2)
BLANK = 0
"""Of a recogniser: the id of "no sound", transformers' pad_token_id."""

_OF_FAMILY = {"hubert": ("group", 1, 128), "wav2vec2": ("group", 1, 128)}
_OF_DATA2VEC = ("layer", 5, 19)
_NO_END = 1 << 40

Size = Annotated[int, Field(gt=0)]
Share = Annotated[float, Field(ge=0, lt=1)]


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class SpeechConfig:
    """The shape of a speech encoder; what is left out is the family's own.

    Attributes:
        family: as config.json names it.
        conv_widths: channels of the seven convolutions.
        conv_norm: "group" norms each channel of the first convolution over the clip, "layer" every
            frame behind each convolution. None: "layer" for data2vec, else "group".
        conv_bias: whether convolutions have biases (wav2vec 2.0 large of 60,000 hours has).
        block_norm: behind what a block adds ("post", base), or before what it reads ("pre", large).
        position_layers: convolutions that tell places; None: 5 for data2vec, 1 for others.
        position_kernel: frames each of them sees; None: 19 for data2vec, 128 for others.
        audio: what the encoder does with a clip: nothing, or shift and scale its samples to mean 0
            and deviation 1. None: "normalised" where `conv_norm` is "layer", as published.
        vocab: symbols of a recogniser, the blank counted; None: no recogniser.
        dropout: of what blocks add, and of what enters the first.
        feature_dropout: of projected features.
        head_dropout: before a recogniser's head.
        layer_drop: share of blocks that a batch skips in training.
    """

    family: SpeechFamily
    layers: Size
    width: Size
    heads: Size
    ffn: Size
    conv_widths: tuple[Size, ...] = (512,) * 7
    conv_norm: Literal["group", "layer"] | None = None
    conv_bias: bool = False
    block_norm: Literal["post", "pre"] = "post"
    position_layers: Size | None = None
    position_kernel: Size | None = None
    position_groups: Size = 16
    audio: Literal["as_recorded", "normalised"] | None = None
    vocab: Size | None = None
    norm_eps: float = 1e-5
    dropout: Share = 0.1
    attention_dropout: Share = 0.1
    activation_dropout: Share = 0.0
    feature_dropout: Share = 0.1
    head_dropout: Share = 0.0
    layer_drop: Share = 0.05
    init_std: float = 0.02

    def __post_init__(self) -> None:
        """Fill in what the family decides; check what would otherwise fail deep inside."""
        norm, layers, kernel = _OF_FAMILY.get(self.family, _OF_DATA2VEC)
        settled = {
            "conv_norm": self.conv_norm or norm,
            "position_layers": self.position_layers or layers,
            "position_kernel": self.position_kernel or kernel,
        }
        normed = settled["conv_norm"] == "layer"
        settled["audio"] = self.audio or ("normalised" if normed else "as_recorded")
        for name, value in settled.items():
            object.__setattr__(self, name, value)
        self._refuse_widths()
        self._refuse_of_family()

    def _refuse_widths(self) -> None:
        if len(self.conv_widths) != len(KERNELS):
            raise UsageError(
                f"conv_widths has {len(self.conv_widths)} numbers, and there are {len(KERNELS)} "
                "convolutions",
                remedy=f"give {len(KERNELS)} widths",
            )
        for name in ("heads", "position_groups"):
            if self.width % getattr(self, name):
                raise UsageError(
                    f"width {self.width} is not a multiple of {name} {getattr(self, name)}",
                    remedy=f"choose {name} that divide the width",
                )

    def _refuse_of_family(self) -> None:
        wrong = {"conv_norm": "group", "block_norm": "pre"}
        if self.family != "data2vec-audio":
            wrong = {}
            if self.position_layers != 1:
                raise UsageError(
                    f"position_layers is {self.position_layers}, and {self.family} has one "
                    "convolution that tells places",
                    remedy="leave it out",
                )
        for name, value in wrong.items():
            if getattr(self, name) == value:
                raise UsageError(
                    f"{name} is {value!r}, and transformers' data2vec has no such form",
                    remedy="leave it out",
                )

    @property
    def context(self) -> int:
        """Frames that can be told apart: convolutions tell places, however many there are."""
        return _NO_END

    @property
    def positions(self) -> tuple[int, int]:
        """Convolutions that tell places, and frames that each of them sees."""
        assert self.position_layers is not None, "settled when it was made"
        assert self.position_kernel is not None, "settled when it was made"
        return self.position_layers, self.position_kernel


@overload
def frames_of(samples: int) -> int: ...
@overload
def frames_of(samples: Tensor) -> Tensor: ...
def frames_of(samples: int | Tensor) -> int | Tensor:
    """Return how many frames clips of so many samples have; 0 below 400."""
    if isinstance(samples, Tensor):
        return ((samples - FIELD).div(HOP, rounding_mode="floor") + 1).clamp_min(0)
    return max(0, (samples - FIELD) // HOP + 1)


def base(family: SpeechFamily) -> SpeechConfig:
    """Return the published base shape (95 million weights)."""
    dropout = 0.0 if family == "data2vec-audio" else 0.1
    return SpeechConfig(
        family=family, layers=12, width=768, heads=12, ffn=3072, feature_dropout=dropout
    )


def large(family: SpeechFamily) -> SpeechConfig:
    """Return the published large shape (316 million weights); but for data2vec it drops nothing."""
    if family == "data2vec-audio":
        return replace(base(family), layers=24, width=1024, heads=16, ffn=4096)
    return SpeechConfig(
        family=family,
        layers=24,
        width=1024,
        heads=16,
        ffn=4096,
        conv_norm="layer",
        conv_bias=True,
        block_norm="pre",
        dropout=0.0,
        attention_dropout=0.0,
        feature_dropout=0.0,
        layer_drop=0.0,
    )


def laptop(family: SpeechFamily) -> SpeechConfig:
    """Return a shape that two cores train within minutes (2 million weights)."""
    return SpeechConfig(
        family=family, layers=3, width=192, heads=4, ffn=768, conv_widths=(128,) * 7
    )
