"""wav2vec 2.0: tell the code of a hidden frame from those of others (Baevski et al. 2020).

    L = - sum over hidden t of log( e(q_t) / sum over q' of e(q') ),  e(q) = exp(cos(c_t, q) / 0.1)
        + 0.1 (GV - sum over g of exp(H(p_g))) / GV                                  (section 3.2)

c_t is the projected last hidden state, q_t the projected code of the frame as it would be heard,
q' q_t and the codes of 100 other hidden frames of the clip (equation 3; those of the same codes are
none). p_g is the mean choice of codes over the *whole step*; fairseq's is over what is on one GPU
at a time (equation 4). A mean over a step is no sum over its micro-batches, so with more than one,
`prepare` hears all of them without gradient first (convolutions alone, a fifth of a step), and each
learns by its share of the gradient. Gumbel noise, dropout and negatives come from (seed, step,
clip), so 8 micro-batches of a clip are 1 of 8.

Products of all hidden frames of a clip with all take less time and memory than vectors of 100
negatives for each: 390 x 390 against 390 x 100 x 256 at 15.6 s.

B clips, F frames, N hidden ones of a micro-batch, M of a clip, R negatives, G groups of V codes.
"""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from minna.errors import UsageError
from minna.models.speech.encoder import SpeechEncoder
from minna.objectives.collapse import Watch
from minna.objectives.comparing import tied, widened
from minna.objectives.gathering import ALONE, Among, added
from minna.objectives.quantiser import Codes, Quantiser, clip_generator, perplexity, usage
from minna.objectives.speech_frames import Batch, at, frames_in, loudness, places_of

TERMS = (
    "loss/contrast",
    "loss/diversity",
    "loss/features",
    "contrast/accuracy",
    "codes/soft_perplexity",
    "codes/perplexity",
    "codes/temperature",
)
_USED, _FRAMES = "codes/used", "codes/frames"
_NOISE, _NEGATIVES = 0, 1  # what a clip's generators are for


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class QuantisedContrastSettings:
    """Settings of wav2vec 2.0.

    Attributes:
        groups, codes: codebooks, and codes of each.
        code_width: of the codes of all groups side by side (large 768).
        projected: width in which frames and codes are compared (large 768).
        negatives: other frames that each is told from.
        logit_temperature: what cosines are divided by.
        temperature, temperature_decay, temperature_end: of the choice of codes: it begins at the
            first, is multiplied with the second after every step, and stays at the third (large
            0.1).
        feature_dropout: of what is quantised.
        diversity_weight: of codes that are not used.
        features_weight: of the mean square of what the convolutions say (large 0).
        feature_gradient: what gradients are multiplied with where they enter the convolutions
            (large 1).
        least_perplexity: a model whose codes have been fewer (of all groups, added) for `patience`
            steps has collapsed; one code of each group is `groups`.
    """

    kind: Literal["quantised_contrast"] = "quantised_contrast"
    groups: int = Field(default=2, ge=1)
    codes: int = Field(default=320, ge=2)
    code_width: int = Field(default=256, ge=1)
    projected: int = Field(default=256, ge=1)
    negatives: int = Field(default=100, ge=1)
    logit_temperature: float = Field(default=0.1, gt=0)
    temperature: float = Field(default=2.0, gt=0)
    temperature_decay: float = Field(default=0.999995, gt=0, le=1)
    temperature_end: float = Field(default=0.5, gt=0)
    feature_dropout: float = Field(default=0.1, ge=0, lt=1)
    diversity_weight: float = Field(default=0.1, ge=0)
    features_weight: float = Field(default=10.0, ge=0)
    feature_gradient: float = Field(default=0.1, ge=0)
    least_perplexity: float = Field(default=2.5, ge=0)
    patience: int = Field(default=500, ge=1)

    def __post_init__(self) -> None:
        """Check what would otherwise fail deep inside."""
        if self.code_width % self.groups:
            raise UsageError(
                f"code_width {self.code_width} is not a multiple of groups {self.groups}",
                remedy="choose groups that divide the width",
            )

    @property
    def weights(self) -> dict[str, float]:
        """Weight of each term; those of weight 0 are only logged."""
        told = {
            "loss/contrast": 1.0,
            "loss/diversity": self.diversity_weight,
            "loss/features": self.features_weight,
        }
        return {name: told.get(name, 0.0) for name in TERMS}

    @property
    def disk_fields(self) -> dict[str, object]:
        """Fields of Wav2Vec2ForPreTraining's config.json beside those of an encoder."""
        return {
            "architectures": ["Wav2Vec2ForPreTraining"],
            "num_codevector_groups": self.groups,
            "num_codevectors_per_group": self.codes,
            "codevector_dim": self.code_width,
            "proj_codevector_dim": self.projected,
            "num_negatives": self.negatives,
            "contrastive_logits_temperature": self.logit_temperature,
            "feat_quantizer_dropout": self.feature_dropout,
            "diversity_loss_weight": self.diversity_weight,
        }


