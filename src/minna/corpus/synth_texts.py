"""Sentences for a program to speak: out of lines, tables, or a text corpus, each of them once.

Lists of balanced sentences come as `ID:text,KATAKANA` (ITA, ROHAN) or `ID:text` (JSUT); their
furigana in brackets is not spoken. All else is cut at the ends of sentences. The order is drawn, so
that `--limit 100` is a sample of the whole and not its first page.
"""

from __future__ import annotations

import hashlib
import heapq
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple

from minna.artifact import MANIFEST_NAME
from minna.corpus import japanese
from minna.corpus.blob_files import Files
from minna.corpus.blob_tables import json_rows, table_kind
from minna.corpus.phonemes import without_ruby
from minna.corpus.read import texts
from minna.corpus.sources.files import visible_files
from minna.corpus.sources.rows import parquet_rows
from minna.corpus.sources.streams import bounded_lines, decode_utf8, open_bytes
from minna.errors import DataError, nearest

Language = Literal["ja", "en"]

FEWEST: Final = 4
MOST: Final = {"ja": 80, "en": 160}
"""Characters of a sentence that is spoken: about 15 s."""
_LISTED = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*:(?P<text>.+)")
_READING = re.compile(r"(?P<text>.+),(?P<kana>[\u30a1-\u30fc、。，．！？!?…・「」『』　 ]+)")
_ENDS: Final = {
    "ja": re.compile(r"(?<=[。！？!?])(?![」』）)])"),
    "en": re.compile(r"(?<=[.!?])\s+(?=[A-Z\"'])"),
}
_LETTERS: Final = {
    "ja": re.compile("[\u3041-\u3096\u30a1-\u30fa\u4e00-\u9fff]"),
    "en": re.compile("[A-Za-z]{2}"),
}
_TOKENISED = re.compile(r"\s+(?=[.,!?;:]|'\w)")


class Sentence(NamedTuple):
    """One thing to say, and its stated reading ("" where there is none)."""

    text: str
    kana: str = ""


def sentences(
    path: Path, *, language: Language, field: str, seed: int, most: int | None
) -> list[Sentence]:
    """The sentences of a text, each once, in an order drawn from the seed.

    Args:
        path: lines of text, .jsonl or .parquet with a field of text, a folder of such files, or a
            corpus.
        language: what a sentence must be in.
        field: of JSON lines and parquet.
        seed: of the order.
        most: only so many of them; memory is bounded by it.

    Raises:
        DataError: no such path, a file is damaged, or it holds no sentence.
    """
    if not path.exists():
        raise DataError(f"{path} does not exist", remedy="check the path after --from")
    read = 0
    unique: dict[bytes, Sentence] = {}

    def keyed() -> Iterator[tuple[bytes, Sentence]]:
        nonlocal read
        for text in _texts(path, field):
            read += 1
            for sentence in cut(text, language=language):
                yield _key(sentence.text, seed), sentence

    if most is None:
        for key, sentence in keyed():
            unique.setdefault(key, sentence)
        found = [unique[key] for key in sorted(unique)]
    else:
        found = [sentence for _, sentence in _smallest(keyed(), most)]
    if not found:
        raise DataError(
            f"{path} holds no sentence to speak ({read} lines or texts read; a sentence has "
            f"{FEWEST} to {MOST[language]} characters, some of them "
            + ("Japanese)" if language == "ja" else "English)"),
            remedy="give a text with a sentence a line, or a text corpus",
        )
    return found


def _smallest(keyed: Iterable[tuple[bytes, Sentence]], most: int) -> list[tuple[bytes, Sentence]]:
    """The first `most` of the order, each key once."""
    kept: dict[bytes, Sentence] = {}
    bound = 4 * most + 1000
    for key, sentence in keyed:
        kept.setdefault(key, sentence)
        if len(kept) > bound:
            kept = dict(heapq.nsmallest(most, kept.items()))
    return heapq.nsmallest(most, kept.items())


def _key(text: str, seed: int) -> bytes:
    return hashlib.blake2b(f"{seed} {text}".encode(), digest_size=12).digest()


def cut(text: str, *, language: Language) -> Iterator[Sentence]:
    """The sentences of a line or a text that can be spoken."""
    for line in japanese.normalise(text).split("\n"):
        listed = _LISTED.fullmatch(line)
        if language == "ja" and listed and _LETTERS["ja"].search(listed["text"]):
            read = _READING.fullmatch(listed["text"])
            told, kana = (read["text"], read["kana"]) if read else (listed["text"], "")
            found = [Sentence(without_ruby(told), kana)]
        else:
            found = [Sentence(part) for part in _ENDS[language].split(line)]
        for one in found:
            spoken = one.text.strip()
            if language == "en":
                spoken = _TOKENISED.sub("", spoken)
            if FEWEST <= len(spoken) <= MOST[language] and _LETTERS[language].search(spoken):
                yield Sentence(spoken, one.kana)


def text_files(path: Path) -> Files:
    """The files whose text is spoken."""
    return visible_files(path) if path.is_dir() else [(path.name, path)]


def is_corpus(path: Path) -> bool:
    """Whether a path is a corpus of ours."""
    return (path / MANIFEST_NAME).is_file()


def _texts(path: Path, field: str) -> Iterator[str]:
    if is_corpus(path):
        for document in texts(path, split="all"):
            yield document.text
        return
    for name, file in text_files(path):
        kind = table_kind(name)
        if kind == "parquet":
            yield from _strings(parquet_rows(file, needed=(field,)), field, name)
        elif kind == "json lines":
            yield from _strings(json_rows(file, name=name), field, name)
        else:
            yield from _lines(name, file)


def _strings(rows: Iterator[dict[str, Any]], field: str, name: str) -> Iterator[str]:
    for row in rows:
        if field not in row:
            raise DataError(
                f"{name} has no field {field!r} (it has {', '.join(row)}){nearest(field, row)}",
                remedy="name it: --field NAME",
            )
        if isinstance(row[field], str):
            yield row[field]


def _lines(name: str, file: Path) -> Iterator[str]:
    with open_bytes(file) as stream:
        for piece in bounded_lines(stream):
            where = f"{name}, line {piece.line}"
            yield decode_utf8(piece.content, name=where, offset=piece.offset)
