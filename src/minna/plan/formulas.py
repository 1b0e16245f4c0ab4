"""Bytes, traffic and seconds of a training step, from shapes alone.

Every formula is the arithmetic of what the loop does (train/step.py, train/parallel.py,
objectives/linear_cross_entropy.py); docs/plan.md prints what they predict beside what was measured.

N ranks, T tokens of a micro-batch on one rank, D width, V vocabulary, P parameters.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import Literal

from minna.models.checkpointing import Checkpointing
from minna.objectives.linear_cross_entropy import CHUNK_TOKENS, GPU_CHUNK_TOKENS
from minna.plan.anatomy import Anatomy
from minna.plan.devices import Device

Placement = Literal["replicate", "shard"]
PLACEMENTS: tuple[Placement, ...] = ("replicate", "shard")
CHECKPOINTINGS: tuple[Checkpointing, ...] = ("none", "selective", "full")

_FP32 = 4
# Of a device's memory that a plan may fill: driver, libraries, buffers of NCCL and what the
# allocator cannot use for its pieces take the rest. Our allowance.
USABLE = 0.9
# Of a published link that NCCL reaches in large messages: an assumption, and a usual figure.
LINK_SHARE = 0.8


@dataclass(frozen=True, kw_only=True)
class Way:
    """How a step is done: who holds what, what is kept, how many rows at once."""

    sharding: Placement
    checkpointing: Checkpointing
    rows: int


@dataclass(frozen=True, kw_only=True)
class Work:
    """What a step has to do, whatever the way.

    Attributes:
        ranks: how many share it.
        step_tokens: of one update, over all ranks.
        row_tokens: of one row.
        precision: of the products.
        compile: whether the compiler fuses what stands between products.
    """

    ranks: int
    step_tokens: int
    row_tokens: int
    precision: Literal["bf16", "fp32"]
    compile: Literal["on", "off"] = "on"

    @property
    def product_bytes(self) -> int:
        """Bytes of a number that enters a matrix product."""
        return 2 if self.precision == "bf16" else _FP32

    def micro_batches(self, rows: int) -> int:
        """Forward passes of a rank in a step."""
        return max(1, self.step_tokens // (rows * self.row_tokens * self.ranks))


@dataclass(frozen=True, kw_only=True)
class Memory:
    """Bytes of one rank at the fullest moment of a step.

    Attributes:
        weights, gradients, optimiser: what the rank holds of them, fp32; other networks of tuning
            (reference, critic, reward model) with the weights.
        activations: what the units keep for the backward pass, and in it what one of them has
            computed again.
        loss: logits of a chunk, gradients of the head and of its input.
        workspace: copies in the type of the products, what is gathered and not yet reduced.
    """

    weights: int
    gradients: int = 0
    optimiser: int
    activations: int = 0
    loss: int = 0
    workspace: int = 0

    @property
    def total(self) -> int:
        """All of it."""
        return sum(vars(self).values())


PARTS = tuple(field.name for field in fields(Memory))


def memory(a: Anatomy, *, work: Work, way: Way, device: Device) -> Memory:
    """Bytes of one rank: weights and state, and the fullest of three moments of a step.

    The loss (all activations, a chunk of logits), the beginning of the backward pass (all
    activations, a unit at work), and its end (all gradients, if they were not there before).
    """
    share = work.ranks if way.sharding == "shard" else 1
    tokens, c = way.rows * work.row_tokens, work.product_bytes
    fixed = {
        "weights": math.ceil(a.stored / share) + a.beside,
        "optimiser": _FP32 * math.ceil(a.state_numbers / share),
    }
    gradients = _FP32 * math.ceil(a.learning / share)
    # several micro-batches add to gradients; copies keep them in buckets for the traffic
    buckets = way.sharding == "replicate" and work.ranks > 1
    standing = gradients if buckets or work.micro_batches(way.rows) > 1 else 0
    # a model compiled as one gives all gradients of a micro-batch at once, beside those that stand
    added = standing if way.sharding == "replicate" and work.compile == "on" else 0
    head, stream = a.vocab * a.width, _FP32 * tokens * a.width
    chunk = min(tokens, CHUNK_TOKENS if device.key == "cpu" else GPU_CHUNK_TOKENS)
    # bytes of a logit and its gradient; not fused, four fp32 steps between them live at once
    logit = 2 * c + (0 if work.compile == "on" else 4 * _FP32)
    activations = kept(a, tokens=tokens, checkpointing=way.checkpointing, product_bytes=c)
    copies = c * a.units * a.unit_matrices if _copies(a, way, c) else 0
    if a.base == "nf4":  # one matrix at a time, as its numbers in bf16
        copies = 2 * a.largest
    gradient = 0 if a.base else _FP32 * head
    # the head in the type of the products, and its gradient in that type
    cast = (c * head if a.base == "fp32" else 0) if a.base else 2 * c * head
    gathered = _Gathered.of(a, way=way, c=c)
    moments = (
        Memory(
            **fixed,
            gradients=standing,
            activations=activations,
            # hidden states and their gradient; logits and theirs; the head
            loss=2 * stream + logit * chunk * a.vocab + cast + gradient,
            workspace=copies + gathered.around,
        ),
        Memory(
            **fixed,
            gradients=standing,
            activations=activations + tokens * again_per_token(a, way.checkpointing, c),
            loss=stream + gradient,
            # gradients on their way: of the stream, and of the widest thing in a unit
            workspace=copies + stream + c * tokens * a.widest + gathered.backward,
        ),
        Memory(**fixed, gradients=gradients + added, workspace=gathered.end),
    )
    return max(moments, key=lambda moment: moment.total)


def _copies(a: Anatomy, way: Way, c: int) -> bool:
    """Whether weights in the type of the products are kept: what is computed again casts again."""
    return (
        a.base in (None, "fp32")
        and c < _FP32
        and way.sharding == "replicate"
        and way.checkpointing == "none"
    )


@dataclass(frozen=True, kw_only=True)
class _Gathered:
    """What parts take beside a rank's own share, at three moments (bytes)."""

    around: int = 0
    backward: int = 0
    end: int = 0

    @classmethod
    def of(cls, a: Anatomy, *, way: Way, c: int) -> _Gathered:
        """Parts gather what surrounds the units for a whole micro-batch, units one by one."""
        if way.sharding == "replicate":
            return cls()
        around = _FP32 * a.around
        return cls(
            around=around,
            # two units gathered (the next one travels), gradients of one as computed and in fp32
            backward=around + (3 * c + _FP32) * a.unit,
            # gradients of what surrounds them, and the copy that is reduced
            end=3 * around,
        )


