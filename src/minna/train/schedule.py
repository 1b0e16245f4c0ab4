"""The learning rate over a run, as a pure function of the step: nothing to save or to drift."""

from __future__ import annotations

import math
from dataclasses import dataclass as plain_dataclass
from typing import Annotated, Literal

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

_FORBID = ConfigDict(extra="forbid")
Fraction = Annotated[float, Field(ge=0, le=1)]
_BEGIN = 0.01


@dataclass(frozen=True, kw_only=True, config=_FORBID)
class Cosine:
    """Linear warm-up, then half a cosine down to `floor` (Loshchilov and Hutter 2017)."""

    kind: Literal["cosine"] = "cosine"
    warmup: int = Field(default=0, ge=0)
    floor: Fraction = 0.1

    def scale(self, step: int, total: float) -> float:
        """Return the factor on the peak rate at `step` (from 0) of `total`."""
        if step < self.warmup:
            return (step + 1) / self.warmup
        done = (step - self.warmup) / max(1, total - self.warmup)
        return self.floor + (1 - self.floor) * 0.5 * (1 + math.cos(math.pi * min(1.0, done)))


@dataclass(frozen=True, kw_only=True, config=_FORBID)
class Linear:
    """Linear warm-up, then linear decay to `floor`, as rinna trained its GPT-2 models."""

    kind: Literal["linear"] = "linear"
    warmup: int = Field(default=0, ge=0)
    floor: Fraction = 0.0

    def scale(self, step: int, total: float) -> float:
        """Return the factor on the peak rate at `step` (from 0) of `total`."""
        if step < self.warmup:
            return (step + 1) / self.warmup
        done = (step - self.warmup) / max(1, total - self.warmup)
        return 1 - (1 - self.floor) * min(1.0, done)


@dataclass(frozen=True, kw_only=True, config=_FORBID)
class StableDecay:
    """Warm-up, flat, then linear down over the last `decay` of the run (Hu et al. 2024, MiniCPM).

    The flat part does not know where the run ends: a checkpoint from it can be prolonged.
    """

    kind: Literal["stable_decay"] = "stable_decay"
    warmup: int = Field(default=0, ge=0)
    decay: Fraction = 0.5
    floor: Fraction = 0.0

    def scale(self, step: int, total: float) -> float:
        """Return the factor on the peak rate at `step` (from 0) of `total`."""
        if step < self.warmup:
            return (step + 1) / self.warmup
        left = (total - step) / max(1.0, self.decay * total)
        return self.floor + (1 - self.floor) * min(1.0, left)


@dataclass(frozen=True, kw_only=True, config=_FORBID)
class TriStage:
    """Up, flat, and exponentially down to `floor`, in shares of the run, as fairseq tunes speech.

    It begins at a hundredth of the peak (Baevski et al. 2020, section 4.3; fairseq's tri_stage).

    Attributes:
        warmup, decay: shares of the run; the rest, between them, is flat.
        floor: at the end, above 0.
    """

    kind: Literal["tri_stage"] = "tri_stage"
    warmup: Fraction = 0.1
    decay: Fraction = 0.5
    floor: float = Field(default=0.05, gt=0, le=1)

    def __post_init__(self) -> None:
        """Check that up and down fit into a run."""
        if self.warmup + self.decay > 1 + 1e-9:
            raise ValueError(f"warmup {self.warmup} and decay {self.decay} are more than a run")

    def scale(self, step: int, total: float) -> float:
        """Return the factor on the peak rate at `step` (from 0) of `total`."""
        up, down = self.warmup * total, self.decay * total
        if step < up:
            return _BEGIN + (1 - _BEGIN) * step / up
        done = (step - (total - down)) / max(1.0, down)
        return self.floor ** min(1.0, max(0.0, done))


Schedule = Annotated[Cosine | Linear | StableDecay | TriStage, Field(discriminator="kind")]


@plain_dataclass(frozen=True, kw_only=True)
class Ahead:
    """Steps at one rate before a schedule begins, as if the run began with it.

    Attributes:
        steps: how many.
        factor: on the peak rate.
        then: what follows.
    """

    steps: int
    factor: float
    then: Cosine | Linear | StableDecay | TriStage

    def scale(self, step: int, total: float) -> float:
        """Return the factor on the peak rate at `step` (from 0) of `total`."""
        if step < self.steps:
            return self.factor
        return self.then.scale(step - self.steps, total - self.steps)
