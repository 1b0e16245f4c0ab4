"""report.html: the figures and a few documents, in one file that a phone shows without a network.

The easiest and hardest documents are there because a figure cannot tell a model that knows Japanese
from one that has seen the test set: the eye can.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from numpy.typing import NDArray

from minna.artifact.files import write_text_atomically
from minna.evaluate.documents import HeldOut
from minna.evaluate.report import Metric, Report, Task
from minna.units import format_bytes, format_count

_EXAMPLES = 6
_SHOWN_CHARACTERS = 160
# a document of a few bytes is cheap or dear by chance
_FEWEST_BYTES = 24

REFERENCE_NAMES = {"kneser-ney": "Kneser-Ney n-gram", "xz": "xz, training text in front"}


def write_page(
    directory: Path, *, report: Report, held: HeldOut, nats: NDArray[np.float64]
) -> None:
    """Write report.html."""
    task = report.tasks[0]
    environment = Environment(
        loader=PackageLoader("minna.evaluate"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    page = environment.get_template("report.html").render(
        report=report,
        task=task,
        facts=_facts(task),
        bars=_bars(report.model_name, task),
        names=REFERENCE_NAMES,
        examples=_examples(held, nats),
        shown=shown,
    )
    write_text_atomically(directory / "report.html", page)


def shown(metric: Metric) -> str:
    """Write a figure with its interval: "1.097 (1.090 to 1.104)"."""
    if metric.low is None or metric.high is None:
        return f"{metric.value:.3f}"
    return f"{metric.value:.3f} ({metric.low:.3f} to {metric.high:.3f})"


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
