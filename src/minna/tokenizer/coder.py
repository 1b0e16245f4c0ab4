"""The tokenizer of any Hugging Face folder, as evaluation asks it: one protocol, three file forms.

A SentencePiece model is driven directly, because transformers' translation of rinna's loses
newlines and trailing spaces and gives emoji the id of `<s>`. Everything else is a tokenizer.json
(or GPT-2's older pair of files) read by the `tokenizers` library.

Special tokens written in a text become their ids here, as they do in transformers: chat prompts
hold them as text ("<s>[INST] "). `Tokenizer.encode`, which a stranger's text goes through in
training and generation, keeps them text.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Literal, Protocol

from minna.errors import ArtifactError, DataError
from minna.tokenizer.fast import FastTokenizer, load_fast
from minna.tokenizer.folder import Folder, read_folder
from minna.tokenizer.load import MODEL_NAMES, StreamDecoder, Tokenizer, load_tokenizer
from minna.tokenizer.proto import PieceType

AnyTokenizer = Tokenizer | FastTokenizer
"""What an engine may encode prompts and decode answers with."""


class TextPieces(Protocol):
    """Text from ids as they come; joined it is what `decode` gives."""

    def feed(self, number: int) -> str:
        """Take one id, return the text that is certain now."""
        ...

    def close(self) -> str:
        """The end: what was held back."""
        ...


class Streams(Protocol):
    """What text can be streamed with: every tokenizer and every coder."""

    def stream(self) -> TextPieces:
        """Begin a text."""
        ...


class Coder(Streams, Protocol):
    """Text to ids and back, for evaluation."""

    @property
    def eos_id(self) -> int:
        """Id that ends a text, -1 without one."""
        ...

    @property
    def eos_text(self) -> str:
        """Its text, such as "</s>"; "" without one."""
        ...

    @property
    def bos_ids(self) -> tuple[int, ...]:
        """What the tokenizer itself puts in front of a text (Llama, Gemma); () for most.

        `encode` leaves it out: the paper's harness asks without it. A model trained with it and
        asked without it is another model, so `fixed` puts it there.
        """
        ...

    @property
    def special_texts(self) -> dict[str, str]:
        """Texts by role, such as {"bos_token": "<s>", "eos_token": "</s>"}, for chat templates."""
        ...

    @property
    def chat_template(self) -> str | None:
        """Jinja source of the model's own chat template, None without one."""
        ...

    @property
    def vocab_size(self) -> int:
        """One more than the highest id."""
        ...

    @property
    def sha256(self) -> str:
        """Hex sha256 of the vocabulary file."""
        ...

    def encode(self, text: str) -> list[int]:
        """Ids of `text`, nothing put before or behind; special tokens in it are their ids."""
        ...

    def decode(self, ids: Iterable[int]) -> str:
        """The text of `ids`, special tokens left out."""
        ...

    def decode_all(self, ids: Iterable[int]) -> str:
        """The text of `ids`, special tokens as their own text."""
        ...


def load_coder(path: Path) -> Coder:
    """Open the tokenizer in the folder at `path` (a model dir, or a tokenizer alone).

    A SentencePiece model (tokenizer.model, spiece.model, or the only *.model file) comes first,
    then tokenizer.json, then vocab.json with merges.txt, then Qwen's *.tiktoken.

    Raises:
        ArtifactError: no such folder, or none of these in it.
        DataError: a file is damaged, or a text to encode holds a lone surrogate (later).
    """
    if not path.is_dir():
        raise ArtifactError(f"{path} is not a directory", remedy="give a folder with a tokenizer")
    folder = read_folder(path)
    tokenizer = open_tokenizer(path, folder)
    return SentencePieceCoder(tokenizer, folder) if isinstance(tokenizer, Tokenizer) else tokenizer


def training_tokenizer(path: Path) -> AnyTokenizer:
    """Open a tokenizer directory, a model dir, or a `.model` file, as training reads text.

    A special token that stands in a text stays text: no document can end another.

    Raises:
        ArtifactError: none is there.
        DataError: a file is damaged.
    """
    if path.is_file() or not path.exists():
        return load_tokenizer(path)
    return open_tokenizer(path, specials="text")


def open_tokenizer(
    path: Path, folder: Folder | None = None, *, specials: Literal["folder", "text"] = "folder"
) -> AnyTokenizer:
    """The tokenizer itself, as the engine uses it.

    Args:
        path: the folder.
        folder: its other files, if they are read already.
        specials: what a special token written in a text is (of SentencePiece always text).

    Raises:
        ArtifactError: none is there.
        DataError: a file is damaged.
    """
    named = [path / name for name in MODEL_NAMES if (path / name).is_file()]
    found = named or sorted(path.glob("*.model"))
    if named or len(found) == 1:
        try:
            return load_tokenizer(found[0])
        except DataError:
            # a tokenizer.model may also be tiktoken's or Mistral's; then the JSON file is meant
            if not (path / "tokenizer.json").is_file():
                raise
    return load_fast(path, folder, specials=specials)


