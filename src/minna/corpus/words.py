"""Word lists of the user's own: hits are counted, and a single one need not condemn a document.

Every list in circulation drops medicine and literature when one hit is enough, so what counts is
hits per 1,000 characters, and no list is shipped: which words are unwanted depends on what the
model is for.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

from minna.corpus.japanese import normalise
from minna.corpus.phrases import LONGEST, SHORTEST, Phrases
from minna.errors import DataError, UsageError

_SHOWN: Final = 60  # characters of a word that is refused: it may be a whole file


def read_words(files: Sequence[Path]) -> list[str]:
    """Read word lists: UTF-8, one word a line, `#` begins a comment.

    Words are normalised as texts are, put in lower case, sorted, and given once.

    Raises:
        UsageError: a file is missing, holds no word, or a word is shorter than 2 or longer than 64
            characters.
        DataError: a file cannot be read, or is not UTF-8.
    """
    return _words([(file, _content(file)) for file in files])


def _content(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except FileNotFoundError as error:
        raise UsageError(
            f"the word list {file} is not there", remedy="check filters.words"
        ) from error
    except OSError as error:
        raise DataError(
            f"the word list {file} cannot be read: {error.strerror}",
            remedy="filters.words names files that you have the right to read, not folders",
        ) from error


def _words(lists: Iterable[tuple[Path, bytes]]) -> list[str]:
    words: set[str] = set()
    for file, content in lists:
        found = _words_of(file, content)
        if not found:
            raise UsageError(
                f"the word list {file} holds no word", remedy="write one word on each line"
            )
        words |= found
    return sorted(words)


def _words_of(file: Path, content: bytes) -> set[str]:
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(
            f"the word list {file} is not UTF-8 (byte {error.start})",
            remedy="save it as UTF-8",
        ) from error
    words: set[str] = set()
    for number, line in enumerate(text.splitlines(), start=1):
        word = normalise(line.partition("#")[0]).lower()
        if not word:
            continue
        if not SHORTEST <= len(word) <= LONGEST:
            raise UsageError(
                f"words have {SHORTEST} to {LONGEST} characters, and {word[:_SHOWN]!r} ({file}, "
                f"line {number}) has {len(word)}",
                remedy="a single character is in too many good words: write the words meant",
            )
        words.add(word)
    return words


def hash_of(words: Sequence[str]) -> str:
    """sha256 of a list: what a corpus key holds of it, whatever the file was called."""
    return hashlib.sha256("\n".join(words).encode()).hexdigest()


def load_words(files: Sequence[Path]) -> Phrases | None:
    """The lists as something that can be counted; None without files.

    A list is read at every call (0.05 ms for 10,000 words), since its file may have been edited,
    and worked out once (300 ms).

    Raises:
        UsageError, DataError: as `read_words`.
    """
    return _phrases(tuple((file, _content(file)) for file in files)) if files else None


@functools.lru_cache(maxsize=4)
def _phrases(lists: tuple[tuple[Path, bytes], ...]) -> Phrases:
    return Phrases([_words(lists)])
