"""Which parameters learn: an ordered table of patterns, no flags scattered over models.

Locked-image tuning, the two Stable Diffusion stages and adapter training are all the same thing, a
table of `trainable` patterns. A pattern that matches nothing is an error: it is a typo that would
silently train (or freeze) everything else.
"""

from __future__ import annotations

import re

from torch import nn

from minna.errors import UsageError


def set_trainable(model: nn.Module, *, patterns: dict[str, bool]) -> list[str]:
    """Set `requires_grad` by name; a later pattern wins over an earlier one.

    Args:
        model: its parameters are matched by `re.search` on their names.
        patterns: pattern -> whether matching parameters learn. Empty: everything learns.

    Returns:
        The names of the frozen parameters.

    Raises:
        UsageError: a pattern matches no parameter, or nothing is left to learn.
    """
    names = [name for name, _ in model.named_parameters()]
    for pattern in patterns:
        if not any(re.search(pattern, name) for name in names):
            raise UsageError(
                f"trainable pattern {pattern!r} matches none of the {len(names)} parameters",
                remedy=f"names look like {', '.join(names[:3])}",
            )
    for name, parameter in model.named_parameters():
        for pattern, learns in patterns.items():
            if re.search(pattern, name):
                parameter.requires_grad_(learns)
    frozen = [name for name, parameter in model.named_parameters() if not parameter.requires_grad]
    if len(frozen) == len(names):
        raise UsageError("trainable freezes every parameter", remedy="leave something to learn")
    return frozen
