"""Sources of documents: what people have, each in exactly its layout (`DESCRIPTIONS`)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final

from minna.corpus.settings import BuildSettings
from minna.corpus.sources import dumps
from minna.corpus.sources.aozora import Aozora
from minna.corpus.sources.debian import Debian
from minna.corpus.sources.hub import PREFIX, Hub
from minna.corpus.sources.local import local
from minna.corpus.sources.pairs import Pairs
from minna.corpus.sources.source import RawDocument, Reading, Shard, Source, content_id
from minna.corpus.sources.tatoeba import Tatoeba
from minna.errors import UsageError, nearest

__all__ = [
    "DESCRIPTIONS",
    "SOURCES",
    "RawDocument",
    "Reading",
    "Shard",
    "Source",
    "content_id",
    "open_source",
]


def open_source(settings: BuildSettings) -> Source:
    """Return the source that the settings name.

    Raises:
        UsageError: no such source, or it needs a path and got none.
        DataError: the path holds nothing the source can read.
    """
    if settings.source.startswith(PREFIX):
        return _hub(settings)
    if settings.source not in _TABLE:
        raise UsageError(
            f"{settings.source!r} is not a source (known: {', '.join(SOURCES)}, {PREFIX}OWNER/NAME)"
            + nearest(settings.source, SOURCES),
            remedy="use one of these names, or `local --from PATH` for your own files",
        )
    return _TABLE[settings.source](settings)


def _place(settings: BuildSettings) -> Path:
    if settings.path is None:
        raise UsageError(
            f"the source {settings.source} needs the place of its data, and none was given",
            remedy=f"minna corpus build {settings.source} --from PATH --out DIR",
        )
    return settings.path


def _hub(settings: BuildSettings) -> Source:
    if settings.path is not None:
        raise UsageError(
            f"{settings.source} is fetched from the Hub, and --from {settings.path} was given too",
            remedy="leave --from out, or read the files you have as `local`",
        )
    return Hub(
        settings.source.removeprefix(PREFIX),
        revision=settings.revision,
        files=settings.files,
        field=settings.field,
        documents=settings.documents,
        licence=settings.licence,
        attribution=settings.attribution,
    )


def _local(settings: BuildSettings) -> Source:
    return local(
        _place(settings),
        documents=settings.documents,
        field=settings.field,
        licence=settings.licence,
        attribution=settings.attribution,
        files=settings.files,
    )


def _pairs(settings: BuildSettings) -> Source:
    return Pairs(
        _place(settings),
        licence=settings.licence,
        attribution=settings.attribution,
        files=settings.files,
    )


_TABLE: Final[dict[str, Callable[[BuildSettings], Source]]] = {
    "tatoeba": lambda settings: Tatoeba(settings.path),
    "aozora": lambda settings: Aozora(_place(settings), orthography=settings.orthography),
    "wikipedia": lambda settings: dumps.wikipedia(_place(settings), files=settings.files),
    "cc100": lambda settings: dumps.cc100(_place(settings), files=settings.files),
    "c4": lambda settings: dumps.c4(_place(settings), files=settings.files),
    "pile": lambda settings: dumps.pile(_place(settings), files=settings.files),
    "redpajama": lambda settings: dumps.redpajama(_place(settings), files=settings.files),
    "pairs": _pairs,
    "debian": lambda settings: Debian(_place(settings), files=settings.files),
    "local": _local,
}

SOURCES: Final = tuple(_TABLE)
DESCRIPTIONS: Final = {
    "tatoeba": "208,000 everyday sentences, fetched once from the package index",
    "aozora": "works of Aozora Bunko, with their ruby; an archive or a folder",
    "wikipedia": "parquet of wikimedia/wikipedia",
    "cc100": "CC-100's ja.txt.xz: a line a paragraph, an empty line between documents",
    "c4": "C4's and mC4's json.gz",
    "pile": "The Pile's jsonl.zst",
    "redpajama": "RedPajama's jsonl",
    "pairs": "parallel text: NAME.ja beside NAME.en, .tsv, or .jsonl",
    "debian": "manual pages and documents inside .deb files",
    "local": "your own .txt, .jsonl, .parquet, also compressed",
    f"{PREFIX}OWNER/NAME": "a data set of the Hugging Face Hub, at one commit",
}
