"""Reading a corpus back: in file order, one row group (about 8 MB of text) in memory at a time.

Tokenizer training and token shards read here. Rows of other splits are thrown away in Arrow, before
any Python string is made, which is where the time would go.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
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
    if split not in _SPLITS:
        raise UsageError(
            f"{split!r} is not a split (known: {', '.join(_SPLITS)}){nearest(split, _SPLITS)}",
            remedy="name one of these",
        )
    wanted = list(dict.fromkeys([*columns, "split"]))
    manifest = read_manifest(path, kind="corpus")
    for name in sorted(name for name in manifest.files if name.startswith("data/")):
        try:
            yield from _of_file(path / name, split=split, columns=list(columns), wanted=wanted)
        except (pa.ArrowException, OSError) as error:
            raise ArtifactError(
                f"{path / name} cannot be read: {error}",
                remedy=f"look with: minna inspect {path}; then build the corpus again",
            ) from error


def _of_file(
    file: Path, *, split: str, columns: list[str], wanted: list[str]
) -> Iterator[pa.RecordBatch]:
    with pq.ParquetFile(file) as parquet:
        known: list[str] = parquet.schema_arrow.names
        for name in columns:
            if name not in known:
                raise UsageError(
                    f"{file} has no column {name!r} (it has {', '.join(known)})"
                    + nearest(name, known),
                    remedy="name one of these",
                )
        for group in range(parquet.num_row_groups):
            table = parquet.read_row_group(group, columns=wanted)
            if split != "all":
                table = table.filter(pc.equal(table.column("split"), split))
            if table.num_rows:
                yield from table.select(columns).combine_chunks().to_batches()


def text_batches(path: Path, *, split: str) -> Iterator[tuple[list[str], list[str]]]:
    """Yield (texts, their sources) of a split, batch by batch: the fast way to all text."""
    for batch in batches(path, split=split, columns=["text", "source"]):
        yield batch.column(0).to_pylist(), batch.column(1).to_pylist()


def texts(path: Path, *, split: str) -> Iterator[Document]:
    """Yield the documents of a split in file order."""
    for batch in batches(path, split=split, columns=["id", "group", "source", "text"]):
        columns = [column.to_pylist() for column in batch.columns]
        yield from map(Document, *columns)
