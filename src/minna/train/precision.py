"""Which arithmetic this machine does fast, found by measuring it, and the switches that follow.

bf16 with fp32 master weights trains as fp32 does (8.5011 against 8.5005 after five steps from the
same weights, docs/benchmarks.md) and is several times faster where the processor has matrix units
for it (AMX) or pairs of bf16 products (Zen 4), but slower than fp32 elsewhere, so flags are not
asked: two small products are timed. The same figure is the machine's peak that a run's speed is
reported against.
"""

from __future__ import annotations

import contextlib
import importlib.util
import time
from collections.abc import Generator
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from torch import nn

from minna.console import warn
from minna.errors import UsageError
from minna.native import attention
from minna.train.protocols import Batch, Parts
from minna.train.ranks import Ranks

Precision = Literal["auto", "bf16", "fp32"]
Compile = Literal["auto", "on", "off"]
Device = Literal["auto", "cpu", "cuda", "mps"]

_PROBE_SHAPES = {
    "cpu": ((1024, 1024, 1024), (4096, 384, 1152)),
    "cuda": ((8192, 8192, 8192),),
    "mps": ((2048, 2048, 2048),),
}
_PROBE_LAUNCHES = 4  # between two waits for the device
_PROBE_SECONDS = 0.15
_BF16_PAYS = 1.25


@dataclass(frozen=True, kw_only=True)
class Numerics:
    """What was decided for a run: device, arithmetic, compiler, and the measured matrix peak.

    Attributes:
        peak: FLOP/s of the best of a few matrix products in this precision.
        kernels: our own where a model has a use for them, or torch's alone (as all runs before
            there were any).
    """

    device: str
    precision: Literal["bf16", "fp32"]
    compile: Literal["on", "off"]
    peak: float
    kernels: Literal["native", "torch"] = "torch"

    def autocast(self) -> AbstractContextManager[None]:
        """Return the context in which forward passes run."""
        if self.precision == "fp32":
            return contextlib.nullcontext()
        return torch.autocast(self.device, dtype=torch.bfloat16)  # type: ignore[return-value]


def decide(*, device: Device, precision: Precision, compile_: Compile) -> Numerics:
    """Settle every "auto" by looking at and timing this machine.

    Raises:
        UsageError: a device was asked for that is not there.
    """
    name = pick_device(device)
    speeds = {"fp32": matrix_peak(name, torch.float32)}
    if name != "mps" or precision == "bf16":
        speeds["bf16"] = matrix_peak(name, torch.bfloat16)
    if precision == "auto":
        pays = speeds.get("bf16", 0.0) > _BF16_PAYS * speeds["fp32"]
        precision = "bf16" if pays else "fp32"
    if compile_ == "auto":
        compile_ = "on" if name in ("cpu", "cuda") and compiler_found(name) else "off"
    return Numerics(
        device=name,
        precision=precision,
        compile=compile_,
        peak=speeds[precision],
        kernels="native" if _has_kernels(name, precision) else "torch",
    )


def keep(before: dict[str, Any]) -> Numerics:
    """Return the arithmetic that a checkpoint names, as far as this machine has it.

    Raises:
        UsageError: its device is not there.
    """
    numerics = Numerics(**before)
    pick_device(numerics.device)
    if numerics.kernels == "native" and not _has_kernels(numerics.device, numerics.precision):
        warn(
            "this run was trained with our own kernels, which cannot be had now; it goes on with "
            "torch's (slower, the same numbers within rounding)"
        )
        return replace(numerics, kernels="torch")
    return numerics


def agreed(numerics: Numerics, *, ranks: Ranks) -> Numerics:
    """Return what every rank can do: one may have been busier when it was measured, or lack a tool.

    Different arithmetic on different ranks would be no error, and no run that anyone can repeat.
    """
    (slow, eager, foreign) = ranks.largest(
        [
            float(numerics.precision == "fp32"),
            float(numerics.compile == "off"),
            float(numerics.kernels == "torch"),
        ]
    )
    (peaks,) = ranks.sum([numerics.peak])
    return replace(
        numerics,
        precision="fp32" if slow else "bf16",
        compile="off" if eager else "on",
        kernels="torch" if foreign else "native",
        peak=peaks / ranks.count,
    )


