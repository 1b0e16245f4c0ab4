"""What a source of documents is.

A new one is a file beside this one and a line in `open_source`: nothing else asks for its name.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

from minna.artifact import Licence


class Reading(NamedTuple):
    """A reading printed beside its base (ruby): where its text has them, in the order of the text.

    Attributes:
        before: up to eight characters that stand in front of the base in its line, readings left
            out: with them the place is found again after normalisation.
        base: the characters it belongs to, such as 吾輩.
        reading: kana as a rule, such as わがはい.
    """

    before: str
    base: str
    reading: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RawDocument:
    """One document as the source holds it, before normalisation.

    Attributes:
        id: first 16 hex digits of the sha256 of its raw content (`content_id`).
        group: what must not straddle a split; the id where a document stands alone.
        text: its text, cleaned of the source's own mark-up and of nothing else.
        language: ja, en, or "" where the source does not know (it is then told from the text).
        licence: terms of this document, where they are not those of the whole source.
        meta: what the source knows about it (title, author, url, orthography): strings only.
        readings: ruby, where the source has it.
        problem: the name of a reason why it cannot be used (`undecodable`, `malformed`,
            `too_large`); it is then dropped and counted under it, with `text` (a file name, a
            line number) as the example.
    """

    id: str
    group: str
    text: str
    language: str = ""
    licence: str = ""
    meta: Mapping[str, str] = field(default_factory=dict[str, str])
    readings: Sequence[Reading] = ()
    problem: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shard:
    """A part of a source that can be read again on its own, and always reads the same.

    Reading is split in two so that all cores can work on one file: `read` runs in one process and
    only unpacks (bytes, or a tuple, for one document each), `parse` turns such a payload into the
    document in another process. `parse` must be picklable (a function of a module, or a `partial`
    of one), and so must the payload. Where there is nothing to share out, `read` yields documents.

    Attributes:
        name: for messages.
        read: yields one payload per document.
        parse: payload -> document; None where `read` yields documents.
    """

    name: str
    read: Callable[[], Iterator[Any]]
    parse: Callable[[Any], RawDocument] | None = None

    def documents(self) -> Iterator[RawDocument]:
        """The documents, read and parsed here."""
        if self.parse is None:
            yield from self.read()
        else:
            yield from map(self.parse, self.read())


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
