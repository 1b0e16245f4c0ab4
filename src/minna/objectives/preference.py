"""Learning from pairs: a reward model (Bradley-Terry), or the policy itself (DPO).

Both take the batches of a stream of pairs: rows with both answers to the same turns, better before
worse, and where each ends. Sums over pairs; the loop divides by their number over all ranks.

B rows, S tokens of a row, P pairs, N learned tokens.
"""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from minna.models.decoder import Decoder
from minna.models.scorer import Scorer
from minna.objectives.reference import Reference, token_logprobs

Batch = dict[str, Tensor]
_STRICT = ConfigDict(extra="forbid")


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class BradleyTerrySettings:
    """Settings of a reward model (there is one way to learn it)."""

    kind: Literal["bradley_terry"]


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class DPOSettings:
    """Settings of direct preference optimisation (Rafailov et al. 2023).

    Attributes:
        beta: how dear it is to leave the reference.
        loss: "sigmoid" (their equation 7), or "ipo" (Azar et al. 2023, equation 17: a square
            around 1 / (2 beta), on log-probabilities per token).
        label_smoothing: share of pairs believed to be the wrong way round (Mitchell 2023).
    """

    kind: Literal["dpo"]
    beta: float = Field(default=0.1, gt=0)
    loss: Literal["sigmoid", "ipo"] = "sigmoid"
    label_smoothing: float = Field(default=0.0, ge=0, lt=0.5)


class _OfPairs(nn.Module):
    """What both objectives answer alike."""

    splittable = True
    terms = ("loss/pairs",)

    def compile_pieces(self) -> None:
        """Compile nothing: the number of pairs changes from batch to batch."""

    def uncompile_pieces(self) -> None:
        """Do nothing."""

    def counts(self, batch: Batch) -> dict[str, int]:
        """Count the pairs, before any forward pass."""
        return dict.fromkeys(self.terms, len(batch["ends"]) // 2)

    def prepare(self, model: Decoder, batches: list[Batch]) -> list[Batch]:  # noqa: ARG002
        """Do nothing: every micro-batch stands alone."""
        return batches

    def after_step(self, model: Decoder) -> None:
        """Do nothing: no teacher, no temperature."""


class BradleyTerry(_OfPairs):
    """-log sigmoid(r(better) - r(worse)) (Ouyang et al. 2022, equation 1), r read at the end."""

    terms = ("loss/pairs", "pairs/accuracy", "pairs/margin")

    def loss(self, model: Scorer, batch: Batch) -> tuple[dict[str, Tensor], dict[str, float]]:
        """Return summed nats, and the sums of who was right and by how much."""
        hidden_BSD = model(
            batch["tokens"], positions_BS=batch["positions"], segments_BS=batch["segments"]
        )
        scores_P2 = model.scores(hidden_BSD.flatten(0, 1)[batch["ends"]]).view(-1, 2)
        margin_P = scores_P2[:, 0] - scores_P2[:, 1]
        sums = (
            -F.logsigmoid(margin_P).sum(),
            (margin_P > 0).float().sum(),
            margin_P.detach().sum(),
        )
        return dict(zip(self.terms, sums, strict=True)), {}


class DPO(_OfPairs):
    """Rewards that are beta log(policy / reference) of an answer, compared like rewards.

    Args:
        settings: of the recipe.
        reference: the model before this run.
        vocab: words that may be chosen.
    """

    terms = (
        "loss/pairs",
        "pairs/accuracy",
        "pairs/margin",
        "pairs/better_reward",
        "pairs/worse_reward",
    )

    def __init__(self, settings: DPOSettings, *, reference: Reference, vocab: int) -> None:
        super().__init__()
        self.settings, self._reference, self._vocab = settings, reference, vocab

    def to(self, device: torch.device) -> DPO:  # type: ignore[override]  # pyright: ignore[reportIncompatibleMethodOverride]
        """Move the reference."""
        self._reference.to(device)
        return super().to(device)

    def loss(self, model: Decoder, batch: Batch) -> tuple[dict[str, Tensor], dict[str, float]]:
        """Return summed nats, and sums of what the pairs were worth."""
        gained_P2 = self.gained(model, batch).view(-1, 2)
        loss_P = self._losses(gained_P2[:, 0] - gained_P2[:, 1])
        reward_P2 = self.settings.beta * gained_P2.detach()
        margin_P = reward_P2[:, 0] - reward_P2[:, 1]
        sums = (
            loss_P.sum(),
            (margin_P > 0).float().sum(),
            margin_P.sum(),
            reward_P2[:, 0].sum(),
            reward_P2[:, 1].sum(),
        )
        return dict(zip(self.terms, sums, strict=True)), {}

    def gained(self, model: Decoder, batch: Batch) -> Tensor:
        """Return log(policy / reference) of each answer of a batch [2 P], better and worse."""
        policy = self._answers(model, batch)
        with self._reference.of(model) as before:
            reference = self._answers(before, batch)
        return policy - reference

    def _losses(self, gained_P: Tensor) -> Tensor:
        """The loss of each pair, of how much more the better answer gained (nats)."""
        beta, smoothing = self.settings.beta, self.settings.label_smoothing
        if self.settings.loss == "ipo":
            return (gained_P - 1 / (2 * beta)) ** 2
        right, wrong = F.logsigmoid(beta * gained_P), F.logsigmoid(-beta * gained_P)
        return -(1 - smoothing) * right - smoothing * wrong

    def _answers(self, model: Decoder, batch: Batch) -> Tensor:
        """Log-probability [2 P] of each answer: summed, or for IPO per token."""
        logprobs_N, _, places_N = token_logprobs(model, batch, vocab=self._vocab)
        documents_N = batch["documents"].flatten().index_select(0, places_N)
        count = len(batch["ends"])
        total = logprobs_N.new_zeros(count).index_add(0, documents_N, logprobs_N)
        if self.settings.loss == "ipo":
            ones = torch.ones_like(logprobs_N)
            total = total / logprobs_N.new_zeros(count).index_add(0, documents_N, ones)
        return total
