"""Numbers others published, to stand beside a user's own, each with its source.

A number alone says little: three sources give three averages for rinna's 3.6b model (36.60, 41.79,
41.80). So each row names where it is from and, as far as that is known, by which prompt and task
versions it was made; what is not known is left empty.
"""

from __future__ import annotations

import functools
import tomllib
from dataclasses import dataclass, field
from importlib import resources
from typing import Any

from minna.evaluate.suite import read_suite


@dataclass(frozen=True, kw_only=True)
class PublishedRow:
    """One model in one published table.

    Attributes:
        name: the model, OWNER/NAME.
        source: who published it, in words.
        url: where.
        mode: how it was scored; only "compat" reports may stand beside it.
        prompt: code of the prompt, "" where not known.
        versions: task -> version, empty where not known.
        average: of the paper's eight tasks.
        scores: task -> (metric, value): what enters the average, as published (acc is a fraction,
            the others are per cent).
        metrics: TASK-VERSION-PROMPT -> metric -> value: everything that was published.
        note: what to know before comparing.
    """

    name: str
    source: str
    url: str
    mode: str
    average: float
    prompt: str = ""
    versions: dict[str, str] = field(default_factory=dict[str, str])
    scores: dict[str, tuple[str, float]] = field(default_factory=dict[str, tuple[str, float]])
    metrics: dict[str, dict[str, float]] = field(default_factory=dict[str, dict[str, float]])
    note: str = ""


@functools.cache
def published() -> tuple[PublishedRow, ...]:
    """Every row that comes with the package: the harness's own, the paper's, rinna's cards."""
    folder = resources.files("minna.evaluate") / "published"
    files = sorted(file.name for file in folder.iterdir() if file.name.endswith(".toml"))
    rows: list[PublishedRow] = []
    for name in files:
        table = tomllib.loads((folder / name).read_text(encoding="utf-8"))
        rows.extend(_row(row, table=table) for row in table["rows"])
    return tuple(rows)


def _row(row: dict[str, Any], *, table: dict[str, Any]) -> PublishedRow:
    metrics: dict[str, dict[str, float]] = row.get("metrics", {})
    rule = read_suite("jp8").average
    assert rule is not None
    main: dict[str, tuple[str, float]] = {}
    for full, values in metrics.items():
        metric = next(name for name in rule.metrics if name in values)
        main[full.split("-")[0]] = (metric, values[metric])
    return PublishedRow(
        name=row["name"],
        source=table["source"],
        url=table["url"],
        mode=table["mode"],
        average=row["average"],
        prompt=row.get("prompt", ""),
        versions={full.split("-")[0]: full.split("-")[1] for full in metrics},
        scores=main,
        metrics=metrics,
        note=row.get("note", ""),
    )
