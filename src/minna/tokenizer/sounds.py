"""What a recogniser writes: phones or kana, the boundary of words, and the blank of CTC.

The paper's vocabulary is 40 phones, a word boundary and the blank (section 5): 42 symbols. Here it
is any inventory of `corpus/phonemes.py`: phones, or katakana as pronounced. The blank is 0, as
transformers' folders and torch's loss have it; the boundary "|" is 1; then the sounds. A phone may
have several letters ("sh", "a:"), so words are sequences of phones and never strings that would
have to be cut again.

As text, phones are told as a corpus tells them, "k o N | n i ch i w a", and kana as words of kana
with a space between. On disk it is the vocab.json of transformers' Wav2Vec2CTCTokenizer, which
decodes as we do up to the spaces between phones.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final, Literal, Protocol

from minna.artifact.files import write_text_atomically
from minna.corpus.clip_rows import BOUNDARY, PAUSE, phones_told, words_of
from minna.corpus.phonemes import JULIUS, KANA, load_inventory, to_julius
from minna.errors import ArtifactError, DataError, nearest

SoundKind = Literal["phones", "kana"]

BLANK: Final = "<pad>"
"""CTC's blank, by transformers' name."""
BLANK_ID: Final = 0
BOUNDARY_ID: Final = 1
VOCAB_NAME: Final = "vocab.json"
_CONFIG_NAME = "tokenizer_config.json"
_FIRST_ID = 2
_SHOWN = 12
# hiragana stand in the same order, 0x60 below
_TO_KATAKANA: Final = {code - 0x60: code for code in range(0x30A1, 0x30F7)}


class Spoken(Protocol):
    """A clip that says what is spoken in it."""

    @property
    def phones(self) -> str:
        """Open JTalk's phones, words apart by " | "; "" where unknown."""
        ...

    @property
    def kana(self) -> str:
        """Kana, "" where unknown."""
        ...


@dataclass(frozen=True)
class Sounds:
    """The symbols of a recogniser.

    Attributes:
        kind: phones or kana.
        symbols: the sounds in the order of their ids, which begin at 2.

    Raises:
        DataError: no symbols, one twice, or one that cannot be told from what stands between words.
    """

    kind: SoundKind
    symbols: tuple[str, ...]

    def __post_init__(self) -> None:
        odd = [one for one in self.symbols if not one or BOUNDARY in one or one.split() != [one]]
        odd += [one for one in self.symbols if one == BLANK]
        if self.kind == "kana":
            odd += [one for one in self.symbols if len(one) != 1]
        if odd:
            raise DataError(
                f"{odd[0]!r} cannot be a symbol of {self.kind}",
                remedy="name sounds without spaces, '|' and '<pad>'; a kana is one character",
            )
        if not self.symbols or len(set(self.symbols)) < len(self.symbols):
            raise DataError(
                f"{len(self.symbols)} symbols of {self.kind}, {len(set(self.symbols))} of them "
                "different",
                remedy="name each sound once",
            )

    @property
    def size(self) -> int:
        """Of the vocabulary: the symbols, the boundary and the blank."""
        return len(self.symbols) + _FIRST_ID

    @property
    def vocab_size(self) -> int:
        """The same, by the name that tokenizers have for it."""
        return self.size

    @cached_property
    def _ids(self) -> dict[str, int]:
        return {symbol: number for number, symbol in enumerate(self.symbols, start=_FIRST_ID)}

    def encode(self, words: Iterable[Sequence[str]]) -> list[int]:
        """Return the ids of words, with a boundary between them; words without a sound are none.

        Raises:
            DataError: a sound is no symbol.
        """
        ids: list[int] = []
        for word in words:
            if ids and len(word):
                ids.append(BOUNDARY_ID)
            ids.extend(map(self._id, word))
        return ids

    def _id(self, sound: str) -> int:
        found = self._ids.get(sound)
        if found is None:
            some = " ".join(self.symbols[:_SHOWN])
            raise DataError(
                f"{sound!r} is none of the {len(self.symbols)} {self.kind} of this vocabulary "
                f"({some} ...){nearest(sound, self.symbols)}",
                remedy="take the corpus and the vocabulary from one inventory, or leave the clip "
                "out",
            )
        return found

    def words(self, ids: Iterable[int]) -> list[tuple[str, ...]]:
        """Return the words of ids that CTC has joined already; blanks are skipped.

        Raises:
            DataError: an id outside the vocabulary.
        """
        words: list[list[str]] = [[]]
        for number in ids:
            if not 0 <= number < self.size:
                raise DataError(f"the id {number} is not among the {self.size} of this vocabulary")
            if number == BOUNDARY_ID:
                words.append([])
            elif number != BLANK_ID:
                words[-1].append(self.symbols[number - _FIRST_ID])
        return [tuple(word) for word in words if word]

    def decode(self, ids: Iterable[int]) -> str:
        """Return the text of ids that CTC has joined already.

        Raises:
            DataError: an id outside the vocabulary.
        """
        return self.told(self.words(ids))

    def told(self, words: Iterable[Sequence[str]]) -> str:
        """Words as text: "k o N | n i", "コン ニ"."""
        if self.kind == "phones":
            return phones_told(words)
        return " ".join("".join(word) for word in words if len(word))

    def parse(self, text: str) -> list[list[str]]:
        """Return the words of a text as `told` writes it; silences are left out.

        Hiragana are read as katakana, ヲ as オ. Symbols are not checked here: `encode` does that.
        """
        if self.kind == "phones":
            return words_of(text)
        fold = load_inventory(KANA).fold
        spaced = text.translate(_TO_KATAKANA).replace(BOUNDARY, " ")
        return [[fold.get(one, one) for one in word] for word in spaced.split()]

    def said_in(self, clip: Spoken) -> list[list[str]]:
        """Return the words that a clip of a corpus says, [] where that is not known.

        Raises:
            DataError: a vocabulary of Julius' phones, and a phone of the clip is unknown.
        """
        if self.kind == "kana":
            return self.parse(clip.kana)
        words = self.parse(clip.phones)
        return [to_julius(word) for word in words] if self._is_julius else words

    @cached_property
    def _is_julius(self) -> bool:
        """Whether these are Julius' phones, and those of corpora, Open JTalk's, must be mapped."""
        return set(self.symbols) == set(load_inventory(JULIUS).phones)