def kept(a: Anatomy, *, tokens: int, checkpointing: Checkpointing, product_bytes: int) -> int:
    """Bytes of activations at the end of a forward pass: all units, and the last norm's input.

    Of speech also what its convolutions keep, whatever `checkpointing` says.

    That is kept in the type of the products where the sum that it is can be done again.
    """
    last = product_bytes if checkpointing == "none" else _FP32
    unit = kept_per_token(a, checkpointing, product_bytes)
    front = product_bytes * a.front
    return tokens * (a.units * unit + last * a.width + front)


def kept_per_token(a: Anatomy, how: Checkpointing, c: int) -> int:
    """Bytes that one unit keeps of a token for the backward pass.

    Found by listing what a compiled model saves (torch 2.13), the same for GPT-2, GPT-NeoX and
    Qwen3 shapes. `full` is the stream alone, fp32. `selective` is what matrices put out but the
    last (which nobody needs again), attention and its statistics. `none` is the stream twice, what
    enters each matrix, what the matrices that leave the stream put out, queries and keys again
    where they are turned, and one matrix's output into the stream.
    """
    stream = _FP32 * a.width
    if how == "full":
        return stream
    adapted = c * a.adapted
    statistics = _FP32 * a.heads
    if how == "selective":
        return stream + c * (a.outputs - a.width + a.attention) + statistics + adapted
    numbers = a.inputs + a.outputs_off_stream + a.rotated + a.width
    return 2 * stream + c * numbers + statistics + adapted


def again_per_token(a: Anatomy, how: Checkpointing, c: int) -> int:
    """Bytes of what one unit computes again of a token in the backward pass."""
    if how == "none":
        return 0
    # the unit's own input is there already
    return kept_per_token(a, "none", c) - kept_per_token(a, how, c)


def traffic(a: Anatomy, *, work: Work, way: Way) -> int:
    """Bytes that a rank sends in a step (and as many that it receives).

    Copies: a ring all-reduce of the fp32 gradients, once. Parts: in every micro-batch units are
    gathered twice in the type of the products and what surrounds them once in fp32, and all
    gradients are reduced and scattered in fp32.
    """
    if work.ranks == 1:
        return 0
    others = (work.ranks - 1) / work.ranks
    if way.sharding == "replicate":
        return round(2 * others * _FP32 * a.learning)
    inside = a.parameters - a.around  # adapters too lie inside
    once = 2 * work.product_bytes * inside + _FP32 * a.around + _FP32 * a.learning
    return round(others * once * work.micro_batches(way.rows))


@dataclass(frozen=True, kw_only=True)
class Seconds:
    """Seconds of one step.

    Attributes:
        products: matrix products and attention, at the share of the peak that is expected.
        optimiser: reading and writing weights, gradients and state once.
        traffic: on the wire, hidden or not.
        waiting: of the traffic, what no products hide.
    """

    products: float
    optimiser: float
    traffic: float
    waiting: float

    @property
    def step(self) -> float:
        """All that does not overlap."""
        return self.products + self.optimiser + self.waiting


def seconds(a: Anatomy, *, work: Work, way: Way, device: Device) -> Seconds:
    """Roofline of a step: products at a share of the peak, bytes at the speed of the wire.

    Copies exchange gradients while the last micro-batch's backward pass (two thirds of it) goes
    on; parts travel beside all products. What is longer than that is waited for.
    """
    flops = a.flops + (a.forward if way.checkpointing == "full" else 0)
    own_tokens = work.step_tokens / work.ranks
    products = own_tokens * flops / (device.peak(work.precision) * device.share)
    share = work.ranks if way.sharding == "shard" else 1
    # clipping reads the gradient, and reads and writes it again; then all is read, all but the
    # gradient written
    numbers = (6 * a.learning + 2 * a.state_numbers) / share
    wire = traffic(a, work=work, way=way) / (LINK_SHARE * device.wire(work.ranks))
    hidden = products
    if way.sharding == "replicate":
        hidden = products / work.micro_batches(way.rows) * 2 / 3
    return Seconds(
        products=products,
        optimiser=_FP32 * numbers / (1e9 * device.bandwidth_gbs),
        traffic=wire,
        waiting=max(0.0, wire - hidden),
    )
