"""A user's own rows: JSON, JSON lines, CSV, TSV or parquet, mapped to documents by the task file.

JMMLU has columns A to D and a letter, llm-jp-eval one object with an instruction above a list of
samples, others an index or the words of the answer. Each of these is a few lines of `[rows]`, and
none needs code.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from minna.evaluate.readers.datafile import DataFile
from minna.evaluate.readers.rows import Row, from_list, read_cells, read_object, read_rows
from minna.evaluate.records import Document
from minna.evaluate.task import Rows

_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


def rows(file: DataFile) -> Iterator[Document]:
    """Every row as a document; columns that hold one value are what prompts may name."""
    mapping = file.chosen.task.rows
    for row in _rows(file, mapping):
        choices = _several(row, mapping.choices)
        words = mapping.labels or file.chosen.prompt.choices
        yield Document(
            id=row.key(mapping.id),
            fields=_fields(row.values),
            choices=choices,
            label=_label(row, mapping, choices=choices, words=words) if mapping.label else None,
            answers=_several(row, mapping.answers),
            group=row.key(mapping.group) if mapping.group else "",
        )


def _rows(file: DataFile, mapping: Rows) -> list[Row]:
    if mapping.nested:
        whole = read_object(file.path, task=file.task)
        place = f"{whole.place}, {mapping.nested}"
        above = {name: value for name, value in whole.values.items() if _is_plain(value)}
        return [
            Row(values={**above, **row.values}, place=row.place, number=row.number)
            for row in from_list(whole.value(mapping.nested), place=place)
        ]
    if mapping.columns:
        separator = "," if file.path.suffix.lower() == ".csv" else "\t"
        return read_cells(file.path, task=file.task, columns=mapping.columns, separator=separator)
    return read_rows(file.path, task=file.task)


def _several(row: Row, columns: Sequence[str]) -> tuple[str, ...]:
    """The texts of several columns, or of the one that holds a list."""
    if len(columns) == 1 and isinstance(row.value(columns[0]), list):
        return row.texts(columns[0])
    return tuple(row.text(name) for name in columns)


def _label(row: Row, mapping: Rows, *, choices: Sequence[str], words: Sequence[str]) -> int:
    """Which choice is right: a word, a letter, a choice's own text, or an index from 0."""
    value = row.value(mapping.label)
    count = len(choices) or len(words)
    if isinstance(value, str) and value not in words:
        letters = _LETTERS[:count]
        if len(value) == 1 and value in letters and value not in choices:
            return letters.index(value)
        if list(choices).count(value) == 1:
            return list(choices).index(value)
    return row.label(mapping.label, words or _numbers(count))


def _numbers(count: int) -> list[str]:
    return [str(number) for number in range(count)]


def _fields(values: Mapping[str, Any]) -> dict[str, str]:
    """What prompts may name; nothing is "", numbers are as Python writes them."""
    return {
        str(name): "" if value is None else str(value)
        for name, value in values.items()
        if _is_plain(value)
    }


def _is_plain(value: object) -> bool:
    return value is None or isinstance(value, str | int | float)
