"""Next-token prediction: -sum log p(x_t | x_<t) (Radford et al. 2018, equation 1).

Sums, not means: the loop divides by the count over all micro-batches and ranks, so that splitting a
step differently cannot change the update.
"""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import ConfigDict
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from minna.models.decoder import Decoder
from minna.objectives.linear_cross_entropy import IGNORE, chunk_loss, linear_cross_entropy

Batch = dict[str, Tensor]


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class CausalLMSettings:
    """Settings of next-token prediction (there is one way to do it)."""

    kind: Literal["causal_lm"] = "causal_lm"


class CausalLM(nn.Module):
    """The objective of every GPT here.

    A batch holds `tokens` [B, S] and `targets` [B, S] (int64, -100 = not learned), and, when
    documents must not see each other, `segments` [B, S] (which document) and `positions` [B, S].
    """

    splittable = True

    def __init__(self) -> None:
        super().__init__()
        self.loss_of = chunk_loss

    def compile_pieces(self) -> None:
        """Let the compiler fuse the softmax of a chunk with its gradient."""
        self.loss_of = torch.compile(chunk_loss, dynamic=False)

    def uncompile_pieces(self) -> None:
        """Go back to the plain chunk loss."""
        self.loss_of = chunk_loss

    def counts(self, batch: Batch) -> dict[str, int]:
        """Count the targets, before any forward pass."""
        return {"next_token": int((batch["targets"] != IGNORE).sum())}

    def prepare(self, model: Decoder, batches: list[Batch]) -> list[Batch]:  # noqa: ARG002
        """Do nothing: every micro-batch stands alone."""
        return batches

    def loss(self, model: Decoder, batch: Batch) -> tuple[dict[str, Tensor], dict[str, float]]:
        """Return {"next_token": summed nats} and no further figures."""
        hidden_BSD = model(
            batch["tokens"],
            positions_BS=batch.get("positions"),
            segments_BS=batch.get("segments"),
        )
        loss = linear_cross_entropy(
            hidden_BSD.flatten(0, 1),
            model.head_weight,
            batch["targets"].flatten(),
            loss_of=self.loss_of,
        )
        return {"next_token": loss}, {}

    def after_step(self, model: Decoder) -> None:
        """Do nothing: no teacher, no temperature."""
