"""Rows of a corpus beside those of its side-car, and documents written again with other texts.

Both are in one order, file by file: a side-car is written by going through its corpus. So neither
is held in memory, and a row that is not where it belongs shows at once.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

from minna.artifact import replace_file
from minna.corpus.passes.write import SCHEMA
from minna.corpus.read import Part, part_batches, parts
from minna.errors import ArtifactError

_GROUP_BYTES: Final = 8_000_000
_GROUP_ROWS: Final = 10_000
_FILE_BYTES: Final = 64_000_000
_REPEATED: Any = ["split", "source", "licence", "language"]


class JoinedRows:
    """Rows of a corpus beside those of its side-car.

    Attributes:
        read: rows gone through.
        dropped: reason -> rows.
    """

    def __init__(self, corpus: Path, sidecar: Path) -> None:
        self._parts = parts(corpus)
        self._sidecar = sidecar
        self.read = 0
        self.dropped: Counter[str] = Counter()

    def rows(
        self, columns: tuple[str, ...], own: tuple[str, ...]
    ) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
        """The rows that are kept: `columns` of the corpus, `own` of the side-car."""
        for part in self._parts:
            labels = self._labels(part, own)
            for batch in part_batches(part, split="all", columns=columns):
                for row in batch.to_pylist():
                    label = next(labels, None)
                    if label is None or label["id"] != row["id"]:
                        raise self._misplaced(part)
                    self.read += 1
                    if label["kept"]:
                        yield row, label
                    else:
                        self.dropped[label["reason"]] += 1
            if next(labels, None) is not None:
                raise self._misplaced(part)

    def _labels(self, part: Part, own: tuple[str, ...]) -> Iterator[dict[str, Any]]:
        file = self._file(part)
        try:
            with pq.ParquetFile(file) as parquet:
                for batch in parquet.iter_batches(columns=["id", "kept", "reason", *own]):
                    yield from batch.to_pylist()
        except (pa.ArrowException, OSError) as error:
            raise ArtifactError(
                f"{file} cannot be read: {error}",
                remedy=f"look with: minna inspect {self._sidecar}; then make it again",
            ) from error

    def _file(self, part: Part) -> Path:
        return self._sidecar / "data" / f"{part.number:05d}.parquet"

    def _misplaced(self, part: Part) -> ArtifactError:
        return ArtifactError(
            f"{self._file(part)} does not hold the rows of {part.file}, in their order",
            remedy="make the side-car again",
        )


@dataclass
class DocumentTally:
    """What was counted of the documents written."""

    kept: int = 0
    splits: Counter[str] = field(default_factory=Counter[str])
    text_bytes: int = 0
    characters: int = 0

    def add(self, row: dict[str, Any]) -> int:
        """Count a row; return its bytes."""
        size = len(row["text"].encode())
        self.kept += 1
        self.splits[row["split"]] += 1
        self.text_bytes += size
        self.characters += len(row["text"])
        return size


def write_documents(rows: Iterable[dict[str, Any]], *, data: Path) -> DocumentTally:
    """Write documents into the folder `data`; return what was counted.

    Raises:
        ArtifactError: the disk is full.
    """
    tally = DocumentTally()
    groups = _groups(rows, tally)
    for number in itertools.count():
        first = next(groups, None)
        if first is None:
            break
        start = tally.text_bytes
        with (
            replace_file(data / f"{number:05d}.parquet") as file,
            pq.ParquetWriter(file, SCHEMA, compression="zstd", use_dictionary=_REPEATED) as out,
        ):
            for group in itertools.chain([first], groups):
                out.write_table(pa.Table.from_pylist(group, schema=SCHEMA))
                if tally.text_bytes - start >= _FILE_BYTES:
                    break
    return tally


def _groups(rows: Iterable[dict[str, Any]], tally: DocumentTally) -> Iterator[list[dict[str, Any]]]:
    """Cut rows into groups of bounded size, counted as they pass."""
    group: list[dict[str, Any]] = []
    size = 0
    for row in rows:
        group.append(row)
        size += tally.add(row)
        if size >= _GROUP_BYTES or len(group) >= _GROUP_ROWS:
            yield group
            group, size = [], 0
    if group:
        yield group
