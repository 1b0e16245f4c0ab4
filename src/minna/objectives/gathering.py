"""Rows of all ranks on every rank, with gradients that find their way back.

The gradient of what a rank did with the rows of others is theirs: on the way back the gradients of
all ranks are added, and each rank gets those of its own rows. Without that (the default of several
libraries) a rank learns from its rows as anchors and not as negatives of others.

N rows of this rank, M rows of all ranks.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
import torch.distributed as dist
from torch import Tensor


class Among(Protocol):
    """The ranks of a run, as far as rows are shared; they meet in the default group."""

    @property
    def rank(self) -> int:
        """Number of this one."""
        ...

    @property
    def count(self) -> int:
        """How many there are."""
        ...


@dataclass(frozen=True)
class _Alone:
    rank: int = 0
    count: int = 1


ALONE: Among = _Alone()


class _Gathered(torch.autograd.Function):
    @staticmethod
    def forward(  # type: ignore[override]
        ctx: torch.autograd.function.FunctionCtx, rows: Tensor, count: int
    ) -> Tensor:
        ctx.count = count  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue]
        return _collected(rows, count)

    @staticmethod
    def backward(
        ctx: torch.autograd.function.FunctionCtx, *grad_outputs: Tensor
    ) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        (gradient,) = grad_outputs
        count: int = ctx.count  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue]
        own = gradient.new_empty(len(gradient) // count, *gradient.shape[1:])
        dist.reduce_scatter_single(own, gradient.contiguous())
        return own, None


def _collected(rows: Tensor, count: int) -> Tensor:
    found = rows.new_empty(count * len(rows), *rows.shape[1:])
    dist.all_gather_single(found, rows.contiguous())
    return found


def gathered(rows: Tensor, among: Among) -> Tensor:
    """Return the rows of all ranks [M, ...], in the order of ranks, which all have as many.

    Args:
        rows: of this rank [N, ...].
        among: the ranks.
    """
    if among.count == 1:
        return rows
    if rows.is_floating_point():
        return _Gathered.apply(rows, among.count)  # type: ignore[no-any-return]
    return _collected(rows, among.count)


def added(numbers: Tensor, among: Among) -> Tensor:
    """Add numbers over all ranks, in place, without gradient."""
    if among.count > 1:
        dist.all_reduce(numbers, dist.ReduceOp.SUM)
    return numbers


def largest(numbers: Tensor, among: Among) -> Tensor:
    """Take the largest of each number over all ranks, in place, without gradient."""
    if among.count > 1:
        dist.all_reduce(numbers, dist.ReduceOp.MAX)
    return numbers
