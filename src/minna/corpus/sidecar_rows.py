"""Rows of a corpus beside those of its side-car, and documents written again with other texts.

Both are in one order, file by file: a side-car is written by going through its corpus. So neither
is held in memory, and a row that is not where it belongs shows at once.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

from minna.artifact import Manifest, Parent, parent_of, read_manifest, replace_file
from minna.corpus.passes.write import SCHEMA
from minna.corpus.read import Part, part_batches, parts
from minna.errors import ArtifactError, UsageError

_GROUP_BYTES: Final = 8_000_000
_GROUP_ROWS: Final = 10_000
_FILE_BYTES: Final = 64_000_000
_REPEATED: Any = ["split", "source", "licence", "language"]


def refuse_own_place(inputs: tuple[Path, ...], out: Path) -> None:
    """Refuse to write where something is read.

    Raises:
        UsageError: `out` lies in an input, or an input in it.
    """
    place = out.resolve()
    for path in inputs:
        own = path.resolve()
        if place.is_relative_to(own) or own.is_relative_to(place):
            raise UsageError(
                f"--out {out} is where {path} lies, which is read",
                remedy="choose an --out beside it",
            )


def open_sidecar(
    corpus: Path, sidecar: Path, *, labels: Mapping[str, str], used: str
) -> tuple[Manifest, list[Parent]]:
    """Read the manifest of a side-car of a corpus; return it with both as parents.

    Args:
        corpus: the corpus.
        sidecar: the side-car.
        labels: kinds of labels that can be used -> the verb that writes them.
        used: what is done with them, for the error.

    Raises:
        ArtifactError: no corpus or no side-car, or one of another corpus.
        UsageError: a side-car of another label.
    """
    parents = [
        parent_of(corpus, role="corpus", kind="corpus"),
        parent_of(sidecar, role="sidecar", kind="sidecar"),
    ]
    manifest = read_manifest(sidecar, kind="sidecar")
    label: Any = manifest.settings.get("label")
    if label not in labels:
        verbs = " or ".join(f"`minna {verb}`" for verb in labels.values())
        raise UsageError(
            f"{sidecar} holds labels of kind {label!r}, and {used}",
            remedy=f"give a side-car that {verbs} wrote",
        )
    own = manifest.parent("corpus")
    if own.sha256 != parents[0].sha256:
        raise ArtifactError(
            f"{sidecar} was made of another corpus ({own.path}, {own.sha256[:12]}) than "
            f"{parents[0].path} ({parents[0].sha256[:12]})",
            remedy="give that corpus, or make the side-car again: what is known is kept, so only "
            "what is new is asked for",
        )
    return manifest, parents


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
        for row, label in self.every(columns, ("kept", "reason", *own)):
            if label["kept"]:
                yield row, label
            else:
                self.dropped[label["reason"]] += 1

    def every(
        self, columns: tuple[str, ...], own: tuple[str, ...]
    ) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
        """All rows: `columns` of the corpus, `own` of the side-car."""
        for part in self._parts:
            labels = self._labels(part, own)
            for batch in part_batches(part, split="all", columns=columns):
                for row in batch.to_pylist():
                    label = next(labels, None)
                    if label is None or label["id"] != row["id"]:
                        raise self._misplaced(part)
                    self.read += 1
                    yield row, label
            if next(labels, None) is not None:
                raise self._misplaced(part)

    def _labels(self, part: Part, own: tuple[str, ...]) -> Iterator[dict[str, Any]]:
        file = self._file(part)
        try:
            with pq.ParquetFile(file) as parquet:
                for batch in parquet.iter_batches(columns=["id", *own]):
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
