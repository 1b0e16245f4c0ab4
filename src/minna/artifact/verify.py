"""Is a directory still what its manifest says, and are its parents still there?

`inspect` never raises for damage: it lists findings, so that one look shows everything that is
wrong.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from minna.artifact.files import sha256_file
from minna.artifact.manifest import MANIFEST_NAME, Manifest, read_manifest
from minna.errors import ArtifactError


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing that is wrong with a directory: `error` (do not use it) or `warning`."""

    level: Literal["error", "warning"]
    what: str
    remedy: str


def inspect(path: Path) -> tuple[Manifest, list[Finding]]:
    """Read the manifest at `path` and compare every file and parent with it.

    Returns:
        The manifest and what is wrong; an empty list means intact.

    Raises:
        ArtifactError: there is no readable manifest at all.
    """
    manifest = read_manifest(path)
    findings = [*_check_files(path, manifest), *_check_parents(path, manifest)]
    return manifest, findings


def verify(path: Path) -> Manifest:
    """Return the manifest of an intact directory (missing parents are allowed).

    Raises:
        ArtifactError: a file is missing, cut, or changed.
    """
    manifest = read_manifest(path)
    broken = list(_check_files(path, manifest))
    if broken:
        raise ArtifactError(
            f"{path} is damaged: " + "; ".join(finding.what for finding in broken),
            remedy=broken[0].remedy,
        )
    return manifest


def _check_files(path: Path, manifest: Manifest) -> list[Finding]:
    again = "fetch the directory again, or make it again with the verb that wrote it"
    findings: list[Finding] = []
    for name, entry in manifest.files.items():
        file = path / name
        if not file.is_file():
            findings.append(Finding(level="error", what=f"{name} is missing", remedy=again))
        elif (size := file.stat().st_size) != entry.bytes:
            what = f"{name} has {size} bytes, not {entry.bytes}"
            findings.append(Finding(level="error", what=what, remedy=again))
        elif sha256_file(file) != entry.sha256:
            what = f"{name} has changed since it was written"
            findings.append(Finding(level="error", what=what, remedy=again))
    return findings


def _check_parents(path: Path, manifest: Manifest) -> list[Finding]:
    findings: list[Finding] = []
    for parent in manifest.parents:
        place = path.parent / parent.path  # a relative one (in releases) starts beside `path`
        file = place / MANIFEST_NAME
        remedy = "nothing to do for using it; to release it, put the parent back"
        if not file.is_file():
            what = f"its {parent.role} ({parent.kind}) is gone from {place}"
            findings.append(Finding(level="warning", what=what, remedy=remedy))
        elif sha256_file(file) != parent.sha256:
            what = f"its {parent.role} at {place} has been made again since"
            remedy = f"make {path} again from the new {parent.role}"
            findings.append(Finding(level="warning", what=what, remedy=remedy))
    return findings


def require_parents(path: Path, manifest: Manifest) -> None:
    """Refuse a directory whose parents are gone or replaced: its provenance cannot be told.

    Raises:
        ArtifactError: a parent is missing or has changed.
    """
    findings = _check_parents(path, manifest)
    if findings:
        raise ArtifactError(
            f"the provenance of {path} is broken: " + "; ".join(f.what for f in findings),
            remedy=findings[0].remedy,
        )