def sounds_of_inventory(name: str) -> Sounds:
    """Return the symbols of an inventory: "open-jtalk", "julius" or "kana".

    Raises:
        UsageError: no such inventory.
    """
    symbols = tuple(one for one in load_inventory(name).phones if one != PAUSE)
    return Sounds("kana" if name == KANA else "phones", symbols)


def write_sounds(folder: Path, sounds: Sounds) -> None:
    """Write vocab.json and tokenizer_config.json, as Wav2Vec2CTCTokenizer reads them."""
    names = (BLANK, BOUNDARY, *sounds.symbols)
    vocab = {name: number for number, name in enumerate(names)}
    config: dict[str, Any] = {
        "tokenizer_class": "Wav2Vec2CTCTokenizer",
        "pad_token": BLANK,
        "word_delimiter_token": BOUNDARY,
        "replace_word_delimiter_char": " ",
        "do_lower_case": False,
        # an unknown sound has no id, and the vocabulary no more symbols than the model has rows
        "unk_token": None,
        "bos_token": None,
        "eos_token": None,
    }
    for name, content in ((VOCAB_NAME, vocab), (_CONFIG_NAME, config)):
        text = json.dumps(content, ensure_ascii=False, indent=1)
        write_text_atomically(folder / name, text + "\n")


def read_sounds(folder: Path) -> Sounds:
    """Read what `write_sounds` wrote; they are kana where every symbol is one.

    Raises:
        ArtifactError: no vocab.json, or one of another form.
    """
    file = folder / VOCAB_NAME
    try:
        vocab: Any = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ArtifactError(
            f"{folder} has no {VOCAB_NAME}, so nobody knows which sounds it writes",
            remedy="give a model that was tuned to recognise speech (docs/speech.md)",
        ) from error
    except ValueError as error:
        raise ArtifactError(
            f"{file} is not JSON: {error}", remedy="export the model again"
        ) from error
    names = _in_order(vocab, file)
    if names[:_FIRST_ID] != [BLANK, BOUNDARY]:
        raise ArtifactError(
            f"{file} begins with {names[:_FIRST_ID]}, and the blank '<pad>' and the boundary '|' "
            "must be 0 and 1",
            remedy="give a model that minna tuned; others have other layouts",
        )
    symbols = tuple(names[_FIRST_ID:])
    kind: SoundKind = "kana" if set(symbols) <= set(load_inventory(KANA).phones) else "phones"
    try:
        return Sounds(kind, symbols)
    except DataError as error:
        raise ArtifactError(f"{file}: {error.rule}", remedy="export the model again") from error


def _in_order(vocab: Any, file: Path) -> list[str]:
    """The symbols of a vocabulary by their ids.

    Raises:
        ArtifactError: it is no object of symbols and ids 0, 1, 2 ...
    """
    if isinstance(vocab, dict) and all(type(number) is int for number in vocab.values()):
        names = sorted(vocab, key=lambda name: vocab[name])
        if names and [vocab[name] for name in names] == list(range(len(names))):
            return names
    raise ArtifactError(
        f"{file} must name each symbol with its id, 0, 1, 2 and on",
        remedy="export the model again",
    )
