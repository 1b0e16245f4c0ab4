"""A recogniser: an encoder and one matrix, which say what sounds in every frame (CTC).

The first symbol is the blank. Laid out as transformers' HubertForCTC and its siblings, so Meta's
fine-tuned models are read, and what is trained here runs there.

B clips, S samples, F frames, D width, V symbols.
"""

from __future__ import annotations

import math
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from minna.models.checkpointing import Checkpointing
from minna.models.speech.config import SpeechConfig
from minna.models.speech.encoder import SpeechEncoder


class Recognised(NamedTuple):
    """What a recogniser says: `logits` [B, F, V], and `frames` of each clip [B]."""

    logits: Tensor
    frames: Tensor


class SpeechRecogniser(nn.Module):
    """An encoder with a head.

    Args:
        config: its shape, with `vocab`.
    """

    attention_kind = "fused"

    def __init__(self, config: SpeechConfig) -> None:
        super().__init__()
        assert config.vocab is not None, "a recogniser knows its symbols"
        self.config = config
        self.body = SpeechEncoder(config)
        self.lm_head = nn.Linear(config.width, config.vocab)

    @property
    def checkpointing(self) -> Checkpointing:
        """What blocks keep for their backward pass."""
        return self.body.checkpointing

    @checkpointing.setter
    def checkpointing(self, how: Checkpointing) -> None:
        self.body.checkpointing = how

    def frames(self, samples: int) -> int:
        """Return how many frames a clip of so many samples has."""
        return self.body.frames(samples)

    def forward(
        self,
        samples_BS: Tensor,
        lengths_B: Tensor | None = None,
        *,
        masked_BF: Tensor | None = None,
        channels_BD: Tensor | None = None,
        learns: Literal["all", "head"] = "all",
    ) -> Recognised:
        """Return what sounds in every frame.

        Args:
            samples_BS: at 16 kHz, fp32, padded behind.
            lengths_B: samples of each clip; None where all are S long.
            masked_BF: frames that are hidden.
            channels_BD: channels that are hidden.
            learns: "head" computes no gradients of the encoder.
        """
        with torch.set_grad_enabled(torch.is_grad_enabled() and learns == "all"):
            heard = self.body(samples_BS, lengths_B, masked_BF=masked_BF, channels_BD=channels_BD)
        hidden_BFD = F.dropout(heard.hidden, self.config.head_dropout, self.training)
        return Recognised(self.lm_head(hidden_BFD), heard.frames)

    @torch.no_grad()
    def initialise(self, *, seed: int) -> None:
        """Draw fresh weights, of encoder and head."""
        self.body.initialise(seed=seed)
        self.initialise_head(seed=seed)

    @torch.no_grad()
    def initialise_head(self, *, seed: int) -> None:
        """Draw the head: uniform as Glorot and Bengio 2010, bias 0."""
        generator = torch.Generator().manual_seed(seed)
        bound = math.sqrt(6 / sum(self.lm_head.weight.shape))
        self.lm_head.weight.uniform_(-bound, bound, generator=generator)
        self.lm_head.bias.zero_()

    def flops_per_token(self, *, row_tokens: int) -> int:
        """Floating-point operations of one trained frame."""
        return self.body.flops_per_token(row_tokens=row_tokens) + 6 * self.lm_head.weight.numel()
