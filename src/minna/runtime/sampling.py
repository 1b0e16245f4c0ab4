"""From logits to a token: the same distribution as transformers, drawn from more cheaply.

Order and meaning are those of transformers' processors: repetition penalty (over prompt and
answer), then temperature, then top-k (ties at the k-th stay), then top-p (the smallest set whose
mass reaches p, never empty); tests/runtime/test_sampling.py compares them on random logits.

The draw is ours: one uniform number per token from the request's own generator, looked up in the
cumulative distribution. torch.multinomial draws one number per word (32,000 of them), and a
generator shared by a batch would make an answer depend on its neighbours.

Rows that draw from the whole distribution, as rollouts do, need no order of likelihood: they are
drawn together, in the vocabulary's order. For 64 rows of 4,096 words that takes 0.6 ms; row by row,
sorted, it took 17 (bench/bench_rollout.py --profile).

Shape letters: B rows, V words of the vocabulary, N ids seen in all rows together.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
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

    @property
    def whole(self) -> bool:
        """Whether every token may be drawn."""
        return not self.greedy and self.top_k is None and self.top_p == 1

    def generator(self, sample: int) -> torch.Generator:
        """The generator of one sample of a request: no two samples of nearby seeds share one."""
        mixed = (self.seed + sample * 0x9E3779B97F4A7C15) % 2**63
        return torch.Generator().manual_seed(mixed)


class Chooser(Protocol):
    """A row that waits for its next token."""

    @property
    def sampling(self) -> Sampling:
        """How it is chosen."""
        ...

    @property
    def generator(self) -> torch.Generator:
        """Its own."""
        ...

    @property
    def seen(self) -> NDArray[np.int64]:
        """Prompt and answer so far, which the repetition penalty looks at."""
        ...


def choose(scores_BV: Tensor, rows: Sequence[Chooser]) -> tuple[list[int], list[float]]:
    """Choose a token for each row; no row's depends on the others.

    Args:
        scores_BV: fp32 logits of the tokens that may be chosen.
        rows: one for each row of the logits.

    Returns:
        The tokens, and the log-probability of each in the distribution it was drawn from (0 for
        greedy ones: certain).
    """
    scores_BV = _penalised(scores_BV, rows)
    chosen, logprobs = [0] * len(rows), [0.0] * len(rows)
    greedy = [place for place, row in enumerate(rows) if row.sampling.greedy]
    whole = [place for place, row in enumerate(rows) if row.sampling.whole]
    if greedy:
        ids: list[int] = _some(scores_BV, greedy).argmax(-1).tolist()
        for place, token in zip(greedy, ids, strict=True):
            chosen[place] = token
    if whole:
        drawn = draw_whole(_some(scores_BV, whole), [rows[place] for place in whole])
        for place, token, logprob in zip(whole, *drawn, strict=True):
            chosen[place], logprobs[place] = token, logprob
    for place in set(range(len(rows))).difference(greedy, whole):
        chosen[place], logprobs[place] = draw(
            scores_BV[place], sampling=rows[place].sampling, generator=rows[place].generator
        )
    return chosen, logprobs


def _some(scores_BV: Tensor, places: list[int]) -> Tensor:
    return scores_BV if len(places) == len(scores_BV) else scores_BV[places]


def _penalised(scores_BV: Tensor, rows: Sequence[Chooser]) -> Tensor:
    """The repetition penalty of the rows that have one, in one call."""
    places = [n for n, row in enumerate(rows) if row.sampling.repetition_penalty != 1]
    if not places:
        return scores_BV
    seen = [rows[place].seen for place in places]
    sizes = list(map(len, seen))
    penalties = np.array([rows[place].sampling.repetition_penalty for place in places], np.float32)
    device = scores_BV.device
    return penalise(
        scores_BV,
        rows=torch.from_numpy(np.repeat(places, sizes)).to(device),
        seen=torch.from_numpy(np.concatenate(seen)).to(device),
        penalty=torch.from_numpy(np.repeat(penalties, sizes)).to(device),
    )


def penalise(scores_BV: Tensor, *, rows: Tensor, seen: Tensor, penalty: Tensor) -> Tensor:
    """Make ids less likely (Keskar et al. 2019): divide above zero, multiply below.

    Args:
        scores_BV: logits.
        rows: [N] the row of each id.
        seen: [N] the ids; one may come more than once, and is penalised once.
        penalty: [N] of its row.
    """
    scores_N = scores_BV[rows, seen]
    changed_N = torch.where(scores_N < 0, scores_N * penalty, scores_N / penalty)
    return scores_BV.index_put((rows, seen), changed_N)


def draw_whole(scores_BV: Tensor, rows: Sequence[Chooser]) -> tuple[list[int], list[float]]:
    """Draw a token for each row from all of the vocabulary; return them and their log-probability.

    In fp64: a cumulative sum of 32,000 shares in fp32 ends a ten-thousandth away from 1, and the
    log-probability is to be that of the very distribution. Softmax and sum run along one row at a
    time, whatever stands beside it, so a row alone gives the same bits (on a CPU).
    """
    # Apple's GPUs have no fp64
    wide_BV = (scores_BV if scores_BV.is_cuda else scores_BV.cpu()).double()
    heats = [[row.sampling.temperature] for row in rows]
    points = [[float(torch.rand((), generator=row.generator, dtype=torch.float64))] for row in rows]
    heat_B1, point_B1 = torch.tensor([heats, points], dtype=wide_BV.dtype, device=wide_BV.device)
    share_BV = (wide_BV / heat_B1).softmax(-1)
    reach_BV = share_BV.cumsum(-1)
    place_B1 = torch.searchsorted(reach_BV, point_B1 * reach_BV[:, -1:], right=True)
    place_B1 = place_B1.clamp(max=share_BV.shape[1] - 1)
    return place_B1[:, 0].tolist(), share_BV.gather(1, place_B1)[:, 0].log().tolist()


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
    """Draw one row's token from its candidates; return it and its log-probability among them."""
    ids, logprobs = candidates(logits_V, sampling)
    # Apple's GPUs have no fp64
    wide = logprobs if logprobs.is_cuda else logprobs.cpu()
    cumulative = wide.double().exp().cumsum(0)
    point = torch.rand((), generator=generator, dtype=torch.float64).to(cumulative.device)
    place = int(torch.searchsorted(cumulative, point * cumulative[-1], right=True))
    place = min(place, ids.numel() - 1)
    return int(ids[place]), float(logprobs[place])
