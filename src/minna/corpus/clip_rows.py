"""Clips of speech as rows of parquet, and what is counted while they are written.

`samples` and `rate` are those of the stored file, so a reader knows how long a clip is without
opening it: batches are cut by seconds. `phones` has Open JTalk's symbols (`phonemes.py`), words
apart by " | "; `times` the end of each phone in seconds, boundaries not counted. A phone begins
where the one before it ends, so where times are known silences are told too, each as a word "pau"
of its own: `words_of` leaves them out, `timed_phones` does not.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, NamedTuple

import pyarrow as pa

from minna.corpus.blob_rows import write_blob_rows

BOUNDARY: Final = "|"
"""Between two words of `phones`."""
PAUSE: Final = "pau"
"""What stands for silence in `phones`, a word of its own."""
_STRINGS: Final = ("id", "group", "split", "source", "licence", "speaker")
SCHEMA: Final = pa.schema(
    [
        *((name, pa.string()) for name in _STRINGS),
        ("audio", pa.binary()),
        ("samples", pa.int64()),
        ("rate", pa.int32()),
        *((name, pa.string()) for name in ("transcript", "kana", "phones")),
        ("times", pa.list_(pa.float32())),
    ]
)
CLIP_COLUMNS: Final = tuple(SCHEMA.names)
SAMPLES: Final = 6
_REPEATED: Final = ("split", "source", "licence", "speaker")


class ClipRow(NamedTuple):
    """One clip of a corpus, in the order of its columns."""

    id: str
    group: str
    split: str
    source: str
    licence: str
    speaker: str
    audio: bytes
    samples: int
    rate: int
    transcript: str
    kana: str
    phones: str
    times: tuple[float, ...]

    @property
    def seconds(self) -> float:
        """How long it is."""
        return self.samples / self.rate


@dataclass
class Tally:
    """What was counted of the clips written.

    Attributes:
        kept: clips.
        seconds: of them all.
        audio_bytes: of all files.
        transcribed, phoned, timed: clips that say what is said, by which phones, and when.
        characters: of all transcripts.
        splits, sources, licences: name -> clips.
        split_seconds: split -> seconds.
        cells: (source, split) -> seconds.
        speakers: speaker -> clips; "" where none is stated.
        samples: some, with no sound in them.
    """

    kept: int = 0
    seconds: float = 0.0
    audio_bytes: int = 0
    transcribed: int = 0
    phoned: int = 0
    timed: int = 0
    characters: int = 0
    splits: Counter[str] = field(default_factory=Counter[str])
    sources: Counter[str] = field(default_factory=Counter[str])
    licences: Counter[str] = field(default_factory=Counter[str])
    split_seconds: dict[str, float] = field(default_factory=dict[str, float])
    cells: dict[tuple[str, str], float] = field(default_factory=dict[tuple[str, str], float])
    speakers: Counter[str] = field(default_factory=Counter[str])
    samples: list[ClipRow] = field(default_factory=list[ClipRow])

    def add(self, row: ClipRow) -> int:
        """Count a row; return the bytes of its file."""
        self.kept += 1
        self.seconds += row.seconds
        self.audio_bytes += len(row.audio)
        self.transcribed += bool(row.transcript)
        self.phoned += bool(row.phones)
        self.timed += bool(row.times)
        self.characters += len(row.transcript)
        self.splits[row.split] += 1
        self.sources[row.source] += 1
        self.licences[row.licence] += 1
        self.speakers[row.speaker] += 1
        self.split_seconds[row.split] = self.split_seconds.get(row.split, 0.0) + row.seconds
        cell = row.source, row.split
        self.cells[cell] = self.cells.get(cell, 0.0) + row.seconds
        if len(self.samples) < SAMPLES or self.kept & (self.kept - 1) == 0:
            # ever further apart, so that the first source does not give them all
            self.samples.append(row._replace(audio=b""))
        return len(row.audio)


def words_of(phones: str) -> list[list[str]]:
    """What a column `phones` says is spoken: words of phones, silences left out."""
    words = [word.split() for word in phones.split(BOUNDARY)]
    return [word for word in words if word and word != [PAUSE]]


def phones_told(words: Iterable[Sequence[str]]) -> str:
    """Words of phones as the column `phones` has them."""
    return f" {BOUNDARY} ".join(" ".join(word) for word in words if word)


def timed_phones(phones: str, times: Sequence[float]) -> list[tuple[str, float, float]]:
    """(phone, start, end) in seconds, silences among them; none where times are not known."""
    names = [name for name in phones.split() if name != BOUNDARY]
    if not times:
        return []
    return list(zip(names, [0.0, *times[:-1]], times, strict=True))


def write_rows(rows: Iterable[ClipRow], *, data: Path) -> Tally:
    """Write the parquet files of a corpus into the folder `data`; return what they hold.

    Raises:
        ArtifactError: the disk is full.
    """
    tally = Tally()
    write_blob_rows(
        rows,
        data=data,
        schema=SCHEMA,
        blob="audio",
        repeated=_REPEATED,
        table=_table,
        count=tally.add,
    )
    return tally


def _table(group: Sequence[ClipRow]) -> pa.Table:
    columns: list[Sequence[Any]] = list(zip(*group, strict=True))
    return pa.table(columns, schema=SCHEMA)
