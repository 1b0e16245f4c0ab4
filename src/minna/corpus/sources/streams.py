"""Opening what people have: plain or compressed files, with errors that name the file and the byte.

A truncated archive must not pass for a short one: every decompressor's own complaint becomes one
`DataError` that says how far the file was readable.
"""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import io
import lzma
import tarfile
import zipfile
import zlib
from collections.abc import Generator
from pathlib import Path
from typing import Any, BinaryIO, cast

from minna.artifact.files import sha256_file
from minna.errors import DataError

COMPRESSIONS = (".gz", ".xz", ".zst")
UNREADABLE = (
    EOFError,
    OSError,  # gzip's and pyarrow's complaints are of this class
    lzma.LZMAError,
    zlib.error,
    tarfile.TarError,
    zipfile.BadZipFile,
)
"""What decompressors and archive readers raise for a truncated or damaged file."""

_HEAD = 8192


class _Counted(io.RawIOBase):
    """A byte stream that knows how many bytes it gave, for the message when it breaks."""

    def __init__(self, stream: BinaryIO, path: Path) -> None:
        super().__init__()
        self._stream = stream
        self._path = path
        self._given = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        try:
            block = self._stream.read(len(buffer))
        except UNREADABLE as error:
            raise broken(self._path, error, after=self._given) from error
        buffer[: len(block)] = block
        self._given += len(block)
        return len(block)

    def close(self) -> None:
        self._stream.close()
        super().close()


def broken(path: Path, error: Exception, *, after: int | None = None) -> DataError:
    """The error for a file that its decompressor or archive reader cannot read on."""
    where = "" if after is None else f" after {after} readable bytes"
    return DataError(
        f"{path} is truncated or damaged{where}: {error or type(error).__name__}",
        remedy="fetch the file again and compare its size with the original",
    )


@contextlib.contextmanager
def open_bytes(path: Path) -> Generator[BinaryIO]:
    """Open a file for reading bytes, through its decompressor if it ends in .gz, .xz or .zst.

    Raises:
        DataError: no such file, or (while reading) a truncated or damaged one.
    """
    try:
        raw = _decompressed(path)
    except FileNotFoundError as error:
        raise DataError(f"{path} does not exist", remedy="check the path after --from") from error
    except UNREADABLE as error:
        raise broken(path, error, after=0) from error
    with io.BufferedReader(_Counted(raw, path), 1 << 20) as stream:
        yield cast("BinaryIO", stream)


def _decompressed(path: Path) -> BinaryIO:
    suffix = path.suffix.lower()
    if suffix == ".gz":
        return cast("BinaryIO", gzip.open(path, "rb"))
    if suffix == ".xz":
        return cast("BinaryIO", lzma.open(path, "rb"))
    if suffix == ".zst":
        import pyarrow as pa

        return cast("BinaryIO", pa.CompressedInputStream(pa.OSFile(str(path), "rb"), "zstd"))
    return path.open("rb")


def decode_utf8(content: bytes, *, name: object, offset: int = 0) -> str:
    """Decode UTF-8 text (a byte-order mark is dropped).

    Args:
        content: the bytes.
        name: the file, for the error.
        offset: where `content` starts in the (decompressed) file.

    Raises:
        DataError: binary content, or a byte that is not UTF-8, with its place.
    """
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        refuse_binary(content[:_HEAD], name=name)
        raise DataError(
            f"{name} is not UTF-8: byte {content[error.start]:#04x} at offset "
            f"{offset + error.start} ({error.reason})",
            remedy="convert it first, for example: iconv -f CP932 -t UTF-8 IN > OUT",
        ) from error
    refuse_binary(content[:_HEAD], name=name)
    return text.removeprefix("\ufeff")


def refuse_binary(head: bytes, *, name: object) -> None:
    """Refuse content with zero bytes: no text in UTF-8 or Shift_JIS holds one.

    Raises:
        DataError: there is a zero byte.
    """
    place = head.find(b"\0")
    if place >= 0:
        raise DataError(
            f"{name} is a binary file (or UTF-16): a zero byte stands at offset {place}",
            remedy="give text in UTF-8, JSON lines or parquet; take other files out of the folder",
        )


def describe_files(files: list[tuple[str, Path]]) -> dict[str, Any]:
    """Identity of a set of files: how many, how large, one hash over names and contents."""
    digest = hashlib.sha256()
    size = 0
    for name, file in files:
        digest.update(f"{name}\0{sha256_file(file)}\n".encode())
        size += file.stat().st_size
    return {"files": len(files), "bytes": size, "sha256": digest.hexdigest()}
