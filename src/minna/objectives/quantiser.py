"""Frames as codes: a Gumbel quantiser (Baevski et al. 2020, section 2, equation 1).

    p_gv = exp((l_gv + n_v) / tau) / sum over k of exp((l_gk + n_k) / tau),  n = -log(-log(u))

One code of each group is taken, the likeliest of p; on the way back it is as if p itself had been
(straight through). Noise and dropout come from a generator of (seed, step, clip), so a clip's codes
do not depend on its batch, and a second look at a step sees the codes of the first.

Laid out as transformers' Wav2Vec2GumbelVectorQuantizer.

N frames, C channels, G groups, V codes of a group, W width of a code.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from minna.objectives.comparing import widened

_TINY = 1e-7  # inside logarithms of shares, as in fairseq


class Codes(NamedTuple):
    """Frames as codes.

    Attributes:
        vectors: codes of all groups side by side.
        soft: shares without noise, fp32; with gradient.
        hard: the likeliest code without noise.
        taken: a number for the codes that were taken, equal where they are.
    """

    vectors: Tensor
    soft: Tensor
    hard: Tensor
    taken: Tensor


class Quantiser(nn.Module):
    """Turns frames into codes.

    Args:
        features: C.
        groups, codes: G and V.
        width: of the codes of all groups side by side.
        dropout: of the features.
    """

    def __init__(
        self, *, features: int, groups: int, codes: int, width: int, dropout: float
    ) -> None:
        super().__init__()
        self.groups, self.codes, self.dropout = groups, codes, dropout
        self.codevectors = nn.Parameter(torch.empty(1, groups * codes, width // groups))
        self.weight_proj = nn.Linear(features, groups * codes)

    @torch.no_grad()
    def initialise(self, generator: torch.Generator) -> None:
        """Draw codes uniform(0, 1), and what chooses them normal(0, 1)."""
        self.codevectors.uniform_(generator=generator)
        self.weight_proj.weight.normal_(generator=generator)
        self.weight_proj.bias.zero_()

    def forward(
        self, features_NC: Tensor, generators: list[tuple[int, torch.Generator]], *, tau: float
    ) -> Codes:
        """Return the codes of frames.

        Args:
            features_NC: frames of clips one behind the other.
            generators: how many frames each clip has, and its own generator.
            tau: temperature.
        """
        logits_NGV = self.logits(features_NC, generators)
        noise_NGV = torch.cat(
            [
                -torch.empty(n, self.groups, self.codes, device=logits_NGV.device)
                .exponential_(generator=one)
                .log()
                for n, one in generators
            ]
        )
        with torch.autocast(logits_NGV.device.type, enabled=False):
            chosen_NGV = ((logits_NGV + noise_NGV) / tau).softmax(-1)
            taken_NG = chosen_NGV.argmax(-1)
            hard_NGV = F.one_hot(taken_NG, self.codes).to(chosen_NGV.dtype)
            through_NGV = hard_NGV - chosen_NGV.detach() + chosen_NGV
            codes_GVW = widened(self.codevectors).view(self.groups, self.codes, -1)
            vectors_GNW = through_NGV.transpose(0, 1) @ codes_GVW
            vectors_ND = vectors_GNW.transpose(0, 1).flatten(1)
        number_NG = taken_NG * torch.tensor(
            [self.codes**g for g in range(self.groups)], device=taken_NG.device
        )
        return Codes(vectors_ND, logits_NGV.softmax(-1), logits_NGV.argmax(-1), number_NG.sum(1))

    def logits(self, features_NC: Tensor, generators: list[tuple[int, torch.Generator]]) -> Tensor:
        """Return what codes are chosen by, before noise: fp32 [N, G, V]."""
        if self.dropout and self.training:
            kept_NC = torch.cat(
                [
                    torch.rand(n, features_NC.shape[1], device=features_NC.device, generator=one)
                    for n, one in generators
                ]
            )
            kept_NC = kept_NC >= self.dropout
            features_NC = features_NC * kept_NC / (1 - self.dropout)
        return widened(self.weight_proj(features_NC)).unflatten(1, (self.groups, self.codes))


def usage(soft_NGV: Tensor, hard_NG: Tensor) -> Tensor:
    """Sum of shares and count of the likeliest codes, over frames: [2, G, V], without gradient."""
    counted_NGV = F.one_hot(hard_NG, soft_NGV.shape[2])
    return torch.stack([soft_NGV.detach().sum(0), counted_NGV.sum(0).to(soft_NGV.dtype)])


def perplexity(shares_GV: Tensor) -> Tensor:
    """Return exp(entropy) of each group's shares, summed over groups: G to G V."""
    return (-(shares_GV * (shares_GV + _TINY).log()).sum(-1)).exp().sum()


def clip_generator(
    seed: int, step: int, clip: int, *, purpose: int, device: torch.device
) -> torch.Generator:
    """Return a generator of (seed, step, clip) and what it is for."""
    mixed = np.random.SeedSequence((seed, step, clip, purpose)).generate_state(1, np.uint64)
    return torch.Generator(device).manual_seed(int(mixed[0]))
