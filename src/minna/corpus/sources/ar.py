"""The `ar` archive around a Debian package: "!<arch>", then members with headers of 60 bytes.

The standard library has no reader for it, and `dpkg-deb` is on Debian only. The format is fixed
width: name 16, time 12, owner 6, group 6, mode 8, size 10 (decimal), "`" and a line end; a member
of odd size is followed by one byte of filling.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, Final, NamedTuple, cast

from minna.corpus.sources.streams import broken
from minna.errors import DataError

_MAGIC: Final = b"!<arch>\n"
_HEADER: Final = 60
_HEADER_END: Final = b"`\n"


class Member(NamedTuple):
    """A member: its name, and a stream of its bytes that is good until the next one is asked."""

    name: str
    stream: BinaryIO


class _Part(io.RawIOBase):
    """The next `size` bytes of a stream; fewer are an error, so that a cut is never a short end."""

    def __init__(self, stream: BinaryIO, *, size: int) -> None:
        super().__init__()
        self._stream = stream
        self.left = size

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        block = self._stream.read(min(len(buffer), self.left))
        if not block and self.left and len(buffer):
            raise EOFError(f"{self.left} bytes of a member are missing")
        buffer[: len(block)] = block
        self.left -= len(block)
        return len(block)


def ar_members(stream: BinaryIO, *, file: Path) -> Iterator[Member]:
    """The members of an archive, one after the other.

    Raises:
        DataError: it is no such archive, or it is cut.
    """
    if stream.read(len(_MAGIC)) != _MAGIC:
        raise DataError(
            f"{file} is no Debian package: it does not start with {_MAGIC.decode().strip()}",
            remedy="fetch it again with apt-get download",
        )
    while header := stream.read(_HEADER):
        size = header[48:58].strip()
        if len(header) < _HEADER or header[58:] != _HEADER_END or not size.isdigit():
            cut = ValueError("the header of a member is not one")
            raise broken(file, cut, after=stream.tell() - len(header))
        end = stream.tell() + int(size) + int(size) % 2
        part = _Part(stream, size=int(size))
        # names end in "/" when GNU ar wrote them, in spaces when dpkg did
        name = header[:16].decode("ascii", "replace").rstrip(" ").rstrip("/")
        yield Member(name, cast("BinaryIO", io.BufferedReader(part, 1 << 16)))
        stream.seek(end)
