"""Reinforcement from rewards: PPO with an adaptive penalty, and GRPO, which needs no critic.

PPO (Schulman et al. 2017, equation 7) as it is done to language models (Ziegler et al. 2019;
Stiennon et al. 2020), with the details that decide whether it works (Huang et al. 2024, "The N+
implementation details of RLHF with PPO"): the same temperature divides every logit; a reward for
each token, -beta log(policy / reference), and the score at the last one; advantages whitened over a
rollout; values clipped around what they were; the first update of a rollout sees ratios of exactly
one. GRPO (Shao et al. 2024) compares the answers to one prompt with each other and keeps near the
reference by a penalty in the loss; every token weighs alike, as in DAPO (Yu et al. 2025, section
3.3), where theirs weighs every answer alike.

Nothing is drawn here and nobody is asked: `annotate` says what the models think of given answers,
`settle` turns scores into advantages, `loss` learns. Who says what when is `streams/experience.py`.

N episodes, A tokens of an answer, B rows, S places, M learned tokens of a micro-batch.
"""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from minna.console import warn
from minna.models.decoder import Decoder
from minna.models.scorer import Scorer
from minna.objectives.linear_cross_entropy import IGNORE
from minna.objectives.linear_logprobs import linear_logprobs
from minna.objectives.reference import Reference, learned_states, token_logprobs
from minna.runtime.episodes import Episodes

Batch = dict[str, Tensor]
_STRICT = ConfigDict(extra="forbid")
_RATIO_TOLERANCE = 1e-3  # rounding of other kernels; a wrong position or temperature is far above


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class PPOSettings:
    """Settings of PPO; the defaults are those of Ziegler et al. 2019 and trlx's HH example.

    Attributes:
        kl: beta, what a nat away from the reference costs; where `kl_target` is given, to begin.
        kl_target: nats of an answer that beta is steered to (Ziegler et al. 2019, equation 3); 0
            leaves beta as it is.
        kl_horizon: episodes in which beta may double or halve about.
        clip: of the ratio to the policy that answered.
        value_clip: of a value around what it was.
        value_weight: of the critic's loss beside the policy's.
        gamma, lam: of generalised advantage estimation (Schulman et al. 2016).
        whiten: rewards too are divided by their deviation (their mean stays).
        critic: "own" is a second network that begins from the policy's weights, "reward" one that
            begins as the reward model; "head" reads the policy's own hidden states, which are then
            its trunk too.
    """

    kind: Literal["ppo"]
    kl: float = Field(default=0.05, ge=0)
    kl_target: float = Field(default=6.0, ge=0)
    kl_horizon: int = Field(default=10_000, ge=1)
    clip: float = Field(default=0.2, gt=0)
    value_clip: float = Field(default=0.2, gt=0)
    value_weight: float = Field(default=0.1, ge=0)
    gamma: float = Field(default=1.0, ge=0, le=1)
    lam: float = Field(default=0.95, ge=0, le=1)
    whiten: Literal["off", "on"] = "off"
    critic: Literal["own", "reward", "head"] = "own"


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class GRPOSettings:
    """Settings of GRPO.

    Attributes:
        kl: weight of the penalty in the loss (k3, Schulman 2020); 0 needs no reference.
        clip: of the ratio, below.
        clip_high: above; 0 takes `clip` (DAPO, Yu et al. 2025, raises it alone).
        scale: advantages are divided by the deviation of their group ("group"), or not ("off", Liu
            et al. 2025).
    """

    kind: Literal["grpo"]
    kl: float = Field(default=0.04, ge=0)
    clip: float = Field(default=0.2, gt=0)
    clip_high: float = Field(default=0.0, ge=0)
    scale: Literal["group", "off"] = "group"


