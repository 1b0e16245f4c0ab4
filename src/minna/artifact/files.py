"""Files that are there whole or not at all.

A write goes to a temporary name in the same folder, is flushed to disk, then renamed over the final
name: a kill or a full disk at any moment leaves the old file or the new one, never a half.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import sys
import uuid
from collections.abc import Generator
from pathlib import Path
from typing import BinaryIO

from minna.errors import ArtifactError

_BLOCK = 1 << 20


def sha256_file(path: Path) -> str:
    """Hex sha256 of a file, read in blocks of 1 MiB."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def flush_directory(path: Path) -> None:
    """Make renames inside `path` durable (a no-op where directories cannot be opened: Windows)."""
    if sys.platform == "win32":
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextlib.contextmanager
def replace_file(path: Path) -> Generator[BinaryIO]:
    """Open a binary file that takes the name `path` only when the block ends without an error.

    Raises:
        ArtifactError: the disk is full (nothing of the new content stays, the old file is
            untouched).
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.tmp")
    try:
        with temporary.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
        flush_directory(path.parent)
    except OSError as error:
        raise disk_error(error, path) from error
    finally:
        temporary.unlink(missing_ok=True)


def disk_error(error: OSError, path: Path) -> ArtifactError:
    """Say in a user's words what an OSError while writing means."""
    import errno

    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return ArtifactError(
            f"the disk is full while writing {path}; what was there before is untouched",
            remedy="free some space and run the same command again: it goes on where it stopped",
        )
    if error.errno in (errno.ENOENT, errno.EMFILE, errno.ENFILE):  # not a fault of writing
        return ArtifactError(
            f"the work on {path} stopped: {error}",
            remedy="look at the file the message names, and run the same command again",
        )
    return ArtifactError(f"cannot write {path}: {error}", remedy="check the path and its rights")


def write_text_atomically(path: Path, text: str) -> None:
    """Write UTF-8 text with Unix line ends, whole or not at all."""
    with replace_file(path) as file:
        file.write(text.encode())
