"""How much of an answer it has said before: what tuning by rewards is known to make worse."""

from __future__ import annotations

from collections.abc import Sequence


def repeated_grams(ids: Sequence[int], *, n: int = 3) -> float:
    """Share of the n-grams of a sequence that stood in it before: 0 (none) to nearly 1."""
    grams = [tuple(ids[start : start + n]) for start in range(len(ids) - n + 1)]
    return 1 - len(set(grams)) / len(grams) if grams else 0.0
