"""Documents out of JSON lines, parquet and plain text: the one reader behind seven sources.

Reading only cuts a file into pieces (lines, blocks, rows); decoding and JSON, which cost most, run
wherever `Shard.parse` does. What is bad is treated by whose file it is: in a dump of a hundred
million lines a broken one is dropped and counted by its reason, in the user's own file it is an
error that names the line, because there somebody can mend it. A piece over 32 MB is counted in
both, and a damaged archive is an error in both.
"""

from __future__ import annotations

import functools
import hashlib
import itertools
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Final, Literal, NamedTuple, cast

from minna.corpus.sources.files import format_of
from minna.corpus.sources.source import RawDocument, Shard, content_id
from minna.corpus.sources.streams import (
    LARGEST,
    Piece,
    bounded_blocks,
    bounded_lines,
    broken,
    decode_utf8,
    open_bytes,
)
from minna.errors import DataError, nearest

if TYPE_CHECKING:
    import pyarrow as pa

READER: Final = 3
"""Part of the identity: raise it when rows become other documents, ids or languages."""

_BATCH = 64  # rows of parquet at once: long documents have 300 kB, and memory must stay small
_NAME_THE_FIELD = (
    "name the one that holds the text with --field NAME; a source with a layout of its own has no "
    "such choice: read the files as `local` then"
)


class Facts(NamedTuple):
    """What a row says about its document: language code ("" unknown) and what goes into `meta`."""

    language: str
    meta: Mapping[str, str]


Describe = Callable[[Mapping[str, Any]], Facts]


class Row(NamedTuple):
    """A row of parquet: its number, from 1, and its columns; `too_large` as in `Piece`."""

    line: int
    values: dict[str, Any]
    too_large: str = ""


class BadDocumentError(DataError):
    """One document cannot be used; `problem` is the reason it is counted under."""

    def __init__(self, rule: str, *, remedy: str = "", problem: str = "malformed") -> None:
        super().__init__(rule, remedy=remedy)
        self.problem = problem


def no_facts(_row: Mapping[str, Any]) -> Facts:
    """For rows that hold nothing but text."""
    return Facts("", {})


