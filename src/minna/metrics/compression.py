"""What xz makes of a held-out text when it has seen the training text: a floor for language models.

A model that does not beat a compressor that only finds repeated strings has learnt nothing else. On
Tatoeba xz needs 2.321 bits per byte alone, and 1.593 with the training text in front; a small model
trained for five minutes needs 1.10.
"""

from __future__ import annotations

import dataclasses
import lzma
from collections.abc import Iterable, Sequence

from minna.errors import DataError

_SMALLEST_DICTIONARY = 4096
_LARGEST_DICTIONARY = 1_500_000_000


@dataclasses.dataclass(frozen=True, kw_only=True)
class Compression:
    """Bits per byte of the held-out text, and how much training text was in front of it.

    `capped` says that there was more training text than `max_training_bytes` allowed.
    """

    bits_per_byte: float
    held_out_bytes: int
    training_bytes: int
    capped: bool


def xz_bits_per_byte(
    training: Iterable[str], *, held_out: Sequence[str], max_training_bytes: int = 32_000_000
) -> Compression:
    """What the held-out text adds to the compressed training text, in bits per byte.

    Documents end in a newline each (one byte, as in `document_bytes`). Needs about 11 bytes of
    memory per byte of text, and about a second per megabyte, twice: hence the cap.

    Args:
        training: documents to put in front, in order, whole, until the cap; may be empty.
        held_out: documents to measure.
        max_training_bytes: the cap.

    Raises:
        DataError: nothing held out.
    """
    measured = b"".join(text.encode() + b"\n" for text in held_out)
    if not measured:
        raise DataError(
            "there is no held-out text to compress", remedy="give at least one document"
        )
    front = bytearray()
    capped = False
    for text in training:
        document = text.encode() + b"\n"
        if len(front) + len(document) > max_training_bytes:
            capped = True
            break
        front += document
    known = bytes(front)
    both = known + measured
    size = _size(both, window=len(both)) - (_size(known, window=len(both)) if known else 0)
    return Compression(
        bits_per_byte=8 * size / len(measured),
        held_out_bytes=len(measured),
        training_bytes=len(known),
        capped=capped,
    )


def _size(data: bytes, *, window: int) -> int:
    """Bytes of `data` under LZMA2, preset 9e, with a dictionary that reaches back to its start."""
    dictionary = min(max(window, _SMALLEST_DICTIONARY), _LARGEST_DICTIONARY)
    filters = [
        {"id": lzma.FILTER_LZMA2, "preset": 9 | lzma.PRESET_EXTREME, "dict_size": dictionary}
    ]
    return len(lzma.compress(data, format=lzma.FORMAT_RAW, filters=filters))
