"""A tokenizer in use: SentencePiece driven directly, never through transformers.

transformers loses rinna's newlines, trailing spaces and lower-casing (a prompt that must end in
"システム: " loses its last space), and on Japanese text its unigram is 5-6 times slower. Ids here
are SentencePiece's own; decoding is ours, so that ids one by one and at once give the same text.

One character does not survive: U+2581, with which SentencePiece writes spaces, comes back as one.
"""

from __future__ import annotations

import codecs
import functools
import json
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from minna.artifact.files import sha256_file
from minna.errors import ArtifactError, DataError
from minna.tokenizer.proto import SCORE_STEP, ModelFields, PieceType, read_model, without_prefix
from minna.tokenizer.settings import SPACE

MODEL_NAMES = ("tokenizer.model", "spiece.model")
# The heap of BPE's merges grows with the chunk (512: 21 MB a CPU second, 4,096: 19; lists of lines:
# 19); unigram only spares calls (512: 44, 4,096: 47; lists of lines: 34). On lines of 246 bytes.
_CHUNK_CHARACTERS = {"bpe": 512, "unigram": 4096}
_UNKNOWN_PENALTY = 10.0  # SentencePiece's: an unknown character costs that more than the worst
_EXACT_STEPS = 1 << 24  # whole numbers up to here are exact in 32-bit floating point
Case = Literal["config", "keep", "lower"]


def load_tokenizer(path: Path, *, case: Case = "config") -> Tokenizer:
    """Open a tokenizer directory, a model dir or release, or a SentencePiece `.model` file.

    Args:
        path: a directory that holds tokenizer.model or spiece.model, or such a file itself.
        case: "lower" folds text to lower case before encoding (rinna's first tokenizer knows no
            capital letter but C), "keep" does not, "config" does what `do_lower_case` in
            tokenizer_config.json says, which transformers itself forgets.

    Raises:
        ArtifactError: no SentencePiece model there.
        DataError: the file is not a SentencePiece model.
    """
    if not path.exists():
        raise ArtifactError(f"{path} does not exist", remedy="check the path")
    if path.is_file():
        model = path
    else:
        found = [path / name for name in MODEL_NAMES if (path / name).is_file()]
        if not found:
            raise ArtifactError(
                f"{path} holds no SentencePiece model ({' or '.join(MODEL_NAMES)})",
                remedy="give a directory made by `minna tokenizer train`, or a model dir with one",
            )
        model = found[0]
    config = model.with_name("tokenizer_config.json")
    if case == "config":
        case = "lower" if _asks_lower_case(config) else "keep"
    return Tokenizer(model, lower_case=case == "lower")


def _asks_lower_case(config: Path) -> bool:
    if not config.is_file():
        return False
    try:
        values: Any = json.loads(config.read_text(encoding="utf-8"))
    except ValueError as error:
        raise DataError(
            f"{config} is not JSON: {error}", remedy="fetch or make it again"
        ) from error
    return isinstance(values, dict) and values.get("do_lower_case") is True


