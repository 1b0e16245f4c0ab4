"""Numbers with their units, as people write and read them: "3.6B", "1.2 MB", "4 min 10 s".

A number without a unit is the commonest silent bug of a training set-up (tokens or rows? MB or MiB?
seconds or steps?). Bytes are decimal everywhere (1 MB = 10^6 bytes), as in the facts we compare
with.
"""

from __future__ import annotations

import re

from minna.errors import UsageError

_SCALE = {"": 1, "k": 10**3, "K": 10**3, "M": 10**6, "G": 10**9, "B": 10**9, "T": 10**12}
_COUNT = re.compile(r"\s*([0-9][0-9_]*(?:\.[0-9]+)?)\s*([kKMGBT]?)\s*")
_MINUTE, _HOUR, _DAY = 60, 3600, 86400


def parse_count(text: str) -> int:
    """Read "3.6B", "512k", "1_000" as a whole number.

    Raises:
        UsageError: the text is not a number with an optional suffix k, M, G, B or T.
    """
    match = _COUNT.fullmatch(text)
    if match is None:
        raise UsageError(
            f"a count must be a number with an optional suffix k, M, B or T, not {text!r}",
            remedy="write for example 4096, 512k or 3.6B",
        )
    return round(float(match.group(1).replace("_", "")) * _SCALE[match.group(2)])


def format_count(value: float) -> str:
    """Write a count in three significant figures: 37.4M, 3.61B, 512."""
    for scale, suffix in ((10**12, "T"), (10**9, "B"), (10**6, "M"), (10**3, "k")):
        if value >= scale:
            return f"{value / scale:.3g}{suffix}"
    return f"{value:.3g}" if value != int(value) else f"{int(value)}"


def format_bytes(value: float) -> str:
    """Write bytes in decimal units: 805 B, 67.4 MB, 7.37 GB."""
    for scale, suffix in ((10**12, "TB"), (10**9, "GB"), (10**6, "MB"), (10**3, "kB")):
        if value >= scale:
            return f"{value / scale:.3g} {suffix}"
    return f"{int(value)} B"


def format_seconds(value: float) -> str:
    """Write a duration: 0.4 s, 12 s, 4 min 10 s, 2 h 05 min, 3 d 4 h."""
    if value < 10:  # noqa: PLR2004 - below ten seconds the decimal matters
        return f"{value:.1f} s"
    seconds = round(value)
    if seconds < _MINUTE:
        return f"{seconds} s"
    if seconds < _HOUR:
        return f"{seconds // _MINUTE} min {seconds % _MINUTE:02d} s"
    if seconds < _DAY:
        return f"{seconds // _HOUR} h {seconds % _HOUR // _MINUTE:02d} min"
    return f"{seconds // _DAY} d {seconds % _DAY // _HOUR} h"
