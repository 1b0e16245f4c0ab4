"""What a loss means: bits per byte where every token of a text is paid for, else perplexity.

A loss of pairs or of PPO means neither; other figures say how those go.
"""

from __future__ import annotations

import math
from collections.abc import Callable

Quality = Callable[[float], dict[str, float]]


def bits_per_byte(tokens_per_byte: float) -> Quality:
    """Return what turns nats per token into bits per byte of the training text."""
    return lambda loss: {"bits_per_byte": loss / math.log(2) * tokens_per_byte}


def perplexity(loss: float) -> dict[str, float]:
    """Return the perplexity of what was learned."""
    return {"perplexity": math.exp(min(loss, 50))}


def nothing(_loss: float) -> dict[str, float]:
    """Return nothing."""
    return {}
