"""Pseudo-speakers: one synthetic voice made many, drawn from a seed.

A speaker is a rate, a pitch and a vocal tract. The tract is warped by playing the voice faster by
`warp` (8/9 to 9/8, the span between a large man's and a child's), with what that does to rate and
pitch taken back beforehand: formants move, the rest stays. Each property is drawn in as many strata
as there are speakers, so that ten speakers cover its span as well as a thousand do. There is one
spectral model behind all of them: they differ like one person's imitations, not like people.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from minna.errors import UsageError

VARIANTS: Final = (
    "m1", "f1", "m2", "f2", "m3", "f3", "m4", "f4", "m5", "f5", "m6", "klatt", "m7", "klatt2",
    "m8", "klatt3", "adam", "Alicia", "Andy", "Annie", "boris", "linda", "edward", "steph", "Diogo",
    "anika", "Denis", "belinda", "max", "shelby",
)  # fmt: skip
"""Variants of espeak-ng that speak plainly (no whisper, robot or croak)."""
ACCENTS: Final = ("en-us", "en-gb", "en-gb-scotland", "en-029")
USUAL_BEND: Final = 0.55
"""The all-pass constant of voices at 48 kHz."""

_SPANS: Final[Mapping[str, tuple[float, float]]] = {
    "warp": (float(np.log2(8 / 9)), float(np.log2(9 / 8))),
    "half_tones": (-7.0, 4.0),
    "rate": (0.85, 1.25),
    "all_pass": (0.52, 0.58),
    "intonation": (0.6, 1.3),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Speaker:
    """How one pseudo-speaker speaks.

    Attributes:
        name: in the corpus.
        split: of everything that is said by it.
        warp: how much faster the voice is played; over 1, a shorter vocal tract.
        half_tones: of the pitch, against the voice's own.
        rate: of speech, against the voice's own.
        all_pass: hts_engine's constant where the voice's own is `USUAL_BEND`: bends the formants a
            little.
        intonation: how much the pitch moves, against the voice's own.
        voice: of espeak-ng, such as en-us+m3; a file of hts_engine's, "" for the usual one.
    """

    name: str
    split: str
    warp: float
    half_tones: float
    rate: float
    all_pass: float
    intonation: float
    voice: str = ""


def draw_speakers(
    count: int,
    *,
    valid: float,
    test: float,
    seed: int,
    voices: Sequence[str] = (),
    prefix: str = "synthetic",
) -> list[Speaker]:
    """Return speakers, those of test first, then those of valid.

    Args:
        count: how many.
        valid: share of speakers (at least one) that are heard in that split alone.
        test: the same.
        seed: of all that is drawn.
        voices: base voices, taken in turn.
        prefix: of their names.

    Raises:
        UsageError: there are fewer speakers than splits.
    """
    held = [max(1, round(share * count)) if share else 0 for share in (test, valid)]
    if sum(held) >= count:
        raise UsageError(
            f"speakers={count} leaves none to train on ({held[0]} for test, {held[1]} for valid)",
            remedy="take more speakers, or valid=0 test=0",
        )
    random = np.random.default_rng([seed, count])
    drawn = {
        name: low + (high - low) * (random.permutation(count) + random.uniform(size=count)) / count
        for name, (low, high) in _SPANS.items()
    }
    splits = ["test"] * held[0] + ["valid"] * held[1] + ["train"] * (count - sum(held))
    return [
        Speaker(
            name=f"{prefix}-{seed}-{number:04d}",
            split=split,
            warp=round(float(2 ** drawn["warp"][number]), 4),
            half_tones=round(float(drawn["half_tones"][number]), 2),
            rate=round(float(drawn["rate"][number]), 3),
            all_pass=round(float(drawn["all_pass"][number]), 4),
            intonation=round(float(drawn["intonation"][number]), 3),
            voice=voices[number % len(voices)] if voices else "",
        )
        for number, split in enumerate(splits)
    ]
