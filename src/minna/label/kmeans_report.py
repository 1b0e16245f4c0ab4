"""What came of labelling frames, as the side-car's manifest keeps it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from minna import artifact
from minna.console import warn
from minna.metrics.clusters import Agreement


@dataclass(frozen=True, kw_only=True)
class KmeansReport:
    """What a run did.

    Attributes:
        path: the side-car.
        state: made, or unchanged (nothing to do).
        features: what was clustered.
        rate: labels of a second.
        clusters: that could be given.
        clips: labelled.
        frames: labelled.
        sampled: frames that centres were found on.
        inertia: mean squared distance of those from their centres.
        distance: the same of all frames.
        used: clusters that were given.
        perplexity: of how often each was: 1 where one is all, `clusters` where all are as frequent.
        agreement: with phones, where a clip has times of them.
        label_bytes: of all labels.
        wall_seconds: how long it took.
    """

    path: Path
    state: Literal["made", "unchanged"]
    features: str
    rate: int
    clusters: int
    clips: int
    frames: int
    sampled: int
    inertia: float
    distance: float
    used: int
    perplexity: float
    agreement: Agreement | None
    label_bytes: int
    wall_seconds: float


def read_kmeans(path: Path, *, state: Literal["made", "unchanged"]) -> KmeansReport:
    """Read back what a finished side-car says of itself.

    Raises:
        ArtifactError: there is none.
    """
    manifest = artifact.read_manifest(path, kind="sidecar")
    count = {name: item.value for name, item in manifest.counts.items()}
    compared = None
    if "pnmi" in count:
        compared = Agreement(
            phone_purity=count["phone_purity"],
            cluster_purity=count["cluster_purity"],
            pnmi=count["pnmi"],
            frames=int(count["timed_frames"]),
            phones=int(count["timed_phones"]),
            clusters=int(count["timed_clusters"]),
        )
    return KmeansReport(
        path=path,
        state=state,
        features=str(manifest.settings["by"]),
        rate=int(manifest.settings["rate"]),
        clusters=int(manifest.settings["clusters"]),
        clips=int(count["clips"]),
        frames=int(count["frames"]),
        sampled=int(count["sampled"]),
        inertia=count["inertia"],
        distance=count["distance"],
        used=int(count["used"]),
        perplexity=count["perplexity"],
        agreement=compared,
        label_bytes=int(count["label_bytes"]),
        wall_seconds=manifest.wall_seconds,
    )


def tell_uneven(report: KmeansReport) -> None:
    """Warn where few clusters have nearly all frames."""
    if report.perplexity < report.clusters / 10:
        warn(
            f"{report.used} of {report.clusters} clusters are in use, as if there were "
            f"{report.perplexity:.1f} equal ones: most frames are alike (silence, one sound)"
        )
