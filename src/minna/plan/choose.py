"""The plan of a recipe on so many devices: every way estimated, and the fastest that fits chosen.

Of ways that take about as long as the fastest (5 % more at most: no plan is surer) the simplest
wins: copies before parts, keeping all before computing again, the recipe's own rows before others.
What a recipe asks for by name (a sharding, a checkpointing) is kept to where that fits.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from minna.errors import UsageError
from minna.plan.anatomy import Anatomy, anatomy
from minna.plan.devices import Device
from minna.plan.formulas import (
    CHECKPOINTINGS,
    PLACEMENTS,
    USABLE,
    Memory,
    Seconds,
    Way,
    Work,
    memory,
    seconds,
    traffic,
)
from minna.recipe.schema import Recipe
from minna.recipe.tuning import kind_of

_MOST_GPUS = 4096  # looked at for "would fit on"
_HOUR = 3600
_ABOUT = 1.05  # times as long is as long
_BF16_PAYS = 1.25  # the rule of train/precision.py


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """One way of doing a step: what it takes."""

    way: Way
    micro_batches: int
    memory: Memory
    fits: bool
    traffic: int
    seconds: Seconds
    tokens_per_second: float


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a recipe needs on so many devices of a kind.

    Attributes:
        work: a step's; its tokens are the recipe's, or the nearest number that whole rows on
            every rank make up.
        ways: every sharding and checkpointing, at the recipe's own rows of a micro-batch (or the
            most below them that divide a step).
        chosen: the fastest way that fits, with rows of its own; None where none does.
        steps: updates of the run; where minutes end it, as many as fit in them.
        least_bytes: of the way that needs the least, whatever its rows and time.
        would_fit: where none fits: the fewest devices of this kind on which one does, or None.
    """

    recipe: Recipe
    device: Device
    anatomy: Anatomy
    work: Work
    ways: tuple[Estimate, ...]
    chosen: Estimate | None
    least_bytes: int
    would_fit: int | None
    price: float | None

    @property
    def rounded(self) -> bool:
        """Whether the tokens of a step had to be others than the recipe's."""
        return self.work.step_tokens != self.recipe.train.tokens_per_step

    @property
    def usable_bytes(self) -> float:
        """Memory of a device that a plan may fill."""
        return USABLE * 1e9 * self.device.memory_gb

    @property
    def steps(self) -> int | None:
        """Updates of the run; None where no way fits and minutes end it."""
        budget = self.recipe.train.budget
        if budget.seconds is None:
            return budget.steps
        if self.chosen is None:
            return None
        return min(budget.steps, int(budget.seconds / self.chosen.seconds.step))

    @property
    def run_seconds(self) -> float | None:
        """Time of all steps; None where no way fits."""
        if self.chosen is None or self.steps is None:
            return None
        return self.steps * self.chosen.seconds.step

    @property
    def cost(self) -> float | None:
        """Price of the run; None without a price or a way that fits."""
        if self.price is None or self.run_seconds is None:
            return None
        return self.price * self.work.ranks * self.run_seconds / _HOUR


def plan(
    recipe: Recipe,
    *,
    gpus: int,
    device: Device,
    price: float | None = None,
    vocab: int | None = None,
    precision: Literal["bf16", "fp32"] | None = None,
) -> Plan:
    """Plan a recipe.

    Args:
        recipe: from `recipe.load`.
        gpus: devices, one rank each.
        device: from `devices.find`.
        price: of one device for an hour.
        vocab: words of the tokenizer; the recipe's if None.
        precision: of the products; as the recipe says, or where it says "auto" the faster.

    Raises:
        UsageError: no devices, or a negative price.
    """
    if gpus < 1:
        raise UsageError(f"--gpus must be at least 1, not {gpus}", remedy="give --gpus 1 or more")
    if price is not None and not price >= 0:
        raise UsageError(f"--price must not be below 0, and is {price}", remedy="give a price")
    model = anatomy(recipe, vocab=recipe.tokenizer.vocab_size if vocab is None else vocab)
    work = _work(recipe, gpus=gpus, precision=precision or _precision(recipe, device))
    every = [estimate(model, work=work, device=device, way=way) for way in _ways(recipe, work)]
    own = own_rows(work, wanted=recipe.train.micro_batch_rows)
    fitting = [each for each in every if each.fits]
    asked = [each for each in fitting if _as_asked(recipe, each.way)]
    chosen = _simplest_of_the_fastest(asked or fitting, own=own)
    would_fit = None if chosen else _more(recipe, model, work=work, device=device)
    return Plan(
        recipe=recipe,
        device=device,
        anatomy=model,
        work=work,
        ways=tuple(each for each in every if each.way.rows == own),
        chosen=chosen,
        least_bytes=min(each.memory.total for each in every),
        would_fit=would_fit,
        price=price,
    )


