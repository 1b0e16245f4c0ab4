"""Learning which of two belong together: CLIP, CLOOB and SigLIP, pictures with texts or two texts.

Every row is compared with those of all ranks and all micro-batches of a step, so such a loss is no
sum over micro-batches. With more than one, `prepare` embeds them all without gradient, takes the
gradient of the loss by every embedding, and each micro-batch then embeds its rows again and is
given its share (Gao et al. 2021, "Scaling deep contrastive learning batch size under memory limited
setup"): two forward passes, memory of one micro-batch, the update of the whole. Both passes see the
same dropout: the state of the random generators is kept before the first and put back before the
second, so dropout needs no refusal. Micro-batches of batch norms that learn do differ: each is
normed by itself.

B rows of a micro-batch, N of all of them on this rank, S tokens, W width of picture features, D
width of embeddings.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from typing import Annotated, Literal, Protocol

import torch
import torch.nn.functional as F
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from minna.errors import TrainingError, UsageError
from minna.objectives.contrastive_losses import Compared, info_loob, info_nce, sigmoid, tied
from minna.objectives.gathering import ALONE, Among

Batch = dict[str, Tensor]
_STRICT = ConfigDict(extra="forbid")
_CACHED = "cached/a"


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class ClipSettings:
    """InfoNCE both ways (Radford et al. 2021).

    Attributes:
        largest_scale: the learned scale is kept from 1 to this after every step.
    """

    kind: Literal["clip"]
    largest_scale: float = Field(default=100.0, ge=1)


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class CloobSettings:
    """InfoLOOB with Hopfield retrieval (Fuerst et al. 2022).

    Three settings are published: 30 and 8 for Conceptual Captions (the default here), 14.3 and 14.3
    as the authors' code begins with, 30 and 15 in rinna's, which rescales in its own way.

    Attributes:
        inv_tau: what cosines of retrieved vectors are multiplied with; "learned" is the model's
            scale, kept from 1 to 100.
        hopfield: what cosines are multiplied with in retrieval (beta).
        rescale: "original" divides the sum of both sides by inv_tau, "rinna" by 2; rates and
            clipping do not transfer from one to the other.
    """

    kind: Literal["cloob"]
    inv_tau: Annotated[float, Field(gt=0)] | Literal["learned"] = 30.0
    hopfield: float = Field(default=8.0, gt=0)
    rescale: Literal["original", "rinna"] = "original"


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class SiglipSettings:
    """A sigmoid for every pair (Zhai et al. 2023).

    Attributes:
        largest_scale: the learned scale is kept from 1 to this after every step.
    """

    kind: Literal["siglip"]
    largest_scale: float = Field(default=100.0, ge=1)


ContrastiveSettings = Annotated[
    ClipSettings | CloobSettings | SiglipSettings, Field(discriminator="kind")
]


class Towers(Protocol):
    """What is asked of a model."""

    logit_scale: Tensor | None
    logit_bias: Tensor | None

    def __call__(self, tokens_BS: Tensor, lengths_B: Tensor) -> Tensor:
        """Embed texts [B, D]: the forward pass, which compilers and shared weights hook into."""
        ...

    def embed_features(self, features_BW: Tensor) -> Tensor:
        """Embed what a picture tower said [B, D]."""
        ...

    def embed_image(self, pixels_BCHW: Tensor) -> Tensor:
        """Embed pictures [B, D]."""
        ...


class Contrastive(nn.Module):
    """The objective of dual encoders and of text embedders.

    A batch holds `tokens` [B, S] and `lengths` [B], and of the other side `features` [B, W],
    `pixels` [B, 3, H, W], or `tokens_b` and `lengths_b`; rows of any rank with an equal number in
    `same` [B], where it is there, are no negatives of each other. Every batch of every rank has as
    many rows.

    Args:
        settings: of the recipe.
        ranks: among whom negatives are shared; they meet in the default process group.
    """

    splittable = True
    terms = (
        "loss/pairs",
        "pairs/above_chance",
        "pairs/scale",
        "retrieval/by_text",
        "retrieval/of_text",
    )

    def __init__(
        self,
        settings: ClipSettings | CloobSettings | SiglipSettings,
        *,
        ranks: Among = ALONE,
    ) -> None:
        super().__init__()
        self.settings, self._ranks = settings, ranks
        self._states: deque[dict[str, Tensor]] = deque()

    def compile_pieces(self) -> None:
        """Compile nothing: products are all there is."""

    def uncompile_pieces(self) -> None:
        """Do nothing."""

    def counts(self, batch: Batch) -> dict[str, int]:
        """Count the pairs, before any forward pass."""
        return dict.fromkeys(self.terms, len(batch["tokens"]))

    def prepare(self, model: Towers, batches: list[Batch]) -> list[Batch]:
        """With more than one micro-batch: compare all of them, and tell each what it is to learn.

        Raises:
            TrainingError: there is one pair.
            UsageError: the model lacks a scale or a bias.
        """
        if len(batches) == 1:
            return batches
        self._states.clear()
        embedded: list[tuple[Tensor, Tensor]] = []
        with torch.no_grad():
            for batch in batches:
                self._states.append(_random_state())
                embedded.append(_embed(model, batch))
        a_ND, b_ND = (torch.cat(side).requires_grad_() for side in zip(*embedded, strict=True))
        learned = self._learned(model)
        with torch.enable_grad():
            found = self.compare(model, a_ND, b_ND, same_N=_same(batches))
            grads = torch.autograd.grad(found.loss, [a_ND, b_ND, *learned])
        shares = [grad / len(batches) for grad in grads[2:]]
        rows = [len(batch["tokens"]) for batch in batches]
        pieces = [one.split(rows) for one in (*grads[:2], found.rows, found.found.T, found.chance)]
        return [
            batch
            | dict(zip((_CACHED, "cached/b"), gradients, strict=True))
            | {"cached/rows": rows_B, "cached/found": found_B2, "cached/chance": chance_B}
            | {f"cached/learned/{k}": share for k, share in enumerate(shares)}
            for batch, *gradients, rows_B, found_B2, chance_B in zip(batches, *pieces, strict=True)
        ]

    def loss(self, model: Towers, batch: Batch) -> tuple[dict[str, Tensor], dict[str, float]]:
        """Return the summed loss and sums of figures, over rows.

        `above_chance` is how far the loss is above that of who knows nothing (of CLIP: less ln N);
        retrieval is the share of rows whose other side is nearest of all in the step.

        Raises:
            TrainingError: there is one pair.
            UsageError: the model lacks a scale or a bias.
        """
        if _CACHED in batch:
            found = self._again(model, batch)
        else:
            found = self.compare(model, *_embed(model, batch), same_N=batch.get("same"))
        by_text, of_text = found.found.sum(1)
        scale = self._scale(model, like=found.rows).detach()
        sums = (
            found.loss,
            (found.rows - found.chance).sum(),
            scale.reshape(()) * len(found.rows),
            by_text,
            of_text,
        )
        return dict(zip(self.terms, sums, strict=True)), {}

    @torch.no_grad()
    def after_step(self, model: Towers) -> None:
        """Keep the learned scale in its bounds (of e^s, as CLIP: from 1 to 100)."""
        if self._learns_scale and model.logit_scale is not None:
            settings = self.settings
            most = 100.0 if isinstance(settings, CloobSettings) else settings.largest_scale
            model.logit_scale.clamp_(0, math.log(most))

    def compare(
        self, model: Towers, a_ND: Tensor, b_ND: Tensor, *, same_N: Tensor | None
    ) -> Compared:
        """Compare embeddings of texts with those of the other side, over all ranks.

        Raises:
            TrainingError: there is one pair.
            UsageError: the model lacks a scale or a bias.
        """
        if len(a_ND) * self._ranks.count == 1:
            raise TrainingError(
                "a contrastive loss compares pairs, and a step has one",
                remedy="raise train.tokens_per_step and train.micro_batch_rows",
            )
        with torch.autocast(a_ND.device.type, enabled=False):
            a_ND, b_ND = (F.normalize(one.float(), dim=1) for one in (a_ND, b_ND))
            scale = self._scale(model, like=a_ND)
            settings = self.settings
            if isinstance(settings, ClipSettings):
                return info_nce(a_ND, b_ND, scale, same_N=same_N, among=self._ranks)
            if isinstance(settings, SiglipSettings):
                bias = _known(model.logit_bias, "logit_bias")
                return sigmoid(a_ND, b_ND, scale, bias, same_N=same_N, among=self._ranks)
            return info_loob(
                a_ND,
                b_ND,
                scale,
                hopfield=settings.hopfield,
                factor=1 / scale if settings.rescale == "original" else torch.full_like(scale, 0.5),
                same_N=same_N,
                among=self._ranks,
            )

    def _again(self, model: Towers, batch: Batch) -> Compared:
        """Embed a micro-batch as `prepare` did, now with the gradient that it found."""
        _set_random_state(self._states.popleft())
        a_BD, b_BD = _embed(model, batch)
        learned = self._learned(model)
        loss = tied(
            batch["cached/rows"].sum(),
            (a_BD, batch[_CACHED]),
            (b_BD, batch["cached/b"]),
            *((one, batch[f"cached/learned/{k}"]) for k, one in enumerate(learned)),
        )
        found_2B = batch["cached/found"].T
        return Compared(loss, batch["cached/rows"], found_2B, batch["cached/chance"])

    @property
    def _learns_scale(self) -> bool:
        settings = self.settings
        return not isinstance(settings, CloobSettings) or settings.inv_tau == "learned"

    def _scale(self, model: Towers, *, like: Tensor) -> Tensor:
        """What cosines are multiplied with, a scalar."""
        settings = self.settings
        if isinstance(settings, CloobSettings) and settings.inv_tau != "learned":
            return like.new_tensor(settings.inv_tau)
        return _known(model.logit_scale, "logit_scale").float().exp().reshape(())

    def _learned(self, model: Towers) -> list[Tensor]:
        """Scale and bias, where the loss asks for them and they learn."""
        asked = [model.logit_scale] if self._learns_scale else []
        if isinstance(self.settings, SiglipSettings):
            asked.append(model.logit_bias)
        return [one for one in asked if one is not None and one.requires_grad]


def _known(parameter: Tensor | None, name: str) -> Tensor:
    if parameter is None:
        raise UsageError(
            f"the loss reads the model's {name}, and it has none",
            remedy="give model.scores the kind of the objective (clip, cloob, siglip)",
        )
    return parameter


def _embed(model: Towers, batch: Batch) -> tuple[Tensor, Tensor]:
    """Embed texts and the other side [B, D], not yet of length 1."""
    a_BD = model(batch["tokens"], batch["lengths"])
    if "features" in batch:
        return a_BD, model.embed_features(batch["features"])
    if "pixels" in batch:
        return a_BD, model.embed_image(batch["pixels"])
    return a_BD, model(batch["tokens_b"], batch["lengths_b"])


def _same(batches: Sequence[Batch]) -> Tensor | None:
    if "same" not in batches[0]:
        return None
    return torch.cat([batch["same"] for batch in batches])


def _random_state() -> dict[str, Tensor]:
    state = {"cpu": torch.get_rng_state()}
    if torch.cuda.is_available():
        state["cuda"] = torch.cuda.get_rng_state()
    return state


def _set_random_state(state: dict[str, Tensor]) -> None:
    torch.set_rng_state(state["cpu"])
    if "cuda" in state:
        torch.cuda.set_rng_state(state["cuda"])
