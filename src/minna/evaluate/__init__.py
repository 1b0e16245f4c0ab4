"""Judging a model: how well it predicts text it has not seen, and how it does the paper's tasks.

`evaluate` writes a report directory, `compare` puts several beside each other and refuses what does
not compare. Names are looked up when they are first used: `minna requests` needs tasks and prompts,
and must not wait for torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from minna.evaluate.comparison import Comparison, compare
    from minna.evaluate.report import Report, read_report
    from minna.evaluate.run import evaluate
    from minna.evaluate.settings import REFERENCES, EvaluateSettings
    from minna.evaluate.subject import Server

_WHERE = {
    "REFERENCES": "settings",
    "Comparison": "comparison",
    "EvaluateSettings": "settings",
    "Report": "report",
    "Server": "subject",
    "compare": "comparison",
    "evaluate": "run",
    "read_report": "report",
}

__all__ = [
    "REFERENCES",
    "Comparison",
    "EvaluateSettings",
    "Report",
    "Server",
    "compare",
    "evaluate",
    "read_report",
]


def __getattr__(name: str) -> Any:
    """Import a name from its module on first use."""
    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_WHERE[name]}"), name)
