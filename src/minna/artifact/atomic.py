"""A directory that appears whole or not at all, and can be gone on with after a kill.

The draft lies beside its final name as `.NAME.partial`, holds a lock while somebody writes it, and
carries the key of the work it belongs to. The same call after a kill finds the draft again (shards
already written stay), another call starts a fresh one. On success: hash, manifest, flush, rename.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from collections.abc import Generator
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from minna.artifact.files import disk_error, flush_directory, replace_file, sha256_file
from minna.artifact.manifest import (
    MANIFEST_NAME,
    Count,
    FileEntry,
    Kind,
    Licence,
    Parent,
    key_of,
    new_manifest,
    read_manifest,
    write_manifest,
)
from minna.errors import ArtifactError

__all__ = ["Draft", "replace_file", "writing"]

_KEY_FILE = ".key"


class Draft:
    """A directory in the making: write files below `path`, add counts, licences and legal notes."""

    def __init__(self, path: Path, *, resumed: bool) -> None:
        self.path = path
        self.resumed = resumed
        self.counts: dict[str, Count] = {}
        self.licences: list[Licence] = []
        self.legal: list[str] = []

    def count(self, name: str, value: float, unit: str) -> None:
        """Record a number with its unit."""
        self.counts[name] = Count(value=value, unit=unit)


def draft_of(out: Path) -> Path:
    """Where `out` is written until it is whole."""
    return out.with_name(f".{out.name}.partial")


@contextlib.contextmanager
def writing(
    out: Path,
    *,
    kind: Kind,
    settings: dict[str, Any],
    parents: list[Parent] | None = None,
) -> Generator[Draft]:
    """Write the directory `out`.

    An existing `out` of the same kind is replaced only at the very end; one of another kind, or one
    that is not ours, is refused, so that a slip in `--out` cannot delete somebody's work.

    Raises:
        ArtifactError: somebody else is writing it, the disk is full, or `out` holds something else.
    """
    parents = parents or []
    if out.is_symlink():
        out = out.resolve()  # what it points to is replaced, never the link
    if not out.name:
        raise ArtifactError(
            f"{str(out)!r} has no name of its own to be written under",
            remedy="choose an --out such as build/corpus",
        )
    partial = draft_of(out)
    lock = FileLock(out.with_name(f".{out.name}.lock"))
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=0)
    except Timeout as error:
        raise ArtifactError(
            f"another process is writing {out}", remedy="wait for it, or choose another --out"
        ) from error
    except OSError as error:
        raise disk_error(error, out) from error
    start = time.monotonic()
    try:
        recover(out)
        _refuse_foreign(out, kind)
        draft = Draft(partial, resumed=_open_partial(partial, kind, settings, parents))
        yield draft
        manifest = new_manifest(
            kind,
            settings=settings,
            parents=parents,
            files=hash_files(partial),
            counts=draft.counts,
            licences=draft.licences,
            legal=draft.legal,
            wall_seconds=round(time.monotonic() - start, 3),
        )
        write_manifest(partial, manifest)
        (partial / _KEY_FILE).unlink()
        _swap(partial, out)
    except OSError as error:
        raise disk_error(error, out) from error
    finally:
        lock.release()


def hash_files(root: Path) -> dict[str, FileEntry]:
    """List every file below `root` but the manifest, by POSIX path, with hash and size."""
    return {
        file.relative_to(root).as_posix(): FileEntry(
            sha256=sha256_file(file), bytes=file.stat().st_size
        )
        for file in sorted(root.rglob("*"))
        if file.is_file() and file.name not in (MANIFEST_NAME, _KEY_FILE)
    }


def recover(out: Path) -> None:
    """Put the old directory back when a kill fell between the two renames of a replacement."""
    old = out.with_name(f".{out.name}.old")
    if not old.exists():
        return
    if out.exists():
        shutil.rmtree(old)
    else:
        os.replace(old, out)


def _refuse_foreign(out: Path, kind: Kind) -> None:
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return
    remedy = "choose another --out, or remove it yourself"
    if not (out / MANIFEST_NAME).is_file():
        raise ArtifactError(f"{out} exists and was not made by minna", remedy=remedy)
    found = read_manifest(out).kind
    if found != kind:
        raise ArtifactError(f"{out} is a {found}, and a {kind} would replace it", remedy=remedy)


def _open_partial(
    partial: Path, kind: Kind, settings: dict[str, Any], parents: list[Parent]
) -> bool:
    """Create the draft folder, or keep the one an interrupted call of the same work left."""
    key = key_of(kind, settings=settings, parents=parents)
    key_file = partial / _KEY_FILE
    if key_file.is_file() and key_file.read_text(encoding="utf-8") == key:
        for cut in partial.rglob(".*.tmp"):  # what a kill inside replace_file left
            cut.unlink()
        return True
    if partial.exists():
        known = (_KEY_FILE, MANIFEST_NAME)
        if any(partial.iterdir()) and not any((partial / name).is_file() for name in known):
            raise ArtifactError(
                f"{partial} is where the work is done, and something else lies there",
                remedy="move it away, or choose another --out",
            )
        shutil.rmtree(partial)
    partial.mkdir()
    key_file.write_text(key, encoding="utf-8")
    return False


def _swap(partial: Path, out: Path) -> None:
    for file in partial.rglob("*"):
        if file.is_file():
            with file.open("r+b") as handle:  # Windows flushes only writable handles
                os.fsync(handle.fileno())
    if out.is_dir() and not any(out.iterdir()):
        out.rmdir()
    old = out.with_name(f".{out.name}.old")
    if out.exists():
        os.replace(out, old)
    os.replace(partial, out)
    flush_directory(out.parent)
    if old.exists():
        shutil.rmtree(old)
