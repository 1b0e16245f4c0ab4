"""One update of the weights: collect, count, forward and backward, clip, step.

The objective returns sums; only here are they divided, by counts taken over the whole step before
the first forward pass. So 1 micro-batch of 8 rows and 8 of 1 give the same update, whatever is
masked in each, which a mean of means does not (tests/train/test_invariants.py).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass

import torch
from torch import nn

from minna.errors import TrainingError
from minna.train.parallel import whole
from minna.train.protocols import Batch, Objective, Parts
from minna.train.state import learning


@dataclass(frozen=True, kw_only=True)
class StepResult:
    """Figures of one update: mean loss (nats per item), gradient norm, learning-rate factor."""

    loss: float
    figures: dict[str, float]
    gradient_norm: float
    lr_scale: float


def take_step(
    parts: Parts, *, step: int, total: float, autocast: AbstractContextManager[None]
) -> StepResult:
    """Do update number `step` (from 0) of `total`.

    Raises:
        TrainingError: the loss or the gradient is not finite; the weights are then those of before.
    """
    model, objective, placement = parts.model, parts.objective, parts.placement
    ranks = placement.ranks
    device = next(model.parameters()).device
    batches = [next(parts.stream) for _ in range(parts.accumulation)]
    counts = _counts(parts, batches, step=step)
    batches = [to_device(batch, device) for batch in batches]
    with autocast:
        batches = objective.prepare(model, batches)
    summed: list[tuple[str, torch.Tensor]] = []
    figures: Counter[str] = Counter()
    for number, batch in enumerate(batches, start=1):
        with placement.backward_of(last=number == len(batches)):
            with autocast:
                sums, logged = placement.losses(batch)
                loss = sum(parts.weights[name] * sums[name] / counts[name] for name in sums)
            assert isinstance(loss, torch.Tensor), "an objective returns at least one term"
            # gradients are averaged over ranks, and the counts are those of all ranks already
            (loss * ranks.count if ranks.count > 1 else loss).backward()
        summed += [(name, value.detach()) for name, value in sums.items()]
        figures.update(logged)
    for parameter in _still(objective, model):
        parameter.grad = None
    gradient = whole(nn.utils.clip_grad_norm_([p for _, p in learning(parts)], parts.clip))
    # The one wait for a GPU in a step: read sooner, each micro-batch would wait for the one before.
    *read, norm = torch.stack([*(value for _, value in summed), gradient]).tolist()
    terms = dict.fromkeys(parts.weights, 0.0)
    for (name, _), value in zip(summed, read, strict=True):
        terms[name] += value / counts[name]
    totals = ranks.sum([*terms.values(), *figures.values()])
    terms = dict(zip(terms, totals, strict=False))
    figures = Counter(dict(zip(figures, totals[len(terms) :], strict=True)))
    value = sum(parts.weights[name] * term for name, term in terms.items())
    _refuse_nonfinite(value, norm, step=step)
    if len(terms) > 1:
        figures.update(terms)
    scale = parts.schedule.scale(step, total)
    for optimiser in parts.optimisers:
        for group in optimiser.param_groups:
            group["lr"] = group["peak_lr"] * scale
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
    objective.after_step(model)
    return StepResult(loss=value, figures=dict(figures), gradient_norm=norm, lr_scale=scale)


def _still(objective: Objective, model: nn.Module) -> Iterable[nn.Parameter]:
    """Return what shall stand still in this step: optimisers pass over what has no gradient.

    Ranks that wait for each other's gradients need one of every parameter, if only zeros, and
    zeros would still move it (decay, moments).
    """
    still: Callable[[nn.Module], Iterable[nn.Parameter]] | None
    still = getattr(objective, "still", None)
    return () if still is None else still(model)


def _counts(parts: Parts, batches: list[Batch], *, step: int) -> dict[str, float]:
    """Count what each term of the loss is divided by, over all micro-batches and ranks.

    Raises:
        TrainingError: there is nothing of a term.
    """
    own: Counter[str] = Counter()
    for batch in batches:
        own.update(parts.objective.counts(batch))
    names = list(parts.weights)
    counts = dict(zip(names, parts.placement.ranks.sum([own[name] for name in names]), strict=True))
    for name, weight in parts.weights.items():
        if weight and not counts[name]:
            raise TrainingError(
                f"step {step + 1} has nothing to learn: its {len(batches)} micro-batches count no "
                f"{name}",
                remedy="look at the corpus and at the stream's masking",
            )
    return {name: count or 1.0 for name, count in counts.items()}  # of what is only logged


def to_device(batch: Batch, device: torch.device) -> Batch:
    """Move a batch (a no-op on CPU); to a GPU from pinned memory, so that nobody waits for it."""
    if device.type == "cuda":
        batch = {  # experience is there already
            name: tensor if tensor.is_cuda else tensor.pin_memory()
            for name, tensor in batch.items()
        }
    return {name: tensor.to(device, non_blocking=True) for name, tensor in batch.items()}


def _refuse_nonfinite(value: float, norm: float, *, step: int) -> None:
    if math.isfinite(value) and math.isfinite(norm):
        return
    what = f"the loss is {value}" if not math.isfinite(value) else f"the gradient norm is {norm}"
    raise TrainingError(
        f"{what} at step {step + 1}; training stopped before that update",
        remedy="the last checkpoint is good; start again in another --out with a lower optim.lr or "
        "a longer schedule.warmup, or look at the data of that step",
    )
