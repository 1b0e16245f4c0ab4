"""report.html of a run: curves and sampled text in one self-contained file, readable on a phone."""

from __future__ import annotations

import io
from itertools import groupby
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from minna.artifact.files import write_text_atomically
from minna.train.log import read_log
from minna.units import format_count, format_seconds

_SAMPLED_STEPS = 8


def write_report(run: Path, *, name: str, description: str, recipe: str) -> Path:
    """Write report.html from the log of a run."""
    log = read_log(run)
    train = [entry for entry in log if entry["event"] == "train"]
    valid = [entry for entry in log if entry["event"] == "evaluate"]
    environment = Environment(
        loader=PackageLoader("minna.train"), autoescape=True, undefined=StrictUndefined
    )
    page = environment.get_template("report.html").render(
        name=name,
        description=description,
        facts=_facts(train, valid),
        charts=_charts(train, valid),
        samples=_samples(log),
        recipe=recipe,
    )
    out = run / "report.html"
    write_text_atomically(out, page)
    return out


def _facts(train: list[dict[str, Any]], valid: list[dict[str, Any]]) -> list[tuple[str, str]]:
    if not train:
        return []
    last = train[-1]
    rates = sorted(entry["tokens_per_second"] for entry in train)
    shares = sorted(entry["share_of_peak"] for entry in train)
    facts = [
        ("steps", f"{last['step']:,}"),
        ("tokens", format_count(last["tokens"])),
        ("time", format_seconds(last["seconds"])),
        ("tokens/s (median)", format_count(rates[len(rates) // 2])),
        ("of matrix peak", f"{shares[len(shares) // 2]:.0%}"),
    ]
    if valid:
        field, words = _quality(valid)
        told = {words: field} if field else {key: key for key in valid[-1] if "/" in key}
        facts += [(f"held-out {name}", f"{valid[-1][key]:.3f}") for name, key in told.items()]
    return facts


def _charts(train: list[dict[str, Any]], valid: list[dict[str, Any]]) -> list[tuple[str, str]]:
    if not train:
        return []
    field, words = _quality(train)
    curves = {"training": _curve(train, field), "held out": _curve(valid, field)}
    others = dict.fromkeys(key for e in (*train, *valid) for key in e if "/" in key)
    return [
        (words.capitalize(), draw(curves, label=words)),
        *(
            (key, draw({"training": _curve(train, key), "held out": _curve(valid, key)}, label=key))
            for key in others
        ),
        ("Speed", draw({"tokens/s": _curve(train, "tokens_per_second")}, label="tokens/s")),
        ("Gradient norm", draw({"norm": _curve(train, "gradient_norm")}, label="norm")),
        ("Learning rate", draw({"scale": _curve(train, "lr_scale")}, label="share of peak rate")),
    ]


def _quality(entries: list[dict[str, Any]]) -> tuple[str, str]:
    """Return the field that says how good a model is, and its name in words."""
    known = {"bits_per_byte": "bits per byte", "perplexity": "perplexity", "loss": "loss"}
    return next(((key, words) for key, words in known.items() if key in entries[0]), ("", ""))


def _curve(entries: list[dict[str, Any]], field: str) -> tuple[list[float], list[float]]:
    there = [e for e in entries if field in e]
    return [e["step"] for e in there], [e[field] for e in there]


def draw(curves: dict[str, tuple[list[float], list[float]]], *, label: str) -> str:
    """Draw curves over steps as an SVG element."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "minna"}):
        figure = Figure(figsize=(7, 3.2), layout="constrained")
        axes = figure.add_subplot()
        told = {name: curve for name, curve in curves.items() if curve[0]}
        for name, (steps, values) in told.items():
            marker = "o" if len(steps) < 30 else ""  # noqa: PLR2004 - few points want dots
            axes.plot(steps, values, label=name, linewidth=1.4, marker=marker, markersize=3)
        axes.set_xlabel("step")
        axes.set_ylabel(label)
        axes.grid(alpha=0.25)
        if len(told) > 1:
            axes.legend(frameon=False)
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    text = buffer.getvalue()
    return text[text.index("<svg") :]


def _samples(log: list[dict[str, Any]]) -> list[tuple[int, list[dict[str, Any]]]]:
    """Samples of a few steps spread over the run, the newest first."""
    entries = [entry for entry in log if entry["event"] == "sample"]
    steps = [(step, list(texts)) for step, texts in groupby(entries, key=lambda e: e["step"])]
    stride = max(1, (len(steps) + _SAMPLED_STEPS - 1) // _SAMPLED_STEPS)
    return steps[::-1][::stride]
