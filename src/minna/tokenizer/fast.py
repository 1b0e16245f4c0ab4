"""A tokenizer.json (or vocab.json with merges.txt) in use, through the `tokenizers` library.

Text from ids is made here and not there, as with SentencePiece: the library decodes a whole
sequence only, and turns all bytes of a broken character's run into U+FFFD, so that an answer in the
making would change behind its reader. The decoders found in causal models are byte tables
("ByteLevel") or spaces written as U+2581 with bytes as "<0xE3>"; both give bytes per id, so ids one
by one and at once are the same text. Folders with another decoder are refused by name.
"""

from __future__ import annotations

import codecs
import hashlib
import itertools
import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from minna.errors import ArtifactError, DataError
from minna.tokenizer.folder import Folder, read_folder
from minna.tokenizer.load import outside_vocabulary, surrogate
from minna.tokenizer.tiktoken import END, find_tiktoken, qwen_tokenizer

_BYTE = re.compile(r"<0x([0-9A-Fa-f]{2})>")
_PAIR = ("vocab.json", "merges.txt")
_PAIR_CLASSES = frozenset({"", "GPT2Tokenizer", "GPT2TokenizerFast", "GPTNeoXTokenizerFast"})
_GPT2_END = "<|endoftext|>"


def load_fast(
    path: Path, folder: Folder | None = None, *, specials: Literal["folder", "text"] = "folder"
) -> FastTokenizer:
    """Open tokenizer.json, else vocab.json with merges.txt (GPT-2's), else Qwen's *.tiktoken.

    Args:
        path: the folder.
        folder: its other files, if they are read already.
        specials: what a special token written in a text is: text, or what the folder says.

    Raises:
        ArtifactError: none of them is there.
        DataError: a file is damaged, or its decoder is not known here.
    """
    from tokenizers import Tokenizer

    folder = folder or read_folder(path)
    if specials == "text":
        folder = replace(folder, literals=True)
    file = path / "tokenizer.json"
    pair = [path / name for name in _PAIR]
    try:
        if file.is_file():
            return FastTokenizer(Tokenizer.from_file(str(file)), folder, files=[file])
        if all(part.is_file() for part in pair):
            return FastTokenizer(_byte_level_bpe(*pair), _as_gpt2(folder, path), files=pair)
        if ranks := find_tiktoken(path):
            characters = {byte: character for character, byte in _byte_table().items()}
            made = qwen_tokenizer(ranks, characters=characters)
            return FastTokenizer(made, _as_qwen(folder), files=[ranks])
    except DataError:
        raise
    except Exception as error:  # the library raises plain Exception for whatever is wrong
        raise DataError(
            f"{path} holds a tokenizer that cannot be read: {error}",
            remedy="fetch it again, or save it with a newer transformers",
        ) from error
    raise ArtifactError(
        f"{path} holds no tokenizer: no SentencePiece model (tokenizer.model, spiece.model), no "
        "tokenizer.json, no vocab.json with merges.txt, no *.tiktoken",
        remedy="save a fast tokenizer there: AutoTokenizer.from_pretrained(...).save_pretrained()",
    )


