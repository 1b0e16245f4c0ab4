"""Sources of documents: `tatoeba` (the embedded default), `aozora`, `local` files."""

from __future__ import annotations

from minna.corpus.settings import BuildSettings
from minna.corpus.sources.aozora import Aozora
from minna.corpus.sources.local import Local
from minna.corpus.sources.source import RawDocument, Reading, Shard, Source, content_id
from minna.corpus.sources.tatoeba import Tatoeba
from minna.errors import UsageError, nearest

__all__ = ["SOURCES", "RawDocument", "Reading", "Shard", "Source", "content_id", "open_source"]

SOURCES = ("tatoeba", "aozora", "local")


def open_source(settings: BuildSettings) -> Source:
    """Return the source that the settings name.

    Raises:
        UsageError: no such source, or it needs a path and got none.
        DataError: the path holds nothing the source can read.
    """
    if settings.source == "tatoeba":
        return Tatoeba(settings.path)
    if settings.source not in SOURCES:
        raise UsageError(
            f"{settings.source!r} is not a source (known: {', '.join(SOURCES)})"
            + nearest(settings.source, SOURCES),
            remedy="use one of these names, or `local --from PATH` for your own files",
        )
    if settings.path is None:
        raise UsageError(
            f"the source {settings.source} needs the place of its data, and none was given",
            remedy=f"minna corpus build {settings.source} --from PATH --out DIR",
        )
    if settings.source == "aozora":
        return Aozora(settings.path)
    return Local(
        settings.path,
        documents=settings.documents,
        field=settings.field,
        licence=settings.licence,
        attribution=settings.attribution,
    )
