"""From logits to a token: the same distribution as transformers, drawn from more cheaply.

Order and meaning are those of transformers' processors: repetition penalty (over prompt and
answer), then temperature, then top-k (ties at the k-th stay), then top-p (the smallest set whose
mass reaches p, never empty); tests/runtime/test_sampling.py compares them on random logits.

The draw is ours: one uniform number per token from the request's own generator, looked up in the
cumulative distribution. torch.multinomial draws one number per word (32,000 of them), and a
generator shared by a batch would make an answer depend on its neighbours.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from minna.errors import UsageError

# Tokens first looked at for top-p; a nucleus wider than this falls back to sorting the vocabulary.
_NUCLEUS_FIRST = 1024


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """How the next token is chosen. Temperature 0 takes the most likely one.

    Attributes:
        temperature: divides the logits; 0 is greedy.
        top_k: keep the k most likely; None keeps all.
        top_p: keep the most likely that together reach this probability; 1 keeps all.
        repetition_penalty: above 1, tokens already in prompt or answer become less likely.
        seed: of this request's own generator.
    """

    temperature: float = 0.0
    top_k: int | None = None
    top_p: float = 1.0
    repetition_penalty: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse settings that mean nothing."""
        wrong = {
            "temperature must be 0 or more": (self.temperature, self.temperature >= 0),
            "top_k must be 1 or more": (self.top_k, self.top_k is None or self.top_k >= 1),
            "top_p must be above 0 and at most 1": (self.top_p, 0 < self.top_p <= 1),
            "repetition_penalty must be above 0": (
                self.repetition_penalty,
                self.repetition_penalty > 0,
            ),
        }
        for rule, (value, holds) in wrong.items():
            if not holds:
                raise UsageError(f"{rule}, not {value}", remedy="change that setting")

    @property
    def greedy(self) -> bool:
        """Whether the most likely token is taken."""
        return self.temperature == 0

    def generator(self, sample: int) -> torch.Generator:
        """The generator of one sample of a request: no two samples of nearby seeds share one."""
        mixed = (self.seed + sample * 0x9E3779B97F4A7C15) % 2**63
        return torch.Generator().manual_seed(mixed)


def penalise(logits_V: Tensor, *, seen: Tensor, penalty: float) -> Tensor:
    """Make `seen` ids less likely (Keskar et al. 2019): divide above zero, multiply below."""
    scores = logits_V[seen]
    return logits_V.scatter(0, seen, torch.where(scores < 0, scores * penalty, scores / penalty))


def candidates(logits_V: Tensor, sampling: Sampling) -> tuple[Tensor, Tensor]:
    """The tokens that may be drawn and their log-probabilities, most likely first.

    Args:
        logits_V: fp32, after the repetition penalty.
        sampling: with a temperature above 0.
    """
    logits_V = logits_V / sampling.temperature
    if sampling.top_k is not None and sampling.top_k < logits_V.numel():
        smallest = logits_V.topk(sampling.top_k).values[-1]
        ids = (logits_V >= smallest).nonzero()[:, 0]
        scores, order = logits_V[ids].sort(descending=True, stable=True)
        ids = ids[order]
        total = scores.logsumexp(0)
    else:
        total = logits_V.logsumexp(0)
        scores, ids = _most_likely(logits_V, total=total, top_p=sampling.top_p)
    if sampling.top_p < 1:
        before = (scores - total).exp().cumsum(0).roll(1)
        before[0] = 0.0
        kept = int((before < sampling.top_p).sum())
        scores, ids = scores[:kept], ids[:kept]
    return ids, scores.log_softmax(0)


def _most_likely(logits_V: Tensor, *, total: Tensor, top_p: float) -> tuple[Tensor, Tensor]:
    """Scores and ids, sorted: enough of them to hold `top_p`, or all."""
    if top_p < 1 and logits_V.numel() > _NUCLEUS_FIRST:
        scores, ids = logits_V.topk(_NUCLEUS_FIRST)
        if float((scores - total).exp().sum()) > top_p:
            return scores, ids
    scores, ids = logits_V.sort(descending=True, stable=True)
    return scores, ids


def draw(logits_V: Tensor, *, sampling: Sampling, generator: torch.Generator) -> tuple[int, float]:
    """Draw a token; return it and its log-probability in the distribution drawn from."""
    ids, logprobs = candidates(logits_V, sampling)
    cumulative = logprobs.double().exp().cumsum(0)
    point = torch.rand((), generator=generator, dtype=torch.float64).to(cumulative.device)
    place = int(torch.searchsorted(cumulative, point * cumulative[-1], right=True))
    place = min(place, ids.numel() - 1)
    return int(ids[place]), float(logprobs[place])