class FastTokenizer:
    """Ids from text and text from ids; special ids are -1 where the folder names no such token.

    A special token written in a text becomes its id, as in transformers, unless the folder asks
    otherwise (`split_special_tokens`, which our own exports do).
    """

    def __init__(self, tokenizer: Any, folder: Folder, *, files: Sequence[Path]) -> None:
        tokenizer.no_truncation()
        tokenizer.no_padding()
        special = sorted(
            text for text in folder.special_texts if tokenizer.token_to_id(text) is not None
        )
        tokenizer.add_special_tokens(special)
        tokenizer.encode_special_tokens = folder.literals
        self._tokenizer = tokenizer
        self._files = tuple(files)
        self.chat_template: str | None = folder.chat_template
        self.special_texts: dict[str, str] = dict(folder.specials)
        if "eos_token" not in folder.specials and folder.eos_id >= 0:
            self.special_texts["eos_token"] = tokenizer.id_to_token(folder.eos_id) or ""
        self.eos_text: str = self.special_texts.get("eos_token", "")
        self.eos_id: int = self._id("eos_token")
        self.bos_id: int = self._id("bos_token")
        self.bos_ids: tuple[int, ...] = self._in_front(folder)
        self.unk_id: int = self._id("unk_token")
        self.pad_id: int = self._id("pad_token")
        ids: dict[str, int] = tokenizer.get_vocab(with_added_tokens=True)
        self.vocab_size: int = max(ids.values(), default=-1) + 1
        added: dict[int, Any] = tokenizer.get_added_tokens_decoder()
        self._specials = frozenset(number for number, token in added.items() if token.special)
        self.steps = _read_decoder(json.loads(tokenizer.to_str())["decoder"], files[0])
        self._bytes = [b""] * self.vocab_size
        self._first = [b""] * self.vocab_size
        for text, number in ids.items():
            self._bytes[number] = self.steps.bytes_of(text)
            self._first[number] = self.steps.first_bytes_of(text)

    def _id(self, role: str) -> int:
        number = self._tokenizer.token_to_id(self.special_texts.get(role, ""))
        return -1 if number is None else number

    def _in_front(self, folder: Folder) -> tuple[int, ...]:
        """The bos token, where the config or else tokenizer.json's post-processor puts it there."""
        adds = folder.add_bos
        if adds is None:
            adds = self._tokenizer.encode("", add_special_tokens=True).ids[:1] == [self.bos_id]
        return (self.bos_id,) if adds and self.bos_id >= 0 else ()

    @property
    def sha256(self) -> str:
        """Hex sha256 of tokenizer.json, or of vocab.json and merges.txt one after the other."""
        return hashlib.sha256(b"".join(file.read_bytes() for file in self._files)).hexdigest()

    @property
    def kind(self) -> str:
        """What it is, in the words of tokenizer.json, such as "BPE"."""
        return str(json.loads(self.as_json())["model"]["type"])

    @property
    def byte_fallback(self) -> bool:
        """Whether any text has tokens that give it back."""
        return bool(self.steps.table) or self.steps.byte_pieces

    def as_json(self) -> str:
        """The content of a tokenizer.json of it."""
        return self._tokenizer.to_str(pretty=False)

    def encode(self, text: str) -> list[int]:
        """Ids of `text`, nothing put before or behind.

        Raises:
            DataError: the text holds a lone surrogate, so it has no UTF-8.
        """
        try:
            text.encode()  # the library says of a surrogate only that it is no text
        except UnicodeEncodeError as error:
            raise surrogate(error) from error
        return self._tokenizer.encode(text, add_special_tokens=False).ids

    def encode_batch(
        self, texts: Sequence[str], *, threads: int = 2
    ) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
        """Ids of many texts: flat [total] int32, and offsets [texts + 1] of where each begins.

        `threads` is the library's own affair (RAYON_NUM_THREADS).

        Raises:
            DataError: a text holds a lone surrogate.
        """
        del threads
        try:
            for text in texts:
                text.encode()  # the library says of a surrogate only that it is no text
        except UnicodeEncodeError as error:
            raise surrogate(error) from error
        found = self._tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)
        rows: list[list[int]] = [encoding.ids for encoding in found]
        offsets = np.cumsum([0, *map(len, rows)], dtype=np.int64)
        flat = itertools.chain.from_iterable(rows)
        return np.fromiter(flat, np.int32, count=int(offsets[-1])), offsets

    def decode(self, ids: Iterable[int]) -> str:
        """The text of `ids`, special tokens left out; broken byte sequences become U+FFFD.

        Raises:
            DataError: an id outside the vocabulary.
        """
        return self._join(number for number in ids if number not in self._specials)

    def decode_all(self, ids: Iterable[int]) -> str:
        """The text of `ids`, special tokens as their own text.

        Raises:
            DataError: an id outside the vocabulary.
        """
        return self._join(ids)

    def stream(self) -> FastStream:
        """Text from ids as they come."""
        return FastStream(self)

    def piece_bytes(self, number: int) -> bytes:
        """The UTF-8 bytes an id stands for, spaces as spaces; b"" for special tokens.

        Raises:
            DataError: an id outside the vocabulary.
        """
        return b"" if number in self._specials else self.token_bytes(number)

    def token_bytes(self, number: int) -> bytes:
        """The same, but special tokens are their own text.

        Raises:
            DataError: an id outside the vocabulary.
        """
        if not 0 <= number < self.vocab_size:
            raise outside_vocabulary(number, self.vocab_size)
        return self._bytes[number]

    def _join(self, ids: Iterable[int]) -> str:
        text = _Text(self.steps)
        return (
            "".join(
                [
                    text.take(self.token_bytes(number), first=self.first_bytes(number))
                    for number in ids
                ]
            )
            + text.close()
        )

    def first_bytes(self, number: int) -> bytes:
        """The bytes of a (known) id that stands in front of a text."""
        return self._first[number]


class FastStream:
    """Text from ids as they come, whole characters only; joined it is `FastTokenizer.decode`."""

    def __init__(self, tokenizer: FastTokenizer) -> None:
        self._tokenizer = tokenizer
        self._text = _Text(tokenizer.steps)

    def feed(self, number: int) -> str:
        """Take one id, return the text that is certain now."""
        data = self._tokenizer.piece_bytes(number)
        return self._text.take(data, first=self._tokenizer.first_bytes(number)) if data else ""

    def close(self) -> str:
        """The end of the stream: bytes still held back become U+FFFD."""
        return self._text.close()


