"""What an evaluation is decided by; it goes whole into the report's manifest."""

from __future__ import annotations

from typing import Final, Literal

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

Reference = Literal["kneser-ney", "xz"]
REFERENCES: Final[tuple[Reference, ...]] = ("kneser-ney", "xz")


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class EvaluateSettings:
    """Settings of `evaluate`.

    Attributes:
        split: which split of the corpus is scored.
        limit: at most this many documents, spread evenly over the split; None scores all.
        references: what the model is put beside, measured on the same documents.
        kneser_ney_order: n of the n-gram reference.
        kneser_ney_tokens: most training tokens it is given (about 250 bytes of memory each).
        xz_bytes: most training text xz is given (about 11 bytes of memory each).
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
    resamples: int = Field(default=1000, ge=1)
    seed: int = Field(default=0, ge=0)
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    dtype: Literal["auto", "fp32", "bf16", "fp16"] = "fp32"
