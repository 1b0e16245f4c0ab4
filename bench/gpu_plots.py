"""The pictures of the GPU pack, where matplotlib is installed."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any


def draw(result: dict[str, Any], out: Path) -> list[str]:
    """Draw what the result holds; return the names of the pictures, or why there are none."""
    if importlib.util.find_spec("matplotlib") is None:
        return ["none: matplotlib is not installed"]
    import matplotlib as mpl

    mpl.use("Agg")
    drawn = []
    bars = [
        (f"{name}\n{row['what']}", row["tokens_per_second"], row.get("share_of_peak"))
        for name, section in result["sections"].items()
        for row in section["results"]
        if name.startswith(("minna", "trainer")) and "tokens_per_second" in row
    ]
    if bars:
        drawn.append(_bars(bars, out / "training.svg"))
    curve = [
        point
        for row in result["sections"].get("speedrun", {}).get("results", [])
        for point in row.get("curve", [])
    ]
    if curve:
        drawn.append(_curve(curve, out / "speedrun.svg"))
    return drawn


def _bars(bars: list[tuple[str, float, float | None]], file: Path) -> str:
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(8, 0.6 * len(bars) + 1.2))
    places = range(len(bars))
    axes.barh(places, [speed for _, speed, _ in bars], color="#4269d0")
    axes.set_yticks(places, [name for name, _, _ in bars], fontsize=7)
    axes.invert_yaxis()
    axes.set_xlabel("tokens per second (beside: share of the measured matrix peak)")
    for place, (_, speed, share) in enumerate(bars):
        if share is not None:
            axes.text(speed, place, f" {share:.0%}", va="center", fontsize=8)
    figure.tight_layout()
    figure.savefig(file)
    plt.close(figure)
    return file.name


def _curve(curve: list[dict[str, float]], file: Path) -> str:
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(6, 3.5))
    axes.plot([p["seconds"] / 60 for p in curve], [p["bits_per_byte"] for p in curve], marker="o")
    axes.set_xlabel("minutes of training")
    axes.set_ylabel("bits per byte, held out")
    figure.tight_layout()
    figure.savefig(file)
    plt.close(figure)
    return file.name