def estimate(a: Anatomy, *, work: Work, device: Device, way: Way) -> Estimate:
    """Bytes and seconds of one way."""
    needs = memory(a, work=work, way=way, device=device)
    takes = seconds(a, work=work, way=way, device=device)
    return Estimate(
        way=way,
        micro_batches=work.micro_batches(way.rows),
        memory=needs,
        fits=needs.total <= USABLE * 1e9 * device.memory_gb,
        traffic=traffic(a, work=work, way=way),
        seconds=takes,
        tokens_per_second=work.step_tokens / takes.step,
    )


def own_rows(work: Work, *, wanted: int) -> int:
    """Return the most rows of a micro-batch, up to those wanted, that divide a rank's step."""
    return max(rows for rows in _divisors(work) if rows <= wanted)


def _divisors(work: Work) -> list[int]:
    """Rows of a micro-batch that make up a rank's step without remainder."""
    rows = work.step_tokens // (work.row_tokens * work.ranks)
    return [n for n in range(1, rows + 1) if rows % n == 0]


def _work(recipe: Recipe, *, gpus: int, precision: Literal["bf16", "fp32"]) -> Work:
    row, wanted = recipe.stream.row_tokens, recipe.train.tokens_per_step
    return Work(
        ranks=gpus,
        step_tokens=max(1, round(wanted / (row * gpus))) * row * gpus,
        row_tokens=row,
        precision=precision,
        compile="on" if kind_of(recipe).compiles and recipe.train.compile != "off" else "off",
    )


def _precision(recipe: Recipe, device: Device) -> Literal["bf16", "fp32"]:
    if recipe.train.precision != "auto":
        return recipe.train.precision
    return "bf16" if device.bf16_tflops > _BF16_PAYS * device.fp32_tflops else "fp32"


def _ways(recipe: Recipe, work: Work) -> list[Way]:
    """Every way, the simplest first; one device alone has nobody to share with.

    Answers are drawn from a whole model, so what learns from them is never divided.
    """
    divisible = work.ranks > 1 and recipe.stream.kind != "experience"
    return [
        Way(sharding=sharding, checkpointing=checkpointing, rows=number)
        for sharding in PLACEMENTS
        if sharding == "replicate" or divisible
        for checkpointing in CHECKPOINTINGS
        for number in _divisors(work)
    ]


def _as_asked(recipe: Recipe, way: Way) -> bool:
    """Whether a way is what the recipe says, where it says something."""
    train = recipe.train
    return train.sharding in ("auto", way.sharding) and train.checkpointing in (
        "none",
        way.checkpointing,
    )


def _simplest_of_the_fastest(fitting: list[Estimate], *, own: int) -> Estimate | None:
    if not fitting:
        return None
    limit = _ABOUT * min(each.seconds.step for each in fitting)

    def effort(each: Estimate) -> tuple[float, ...]:
        way = each.way
        return (
            PLACEMENTS.index(way.sharding),
            CHECKPOINTINGS.index(way.checkpointing),
            abs(math.log(way.rows / own)),
        )

    return min((each for each in fitting if each.seconds.step <= limit), key=effort)


def _more(recipe: Recipe, a: Anatomy, *, work: Work, device: Device) -> int | None:
    """On how many devices of this kind the model fits, counted in doublings."""
    gpus = work.ranks
    while gpus < _MOST_GPUS:
        gpus *= 2
        more = _work(recipe, gpus=gpus, precision=work.precision)
        ways = _ways(recipe, more)
        if any(estimate(a, work=more, device=device, way=way).fits for way in ways):
            return gpus
    return None
