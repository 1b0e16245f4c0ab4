"""Tensors on disk: safetensors, with its own errors turned into ours."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import TYPE_CHECKING

from minna.artifact.files import disk_error

if TYPE_CHECKING:
    from torch import Tensor

_FULL = ("No space left", "os error 28", "Disk quota")


def save_tensors(
    tensors: dict[str, Tensor], path: Path, *, metadata: dict[str, str] | None = None
) -> None:
    """Write a safetensors file (inside a draft: it is not atomic by itself).

    Raises:
        ArtifactError: the disk is full, or the file cannot be written. safetensors reports both as
            an error of its own that is no OSError.
    """
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    try:
        save_file(tensors, path, metadata=metadata)
    except SafetensorError as error:
        full = any(words in str(error) for words in _FULL)
        number = errno.ENOSPC if full else errno.EIO
        raise disk_error(OSError(number, str(error)), path) from error
    path.chmod(0o666 & ~_mask())  # it writes for the owner alone, and all else is for everybody


def _mask() -> int:
    """What the user's umask takes from new files; there is no other way to read it."""
    mask = os.umask(0)
    os.umask(mask)
    return mask