class _Rollouts(nn.Module):
    """What both share.

    Args:
        episodes: where experience is kept, saved with the objective.
        reference: the model before this run; None where nothing asks for it.
        vocab: words that may be chosen.
        temperature: answers are drawn at.
    """

    splittable = True
    terms: tuple[str, ...] = ()

    def __init__(
        self,
        *,
        episodes: Episodes,
        reference: Reference | None,
        vocab: int,
        temperature: float,
    ) -> None:
        super().__init__()
        self.episodes = episodes
        self._reference, self._vocab, self._temperature = reference, vocab, temperature
        self._first: list[Tensor] = []  # |ratio - 1| of the first update of a rollout

    def to(self, device: torch.device) -> _Rollouts:  # type: ignore[override]  # pyright: ignore[reportIncompatibleMethodOverride]
        """Move buffers, critic and reference."""
        if self._reference is not None:
            self._reference.to(device)
        return super().to(device)

    def compile_pieces(self) -> None:
        """Compile nothing: answers are of all lengths."""

    def uncompile_pieces(self) -> None:
        """Do nothing."""

    def counts(self, batch: Batch) -> dict[str, int]:
        """Count the tokens of answers, before any forward pass."""
        return dict.fromkeys(self.terms, int((batch["targets"] != IGNORE).sum()))

    def prepare(self, model: Decoder, batches: list[Batch]) -> list[Batch]:  # noqa: ARG002
        """Do nothing: advantages were settled over the whole rollout."""
        return batches

    def after_step(self, model: Decoder) -> None:
        """Do nothing: no teacher, no temperature."""

    def first_ratio(self) -> float:
        """Largest |ratio - 1| of the first update of this rollout: 0, or something is wrong."""
        return max((float(one) for one in self._first), default=0.0)

    def _ratios(self, logprobs_M: Tensor, old_M: Tensor, batch: Batch) -> Tensor:
        ratio_M = (logprobs_M - old_M).exp()
        if "first" in batch and len(ratio_M):
            self._first.append((ratio_M.detach() - 1).abs().max())
        return ratio_M

    def _clipped(
        self, ratio_M: Tensor, advantages_M: Tensor, *, low: float, high: float
    ) -> tuple[Tensor, Tensor]:
        """The clipped loss (Schulman et al. 2017, equation 7) and where the clip decides, [M]."""
        plain_M = -advantages_M * ratio_M
        clipped_M = -advantages_M * ratio_M.clamp(1 - low, 1 + high)
        return torch.maximum(plain_M, clipped_M), (clipped_M > plain_M).float()

    def _warn_of_ratio(self) -> None:
        if self.first_ratio() > _RATIO_TOLERANCE:
            warn(
                f"the first update of a rollout saw ratios up to {self.first_ratio():.2g} away "
                "from 1: what was drawn from is not what is learned"
            )
        self._first.clear()


