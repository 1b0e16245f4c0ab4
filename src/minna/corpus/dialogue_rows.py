"""Dialogues as rows of parquet, and what is counted while they are written.

The files are cut as those of documents are (row groups of 8 MB, files of 64 MB), because the same
readers go through them: one row group is what a reader holds in memory.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from minna.artifact import replace_file
from minna.prompts import Turn

TURN: Final = pa.struct([pa.field("role", pa.string()), pa.field("text", pa.string())])
SCHEMA: Final = pa.schema(
    [
        *((name, pa.string()) for name in ("id", "group", "split", "source", "licence")),
        ("turns", pa.list_(TURN)),
        ("rejected", pa.string()),
    ]
)
DIALOGUE_COLUMNS: Final = tuple(SCHEMA.names)
SAMPLES: Final = 4
_ROW_GROUP_BYTES = 8_000_000
_ROW_GROUP_ROWS = 10_000
_FILE_BYTES = 64_000_000
_FILE_ROWS = 100_000
_REPEATED: Any = ["split", "source", "licence", "turns.list.element.role"]


class Row(NamedTuple):
    """One dialogue of a corpus, in the order of its columns."""

    id: str
    group: str
    split: str
    source: str
    licence: str
    turns: tuple[Turn, ...]
    rejected: str


@dataclass
class Tally:
    """What was counted of the dialogues written.

    Attributes:
        rejected: dialogues with an answer that was liked less.
        unanswered: dialogues whose last turn is the user's.
        characters, text_bytes: of all turns and rejected answers; bytes in UTF-8.
        samples: the first few.
    """

    kept: int = 0
    turns: int = 0
    rejected: int = 0
    unanswered: int = 0
    characters: int = 0
    text_bytes: int = 0
    splits: Counter[str] = field(default_factory=Counter[str])
    samples: list[Row] = field(default_factory=list[Row])

    def add(self, row: Row) -> int:
        """Count a row; return its bytes."""
        texts = [*(turn.text for turn in row.turns), row.rejected]
        size = sum(len(text.encode()) for text in texts)
        self.kept += 1
        self.turns += len(row.turns)
        self.rejected += bool(row.rejected)
        self.unanswered += row.turns[-1].role == "user"
        self.characters += sum(map(len, texts))
        self.text_bytes += size
        self.splits[row.split] += 1
        if len(self.samples) < SAMPLES:
            self.samples.append(row)
        return size


def write_rows(rows: Iterable[Row], *, data: Path) -> Tally:
    """Write the parquet files of a corpus into the folder `data`; return what they hold.

    Raises:
        ArtifactError: the disk is full.
    """
    tally = Tally()
    groups = _row_groups(rows, tally)
    for number in itertools.count():
        first = next(groups, None)
        if first is None:
            return tally
        with (
            replace_file(data / f"{number:05d}.parquet") as file,
            pq.ParquetWriter(file, SCHEMA, compression="zstd", use_dictionary=_REPEATED) as out,
        ):
            count, start = 0, tally.text_bytes
            for group in itertools.chain([first], groups):
                out.write_table(_table(group))
                count += len(group)
                if count >= _FILE_ROWS or tally.text_bytes - start >= _FILE_BYTES:
                    break
    raise AssertionError("counting does not end")


def _row_groups(rows: Iterable[Row], tally: Tally) -> Iterator[list[Row]]:
    """Cut rows into groups of bounded size, counted as they pass."""
    group: list[Row] = []
    size = 0
    for row in rows:
        group.append(row)
        size += tally.add(row)
        if size >= _ROW_GROUP_BYTES or len(group) >= _ROW_GROUP_ROWS:
            yield group
            group, size = [], 0
    if group:
        yield group


def _table(group: Sequence[Row]) -> pa.Table:
    columns: list[Sequence[Any]] = list(zip(*group, strict=True))
    place = DIALOGUE_COLUMNS.index("turns")
    columns[place] = [
        [{"role": turn.role, "text": turn.text} for turn in turns] for turns in columns[place]
    ]
    return pa.table(columns, schema=SCHEMA)
