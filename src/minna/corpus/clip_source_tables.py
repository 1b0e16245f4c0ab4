"""Tables of recordings: TSV and JSON lines that name files, parquet that holds them or names them.

Rows of one file that follow each other are stretches of one recording, with `start` and `end` in
seconds: so a lecture of the Corpus of Spontaneous Japanese, or any other long recording with its
transcript, is read without being cut beforehand.
"""

from __future__ import annotations

import functools
import itertools
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, Final

from minna.corpus.blob_files import Files, Listed
from minna.corpus.blob_tables import (
    json_rows,
    parquet_names,
    storable,
    table_kind,
    together,
    tsv_rows,
)
from minna.corpus.clip_settings import ClipSettings, ClipShard, GivenClip
from minna.corpus.clip_source_rows import (
    FILES,
    TEXTS,
    Columns,
    columns_among,
    content_of,
    recording_of,
    terms_of,
)
from minna.corpus.sources.rows import parquet_rows
from minna.errors import DataError

_PLAIN: Final = ("file", "text")  # columns of a table without a header
_ENOUGH: Final = 3


def table_shards(files: Files, *, root: Path, settings: ClipSettings) -> list[ClipShard]:
    """Tables, one a shard.

    Args:
        files: by name.
        root: where the recordings that they name lie.
        settings: which columns.
    """
    return [
        table_shard(name, fetch=functools.partial(_itself, file), root=root, settings=settings)
        for name, file in files
    ]


def table_shard(
    name: str, *, fetch: Callable[[], Path], root: Path, settings: ClipSettings
) -> ClipShard:
    """One table as a shard; `fetch` gives its place when it is read."""
    return ClipShard(
        name=name, read=functools.partial(_read, name, fetch, root=root, settings=settings)
    )


def _itself(file: Path) -> Path:
    return file


def _read(
    name: str, fetch: Callable[[], Path], *, root: Path, settings: ClipSettings
) -> Iterator[GivenClip]:
    terms = terms_of(settings)
    columns, rows = open_table(fetch(), name=name, settings=settings)
    for same in together(rows, columns.file):
        content = content_of(same[0].get(columns.file), root)
        yield recording_of(same, columns=columns, content=content, terms=terms, where=name)


def open_table(
    file: Path, *, name: str, settings: ClipSettings
) -> tuple[Columns, Iterator[dict[str, Any]]]:
    """Find the columns of a table; return them with its rows, read as they are asked for.

    Raises:
        DataError: it has no such columns, or (while reading) a line is broken.
    """
    kind = table_kind(name)
    if kind == "parquet":
        columns = columns_among(parquet_names(file), settings=settings, where=file)
        return columns, parquet_rows(file, needed=(columns.file,), wanted=columns.wanted)
    known = {*FILES, *TEXTS, settings.file, settings.text} - {""}
    rows = (
        tsv_rows(file, name=name, known=known, header=_header)
        if kind == "tsv"
        else json_rows(file, name=name)
    )
    first = next(rows, None)
    if first is None:
        raise DataError(f"{file} has no rows", remedy="give the table of the recordings")
    columns = columns_among(list(first), settings=settings, where=f"{file}, its first row,")
    return columns, itertools.chain([first], rows)


def _header(row: list[str]) -> list[str]:
    """The columns of a table without a header: file and text, or file, start, end and text."""
    if len(row) > _ENOUGH:
        return ["file", "start", "end", "text", *(f"column {n}" for n in range(5, len(row) + 1))]
    return list(_PLAIN[: len(row)]) if len(row) < _ENOUGH else ["file", "text", "speaker"]


def table_listed(
    tables: Sequence[tuple[str, Path]], *, settings: ClipSettings
) -> tuple[Columns, Listed]:
    """What tables say of the members of tars, by their names in lower case."""
    columns, _ = open_table(tables[0][1], name=tables[0][0], settings=settings)

    def rows() -> Iterator[tuple[str, str]]:
        for name, file in tables:
            _, found = open_table(file, name=name, settings=settings)
            for row in found:
                member = row.get(columns.file)
                if isinstance(member, str):
                    key = PurePosixPath(member.lower()).as_posix()
                    yield key, storable(json.dumps(row, ensure_ascii=False))

    return columns, Listed(rows(), where=tables[0][1], remedy="give the table of the recordings")
