"""What an evaluation is decided by; it goes whole into the report's manifest."""

from __future__ import annotations

from typing import Final, Literal

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from minna.evaluate.records import Mode

Reference = Literal["kneser-ney", "xz"]
REFERENCES: Final[tuple[Reference, ...]] = ("kneser-ney", "xz")


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class EvaluateSettings:
    """Settings of `evaluate`.

    Attributes:
        split: which split of the corpus is scored for bits per byte.
        limit: at most this many documents of a corpus, spread evenly over the split, and at most
            this many items of a task; None scores all.
        references: what bits per byte are put beside, measured on the same documents.
        kneser_ney_order: n of the n-gram reference.
        kneser_ney_tokens: most training tokens it is given (about 250 bytes of memory each).
        xz_bytes: most training text xz is given (about 11 bytes of memory each).
        suite: a named set of tasks, such as jp8.
        tasks: names of tasks (TASK or TASK-VERSION-PROMPT), or paths of task files.
        mode: compat replays the paper's harness, fixed is this project's own rules; None is what
            the suite says, else fixed.
        prompt: which prompts, such as 0.4: of every task, or the suite's set of that name.
        versions: the suite's set of task versions, such as ja8 or paper.
        shots: examples before a question: one number for all tasks or one per task; () is what
            each task or suite says.
        missing: whether a task whose data are not there ends the evaluation, or is left out.
        backend: minna (our engine), transformers (any architecture it knows), or auto: ours where
            it knows the model.
        way: shared reads nothing twice, plain asks one thing at a time (the reference).
        batch_tokens: tokens read in one call; None chooses by device.
        resamples: bootstrap draws of every interval.
        seed: of those draws.
        device: auto, cpu, cuda or mps.
        dtype: fp32 by default: a figure should not depend on what the machine is fast at.
    """

    split: Literal["train", "valid", "test"] = "test"
    limit: int | None = Field(default=None, ge=1)
    references: tuple[Reference, ...] = ()
    kneser_ney_order: int = Field(default=5, ge=1, le=8)
    kneser_ney_tokens: int = Field(default=8_000_000, ge=1)
    xz_bytes: int = Field(default=32_000_000, ge=1)
    suite: str | None = None
    tasks: tuple[str, ...] = ()
    mode: Mode | None = None
    prompt: str | None = None
    versions: str | None = None
    shots: tuple[int, ...] = ()
    missing: Literal["refuse", "skip"] = "refuse"
    backend: Literal["auto", "minna", "transformers"] = "auto"
    way: Literal["shared", "plain"] = "shared"
    batch_tokens: int | None = Field(default=None, ge=1)
    resamples: int = Field(default=1000, ge=1)
    seed: int = Field(default=0, ge=0)
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    dtype: Literal["auto", "fp32", "bf16", "fp16", "int8", "int4"] = "fp32"
