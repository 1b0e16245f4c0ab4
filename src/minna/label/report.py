"""What a translation run did, read from the side-car it wrote."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from minna import artifact


@dataclass(frozen=True, kw_only=True)
class TranslateReport:
    """What a run did.

    Attributes:
        path: the side-car.
        state: made, or unchanged (nothing to do).
        unit: dialogues, documents or pictures.
        read, kept: of them.
        dropped: reason -> of them.
        texts: of all rows.
        asked: distinct texts sent to the translator by the run that finished.
        failed: distinct texts that got no translation.
        wall_seconds: of that run.
    """

    path: Path
    state: Literal["made", "unchanged"]
    unit: str
    read: int
    kept: int
    dropped: dict[str, int]
    texts: int
    asked: int
    failed: int
    wall_seconds: float


def read_report(path: Path, *, state: Literal["made", "unchanged"]) -> TranslateReport:
    """What the manifest of a side-car of translations says.

    Raises:
        ArtifactError: not a side-car.
    """
    manifest = artifact.read_manifest(path, kind="sidecar")
    count = {name: item.value for name, item in manifest.counts.items()}
    return TranslateReport(
        path=path,
        state=state,
        unit=manifest.counts["read"].unit,
        read=int(count["read"]),
        kept=int(count["kept"]),
        dropped={
            name.removeprefix("dropped_"): int(value)
            for name, value in count.items()
            if name.startswith("dropped_")
        },
        texts=int(count["texts"]),
        asked=int(count["asked"]),
        failed=int(count["failed"]),
        wall_seconds=manifest.wall_seconds,
    )
