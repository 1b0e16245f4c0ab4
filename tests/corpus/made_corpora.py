"""Corpora written by hand, row by row: ids, splits and sizes as a test wants them."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from minna import artifact
from minna.artifact import Licence

COLUMNS = ("id", "group", "split", "source", "licence", "language", "meta", "text")


def row(text: str, *, split: str = "train", source: str = "made", language: str = "ja") -> dict:
    """One row; the same text has the same id in every corpus."""
    name = hashlib.sha256(text.encode()).hexdigest()[:16]
    values = (name, name, split, source, "CC0-1.0", language, "{}", text)
    return dict(zip(COLUMNS, values, strict=True))


def japanese(count: int, *, first: int = 0, split: str = "train", source: str = "wiki") -> list:
    """Rows of numbered sentences of different lengths."""
    return [
        row(f"これは{n}番目の文です。" + "とても" * (n % 7) + "長い。", split=split, source=source)
        for n in range(first, first + count)
    ]


def english(count: int, *, first: int = 0, split: str = "train", source: str = "pile") -> list:
    """The same in English."""
    return [
        row(
            f"This is sentence {n}." + " It is very long." * (n % 5),
            split=split,
            source=source,
            language="en",
        )
        for n in range(first, first + count)
    ]


def write_corpus(
    out: Path,
    rows: list[dict],
    *,
    file_rows: int = 40,
    group_rows: int = 10,
    licences: tuple[Licence, ...] = (Licence(source="made", licence="CC0-1.0"),),
    legal: tuple[str, ...] = ("confirm it",),
) -> Path:
    """Write a corpus directory of these rows, in files and row groups of these sizes."""
    schema = pa.schema([(name, pa.string()) for name in COLUMNS])
    with artifact.writing(out, kind="corpus", settings={"name": out.name}, parents=[]) as draft:
        (draft.path / "data").mkdir(exist_ok=True)
        for number, start in enumerate(range(0, len(rows), file_rows)):
            table = pa.Table.from_pylist(rows[start : start + file_rows], schema=schema)
            file = draft.path / "data" / f"{number:05d}.parquet"
            pq.write_table(table, file, row_group_size=group_rows, compression="zstd")
        draft.count("documents", len(rows), "documents")
        draft.licences, draft.legal = list(licences), list(legal)
    return out
