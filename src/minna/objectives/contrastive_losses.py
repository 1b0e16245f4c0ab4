"""Losses that tell pairs from other pairs, a chunk of rows at a time: InfoNCE, InfoLOOB, SigLIP.

Written down plainly they hold several matrices of pairs x pairs: 268 MB each at 8,192 pairs. Here a
chunk of rows lives until its share of the loss and of the gradients is taken, in the forward pass,
as in `linear_cross_entropy.py`. Only InfoNCE goes over the chunks twice (its columns must be summed
up before the first gradient), and retrieval does on the way back.

All of it is fp32 (fp64 for fp64 inputs) whatever autocast says: at a scale of 100 the rounding of a
bf16 cosine is up to 0.2 nats.

Rows are this rank's, columns those of all ranks. Each function returns the *sum over this rank's
rows* of a loss whose mean over all rows of all ranks is the published one, and its gradient is that
of the sum over all ranks, so on every rank the same number must come back to it (the loop's does).
Rows with an equal number in `same` are no negatives of each other.

N pairs of this rank, M pairs of all ranks, C rows of a chunk, D width.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from minna.objectives.comparing import (
    Best,
    Pairs,
    are_few,
    chunks,
    full_precision,
    learn,
    learns,
    no_gradients,
    tied,
    widened,
)
from minna.objectives.gathering import ALONE, Among, added, gathered, largest


class Compared(NamedTuple):
    """What came of comparing pairs.

    Attributes:
        loss: sum over the rows of this rank, fp32, nats; with gradient.
        rows: the loss of each row [N], without gradient.
        found: [2, N], 1 where of all that a row is compared with its second is nearest to its
            first, and where its first is nearest to its second.
        chance: the loss [N] of who knows nothing.
    """

    loss: Tensor
    rows: Tensor
    found: Tensor
    chance: Tensor


def info_nce(
    a_ND: Tensor,
    b_ND: Tensor,
    scale: Tensor,
    *,
    same_N: Tensor | None = None,
    among: Among = ALONE,
) -> Compared:
    """Cross-entropy of finding b by a and a by b, halved (Radford et al. 2021, figure 3).

    Args:
        a_ND: one side of the pairs of this rank, of length 1.
        b_ND: the other side.
        scale: what a cosine is multiplied with, a scalar.
        same_N: rows with an equal number are no negatives of each other.
        among: the ranks.
    """
    with full_precision(a_ND):
        a_ND, b_ND, scale = widened(a_ND), widened(b_ND), widened(scale)
        b_MD = gathered(b_ND, among)
        pairs = Pairs(a_ND, b_MD, same_N=same_N, among=among)
        learning = learns(a_ND, b_MD, scale)
        with torch.no_grad():
            kept: list[Tensor] = []
            rows_N, columns_M, best = _totals(
                a_ND, b_MD, scale, pairs, kept=kept if learning and pairs.few else None
            )
            loss_N = (rows_N + columns_M[pairs.own_N]) / 2 - best.own_N
            grad_a, grad_b, grad_scale = no_gradients(a_ND, b_MD, scale)
            for rows in pairs.chunks() if learning else ():
                logits = kept.pop(0) if kept else pairs.logits(a_ND, b_MD, scale, rows)
                # d / d logits = (softmax over the row + softmax over the column) / 2 - onehot
                gradient = (logits - rows_N[rows, None]).exp_()
                gradient += logits.sub_(columns_M).exp_()
                gradient /= 2
                gradient[pairs.at(rows)] -= 1
                learn(gradient, rows, (a_ND, b_MD, scale), (grad_a, grad_b, grad_scale))
        loss = tied(loss_N.sum(), (a_ND, grad_a), (b_MD, grad_b), (scale, grad_scale))
        chance_N = pairs.candidates_N.log()
        return Compared(loss, loss_N, best.found(), chance_N)


def sigmoid(
    a_ND: Tensor,
    b_ND: Tensor,
    scale: Tensor,
    bias: Tensor,
    *,
    same_N: Tensor | None = None,
    among: Among = ALONE,
) -> Compared:
    """Yes or no of every row and column: sum of log(1 + exp(-z logit)) (Zhai et al. 2023).

    logit = scale cosine + bias; z is 1 where they belong together, and -1 elsewhere.

    Args:
        a_ND: one side of the pairs of this rank, of length 1.
        b_ND: the other side.
        scale: what a cosine is multiplied with, a scalar.
        bias: a scalar; it begins far below 0, since most pairs are no pairs.
        same_N: rows with an equal number are no negatives of each other.
        among: the ranks.
    """
    with full_precision(a_ND):
        a_ND, b_ND, scale, bias = widened(a_ND), widened(b_ND), widened(scale), widened(bias)
        b_MD = gathered(b_ND, among)
        pairs = Pairs(a_ND, b_MD, same_N=same_N, among=among)
        learning = learns(a_ND, b_MD, scale, bias)
        with torch.no_grad():
            best, loss_N = Best(pairs, a_ND), a_ND.new_zeros(len(a_ND))
            grad_a, grad_b, grad_scale = no_gradients(a_ND, b_MD, scale)
            grad_bias = torch.zeros_like(bias)
            for rows in pairs.chunks():
                logits = pairs.logits(a_ND, b_MD, scale, rows)
                own_C = best.see(logits, rows)
                logits += bias
                # softplus(-z logit) of what is hidden is 0, and so is its gradient
                logits[pairs.at(rows)] = -(own_C + bias)
                loss_N[rows] = F.softplus(logits).sum(1)
                if not learning:
                    continue
                gradient = logits.sigmoid_()
                gradient[pairs.at(rows)] *= -1
                grad_bias += gradient.sum()
                learn(gradient, rows, (a_ND, b_MD, scale), (grad_a, grad_b, grad_scale))
        loss = tied(
            loss_N.sum(), (a_ND, grad_a), (b_MD, grad_b), (scale, grad_scale), (bias, grad_bias)
        )
        # the best constant says 1 / candidates
        others_N = pairs.candidates_N - 1
        rarity_N = torch.log1p(1 / others_N.clamp_min(1))
        chance_N = pairs.candidates_N.log() + others_N * rarity_N
        return Compared(loss, loss_N, best.found(), chance_N)


def info_loob(
    a_ND: Tensor,
    b_ND: Tensor,
    inv_tau: Tensor,
    *,
    hopfield: float,
    factor: Tensor,
    same_N: Tensor | None = None,
    among: Among = ALONE,
) -> Compared:
    """InfoLOOB on what both sides retrieve from all stored ones (Fuerst et al. 2022).

    The pair itself is left out of what it is compared with ("leave one out"), so the loss has no
    lower bound and is often negative. A row with nothing to compare it with counts 0.

    Args:
        a_ND: one side of the pairs of this rank, of length 1.
        b_ND: the other side.
        inv_tau: what a cosine of retrieved vectors is multiplied with, a scalar.
        hopfield: the same in retrieval (beta).
        factor: of the sum of both sides: 1 / inv_tau as published, 1/2 as rinna wrote it.
        same_N: rows with an equal number are no negatives of each other.
        among: the ranks.
    """
    with full_precision(a_ND):
        a_ND, b_ND, inv_tau = widened(a_ND), widened(b_ND), widened(inv_tau)
        a_MD, b_MD = gathered(a_ND, among), gathered(b_ND, among)
        pairs = Pairs(a_ND, b_MD, same_N=same_N, among=among)
        loss, loss_N = a_ND.new_zeros(()), a_ND.new_zeros(len(a_ND))
        for stored_MD, first_ND, second_ND in ((a_MD, a_ND, b_ND), (b_MD, b_ND, a_ND)):
            anchor_ND = F.normalize(retrieve(first_ND, stored_MD, hopfield), dim=1)
            other_ND = F.normalize(retrieve(second_ND, stored_MD, hopfield), dim=1)
            one, rows_N = _left_out(anchor_ND, gathered(other_ND, among), inv_tau, pairs)
            loss, loss_N = loss + one, loss_N + rows_N
        with torch.no_grad():
            best = Best(pairs, a_ND)
            for rows in pairs.chunks():
                best.see(pairs.logits(a_ND, b_MD, torch.ones_like(inv_tau), rows), rows)
            chance_N = 2 * factor * (pairs.candidates_N - 1).clamp_min(1).log()
        return Compared(factor * loss, factor.detach() * loss_N, best.found(), chance_N)


def _left_out(u_ND: Tensor, v_MD: Tensor, inv_tau: Tensor, pairs: Pairs) -> tuple[Tensor, Tensor]:
    """Sum over N of -k_ii + log sum over j != i of exp(k_ij), k = inv_tau u v^T; and its rows."""
    learning = learns(u_ND, v_MD, inv_tau)
    with torch.no_grad():
        loss_N = u_ND.new_zeros(len(u_ND))
        grads = no_gradients(u_ND, v_MD, inv_tau)
        for rows in pairs.chunks():
            logits = pairs.logits(u_ND, v_MD, inv_tau, rows)
            own_C = logits[pairs.at(rows)]
            logits[pairs.at(rows)] = -math.inf
            total_C = logits.logsumexp(1)
            alone_C = total_C.isneginf()
            loss_N[rows] = (total_C - own_C).masked_fill(alone_C, 0)
            if not learning:
                continue
            gradient = logits.sub_(total_C.masked_fill(alone_C, 0)[:, None]).exp_()
            gradient[pairs.at(rows)] = alone_C.to(gradient.dtype) - 1
            learn(gradient, rows, (u_ND, v_MD, inv_tau), grads)
    loss = tied(loss_N.sum(), (u_ND, grads[0]), (v_MD, grads[1]), (inv_tau, grads[2]))
    return loss, loss_N


class _Retrieved(torch.autograd.Function):
    @staticmethod
    def forward(  # type: ignore[override]
        ctx: torch.autograd.function.FunctionCtx, state_ND: Tensor, stored_MD: Tensor, beta: float
    ) -> Tensor:
        found_ND, total_N = torch.empty_like(state_ND), state_ND.new_empty(len(state_ND))
        asked = any(ctx.needs_input_grad)  # pyright: ignore[reportAttributeAccessIssue]
        keeps, kept = asked and are_few(len(state_ND), len(stored_MD)), list[Tensor]()
        for rows in chunks(len(state_ND), len(stored_MD), on_gpu=state_ND.is_cuda):
            logits = (beta * state_ND[rows]) @ stored_MD.T
            total_N[rows] = logits.logsumexp(1)
            shares = logits.sub_(total_N[rows, None]).exp_()
            found_ND[rows] = shares @ stored_MD
            if keeps:
                kept.append(shares)
        ctx.save_for_backward(state_ND, stored_MD, found_ND, total_N, *kept)
        ctx.beta = beta  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue]
        return found_ND

    @staticmethod
    def backward(
        ctx: torch.autograd.function.FunctionCtx, *grad_outputs: Tensor
    ) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        (grad_ND,) = grad_outputs
        state_ND, stored_MD, found_ND, total_N, *kept = ctx.saved_tensors  # pyright: ignore[reportAttributeAccessIssue]
        beta: float = ctx.beta  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue]
        grad_state, grad_stored = torch.empty_like(state_ND), torch.zeros_like(stored_MD)
        with full_precision(state_ND):
            # sum over columns of share x d / d share (Dao et al. 2022)
            mean_N = torch.linalg.vecdot(grad_ND, found_ND)
            places = chunks(len(state_ND), len(stored_MD), on_gpu=state_ND.is_cuda)
            for place, rows in enumerate(places):
                scaled = beta * state_ND[rows]
                if kept:
                    shares = kept[place]
                else:
                    shares = (scaled @ stored_MD.T).sub_(total_N[rows, None]).exp_()
                grad_stored += shares.T @ grad_ND[rows]
                gradient = (grad_ND[rows] @ stored_MD.T).sub_(mean_N[rows, None]).mul_(shares)
                grad_state[rows] = beta * (gradient @ stored_MD)
                grad_stored += gradient.T @ scaled
        return grad_state, grad_stored, None


def retrieve(state_ND: Tensor, stored_MD: Tensor, beta: float) -> Tensor:
    """Hopfield retrieval: softmax(beta state stored^T) stored (Ramsauer et al. 2021).

    Its shares [N, M] are computed again for the backward pass, unless they are few.

    Args:
        state_ND: what asks.
        stored_MD: what is asked; the own row too, and rows of an equal meaning.
        beta: how sharply.
    """
    return _Retrieved.apply(state_ND, stored_MD, beta)  # type: ignore[no-any-return]


def _totals(
    a_ND: Tensor, b_MD: Tensor, scale: Tensor, pairs: Pairs, *, kept: list[Tensor] | None
) -> tuple[Tensor, Tensor, Best]:
    """Log of the sum of exp of each row [N] and of each column over all ranks [M].

    Args:
        a_ND: one side.
        b_MD: the other, of all ranks.
        scale: of cosines.
        pairs: of both.
        kept: where the logits of every chunk go; None forgets them.
    """
    best, rows_N = Best(pairs, a_ND), a_ND.new_empty(len(a_ND))
    # a finite floor: a column may be hidden from a whole chunk
    top_M = a_ND.new_full((len(b_MD),), torch.finfo(a_ND.dtype).min)
    sum_M = torch.zeros_like(top_M)
    for rows in pairs.chunks():
        logits = pairs.logits(a_ND, b_MD, scale, rows)
        own_C = best.see(logits, rows)
        if kept is not None:
            kept.append(logits.clone())
        rows_N[rows] = logits.logsumexp(1)
        higher_M = torch.maximum(top_M, best.column_M)
        columns = pairs.own_N[rows]
        higher_M[columns] = torch.maximum(higher_M[columns], own_C)
        sum_M *= (top_M - higher_M).exp_()
        sum_M += logits.sub_(higher_M).exp_().sum(0)
        top_M = higher_M
    highest_M = largest(top_M.clone(), pairs.among)
    sum_M *= (top_M - highest_M).exp_()
    return rows_N, highest_M + added(sum_M, pairs.among).log(), best
