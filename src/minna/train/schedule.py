"""The learning rate over a run, as a pure function of the step: nothing to save or to drift."""

from __future__ import annotations

import math
from typing import Annotated, Literal

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

_FORBID = ConfigDict(extra="forbid")
Fraction = Annotated[float, Field(ge=0, le=1)]


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


Schedule = Annotated[Cosine | Linear | StableDecay, Field(discriminator="kind")]
