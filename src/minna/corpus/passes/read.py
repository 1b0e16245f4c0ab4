"""First pass: payloads of the source -> normalised texts, and the hashes of their lines.

One process unpacks (a .tar.xz cannot be read in two places at once), the others parse and
normalise, four megabytes of payloads at a time.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from minna.corpus import japanese
from minna.corpus.filters import judge
from minna.corpus.passes.stage import Mark, Part
from minna.corpus.points import UInt64, lines, points
from minna.corpus.settings import BuildSettings
from minna.corpus.sources import RawDocument, Source
from minna.corpus.workers import Workers

NAME: Final = "read"
_PART_DOCUMENTS = 50_000
_TEXT = pa.string()
SCHEMA: Final = pa.schema(
    [(name, _TEXT) for name in ("id", "group", "language", "licence", "meta", "problem", "text")]
    + [
        (
            "readings",
            pa.list_(pa.struct([("before", _TEXT), ("base", _TEXT), ("reading", _TEXT)])),
        )
    ]
)

READ_DOCUMENT: Final = np.dtype([("digest", "<u8", 2), ("group", "<u8"), ("usable", "?")])

Parse = Callable[[Any], RawDocument] | None


@dataclass(kw_only=True)
class ReadTask:
    """Payloads for one process, with the function that parses each run of them."""

    directory: Path
    number: int
    frequent_characters: int
    paragraph_characters: int
    settings: BuildSettings
    runs: list[tuple[Parse, list[Any]]] = field(default_factory=list)
    documents: int = 0


def read_all(
    source: Source,
    *,
    directory: Path,
    settings: BuildSettings,
    workers: Workers,
    tell: Callable[[int], None],
) -> int:
    """Read the source to the end (or to the limit); return the number of parts.

    Args:
        source: what to read.
        directory: the draft of the corpus.
        settings: of the build.
        workers: who parses.
        tell: called with the documents read since the last call.
    """
    mark = Mark(directory, NAME)
    if (record := mark.read()) is not None:
        tell(record["documents"])
        return record["parts"]
    total = count = 0
    todo = _missing(_tasks(source, directory=directory, settings=settings))
    for documents in workers.in_order(_read, todo):
        count += 1
        total += documents
        tell(documents)
    mark.write({"parts": count, "documents": total})
    return count


def _missing(tasks: Iterator[ReadTask]) -> Iterator[ReadTask]:
    """Empty the tasks whose part is there: nothing is parsed twice."""
    for task in tasks:
        if Part(task.directory, NAME, task.number).is_done:
            task.runs = []
        yield task


def _tasks(source: Source, *, directory: Path, settings: BuildSettings) -> Iterator[ReadTask]:
    """Cut the payloads into parts; always at the same places for the same source."""

    def new(number: int) -> ReadTask:
        dedup = settings.dedup
        return ReadTask(
            directory=directory,
            number=number,
            frequent_characters=dedup.boilerplate_characters if dedup.boilerplate_documents else 0,
            paragraph_characters=dedup.paragraph_characters,
            settings=settings,
        )

    task, size, taken = new(0), 0, 0
    for shard in source.shards():
        payloads: list[Any] = []
        task.runs.append((shard.parse, payloads))
        for payload in shard.read():
            payloads.append(payload)
            task.documents += 1
            taken += 1
            size += _size(payload)
            if taken == settings.limit:
                yield task
                return
            if size >= settings.part_bytes or task.documents >= _PART_DOCUMENTS:
                yield task
                task, size, payloads = new(task.number + 1), 0, []
                task.runs.append((shard.parse, payloads))
    if task.documents:
        yield task


def _size(payload: Any) -> int:
    """Bytes of a payload, about."""
    if isinstance(payload, bytes | str):
        return len(payload)
    if isinstance(payload, RawDocument):
        return 3 * len(payload.text)
    if isinstance(payload, tuple | list):
        return sum(_size(item) for item in payload)
    return 64


def _read(task: ReadTask) -> int:
    """Parse and normalise one part."""
    part = Part(task.directory, NAME, task.number)
    if not task.runs:
        return task.documents
    documents = [
        payload if parse is None else parse(payload)
        for parse, payloads in task.runs
        for payload in payloads
    ]
    texts = [raw.text if raw.problem else japanese.normalise(raw.text) for raw in documents]
    part.write_rows(
        [
            [raw.id for raw in documents],
            [raw.group for raw in documents],
            [raw.language for raw in documents],
            [raw.licence for raw in documents],
            [json.dumps(dict(raw.meta), ensure_ascii=False, sort_keys=True) for raw in documents],
            [raw.problem for raw in documents],
            texts,
            [[reading._asdict() for reading in raw.readings] for raw in documents],
        ],
        schema=SCHEMA,
    )
    part.write_array("documents", _documents(documents, texts))
    stays = [not raw.problem for raw in documents]
    record = {"documents": len(documents)}
    record["frequent"] = _write_lines(part, "frequent", texts, stays, task.frequent_characters)
    if task.paragraph_characters:
        # the document that keeps a paragraph must not be one that the filters drop
        judged = judge(
            texts,
            [raw.language for raw in documents],
            settings=task.settings.filters,
            wanted=task.settings.language,
        )
        pairs = zip(stays, judged.reasons, strict=True)
        stays = [usable and reason is None for usable, reason in pairs]
    record["paragraphs"] = _write_lines(part, "paragraphs", texts, stays, task.paragraph_characters)
    part.finish(record)
    return len(documents)


def _documents(documents: list[RawDocument], texts: list[str]) -> npt.NDArray[Any]:
    result = np.zeros(len(documents), dtype=READ_DOCUMENT)
    result["digest"] = hashes(
        [text.encode("utf-8", "surrogatepass") for text in texts], size=16
    ).reshape(-1, 2)
    groups = [raw.group.encode("utf-8", "replace") for raw in documents]
    result["group"] = hashes(groups, size=8)
    result["usable"] = [not raw.problem for raw in documents]
    return result


def hashes(contents: list[bytes], *, size: int) -> UInt64:
    """BLAKE2b of each, of `size` bytes, as 64-bit words one after the other."""
    joined = b"".join(hashlib.blake2b(part, digest_size=size).digest() for part in contents)
    return np.frombuffer(joined, dtype="<u8").astype(np.uint64)


def _write_lines(part: Part, name: str, texts: list[str], stays: list[bool], shortest: int) -> int:
    """Write the hashes of long lines, each once a document, by hash: [2, L] with its document."""
    found = [np.zeros((0, 2), dtype=np.uint64)]
    usable = [number for number, stay in enumerate(stays) if stay and shortest]
    for numbers, batch in _several_lines(texts, usable):
        seen = lines(points(batch))
        long = seen.stops - seen.starts >= shortest
        documents = numbers[seen.documents[long]].astype(np.uint64)
        found.append(np.stack((seen.hashes[long], documents), axis=1))
    rows = np.concatenate(found)
    rows = rows[np.lexsort((rows[:, 1], rows[:, 0]))]
    new = np.concatenate(([True], (rows[1:] != rows[:-1]).any(axis=1)))[: len(rows)]
    part.write_array(name, np.ascontiguousarray(rows[new].T))
    return int(np.count_nonzero(new))


def _several_lines(texts: list[str], usable: list[int]) -> Iterator[tuple[Any, list[str]]]:
    """Batches of documents with a line break in them, with their numbers."""
    numbers = [number for number in usable if "\n" in texts[number]]
    for start, stop in batches([len(texts[number]) for number in numbers]):
        chosen = numbers[start:stop]
        yield np.asarray(chosen), [texts[number] for number in chosen]


def batches(lengths: list[int], *, most: int = 1 << 19) -> Iterator[tuple[int, int]]:
    """Cut a row of documents into batches of about `most` characters: (start, stop)."""
    start = size = 0
    for place, length in enumerate(lengths, start=1):
        size += length
        if size >= most:
            yield start, place
            start, size = place, 0
    if start < len(lengths):
        yield start, len(lengths)
