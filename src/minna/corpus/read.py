"""Reading a corpus back: in file order, one row group (about 8 MB of text) in memory at a time.

Tokenizer training and token shards read here. Rows of other splits are thrown away in Arrow, before
any Python string is made, which is where the time would go.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq

from minna.artifact import read_manifest
from minna.errors import ArtifactError, UsageError, nearest

_SPLITS = ("train", "valid", "test", "all")


@dataclass(frozen=True, slots=True)
class Document:
    """One document of a corpus."""

    id: str
    group: str
    source: str
    text: str


def files(path: Path) -> list[Path]:
    """Return the parquet files of a corpus in order; what reads one at a time can resume by file.

    Raises:
        ArtifactError: not a corpus.
    """
    manifest = read_manifest(path, kind="corpus")
    return [path / name for name in sorted(manifest.files) if name.startswith("data/")]


def batches(path: Path, *, split: str, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
    """Yield the named columns of the rows of a split, one row group at a time.

    Args:
        path: a corpus.
        split: train, valid, test, or all.
        columns: names of columns, in the order wanted.

    Raises:
        ArtifactError: not a corpus, or a file of it is missing or damaged.
        UsageError: no such split or column.
    """
    for file in files(path):
        yield from file_batches(file, split=split, columns=columns)


def file_batches(file: Path, *, split: str, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
    """Yield the named columns of the rows of a split of one file of `files`.

    Raises:
        ArtifactError: the file is missing or damaged.
        UsageError: no such split or column.
    """
    if split not in _SPLITS:
        raise UsageError(
            f"{split!r} is not a split (known: {', '.join(_SPLITS)}){nearest(split, _SPLITS)}",
            remedy="name one of these",
        )
    try:
        with pq.ParquetFile(file) as parquet:
            _refuse_unknown(columns, known=parquet.schema_arrow.names, file=file)
            wanted = list(dict.fromkeys([*columns, "split"]))
            for group in range(parquet.num_row_groups):
                table = parquet.read_row_group(group, columns=wanted)
                if split != "all":
                    table = table.filter(ds.field("split") == split)
                if table.num_rows:
                    yield from table.select(list(columns)).combine_chunks().to_batches()
    except (pa.ArrowException, OSError) as error:
        raise ArtifactError(
            f"{file} cannot be read: {error}",
            remedy=f"look with: minna inspect {file.parent.parent}; then build the corpus again",
        ) from error


def _refuse_unknown(columns: Sequence[str], *, known: list[str], file: Path) -> None:
    for name in columns:
        if name not in known:
            raise UsageError(
                f"{file} has no column {name!r} (it has {', '.join(known)}){nearest(name, known)}",
                remedy="name one of these",
            )


def file_texts(file: Path, *, split: str) -> Iterator[list[str]]:
    """Yield the texts of a split of one file of `files`, batch by batch."""
    for batch in file_batches(file, split=split, columns=["text"]):
        yield _strings(batch.column(0))


def text_batches(path: Path, *, split: str) -> Iterator[tuple[list[str], list[str]]]:
    """Yield (texts, their sources) of a split, batch by batch: the fast way to all text."""
    for batch in batches(path, split=split, columns=["text", "source"]):
        yield _strings(batch.column(0)), _strings(batch.column(1))


def texts(path: Path, *, split: str) -> Iterator[Document]:
    """Yield the documents of a split in file order."""
    for batch in batches(path, split=split, columns=["id", "group", "source", "text"]):
        yield from map(Document, *[_strings(column) for column in batch.columns])


def _strings(column: pa.Array[Any]) -> list[str]:
    return cast("list[str]", column.to_pylist())  # no column of ours holds a null
