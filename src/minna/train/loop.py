"""The training loop: one function that reads from top to bottom, for text, vision and speech.

collect -> count -> prepare -> forward / backward -> clip -> step -> after_step (step.py), then log,
and maybe evaluate, save, stop. There are no callbacks: what happens, happens here, in this order.
Start order is the run's own newest intact checkpoint, else whatever the recipe initialised.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import signal
import time
from collections.abc import Generator, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from types import FrameType
from typing import Any, Literal, Self

import torch
from filelock import FileLock, Timeout
from pydantic import ConfigDict, Field, model_validator
from pydantic.dataclasses import dataclass

from minna.console import progress as progress_display
from minna.console import say
from minna.errors import TrainingError
from minna.models.checkpointing import Checkpointing
from minna.train import checkpoint
from minna.train.budget import Budget
from minna.train.checkpoint import Progress
from minna.train.log import Log, log_of
from minna.train.parallel import Sharding
from minna.train.precision import (
    Compile,
    Device,
    Numerics,
    Precision,
    compile_or_fall_back,
    decide,
    evaluating,
    keep,
)
from minna.train.protocols import Batch, Parts
from minna.train.ranks import Ranks, seed_of
from minna.train.state import frozen_bytes
from minna.train.step import StepResult, take_step, to_device
from minna.train.watchdog import watching
from minna.units import format_count, format_seconds

_NO_END = 10**9  # steps of a run that only its minutes end
_LINES = 20  # of progress over a run, without a terminal


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class TrainSettings:
    """How long, in what portions, on what, and how often to look up.

    Attributes:
        steps: updates of the weights; with `minutes`, at most so many (left out: no limit).
        minutes: of training, where time is what counts: compiling and steps, not looks and
            checkpoints. The schedule then follows the time, and a tenth of it is one more look.
        tokens_per_step: targets of one update over all ranks and micro-batches.
        micro_batch_rows: rows of one forward pass on one rank.
        keep: checkpoints kept; two, so that a damaged newest one does not end the run.
        checkpointing: what layers keep for the backward pass: all ("none"), their products, or
            their input alone ("full"); less memory for more time, the same numbers.
        sharding: of several ranks, each has a copy of the model ("replicate", DDP) or a part of
            every layer ("shard", FSDP2); "auto" takes copies where they leave half the memory.
        saving: "background" copies the state to memory and writes while training goes on,
            "waiting" needs no copy; "auto" is the first on GPUs and among ranks.
        hang_seconds: longest step (or look, or save, or wait for another rank); then every
            thread's stack is written to RUN/hang-rank-N.txt and the process ends.
    """

    steps: int = Field(default=_NO_END, ge=1)
    minutes: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    tokens_per_step: int = Field(ge=1)
    micro_batch_rows: int = Field(ge=1)
    seed: int = Field(default=0, ge=0)
    precision: Precision = "auto"
    compile: Compile = "auto"
    device: Device = "auto"
    log_every: int = Field(default=10, ge=1)
    evaluate_every: int = Field(default=200, ge=1)
    save_every: int = Field(default=500, ge=1)
    keep: int = Field(default=2, ge=1)
    checkpointing: Checkpointing = "none"
    sharding: Sharding = "auto"
    saving: Literal["auto", "background", "waiting"] = "auto"
    hang_seconds: float = Field(default=1800, gt=0)

    @model_validator(mode="after")
    def _end_somewhere(self) -> Self:
        if self.minutes is None and self.steps == _NO_END:
            raise ValueError("steps is missing (or minutes, where time is to end the run)")
        return self

    @property
    def budget(self) -> Budget:
        """The end of the run."""
        seconds = None if self.minutes is None else 60 * self.minutes
        return Budget(steps=self.steps, seconds=seconds)


class _StopSignal:
    """Set by the first Ctrl-C or SIGTERM; a second one stops at once.

    Not under torchrun: it passes on what the terminal or SLURM has sent to every process already,
    so a second one is always there; it ends what lasts longer than its own patience (30 s).
    """

    def __init__(self) -> None:
        self.received = False
        self.told_twice = "TORCHELASTIC_RUN_ID" in os.environ

    def __call__(self, _number: int, _frame: FrameType | None) -> None:
        if self.received and self.told_twice:
            return
        if self.received:
            raise KeyboardInterrupt
        self.received = True
        say("stopping after this step; the state is saved (again: stop at once)")


@contextlib.contextmanager
def stop_signals() -> Generator[_StopSignal]:
    """Turn Ctrl-C and SIGTERM into a flag for the length of a run."""
    stop = _StopSignal()
    old = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def sole_user(run: Path) -> Generator[None]:
    """Hold the run directory; two runs in one directory would destroy each other's checkpoints.

    Raises:
        TrainingError: another process trains there.
    """
    run.mkdir(parents=True, exist_ok=True)
    lock = FileLock(run / ".lock")
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        raise TrainingError(
            f"another process is training in {run}", remedy="stop it, or choose another --out"
        ) from error
    try:
        yield
    finally:
        lock.release()


def settle_numerics(settings: TrainSettings, *, found: Path | None) -> Numerics:
    """Decide device, precision and compiler: those of the checkpoint `found` if there is one.

    A resumed run keeps its arithmetic: measuring again on a busier machine could decide otherwise.

    Raises:
        UsageError: the device of the checkpoint, or the one asked for, is not there.
    """
    if found is None:
        return decide(
            device=settings.device, precision=settings.precision, compile_=settings.compile
        )
    return keep(checkpoint.numerics_of(found))


def train(  # noqa: PLR0915 - the loop is one function that reads from top to bottom
    parts: Parts, *, settings: TrainSettings, numerics: Numerics, run: Path, found: Path | None
) -> Progress:
    """Train until the run's steps or minutes are spent, from wherever it stands.

    Args:
        parts: model, objective, stream and the rest, put together by the recipe.
        settings: the recipe's `[train]` section.
        numerics: from `settle_numerics`.
        run: the run directory, held by `sole_user`.
        found: the checkpoint to go on from (`checkpoint.newest_good`), or None to start.

    Returns:
        Where the run stands now: at the end, or earlier after Ctrl-C.

    Raises:
        TrainingError: a NaN, a damaged or foreign checkpoint.
    """
    model, ranks = parts.model.to(numerics.device), parts.placement.ranks
    parts.objective.to(torch.device(numerics.device))
    model.train()
    torch.manual_seed(settings.seed if ranks.first else seed_of(settings.seed, ranks.rank))
    budget = settings.budget
    now = Progress()
    if found:
        now = checkpoint.restore(parts, checkpoint=found)
        say(f"going on from {found.name} of {_length(budget)}")
    if budget.is_spent(now):
        return now

    frozen = digest(parts)
    # what was settled, not what was hoped for, goes into checkpoints: a resumed run does the same
    numerics, compiling = _compile(parts, numerics)
    if budget.seconds is not None and found is None:  # a resumed run has paid for this already
        now = Progress(seconds=compiling)
    saver = checkpoint.Saver(
        parts,
        run=run,
        numerics=asdict(numerics),
        keep=settings.keep,
        when=_when_to_save(settings, ranks=ranks, numerics=numerics),
    )
    with (
        watching(run, rank=ranks.rank, seconds=settings.hang_seconds) as alive,
        saver,
        stop_signals() as stop,
        log_of(run, step=now.step, ranks=ranks) as log,
        progress_display() as bar,
    ):
        unit, whole = ("steps", budget.steps) if budget.seconds is None else ("%", 100)
        task = bar.add_task(f"training ({unit})", total=whole, note="")
        if now.step == 0:
            evaluate(parts, log=log, now=now)
        meter, said, last, stopping = _Meter(parts, numerics), now, False, False
        while not last and not stopping:
            alive()
            start = time.monotonic()
            before = now
            result = take_step(
                parts, step=now.step, total=budget.total(now), autocast=numerics.autocast()
            )
            seconds, asked = ranks.largest([time.monotonic() - start, float(stop.received)])
            stopping = bool(asked)
            now = now.after_step(
                tokens=parts.micro_batch_tokens * parts.accumulation, seconds=seconds
            )
            meter.add(before, now)
            last = budget.is_spent(now)
            if now.step % settings.log_every == 0 or now.step == 1 or last:
                figures = meter.figures(result, now)
                log.write("train", step=now.step, figures=figures)
                note = _note(figures, parts.told)
                bar.update(task, completed=int(whole * budget.share(now)), note=note)
                if bar.disable and (last or budget.crosses(said, now, marks=_LINES)):
                    said = now
                    say(f"{_place(budget, now)}  {note}")
            look = budget.is_time_for_a_look(before, now)
            if now.step % settings.evaluate_every == 0 or look or last:
                alive()
                evaluate(parts, log=log, now=now)
            if now.step % settings.save_every == 0 or last or stopping:
                alive()
                saver.save(now)
        saver.wait()
        if stopping and not last:
            say(f"saved at step {now.step}; the same command goes on from there")
    if digest(parts) != frozen:
        raise TrainingError(
            f"one of the {len(parts.frozen)} frozen parameters has changed",
            remedy="this is a bug of minna; please report it with RUN/recipe.toml",
        )
    return now


def _when_to_save(
    settings: TrainSettings, *, ranks: Ranks, numerics: Numerics
) -> Literal["background", "waiting"]:
    """Settle "auto": on a CPU alone, a copy costs memory and the thread costs the next steps."""
    if settings.saving != "auto":
        return settings.saving
    return "waiting" if ranks.alone and numerics.device == "cpu" else "background"


def _compile(parts: Parts, numerics: Numerics) -> tuple[Numerics, float]:
    """Compile with a batch that is put back; return what was settled, and the seconds it took."""
    example: Batch = {}
    if numerics.compile == "on":  # else none is made: batches of experience are dear
        position = parts.stream.state_dict()
        example = to_device(next(parts.stream), torch.device(numerics.device))
        parts.stream.load_state_dict(position)
    start = time.monotonic()
    settled = compile_or_fall_back(parts, example=example, numerics=numerics)
    seconds = time.monotonic() - start
    if settled == "on":
        say(f"compiled in {format_seconds(seconds)}")
    return replace(numerics, compile=settled), seconds


def digest(parts: Parts) -> str:
    """Hash the frozen parameters: they must come out as they went in."""
    total = hashlib.sha256()
    for content in frozen_bytes(parts):
        total.update(content)
    return total.hexdigest()


def evaluate(parts: Parts, *, log: Log, now: Progress) -> None:
    """Run every evaluator and log what it found, and after how much."""
    spent = {"tokens": float(now.tokens), "seconds": now.seconds}
    with evaluating(parts.model), parts.placement.looking():
        for evaluator in parts.evaluators:
            found = evaluator(parts.model)
            if found.figures:
                log.write("evaluate", step=now.step, figures={**found.figures, **spent})
                words = " ".join(f"{name} {value:.4f}" for name, value in found.figures.items())
                say(f"step {now.step}: {words}")
            if found.samples:
                log.write_samples(found.samples, step=now.step)


class _Meter:
    """Speed since the last log line."""

    def __init__(self, parts: Parts, numerics: Numerics) -> None:
        self.parts, self.numerics = parts, numerics
        self.tokens, self.seconds = 0, 0.0

    def add(self, before: Progress, now: Progress) -> None:
        self.tokens += now.tokens - before.tokens
        self.seconds += now.seconds - before.seconds

    def figures(self, result: StepResult, now: Progress) -> dict[str, float]:
        """Figures of one log line; speed is since the line before."""
        rate = self.tokens / max(self.seconds, 1e-9)
        self.tokens, self.seconds = 0, 0.0
        peak = self.numerics.peak * self.parts.placement.ranks.count
        return {
            "loss": result.loss,
            **self.parts.quality(result.loss),
            "gradient_norm": result.gradient_norm,
            "lr_scale": result.lr_scale,
            "tokens": float(now.tokens),
            "tokens_per_second": rate,
            "share_of_peak": rate * self.parts.flops_per_token / peak,
            "seconds": now.seconds,
            **result.figures,
            **self.parts.stream.figures(),
        }


def _note(figures: dict[str, Any], told: Sequence[str]) -> str:
    words = {"perplexity": "perplexity {:.2f}  ", "bits_per_byte": "{:.3f} bits/byte  "}
    quality = "".join(text.format(figures[key]) for key, text in words.items() if key in figures)
    quality += "".join(
        f"{key.rpartition('/')[2]} {figures[key]:.3g}  " for key in told if key in figures
    )
    return (
        f"loss {figures['loss']:.3f}  {quality}"
        f"{format_count(figures['tokens_per_second'])} tokens/s  "
        f"{figures['share_of_peak']:.0%} of peak"
    )


def _length(budget: Budget) -> str:
    return f"{budget.steps}" if budget.seconds is None else format_seconds(budget.seconds)


def _place(budget: Budget, now: Progress) -> str:
    """Where a run stands, and how long it still takes."""
    left = f"{format_seconds(budget.seconds_left(now))} left"
    if budget.seconds is None:
        return f"step {now.step}/{budget.steps}  {left}"
    return f"step {now.step}  {budget.share(now):.0%} of {format_seconds(budget.seconds)}  {left}"
