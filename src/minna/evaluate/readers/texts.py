"""Summaries, reviews and translations."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from minna.errors import DataError
from minna.evaluate.readers.datafile import DataFile
from minna.evaluate.readers.rows import read_cells, read_lines, read_rows
from minna.evaluate.records import Document

_REVIEW = ("id", "label", "text", "votes", "split")
_SENTIMENT = {"1": 0, "0": 1, "-1": 2}
_SPLIT = {"scored": "test", "shots": "train"}
_OTHER = {".en": ".ja", ".ja": ".en"}
_JOINED_LEFT = re.compile(
    r" (?=(?:[.,?!;:]+|'(?:t|s|m|ll|ve|d|re))(?:[ \"]|$))|(?<=s) (?='(?: |$))"
)
_QUOTED = re.compile(r"'' (.*?) ''")


def xlsum(file: DataFile) -> Iterator[Document]:
    """A news article and its lead."""
    for row in read_rows(file.path, task=file.task):
        yield Document(
            id=row.key("id" if "id" in row.values else ""),
            fields={"text": row.text("text")},
            answers=(row.text("summary"),),
        )


def jrte_pn(file: DataFile) -> Iterator[Document]:
    """A sentence of a hotel review; the file holds all splits."""
    for row in read_cells(file.path, task=file.task, columns=_REVIEW):
        if row.text("split") != _SPLIT[file.role]:
            continue
        label = _SENTIMENT.get(row.text("label"))
        if label is None:
            raise row.fault(f"'label' must be 1, 0 or -1, and is {row.text('label')}")
        yield Document(id=row.key("id"), fields={"text": row.text("text")}, label=label)


def parallel(file: DataFile) -> Iterator[Document]:
    """Lines of two files that translate each other; the one that was found is the source side."""
    suffix = file.path.suffix
    other = translation_of(file.path)
    if not other.is_file():
        raise DataError(
            f"{file.task}: {file.path.name} is there and its translation {other.name} is not",
            remedy="put it beside the other",
        )
    sources, targets = read_lines(file.path, task=file.task), read_lines(other, task=file.task)
    if len(sources) != len(targets):
        raise DataError(
            f"{file.task}: {file.path.name} has {len(sources)} lines and {other.name} "
            f"{len(targets)}",
            remedy="get both files again: each line must be the translation of the other's",
        )
    for number, (source, target) in enumerate(zip(sources, targets, strict=True)):
        if not source.strip() or not target.strip():
            raise DataError(
                f"{file.task}: line {number + 1} of {file.path.name} or {other.name} is empty",
                remedy="leave the pair out of both files",
            )
        yield Document(
            id=str(number),
            fields={"source": joined(source, language=suffix)},
            answers=(joined(target, language=_OTHER[suffix]),),
        )


def translation_of(path: Path) -> Path:
    """The other file of a pair, test.ja beside test.en.

    Raises:
        DataError: the name ends in neither .en nor .ja.
    """
    if path.suffix not in _OTHER:
        raise DataError(f"{path.name} must end in .en or .ja", remedy="rename the file")
    return path.with_suffix(_OTHER[path.suffix])


def joined(line: str, *, language: str) -> str:
    """Words as text again.

    Japanese has no spaces. In English, punctuation, 't 's 'm 'll 've 'd 're and a ' behind an s
    join what stands before them, o 'clock is one word, and a pair of '' quotes.

    Args:
        line: words separated by spaces.
        language: ".ja" or ".en".
    """
    if language == ".ja":
        return line.replace(" ", "")
    text = _QUOTED.sub(r'"\1"', line.strip()).replace("o 'clock", "o'clock")
    return _JOINED_LEFT.sub("", text)