def as_strings(row: Mapping[str, Any], *, names: tuple[str, ...]) -> dict[str, str]:
    """The named fields of a row that hold a word, a number or a time."""
    found = {name: row[name] for name in names if row.get(name) is not None}
    return {
        name: str(value)
        for name, value in found.items()
        if not isinstance(value, dict | list | bytes) and value != ""
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """How the rows of a file are read.

    Attributes:
        field: the field or column with the text.
        columns: further ones that `describe` looks at.
        describe: row -> language and meta; a function of a module, since it is pickled.
        language: of all documents of the file, where the source knows it.
        documents: what one document is in plain text.
        bad: count a broken row under its reason, or refuse the file with an error.
    """

    field: str = "text"
    columns: tuple[str, ...] = ()
    describe: Describe = no_facts
    language: str = ""
    documents: Literal["file", "line", "blank-line"] = "blank-line"
    bad: Literal["count", "refuse"] = "count"

    def settings(self) -> dict[str, str | int]:
        """What of it decides the documents, for the identity of a source."""
        return {"documents": self.documents, "field": self.field, "reader": READER}


def file_shard(name: str, *, fetch: Callable[[], Path], layout: Layout) -> Shard:
    """One file as a shard.

    Args:
        name: of the file, as it stands in messages and in the corpus.
        fetch: gives its place when it is read (a file of the Hub is downloaded then).
        layout: how its rows are read.
    """
    kind = format_of(name)
    if kind == "parquet":
        read, parse = _read_parquet, _parse_row
    elif kind == "json lines":
        read, parse = _read_json, _parse_json
    else:
        read, parse = _read_text, _parse_text
    return Shard(
        name=name,
        read=functools.partial(read, fetch, name=name, layout=layout),
        parse=functools.partial(_parse, parse, name=name, layout=layout),
    )


def _parse(
    parse: Callable[..., RawDocument], payload: Piece | Row, *, name: str, layout: Layout
) -> RawDocument:
    """Parse a payload; what is bad becomes an error or a counted drop, as the layout says."""
    where = f"{name}, {'row' if isinstance(payload, Row) else 'line'} {payload.line}"
    if payload.too_large:
        return unusable(payload.too_large, problem="too_large", where=where)
    try:
        return parse(payload, name=name, where=where, layout=layout)
    except BadDocumentError as error:
        if layout.bad == "refuse":
            raise
        raw = (
            payload.content
            if isinstance(payload, Piece)
            else where.encode("utf-8", "surrogatepass")
        )
        return unusable(content_id(raw), problem=error.problem, where=where)


def unusable(identity: str, *, problem: str, where: str) -> RawDocument:
    """A document that is dropped under the name of its problem, with its place as the example."""
    return RawDocument(id=identity, group=identity, text=where, problem=problem)


def decoded(piece: Piece, *, name: str) -> str:
    """The text of a piece.

    Raises:
        BadDocumentError: it is not UTF-8; the message names the byte and its place in the file.
    """
    try:
        return decode_utf8(piece.content, name=name, offset=piece.offset)
    except DataError as error:
        raise BadDocumentError(error.rule, remedy=error.remedy, problem="undecodable") from error


# ---- plain text


def _read_text(fetch: Callable[[], Path], *, name: str, layout: Layout) -> Iterator[Piece]:
    del name
    file = fetch()
    with open_bytes(file) as stream:
        if layout.documents == "file":
            yield _whole(stream, file=file, layout=layout)
        elif layout.documents == "line":
            yield from (piece for piece in bounded_lines(stream) if _has_something(piece))
        else:
            yield from bounded_blocks(stream)


def _whole(stream: BinaryIO, *, file: Path, layout: Layout) -> Piece:
    content = stream.read(LARGEST + 1)
    if len(content) <= LARGEST:
        return Piece(1, 0, content)
    if layout.bad == "refuse":
        raise DataError(
            f"{file} holds more than {LARGEST} bytes, too large for one document",
            remedy="say what a document is: --documents line or --documents blank-line",
        )
    digest = hashlib.sha256(content)
    while content := stream.read(1 << 20):
        digest.update(content)
    return Piece(1, 0, b"", digest.hexdigest()[:16])


def _has_something(piece: Piece) -> bool:
    return bool(piece.too_large) or not piece.content.isspace()


def _parse_text(piece: Piece, *, name: str, where: str, layout: Layout) -> RawDocument:
    del where
    text = decoded(piece, name=name)
    # a line or block is the same document with a line end behind it, with another one, or with none
    content = text if layout.documents == "file" else text.rstrip("\r\n")
    return _document(text, facts=Facts("", {}), layout=layout, content=content)


# ---- JSON lines


def _read_json(fetch: Callable[[], Path], *, name: str, layout: Layout) -> Iterator[Piece]:
    with open_bytes(fetch()) as stream:
        pieces = (piece for piece in bounded_lines(stream) if _has_something(piece))
        first = next(pieces, None)
        if first is None:
            return
        _refuse_other_layout(first, name=name, layout=layout)
        yield first
        yield from pieces


def _refuse_other_layout(first: Piece, *, name: str, layout: Layout) -> None:
    """A whole file of rows without text would be counted row by row, and nobody told why."""
    if first.too_large:
        return
    try:
        row = json.loads(first.content.decode("utf-8-sig"))
    except (ValueError, RecursionError):
        return  # one broken line, counted or refused where it is parsed
    _text_of(row, where=f"{name}, line {first.line}", field=layout.field)


def _parse_json(piece: Piece, *, name: str, where: str, layout: Layout) -> RawDocument:
    row = json_object(decoded(piece, name=name), where=where)
    text = _text_of(row, where=where, field=layout.field)
    return _document(text, facts=layout.describe(row), layout=layout)


def json_object(line: str, *, where: str) -> dict[str, Any]:
    """One line as a JSON object.

    Raises:
        BadDocumentError: it is not JSON, or not an object.
    """
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:  # also numbers of 5,000 digits and [[[[...
        raise BadDocumentError(
            f"{where} is not JSON: {error}",
            remedy="mend or remove that line; one JSON object a line is expected",
        ) from error
    if not isinstance(row, dict):
        raise _not_an_object(row, where=where)
    return cast("dict[str, Any]", row)


def _not_an_object(row: object, *, where: str) -> BadDocumentError:
    return BadDocumentError(
        f"{where} is a JSON {type(row).__name__}, not an object",
        remedy='write one object a line, such as {"text": "..."}',
    )


def _text_of(row: object, *, where: str, field: str) -> str:
    """The text of a row. A missing value is an empty text: the length filter drops and counts it.

    Raises:
        BadDocumentError: there is no such field, or no text in it.
    """
    if not isinstance(row, dict):
        raise _not_an_object(row, where=where)
    if field not in row:
        raise BadDocumentError(
            f"{where} has no field {field!r} (it has {sorted(row)})" + nearest(field, row),
            remedy=_NAME_THE_FIELD,
        )
    value = row[field]
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    if isinstance(value, bytes):
        decoded(Piece(1, 0, value), name=f"{where}: {field!r}")  # a string that is not UTF-8
    raise BadDocumentError(
        f"{where}: {field!r} is a {type(value).__name__}, not text", remedy=_NAME_THE_FIELD
    )


# ---- parquet


def _read_parquet(fetch: Callable[[], Path], *, name: str, layout: Layout) -> Iterator[Row]:
    del name
    numbers = itertools.count(1)
    for values in parquet_rows(fetch(), needed=(layout.field,), wanted=layout.columns):
        text = values[layout.field]
        if isinstance(text, str) and len(text) > LARGEST:
            yield Row(next(numbers), {}, content_id(text.encode("utf-8", "surrogatepass")))
        else:
            yield Row(next(numbers), values)


def parquet_rows(
    file: Path, *, needed: tuple[str, ...], wanted: tuple[str, ...] = ()
) -> Iterator[dict[str, Any]]:
    """The rows of a parquet file, as dictionaries of some of its columns.

    Args:
        file: the file.
        needed: columns it must have.
        wanted: columns that are read where they are there.

    Raises:
        DataError: a needed column is missing, or the file is truncated or damaged; it says after
            how many readable rows (none, when the end with the index is cut off).
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    given = 0
    try:
        with file.open("rb") as stream:
            if stream.read(4) != b"PAR1":
                raise broken(file, ValueError("it does not start like parquet"), after=0)
        with pq.ParquetFile(file) as table:
            names = table.schema_arrow.names
            _refuse_missing_columns(file, names=names, needed=needed)
            columns = [*needed, *(name for name in wanted if name in names and name not in needed)]
            for batch in table.iter_batches(batch_size=_BATCH, columns=columns):
                rows = _rows_of(batch)
                yield from rows
                given += len(rows)
    except (pa.ArrowException, OSError) as error:
        raise broken(file, error, after=given, unit="rows") from error


def _rows_of(batch: pa.RecordBatch) -> list[dict[str, Any]]:
    """The rows of a batch; a string in it that is not UTF-8 stays bytes.

    Parquet's strings are not checked when they are written: one bad byte in a row of a dump must
    not cost the others.
    """
    try:
        return batch.to_pylist()
    except UnicodeDecodeError:
        names = batch.schema.names
        return [
            {name: _value(batch.column(name)[row]) for name in names}
            for row in range(batch.num_rows)
        ]


def _value(scalar: Any) -> Any:
    """A value of Arrow in Python, with bytes where a string cannot be decoded."""
    try:
        return scalar.as_py()
    except UnicodeDecodeError:
        if hasattr(scalar, "as_buffer"):
            return scalar.as_buffer().to_pybytes()
        if hasattr(scalar, "keys"):  # a struct
            return {name: _value(scalar[name]) for name in scalar}
        return b""  # a list or a dictionary with such a string: no field that is read is one


def _refuse_missing_columns(file: Path, *, names: list[str], needed: tuple[str, ...]) -> None:
    for field in needed:
        if field not in names:
            raise DataError(
                f"{file} has no column {field!r} (it has {names})" + nearest(field, names),
                remedy=_NAME_THE_FIELD,
            )


def _parse_row(row: Row, *, name: str, where: str, layout: Layout) -> RawDocument:
    del name
    text = _text_of(row.values, where=where, field=layout.field)
    return _document(text, facts=layout.describe(row.values), layout=layout)


def _document(
    text: str, *, facts: Facts, layout: Layout, content: str | None = None
) -> RawDocument:
    """The document of a text; `content` is what it is known by, where that is not all of it."""
    identity = content_id((text if content is None else content).encode("utf-8", "surrogatepass"))
    return RawDocument(
        id=identity,
        group=identity,
        text=text,
        language=facts.language or layout.language,
        meta=facts.meta,
    )
