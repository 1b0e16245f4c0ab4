"""First pass over a pair corpus: every picture is opened once, on all cores, and described.

What is decided later needs only the description: 16 bytes of sha256 for equal files, 64 bits for
nearly equal pictures, the group the source knows, and the captions. It is written down shard by
shard, so a build that was killed goes on behind the last one. Drawings (which cost a hundred times
what reading them again does) are kept beside their description.
"""

from __future__ import annotations

import functools
import hashlib
import re
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

import pyarrow as pa

from minna.corpus import japanese
from minna.corpus.pair_rows import CAPTION, Caption
from minna.corpus.pair_settings import Given, PictureShard
from minna.corpus.passes.blobs import BlobShard, in_chunks, measure_shards, write_seen
from minna.corpus.passes.stage import Part
from minna.corpus.pictures import BadPictureError, difference_hash, open_picture
from minna.corpus.workers import Workers

NAME: Final = "pictures"
SEEN: Final = pa.schema(
    [
        ("problem", pa.string()),
        ("digest", pa.binary(16)),
        ("hash", pa.uint64()),
        ("width", pa.int32()),
        ("height", pa.int32()),
        ("group", pa.string()),
        ("captions", pa.list_(CAPTION)),
        ("drawn", pa.binary()),
    ]
)
_CHUNK_BYTES = 8_000_000
_CHUNK_PICTURES = 64
_SPACE = re.compile(r"\s+")


class Look(NamedTuple):
    """What one look at a picture tells; `drawn` is empty where nothing had to be drawn."""

    problem: str
    digest: bytes
    hash: int
    width: int
    height: int
    drawn: bytes


def measure(
    shards: Iterable[PictureShard],
    *,
    directory: Path,
    limit: int | None,
    workers: Workers,
    tell: Callable[[int], None],
) -> int:
    """Describe all pictures in parts of the stage, one a shard; return the number of parts.

    Args:
        shards: of the source.
        directory: the draft of the corpus.
        limit: only the first so many pictures.
        workers: who opens them.
        tell: is given the number of pictures just described.

    Raises:
        DataError: the source cannot be read, or a process was killed.
    """

    def write(part: Part, shard: BlobShard[Given], given: Iterator[Given]) -> int:
        assert isinstance(shard, PictureShard)  # that is what `shards` are
        described = _described(given, draw=shard.draw, workers=workers)
        return write_seen(part, described, schema=SEEN, tell=tell)

    return measure_shards(
        shards, directory=directory, name=NAME, limit=limit, write=write, tell=tell
    )


def settled(captions: Iterable[Caption]) -> tuple[Caption, ...]:
    """Captions normalised, each in one line; empty ones and repetitions go."""
    found: dict[str, Caption] = {}
    for caption in captions:
        text = _SPACE.sub(" ", japanese.normalise(caption.text)).strip()
        if text and caption.weight > 0:
            found.setdefault(text, caption._replace(text=text))
    return tuple(found.values())


def _described(
    given: Iterable[Given], *, draw: Callable[[bytes], bytes] | None, workers: Workers
) -> Iterator[dict[str, Any]]:
    """One description for each picture, in order; the pictures themselves go to the workers."""
    waiting: deque[list[tuple[Given, tuple[Caption, ...]]]] = deque()

    def contents() -> Iterator[list[bytes]]:
        for chunk in in_chunks(given, size=_bytes, most_bytes=_CHUNK_BYTES, most=_CHUNK_PICTURES):
            told = [(one, settled(one.captions)) for one in chunk]
            waiting.append(told)
            # a picture without a caption is not worth opening
            yield [one.content if words and not one.problem else b"" for one, words in told]

    for looks in workers.in_order(functools.partial(_look_at, draw=draw), contents()):
        for (one, captions), look in zip(waiting.popleft(), looks, strict=True):
            problem = one.problem or ("" if captions else "no_caption") or look.problem
            yield look._asdict() | {
                "problem": problem,
                "group": one.group,
                "captions": [caption._asdict() for caption in captions],
            }


def _bytes(one: Given) -> int:
    return len(one.content)


def _look_at(contents: list[bytes], *, draw: Callable[[bytes], bytes] | None) -> list[Look]:
    return [_look(content, draw) for content in contents]


def _look(content: bytes, draw: Callable[[bytes], bytes] | None) -> Look:
    """Open one picture."""
    drawn = b""
    if not content:
        return Look("empty", bytes(16), 0, 0, 0, b"")
    try:
        if draw is not None:
            content = drawn = draw(content)
        image = open_picture(content)
    except BadPictureError as error:
        return Look(error.problem, bytes(16), 0, 0, 0, b"")
    digest = hashlib.sha256(content).digest()[:16]
    return Look("", digest, difference_hash(image), image.width, image.height, drawn)
