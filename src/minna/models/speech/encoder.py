"""A speech encoder: from samples to hidden states, 50 a second.

Around transformers' HubertModel, Wav2Vec2Model or Data2VecAudioModel: its weights, its names, its
parts. The forward pass is ours, for what theirs does not do:

- a clip says the same alone and in any batch, in both norm modes (`convolutions.py`); theirs lets
  padding into the group norm and, in data2vec, into what tells places;
- which frames are hidden is given with the batch, so it follows from a seed and the clip; theirs
  draws it from the global state of NumPy;
- features, hidden states of every block, or of the first few alone (`upto`) come out of one pass;
- gradients are scaled where they enter the convolutions (0.1 in the base shapes of HuBERT and
  wav2vec 2.0), and the same numbers take about half of the time on a CPU.

B clips, S samples, F frames, C channels of the last convolution, D width.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn

from minna.errors import DataError, MissingExtraError
from minna.models.checkpointing import Checkpointing
from minna.models.speech.blocks import SpeechBlock, run_blocks
from minna.models.speech.config import FIELD, RATE, STRIDES, SpeechConfig, frames_of
from minna.models.speech.convolutions import conv_features, normalised, places
from minna.models.speech.dropping import drop_fast
from minna.models.weights.speech import CLASSES, config_to_disk

PARTS = {
    "convolutions": r"^(body\.)?feature_extractor\.",
    "encoder": r"^(?!lm_head\.)",
    "layers": r"^(body\.)?encoder\.layers\.",
    "head": r"^lm_head\.",
}
"""Short name -> pattern of parameter names, of an encoder and of a recogniser."""
SHARD_UNITS = r"^(body\.)?encoder\.layers\.\d+$"
"""Modules that ranks gather one at a time (FSDP2)."""


class SpeechOut(NamedTuple):
    """What an encoder heard.

    Attributes:
        hidden: last hidden states [B, F, D]; behind the end of a clip they mean nothing.
        features: what the convolutions said, behind the layer norm [B, F, C].
        raw: the same before it.
        projected: what the blocks are given, before dropout and hiding [B, F, D].
        frames: frames of each clip [B], int64.
        layers: with `kept` "all": what entered the first block, and what left each (before any last
            norm); what transformers calls hidden_states.
    """

    hidden: Tensor
    features: Tensor
    raw: Tensor
    projected: Tensor
    frames: Tensor
    layers: list[Tensor] | None


class SpeechEncoder(nn.Module):
    """An encoder of HuBERT, wav2vec 2.0 or data2vec.

    Args:
        config: its shape.

    Raises:
        MissingExtraError: transformers is not installed.
    """

    attention_kind = "fused"  # both ways; our kernel and flex's masks are causal

    def __init__(self, config: SpeechConfig) -> None:
        super().__init__()
        self.config = config
        self.checkpointing: Checkpointing = "none"
        hub = _hub_model(config)
        self.feature_extractor: Any = hub.feature_extractor
        self.feature_projection: Any = hub.feature_projection
        self.masked_spec_embed: nn.Parameter = hub.masked_spec_embed
        self.encoder: Any = hub.encoder
        self.encoder.layers = nn.ModuleList(
            SpeechBlock(layer, norm=config.block_norm) for layer in self.encoder.layers
        )
        drop_fast(self)

    def frames(self, samples: int) -> int:
        """Return how many frames a clip of so many samples has."""
        return frames_of(samples)

    def forward(
        self,
        samples_BS: Tensor,
        lengths_B: Tensor | None = None,
        *,
        masked_BF: Tensor | None = None,
        channels_BD: Tensor | None = None,
        feature_gradient: float = 1.0,
        upto: int | None = None,
        kept: Literal["last", "all"] = "last",
    ) -> SpeechOut:
        """Listen to clips.

        Args:
            samples_BS: at 16 kHz, fp32, padded behind.
            lengths_B: samples of each clip; None where all are S long, which spares a GPU a wait.
            masked_BF: frames for which the learned vector stands.
            channels_BD: channels that are 0 in all frames of a clip.
            feature_gradient: what gradients are multiplied with where they enter the convolutions;
                at 0 none are computed.
            upto: blocks that are run; None: all, and the last norm where norms stand before.
            kept: "all" returns every block's hidden states.

        Raises:
            DataError: a clip is shorter than a frame.
        """
        lengths = self._lengths(samples_BS, lengths_B)
        raw_BFC = self._heard(samples_BS, lengths, gradient=feature_gradient)
        B, F = raw_BFC.shape[:2]
        projection = self.feature_projection
        features_BFC = projection.layer_norm(raw_BFC)
        projected_BFD = projection.projection(features_BFC)
        if lengths is None:
            frames_B = torch.full((B,), F, device=raw_BFC.device)
            seen_BF = None
        else:
            assert lengths_B is not None, "where lengths come from"
            frames_B = frames_of(lengths_B)
            seen_BF = torch.arange(F, device=raw_BFC.device) < frames_B[:, None]
        x_BFD = projection.dropout(projected_BFD)
        if masked_BF is not None:
            hidden_D = self.masked_spec_embed.to(x_BFD.dtype)
            x_BFD = torch.where(masked_BF[..., None], hidden_D, x_BFD)
        if channels_BD is not None:
            x_BFD = x_BFD.masked_fill(channels_BD[:, None], 0)
        layers: list[Tensor] | None = [] if kept == "all" else None
        if upto != 0:
            x_BFD = self.contextualise(x_BFD, seen_BF=seen_BF, upto=upto, into=layers)
        return SpeechOut(x_BFD, features_BFC, raw_BFC, projected_BFD, frames_B, layers)

    def contextualise(
        self,
        x_BFD: Tensor,
        *,
        seen_BF: Tensor | None = None,
        upto: int | None = None,
        into: list[Tensor] | None = None,
    ) -> Tensor:
        """Tell frames their places and run the blocks: [B, F, D].

        Args:
            x_BFD: projected features.
            seen_BF: which frames are there; None: all.
            upto: blocks that are run; None: all.
            into: gets what entered the first block, and what left each.
        """
        config = self.config
        x_BFD = self.encoder.dropout(self.placed(x_BFD, self.encoder.layer_norm, seen_BF=seen_BF))
        if into is not None:
            into.append(x_BFD)
        x_BFD = run_blocks(
            self.encoder.layers[:upto],
            x_BFD,
            seen_B11F=attended(seen_BF),
            keep=self.checkpointing if self.training else "none",
            layer_drop=config.layer_drop if self.training else 0.0,
            into=into,
        )
        last = config.block_norm == "pre" and upto in (None, config.layers)
        return self.encoder.layer_norm(x_BFD) if last else x_BFD

    def placed(
        self, x_BFD: Tensor, norm: Callable[[Tensor], Tensor], *, seen_BF: Tensor | None
    ) -> Tensor:
        """Return what enters the first block, before dropout [B, F, D].

        Args:
            x_BFD: projected features.
            norm: of them with their places, where norms stand behind (a teacher has its own).
            seen_BF: which frames are there; None: all.
        """
        if seen_BF is not None:
            x_BFD = x_BFD * seen_BF[..., None]
        x_BFD = x_BFD + places(
            self.encoder.pos_conv_embed, x_BFD, config=self.config, seen_BF=seen_BF
        )
        return norm(x_BFD) if self.config.block_norm == "post" else x_BFD

    @torch.no_grad()
    def initialise(self, *, seed: int) -> None:
        """Draw fresh weights as published.

        Convolutions as He et al. 2015, matrices of blocks normal(0, init_std) (Devlin et al. 2019),
        the one that tells places normal(0, sqrt(4 / (kernel x width))), the projection and
        data2vec's places uniform within 1 / sqrt(numbers read), the vector for hidden frames
        uniform(0, 1); norms 1, biases of all but convolutions and projection 0.
        """
        generator = torch.Generator().manual_seed(seed)
        for name, parameter in self.named_parameters():
            if "layer_norm" in name:
                parameter.fill_(0.0 if name.endswith("bias") else 1.0)
            elif name.startswith("feature_extractor."):
                self._initialise_conv(name, parameter, generator)
            elif name.startswith("feature_projection."):
                _uniform(parameter, self.config.conv_widths[-1], generator)
            elif name == "masked_spec_embed":
                parameter.uniform_(generator=generator)
            elif name.startswith("encoder.layers."):
                if name.endswith("bias"):
                    parameter.zero_()
                else:
                    parameter.normal_(0.0, self.config.init_std, generator=generator)
        self._initialise_places(generator)

    def _initialise_conv(
        self, name: str, parameter: nn.Parameter, generator: torch.Generator
    ) -> None:
        """Draw a convolution's weight, or its bias (torch's own way)."""
        weight = self.feature_extractor.conv_layers[int(name.split(".")[2])].conv.weight
        read = weight[0].numel()
        if name.endswith("bias"):
            _uniform(parameter, read, generator)
        else:
            parameter.normal_(0.0, math.sqrt(2 / read), generator=generator)

    def _initialise_places(self, generator: torch.Generator) -> None:
        """Draw what tells places; weight norm's lengths are those of what was drawn."""
        embed = self.encoder.pos_conv_embed
        if self.config.family == "data2vec-audio":
            for layer in embed.layers:
                _uniform(layer.conv.weight, layer.conv.weight[0].numel(), generator)
                layer.conv.bias.zero_()
            return
        _, kernel = self.config.positions
        norm = embed.conv.parametrizations.weight
        deviation = math.sqrt(4 / (kernel * self.config.width))
        norm.original1.normal_(0.0, deviation, generator=generator)
        norm.original0.copy_(norm.original1.norm(dim=(0, 1), keepdim=True))
        embed.conv.bias.zero_()

    def flops_per_token(self, *, row_tokens: int) -> int:
        """Floating-point operations of one trained frame: forward and backward, 6 per weight.

        Convolutions count as often as they are used within a frame (the first 64 times), and a
        third where they do not learn.

        Args:
            row_tokens: frames of a clip, which attention sees all of.
        """
        convolutions, often = 0, math.prod(STRIDES)
        for layer in self.feature_extractor.conv_layers:
            often //= int(layer.conv.stride[0])
            convolutions += often * layer.conv.weight.numel()
        learn = any(one.requires_grad for one in self.feature_extractor.parameters())
        rest = self.feature_projection.projection.weight.numel()
        rest += sum(one.numel() for one in self.encoder.parameters() if one.ndim > 1)
        attention = 12 * self.config.layers * self.config.width * row_tokens
        return (6 if learn else 2) * convolutions + 6 * rest + attention

    def _lengths(self, samples_BS: Tensor, lengths_B: Tensor | None) -> list[int] | None:
        """Samples of each clip, None where all fill their row.

        Raises:
            DataError: a clip is shorter than a frame.
        """
        S = samples_BS.shape[1]
        lengths: list[int] = [S] if lengths_B is None else lengths_B.tolist()
        if min(lengths) < FIELD:
            raise DataError(
                f"a clip has {min(lengths)} samples, and a frame is {FIELD} "
                f"({1000 * FIELD // RATE} ms at 16 kHz)",
                remedy="leave clips out that are shorter",
            )
        return None if all(length == S for length in lengths) else lengths

    def _heard(self, samples_BS: Tensor, lengths: list[int] | None, *, gradient: float) -> Tensor:
        config = self.config
        if config.audio == "normalised":
            samples_BS = normalised(samples_BS, lengths)
        with torch.set_grad_enabled(torch.is_grad_enabled() and gradient > 0):
            raw_BFC = conv_features(
                self.feature_extractor, samples_BS, config=config, lengths=lengths
            )
        if gradient in (0.0, 1.0) or not raw_BFC.requires_grad:
            return raw_BFC
        return _Scaled.apply(raw_BFC, gradient)  # type: ignore[no-any-return]