class Tokenizer:
    """Ids from text and text from ids. Special ids are -1 where the model has no such piece."""

    def __init__(
        self, model: Path, *, lower_case: bool, prefix: Literal["model", "never"] = "model"
    ) -> None:
        from sentencepiece import SentencePieceProcessor

        self.model_file = model
        content = model.read_bytes()
        self.fields: ModelFields = read_model(model)
        if prefix == "never":
            content = without_prefix(content)
            self.fields = replace(self.fields, dummy_prefix=False, fold_spaces=False)
        self.lower_case = lower_case
        self._processor: Any = SentencePieceProcessor(model_proto=content)
        by_text = {piece.text: number for number, piece in enumerate(self.fields.pieces)}
        self.vocab_size: int = len(self.fields.pieces)
        self.unk_id: int = self._processor.unk_id()
        self.bos_id: int = self._processor.bos_id()
        self.eos_id: int = self._processor.eos_id()
        # rinna's models name a pad piece without registering it as SentencePiece's own
        registered: int = self._processor.pad_id()
        self.pad_id: int = (
            registered if registered >= 0 else by_text.get("[PAD]", by_text.get("<pad>", -1))
        )
        # lower case may be longer than what it is made from, so chunks could not be measured
        self._newline_id = -1 if lower_case else _lonely_newline(self.fields)
        self._bytes = [_bytes_of(self.fields, number) for number in range(self.vocab_size)]

    @functools.cached_property
    def sha256(self) -> str:
        """Hex sha256 of the SentencePiece model file."""
        return sha256_file(self.model_file)

    @functools.cached_property
    def byte_ids(self) -> NDArray[np.bool_]:
        """[vocab_size] whether an id is a byte of a character that is not in the vocabulary."""
        return np.array([piece.type == PieceType.BYTE for piece in self.fields.pieces])

    @property
    def byte_fallback(self) -> bool:
        """Whether a character that is no piece becomes its bytes."""
        return self.fields.byte_fallback

    def encode(self, text: str) -> list[int]:
        """Ids of `text`, without `<s>` or `</s>`. Special tokens typed in it stay text.

        Raises:
            DataError: the text holds a lone surrogate, so it has no UTF-8.
        """
        try:
            return self._processor.encode(self._prepare(text))
        except UnicodeEncodeError as error:
            raise surrogate(error) from error

    def encode_batch(
        self, texts: Sequence[str], *, threads: int = 2
    ) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
        """Ids of many texts: flat [total] int32, and offsets [texts + 1] of where each begins.

        Raises:
            DataError: a text holds a lone surrogate.
        """
        try:
            if self._newline_id >= 0:
                return self._encode_joined(texts, threads=threads)
            rows = self._rows(texts, threads=threads)
        except UnicodeEncodeError as error:
            raise surrogate(error) from error
        offsets = np.zeros(len(rows) + 1, dtype=np.int64)
        np.cumsum(np.fromiter(map(len, rows), np.int64, len(rows)), out=offsets[1:])
        return _flat(rows), offsets

    def _rows(self, texts: Sequence[str], *, threads: int) -> list[NDArray[np.int32]]:
        """Ids of each text, as numpy arrays: lists, made flat afterwards, were half the speed."""
        prepared = [text.lower() for text in texts] if self.lower_case else list(texts)
        try:
            return self._processor.encode(prepared, num_threads=threads, return_type="numpy")
        except TypeError:  # what the binding says to a lone surrogate, without its place
            for text in prepared:
                text.encode()
            raise

    def _encode_joined(
        self, texts: Sequence[str], *, threads: int
    ) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
        """Encode texts joined by newlines, in chunks.

        Exact where a newline never depends on its neighbours nor they on it (`_lonely_newline`).
        """
        chunks = self._chunks(texts)
        rows = self._processor.encode(chunks, num_threads=threads, return_type="numpy")
        flat = _flat(rows)
        newlines = np.flatnonzero(flat == self._newline_id)
        counts = np.fromiter((text.count("\n") + 1 for text in texts), np.int64, len(texts))
        ends = newlines[np.cumsum(counts) - 1]
        offsets = np.zeros(len(texts) + 1, dtype=np.int64)
        offsets[1:] = ends - np.arange(len(texts))
        return np.delete(flat, ends), offsets

    def _chunks(self, texts: Sequence[str]) -> list[bytes]:
        """Every text closed by a newline, in chunks of a few hundred characters or one text.

        A longer text is a chunk of its own; BPE's, whose merges see only their neighbours, are cut
        at newlines too, which keeps what they work on in the cache. A unigram text is never cut:
        beyond some 10,000 characters SentencePiece rounds its sums, and rounds them otherwise when
        they begin elsewhere.
        """
        limit = _CHUNK_CHARACTERS[self.fields.kind]
        cuts = self.fields.kind == "bpe"
        chunks: list[bytes] = []
        gathered: list[str] = []
        size = 0
        for text in texts:
            if gathered and size + len(text) >= limit:
                chunks.append("\n".join([*gathered, ""]).encode())
                gathered, size = [], 0
            if len(text) < limit:
                gathered.append(text)
                size += len(text) + 1
                continue
            closed = text + "\n"
            start = 0
            while start < len(closed):
                end = closed.find("\n", start + limit) + 1 if cuts else 0
                chunks.append(closed[start : end or len(closed)].encode())
                start = end or len(closed)
        if gathered:
            chunks.append("\n".join([*gathered, ""]).encode())
        return chunks

    def decode(self, ids: Iterable[int]) -> str:
        """The text of `ids`. Control tokens are nothing; broken byte sequences become U+FFFD.

        Raises:
            DataError: an id outside the vocabulary.
        """
        stream = StreamDecoder(self)
        return "".join([stream.feed(number) for number in ids]) + stream.close()

    def without_prefix(self) -> Tokenizer:
        """The same tokenizer for text that goes on: no space in front, no spaces folded."""
        return Tokenizer(self.model_file, lower_case=self.lower_case, prefix="never")

    def stream(self) -> StreamDecoder:
        """Text from ids as they come."""
        return StreamDecoder(self)

    def piece_bytes(self, number: int) -> bytes:
        """The UTF-8 bytes an id stands for, spaces as spaces; b"" for control tokens.

        Raises:
            DataError: an id outside the vocabulary.
        """
        if not 0 <= number < self.vocab_size:
            raise outside_vocabulary(number, self.vocab_size)
        return self._bytes[number]

    def _prepare(self, text: str) -> bytes:
        # as bytes, because then a lone surrogate is our error and not one of the C++ binding
        return (text.lower() if self.lower_case else text).encode()


