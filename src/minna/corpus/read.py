"""Reading a corpus back: in file order, one row group (about 8 MB of text) in memory at a time.

Tokenizer training and token shards read here. Rows of other splits are thrown away in Arrow, before
any Python string is made, which is where the time would go.

A mixture has no files of its own: its components are read in place. Their training documents come
interleaved, each component as often as it repeats, so that whoever stops early has seen all of them
in proportion; documents for valid and test come once each, component after component.

The text of a picture is its captions, a line each, that of a clip its transcript (clips without one
are passed over): a tokenizer learns from a corpus of pictures or of speech as from any other.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.parquet as pq

from minna.artifact import read_manifest
from minna.corpus.components import (
    Mixture,
    id_numbers,
    left_out_name,
    read_mixture,
    told_again,
    whole_and_rest,
)
from minna.errors import ArtifactError, UsageError, nearest

_COMPUTE: Any = pc  # its functions are made when it is imported: no checker knows them
_SPLITS = ("train", "valid", "test", "all")
_TEXTS = ("captions", "transcript")  # what stands for text in corpora of pictures and of clips


@dataclass(frozen=True, slots=True)
class Document:
    """One document of a corpus."""

    id: str
    group: str
    source: str
    text: str


@dataclass(frozen=True, kw_only=True, eq=False)
class Part:
    """One parquet file of a corpus, and how a mixture reads it.

    Attributes:
        number: its place among all files of the corpus.
        component: its component's place in the mixture.
        repeats: how often an epoch tells its training documents; 1 in a plain corpus.
        seed: of the mixture.
        left_out: ids of documents that another component holds out.
    """

    file: Path
    number: int
    component: int = 0
    repeats: float = 1.0
    seed: int = 0
    left_out: npt.NDArray[np.uint64] | None = None


def files(path: Path) -> list[Path]:
    """Return the parquet files of a corpus in order, of a mixture those of its components.

    Raises:
        ArtifactError: not a corpus, or a component is not the one that was mixed.
    """
    return [part.file for part in parts(path)]


def parts(path: Path) -> list[Part]:
    """Return the files of a corpus with how they are read; one at a time can be resumed by file.

    Raises:
        ArtifactError: not a corpus, or a component is not the one that was mixed.
    """
    manifest = read_manifest(path, kind="corpus")
    mixture = read_mixture(path)
    if mixture is None:
        names = sorted(name for name in manifest.files if name.startswith("data/"))
        return [Part(file=path / name, number=number) for number, name in enumerate(names)]
    found: list[Part] = []
    for index, component in enumerate(mixture.components):
        ids = path / left_out_name(index)
        left_out = np.load(ids, allow_pickle=False) if ids.is_file() else None
        for file in files(path / component.path):
            part = Part(
                file=file,
                number=len(found),
                component=index,
                repeats=component.repeats,
                seed=mixture.seed,
                left_out=left_out,
            )
            found.append(part)
    return found


def batches(path: Path, *, split: str, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
    """Yield the named columns of the rows of a split, one row group at a time.

    Args:
        path: a corpus. Of a mixture, "train" is its first epoch; "all" has every row once.
        split: train, valid, test, or all.
        columns: names of columns, in the order wanted.

    Raises:
        ArtifactError: not a corpus, or a file of it is missing or damaged.
        UsageError: no such split or column.
    """
    mixture = read_mixture(path)
    if mixture is not None and split == "train":
        yield from _first_epoch(mixture, parts(path), columns)
    else:
        for part in parts(path):
            yield from part_batches(part, split=split, columns=columns)


def part_batches(part: Part, *, split: str, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
    """Yield the rows of a split of one of `parts`, each once.

    Raises:
        ArtifactError: the file is missing or damaged.
        UsageError: no such split or column.
    """
    if part.left_out is None or not len(part.left_out):
        yield from file_batches(part.file, split=split, columns=columns)
        return
    for batch in file_batches(part.file, split=split, columns=[*columns, "id"]):
        ids = id_numbers(batch.column(len(columns)), file=part.file)
        kept = batch.filter(pa.array(~np.isin(ids, part.left_out)))
        if kept.num_rows:
            yield pa.RecordBatch.from_arrays(kept.columns[: len(columns)], names=list(columns))


def file_batches(file: Path, *, split: str, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
    """Yield the named columns of the rows of a split of one file of `files`.

    Raises:
        ArtifactError: the file is missing or damaged, or holds dialogues where text is asked for.
        UsageError: no such split or column.
    """
    if split not in _SPLITS:
        raise UsageError(
            f"{split!r} is not a split (known: {', '.join(_SPLITS)}){nearest(split, _SPLITS)}",
            remedy="name one of these",
        )
    told = list(columns)
    try:
        with pq.ParquetFile(file) as parquet:
            known = parquet.schema_arrow.names
            text = "text" if "text" in known else next((c for c in _TEXTS if c in known), "text")
            columns = [text if c == "text" else c for c in told]
            _refuse_unknown(columns, known=known, file=file)
            wanted = list(dict.fromkeys([*columns, "split"]))
            for group in range(parquet.num_row_groups):
                table = parquet.read_row_group(group, columns=wanted)
                if split != "all":
                    table = table.filter(ds.field("split") == split)
                if text == "transcript" and "text" in told:
                    table = table.filter(ds.field(text) != "")
                if table.num_rows:
                    for batch in table.select(columns).combine_chunks().to_batches():
                        yield batch if columns == told else _as_text(batch, told)
    except (pa.ArrowException, OSError) as error:
        raise ArtifactError(
            f"{file} cannot be read: {error}",
            remedy=f"look with: minna inspect {file.parent.parent}; then build the corpus again",
        ) from error


def _as_text(batch: pa.RecordBatch, names: list[str]) -> pa.RecordBatch:
    """A batch of pictures or clips whose column `text` is asked for."""
    arrays = [
        _lines(column) if name == "text" and pa.types.is_list(column.type) else column
        for name, column in zip(names, batch.columns, strict=True)
    ]
    return pa.RecordBatch.from_arrays(arrays, names=names)


def _lines(captions: Any) -> Any:
    ends = np.cumsum(np.asarray(_COMPUTE.list_value_length(captions)))
    starts = pa.array(np.concatenate([[0], ends]), type=pa.int32())
    texts = _COMPUTE.struct_field(captions.flatten(), "text")
    return _COMPUTE.binary_join(pa.ListArray.from_arrays(starts, texts), "\n")


def _refuse_unknown(columns: Sequence[str], *, known: list[str], file: Path) -> None:
    if "text" in columns and "turns" in known:
        raise ArtifactError(
            f"{file.parent.parent} holds dialogues, not documents",
            remedy="give a corpus of text, such as `minna corpus build tatoeba` makes; dialogues "
            "are for recipes that tune on them (docs/dialogues.md)",
        )
    for name in columns:
        if name not in known:
            raise UsageError(
                f"{file} has no column {name!r} (it has {', '.join(known)}){nearest(name, known)}",
                remedy="name one of these",
            )


def _first_epoch(
    mixture: Mixture, every: list[Part], columns: Sequence[str]
) -> Iterator[pa.RecordBatch]:
    """Interleave the components: the next batch is of the one furthest behind its own end."""
    waiting = {
        index: _repeated([part for part in every if part.component == index], columns)
        for index in range(len(mixture.components))
    }
    rows = dict.fromkeys(waiting, 0)
    totals = [component.documents * component.repeats for component in mixture.components]
    while waiting:
        # rows, not bytes: the order must not depend on which columns were asked for
        index = min(waiting, key=lambda one: (rows[one] / totals[one], one))
        batch = next(waiting[index], None)
        if batch is None:
            del waiting[index]
        else:
            rows[index] += batch.num_rows
            yield batch


def _repeated(component: list[Part], columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
    """The training rows of a component as often as an epoch tells them, pass after pass."""
    whole, rest = whole_and_rest(component[0].repeats) if component else (0, 0.0)
    for _ in range(whole):
        for part in component:
            yield from part_batches(part, split="train", columns=columns)
    for part in component if rest else []:
        sizes = [_sizes(b) for b in part_batches(part, split="train", columns=["text"])]
        if not sizes:
            continue
        told = told_again(
            np.concatenate(sizes), rest=rest, epoch=0, seed=part.seed, number=part.number
        )
        row = 0
        for batch in part_batches(part, split="train", columns=columns):
            kept = batch.filter(pa.array(told[row : row + batch.num_rows]))
            row += batch.num_rows
            if kept.num_rows:
                yield kept


def _sizes(batch: pa.RecordBatch) -> npt.NDArray[np.int64]:
    """UTF-8 bytes of each text, and one for its end: what token shards count too."""
    texts: Any = batch.column(0)
    return np.asarray(_COMPUTE.binary_length(texts), dtype=np.int64) + 1


@dataclass(frozen=True, kw_only=True)
class Measured:
    """How large a corpus is: documents of each split, and bytes of their text."""

    documents: dict[str, int]
    bytes: dict[str, int]


def measure(corpus: list[Part]) -> Measured:
    """Count documents and bytes of some parts, in one reading.

    Raises:
        ArtifactError: a file is missing or damaged.
    """
    documents: dict[str, int] = dict.fromkeys(_SPLITS[:-1], 0)
    size: dict[str, int] = dict.fromkeys(documents, 0)
    for part in corpus:
        for batch in part_batches(part, split="all", columns=["text", "split"]):
            sizes, splits = _sizes(batch) - 1, np.asarray(_strings(batch.column(1)))
            for split in documents:
                mine = splits == split
                documents[split] += int(mine.sum())
                size[split] += int(sizes[mine].sum())
    return Measured(documents=documents, bytes=size)


def file_texts(file: Path, *, split: str) -> Iterator[list[str]]:
    """Yield the texts of a split of one file of `files`, batch by batch."""
    yield from part_texts(Part(file=file, number=0), split=split)


def part_texts(part: Part, *, split: str) -> Iterator[list[str]]:
    """Yield the texts of a split of one of `parts`, batch by batch, each once."""
    for batch in part_batches(part, split=split, columns=["text"]):
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
