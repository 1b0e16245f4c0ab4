"""K-means over a bounded sample of frames: what units of speech are before anybody names them.

HuBERT's recipe clusters up to all frames of a corpus and needs their features in memory or on disk
(1.05 TB for a tenth of 19,000 hours). Centres hardly depend on more than a few hundred frames each,
so the sample is bounded, and the fit is the usual one: k-means++ (Arthur & Vassilvitskii 2007) on a
pool of it, several times, the best kept; mini-batches whose step falls with what a centre has seen
(Sculley 2010) until the error stops falling; and some passes over the whole sample at the end.

Names: N frames of the sample, D width, K clusters, L candidates.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

from minna.errors import DataError

_BLOCK: Final = 2048
"""Frames compared at once."""
_POOL: Final = 20
"""Frames of the pool for each cluster, and never fewer than `_LEAST_POOL`."""
_LEAST_POOL: Final = 10_000
_DISTINCT: Final = 1e-9  # of the spread: below it two frames are the same


@dataclass(frozen=True, kw_only=True)
class FitSettings:
    """How centres are looked for.

    Attributes:
        starts: choices of k-means++, of which the best goes on.
        batch: frames of a step.
        passes: over the sample by mini-batches, at most.
        patience: steps without a smaller error before the mini-batches end.
        settling: passes over the whole sample at the end, at most.
        tolerance: such passes end when the error falls by a smaller share than this.
    """

    starts: int = 3
    batch: int = 10_000
    passes: int = 100
    patience: int = 30
    settling: int = 10
    tolerance: float = 1e-3


@dataclass(frozen=True, kw_only=True)
class Centres:
    """What was found.

    Attributes:
        centres: [K, D] fp32.
        inertia: mean squared distance of a frame of the sample from its centre.
        frames: of the sample.
    """

    centres: Tensor
    inertia: float
    frames: int


def fit_centres(
    sample_ND: Tensor, *, clusters: int, seed: int = 0, settings: FitSettings | None = None
) -> Centres:
    """Find centres; the same sample and seed give the same ones.

    Args:
        sample_ND: fp32 frames.
        clusters: K.
        seed: of all choices.
        settings: how long is looked.

    Raises:
        DataError: fewer different frames than clusters, or frames that are no numbers.
    """
    settings = settings or FitSettings()
    if len(sample_ND) < clusters:
        raise _too_few(len(sample_ND), clusters)
    if not bool(sample_ND.isfinite().all()):
        raise DataError(
            "frames of the sample are no numbers", remedy="look at the audio, or at the model"
        )
    generator = torch.Generator().manual_seed(seed)
    pool = sample_ND[_some(len(sample_ND), max(_LEAST_POOL, _POOL * clusters), generator)]
    found = [_seeds(pool, clusters, generator) for _ in range(settings.starts)]
    centres_KD = min(found, key=lambda one: float(assign(pool, one)[1].mean()))
    _mini_batches(sample_ND, centres_KD, generator, settings)
    inertia = _settled(sample_ND, centres_KD, settings)
    return Centres(centres=centres_KD, inertia=inertia, frames=len(sample_ND))


def assign(frames_FD: Tensor, centres_KD: Tensor) -> tuple[Tensor, Tensor]:
    """The nearest centre of each frame, [F] int64, and its squared distance, [F] fp32."""
    half_K = centres_KD.square().sum(1) / 2
    across_DK = centres_KD.T.contiguous()
    labels: list[Tensor] = []
    nearest: list[Tensor] = []
    for block in frames_FD.split(_BLOCK):
        least, label = torch.addmm(half_K, block, across_DK, alpha=-1).min(1)
        labels.append(label)
        nearest.append((2 * least + block.square().sum(1)).clamp_min_(0))
    if not labels:
        return torch.zeros(0, dtype=torch.int64), torch.zeros(0)
    return torch.cat(labels), torch.cat(nearest)


def _too_few(different: int, clusters: int) -> DataError:
    return DataError(
        f"{clusters} clusters need {clusters} different frames or more, and there are {different}",
        remedy="give more speech, or ask for fewer clusters",
    )


def _some(count: int, wanted: int, generator: torch.Generator) -> Tensor:
    return torch.randperm(count, generator=generator)[:wanted]


def _seeds(pool_ND: Tensor, clusters: int, generator: torch.Generator) -> Tensor:
    """k-means++, the best of a few candidates each time.

    Raises:
        DataError: the pool has fewer different frames than clusters.
    """
    squares_N = pool_ND.square().sum(1)
    candidates = 2 + int(math.log(clusters))
    chosen = [int(_some(len(pool_ND), 1, generator))]
    nearest_N = _distances(pool_ND[chosen], pool_ND, squares_N)[0]
    nothing = _DISTINCT * float(squares_N.mean()) * len(pool_ND)
    while len(chosen) < clusters:
        nearest_N[chosen[-1]] = 0
        weights = nearest_N.cpu().double()
        if not float(weights.sum()) > nothing:
            raise _too_few(len(chosen), clusters)
        places = torch.multinomial(weights, candidates, replacement=True, generator=generator)
        nearest_LN = _distances(pool_ND[places], pool_ND, squares_N).minimum(nearest_N)
        best = int(nearest_LN.sum(1).argmin())
        chosen.append(int(places[best]))
        nearest_N = nearest_LN[best]
    return pool_ND[chosen].clone()


def _distances(some_LD: Tensor, pool_ND: Tensor, squares_N: Tensor) -> Tensor:
    """[L, N] squared distances."""
    own = some_LD.square().sum(1, keepdim=True)
    return (squares_N + own - 2 * some_LD @ pool_ND.T).clamp_min_(0)


def _mini_batches(
    sample_ND: Tensor, centres_KD: Tensor, generator: torch.Generator, settings: FitSettings
) -> None:
    """Move the centres, batch by batch, until the error has not fallen for a while."""
    seen_K = torch.zeros(len(centres_KD), device=sample_ND.device)
    weight = min(1.0, 2 * settings.batch / (len(sample_ND) + 1))
    smooth, least, waited = math.nan, math.inf, 0
    for _ in range(settings.passes):
        for places in _some(len(sample_ND), len(sample_ND), generator).split(settings.batch):
            batch = sample_ND[places]
            sums_KD, counts_K, error = _gathered(batch, centres_KD)
            seen_K += counts_K
            step_K = 1 / seen_K.clamp_min(1)
            centres_KD += step_K[:, None] * (sums_KD - counts_K[:, None] * centres_KD)
            mean = error / len(batch)
            smooth = mean if math.isnan(smooth) else smooth + weight * (mean - smooth)
            waited = 0 if smooth < least else waited + 1
            least = min(least, smooth)
            if waited >= settings.patience:
                return


def _settled(sample_ND: Tensor, centres_KD: Tensor, settings: FitSettings) -> float:
    """Pass over the whole sample until that gains little; return the mean squared distance."""
    before = math.inf
    for _ in range(settings.settling):
        sums_KD, counts_K, error = _gathered(sample_ND, centres_KD)
        if before - error <= settings.tolerance * error:
            break
        before = error
        there = counts_K > 0
        centres_KD[there] = sums_KD[there] / counts_K[there, None]
        _fill_empty(sample_ND, centres_KD, ~there)
    return float(assign(sample_ND, centres_KD)[1].double().mean())


def _fill_empty(sample_ND: Tensor, centres_KD: Tensor, empty_K: Tensor) -> None:
    """Put centres that no frame is nearest to where frames are worst off."""
    count = int(empty_K.sum())
    if count:
        worst = assign(sample_ND, centres_KD)[1].topk(count).indices
        centres_KD[empty_K] = sample_ND[worst]


def _gathered(frames_ND: Tensor, centres_KD: Tensor) -> tuple[Tensor, Tensor, float]:
    """Sums and numbers of the frames nearest to each centre, and the sum of squared distances."""
    sums_KD = torch.zeros_like(centres_KD)
    counts_K = torch.zeros(len(centres_KD), device=centres_KD.device)
    error = 0.0
    for block in frames_ND.split(8 * _BLOCK):
        labels, nearest = assign(block, centres_KD)
        sums_KD.index_add_(0, labels, block)
        counts_K += torch.bincount(labels, minlength=len(centres_KD))
        error += float(nearest.double().sum())
    return sums_KD, counts_K, error
