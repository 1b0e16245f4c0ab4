"""Rows of any file a user may hold, each knowing where it stands.

A benchmark is read once and trusted for months, so a row that is not what it should be stops the
reading and is named with file and line; nothing is skipped or guessed. `.json` is tried as one
document first and as JSON lines second, because the official JGLUE files are lines under the name
`.json`.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from minna.errors import DataError

FORMATS = (".json", ".jsonl", ".csv", ".tsv", ".parquet")
_SHOWN = 40  # characters of a bad value that a message quotes


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One item of a file.

    Attributes:
        values: its columns.
        place: where it stands, such as "jnli: valid-v1.1.json, line 3".
        number: from 0 within its file.
    """

    values: Mapping[str, Any]
    place: str
    number: int

    def fault(self, rule: str, *, remedy: str = "") -> DataError:
        """The error to raise about this row."""
        return DataError(
            f"{self.place}: {rule}", remedy=remedy or "mend that row, or get the file again"
        )

    def value(self, name: str) -> Any:
        """A column's value.

        Raises:
            DataError: the row has no such column.
        """
        if name not in self.values:
            there = ", ".join(str(key) for key in self.values) or "none"
            raise self.fault(
                f"there is no column {name!r} (there are {there})",
                remedy="check that this file is of this task, and in the format its makers publish",
            )
        return self.values[name]

    def text(self, name: str) -> str:
        """A column that must hold text, and not nothing.

        Raises:
            DataError: it is missing, of another type, or empty.
        """
        value = self.value(name)
        if not isinstance(value, str):
            raise self.fault(f"{name!r} must be text, and is {_shown(value)}")
        if not value.strip():
            raise self.fault(f"{name!r} is empty")
        return value

    def key(self, name: str) -> str:
        """A column that names the item: text or a whole number; the row number without a name.

        Raises:
            DataError: it is missing, empty or of another type.
        """
        if not name:
            return str(self.number)
        value = self.value(name)
        if isinstance(value, int) and not isinstance(value, bool):
            return str(value)
        return self.text(name)

    def texts(self, name: str) -> tuple[str, ...]:
        """A column that holds a list of texts, none of them empty.

        Raises:
            DataError: it is missing, no list, empty, or holds something else.
        """
        value = self.value(name)
        if not isinstance(value, list) or not value:
            raise self.fault(f"{name!r} must be a list of texts, and is {_shown(value)}")
        for entry in value:
            if not isinstance(entry, str) or not entry.strip():
                raise self.fault(f"{name!r} must hold texts, and holds {_shown(entry)}")
        return tuple(value)

    def label(self, name: str, words: Sequence[str]) -> int:
        """A column with one of the words, or with its place among them from 0.

        Raises:
            DataError: it is neither.
        """
        value = self.value(name)
        if isinstance(value, str) and value in words:
            return words.index(value)
        if isinstance(value, str) and value.isascii() and value.isdigit():
            value = int(value)  # a CSV has no numbers
        if isinstance(value, bool) or not isinstance(value, int):
            raise self.fault(
                f"{name!r} must be one of {', '.join(words)} or a number from 0, "
                f"and is {_shown(value)}"
            )
        if not 0 <= value < len(words):
            raise self.fault(f"{name!r} must be from 0 to {len(words) - 1}, and is {value}")
        return value

    def only(self, name: str, *, place: str) -> Row:
        """The row inside a column, with a place of its own.

        Raises:
            DataError: the column holds no object.
        """
        return _row(self.value(name), place=f"{self.place}, {place}", number=self.number)


def read_rows(path: Path, *, task: str) -> list[Row]:
    """Every row of a file, whatever its format.

    Raises:
        DataError: broken UTF-8 or JSON, an empty file, a row that is no object, another format.
    """
    name = f"{task}: {path.name}"
    suffix = path.suffix.lower()
    if suffix == ".parquet":
        rows = _parquet(path, name=name)
    elif suffix in (".csv", ".tsv"):
        rows = read_table(path, task=task, separator="," if suffix == ".csv" else "\t")
    elif suffix in (".json", ".jsonl"):
        rows = _objects(path, name=name)
    else:
        raise DataError(
            f"{name}: this format is not read here", remedy=f"formats: {', '.join(FORMATS)}"
        )
    if not rows:
        raise DataError(f"{name} holds no rows", remedy="get the file again")
    return rows


def read_object(path: Path, *, task: str) -> Row:
    """A file that holds one JSON object.

    Raises:
        DataError: it holds something else.
    """
    name = f"{task}: {path.name}"
    return _row(_json(_decoded(path, name=name), name=name), place=name, number=0)


