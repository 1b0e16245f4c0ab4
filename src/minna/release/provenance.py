"""The chain from a release back to the text: every manifest on the way, checked link by link.

A parent is named by the hash of its manifest, so a chain cannot be patched in the middle: when a
corpus has been rebuilt since, the model was not trained on what lies there now, and the release is
refused rather than printing the wrong licences.

Folders are named, never located: paths of the machine it was built on are nobody's business.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

from minna.artifact import MANIFEST_NAME, Kind, Manifest, Parent, read_manifest
from minna.artifact.files import sha256_file
from minna.artifact.verify import require_parents
from minna.errors import ArtifactError


@dataclass(frozen=True, kw_only=True)
class Link:
    """One directory of the chain.

    Attributes:
        role: what it is to the one that named it.
        sha256: of its minna.json.
    """

    role: str
    path: Path
    sha256: str
    manifest: Manifest


def walk(path: Path, *, role: str) -> list[Link]:
    """A directory and all its ancestors, nearest first, each once.

    Raises:
        ArtifactError: an ancestor is gone, or is not the one its child was made from.
    """
    links: list[Link] = []
    waiting = [(role, path)]
    seen: set[str] = set()
    while waiting:
        here, place = waiting.pop(0)
        digest = sha256_file(place / MANIFEST_NAME)
        if digest in seen:
            continue
        seen.add(digest)
        manifest = read_manifest(place)
        require_parents(place, manifest)
        links.append(Link(role=here, path=place, sha256=digest, manifest=manifest))
        waiting += [(parent.role, Path(parent.path)) for parent in manifest.parents]
    return links


def first(links: list[Link], kind: Kind) -> Link:
    """The nearest link of a kind.

    Raises:
        ArtifactError: the chain has none.
    """
    for link in links:
        if link.manifest.kind == kind:
            return link
    raise ArtifactError(
        f"the provenance of {links[0].path} reaches no {kind} "
        f"(only {', '.join(link.manifest.kind for link in links)})",
        remedy="release a model that minna has trained and exported",
    )


def nameless(parent: Parent) -> Parent:
    """The same parent by the name of its folder instead of its place."""
    return parent.model_copy(update={"path": PurePosixPath(parent.path).name})


def as_record(link: Link) -> dict[str, Any]:
    """What provenance.json says about one directory."""
    manifest = link.manifest
    return {
        "role": link.role,
        "kind": manifest.kind,
        "name": link.path.resolve().name,
        "sha256": link.sha256,
        "key": manifest.key,
        "created": manifest.created,
        "wall_seconds": manifest.wall_seconds,
        "parents": [{"role": p.role, "kind": p.kind, "sha256": p.sha256} for p in manifest.parents],
        "settings": without_places(manifest.settings),
        "counts": {name: count.model_dump() for name, count in manifest.counts.items()},
        "licences": [licence.model_dump() for licence in manifest.licences],
        "legal": manifest.legal,
        "versions": manifest.versions,
        "commit": manifest.commit,
    }


def without_places(value: Any) -> Any:
    """The same plain data with every absolute path cut down to its last name."""
    if isinstance(value, dict):
        return {key: without_places(item) for key, item in value.items()}
    if isinstance(value, list):
        return [without_places(item) for item in value]
    if isinstance(value, str):
        for flavour in (PurePosixPath, PureWindowsPath):
            if len(value) > 1 and flavour(value).is_absolute():
                return flavour(value).name
    return value
