"""Centres of clusters on disk: centres.safetensors in a side-car of labels.

Centres belong to the features they were found in: those of another layer, or of another checkpoint
with the same width, give labels that look right and mean nothing. So they are only lent to features
with the same digest, layer and rate.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, Final

from minna import artifact
from minna.artifact.tensors import save_tensors
from minna.corpus.frame_labels import LABEL
from minna.errors import ArtifactError, UsageError
from minna.label.clustering import Centres

_NAME: Final = "centres.safetensors"
_FACTS: Final = "minna"
_SAME: Final = ("digest", "layer", "rate", "width")


def save_centres(folder: Path, centres: Centres) -> None:
    """Write centres into a draft, whole or not at all.

    Raises:
        ArtifactError: the disk is full.
    """
    half = folder / f".{_NAME}.tmp"
    # one key, since several are written in no order: equal centres are to be equal files
    facts = {_FACTS: json.dumps({"frames": centres.frames, "inertia": centres.inertia})}
    tensors = {"centres": centres.centres.cpu().contiguous()}
    save_tensors(tensors, half, metadata=facts)
    os.replace(half, folder / _NAME)


def drafted_centres(draft: Path) -> Centres | None:
    """Read the centres that a run which was stopped had found; None where it had not yet.

    Raises:
        ArtifactError: they are damaged.
    """
    file = draft / _NAME
    return _read(file) if file.is_file() else None


def borrowed_centres(sidecar: Path, *, like: dict[str, Any]) -> Centres:
    """Read the centres of a side-car.

    Args:
        sidecar: of labels.
        like: settings of who borrows them.

    Raises:
        ArtifactError: found in other features, or damaged.
        UsageError: a side-car of another kind.
    """
    _refuse_other(sidecar, like)
    file = sidecar / _NAME
    if not file.is_file():
        raise _damaged(file, "it is missing")
    return _read(file)


def _read(file: Path) -> Centres:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(file, framework="pt") as opened:
            facts: dict[str, Any] = json.loads(opened.metadata()[_FACTS])
            return Centres(
                centres=opened.get_tensor("centres").clone(),
                inertia=float(facts["inertia"]),
                frames=int(facts["frames"]),
            )
    except (SafetensorError, KeyError, TypeError, ValueError) as error:
        raise _damaged(file, str(error)) from error


def _damaged(file: Path, why: str) -> ArtifactError:
    return ArtifactError(
        f"{file} cannot be read: {why}", remedy="make it again: minna label kmeans"
    )


def _refuse_other(sidecar: Path, like: dict[str, Any]) -> None:
    settings = artifact.read_manifest(sidecar, kind="sidecar").settings
    if settings.get("label") != LABEL:
        raise UsageError(
            f"{sidecar} holds labels of kind {settings.get('label')!r}, which have no centres",
            remedy="give a side-car that `minna label kmeans` wrote",
        )
    for name in _SAME:
        if settings[name] != like[name]:
            raise ArtifactError(
                f"the centres in {sidecar} were found in {settings['by']} ({name} "
                f"{_short(settings[name])}), and frames of {like['by']} ({name} "
                f"{_short(like[name])}) would be given to them",
                remedy="centres belong to one layer of one checkpoint: leave --centres out, or "
                "give that one",
            )


def _short(value: object) -> str:
    return str(value)[:12]