class SentencePieceCoder:
    """A SentencePiece model with the special and added tokens of its folder.

    Ids are those of transformers' `use_fast=False` tokenizers (T5, Llama): a text is cut at the
    special tokens in it, and each stretch is encoded by SentencePiece alone. With `legacy` (their
    default, and that of every rinna model) a stretch behind a special token gets the model's space
    in front like the first one; without, only the first. White space beside a special token is
    kept. "<NL>" and other user-defined pieces are SentencePiece's own business.
    """

    def __init__(self, tokenizer: Tokenizer, folder: Folder) -> None:
        self.tokenizer = tokenizer
        self.chat_template: str | None = folder.chat_template
        pieces = tokenizer.fields.pieces
        by_text = {piece.text: number for number, piece in enumerate(pieces)}
        self._ids = by_text | {text: n for text, n in folder.added.items() if text not in by_text}
        registered = {
            "unk_token": tokenizer.unk_id,
            "bos_token": tokenizer.bos_id,
            "eos_token": tokenizer.eos_id if tokenizer.eos_id >= 0 else folder.eos_id,
        }
        own = {role: pieces[n].text for role, n in registered.items() if 0 <= n < len(pieces)}
        self.special_texts: dict[str, str] = own | folder.specials
        self.eos_text: str = self.special_texts.get("eos_token", "")
        self.eos_id: int = self._ids.get(self.eos_text, -1)
        bos = self._ids.get(self.special_texts.get("bos_token", ""))
        self.bos_ids: tuple[int, ...] = (bos,) if folder.add_bos and bos is not None else ()
        special = {*self.special_texts.values(), *folder.special_texts} & self._ids.keys()
        controls = {piece.text for piece in pieces if piece.type == PieceType.CONTROL}
        self._specials = {self._ids[text]: text for text in special | controls}
        self._added = {self._ids[text]: text for text in folder.added if text not in by_text}
        self.vocab_size: int = max([tokenizer.vocab_size, *(n + 1 for n in self._added)])
        cut = [] if folder.literals else sorted({*special, *self._added.values()}, key=len)
        pattern = "|".join(re.escape(text) for text in reversed(cut) if text)
        self._cut = re.compile(f"({pattern})") if pattern else None
        self._legacy = folder.legacy

    @property
    def sha256(self) -> str:
        """Hex sha256 of the SentencePiece model file."""
        return self.tokenizer.sha256

    @functools.cached_property
    def _behind(self) -> Tokenizer:
        """What encodes a stretch behind a special token."""
        plain = not self.tokenizer.fields.dummy_prefix
        return self.tokenizer if self._legacy or plain else self.tokenizer.without_prefix()

    def encode(self, text: str) -> list[int]:
        """Ids of `text`; special and added tokens written in it are their ids.

        Raises:
            DataError: the text holds a lone surrogate, so it has no UTF-8.
        """
        if self._cut is None:
            return self.tokenizer.encode(text)
        ids: list[int] = []
        # the pattern is one group, so cut-out tokens stand at the odd places
        for place, part in enumerate(self._cut.split(text)):
            if place % 2:
                ids.append(self._ids[part])
            elif part:
                ids += (self._behind if place else self.tokenizer).encode(part)
        return ids

    def decode(self, ids: Iterable[int]) -> str:
        """The text of `ids`, special tokens left out.

        Raises:
            DataError: an id outside the vocabulary.
        """
        return _join(self.stream(), ids)

    def decode_all(self, ids: Iterable[int]) -> str:
        """The text of `ids`, special tokens as their own text.

        Raises:
            DataError: an id outside the vocabulary.
        """
        return _join(_Stretches(self, self._specials | self._added), ids)

    def stream(self) -> TextPieces:
        """Text from ids as they come, special tokens left out."""
        return _Stretches(self, self._added | dict.fromkeys(self._specials, ""))

    def stretch(self, place: Literal["first", "behind"]) -> StreamDecoder:
        """Text of ids without special and added tokens."""
        return StreamDecoder(self.tokenizer if place == "first" else self._behind)


class _Stretches:
    """Texts of stretches, and those of the tokens between them."""

    def __init__(self, coder: SentencePieceCoder, literals: dict[int, str]) -> None:
        self._coder = coder
        self._literals = literals
        self._stretch = coder.stretch("first")

    def feed(self, number: int) -> str:
        literal = self._literals.get(number)
        if literal is None:
            return self._stretch.feed(number)
        if not literal:
            return ""
        held = self._stretch.close()
        self._stretch = self._coder.stretch("behind")
        return held + literal

    def close(self) -> str:
        return self._stretch.close()


def _join(pieces: TextPieces, ids: Iterable[int]) -> str:
    return "".join([pieces.feed(number) for number in ids]) + pieces.close()
