"""Files of which each is one row (a picture, a recording): alone, named by a table, or in a tar.

A table may come from somebody else, and names nothing outside of its folder; a file that is too
large to be one picture or one recording is not read at all.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, Final, cast

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from minna.corpus.sources.streams import UNREADABLE, broken, open_bytes
from minna.corpus.sources.tars import tar_files
from minna.errors import DataError

TARS: Final = (".tar", ".tar.gz", ".tgz", ".tar.xz", ".txz", ".tar.zst")
Files = Sequence[tuple[str, Path]]
"""Names, as POSIX below what the user gave, and where they are."""


def read_inside(root: Path, name: str, *, most: int) -> tuple[bytes, str]:
    """The bytes of a file that a table names, and why there are none.

    Args:
        root: the folder below which everything must lie.
        name: of the file.
        most: bytes that are read; a larger one is "too_large".
    """
    place = Path(os.path.normpath(name))
    if place.is_absolute() or os.pardir in place.parts or "\0" in name:
        return b"", "outside"
    return read_bounded(root / place, most=most)


def read_bounded(file: Path, *, most: int) -> tuple[bytes, str]:
    """The bytes of a file, and why there are none: "missing", "empty" or "too_large"."""
    try:
        if file.stat().st_size > most:
            return b"", "too_large"
        content = file.read_bytes()
    except OSError:
        return b"", "missing"
    return content, "" if content else "empty"


def read_beside(file: Path, *, most: int) -> bytes | None:
    """The bytes of a side-car, None where there is none."""
    content, problem = read_bounded(file, most=most)
    return None if problem == "missing" else content


def text_beside(content: bytes | None) -> str | None:
    """The text of a side-car, "" where there is none, None where it is no UTF-8."""
    try:
        return "" if content is None else content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return None


def json_beside(content: bytes | None) -> dict[str, Any] | None:
    """The JSON of a side-car; empty where there is none, None where it is broken."""
    if content is None:
        return {}
    try:
        told = json.loads(content)
    except (ValueError, RecursionError):
        return None
    return cast("dict[str, Any]", told) if isinstance(told, dict) else None


def stamps(files: Files) -> dict[str, Any]:
    """Names, sizes and times of change: reading millions of files twice to hash them is not."""
    digest = hashlib.sha256()
    size = 0
    for name, file in files:
        try:
            told = file.stat()
        except OSError as error:
            raise broken(file, error) from error
        size += told.st_size
        line = f"{name}\0{told.st_size} {told.st_mtime_ns}\n"
        digest.update(line.encode("utf-8", "surrogatepass"))
    return {"files": len(files), "bytes": size, "stamps": digest.hexdigest()}


# ---- tars


def is_tar(name: str) -> bool:
    """Whether a file's name is that of a tar."""
    return name.lower().endswith(TARS)


def members_by_key(file: Path, *, most: int) -> Iterator[tuple[str, dict[str, bytes | None]]]:
    """Members that follow each other under one key: suffix -> content, None where too large.

    A key is a name up to the first dot of its last part, as in webdataset's shards; the rest, such
    as ".jpg", is the suffix, in lower case.

    Raises:
        DataError: the tar is truncated or damaged.
    """
    last, members = "", dict[str, bytes | None]()
    for name, content in tar_members(file, most=most):
        key, suffix = split_key(name)
        if key != last and members:
            yield last, members
            members = {}
        last = key
        members[suffix] = content
    if members:
        yield last, members


def tar_members(file: Path, *, most: int) -> Iterator[tuple[str, bytes | None]]:
    """The files of a tar by name, None where one is too large.

    Raises:
        DataError: the tar is truncated or damaged.
    """
    with open_bytes(file) as stream:
        try:
            for member, content in tar_files(stream):
                yield member.name, content.read() if member.size <= most else None
        except UNREADABLE as error:
            raise broken(file, error) from error


def split_key(name: str) -> tuple[str, str]:
    """A member's key and its suffix."""
    path = PurePosixPath(name)
    stem, dot, suffix = path.name.partition(".")
    return (path.parent / stem).as_posix(), (dot + suffix).lower()


# ---- what a table tells of files that are elsewhere


class Listed:
    """Texts by the name or the address of their file: 8 bytes and the text for each.

    Args:
        rows: names and texts.
        where: they come from.
        remedy: for the error.

    Raises:
        DataError: there are none.
    """

    def __init__(self, rows: Iterator[tuple[str, str]], *, where: Path, remedy: str) -> None:
        keys: list[npt.NDArray[np.uint64]] = []
        texts: list[pa.Array[Any]] = []
        while block := [row for _, row in zip(range(100_000), rows, strict=False)]:
            keys.append(np.asarray([_key(name) for name, _ in block], dtype=np.uint64))
            texts.append(pa.array([text for _, text in block], type=pa.large_string()))
        if not keys:
            raise DataError(f"{where} lists nothing", remedy=remedy)
        every = np.concatenate(keys)
        self._order = np.argsort(every, kind="stable")
        self._keys = every[self._order]
        self._texts = pa.chunked_array(texts, type=pa.large_string())

    def texts(self, name: str) -> list[str]:
        """What is said of a file, in the order of the rows."""
        key = np.uint64(_key(name))
        start, stop = np.searchsorted(self._keys, [key, key + np.uint64(1)])
        return [self._texts[int(place)].as_py() for place in self._order[start:stop]]


def _key(name: str) -> int:
    """63 bits, so that one more is still a number of 64."""
    digest = hashlib.blake2b(name.strip().encode("utf-8", "surrogatepass"), digest_size=8)
    return int.from_bytes(digest.digest(), "big") >> 1
