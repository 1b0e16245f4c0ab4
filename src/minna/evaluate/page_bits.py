"""The part of report.html on bits per byte: bars beside the references, and a few documents.

The easiest and hardest documents are there because a figure cannot tell a model that knows Japanese
from one that has seen the test set: the eye can.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from minna.evaluate.report import Task
from minna.evaluate.wording import REFERENCE_NAMES, shown
from minna.units import format_bytes, format_count

if TYPE_CHECKING:
    from minna.evaluate.documents import HeldOut

_EXAMPLES = 6
_SHOWN_CHARACTERS = 160
# a document of a few bytes is cheap or dear by chance
_FEWEST_BYTES = 24


def bits_context(
    task: Task, *, model: str, held: HeldOut | None, nats: NDArray[np.float64] | None
) -> dict[str, Any]:
    """What the template shows of the task; documents only where they are at hand."""
    examples = _examples(held, nats) if held is not None and nats is not None else {}
    return {"task": task, "facts": _facts(task), "bars": _bars(model, task), "examples": examples}


def _facts(task: Task) -> list[tuple[str, str]]:
    conditions = task.conditions
    return [
        ("documents", f"{task.n:,}"),
        ("text", format_bytes(float(conditions["bytes"]))),
        ("tokens", format_count(float(conditions["tokens"]))),
        ("bits/character", f"{task.metrics['bits_per_character'].value:.3f}"),
        ("perplexity/token", f"{task.metrics['perplexity_per_token'].value:.1f}"),
        ("tokens/byte", f"{task.metrics['tokens_per_byte'].value:.3f}"),
    ]


def _bars(model: str, task: Task) -> list[dict[str, object]]:
    """The model and its references, each as a share of the longest bar."""
    rows = [(model, "model", task.metrics["bits_per_byte"])]
    rows += [
        (REFERENCE_NAMES.get(name, name), "reference", item.metrics["bits_per_byte"])
        for name, item in task.references.items()
    ]
    longest = max(metric.high or metric.value for _, _, metric in rows)
    return [
        {
            "name": name,
            "kind": kind,
            "text": shown(metric),
            "width": round(100 * metric.value / longest, 2),
            "low": round(100 * (metric.low or metric.value) / longest, 2),
            "span": round(100 * ((metric.high or 0) - (metric.low or 0)) / longest, 2),
        }
        for name, kind, metric in rows
    ]


def _examples(held: HeldOut, nats: NDArray[np.float64]) -> dict[str, list[tuple[float, str]]]:
    """A few documents with the highest and the lowest bits per byte."""
    bits = nats / np.log(2) / held.bytes
    order = [int(i) for i in np.argsort(bits, kind="stable") if held.bytes[i] >= _FEWEST_BYTES]
    groups = {"Hardest": order[::-1][:_EXAMPLES], "Easiest": order[:_EXAMPLES]}
    return {
        title: [(float(bits[i]), _short(held.documents[i].text)) for i in rows]
        for title, rows in groups.items()
    }


def _short(text: str) -> str:
    return text if len(text) <= _SHOWN_CHARACTERS else text[:_SHOWN_CHARACTERS] + "…"
