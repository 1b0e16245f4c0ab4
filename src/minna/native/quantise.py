"""Weights in 8 or 4 bits: how they are rounded, and the plain torch layer that uses them.

Generation reads every weight for every token, so its speed is the size of the weights. A group of
neighbouring inputs of one output shares a scale in bf16 (its range; its 8 bits cost nothing, since
the weights are rounded to the scale that is stored):

    int8  groups of 64, symmetric: 8.25 bits a weight
    int4  groups of 32, the largest value at -8, the scale that least squares finds best among nine:
          4.5 bits a weight

What it costs in quality is said per model by `bench/bench_quality.py MODEL`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

QuantisedKind = Literal["int8", "int4"]

GROUP: dict[QuantisedKind, int] = {"int8": 64, "int4": 32}
_OFFSET: dict[QuantisedKind, int] = {"int8": 128, "int4": 8}
# Where the largest value of a group comes to lie, in steps: below 8 it is cut, the others gain.
_REACH = (6.4, 6.8, 7.2, 7.5, 7.75, 8.0, 8.25, 8.5, 9.0)
# A block of rows at a time: what the search needs then stays in the processor's cache.
_ELEMENTS = 1 << 19


@dataclass(frozen=True, kw_only=True)
class Quantised:
    """A matrix [N outputs, K inputs] in groups of G inputs, padded by zeros to whole groups.

    Attributes:
        levels: uint8 [N, groups * G], 128 (int8) or 8 (int4) being zero.
        scales: bf16 [N, groups].
        inputs: K.
    """

    kind: QuantisedKind
    levels: Tensor
    scales: Tensor
    inputs: int

    def weight(self) -> Tensor:
        """The matrix these stand for, fp32 [N, K]."""
        return _decode(self.levels, self.scales, self.kind)[:, : self.inputs]


def quantise(weight: Tensor, *, kind: QuantisedKind) -> Quantised:
    """Round a matrix [N, K] of any floating type."""
    N, K = weight.shape
    group = GROUP[kind]
    groups = -(-K // group)
    levels = torch.empty(N, groups * group, dtype=torch.uint8, device=weight.device)
    scales = torch.empty(N, groups, dtype=torch.bfloat16, device=weight.device)
    rows = max(1, _ELEMENTS // (groups * group))
    for start in range(0, N, rows):
        part = slice(start, start + rows)
        block = F.pad(weight[part].float(), (0, groups * group - K)).view(-1, groups, group)
        scale = (_scale8 if kind == "int8" else _scale4)(block).bfloat16()
        levels[part] = _levels(block, scale, kind).flatten(1).to(torch.uint8)
        scales[part] = scale[..., 0]
    return Quantised(kind=kind, levels=levels, scales=scales, inputs=K)


def _scale8(block: Tensor) -> Tensor:
    return block.abs().amax(-1, keepdim=True) / 127


def _scale4(block: Tensor) -> Tensor:
    """The scale with the smallest squared error: <w, q> / <q, q> for the best of some roundings q.

    The error is <w, w> - <w, q>^2 / <q, q>, so the largest of the last terms wins.
    """
    place = block.abs().argmax(-1, keepdim=True)
    extreme = block.gather(-1, place)
    best = torch.full_like(extreme, -1.0)
    found = torch.zeros_like(extreme)
    for reach in _REACH:
        scale = extreme / -reach
        q = (block * _inverse(scale)).round_().clamp_(-8, 7)
        along = (block * q).sum(-1, keepdim=True)
        size = (q * q).sum(-1, keepdim=True).clamp_(min=1)
        gain = along * along / size
        better = gain > best
        best = torch.where(better, gain, best)
        found = torch.where(better, along / size, found)
    return found


def _inverse(scale: Tensor) -> Tensor:
    return torch.where(scale == 0, 0, 1 / scale)


def _levels(block: Tensor, scale: Tensor, kind: QuantisedKind) -> Tensor:
    low, high = (-127, 127) if kind == "int8" else (-8, 7)
    return (block * _inverse(scale.float())).round_().clamp_(low, high) + _OFFSET[kind]


def _decode(levels: Tensor, scales: Tensor, kind: QuantisedKind) -> Tensor:
    block = levels.view(*scales.shape, GROUP[kind]).float() - _OFFSET[kind]
    return (block * scales.float()[..., None]).flatten(1)


class QuantisedLinear(nn.Module):
    """A linear layer over 8 or 4 bits in plain torch: the memory is saved, the time is not.

    The weights are written out in the type of the inputs, some rows at a time.
    """

    levels: Tensor
    scales: Tensor

    def __init__(self, weight: Tensor, bias: Tensor | None, *, kind: QuantisedKind) -> None:
        super().__init__()
        rounded = quantise(weight.detach(), kind=kind)
        self.kind: QuantisedKind = kind
        self.inputs = rounded.inputs
        self.levels = rounded.levels
        if kind == "int4":  # two to a byte
            self.levels = rounded.levels[:, ::2] | (rounded.levels[:, 1::2] << 4)
        self.scales = rounded.scales
        self.bias = None if bias is None else bias.detach().clone()

    def forward(self, x: Tensor) -> Tensor:
        """Return x @ weight.T + bias."""
        rows = max(1, 4 * _ELEMENTS // max(1, self.inputs))
        parts = [
            F.linear(x, self._weight(slice(start, start + rows)).to(x.dtype))
            for start in range(0, self.scales.shape[0], rows)
        ]
        out = parts[0] if len(parts) == 1 else torch.cat(parts, dim=-1)
        return out if self.bias is None else out + self.bias.to(x.dtype)

    def _weight(self, part: slice) -> Tensor:
        levels = self.levels[part]
        if self.kind == "int4":
            levels = torch.stack((levels & 15, levels >> 4), dim=-1).flatten(1)
        return _decode(levels, self.scales[part], self.kind)[:, : self.inputs]
