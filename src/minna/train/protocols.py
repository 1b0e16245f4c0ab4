"""The seams of the loop: it knows these shapes and nothing else, no family, no metric, no task."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from minna.train.quality import Quality
from minna.train.ranks import Ranks

Batch = dict[str, Tensor]
Losses = tuple[dict[str, Tensor], dict[str, float]]


class Stream(Protocol):
    """Batches without end, deterministic from (seed, position)."""

    def __next__(self) -> Batch:
        """Return the next micro-batch of this rank."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """Return the position, as a few numbers."""
        ...

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go to a position."""
        ...

    def figures(self) -> dict[str, float]:
        """Return what the log shall know of where the last batches came from; usually nothing."""
        ...


class Objective(Protocol):
    """What is learned: an nn.Module that turns a batch into sums and counts."""

    splittable: bool

    def counts(self, batch: Batch) -> dict[str, int]:
        """Count what each term will be divided by, before any forward pass."""
        ...

    def prepare(self, model: Any, batches: list[Batch]) -> list[Batch]:
        """Do what needs the whole collected step first, in the arithmetic of forward passes."""
        ...

    def loss(self, model: Any, batch: Batch) -> Losses:
        """Return summed terms and figures to log."""
        ...

    def after_step(self, model: Any) -> None:
        """Update teachers, clamp temperatures."""
        ...

    def compile_pieces(self) -> None:
        """Compile what the objective computes itself."""
        ...

    def uncompile_pieces(self) -> None:
        """Take that back."""
        ...

    def named_parameters(self) -> Iterator[tuple[str, nn.Parameter]]:
        """Return what of the objective itself learns (a critic); usually nothing."""
        ...

    def state_dict(self) -> dict[str, Tensor]:
        """Return what the objective learned (teachers, codebooks)."""
        ...

    def load_state_dict(self, state_dict: dict[str, Tensor]) -> Any:
        """Load what `state_dict` returned."""
        ...

    def to(self, device: torch.device) -> Any:
        """Move to a device."""
        ...


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """What an evaluator found: numbers for curves, texts for the report."""

    figures: dict[str, float] = field(default_factory=dict)
    samples: list[dict[str, str]] = field(default_factory=list)


Evaluator = Callable[[nn.Module], Evaluation]


class LearningRate(Protocol):
    """A schedule: the factor on every peak rate at a step."""

    def scale(self, step: int, total: float) -> float:
        """Return the factor at `step` (from 0) of `total`."""
        ...


class Placement(Protocol):
    """Where the model of a run lives, and how its micro-batches run."""

    ranks: Ranks
    kind: str

    def losses(self, batch: Batch) -> Losses:
        """Run the objective on a micro-batch."""
        ...

    def backward_of(self, *, last: bool) -> AbstractContextManager[None]:
        """Return the context of a micro-batch; gradients meet at the latest after the last."""
        ...

    def looking(self) -> AbstractContextManager[None]:
        """Return the context in which the model is looked at along the way."""
        ...

    def compile(self) -> None:
        """Compile the model (the objective compiles its own pieces)."""
        ...

    def uncompile(self) -> None:
        """Take that back."""
        ...


@dataclass(frozen=True, kw_only=True)
class Parts:
    """Everything the loop runs on, put together by the recipe.

    Attributes:
        placement: how the ranks of the run share the model (`parallel.py`).
        weights: weight of each term of the objective in the loss.
        flops_per_token: of forward and backward.
        quality: what a loss means, as figures: bits per byte, perplexity, or nothing.
        told: figures that the line of progress shows.
        frozen: names of parameters that must not change.
        kept: names of what a checkpoint holds of the model; None is all of it. The rest comes from
            where it first came from.
    """

    model: nn.Module
    objective: Objective
    placement: Placement
    stream: Stream
    optimisers: Sequence[torch.optim.Optimizer]
    schedule: LearningRate
    clip: float
    evaluators: Sequence[Evaluator]
    weights: dict[str, float]
    micro_batch_tokens: int
    accumulation: int
    flops_per_token: int
    quality: Quality
    told: Sequence[str] = ()
    frozen: Sequence[str] = ()
    kept: Sequence[str] | None = None
