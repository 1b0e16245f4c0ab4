"""HuBERT: at hidden frames, say which cluster they belong to (Hsu et al. 2021, equations 1 and 3).

    L = - sum over hidden t of log p(z_t | x with them hidden),
    p(c | .)_t = softmax over c of cos(A o_t, e_c) / 0.1

where o_t is the last hidden state, A a projection and e_c a learned vector of cluster c. fairseq
puts the right cluster in front and its double at minus infinity, and holds [clusters, frames, 256]
for it; a product of normalised vectors and a cross-entropy are the same numbers. Frames that are
not hidden are looked at too, without a gradient unless they have a weight: that they get *worse* is
normal. What convolutions say is kept small by 10 x its mean square.

B clips, F frames, N of them asked about, D width, E of the shared space, K clusters.
"""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from minna.errors import DataError
from minna.models.speech.encoder import SpeechEncoder
from minna.objectives.comparing import widened
from minna.objectives.linear_cross_entropy import IGNORE
from minna.objectives.speech_frames import Batch, at, frames_in, loudness, places_of

TERMS = (
    "loss/clusters",
    "loss/features",
    "masked/accuracy",
    "unmasked/nats",
    "unmasked/accuracy",
)


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class MaskedClustersSettings:
    """Settings of HuBERT.

    Attributes:
        clusters: how many there are: 100 of MFCC, 500 of hidden states.
        projected: width in which frames and clusters are compared (large 768).
        temperature: what cosines are divided by.
        unmasked_weight: of frames that are not hidden, beside 1 of those that are.
        features_weight: of the mean square of what the convolutions say.
        feature_gradient: what gradients are multiplied with where they enter the convolutions
            (large 1).
    """

    kind: Literal["masked_clusters"] = "masked_clusters"
    clusters: int = Field(ge=2)
    projected: int = Field(default=256, ge=1)
    temperature: float = Field(default=0.1, gt=0)
    unmasked_weight: float = Field(default=0.0, ge=0)
    features_weight: float = Field(default=10.0, ge=0)
    feature_gradient: float = Field(default=0.1, ge=0)

    @property
    def weights(self) -> dict[str, float]:
        """Weight of each term; those of weight 0 are only logged."""
        told = {"loss/clusters": 1.0, "loss/features": self.features_weight}
        return {name: told.get(name, 0.0) for name in TERMS}


class MaskedClusters(nn.Module):
    """The objective of HuBERT.

    A batch holds `samples`, `lengths` where rows are not full, `masked` [B, F], and `labels` [B, F]
    (int64): the cluster of each frame, -100 where none is known and behind the end of a clip.

    Args:
        settings: of the recipe.
        width: of the encoder.
        seed: of what is drawn.
    """

    splittable = True
    terms = TERMS

    def __init__(self, settings: MaskedClustersSettings, *, width: int, seed: int = 0) -> None:
        super().__init__()
        self.settings = settings
        # as fairseq names them: they are no part of transformers' model
        self.final_proj = nn.Linear(width, settings.projected)
        self.label_embs_concat = nn.Parameter(torch.empty(settings.clusters, settings.projected))
        self._initialise(seed)

    @torch.no_grad()
    def _initialise(self, seed: int) -> None:
        """Draw clusters uniform(0, 1), the projection as torch does."""
        generator = torch.Generator().manual_seed(seed)
        bound = self.final_proj.in_features**-0.5
        for parameter in self.final_proj.parameters():
            parameter.uniform_(-bound, bound, generator=generator)
        self.label_embs_concat.uniform_(generator=generator)

    def compile_pieces(self) -> None:
        """Compile nothing: the number of hidden frames changes from batch to batch."""

    def uncompile_pieces(self) -> None:
        """Do nothing."""

    def counts(self, batch: Batch) -> dict[str, int]:
        """Count frames, before any forward pass.

        Raises:
            DataError: a label is of no cluster.
        """
        labels_BF = batch["labels"]
        if int(labels_BF.max()) >= self.settings.clusters:
            raise DataError(
                f"a frame has the label {int(labels_BF.max())}, and objective.clusters is "
                f"{self.settings.clusters} (labels are 0 to {self.settings.clusters - 1})",
                remedy="set objective.clusters to the k of the labels",
            )
        known_BF = labels_BF != IGNORE
        masked = int((known_BF & batch["masked"]).sum())
        others = int(known_BF.sum()) - masked
        return {
            "loss/clusters": masked,
            "loss/features": int(frames_in(batch).sum()),
            "masked/accuracy": masked,
            "unmasked/nats": others,
            "unmasked/accuracy": others,
        }

    def prepare(self, model: SpeechEncoder, batches: list[Batch]) -> list[Batch]:  # noqa: ARG002
        """Do nothing: every micro-batch stands alone."""
        return batches

    def loss(
        self, model: SpeechEncoder, batch: Batch
    ) -> tuple[dict[str, Tensor], dict[str, float]]:
        """Return summed nats of hidden frames, the penalty's sum, and sums of figures."""
        settings = self.settings
        heard = model(
            batch["samples"],
            batch.get("lengths"),
            masked_BF=batch["masked"],
            feature_gradient=settings.feature_gradient,
        )
        known_BF = batch["labels"] != IGNORE
        nats, right = self._asked(heard.hidden, batch, known_BF & batch["masked"])
        with torch.set_grad_enabled(torch.is_grad_enabled() and settings.unmasked_weight > 0):
            others = self._asked(heard.hidden, batch, known_BF & ~batch["masked"])
        sums = (
            nats + settings.unmasked_weight * others[0],
            loudness(heard, batch),
            right,
            others[0].detach(),
            others[1],
        )
        return dict(zip(self.terms, sums, strict=True)), {}

    def logits(self, hidden_ND: Tensor) -> Tensor:
        """Return cosines with all clusters, divided by the temperature: fp32 [N, K]."""
        projected_NE = self.final_proj(hidden_ND)
        with torch.autocast(hidden_ND.device.type, enabled=False):
            e_KE = F.normalize(widened(self.label_embs_concat), dim=1)
            return F.normalize(widened(projected_NE), dim=1) @ e_KE.T / self.settings.temperature

    def after_step(self, model: SpeechEncoder) -> None:
        """Do nothing: no teacher, and the temperature stays."""

    def to_disk(self) -> dict[str, Tensor]:
        """Return what was learned beside the encoder, for `pretraining.safetensors`."""
        return dict(self.state_dict())

    def _asked(self, hidden_BFD: Tensor, batch: Batch, chosen_BF: Tensor) -> tuple[Tensor, Tensor]:
        """Summed nats of chosen frames, and how many were told right."""
        places_N = places_of(chosen_BF)
        labels_N = batch["labels"].flatten().index_select(0, places_N)
        logits_NK = self.logits(at(hidden_BFD, places_N))
        nats = F.cross_entropy(logits_NK, labels_N, reduction="sum")
        right = (logits_NK.detach().argmax(1) == labels_N).sum()
        return nats, right.to(nats.dtype)
