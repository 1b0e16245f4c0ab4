"""Tasks without a prompt: which of two sentences is the likelier."""

from __future__ import annotations

import json
import os.path
from collections.abc import Iterator
from typing import Any

from minna.evaluate.readers.datafile import DataFile, group_of
from minna.evaluate.readers.rows import Row, read_cells, read_rows
from minna.evaluate.records import Document

_COLUMNS = ("language", "split", "english", "sentence", "tokens", "pronoun", "candidates")
_PAIR = 2


def xwinograd(file: DataFile) -> Iterator[Document]:
    """Sentence pairs: of crosslingual_winograd's table, or with columns sentence1 and sentence2.

    The 959 rows have 516 pairs of candidates, most of them with two sentences that differ in a word
    that turns the answer; rows that share their candidates are one group.
    """
    if file.path.suffix.lower() == ".tsv":
        rows = read_cells(file.path, task=file.task, columns=_COLUMNS)
        yield from (_resolved(row) for row in rows if row.text("language") == "jp")
        return
    yield from (_sentences(row) for row in read_rows(file.path, task=file.task))


def jblimp(file: DataFile) -> Iterator[Document]:
    """Minimal pairs; pairs of one paradigm are one group."""
    for row in read_rows(file.path, task=file.task):
        yield Document(
            id=row.key("ID"),
            fields={"phenomenon": row.text("phenomenon"), "paradigm": row.text("paradigm")},
            choices=(row.text("good_sentence"), row.text("bad_sentence")),
            label=0,
            group=row.text("paradigm"),
        )


def _sentences(row: Row) -> Document:
    choices = (row.text("sentence1"), row.text("sentence2"))
    return Document(
        id=row.key("id" if "id" in row.values else ""),
        fields={},
        choices=choices,
        label=_first_or_second(row),
        group=group_of(*_differing(*choices)),
    )


def _resolved(row: Row) -> Document:
    """Put each candidate where the pronoun stands."""
    tokens: list[str] = _parsed(row, "tokens")
    _, (start, end), _ = _parsed(row, "pronoun")
    candidates: list[tuple[str, Any, Any, bool]] = _parsed(row, "candidates")
    right = [number for number, candidate in enumerate(candidates) if candidate[3]]
    if len(candidates) != _PAIR or len(right) != 1:
        raise row.fault(
            f"there must be two candidates, one of them right, and are {len(candidates)}, "
            f"{len(right)} right"
        )
    before, after = "".join(tokens[:start]), "".join(tokens[end:])
    first, second = (before + candidate[0] + after for candidate in candidates)
    return Document(
        id=str(row.number),
        fields={},
        choices=(first, second),
        label=right[0],
        group=group_of(*_differing(first, second)),
    )


def _differing(first: str, second: str) -> tuple[str, str]:
    """What two sentences do not share: what they begin and end with in common is taken off."""
    start = len(os.path.commonprefix([first, second]))  # noqa: RUF071 - of letters, not of paths
    first, second = first[start:], second[start:]
    end = len(os.path.commonprefix([first[::-1], second[::-1]]))  # noqa: RUF071
    return first[: len(first) - end], second[: len(second) - end]


def _parsed(row: Row, name: str) -> Any:
    try:
        return json.loads(row.text(name))
    except json.JSONDecodeError as error:
        raise row.fault(f"{name!r} is broken JSON: {error.msg}") from error


def _first_or_second(row: Row) -> int:
    value = str(row.value("answer"))
    if value not in ("1", "2"):
        raise row.fault(f"'answer' must be 1 or 2, and is {value}")
    return int(value) - 1
