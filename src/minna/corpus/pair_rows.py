"""Pictures with their captions as rows of parquet, and what is counted while they are written."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, NamedTuple

import pyarrow as pa

from minna.corpus.blob_rows import write_blob_rows

CAPTION: Final = pa.struct(
    [
        pa.field("text", pa.string()),
        pa.field("kind", pa.string()),
        pa.field("weight", pa.float32()),
    ]
)
SCHEMA: Final = pa.schema(
    [
        *((name, pa.string()) for name in ("id", "group", "split", "source", "licence", "concept")),
        ("image", pa.binary()),
        ("width", pa.int32()),
        ("height", pa.int32()),
        ("captions", pa.list_(CAPTION)),
    ]
)
PAIR_COLUMNS: Final = tuple(SCHEMA.names)
SAMPLES: Final = 6
_REPEATED: Final = ("split", "source", "licence", "captions.list.element.kind")


class Caption(NamedTuple):
    """One thing that is said of a picture.

    Attributes:
        text: normalised, one line.
        kind: what it is: "caption" (what the source has), "name", "keyword", "translation" ...
        weight: how often it is drawn, beside the others of its picture.
    """

    text: str
    kind: str = "caption"
    weight: float = 1.0


class PairRow(NamedTuple):
    """One picture of a corpus, in the order of its columns."""

    id: str
    group: str
    split: str
    source: str
    licence: str
    concept: str
    image: bytes
    width: int
    height: int
    captions: tuple[Caption, ...]


@dataclass
class Tally:
    """What was counted of the pictures written.

    Attributes:
        kept: pictures.
        captions: of them all.
        characters, text_bytes: of all captions; bytes in UTF-8.
        image_bytes: of all pictures.
        splits, sources, licences, kinds: name -> pictures (kinds: captions).
        cells: (source, split) -> pictures.
        concepts, groups: different ones.
        samples: some, with no pictures in them.
    """

    kept: int = 0
    captions: int = 0
    characters: int = 0
    text_bytes: int = 0
    image_bytes: int = 0
    splits: Counter[str] = field(default_factory=Counter[str])
    sources: Counter[str] = field(default_factory=Counter[str])
    licences: Counter[str] = field(default_factory=Counter[str])
    kinds: Counter[str] = field(default_factory=Counter[str])
    cells: Counter[tuple[str, str]] = field(default_factory=Counter[tuple[str, str]])
    samples: list[PairRow] = field(default_factory=list[PairRow])

    def add(self, row: PairRow) -> int:
        """Count a row; return the bytes of its picture."""
        self.kept += 1
        self.captions += len(row.captions)
        self.characters += sum(len(one.text) for one in row.captions)
        self.text_bytes += sum(len(one.text.encode()) for one in row.captions)
        self.image_bytes += len(row.image)
        self.splits[row.split] += 1
        self.sources[row.source] += 1
        self.licences[row.licence] += 1
        self.cells[row.source, row.split] += 1
        self.kinds.update(one.kind for one in row.captions)
        if len(self.samples) < SAMPLES or self._is_power_of_two():
            self.samples.append(row._replace(image=b""))
        return len(row.image)

    def _is_power_of_two(self) -> bool:
        """Samples stand ever further apart, so that the first source does not give them all."""
        return self.kept & (self.kept - 1) == 0


def write_rows(rows: Iterable[PairRow], *, data: Path) -> Tally:
    """Write the parquet files of a corpus into the folder `data`; return what they hold.

    Raises:
        ArtifactError: the disk is full.
    """
    tally = Tally()
    write_blob_rows(
        rows,
        data=data,
        schema=SCHEMA,
        blob="image",
        repeated=_REPEATED,
        table=_table,
        count=tally.add,
    )
    return tally


def _table(group: Sequence[PairRow]) -> pa.Table:
    columns: list[Sequence[Any]] = list(zip(*group, strict=True))
    place = PAIR_COLUMNS.index("captions")
    columns[place] = [[one._asdict() for one in captions] for captions in columns[place]]
    return pa.table(columns, schema=SCHEMA)