class StreamDecoder:
    """Text from ids as they come, holding back the bytes of a character until it is complete.

    The pieces given out, joined, are exactly `Tokenizer.decode` of all ids.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._utf8 = codecs.getincrementaldecoder("utf-8")(errors="replace")
        fields = tokenizer.fields
        self._fold = fields.fold_spaces
        self._strip = fields.dummy_prefix or fields.fold_spaces

    def feed(self, number: int) -> str:
        """Take one id, return the text that is certain now (often one piece, sometimes "")."""
        data = self._tokenizer.piece_bytes(number)
        if self._strip and data:
            if self._tokenizer.fields.pieces[number].type == PieceType.NORMAL:
                # the space in front is the tokenizer's, not the text's
                data = data.removeprefix(b" ")
            self._strip = self._fold and not data
        return self._utf8.decode(data)

    def close(self) -> str:
        """The end of the stream: bytes still held back become U+FFFD."""
        return self._utf8.decode(b"", final=True)


def _lonely_newline(fields: ModelFields) -> int:
    """The id of a newline if it never depends on its neighbours nor they on it, else -1.

    No normaliser may touch it and no other piece hold it. In BPE that is enough. Unigram adds up
    scores from the beginning of the text: those before a newline change nothing behind it only as
    long as no sum is rounded, so all scores must be on the grid that `train` puts them on, and no
    chunk may add up to more than the grid has exact steps (a user-defined piece is off the grid).
    """
    pieces = fields.pieces
    plain = not (fields.charsmap or fields.dummy_prefix or fields.fold_spaces)
    newlines = [number for number, piece in enumerate(pieces) if "\n" in piece.text]
    if not plain or fields.kind not in ("bpe", "unigram") or not fields.escape_spaces:
        return -1
    if fields.kind == "unigram":
        scores = [piece.score for piece in pieces if piece.type == PieceType.NORMAL]
        steps = [score / SCORE_STEP for score in scores]
        worst = (
            (max(map(abs, scores)) + _UNKNOWN_PENALTY) / SCORE_STEP * _CHUNK_CHARACTERS["unigram"]
        )
        user_defined = any(piece.type == PieceType.USER_DEFINED for piece in pieces)
        if user_defined or worst > _EXACT_STEPS or any(step != int(step) for step in steps):
            return -1
    if newlines:
        alone = len(newlines) == 1 and pieces[newlines[0]].text == "\n"
        return newlines[0] if alone and pieces[newlines[0]].type == PieceType.USER_DEFINED else -1
    return next((i for i, piece in enumerate(pieces) if piece.text == "<0x0A>"), -1)


def _flat(rows: list[NDArray[np.int32]]) -> NDArray[np.int32]:
    # joined as bytes: np.concatenate of 40,000 short rows took a tenth of the whole encoding
    buffers: Any = rows
    return np.frombuffer(bytearray().join(buffers), dtype=np.int32)


def _bytes_of(fields: ModelFields, number: int) -> bytes:
    piece = fields.pieces[number]
    match piece.type:
        case PieceType.CONTROL:
            return b""
        case PieceType.UNKNOWN:
            return fields.unk_surface.encode()
        case PieceType.BYTE:
            return bytes([int(piece.text[3:5], 16)])
        case PieceType.NORMAL | PieceType.USER_DEFINED | PieceType.UNUSED:
            return piece.text.replace(SPACE, " ").encode()


def outside_vocabulary(number: int, size: int) -> DataError:
    """The error for an id that no piece has."""
    return DataError(
        f"id {number} is outside the vocabulary of {size} pieces",
        remedy="use the tokenizer the ids were made with",
    )


def surrogate(error: UnicodeEncodeError) -> DataError:
    """What is said of a text that has no UTF-8."""
    return DataError(
        f"text must be valid Unicode; it holds {error.object[error.start]!r} "
        f"at character {error.start}",
        remedy='clean it first: text.encode("utf-8", "replace").decode("utf-8")',
    )
