"""First pass over files that are rows: each is opened once and described, shard by shard.

What is decided later needs only the descriptions. They are written down when a shard is through, so
a build that was killed goes on behind the last one.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final, Protocol, TypeVar

import pyarrow as pa
import pyarrow.parquet as pq

from minna.artifact import replace_file
from minna.corpus.passes.stage import Part

T_co = TypeVar("T_co", covariant=True)
T = TypeVar("T")

_ROWS: Final = 1000


class BlobShard(Protocol[T_co]):
    """A part of a source that can be read again and always reads the same."""

    @property
    def name(self) -> str:
        """For messages."""
        ...

    @property
    def read(self) -> Callable[[], Iterator[T_co]]:
        """Yields what it holds."""
        ...


def measure_shards(
    shards: Iterable[BlobShard[T]],
    *,
    directory: Path,
    name: str,
    limit: int | None,
    write: Callable[[Part, BlobShard[T], Iterator[T]], int],
    tell: Callable[[int], None],
) -> int:
    """Describe shards in parts of the stage, one each; return the number of parts.

    Args:
        shards: of the source.
        directory: the draft of the corpus.
        name: of the pass.
        limit: only the first so many of what they hold.
        write: describes what is read of a shard in its part; returns how many that were.
        tell: is given the number of those that an earlier call had described.
    """
    left = limit
    number = 0
    for shard in shards:
        if left == 0:
            break
        part = Part(directory, name, number)
        if part.is_done:
            read = int(part.record()["read"])
            tell(read)
        else:
            read = write(part, shard, itertools.islice(shard.read(), left))
            part.finish({"read": read, "shard": shard.name})
        left = None if left is None else left - read
        number += 1
    return number


def write_seen(
    part: Part,
    described: Iterator[dict[str, Any]],
    *,
    schema: pa.Schema,
    tell: Callable[[int], None],
) -> int:
    """Write the descriptions of a part; return how many there are."""
    count = 0
    with (
        replace_file(_file(part)) as file,
        pq.ParquetWriter(file, schema, compression="lz4", use_dictionary=False) as out,
    ):
        while batch := list(itertools.islice(described, _ROWS)):
            out.write_table(pa.Table.from_pylist(batch, schema=schema))
            count += len(batch)
            tell(len(batch))
    return count


def seen_rows(part: Part) -> Iterator[dict[str, Any]]:
    """The descriptions of a part, in order."""
    with pq.ParquetFile(_file(part)) as table:
        for batch in table.iter_batches(batch_size=_ROWS):
            yield from batch.to_pylist()


def seen_columns(part: Part, *names: str) -> pa.Table:
    """Some columns of a part."""
    return pq.read_table(_file(part), columns=list(names))


def in_chunks(
    items: Iterable[T], *, size: Callable[[T], int], most_bytes: int, most: int
) -> Iterator[list[T]]:
    """Cut what is read into chunks for the workers, of bounded size."""
    chunk: list[T] = []
    held = 0
    for one in items:
        chunk.append(one)
        held += size(one)
        if held >= most_bytes or len(chunk) >= most:
            yield chunk
            chunk, held = [], 0
    if chunk:
        yield chunk


def _file(part: Part) -> Path:
    return part.path / "seen.parquet"


def parts_of(directory: Path, name: str, count: int) -> Sequence[Part]:
    """The parts that `measure_shards` wrote."""
    return [Part(directory, name, number) for number in range(count)]
