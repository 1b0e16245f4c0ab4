"""What a source of documents is.

A new one is a file beside this one and a line in `open_source`: nothing else asks for its name.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from minna.artifact import Licence


@dataclass(frozen=True, slots=True, kw_only=True)
class RawDocument:
    """One document as the source holds it, before normalisation.

    Attributes:
        id: first 16 hex digits of the sha256 of its raw content (`content_id`).
        group: what must not straddle a split; the id where a document stands alone.
        text: its text, cleaned of the source's own mark-up and of nothing else.
    """

    id: str
    group: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Shard:
    """A part of a source that can be read again on its own, and always reads the same."""

    name: str
    read: Callable[[], Iterator[RawDocument]]


class Source(Protocol):
    """Where documents come from.

    `identity` must be known without reading (or fetching) more than needed: it is part of the
    corpus key, and an unchanged key means that nothing is built.
    """

    @property
    def name(self) -> str:
        """The word in the `source` column."""
        ...

    @property
    def licences(self) -> Sequence[Licence]:
        """Terms and attribution; the first one's `licence` is written in every row."""
        ...

    def identity(self) -> dict[str, Any]:
        """What determines the content: hashes, and the settings of the reader."""
        ...

    def shards(self) -> Sequence[Shard]:
        """The parts, always in the same order."""
        ...


def content_id(content: bytes) -> str:
    """First 16 hex digits of sha256."""
    return hashlib.sha256(content).hexdigest()[:16]
