"""Rows that carry a file's own bytes (a picture, a clip) as parquet.

Twelve million small files are the slowest thing a disk can hold, and a path beside a corpus breaks
when it is moved, so the bytes stand in the row. They are not compressed a second time, and no
smallest and largest of them is noted. Row groups have 8 MB of them, so a reader holds that much;
files 256 MB.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final, TypeVar

import pyarrow as pa
import pyarrow.parquet as pq

from minna.artifact import replace_file

Row = TypeVar("Row", bound=tuple[Any, ...])

_ROW_GROUP_BYTES: Final = 8_000_000
_ROW_GROUP_ROWS: Final = 10_000
_FILE_BYTES: Final = 256_000_000
_FILE_ROWS: Final = 100_000


def write_blob_rows(
    rows: Iterable[Row],
    *,
    data: Path,
    schema: pa.Schema,
    blob: str,
    repeated: Sequence[str],
    table: Callable[[Sequence[Row]], pa.Table],
    count: Callable[[Row], int],
) -> None:
    """Write the parquet files of a corpus into the folder `data`.

    Args:
        rows: in the order of the corpus.
        data: `00000.parquet` and so on go here.
        schema: of the rows.
        blob: the column of bytes that are compressed already.
        repeated: columns (leaves of them) whose values repeat.
        table: some rows as a table of the schema.
        count: is given each row once, and returns the bytes of its blob.

    Raises:
        ArtifactError: the disk is full.
    """
    squeezed = {
        leaf: "none" if field.name == blob else "zstd"
        for field in schema
        for leaf in _leaves(field.name, field.type)
    }
    settings: dict[str, Any] = {
        "compression": squeezed,
        "use_dictionary": list(repeated),
        "write_statistics": [name for name in schema.names if name != blob],
    }
    groups = _row_groups(rows, count)
    for number in itertools.count():
        first = next(groups, None)
        if first is None:
            return
        with (
            replace_file(data / f"{number:05d}.parquet") as file,
            pq.ParquetWriter(file, schema, **settings) as out,
        ):
            written = size = 0
            for group, group_bytes in itertools.chain([first], groups):
                out.write_table(table(group))
                written += len(group)
                size += group_bytes
                if written >= _FILE_ROWS or size >= _FILE_BYTES:
                    break
    raise AssertionError("counting does not end")


def _leaves(name: str, kind: Any) -> Iterator[str]:
    """The columns that parquet makes of one of Arrow."""
    if pa.types.is_list(kind):
        yield from _leaves(f"{name}.list.element", kind.value_type)
    elif pa.types.is_struct(kind):
        for part in kind:
            yield from _leaves(f"{name}.{part.name}", part.type)
    else:
        yield name


def _row_groups(
    rows: Iterable[Row], count: Callable[[Row], int]
) -> Iterator[tuple[list[Row], int]]:
    """Cut rows into groups of bounded size, counted as they pass."""
    group: list[Row] = []
    size = 0
    for row in rows:
        group.append(row)
        size += count(row)
        if size >= _ROW_GROUP_BYTES or len(group) >= _ROW_GROUP_ROWS:
            yield group, size
            group, size = [], 0
    if group:
        yield group, size
