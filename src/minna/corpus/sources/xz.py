"""Reading .xz, stream after stream, so that nothing behind the first one is lost without a word.

A file may hold several streams (xz -T does not, `cat a.xz b.xz` and pixz do). `lzma.open` takes one
with a damaged start, or any junk, for the end of the file. By the format's rule only zeros may
stand there, a multiple of four; all else must be another stream.
"""

from __future__ import annotations

import io
import lzma
from typing import Any, BinaryIO, Final, cast

_BLOCK: Final = 1 << 16  # compressed bytes at once; some 300 kB of text
_PADDING: Final = 4


class _Xz(io.RawIOBase):
    """The content of all streams of a file."""

    def __init__(self, stream: BinaryIO) -> None:
        super().__init__()
        self._stream = stream
        self._decoder = lzma.LZMADecompressor(lzma.FORMAT_XZ)
        self._packed = b""  # read, and not yet given to the decoder

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while len(buffer):
            if self._decoder.eof and not self._begin_next_stream():
                return 0
            if self._decoder.needs_input and not self._packed:
                self._packed = self._stream.read(_BLOCK)
                if not self._packed:
                    raise EOFError("the file ends before its last stream does")
            packed, self._packed = self._packed, b""
            if block := self._decoder.decompress(packed, len(buffer)):
                buffer[: len(block)] = block
                return len(block)
        return 0

    def _begin_next_stream(self) -> bool:
        """Skip the zeros behind a stream; False where the file ends there."""
        left = self._decoder.unused_data + self._packed
        zeros = 0
        while not (rest := left.lstrip(b"\0")):
            zeros += len(left)
            left = self._stream.read(_BLOCK)
            if not left:
                break
        zeros += len(left) - len(rest)
        if zeros % _PADDING:
            raise lzma.LZMAError(f"{zeros} zeros behind a stream, no multiple of {_PADDING}")
        if rest:
            self._decoder = lzma.LZMADecompressor(lzma.FORMAT_XZ)
            self._packed = rest
        return bool(rest)

    def close(self) -> None:
        self._stream.close()
        super().close()


def open_xz(stream: BinaryIO) -> BinaryIO:
    """The unpacked content of a stream of .xz; closing it closes the stream.

    Reading raises `lzma.LZMAError` for what is damaged and `EOFError` for what is cut.
    """
    return cast("BinaryIO", io.BufferedReader(_Xz(stream), 1 << 18))