class PPO(_Rollouts):
    """PPO with a critic.

    Args:
        settings: of the recipe.
        critic: a second network; None reads the policy's hidden states.
        width: of those.
        episodes, reference, vocab, temperature: as `_Rollouts` takes them.
    """

    terms = (
        "loss/policy",
        "loss/value",
        "policy/approxkl",
        "policy/clipfrac",
        "policy/entropy",
        "val/clipfrac",
        "val/ratio",
    )
    beta: Tensor

    def __init__(
        self,
        settings: PPOSettings,
        *,
        critic: Scorer | None,
        width: int,
        episodes: Episodes,
        reference: Reference,
        vocab: int,
        temperature: float,
    ) -> None:
        super().__init__(
            episodes=episodes, reference=reference, vocab=vocab, temperature=temperature
        )
        self.settings = settings
        self.critic = critic
        self.value_head = None if critic is not None else _value_head(width)
        self.register_buffer("beta", torch.tensor(settings.kl))

    @torch.no_grad()
    def annotate(self, model: Decoder, batch: Batch) -> dict[str, Tensor]:
        """Say of each target what the policy, the reference and the critic think now: [B, S]."""
        assert self._reference is not None, "PPO has a reference"
        logprobs, entropies, values, places = self._read(model, batch)
        with self._reference.of(model) as before:
            reference, _, _ = token_logprobs(
                before, batch, vocab=self._vocab, temperature=self._temperature
            )
        known = {
            "old_logprobs": logprobs,
            "entropies": entropies,
            "old_values": values,
            "reference_logprobs": reference,
        }
        return {name: _spread(one, places, batch) for name, one in known.items()}

    @torch.no_grad()
    def settle(self) -> dict[str, float]:
        """Turn the scores of a rollout into advantages and returns; steer beta; return figures."""
        self._warn_of_ratio()
        episodes, settings = self.episodes, self.settings
        mask_NA = episodes.mask
        beta = float(self.beta)
        apart_NA = (episodes.of("old_logprobs") - episodes.of("reference_logprobs")) * mask_NA
        rewards_NA = -beta * apart_NA
        penalty = rewards_NA.sum(1)
        last_N = episodes.answer - 1
        rewards_NA[torch.arange(len(episodes)), last_N] += episodes.scores
        if settings.whiten == "on":
            rewards_NA = _whitened(rewards_NA, mask_NA, shift=False)
        values_NA = episodes.of("old_values") * mask_NA
        advantages_NA = advantages(
            rewards_NA, values_NA, mask_NA, gamma=settings.gamma, lam=settings.lam
        )
        returns_NA = advantages_NA + values_NA
        episodes.of("returns").copy_(returns_NA)
        episodes.of("advantages").copy_(_whitened(advantages_NA, mask_NA, shift=True))
        kl = float(apart_NA.sum(1).mean())
        figures = {
            **_told(episodes),
            "objective/non_score_reward": float(penalty.mean()),
            "objective/rlhf_reward": float((penalty + episodes.scores).mean()),
            "val/explained_variance": _explained(values_NA, returns_NA, mask_NA),
            "beta": beta,
        }
        if settings.kl_target:
            error = min(max(kl / settings.kl_target - 1, -0.2), 0.2)
            self.beta.mul_(1 + error * len(episodes) / settings.kl_horizon)
        return figures

    def loss(self, model: Decoder, batch: Batch) -> tuple[dict[str, Tensor], dict[str, float]]:
        """Return summed losses of policy and critic, and sums of figures, over learned tokens."""
        settings = self.settings
        logprobs_M, entropies_M, values_M, places_M = self._read(model, batch)
        old_M, advantages_M, returns_M, before_M = (
            batch[name].flatten().index_select(0, places_M)
            for name in ("old_logprobs", "advantages", "returns", "old_values")
        )
        ratio_M = self._ratios(logprobs_M, old_M, batch)
        policy_M, cut_M = self._clipped(
            ratio_M, advantages_M, low=settings.clip, high=settings.clip
        )
        near_M = before_M + (values_M - before_M).clamp(-settings.value_clip, settings.value_clip)
        free_M, held_M = (values_M - returns_M) ** 2, (near_M - returns_M) ** 2
        sums = (
            policy_M.sum(),
            0.5 * torch.maximum(free_M, held_M).sum(),
            0.5 * ((logprobs_M.detach() - old_M) ** 2).sum(),
            cut_M.detach().sum(),
            entropies_M.sum(),
            (held_M > free_M).float().sum(),
            ratio_M.detach().sum(),
        )
        return dict(zip(self.terms, sums, strict=True)), {}

    def _read(self, model: Decoder, batch: Batch) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Log-probabilities, entropies and values of the learned targets, and their places, [M]."""
        hidden_MD, targets_M, places_M = learned_states(model, batch)
        logprobs_M, entropies_M = linear_logprobs(
            hidden_MD,
            model.head_weight[: self._vocab],
            targets_M,
            temperature=self._temperature,
        )
        if self.critic is not None:
            self.critic.attention_kind = model.attention_kind
            seen_MD = self.critic(batch["tokens"]).flatten(0, 1).index_select(0, places_M)
            values_M = self.critic.scores(seen_MD)
        else:
            assert self.value_head is not None, "a critic of its own, or a head"
            values_M = self.value_head(hidden_MD).squeeze(1).float()
        return logprobs_M, entropies_M, values_M, places_M


class GRPO(_Rollouts):
    """Answers compared with the others to the same prompt.

    Args:
        settings: of the recipe.
        episodes, reference, vocab, temperature: as `_Rollouts` takes them.
    """

    terms = ("loss/policy", "policy/kl_k3", "policy/clipfrac", "policy/entropy", "val/ratio")

    def __init__(
        self,
        settings: GRPOSettings,
        *,
        episodes: Episodes,
        reference: Reference | None,
        vocab: int,
        temperature: float,
    ) -> None:
        super().__init__(
            episodes=episodes, reference=reference, vocab=vocab, temperature=temperature
        )
        self.settings = settings

    @torch.no_grad()
    def annotate(self, model: Decoder, batch: Batch) -> dict[str, Tensor]:
        """Say of each target what the policy and the reference think now: [B, S]."""
        logprobs, entropies, places = self._asked(model, batch)
        reference = logprobs
        if self._reference is not None:
            with self._reference.of(model) as before:
                reference, _, _ = self._asked(before, batch)
        known = {
            "old_logprobs": logprobs,
            "entropies": entropies,
            "reference_logprobs": reference,
        }
        return {name: _spread(one, places, batch) for name, one in known.items()}

    @torch.no_grad()
    def settle(self) -> dict[str, float]:
        """Give every token of an answer how much better than its group it was; return figures."""
        self._warn_of_ratio()
        episodes = self.episodes
        better_N = compared(episodes.scores, episodes.group, scale=self.settings.scale)
        episodes.of("advantages").copy_(better_N[:, None] * episodes.mask)
        spread = compared(episodes.scores, episodes.group, scale="off")
        return {
            **_told(episodes),
            "objective/within_group_std": float(spread.std(unbiased=False)),
        }

    def loss(self, model: Decoder, batch: Batch) -> tuple[dict[str, Tensor], dict[str, float]]:
        """Return the summed loss and sums of figures, over learned tokens."""
        settings = self.settings
        logprobs_M, entropies_M, places_M = self._asked(model, batch)
        old_M, advantages_M, reference_M = (
            batch[name].flatten().index_select(0, places_M)
            for name in ("old_logprobs", "advantages", "reference_logprobs")
        )
        ratio_M = self._ratios(logprobs_M, old_M, batch)
        high = settings.clip_high or settings.clip
        policy_M, cut_M = self._clipped(ratio_M, advantages_M, low=settings.clip, high=high)
        away_M = reference_M - logprobs_M
        penalty_M = away_M.exp() - away_M - 1
        sums = (
            (policy_M + settings.kl * penalty_M).sum(),
            penalty_M.detach().sum(),
            cut_M.detach().sum(),
            entropies_M.sum(),
            ratio_M.detach().sum(),
        )
        return dict(zip(self.terms, sums, strict=True)), {}

    def _asked(self, model: Decoder, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
        return token_logprobs(model, batch, vocab=self._vocab, temperature=self._temperature)


def advantages(
    rewards_NA: Tensor, values_NA: Tensor, mask_NA: Tensor, *, gamma: float, lam: float
) -> Tensor:
    """Generalised advantage estimation (Schulman et al. 2016, equation 16), [N, A].

    Behind the last token of an answer the value is 0 and nothing follows.
    """
    out = torch.zeros_like(rewards_NA)
    following = torch.zeros_like(rewards_NA[:, 0])
    value_after = torch.zeros_like(rewards_NA[:, 0])
    for place in range(rewards_NA.shape[1] - 1, -1, -1):
        here = mask_NA[:, place]
        delta = rewards_NA[:, place] + gamma * value_after - values_NA[:, place]
        following = (delta + gamma * lam * following) * here
        value_after = values_NA[:, place] * here
        out[:, place] = following
    return out


def compared(scores_N: Tensor, group_N: Tensor, *, scale: Literal["group", "off"]) -> Tensor:
    """Scores less the mean of their group, in its deviations (Shao et al. 2024, section 4.1.2)."""
    _, member_N = group_N.unique(return_inverse=True)
    groups = int(member_N.max()) + 1
    size = scores_N.new_zeros(groups).index_add(0, member_N, torch.ones_like(scores_N))
    mean = scores_N.new_zeros(groups).index_add(0, member_N, scores_N) / size
    better_N = scores_N - mean[member_N]
    if scale == "off":
        return better_N
    # over n - 1, as torch's own deviation; a group of one has none
    square = scores_N.new_zeros(groups).index_add(0, member_N, better_N**2)
    deviation = (square / (size - 1).clamp_min(1)).sqrt()
    return better_N / (deviation[member_N] + 1e-4)


def _value_head(width: int) -> nn.Module:
    """Two layers on hidden states; the last begins at 0: it first expects nothing."""
    head = nn.Sequential(nn.Linear(width, 2 * width), nn.ReLU(), nn.Linear(2 * width, 1))
    for parameter in head[2].parameters():
        nn.init.zeros_(parameter)
    return head


def _spread(values_M: Tensor, places_M: Tensor, batch: Batch) -> Tensor:
    """Numbers of learned targets [M] at their places [B, S], 0 elsewhere."""
    flat = values_M.new_zeros(batch["targets"].numel())
    return flat.index_copy(0, places_M, values_M).view(batch["targets"].shape)


def _whitened(values_NA: Tensor, mask_NA: Tensor, *, shift: bool) -> Tensor:
    """Divide by the deviation of all tokens of answers; take the mean away, or leave it."""
    known = values_NA[mask_NA]
    mean, variance = known.mean(), known.var(unbiased=False)
    white = (values_NA - mean) * (variance + 1e-8).rsqrt() + (0.0 if shift else mean)
    return white * mask_NA


def _explained(values_NA: Tensor, returns_NA: Tensor, mask_NA: Tensor) -> float:
    """Share of the returns' variance that values knew."""
    returns, values = returns_NA[mask_NA], values_NA[mask_NA]
    variance = returns.var(unbiased=False)
    return float(1 - (returns - values).var(unbiased=False) / variance.clamp_min(1e-8))


def _entropy(episodes: Episodes) -> dict[str, float]:
    """Of an answer, where somebody was asked."""
    entropies_NA = episodes.of("entropies") * episodes.mask
    return {"objective/entropy": float(entropies_NA.sum(1).mean())} if entropies_NA.any() else {}


def _told(episodes: Episodes) -> dict[str, float]:
    """Figures of a rollout that both log."""
    mask_NA = episodes.mask
    apart = (episodes.of("old_logprobs") - episodes.of("reference_logprobs")) * mask_NA
    k3 = ((-apart).exp() - 1 + apart) * mask_NA
    return {
        "objective/kl": float(apart.sum(1).mean()),
        "objective/kl_k3": float(k3.sum(1).mean()),
        **_entropy(episodes),
        "objective/scores": float(episodes.scores.mean()),
        "objective/scores_std": float(episodes.scores.std(unbiased=False)),
        "answers/ended": float(episodes.ended.float().mean()),
        "answers/tokens": float(episodes.answer.float().mean()),
    }