@dataclass(frozen=True, kw_only=True)
class _Steps:
    """How a vocabulary's texts become text.

    Attributes:
        table: characters that stand for bytes (GPT-2's), {} where characters are themselves.
        spaces: what is written for a space, "" where spaces are themselves.
        byte_pieces: whether "<0xE3>" is a byte.
        lead: how many spaces in front of a whole text are the tokenizer's.
        lead_token: whether all spaces in front of the first token are.
    """

    table: dict[str, int]
    spaces: str = ""
    byte_pieces: bool = False
    lead: int = 0
    lead_token: bool = False

    def first_bytes_of(self, text: str) -> bytes:
        """Of a first token: Metaspace drops the spaces it wrote; a byte that is one stays."""
        return self.bytes_of(text.replace(self.spaces, "") if self.lead_token else text)

    def bytes_of(self, text: str) -> bytes:
        byte = _BYTE.fullmatch(text) if self.byte_pieces else None
        if byte is not None:
            return bytes([int(byte[1], 16)])
        if self.table and all(character in self.table for character in text):
            return bytes(self.table[character] for character in text)
        return (text.replace(self.spaces, " ") if self.spaces else text).encode()


class _Text:
    """Bytes to text, without the spaces in front that are the tokenizer's."""

    def __init__(self, steps: _Steps) -> None:
        self._utf8 = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self._lead = steps.lead
        self._first = steps.lead_token

    def take(self, data: bytes, *, first: bytes) -> str:
        """Text that is certain now; `first` stands for `data` where nothing came before."""
        if self._first and data:
            data, self._first = first, False
        text = self._utf8.decode(data)
        while self._lead and text:
            if not text.startswith(" "):
                self._lead = 0
                break
            self._lead -= 1
            text = text[1:]
        return text

    def close(self) -> str:
        return self._utf8.decode(b"", final=True)


def _read_decoder(decoder: dict[str, Any] | None, file: Path) -> _Steps:
    """Understand the "decoder" of a tokenizer.json.

    Raises:
        DataError: it holds a step that is not known here.
    """
    steps: list[dict[str, Any]] = [decoder] if decoder else []
    if decoder and decoder["type"] == "Sequence":
        steps = decoder["decoders"]
    known = _Steps(table={})
    for step in steps:
        match step:
            case {"type": "ByteLevel"}:
                known = replace(known, table=_byte_table())
            case {"type": "Metaspace", "replacement": str(spaces)}:
                scheme = step.get("prepend_scheme", "always")
                known = replace(known, spaces=spaces, lead_token=scheme != "never")
            case {"type": "Replace", "pattern": {"String": str(spaces)}, "content": " "}:
                known = replace(known, spaces=spaces)
            case {"type": "ByteFallback"}:
                known = replace(known, byte_pieces=True)
            case {"type": "Fuse"}:
                pass
            case {"type": "Strip", "content": " ", "start": int(lead), "stop": 0}:
                known = replace(known, lead=lead)
            case _:
                steps = []
                break
    if not steps:
        raise DataError(
            f"{file} has a decoder that is not known here: {json.dumps(decoder)}",
            remedy="byte-level BPE and SentencePiece-like tokenizers are read (ByteLevel, "
            "Metaspace, Replace, ByteFallback, Fuse, Strip)",
        )
    return known


def _byte_table() -> dict[str, int]:
    """GPT-2's characters for bytes: printable Latin-1 as it is, the rest from U+0100 on."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printable]
    return {chr(byte): byte for byte in printable} | {
        chr(256 + place): byte for place, byte in enumerate(others)
    }


def _as_gpt2(folder: Folder, path: Path) -> Folder:
    """What transformers' GPT-2 tokenizer assumes where no file names its special tokens.

    Raises:
        DataError: the folder says that its tokenizer is another one.
    """
    if folder.tokenizer_class not in _PAIR_CLASSES:
        raise DataError(
            f"{path} holds {' and '.join(_PAIR)} of a {folder.tokenizer_class}, which cuts words "
            "otherwise than GPT-2",
            remedy="save it as tokenizer.json with transformers' AutoTokenizer",
        )
    roles = dict.fromkeys(("bos_token", "eos_token", "unk_token"), _GPT2_END)
    return replace(folder, specials=roles | folder.specials)


def _as_qwen(folder: Folder) -> Folder:
    """What Qwen's own code names: one token that ends a text and fills a row."""
    return replace(folder, specials={"eos_token": END, "pad_token": END} | folder.specials)


def _byte_level_bpe(vocab: Path, merges: Path) -> Any:
    """GPT-2's tokenizer of before tokenizer.json.

    Raises:
        DataError: the vocabulary is of another kind of BPE.
    """
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    tokenizer = Tokenizer(models.BPE.from_file(str(vocab), str(merges)))
    missing = [text for text in _byte_table() if tokenizer.token_to_id(text) is None]
    if missing:
        raise DataError(
            f"{vocab} is not a byte-level BPE: it has no token {missing[0]!r}",
            remedy="save it as tokenizer.json with transformers' AutoTokenizer",
        )
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer
