"""Recognition: all ways of saying the target in F frames, added up (Graves et al. 2006).

    L = - log sum over pi in B^-1(z) of prod over t of p(pi_t | x)                    (equation 8)

B takes out repeats and blanks, so a target of n symbols with r doubled ones in a row needs n + r
frames. One that has fewer has no way to be said, an infinite loss: it is left out, without a
gradient, and counted (`ctc/skipped`). Summed over clips and divided by how many were asked.
Probabilities are fp32 whatever autocast says.

For the first steps the encoder may stand still, so that a head drawn at random does not shake it.

B clips, F frames, V symbols, T symbols of a target.
"""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

from minna.errors import DataError
from minna.models.speech.config import BLANK
from minna.models.speech.recogniser import SpeechRecogniser
from minna.objectives.comparing import widened
from minna.objectives.gathering import ALONE, Among
from minna.objectives.speech_frames import Batch, frames_in

TERMS = ("loss/ctc", "ctc/nats_per_symbol")


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class CtcSettings:
    """Settings of recognition.

    Attributes:
        frozen_steps: first steps in which the head alone learns.
        head_rate: times optim.lr that it learns with then; the schedule begins behind those steps.
            None: the schedule covers the whole run, as published.
    """

    kind: Literal["ctc"] = "ctc"
    frozen_steps: int = Field(default=0, ge=0)
    head_rate: float | None = Field(default=None, gt=0)

    @property
    def weights(self) -> dict[str, float]:
        """Weight of each term; those of weight 0 are only logged."""
        return {"loss/ctc": 1.0, "ctc/nats_per_symbol": 0.0}


class Ctc(nn.Module):
    """The objective of recognisers.

    A batch holds `samples`, `lengths` where rows are not full, `targets` [B, T] (int64; anything
    behind a target's end), `target_lengths` [B], and where there are masks `masked` [B, F] and
    `channels` [B, D], what is hidden from the encoder.

    Args:
        settings: of the recipe.
        vocab: symbols of the head, the blank counted.
        ranks: who trains.
    """

    splittable = True
    terms = TERMS
    steps: Tensor

    def __init__(self, settings: CtcSettings, *, vocab: int, ranks: Among = ALONE) -> None:
        super().__init__()
        self.settings, self._vocab, self._ranks = settings, vocab, ranks
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))

    def compile_pieces(self) -> None:
        """Compile nothing: clips are of all lengths."""

    def uncompile_pieces(self) -> None:
        """Do nothing."""

    def counts(self, batch: Batch) -> dict[str, int]:
        """Count the clips whose target fits their frames, before any forward pass.

        Raises:
            DataError: a target has a symbol that the head has not, or the blank.
        """
        known_BT = _known(batch)
        symbols = batch["targets"][known_BT]
        if len(symbols) and (int(symbols.min()) <= BLANK or int(symbols.max()) >= self._vocab):
            raise DataError(
                f"a target has symbols {int(symbols.min())} to {int(symbols.max())}, and those of "
                f"the head are 1 to {self._vocab - 1} ({BLANK} is the blank)",
                remedy="make the targets with the symbols that the recogniser was made for",
            )
        fits_B = fitting(batch)
        symbols_B = known_BT.sum(1)
        return {
            "loss/ctc": int(fits_B.sum()),
            "ctc/nats_per_symbol": int(symbols_B[fits_B].sum()),
        }

    def prepare(self, model: SpeechRecogniser, batches: list[Batch]) -> list[Batch]:  # noqa: ARG002
        """Do nothing: every clip stands alone."""
        return batches

    def loss(
        self, model: SpeechRecogniser, batch: Batch
    ) -> tuple[dict[str, Tensor], dict[str, float]]:
        """Return summed nats, to be divided by clips and by symbols, and how many were skipped."""
        frozen = self.frozen
        said = model(
            batch["samples"],
            batch.get("lengths"),
            masked_BF=batch.get("masked"),
            channels_BD=batch.get("channels"),
            learns="head" if frozen else "all",
        )
        with torch.autocast(said.logits.device.type, enabled=False):
            logprobs_BFV = widened(said.logits).log_softmax(-1)
            nats = F.ctc_loss(
                logprobs_BFV.transpose(0, 1),
                batch["targets"].masked_fill(~_known(batch), BLANK),
                said.frames,
                batch["target_lengths"],
                blank=BLANK,
                reduction="sum",
                zero_infinity=True,
            )
        skipped = float((~fitting(batch)).sum())
        if frozen and self._ranks.count > 1:
            nats = nats + _nothing(model.body)
        return dict(zip(self.terms, (nats, nats.detach()), strict=True)), {"ctc/skipped": skipped}

    @property
    def frozen(self) -> bool:
        """Whether the encoder stands still in the step that is next."""
        return int(self.steps) < self.settings.frozen_steps

    def still(self, model: SpeechRecogniser) -> list[nn.Parameter]:
        """Return what stands still in this step."""
        return list(model.body.parameters()) if self.frozen else []

    @torch.no_grad()
    def after_step(self, model: SpeechRecogniser) -> None:  # noqa: ARG002
        """Count the steps that the encoder stands still."""
        self.steps += 1

    def to_disk(self) -> dict[str, Tensor]:
        """Return nothing: all that learns is the recogniser's."""
        return {}


def fitting(batch: Batch) -> Tensor:
    """Return whether each target can be said in its clip's frames [B]: symbols and repeats."""
    targets_BT = batch["targets"]
    known_BT = _known(batch)
    again_BT = (targets_BT[:, 1:] == targets_BT[:, :-1]) & known_BT[:, 1:]
    return frames_in(batch) >= batch["target_lengths"] + again_BT.sum(1)


def _known(batch: Batch) -> Tensor:
    """Which places of `targets` are before the end [B, T]."""
    targets_BT = batch["targets"]
    places = torch.arange(targets_BT.shape[1], device=targets_BT.device)
    return places < batch["target_lengths"][:, None]


def _nothing(body: nn.Module) -> Tensor:
    """Zero, with a gradient of zero for every weight: DDP waits for one from all that learns."""
    learn = [one for one in body.parameters() if one.requires_grad and not isinstance(one, DTensor)]
    zeros = [one.reshape(-1)[:1].sum() * 0 for one in learn]
    return torch.stack(zeros).sum() if zeros else torch.zeros(())
