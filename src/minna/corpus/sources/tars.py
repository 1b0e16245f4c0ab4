"""Reading a tar from the front to its very end, so that a damaged one never passes for a short one.

`tarfile` takes a bad, cut or missing header behind the first member for the end of the archive, and
its own "r|*" compares no checksum and stops behind the first gzip member. One bad byte in the
header of the second of 6,110 works would lose 6,109 of them without a word. Here every header but
the closing block of zeros must be whole, the stream is read on behind that block (which is where
decompressors compare their checksums), and nothing but zeros may stand there.
"""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from tarfile import HeaderError, ReadError
from typing import IO, BinaryIO, Self

_BLOCK = 1 << 20


class _Strict(tarfile.TarInfo):
    """A member whose header is whole; `tarfile` passes a `ReadError` on and swallows the others."""

    @classmethod
    def fromtarfile(cls, tarfile: tarfile.TarFile) -> Self:
        try:
            return super().fromtarfile(tarfile)
        except HeaderError as error:
            if type(error).__name__ == "EOFHeaderError":  # the zeros at the end; no public name
                raise
            raise ReadError(f"the header of a member is not one ({error})") from error


def tar_files(stream: BinaryIO) -> Iterator[tuple[tarfile.TarInfo, IO[bytes]]]:
    """The regular files of an unpacked tar, each with a stream that is good until the next one.

    Raises:
        tarfile.TarError: a damaged or cut header or member, or something behind the end.
    """
    with tarfile.open(fileobj=stream, mode="r|", tarinfo=_Strict) as archive:
        for member in archive:
            if member.isfile():
                content = archive.extractfile(member)
                assert content is not None  # isfile() says so
                yield member, content
        assert archive.fileobj is not None  # it is open
        while block := archive.fileobj.read(_BLOCK):
            if block.count(0) < len(block):
                raise ReadError("an empty header, with more behind it")
