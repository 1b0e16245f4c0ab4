"""data2vec: with frames hidden, say what a slow copy says with none hidden (Baevski et al. 2022).

    teacher <- d teacher + (1 - d) student, d from 0.999 to 0.9999 over 30,000 steps (section 3.2)
    y_t = mean over the top 8 blocks of norm over time(what the feed-forward added)    (equation 2)
    L   = sum over hidden t of |A o_t - y_t|^2 / sqrt(D)

The copy is of the blocks alone and the norm before them; convolutions and projection are heard
once, and what tells places is the student's (as fairseq's base). It is kept in fp32, where a step
of 1e-4 is not lost, drops nothing, and norms over the frames of each clip that are there, so that
padding does not move the targets.

B clips, F frames, N hidden ones, D width.
"""

from __future__ import annotations

import copy
import math
from typing import Literal

import torch
import torch.nn.functional as F
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

from minna.models.speech.encoder import SpeechEncoder, SpeechOut, attended
from minna.objectives.collapse import Watch
from minna.objectives.comparing import widened
from minna.objectives.gathering import ALONE, Among, added
from minna.objectives.speech_frames import Batch, at, places_of, seen_of

TERMS = ("loss/distance", "targets/deviation", "predictions/deviation", "teacher/decay")
_NORM_EPS = 1e-5
_VARIANCE_EPS = 1e-6  # inside the root of a deviation, as in fairseq
_RESTART = "start again in another --out with a lower optim.lr or a longer schedule.warmup"


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class SelfDistillationSettings:
    """Settings of data2vec.

    Attributes:
        decay, decay_end, decay_steps: of the teacher: it begins at the first and is at the second
            after so many steps, linearly.
        top: last blocks whose feed-forwards make the targets; of fewer blocks, all.
        feature_gradient: what gradients are multiplied with where they enter the convolutions.
        least_target_deviation, least_deviation: a model whose targets, or predictions, have had
            less over hidden frames (averaged over D) for `patience` steps has collapsed.
        watch_after: steps before which that is not looked at.
    """

    kind: Literal["self_distillation"] = "self_distillation"
    decay: float = Field(default=0.999, ge=0, lt=1)
    decay_end: float = Field(default=0.9999, ge=0, lt=1)
    decay_steps: int = Field(default=30_000, ge=1)
    top: int = Field(default=8, ge=1)
    feature_gradient: float = Field(default=1.0, ge=0)
    least_target_deviation: float = Field(default=0.1, ge=0)
    least_deviation: float = Field(default=0.01, ge=0)
    watch_after: int = Field(default=5_000, ge=0)
    patience: int = Field(default=100, ge=1)

    @property
    def weights(self) -> dict[str, float]:
        """Weight of each term; those of weight 0 are only logged."""
        return {name: float(name == "loss/distance") for name in TERMS}


class _Teacher(nn.Module):
    """A slow copy of an encoder's blocks; it is never in training mode and never learns."""

    def __init__(self, model: SpeechEncoder) -> None:
        super().__init__()
        self.layer_norm = copy.deepcopy(model.encoder.layer_norm)
        self.layers = copy.deepcopy(model.encoder.layers)
        self.float().requires_grad_(requires_grad=False)
        self.train()

    def train(self, mode: bool = True) -> _Teacher:  # noqa: ARG002, FBT001, FBT002 - torch's signature
        """Stay as it is."""
        return super().train(mode=False)

    @torch.no_grad()
    def follow(self, model: SpeechEncoder, *, decay: float) -> None:
        """Move towards a student by 1 - decay."""
        students = dict(model.encoder.named_parameters())
        for name, mine in self.named_parameters():
            theirs = students[name].detach()
            whole = theirs.full_tensor() if isinstance(theirs, DTensor) else theirs
            mine.lerp_(whole.to(mine.dtype), 1 - decay)


