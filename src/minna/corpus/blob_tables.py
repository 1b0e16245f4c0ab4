"""Tables whose rows name files, or hold them: TSV, JSON lines and parquet.

A broken line is an error that says where: the table is the user's, and can be mended. Columns are
found by the names they usually have, one setting each names another.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from minna.corpus.sources.rows import json_object
from minna.corpus.sources.streams import (
    COMPRESSIONS,
    bounded_lines,
    broken,
    decode_utf8,
    open_bytes,
)
from minna.errors import DataError, nearest

_KINDS: Final = {
    ".tsv": "tsv",
    ".jsonl": "json lines",
    ".ndjson": "json lines",
    ".parquet": "parquet",
}


def table_kind(name: str) -> str:
    """What kind of table a file's name claims, "" for none; all but parquet may be compressed."""
    plain = name.lower()
    for compression in COMPRESSIONS:
        plain = plain.removesuffix(compression)
    kind = next((kind for suffix, kind in _KINDS.items() if plain.endswith(suffix)), "")
    return "" if kind == "parquet" and plain != name.lower() else kind


def parquet_names(file: Path) -> list[str]:
    """The columns of a parquet file.

    Raises:
        DataError: it is damaged.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return pq.read_schema(file).names
    except (pa.ArrowException, OSError) as error:
        raise broken(file, error) from error


def json_rows(file: Path, *, name: str) -> Iterator[dict[str, Any]]:
    """The rows of JSON lines; empty lines are skipped.

    Raises:
        DataError: a line is broken or too long.
    """
    with open_bytes(file) as stream:
        for piece in bounded_lines(stream):
            where = f"{name}, line {piece.line}"
            if piece.too_large:
                raise DataError(f"{where} is too long for a row", remedy="mend the line")
            if piece.content.strip():
                text = decode_utf8(piece.content, name=where, offset=piece.offset)
                yield json_object(text, where=where)


def tsv_rows(
    file: Path,
    *,
    name: str,
    known: Collection[str],
    header: Callable[[list[str]], list[str]],
) -> Iterator[dict[str, Any]]:
    """The rows of a table with tabs.

    Args:
        file: the table.
        name: of it, for errors.
        known: names of columns; a first line with none of them is a row.
        header: then gives the names, from that row.

    Raises:
        DataError: a line is broken, too long, or has another number of columns.
    """
    with open_bytes(file) as stream:
        names: list[str] = []
        for line, row in _cells(stream, name):
            if not names:
                names = row if not set(known).isdisjoint(row) else header(row)
                if names is row:
                    continue
            if len(row) != len(names):
                raise DataError(
                    f"{name}, line {line}: {len(row)} tab-separated columns, expected "
                    f"{len(names)} ({', '.join(names)})",
                    remedy="mend the line; a table with other columns needs a header that "
                    "names them",
                )
            yield dict(zip(names, row, strict=True))


def _cells(stream: Any, name: str) -> Iterator[tuple[int, list[str]]]:
    for piece in bounded_lines(stream):
        where = f"{name}, line {piece.line}"
        if piece.too_large:
            raise DataError(f"{where} is too long for a row", remedy="mend the line")
        text = decode_utf8(piece.content, name=where, offset=piece.offset).rstrip("\r\n")
        if text:
            yield piece.line, text.removeprefix("\ufeff").split("\t")


def find_column(
    asked: str, usual: Sequence[str], names: Sequence[str], *, where: object, what: str
) -> str:
    """The column that was asked for, or the first of the usual ones that is there.

    Args:
        asked: by a setting, "" for none.
        usual: names it usually has.
        names: of the table's columns.
        where: the table is, for the error.
        what: the setting that names it.

    Raises:
        DataError: there is none.
    """
    found = asked if asked in names else next((name for name in usual if name in names), "")
    if found and (not asked or asked == found):
        return found
    looked = repr(asked) if asked else f"for the {what} (such as {', '.join(usual[:4])})"
    raise DataError(
        f"{where} has no column {looked}; it has {', '.join(map(repr, names)) or 'none'}"
        + (nearest(asked, names) if asked else ""),
        remedy=f"name it: {what}=COLUMN",
    )


def together(rows: Iterator[dict[str, Any]], column: str) -> Iterator[list[dict[str, Any]]]:
    """Rows that name one file in a column, one behind the other; one that holds it is alone."""
    last: Any = None
    same: list[dict[str, Any]] = []
    for row in rows:
        name = row.get(column)
        if same and not (name and isinstance(name, str) and name == last):
            yield same
            same = []
        same.append(row)
        last = name
    if same:
        yield same


def storable(word: str) -> str:
    """A lone surrogate, which JSON can name, cannot be stored."""
    return word.encode("utf-8", "replace").decode()
