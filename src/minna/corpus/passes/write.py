"""Last pass: the documents that stay, as parquet, in the order of the source.

Where each file ends is known before any is written (sizes and verdicts are), so all cores write.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, NamedTuple, cast

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from minna.artifact import replace_file
from minna.corpus.passes.clean import READINGS
from minna.corpus.passes.select import REASONS, STAYS, Selection
from minna.corpus.passes.stage import Part
from minna.corpus.settings import BuildSettings
from minna.corpus.statistics import (
    EXAMPLE_CHARACTERS,
    LENGTH_BINS,
    SHARE_BINS,
    Statistics,
    count,
    load_statistics,
)
from minna.corpus.workers import Workers

NAME: Final = "write"
COLUMNS: Final = ("id", "group", "split", "source", "licence", "language", "meta", "text")
SCHEMA: Final = pa.schema([(name, pa.string()) for name in COLUMNS])
READING_SCHEMA: Final = pa.schema([pa.field("id", pa.string()), *READINGS])
_ROW_GROUP_BYTES = 8_000_000
_ROW_GROUP_ROWS = 10_000
_FILE_BYTES = 64_000_000
_REPEATED: Any = ["split", "source", "licence", "language"]  # worth a dictionary in parquet
_SAMPLES = 3


@dataclass(frozen=True, kw_only=True)
class Piece:
    """A run of rows of one clean part, with what was decided about each.

    Attributes:
        names: row -> name of its group, where that is not its own.
    """

    part: int
    start: int
    verdicts: npt.NDArray[np.uint8]
    names: dict[int, str]


@dataclass(kw_only=True)
class WriteTask:
    """One parquet file."""

    directory: Path
    number: int
    source: str
    licence: str
    settings: BuildSettings
    pieces: list[Piece] = field(default_factory=list)


def write_all(
    selection: Selection,
    *,
    directory: Path,
    settings: BuildSettings,
    workers: Workers,
    source: str,
    licence: str,
) -> Statistics:
    """Write every file that is missing; return what was counted in all of them."""
    names = _Names(selection, directory)
    tasks = [
        WriteTask(
            directory=directory,
            number=number,
            source=source,
            licence=licence,
            settings=settings,
            pieces=_pieces(selection, names, start, stop),
        )
        for number, (start, stop) in enumerate(_ranges(selection, settings.shard_documents))
    ]
    data = directory / "data"
    data.mkdir(exist_ok=True)
    todo = [task for task in tasks if not _statistics_file(task).is_file()]
    for _ in workers.in_order(_write, todo):
        pass
    total = Statistics()
    for task in tasks:
        total.add(load_statistics(_statistics_file(task)))
    return total


def _statistics_file(task: WriteTask) -> Path:
    return Part(task.directory, NAME, task.number).path / "statistics.json"


def _ranges(selection: Selection, most: int) -> Iterator[tuple[int, int]]:
    """Runs of documents for one file each: so many kept ones, or so many bytes of them."""
    kept = selection.verdicts == STAYS
    rows = np.cumsum(kept)
    size = np.cumsum(np.where(kept, selection.sizes, 0))
    start = rows_before = size_before = 0
    total = len(kept)
    while start < total:
        by_rows = int(np.searchsorted(rows, rows_before + most))
        by_size = int(np.searchsorted(size, size_before + _FILE_BYTES))
        stop = min(total, 1 + min(by_rows, by_size))
        if not kept[stop:].any():
            stop = total  # copies behind the last kept document belong to its file
        yield start, stop
        start, rows_before, size_before = stop, int(rows[stop - 1]), int(size[stop - 1])


def _pieces(selection: Selection, names: _Names, start: int, stop: int) -> list[Piece]:
    pieces: list[Piece] = []
    first = int(np.searchsorted(selection.starts, start, side="right")) - 1
    for part in range(first, len(selection.starts) - 1):
        low, high = int(selection.starts[part]), int(selection.starts[part + 1])
        begin, end = max(start, low), min(stop, high)
        if low >= stop:
            break
        if begin < end:
            pieces.append(
                Piece(
                    part=part,
                    start=begin - low,
                    verdicts=selection.verdicts[begin:end],
                    names=names.of(begin, end),
                )
            )
    return pieces


class _Names:
    """Names of the groups that were joined: of the first document in each."""

    def __init__(self, selection: Selection, directory: Path) -> None:
        self._names = selection.names
        self._others = np.flatnonzero(selection.names != np.arange(len(selection.names)))
        wanted = np.unique(selection.names[self._others])
        bounds = np.searchsorted(wanted, selection.starts)
        self._told: dict[int, str] = {}
        for part in np.flatnonzero(np.diff(bounds)).tolist():
            here = wanted[bounds[part] : bounds[part + 1]]
            rows = Part(directory, "clean", part).rows().column("group")
            names = rows.take(pa.array(here - selection.starts[part])).to_pylist()
            self._told.update(zip(here.tolist(), cast("list[str]", names), strict=True))

    def of(self, begin: int, end: int) -> dict[int, str]:
        """Row (counted from `begin`) -> name, of documents that do not name their group."""
        first, last = np.searchsorted(self._others, [begin, end])
        others = self._others[first:last].tolist()
        return {number - begin: self._told[int(self._names[number])] for number in others}


def _write(task: WriteTask) -> None:
    """Write one file, its readings if it has any, and what was counted."""
    statistics = Statistics()
    path = task.directory / "data" / f"{task.number:05d}.parquet"
    with contextlib.ExitStack() as files:
        file = files.enter_context(replace_file(path))
        rows = files.enter_context(
            pq.ParquetWriter(file, SCHEMA, compression="zstd", use_dictionary=_REPEATED)
        )
        readings: pq.ParquetWriter | None = None
        for group in _row_groups(_rows(task, statistics)):
            if len(statistics.samples) < _SAMPLES:
                statistics.samples.append(_beginning(group[0].columns[-1]))
            columns = list(zip(*(row.columns for row in group), strict=True))
            rows.write_table(pa.table(columns, schema=SCHEMA))
            told = [(row.columns[0], *ruby.values()) for row in group for ruby in row.readings]
            if told:
                statistics.readings += len(told)
                if readings is None:
                    beside = task.directory / "readings" / path.name
                    file = files.enter_context(replace_file(beside))
                    readings = files.enter_context(
                        pq.ParquetWriter(file, READING_SCHEMA, compression="zstd")
                    )
                columns = list(zip(*told, strict=True))
                readings.write_table(pa.table(columns, schema=READING_SCHEMA))
    statistics.save(_statistics_file(task))


class _Row(NamedTuple):
    """A row of a file, and its readings (start, base, reading)."""

    columns: tuple[str, ...]
    readings: list[dict[str, Any]]


def _rows(task: WriteTask, statistics: Statistics) -> Iterator[_Row]:
    """The rows of a file, counted as they pass."""
    settings = task.settings
    for piece in task.pieces:
        part = Part(task.directory, "clean", piece.part)
        taken = part.rows().slice(piece.start, len(piece.verdicts))
        columns = [cast("list[Any]", column.to_pylist()) for column in taken.columns]
        bins = part.array("documents")["bins"][piece.start :][: len(piece.verdicts)].tolist()
        rows = zip(zip(*columns, strict=True), piece.verdicts.tolist(), bins, strict=True)
        for number, (row, verdict, place) in enumerate(rows):
            own: str
            identity, own, language, licence, meta, text, ruby = row
            if verdict != STAYS:
                statistics.drop(REASONS[verdict], text)
                continue
            group = piece.names.get(number, own)
            split = split_of(group, valid=settings.valid, test=settings.test)
            terms = licence or task.licence
            size = len(text.encode())
            statistics.keep(size=size, characters=len(text), split=split)
            count(statistics.languages, language)
            count(statistics.language_bytes, language, size)
            count(statistics.licences, terms)
            statistics.regrouped += group != own
            orthography = json.loads(meta).get("orthography")
            if orthography:
                count(statistics.orthographies, orthography)
            _count_bins(statistics, place)
            yield _Row((identity, group, split, task.source, terms, language, meta, text), ruby)


def _count_bins(statistics: Statistics, places: list[int]) -> None:
    sizes = (LENGTH_BINS, SHARE_BINS, SHARE_BINS)
    for name, size, place in zip(("lengths", "kana", "smell"), sizes, places, strict=True):
        bins = getattr(statistics, name).setdefault("kept", [0] * size)
        bins[place] += 1


def _row_groups(rows: Iterator[_Row]) -> Iterator[list[_Row]]:
    """Cut rows into groups of bounded size."""
    group: list[_Row] = []
    size = 0
    for row in rows:
        group.append(row)
        size += 3 * len(row.columns[-1])  # 3 bytes a character: close enough, and free
        if size >= _ROW_GROUP_BYTES or len(group) >= _ROW_GROUP_ROWS:
            yield group
            group, size = [], 0
    if group:
        yield group


def _beginning(text: str) -> str:
    return text[:EXAMPLE_CHARACTERS].replace("\n", " ")


def split_of(group: str, *, valid: float, test: float) -> str:
    """Return the split of a group: its hash, as a number from 0 to 1, against the fractions."""
    digest = hashlib.blake2b(group.encode(), digest_size=8, person=b"minna split").digest()
    place = int.from_bytes(digest, "big") / 2**64
    if place < test:
        return "test"
    return "valid" if place < test + valid else "train"