class QuantisedContrast(nn.Module):
    """The objective of wav2vec 2.0.

    A batch holds `samples`, `lengths` where rows are not full, `masked` [B, F] and `clip` [B], the
    number that a clip's noise and negatives are drawn by (int64, not negative). A clip with one
    hidden frame has no negatives, and is not asked.

    Args:
        settings: of the recipe.
        features: channels of the last convolution.
        width: of the encoder.
        seed: of what is drawn, before and along the way.
        ranks: among whom codes are counted; they meet in the default process group.
    """

    splittable = True
    terms = TERMS
    steps: Tensor

    def __init__(
        self,
        settings: QuantisedContrastSettings,
        *,
        features: int,
        width: int,
        seed: int = 0,
        ranks: Among = ALONE,
    ) -> None:
        super().__init__()
        self.settings, self._seed, self._ranks = settings, seed, ranks
        # as transformers names them
        self.quantizer = Quantiser(
            features=features,
            groups=settings.groups,
            codes=settings.codes,
            width=settings.code_width,
            dropout=settings.feature_dropout,
        )
        self.project_hid = nn.Linear(width, settings.projected)
        self.project_q = nn.Linear(settings.code_width, settings.projected)
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))
        self.watch = Watch(
            "the perplexity of the codes that are taken",
            least=settings.least_perplexity,
            patience=settings.patience,
            remedy="start again in another --out with a lower optim.lr or larger batches "
            "(fairseq's users: 5e-4 collapsed, 1e-4 did not)",
        )
        self._perplexity: Tensor | None = None
        self._initialise(seed)

    @torch.no_grad()
    def _initialise(self, seed: int) -> None:
        """Draw the quantiser's own way, projections as torch does."""
        generator = torch.Generator().manual_seed(seed)
        self.quantizer.initialise(generator)
        for layer in (self.project_hid, self.project_q):
            bound = layer.in_features**-0.5
            for parameter in layer.parameters():
                parameter.uniform_(-bound, bound, generator=generator)

    def compile_pieces(self) -> None:
        """Compile nothing: the number of hidden frames changes from batch to batch."""

    def uncompile_pieces(self) -> None:
        """Do nothing."""

    @property
    def temperature(self) -> float:
        """Of the choice of codes, now."""
        settings = self.settings
        now = settings.temperature * settings.temperature_decay ** int(self.steps)
        return max(now, settings.temperature_end)

    def counts(self, batch: Batch) -> dict[str, int]:
        """Count hidden frames that have negatives, before any forward pass."""
        asked = int(_asked(batch["masked"]).sum())
        frames = int(frames_in(batch).sum())
        return dict.fromkeys(TERMS, asked) | {"loss/features": frames}

    @torch.no_grad()
    def prepare(self, model: SpeechEncoder, batches: list[Batch]) -> list[Batch]:
        """With more than one micro-batch: count which codes all of them would choose."""
        if len(batches) == 1:
            return batches
        used = [self._used(model, batch) for batch in batches]
        asked = torch.stack([_asked(batch["masked"]).sum() for batch in batches]).sum().double()
        total = added(torch.stack(used).sum(0), self._ranks)
        asked = added(asked, self._ranks)
        return [{**batch, _USED: total, _FRAMES: asked} for batch in batches]

    def loss(
        self, model: SpeechEncoder, batch: Batch
    ) -> tuple[dict[str, Tensor], dict[str, float]]:
        """Return summed nats, sums of the penalties, and sums of figures, over hidden frames."""
        settings = self.settings
        heard = model(
            batch["samples"],
            batch.get("lengths"),
            masked_BF=batch["masked"],
            feature_gradient=settings.feature_gradient,
        )
        asked_BF = _asked(batch["masked"])
        places_N = places_of(asked_BF)
        clips = self._clips(batch, asked_BF, purpose=_NOISE)
        codes = self.quantizer(at(heard.features, places_N), clips, tau=self.temperature)
        c_ND = self.project_hid(at(heard.hidden, places_N))
        q_ND = self.project_q(codes.vectors)
        nats, right = self._told_apart(c_ND, q_ND, codes, batch, asked_BF)
        unused, soft, hard = self._diversity(codes, batch)
        N = len(places_N)
        sums = (
            nats,
            unused,
            loudness(heard, batch),
            right,
            soft * N,
            hard * N,
            nats.new_tensor(self.temperature * N),
        )
        return dict(zip(self.terms, sums, strict=True)), {}

    @torch.no_grad()
    def after_step(self, model: SpeechEncoder) -> None:  # noqa: ARG002
        """Cool the choice of codes.

        Raises:
            TrainingError: the codes have collapsed.
        """
        self.steps += 1
        if self._perplexity is not None:
            self.watch.see(float(self._perplexity), step=int(self.steps))

    def to_disk(self) -> dict[str, Tensor]:
        """Return what was learned beside the encoder, as Wav2Vec2ForPreTraining names it."""
        parts = ("quantizer.", "project_hid.", "project_q.")
        return {name: one for name, one in self.state_dict().items() if name.startswith(parts)}

    def negatives(self, batch: Batch, asked_BF: Tensor) -> list[Tensor]:
        """Draw, for each hidden frame of a clip [M], other hidden frames of it: [M, R] each."""
        found: list[Tensor] = []
        for M, generator in self._clips(batch, asked_BF, purpose=_NEGATIVES):
            own_M1 = torch.arange(M, device=asked_BF.device)[:, None]
            drawn_MR = torch.randint(
                max(M - 1, 1),
                (M, self.settings.negatives),
                generator=generator,
                device=asked_BF.device,
            )
            found.append(drawn_MR + (drawn_MR >= own_M1))
        return found

    def _used(self, model: SpeechEncoder, batch: Batch) -> Tensor:
        """Count the codes of a micro-batch [2, G, V], from what convolutions say alone."""
        heard = model(batch["samples"], batch.get("lengths"), upto=0)
        asked_BF = _asked(batch["masked"])
        clips = self._clips(batch, asked_BF, purpose=_NOISE)
        features_NC = at(heard.features, places_of(asked_BF))
        logits_NGV = self.quantizer.logits(features_NC, clips)
        return usage(logits_NGV.softmax(-1), logits_NGV.argmax(-1))

    def _clips(
        self, batch: Batch, asked_BF: Tensor, *, purpose: int
    ) -> list[tuple[int, torch.Generator]]:
        """Hidden frames of each clip, and the generator it has in this step."""
        step, device = int(self.steps), asked_BF.device
        return [
            (M, clip_generator(self._seed, step, clip, purpose=purpose, device=device))
            for M, clip in zip(asked_BF.sum(1).tolist(), batch["clip"].tolist(), strict=True)
        ]

    def _told_apart(
        self, c_ND: Tensor, q_ND: Tensor, codes: Codes, batch: Batch, asked_BF: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Summed nats of finding the own code, and how many did."""
        nats = right = c_ND.new_zeros((), dtype=torch.float32)
        with torch.autocast(c_ND.device.type, enabled=False):
            c_ND, q_ND = (F.normalize(widened(one), dim=1) for one in (c_ND, q_ND))
            start = 0
            for negatives_MR in self.negatives(batch, asked_BF):
                rows = slice(start, start := start + len(negatives_MR))
                taken_M = codes.taken[rows]
                logits_MM = c_ND[rows] @ q_ND[rows].T / self.settings.logit_temperature
                own_M = logits_MM.diagonal()
                others_MR = logits_MM.gather(1, negatives_MR)
                same_MR = taken_M[negatives_MR] == taken_M[:, None]
                others_MR = others_MR.masked_fill(same_MR, float("-inf"))
                all_M = torch.cat([own_M[:, None], others_MR], 1).logsumexp(1)
                nats = nats + (all_M - own_M).sum()
                right = right + (own_M[:, None] > others_MR).all(1).sum()
        return nats, right

    def _diversity(self, codes: Codes, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
        """Share of codes left unused, times frames, with the gradient of the whole step's share.

        Returns:
            that sum, and both perplexities of the step.
        """
        soft_NGV = codes.soft
        if _USED in batch:
            used_2GV, frames = batch[_USED], batch[_FRAMES]
        else:
            used_2GV = added(usage(soft_NGV, codes.hard), self._ranks)
            counted = torch.tensor(len(soft_NGV), dtype=torch.float64, device=soft_NGV.device)
            frames = added(counted, self._ranks)
        shares_2GV = used_2GV / frames.to(used_2GV.dtype)
        with torch.enable_grad():
            soft_GV = shares_2GV[0].detach().requires_grad_()
            found = perplexity(soft_GV)
            (by_share_GV,) = torch.autograd.grad(found, soft_GV)
        hard = perplexity(shares_2GV[1])
        self._perplexity = hard
        every = soft_GV.numel()
        unused = (every - found.detach()) / every * len(soft_NGV)
        summed_GV = soft_NGV.sum(0)
        return tied(unused, (summed_GV, -by_share_GV / every)), found.detach(), hard


def _asked(masked_BF: Tensor) -> Tensor:
    """Hidden frames that have others to be told from, in their clip [B, F]."""
    return masked_BF & (masked_BF.sum(1, keepdim=True) > 1)
