"""The fields of a SentencePiece model file that its Python API does not show.

Whether a model puts a space in front, folds spaces, escapes them, falls back to bytes, and which
character map it normalises with, decides every id it gives; the API shows none of it. The official
reader needs the protobuf package, for 40 lines of wire format, so the 40 lines are here.

Field numbers: sentencepiece_model.proto of google/sentencepiece 0.2.
"""

from __future__ import annotations

import dataclasses
import enum
import struct
from collections.abc import Iterator
from pathlib import Path

from minna.errors import DataError

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_PIECES, _TRAINER, _NORMALISER = 1, 2, 3
_SCORE = 2  # in a piece
# SentencePiece adds unigram scores in 32 bits, `tokenizers` in 64: a line of dashes, all ties, came
# out differently in 439 of 32,697 lines of Aozora Bunko and a tenth of its works. On this grid sums
# are exact in both up to 262,144 (some 30,000 tokens): no line and no work differs any more, for
# 1,745,765 tokens instead of 1,745,782.
SCORE_STEP = 2.0**-6


class PieceType(enum.IntEnum):
    """What a piece is; the numbers are SentencePiece's, and GGUF's too."""

    NORMAL = 1
    UNKNOWN = 2
    CONTROL = 3
    USER_DEFINED = 4
    UNUSED = 5
    BYTE = 6


@dataclasses.dataclass(frozen=True, kw_only=True)
class Piece:
    """One entry of the vocabulary: its text (spaces written as U+2581), score and type."""

    text: str
    score: float
    type: PieceType


@dataclasses.dataclass(frozen=True, kw_only=True)
class ModelFields:
    """What decides the ids a SentencePiece model gives. Defaults are those of the format."""

    pieces: tuple[Piece, ...]
    kind: str = "unigram"
    byte_fallback: bool = False
    whitespace_as_suffix: bool = False
    unk_surface: str = " \u2047 "
    normalisation: str = ""
    charsmap: bytes = b""
    dummy_prefix: bool = True
    fold_spaces: bool = True
    escape_spaces: bool = True


def read_model(path: Path) -> ModelFields:
    """Read the pieces and settings of a SentencePiece model file.

    Raises:
        DataError: the file is not a SentencePiece model.
    """
    try:
        return parse_model(path.read_bytes())
    except (ValueError, IndexError, struct.error) as error:
        raise DataError(
            f"{path} is not a SentencePiece model ({error})",
            remedy="fetch the file again, or train one with `minna tokenizer train`",
        ) from error


def parse_model(data: bytes) -> ModelFields:
    """Read the pieces and settings from the bytes of a model file."""
    pieces: list[Piece] = []
    trainer: dict[int, int | bytes] = {}
    normaliser: dict[int, int | bytes] = {}
    for number, value in _fields(data):
        if number == _PIECES:
            pieces.append(_piece(_message(value)))
        elif number == _TRAINER:
            trainer = dict(_fields(_message(value)))
        elif number == _NORMALISER:
            normaliser = dict(_fields(_message(value)))
    if not pieces:
        raise ValueError("no pieces in it")
    kinds = {1: "unigram", 2: "bpe", 3: "word", 4: "char"}
    return ModelFields(
        pieces=tuple(pieces),
        kind=kinds[int(trainer.get(3, 1))],
        byte_fallback=bool(trainer.get(35, 0)),
        whitespace_as_suffix=bool(trainer.get(24, 0)),
        unk_surface=_message(trainer.get(44, " \u2047 ".encode())).decode(),
        normalisation=_message(normaliser.get(1, b"")).decode(),
        charsmap=_message(normaliser.get(2, b"")),
        dummy_prefix=bool(normaliser.get(3, 1)),
        fold_spaces=bool(normaliser.get(4, 1)),
        escape_spaces=bool(normaliser.get(5, 1)),
    )


def snap_scores(data: bytes, *, step: float) -> bytes:
    """The same model file with every score rounded to a multiple of `step` (a power of two).

    Sums of such scores are exact in 32 bits and in 64 bits alike, up to 2**24 steps; so libraries
    that add in different precisions choose the same segmentation.
    """
    snapped = bytearray(data)
    for number, piece, end in _located(data):
        if number != _PIECES:
            continue
        start = end - len(_message(piece))
        for field, value, at in _located(_message(piece)):
            if field == _SCORE:
                (score,) = struct.unpack("<f", struct.pack("<I", value))
                struct.pack_into("<f", snapped, start + at - 4, round(score / step) * step)
    return bytes(snapped)


def without_prefix(data: bytes) -> bytes:
    """The same model file, but no space is put in front of a text and no spaces are folded."""
    # later fields win, so appending to the normaliser's message is enough; 3 and 4 are its
    # add_dummy_prefix and remove_extra_whitespaces
    off = bytes([3 << 3, 0, 4 << 3, 0])
    return data + bytes([_NORMALISER << 3 | _BYTES, len(off)]) + off


def _piece(data: bytes) -> Piece:
    fields = dict(_fields(data))
    (score,) = struct.unpack("<f", struct.pack("<I", int(fields.get(_SCORE, 0))))
    return Piece(
        text=_message(fields[1]).decode(), score=score, type=PieceType(int(fields.get(3, 1)))
    )


def _message(value: int | bytes) -> bytes:
    if isinstance(value, int):
        raise ValueError("a number where a message must be")  # noqa: TRY004 - it is the data
    return value


def _fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    return ((number, value) for number, value, _ in _located(data))


def _located(data: bytes) -> Iterator[tuple[int, int | bytes, int]]:
    """Yield (field number, value, end) of one message; a fixed32 comes as its raw integer."""
    at = 0
    while at < len(data):
        tag, at = _varint(data, at)
        number, wire = tag >> 3, tag & 7
        if wire == _VARINT:
            value, at = _varint(data, at)
            yield number, value, at
            continue
        if wire == _BYTES:
            size, at = _varint(data, at)
        elif wire in (_FIXED64, _FIXED32):
            size = 8 if wire == _FIXED64 else 4
        else:
            raise ValueError(f"wire type {wire} at byte {at}")
        if at + size > len(data):
            raise ValueError(f"it ends in the middle of a field at byte {at}")
        raw = data[at : at + size]
        at += size
        yield number, raw if wire == _BYTES else int.from_bytes(raw, "little"), at


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:  # noqa: PLR2004 - the top bit says whether more follows
            return value, at
        shift += 7
        if shift > 63:  # noqa: PLR2004 - a varint has at most 64 bits
            raise ValueError(f"a number of more than 64 bits at byte {at}")