class _Scaled(torch.autograd.Function):
    """The same numbers; gradients multiplied on their way back."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, factor: float) -> Tensor:  # type: ignore[override]
        ctx.factor = factor
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        return grad_outputs[0] * ctx.factor, None


def attended(seen_BF: Tensor | None) -> Tensor | None:
    """Return which frames attention sees, as it takes them: [B, 1, 1, F], or None: all."""
    return None if seen_BF is None else seen_BF[:, None, None]


def _hub_model(config: SpeechConfig) -> Any:
    """Make transformers' model, whose weights mean nothing yet.

    Raises:
        MissingExtraError: transformers is not installed.
    """
    try:
        import transformers
    except ImportError as error:
        raise MissingExtraError("transformers", extra="transformers") from error
    start = CLASSES[config.family]
    known = getattr(transformers, f"{start}Config").from_dict(config_to_disk(config))
    known._attn_implementation = "sdpa"  # noqa: SLF001 - what its models ask
    with torch.random.fork_rng(devices=[]):  # it draws weights, and nobody's seed shall move
        return getattr(transformers, f"{start}Model")(known)


def _uniform(parameter: Tensor, read: int, generator: torch.Generator) -> None:
    """Draw within 1 / sqrt(numbers read), as torch's layers do."""
    bound = 1 / math.sqrt(read)
    parameter.uniform_(-bound, bound, generator=generator)
