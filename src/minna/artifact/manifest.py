"""`minna.json`: what a directory is, how it came to be, and what it must still contain.

Provenance is only worth something when it is written by the tool and not by hand, so every verb
goes through here. A parent is named by the hash of *its* manifest, which names its parents in turn:
from a released model one walks back to the archive the text came from.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import subprocess
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

import minna
from minna.artifact.files import sha256_file, write_text_atomically
from minna.errors import ArtifactError

MANIFEST_NAME = "minna.json"
SCHEMA_VERSION = 1
_LIBRARIES = ("torch", "numpy", "sentencepiece", "tokenizers", "safetensors", "pyarrow")

type_of_kind = {
    "corpus": "documents, pairs, clips or dialogues in parquet",
    "sidecar": "labels keyed by corpus id",
    "tokenizer": "a Hugging Face tokenizer folder with its SentencePiece model",
    "tokens": "packed token shards of one corpus under one tokenizer",
    "run": "a training run: recipe, log, checkpoints, report",
    "checkpoint": "the state of a run at one step",
    "model": "a model dir in Hugging Face format",
    "adapter": "low-rank adapters for a base model, as peft loads them",
    "requests": "what a model is asked in one task of an evaluation",
    "report": "an evaluation report",
    "duel": "models asked the same questions, and whose answers a judge liked better",
    "release": "a publishable model dir: card, licence, provenance, checksums",
    "record": "what a speed run reached, on what machine, and how",
}
Kind = Literal[
    "corpus",
    "sidecar",
    "tokenizer",
    "tokens",
    "run",
    "checkpoint",
    "model",
    "adapter",
    "requests",
    "report",
    "duel",
    "release",
    "record",
]


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class FileEntry(_Record):
    """One file: its sha256 (hex) and its size in bytes."""

    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    bytes: int = Field(ge=0)


class Count(_Record):
    """A number with its unit, such as 202537 documents."""

    value: float
    unit: str


class Licence(_Record):
    """The terms of one source of data or weights, and whom to credit."""

    source: str
    licence: str
    attribution: str = ""
    url: str = ""


class Parent(_Record):
    """An input directory: its role here, its kind, the sha256 of its minna.json, where it lay."""

    role: str
    kind: Kind
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    path: str


class Manifest(_Record):
    """The content of minna.json, schema version 1."""

    kind: Kind
    schema_version: Literal[1] = 1
    key: str = Field(pattern=r"^[0-9a-f]{64}$", description="hash of kind, settings and parents")
    created: str = Field(description="UTC, ISO 8601")
    files: dict[str, FileEntry] = Field(default_factory=dict)
    counts: dict[str, Count] = Field(default_factory=dict)
    licences: list[Licence] = Field(default_factory=list)
    legal: list[str] = Field(default_factory=list)
    parents: list[Parent] = Field(default_factory=list)
    settings: dict[str, Any] = Field(default_factory=dict)
    versions: dict[str, str] = Field(default_factory=dict)
    commit: str | None = None
    wall_seconds: float = 0.0

    def parent(self, role: str) -> Parent:
        """Return the parent of that role.

        Raises:
            ArtifactError: no such parent.
        """
        for parent in self.parents:
            if parent.role == role:
                return parent
        raise ArtifactError(
            f"this {self.kind} has no parent {role!r} (it has {[p.role for p in self.parents]})",
            remedy="make it again with the verb that writes it",
        )


def canonical(value: object) -> str:
    """JSON with sorted keys and no spaces: the same settings give the same text."""
    return json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"))


def key_of(kind: Kind, *, settings: dict[str, Any], parents: list[Parent]) -> str:
    """Hash what determines a directory's content: kind, settings, parents (not their paths)."""
    content = {
        "kind": kind,
        "schema": SCHEMA_VERSION,
        "settings": settings,
        "parents": [[p.role, p.kind, p.sha256] for p in parents],
    }
    return hashlib.sha256(canonical(content).encode()).hexdigest()


def parent_of(path: Path, *, role: str, kind: Kind | None = None) -> Parent:
    """Describe the directory at `path` as a parent.

    Raises:
        ArtifactError: no readable manifest there, or another kind than asked.
    """
    manifest = read_manifest(path, kind=kind)
    return Parent(
        role=role,
        kind=manifest.kind,
        sha256=sha256_file(path / MANIFEST_NAME),
        path=Path(os.path.abspath(path)).as_posix(),
    )


def read_manifest(path: Path, *, kind: Kind | None = None) -> Manifest:
    """Read and check `path`/minna.json.

    Raises:
        ArtifactError: nothing there, not valid, a newer schema, or another kind than asked.
    """
    file = path / MANIFEST_NAME
    if not path.exists():
        raise ArtifactError(f"{path} does not exist", remedy="check the path")
    if not file.is_file():
        raise ArtifactError(
            f"{path} has no {MANIFEST_NAME}, so it is not a finished minna directory",
            remedy="run the verb that makes it again; an interrupted one goes on where it stopped",
        )
    try:
        manifest = Manifest.model_validate_json(file.read_text(encoding="utf-8"))
    except (ValidationError, UnicodeDecodeError) as error:
        raise ArtifactError(
            f"{file} is not a manifest of schema version {SCHEMA_VERSION}: {error}",
            remedy="make the directory again, or use the minna version that wrote it",
        ) from error
    if kind is not None and manifest.kind != kind:
        raise ArtifactError(
            f"{path} is a {manifest.kind} ({type_of_kind[manifest.kind]}), and a {kind} is needed",
            remedy=f"give a directory that is a {kind}",
        )
    return manifest


def unchanged(path: Path, *, key: str) -> bool:
    """Whether `path` is a finished directory made from exactly these settings and parents."""
    if not (path / MANIFEST_NAME).is_file():
        return False
    return read_manifest(path).key == key


def new_manifest(
    kind: Kind,
    *,
    settings: dict[str, Any],
    parents: list[Parent],
    **rest: Any,
) -> Manifest:
    """Fill in what every manifest has: key, time, versions, commit."""
    return Manifest(
        kind=kind,
        key=key_of(kind, settings=settings, parents=parents),
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        settings=settings,
        parents=parents,
        versions=library_versions(),
        commit=source_commit(),
        **rest,
    )


def write_manifest(path: Path, manifest: Manifest) -> None:
    """Write minna.json into `path`, atomically."""
    text = json.dumps(manifest.model_dump(mode="json"), ensure_ascii=False, indent=1)
    write_text_atomically(path / MANIFEST_NAME, text + "\n")


def library_versions() -> dict[str, str]:
    """Versions of Python, minna and the libraries that decide numbers, without importing them."""
    versions = {"python": platform.python_version(), "minna": minna.__version__}
    for name in _LIBRARIES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return versions


def code_digest() -> str:
    """Hash minna's own source: whether two processes run the same, installed or not."""
    root = Path(minna.__file__).parent
    total = hashlib.sha256()
    for file in sorted(root.rglob("*.py")):
        total.update(file.relative_to(root).as_posix().encode() + b"\0" + file.read_bytes())
    return total.hexdigest()


def source_commit() -> str | None:
    """The git commit of minna's own source, or None for an installed package."""
    root = Path(minna.__file__).parents[2]
    if not (root / ".git").exists():
        return None
    try:
        done = subprocess.run(
            ["git", "rev-parse", "HEAD"],  # noqa: S607 - git from PATH is what is meant
            cwd=root,
            capture_output=True,
            text=True,
            check=True,
            timeout=5,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
