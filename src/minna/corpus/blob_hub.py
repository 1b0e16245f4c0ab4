"""Data sets of the Hub whose parquet holds pictures or recordings, at one commit."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from minna.artifact import Licence
from minna.corpus.sources.hub import PREFIX, Hub, fetch_file


class HubSet(NamedTuple):
    """A data set of the Hub.

    Attributes:
        name: hub:OWNER/NAME.
        identity: what fixes its content.
        licence: its own terms, or those of the settings.
        files: names, and a function that fetches each and gives its place.
    """

    name: str
    identity: dict[str, Any]
    licence: Licence
    files: Callable[[], Sequence[tuple[str, Callable[[], Path]]]]


def is_hub(path: Path) -> bool:
    """Whether a path is hub:OWNER/NAME."""
    return path.as_posix().startswith(PREFIX)


def hub_set(path: Path, *, revision: str, files: str, licence: str, attribution: str) -> HubSet:
    """Look a data set up; nothing of it is fetched yet.

    Raises:
        UsageError: the name is none, or there is no such revision.
        DataError: no file of it can be read, or the Hub does not answer.
    """
    repository = path.as_posix().removeprefix(PREFIX)
    hub = Hub(
        repository,
        revision=revision,
        files=files or "*.parquet",
        field="",
        documents="file",
        licence=licence,
        attribution=attribution,
    )
    identity = hub.identity()
    commit = str(identity["commit"])

    def found() -> list[tuple[str, Callable[[], Path]]]:
        return [
            (
                shard.name,
                functools.partial(fetch_file, repository, name=shard.name, commit=commit),
            )
            for shard in hub.shards()
        ]

    return HubSet(hub.name, identity, hub.licences[0], found)
