"""Masked words: -sum log p(x_t | the row with x_t hidden) (Devlin et al. 2019, section 3.1).

Which tokens are hidden is the stream's to say (`streams/masked.py`), so that it follows from the
seed and the row alone. Only they pass the head: at 15 % that is six times less of a product which
at base size is a fifth of the step.
"""

from __future__ import annotations

from typing import Literal

from pydantic import ConfigDict
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from minna.models.encoder import Encoder
from minna.objectives.linear_cross_entropy import IGNORE, chunk_loss, linear_cross_entropy

Batch = dict[str, Tensor]


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class MaskedLMSettings:
    """Settings of masked-word prediction (how words are hidden is the stream's)."""

    kind: Literal["masked_lm"] = "masked_lm"


class MaskedLM(nn.Module):
    """The objective of RoBERTa.

    A batch holds `tokens` [B, S] with some hidden, and `targets` [B, S]: what was there, -100 where
    nothing is asked (int64).
    """

    splittable = True

    def __init__(self) -> None:
        super().__init__()
        self.loss_of = chunk_loss

    def compile_pieces(self) -> None:
        """Compile nothing: the number of hidden words changes from batch to batch."""

    def uncompile_pieces(self) -> None:
        """Do nothing."""

    def counts(self, batch: Batch) -> dict[str, int]:
        """Count the hidden words, before any forward pass."""
        return {"masked": int((batch["targets"] != IGNORE).sum())}

    def prepare(self, model: Encoder, batches: list[Batch]) -> list[Batch]:  # noqa: ARG002
        """Do nothing: every micro-batch stands alone."""
        return batches

    def loss(self, model: Encoder, batch: Batch) -> tuple[dict[str, Tensor], dict[str, float]]:
        """Return {"masked": summed nats} and no further figures."""
        targets = batch["targets"].flatten()
        asked = (targets != IGNORE).nonzero().squeeze(1)
        hidden_ND = model(batch["tokens"]).flatten(0, 1).index_select(0, asked)
        loss = linear_cross_entropy(
            model.before_head(hidden_ND),
            model.head_weight,
            targets.index_select(0, asked),
            bias_V=model.head_bias,
            loss_of=self.loss_of,
        )
        return {"masked": loss}, {}

    def after_step(self, model: Encoder) -> None:
        """Do nothing: no teacher, no temperature."""
