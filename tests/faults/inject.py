"""What goes wrong inside a rank: put over the running code of a forked process, never of a test.

A fault is {"kind": ..., "step": N, ...}; steps are counted from the start of this process, from 1.
"""

from __future__ import annotations

import os
import resource
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from minna.artifact import atomic, manifest
from minna.objectives import CausalLM
from minna.recipe import run
from minna.train import checkpoint, loop, ranks, state

FULL_AT = 20_000  # bytes: more than a log of a few steps, less than a shard


def install(fault: dict[str, Any] | None) -> None:
    """Put one fault in place."""
    if fault is not None:
        rest = {key: value for key, value in fault.items() if key != "kind"}
        _KINDS[fault["kind"]](**rest)


def _at_step(step: int, act: Callable[[], None]) -> None:
    """Do something just before an update."""
    real, seen = loop.take_step, [0]

    def counting(*args: Any, **more: Any) -> Any:
        seen[0] += 1
        if seen[0] == step:
            act()
        return real(*args, **more)

    loop.take_step = counting


def _before(place: Any, name: str, call: int, act: Callable[[], None], *, of: Any = None) -> None:
    """Do something before call number `call` of a function (whose first argument `of` accepts)."""
    real, seen = getattr(place, name), [0]

    def counting(*args: Any, **more: Any) -> Any:
        if of is None or of(args):
            seen[0] += 1
            if seen[0] == call:
                act()
        return real(*args, **more)

    setattr(place, name, counting)


class _Infinite(torch.autograd.Function):
    """Forwards as it is; its gradient is infinite."""

    @staticmethod
    def forward(_context: Any, value: torch.Tensor) -> torch.Tensor:
        return value.clone()

    @staticmethod
    def backward(_context: Any, gradient: torch.Tensor) -> torch.Tensor:
        return gradient * float("inf")


def _poison(step: int, make: Callable[[torch.Tensor], torch.Tensor]) -> None:
    poisoned = [False]
    _at_step(step, lambda: poisoned.__setitem__(0, True))
    real = CausalLM.loss

    def loss(self: CausalLM, model: Any, batch: Any) -> Any:
        sums, figures = real(self, model, batch)
        if poisoned[0]:
            sums = {name: make(value) for name, value in sums.items()}
        return sums, figures

    CausalLM.loss = loss


def _nan(*, step: int) -> None:
    _poison(step, lambda value: value * float("nan"))


def _inf(*, step: int) -> None:
    _poison(step, _Infinite.apply)


def _hang(*, step: int) -> None:
    _at_step(step, lambda: time.sleep(600))


def _slow(*, seconds: float) -> None:
    real = loop.take_step

    def slow(*args: Any, **more: Any) -> Any:
        time.sleep(seconds)
        return real(*args, **more)

    loop.take_step = slow


def _sigterm(*, step: int, times: int = 1) -> None:
    def act() -> None:
        for _ in range(times):
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(0.05)  # or two signals are one

    _at_step(step, act)


def _raise(*, step: int) -> None:
    def act() -> None:
        raise OSError(5, "Input/output error", "shard")

    _at_step(step, act)


def _full(*, step: int) -> None:
    """Let the operating system refuse every file of more than FULL_AT bytes."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    _at_step(step, lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (FULL_AT, hard)))


def _code() -> None:
    run.code_digest = lambda: "of another source"


def _clock(*, step: int, seconds: float) -> None:
    """Let the clock on the wall jump; the monotonic one cannot."""
    real, when = time.time, manifest.datetime
    jumped = [0.0]

    class Jumping(when):
        @classmethod
        def now(cls, tz: Any = None) -> Any:
            return when.fromtimestamp(time.time(), tz)

    manifest.datetime = Jumping
    time.time = lambda: real() + jumped[0]
    _at_step(step, lambda: jumped.__setitem__(0, seconds))


def _kill(*, at: str, call: int, everyone: bool) -> None:
    """End at once, as by kill -9, alone or with all ranks."""

    def act() -> None:
        if everyone:
            os.killpg(0, signal.SIGKILL)
        os.kill(os.getpid(), signal.SIGKILL)

    is_checkpoint = lambda args: "step-" in str(args[0])  # noqa: E731
    moments: dict[str, Callable[[], None]] = {
        "step": lambda: _at_step(call, act),
        "group": lambda: _before(ranks, "_small_exchanges", call, act),
        "copy": lambda: _before(state, "collect", call, act),
        "write": lambda: _before(state, "write", call, act),
        "hash": lambda: _before(atomic, "hash_files", call, act, of=is_checkpoint),
        "rename": lambda: _before(atomic.os, "replace", call, act, of=is_checkpoint),
        "renamed": lambda: _before(atomic, "flush_directory", call, act, of=_ends_checkpoints),
        "drop": lambda: _before(checkpoint.shutil, "rmtree", call, act, of=is_checkpoint),
    }
    moments[at]()


def _ends_checkpoints(args: tuple[Any, ...]) -> bool:
    return Path(args[0]).name == "checkpoints"


def _kill_at_file(*, call: int, named: str = "") -> None:
    """End at once when a file or folder whose path holds `named` is to get its name."""
    holds = lambda args: named in str(args[1])  # noqa: E731
    _before(os, "replace", call, lambda: os.kill(os.getpid(), signal.SIGKILL), of=holds)


def _half_dropped(*, call: int) -> None:
    """End in the middle of the removal of an old checkpoint."""
    real, seen = shutil.rmtree, [0]

    def rmtree(path: Path, *args: Any, **more: Any) -> None:
        if "step-" in str(path):
            seen[0] += 1
            if seen[0] == call:
                next(file for file in sorted(Path(path).iterdir()) if file.is_file()).unlink()
                os.kill(os.getpid(), signal.SIGKILL)
        real(path, *args, **more)

    checkpoint.shutil.rmtree = rmtree


_KINDS: dict[str, Callable[..., None]] = {
    "nan": _nan,
    "inf": _inf,
    "hang": _hang,
    "slow": _slow,
    "sigterm": _sigterm,
    "raise": _raise,
    "full": _full,
    "code": _code,
    "clock": _clock,
    "kill": _kill,
    "kill_at_file": _kill_at_file,
    "half_dropped": _half_dropped,
}
