"""What a pair corpus is made of: the emoji of npm packages, or pictures that somebody has.

The layout of the latter is told from names alone, in this order, since sets of pictures come with
tables about the tables: tars, then TSV or JSON lines, then a folder of pictures with their texts
beside them, then parquet. `files="*.parquet"` asks for another one.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple

from minna.artifact import Licence, Parent
from minna.console import warn
from minna.corpus import japanese
from minna.corpus.blob_files import Files, Listed, is_tar, stamps
from minna.corpus.blob_hub import hub_set, is_hub
from minna.corpus.blob_tables import table_kind
from minna.corpus.building import refuse_unread
from minna.corpus.card_words import LEGAL_NOTES
from minna.corpus.pair_card import PAIR_NOTES
from minna.corpus.pair_settings import READS, PairSettings, PairSource, PictureShard, near_bits
from minna.corpus.pair_sources_rows import Columns
from minna.corpus.pair_sources_samples import (
    folder_shards,
    is_picture,
    tar_shards,
)
from minna.corpus.pair_sources_tables import (
    address_rows,
    addresses_only,
    open_table,
    table_shard,
    table_shards,
)
from minna.corpus.sources.files import matching, visible_files
from minna.corpus.sources.streams import describe_files
from minna.errors import DataError, UsageError

_VERSION: Final = 1
"""Part of every key: raise it when rows are made differently."""
_KNOWN: Final = (
    "a folder of pictures with .txt or .json beside them, .tsv or .jsonl that names pictures, "
    ".parquet, .tar, or hub:OWNER/NAME"
)
_USUAL: Final = PairSettings(source="pictures").source_name


class _Layout(NamedTuple):
    """How a path is read: what fixes its content, and its shards, made when they are needed."""

    identity: dict[str, Any]
    shards: Callable[[], Sequence[PictureShard]]
    licences: Sequence[Licence] = ()


def open_pairs(settings: PairSettings) -> PairSource:
    """Return the source that the settings name.

    Raises:
        UsageError: a setting was given that it does not read, or it needs a path and got none.
        DataError: nothing there that can be read.
        MissingExtraError: what it needs is not installed.
    """
    refuse_unread(settings, plain=PairSettings(source=settings.source), reads=READS)
    if settings.source == "emoji":
        from minna.corpus.emoji import Emoji

        return Emoji(settings)
    return Pictures(settings)


class Pictures:
    """Pictures that somebody has, in one of the known layouts."""

    def __init__(self, settings: PairSettings) -> None:
        if settings.path is None:
            raise UsageError(
                "the source pictures needs the place of its data, and none was given",
                remedy=f"minna corpus build pictures --from PATH --out DIR; PATH is {_KNOWN}",
            )
        hub = is_hub(settings.path)
        self._layout = _hub(settings) if hub else _local(settings, settings.path)
        self.parents: list[Parent] = []
        self.legal: list[str] = [*LEGAL_NOTES, *PAIR_NOTES]
        own = Licence(
            source=settings.source_name,
            licence=settings.licence,
            attribution=settings.attribution,
        )
        self.licences: list[Licence] = list(self._layout.licences or [own])
        names = ("limit", "valid", "test", "image", "caption", "source_name")
        self.decided: dict[str, Any] = {
            "source": "pictures",
            "identity": self._layout.identity,
            "licences": [licence.model_dump() for licence in self.licences],
            "normalisation": japanese.VERSION,
            "version": _VERSION,
            "near": near_bits(settings),
        } | {name: getattr(settings, name) for name in names}

    def shards(self) -> Sequence[PictureShard]:
        """The parts of the layout."""
        return self._layout.shards()


# ---- the Hub


def _hub(settings: PairSettings) -> _Layout:
    assert settings.path is not None  # told from it
    if settings.images is not None:
        raise UsageError(
            f"images={settings.images} was given, and a data set of the Hub holds its pictures",
            remedy="leave images out",
        )
    found = hub_set(
        settings.path,
        revision=settings.revision,
        files=settings.files,
        licence=settings.licence,
        attribution=settings.attribution,
    )
    named = settings.source_name if settings.source_name != _USUAL else found.name
    settings = replace(settings, licence=found.licence.licence, source_name=named)

    def shards() -> list[PictureShard]:
        return [
            table_shard(name, fetch=fetch, root=Path(), settings=settings)
            for name, fetch in found.files()
        ]

    return _Layout(found.identity, shards, [found.licence])


# ---- files


def _local(settings: PairSettings, path: Path) -> _Layout:
    if not path.exists():
        raise DataError(f"{path} does not exist", remedy="check the path after --from")
    files = [(path.name, path)] if path.is_file() else visible_files(path)
    if settings.files:
        files = matching(files, pattern=settings.files, where=str(path))
    chosen, kind = _chosen(files, path)
    if kind == "table" and (columns := _columns(chosen, settings)).address:
        if settings.images is None:
            raise addresses_only(chosen[0][0], columns)
        return _listed(chosen, settings, settings.images)
    if kind == "table":
        root = settings.images or (path if path.is_dir() else path.parent)
        identity = describe_files(list(chosen)) | {"pictures": _stamp(root)}
        return _Layout(
            identity, functools.partial(table_shards, chosen, root=root, settings=settings)
        )
    if settings.images is not None:
        raise UsageError(
            f"images={settings.images} was given, and {path} holds pictures, not a table of them",
            remedy="leave images out",
        )
    return _samples(chosen, kind, settings, listed=None)


def _chosen(files: Files, path: Path) -> tuple[Files, Literal["tar", "table", "folder"]]:
    """Those files of a folder that its layout reads, and the layout."""
    tables = [(name, file) for name, file in files if table_kind(name) not in ("", "parquet")]
    parquet = [(name, file) for name, file in files if table_kind(name) == "parquet"]
    if tars := [(name, file) for name, file in files if is_tar(name)]:
        found, kind = tars, "tar"
    elif tables:
        found, kind = tables, "table"
    elif any(is_picture(name) for name, _ in files) and path.is_dir():
        found, kind = files, "folder"
    elif parquet:
        found, kind = parquet, "table"
    else:
        raise DataError(
            f"{path} holds no pictures ({len(files)} files)", remedy=f"known layouts: {_KNOWN}"
        )
    known = sum(is_tar(name) or bool(table_kind(name)) for name, _ in files)
    if known > len(found) and kind != "folder":
        warn(f"{known - len(found)} tables in {path} are not read beside {found[0][0]}")
    return found, kind


def _columns(files: Files, settings: PairSettings) -> Columns:
    name, file = files[0]
    return open_table(file, name=name, settings=settings)[0]


def _listed(tables: Files, settings: PairSettings, images: Path) -> _Layout:
    """Pictures that img2dataset fetched, with the captions of a table of addresses."""
    if not images.is_dir():
        raise DataError(f"images={images} is not a folder", remedy="give img2dataset's output")
    chosen, kind = _chosen(visible_files(images), images)
    if kind == "table":
        raise DataError(
            f"images={images} holds tables and no pictures", remedy="give img2dataset's output"
        )

    @functools.cache
    def listed() -> Listed:
        return Listed(
            address_rows(tables, settings=settings),
            where=tables[0][1],
            remedy="give the table of the pictures",
        )

    layout = _samples(chosen, kind, settings, listed=listed)
    return layout._replace(identity=layout.identity | {"captions": describe_files(list(tables))})


def _samples(
    files: Files,
    kind: Literal["tar", "table", "folder"],
    settings: PairSettings,
    *,
    listed: Callable[[], Listed] | None,
) -> _Layout:
    identity = describe_files(list(files)) if kind == "tar" else stamps(files)
    make = tar_shards if kind == "tar" else folder_shards
    return _Layout(
        identity,
        lambda: make(files, settings=settings, listed=listed() if listed is not None else None),
    )


def _stamp(root: Path) -> dict[str, Any]:
    """What fixes the pictures of a folder that a table names."""
    if not root.is_dir():
        raise DataError(f"images={root} is not a folder", remedy="give that of the pictures")
    return stamps([(name, file) for name, file in visible_files(root) if is_picture(name)])