def _has_kernels(device: str, precision: Literal["bf16", "fp32"]) -> bool:
    # fp32 in any case: looks along the way run without autocast
    kinds = {torch.float32, torch.bfloat16 if precision == "bf16" else torch.float32}
    return device == "cpu" and all(attention.ready(kind) for kind in kinds)


def pick_device(device: str) -> str:
    """Return the device to use.

    Raises:
        UsageError: it is not there.
    """
    there = {
        "cpu": True,
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
    }
    if device == "auto":
        return next(name for name in ("cuda", "mps", "cpu") if there[name])
    if not there[device]:
        raise UsageError(
            f"train.device is {device}, and torch sees none here",
            remedy="leave train.device at auto, or install a torch build for it",
        )
    return device


def matrix_peak(device: str, dtype: torch.dtype) -> float:
    """Return the FLOP/s of the fastest of a few matrix products (0.3 s in all)."""
    best = 0.0
    for rows, inner, columns in _PROBE_SHAPES[device]:
        left = torch.ones(rows, inner, dtype=dtype, device=device)
        right = torch.ones(columns, inner, dtype=dtype, device=device)
        nn.functional.linear(left, right)
        _wait(device)
        start, done = time.perf_counter(), 0
        while time.perf_counter() - start < _PROBE_SECONDS:
            for _ in range(_PROBE_LAUNCHES):
                nn.functional.linear(left, right)
            _wait(device)
            done += _PROBE_LAUNCHES
        flops = 2 * rows * inner * columns * done / (time.perf_counter() - start)
        best = max(best, flops)
    return best


def _wait(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()
    elif device == "mps":
        torch.mps.synchronize()


def compiler_found(device: str) -> bool:
    """Whether torch.compile has what it needs here (a C++ compiler on CPU; Triton on CUDA)."""
    if device == "cuda":
        return importlib.util.find_spec("triton") is not None
    from torch._inductor import cpp_builder, exc

    try:
        cpp_builder.get_cpp_compiler()
    except (exc.InvalidCxxCompiler, RuntimeError, OSError):
        return False
    return True


def compile_or_fall_back(
    parts: Parts, *, example: Batch, numerics: Numerics
) -> Literal["on", "off"]:
    """Compile model and objective and try them on one batch; go on in eager mode when that fails.

    The trial leaves no trace: gradients are dropped and the random state is put back.

    Returns:
        What was settled on.
    """
    if numerics.compile == "off":
        return "off"
    objective = parts.objective
    try:
        parts.placement.compile()
        objective.compile_pieces()
        _trial(parts, example, numerics)
    except Exception as error:  # noqa: BLE001 - whatever the compiler trips over, eager still works
        warn(
            "torch.compile failed, so this run goes on without it (slower, same numbers): "
            f"{type(error).__name__}: {(str(error).splitlines() or ['no message'])[0]}"
        )
        parts.placement.uncompile()
        objective.uncompile_pieces()
        return "off"
    return "on"


def _trial(parts: Parts, example: Batch, numerics: Numerics) -> None:
    state = random_state()
    try:
        with numerics.autocast():
            sums, _ = parts.placement.losses(example)
        torch.stack(list(sums.values())).sum().backward()
    finally:
        for module in (parts.model, parts.objective):
            for _, parameter in module.named_parameters():
                parameter.grad = None
        set_random_state(state)


def random_state() -> dict[str, torch.Tensor]:
    """The state of every random generator a forward pass may use here, by device."""
    state = {"cpu": torch.get_rng_state()}
    if torch.cuda.is_available():
        state["cuda"] = torch.cuda.get_rng_state()
    if torch.backends.mps.is_available():
        state["mps"] = torch.mps.get_rng_state()
    return state


def set_random_state(state: dict[str, torch.Tensor]) -> None:
    """Put generators back; those of devices that are not here are left out."""
    torch.set_rng_state(state["cpu"])
    if "cuda" in state and torch.cuda.is_available():
        torch.cuda.set_rng_state(state["cuda"])
    if "mps" in state and torch.backends.mps.is_available():
        torch.mps.set_rng_state(state["mps"])


@contextlib.contextmanager
def evaluating(model: nn.Module) -> Generator[None]:
    """Run the model as it is used later: eager (shapes vary), no dropout, random state kept."""
    compiled = model._compiled_call_impl  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
    state = random_state()
    model._compiled_call_impl = None  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        model.train()
        model._compiled_call_impl = compiled  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
        set_random_state(state)