def read_table(path: Path, *, task: str, separator: str) -> list[Row]:
    """Every row of a table with a header, whatever the file's ending says.

    Raises:
        DataError: broken UTF-8 or quotes, an empty file, or a row with another number of cells.
    """
    name = f"{task}: {path.name}"
    (_, header), *lines = _cells(path, name=name, separator=separator)
    rows: list[Row] = []
    for number, (line, cells) in enumerate(lines):
        place = f"{name}, line {line}"
        if len(cells) != len(header):
            raise DataError(
                f"{place}: there are {len(cells)} cells under {len(header)} columns",
                remedy="quote cells that hold the separator, or get the file again",
            )
        rows.append(Row(values=dict(zip(header, cells, strict=True)), place=place, number=number))
    return rows


def read_cells(
    path: Path, *, task: str, columns: Sequence[str], separator: str = "\t"
) -> list[Row]:
    """Every row of a table without a header, its cells named here.

    Raises:
        DataError: broken UTF-8, an empty file, or a row with another number of cells.
    """
    name = f"{task}: {path.name}"
    rows: list[Row] = []
    for number, (line, cells) in enumerate(_cells(path, name=name, separator=separator)):
        place = f"{name}, line {line}"
        if len(cells) != len(columns):
            raise DataError(
                f"{place}: there are {len(cells)} cells, and must be {len(columns)} "
                f"({', '.join(columns)})",
                remedy="check that this file is of this task",
            )
        rows.append(Row(values=dict(zip(columns, cells, strict=True)), place=place, number=number))
    if not rows:
        raise DataError(f"{name} holds no rows", remedy="get the file again")
    return rows


def read_lines(path: Path, *, task: str) -> list[str]:
    """Every line of a text file, without its end.

    Raises:
        DataError: broken UTF-8, or an empty file.
    """
    text = _decoded(path, name=f"{task}: {path.name}")
    return [line.removesuffix("\r") for line in text.removesuffix("\n").split("\n")]


def from_list(value: object, *, place: str) -> list[Row]:
    """The rows in a list of objects.

    Raises:
        DataError: it is no list, or holds something else.
    """
    if not isinstance(value, list):
        raise DataError(
            f"{place}: there must be a list, and is {_shown(value)}", remedy="mend that file"
        )
    return [
        _row(entry, place=f"{place}, item {number}", number=number)
        for number, entry in enumerate(value)
    ]


def _objects(path: Path, *, name: str) -> list[Row]:
    text = _decoded(path, name=name)
    if path.suffix.lower() == ".json":
        try:
            value = json.loads(text)
        except json.JSONDecodeError as error:
            if error.msg != "Extra data":  # what JSON lines look like from the second line on
                raise _broken_json(error, place=f"{name}, line {error.lineno}") from error
        else:
            return (
                from_list(value, place=name)
                if isinstance(value, list)
                else [_row(value, place=name, number=0)]
            )
    rows: list[Row] = []
    for line, content in enumerate(text.split("\n"), start=1):  # splitlines() cuts at U+2028 too
        if content.strip():
            place = f"{name}, line {line}"
            rows.append(_row(_json(content, name=place), place=place, number=len(rows)))
    return rows


def _cells(path: Path, *, name: str, separator: str) -> list[tuple[int, list[str]]]:
    """Rows of cells with the line each ends at; tab-separated files know no quotes."""
    text = _decoded(path, name=name)
    quoting = csv.QUOTE_NONE if separator == "\t" else csv.QUOTE_MINIMAL
    reader = csv.reader(
        io.StringIO(text, newline=""), delimiter=separator, quoting=quoting, strict=True
    )
    rows: list[tuple[int, list[str]]] = []
    try:
        rows.extend((reader.line_num, cells) for cells in reader if cells)
    except csv.Error as error:
        raise DataError(
            f"{name}, line {reader.line_num}: {error}", remedy="mend that line: unbalanced quotes?"
        ) from error
    return rows


def _parquet(path: Path, *, name: str) -> list[Row]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        values = pq.read_table(path).to_pylist()
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise DataError(
            f"{name} is not a whole parquet file: {error}", remedy="get the file again"
        ) from error
    return [
        Row(values=entry, place=f"{name}, row {number}", number=number)
        for number, entry in enumerate(values)
    ]


def _decoded(path: Path, *, name: str) -> str:
    content = path.read_bytes()
    if not content.strip():
        raise DataError(f"{name} is empty", remedy="get the file again")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise DataError(
            f"{name}, line {line}: not UTF-8 (byte {content[error.start]:#04x})",
            remedy="save the file as UTF-8",
        ) from error


def _json(text: str, *, name: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise _broken_json(error, place=name) from error


def _broken_json(error: json.JSONDecodeError, *, place: str) -> DataError:
    return DataError(
        f"{place}: broken JSON: {error.msg} at column {error.colno}",
        remedy="get the file again, or mend that line",
    )


def _row(value: object, *, place: str, number: int) -> Row:
    if not isinstance(value, dict):
        raise DataError(
            f"{place}: there must be an object with named columns, and is {_shown(value)}",
            remedy="mend that file",
        )
    return Row(values=value, place=place, number=number)


def _shown(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "..."