class SelfDistillation(nn.Module):
    """The objective of data2vec.

    A batch holds `samples`, `lengths` where rows are not full, and `masked` [B, F].

    Args:
        settings: of the recipe.
        model: the student with its weights set, whom the teacher begins as.
        seed: of what is drawn.
        ranks: among whom collapse is looked for; they meet in the default process group.
    """

    splittable = True
    terms = TERMS
    steps: Tensor

    def __init__(
        self,
        settings: SelfDistillationSettings,
        *,
        model: SpeechEncoder,
        seed: int = 0,
        ranks: Among = ALONE,
    ) -> None:
        super().__init__()
        self.settings, self._ranks = settings, ranks
        width = model.config.width
        self.final_proj = nn.Linear(width, width)
        self.teacher = _Teacher(model)
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))
        limits = {
            "targets": settings.least_target_deviation,
            "predictions": settings.least_deviation,
        }
        self.watches = nn.ModuleList(
            Watch(
                f"the deviation of {name} over hidden frames",
                least=least,
                patience=settings.patience,
                after=settings.watch_after,
                remedy=_RESTART,
            )
            for name, least in limits.items()
        )
        self._seen: list[Tensor] = []  # of each micro-batch of a step: N, N x both deviations
        with torch.no_grad():
            generator = torch.Generator().manual_seed(seed)
            for parameter in self.final_proj.parameters():
                parameter.uniform_(-(width**-0.5), width**-0.5, generator=generator)

    def compile_pieces(self) -> None:
        """Compile nothing: the number of hidden frames changes from batch to batch."""

    def uncompile_pieces(self) -> None:
        """Do nothing."""

    @property
    def decay(self) -> float:
        """Of the teacher, at the step that is next."""
        settings = self.settings
        share = min(1.0, int(self.steps) / settings.decay_steps)
        return settings.decay + share * (settings.decay_end - settings.decay)

    def counts(self, batch: Batch) -> dict[str, int]:
        """Count hidden frames, before any forward pass."""
        return dict.fromkeys(TERMS, int(batch["masked"].sum()))

    def prepare(self, model: SpeechEncoder, batches: list[Batch]) -> list[Batch]:  # noqa: ARG002
        """Forget the deviations of the step before."""
        self._seen.clear()
        return batches

    def loss(
        self, model: SpeechEncoder, batch: Batch
    ) -> tuple[dict[str, Tensor], dict[str, float]]:
        """Return the summed distance and sums of figures, over hidden frames."""
        heard = model(
            batch["samples"],
            batch.get("lengths"),
            masked_BF=batch["masked"],
            feature_gradient=self.settings.feature_gradient,
        )
        places_N = places_of(batch["masked"])
        found_ND = widened(self.final_proj(at(heard.hidden, places_N)))
        asked_ND = at(self.targets(model, heard, batch), places_N)
        N, D = found_ND.shape
        distance = F.mse_loss(found_ND, asked_ND.to(found_ND.dtype), reduction="sum") / math.sqrt(D)
        deviations = [_deviation(asked_ND) * N, _deviation(found_ND.detach()) * N]
        counted = distance.detach().new_tensor(float(N))
        self._seen.append(torch.stack([counted, *(one.to(counted.dtype) for one in deviations)]))
        sums = (distance, *deviations, counted * self.decay)
        return dict(zip(self.terms, sums, strict=True)), {}

    @torch.no_grad()
    def targets(self, model: SpeechEncoder, heard: SpeechOut, batch: Batch) -> Tensor:
        """Return what the teacher says with nothing hidden, fp32 [B, F, D]."""
        projected_BFD = heard.projected.detach()
        seen_BF = seen_of(batch, projected_BFD.shape[1])
        x_BFD = model.placed(projected_BFD, self.teacher.layer_norm, seen_BF=seen_BF)
        blocks = self.teacher.layers
        top = min(self.settings.top, len(blocks))
        total_BFD = torch.zeros_like(widened(x_BFD))
        for number, block in enumerate(blocks):
            x_BFD, added_BFD = block.told(x_BFD, attended(seen_BF))
            if number >= len(blocks) - top:
                total_BFD += over_time(widened(added_BFD), seen_BF)
        return total_BFD / top

    @torch.no_grad()
    def after_step(self, model: SpeechEncoder) -> None:
        """Let the teacher follow.

        Raises:
            TrainingError: targets or predictions have collapsed.
        """
        decay = self.decay
        self.steps += 1
        self.teacher.follow(model, decay=decay)
        if not self._seen:
            return
        counted, *both = added(torch.stack(self._seen).sum(0), self._ranks).tolist()
        for watch, value in zip(self.watches, both, strict=True):
            assert isinstance(watch, Watch), "that is what they are"
            watch.see(value / counted, step=int(self.steps))

    def to_disk(self) -> dict[str, Tensor]:
        """Return what was learned beside the encoder; a teacher begins as its student again."""
        state = self.state_dict()
        return {name: one for name, one in state.items() if name.startswith("final_proj.")}


def over_time(x_BFD: Tensor, seen_BF: Tensor | None) -> Tensor:
    """Norm each channel over the frames of its clip that are there; those that are not become 0."""
    if seen_BF is None:
        return F.instance_norm(x_BFD.transpose(1, 2), eps=_NORM_EPS).transpose(1, 2)
    seen_BF1 = seen_BF[..., None]
    frames_B11 = seen_BF.sum(1)[:, None, None]
    centred_BFD = (x_BFD - (x_BFD * seen_BF1).sum(1, keepdim=True) / frames_B11) * seen_BF1
    variance_B1D = centred_BFD.square().sum(1, keepdim=True) / frames_B11
    return centred_BFD * (variance_B1D + _NORM_EPS).rsqrt()


def _deviation(x_ND: Tensor) -> Tensor:
    """Deviation over frames, averaged over D; 0 of a single frame."""
    if len(x_ND) < 2:  # noqa: PLR2004 - one frame has no deviation
        return x_ND.new_zeros(())
    return (x_ND.var(0) + _VARIANCE_EPS).sqrt().mean()
