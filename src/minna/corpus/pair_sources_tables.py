"""Tables of pictures: TSV and JSON lines that name files, parquet that holds them or names them.

A broken line is an error that says where: the table is the user's, and can be mended. Addresses of
the web are not fetched. That takes days, politeness, and a tool made for it (img2dataset); what it
leaves in a folder is read by `pair_sources_samples`, with the captions of such a table.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from minna.corpus.blob_tables import json_rows, parquet_names, table_kind, together, tsv_rows
from minna.corpus.pair_rows import Caption
from minna.corpus.pair_settings import Given, PairSettings, PictureShard
from minna.corpus.pair_sources_rows import (
    ADDRESSES,
    BESIDE,
    CAPTIONS,
    IMAGES,
    Columns,
    captions_of,
    columns_among,
    given_of,
    terms_of,
)
from minna.corpus.sources.rows import parquet_rows
from minna.errors import DataError

_WEB: Final = ("http://", "https://")


def table_shards(
    files: Sequence[tuple[str, Path]], *, root: Path, settings: PairSettings
) -> list[PictureShard]:
    """Tables, one a shard.

    Args:
        files: by name.
        root: where the files that they name lie.
        settings: which columns.
    """
    return [
        table_shard(name, fetch=functools.partial(_itself, file), root=root, settings=settings)
        for name, file in files
    ]


def table_shard(
    name: str, *, fetch: Callable[[], Path], root: Path, settings: PairSettings
) -> PictureShard:
    """One table as a shard.

    Args:
        name: of the file.
        fetch: gives its place when it is read.
        root: where the files that it names lie.
        settings: which columns.
    """
    return PictureShard(
        name=name, read=functools.partial(_read, name, fetch, root=root, settings=settings)
    )


def _itself(file: Path) -> Path:
    return file


def _read(
    name: str, fetch: Callable[[], Path], *, root: Path, settings: PairSettings
) -> Iterator[Given]:
    """The pictures of a table; rows of one file that follow each other are one picture."""
    terms = terms_of(settings)
    columns, rows = open_table(fetch(), name=name, settings=settings)
    if not columns.image:
        raise addresses_only(name, columns)
    for same in together(rows, columns.image):
        given = given_of(same[0], columns=columns, root=root, terms=terms)
        told = [captions_of(row.get(columns.caption)) for row in same[1:]]
        more = tuple(caption for captions in told for caption in captions or ())
        yield given._replace(captions=given.captions + more) if more else given


def open_table(
    file: Path, *, name: str, settings: PairSettings
) -> tuple[Columns, Iterator[dict[str, Any]]]:
    """Find the columns of a table; return them with its rows, read as they are asked for.

    Raises:
        DataError: it has no such columns, or (while reading) a line is broken.
    """
    kind = table_kind(name)
    if kind == "parquet":
        columns = columns_among(parquet_names(file), settings=settings, where=file)
        needed = tuple(column for column in columns if column)
        return columns, parquet_rows(file, needed=needed, wanted=BESIDE)
    known = {*IMAGES, *ADDRESSES, *CAPTIONS, settings.image, settings.caption} - {""}
    rows = (
        tsv_rows(file, name=name, known=known, header=_header)
        if kind == "tsv"
        else json_rows(file, name=name)
    )
    first = next(rows, None)
    if first is None:
        raise DataError(f"{file} has no rows", remedy="give the table of the pictures")
    columns = columns_among(list(first), settings=settings, where=f"{file}, its first row,")
    return columns, itertools.chain([first], rows)


def _header(row: list[str]) -> list[str]:
    """The two columns of a table without a header: file or address, and caption."""
    return ["url" if row[0].startswith(_WEB) else "file", "caption"]


def addresses_only(name: str, columns: Columns) -> DataError:
    """The error for a table whose pictures are somewhere on the web."""
    return DataError(
        f"{name} names pictures by their address on the web ({columns.address!r}), which is not "
        "fetched here",
        remedy="fetch them with img2dataset and give its output too: images=DIR",
    )


def address_rows(
    files: Sequence[tuple[str, Path]], *, settings: PairSettings
) -> Iterator[tuple[str, str]]:
    """Addresses and captions of tables."""
    for name, file in files:
        columns, rows = open_table(file, name=name, settings=settings)
        for row in rows:
            address = row.get(columns.address)
            captions: tuple[Caption, ...] = captions_of(row.get(columns.caption)) or ()
            if isinstance(address, str):
                for caption in captions:
                    yield address, caption.text
