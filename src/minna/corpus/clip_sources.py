"""What a clip corpus is made of: recordings that somebody has, or text that a program speaks.

The layout of the former is told from names alone, in this order: LibriSpeech's transcripts, JSUT's
and JVS', Common Voice's table, TSV or JSON lines (with tars or files beside them), tars, a folder
of recordings with their texts beside them, parquet. `files="*.parquet"` asks for another one.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, NamedTuple

from minna.artifact import Licence, Parent
from minna.console import warn
from minna.corpus import japanese
from minna.corpus.audio import RATE
from minna.corpus.blob_files import TARS, Files, is_tar, stamps
from minna.corpus.blob_hub import hub_set, is_hub
from minna.corpus.blob_tables import table_kind
from minna.corpus.building import refuse_unread
from minna.corpus.card_words import LEGAL_NOTES
from minna.corpus.clip_card import CLIP_NOTES
from minna.corpus.clip_settings import READS, ClipSettings, ClipShard, ClipSource
from minna.corpus.clip_source_files import folder_shards, listed_shards, tar_shards
from minna.corpus.clip_source_layouts import (
    TRANS,
    UTF8,
    VALIDATED,
    common_voice_tables,
    jsut_shards,
    librispeech_shards,
)
from minna.corpus.clip_source_rows import is_audio
from minna.corpus.clip_source_tables import table_listed, table_shard, table_shards
from minna.corpus.phonemes import version
from minna.corpus.sources.files import matching, visible_files
from minna.corpus.sources.streams import describe_files
from minna.errors import DataError, UsageError

_VERSION: Final = 1
"""Part of every key: raise it when rows are made differently."""
_KNOWN: Final = (
    "a folder of recordings (with .txt or .json beside them), .tsv or .jsonl that names them, "
    ".tar, .parquet, LibriSpeech, ReazonSpeech, Common Voice, JSUT, JVS, or hub:OWNER/NAME"
)
_USUAL: Final = ClipSettings(source="clips").source_name


class _Layout(NamedTuple):
    """How a path is read: what fixes its content, and its shards, made when they are needed."""

    identity: dict[str, Any]
    shards: Callable[[], Sequence[ClipShard]]
    licences: Sequence[Licence] = ()


def open_clips(settings: ClipSettings) -> ClipSource:
    """Return the source that the settings name.

    Raises:
        UsageError: a setting was given that it does not read, or it needs a path and got none.
        DataError: nothing there that can be read.
        MissingExtraError: what it needs is not installed.
    """
    refuse_unread(settings, plain=ClipSettings(source=settings.source), reads=READS)
    if settings.path is None:
        what = f"PATH is {_KNOWN}" if settings.source == "clips" else "PATH is a text"
        raise UsageError(
            f"the source {settings.source} needs the place of its data, and none was given",
            remedy=f"minna corpus build {settings.source} --from PATH --out DIR; {what}",
        )
    if settings.source == "synth":
        from minna.corpus.synth import JapaneseSynth

        return JapaneseSynth(settings, settings.path)
    if settings.source == "synth-en":
        from minna.corpus.synth import EnglishSynth

        return EnglishSynth(settings, settings.path)
    return Recordings(settings, settings.path)


class Recordings:
    """Recordings that somebody has, in one of the known layouts."""

    def __init__(self, settings: ClipSettings, path: Path) -> None:
        self._layout = _hub(settings, path) if is_hub(path) else _local(settings, path)
        self.parents: list[Parent] = []
        self.legal: list[str] = [*LEGAL_NOTES, *CLIP_NOTES]
        self.remarks: list[tuple[str, str]] = []
        own = Licence(
            source=settings.source_name,
            licence=settings.licence,
            attribution=settings.attribution,
        )
        self.licences: list[Licence] = list(self._layout.licences or [own])
        left_out = {"source", "path", "workers", "licence", "attribution", "files", "revision"}
        names = [
            name
            for name in ("limit", "valid", "test", "seed", *READS["clips"])
            if name not in left_out and name != "audio"
        ]
        self.decided: dict[str, Any] = {
            "source": "clips",
            "identity": self._layout.identity,
            "licences": [licence.model_dump() for licence in self.licences],
            "normalisation": japanese.VERSION,
            "version": _VERSION,
            "rate": RATE,
            "reader": version() if settings.reading == "open-jtalk" else "",
        } | {name: getattr(settings, name) for name in names}

    def shards(self) -> Sequence[ClipShard]:
        """The parts of the layout."""
        return self._layout.shards()


def _hub(settings: ClipSettings, path: Path) -> _Layout:
    if settings.audio is not None:
        raise UsageError(
            f"audio={settings.audio} was given, and a data set of the Hub holds its recordings",
            remedy="leave audio out",
        )
    found = hub_set(
        path,
        revision=settings.revision,
        files=settings.files,
        licence=settings.licence,
        attribution=settings.attribution,
    )
    named = settings.source_name if settings.source_name != _USUAL else found.name
    settings = replace(settings, licence=found.licence.licence, source_name=named)

    def shards() -> list[ClipShard]:
        return [
            table_shard(name, fetch=fetch, root=Path(), settings=settings)
            for name, fetch in found.files()
        ]

    return _Layout(found.identity, shards, [found.licence])


def _local(settings: ClipSettings, path: Path) -> _Layout:
    if not path.exists():
        raise DataError(f"{path} does not exist", remedy="check the path after --from")
    root = path if path.is_dir() else path.parent
    files = visible_files(path) if path.is_dir() else [(path.name, path)]
    if settings.files:
        files = matching(files, pattern=settings.files, where=str(path))
    if (published := _published(files, settings)) is not None:
        return published
    tables = [(name, file) for name, file in files if table_kind(name) not in ("", "parquet")]
    tars = [(name, file) for name, file in files if is_tar(name)]
    if tables:
        return _tables(tables, tars, root=settings.audio or root, settings=settings)
    if settings.audio is not None:
        raise UsageError(
            f"audio={settings.audio} was given, and {path} is not a table of recordings",
            remedy="leave audio out",
        )
    if tars:
        return _Layout(describe_files(tars), functools.partial(tar_shards, tars, settings=settings))
    if any(is_audio(name) for name, _ in files):
        return _Layout(stamps(files), functools.partial(folder_shards, files, settings=settings))
    if parquet := [(name, file) for name, file in files if table_kind(name) == "parquet"]:
        return _Layout(
            describe_files(parquet),
            functools.partial(table_shards, parquet, root=root, settings=settings),
        )
    raise DataError(
        f"{path} holds no recordings ({len(files)} files)", remedy=f"known layouts: {_KNOWN}"
    )


def _published(files: Files, settings: ClipSettings) -> _Layout | None:
    """A published set, told by the files that only it has."""
    names = {Path(name).name for name, _ in files}
    if any(name.endswith(TRANS) for name in names):
        return _Layout(
            stamps(files), functools.partial(librispeech_shards, files, settings=settings)
        )
    if not names.isdisjoint(UTF8):
        return _Layout(stamps(files), functools.partial(jsut_shards, files, settings=settings))
    if VALIDATED in names and any("clips/" in name for name, _ in files):
        tables = common_voice_tables(files, settings=settings)
        root = tables[0][1].parent / "clips"
        return _Layout(
            describe_files(tables) | {"recordings": stamps(files)},
            functools.partial(table_shards, tables, root=root, settings=settings),
        )
    return None


def _tables(
    tables: Sequence[tuple[str, Path]],
    tars: Sequence[tuple[str, Path]],
    *,
    root: Path,
    settings: ClipSettings,
) -> _Layout:
    """Tables with the tar of the same name, with tars of other names, or with files."""
    paired = {name: _beside(file) for name, file in tables}
    if all(paired.values()) or not tars:
        groups = [
            ([(name, file)], [tar]) for name, file in tables if (tar := paired[name]) is not None
        ]
    else:
        groups = [(list(tables), list(tars))]
    if not groups:
        if not root.is_dir():
            raise DataError(f"audio={root} is not a folder", remedy="give that of the recordings")
        heard = [(name, file) for name, file in visible_files(root) if is_audio(name)]
        return _Layout(
            describe_files(list(tables)) | {"recordings": stamps(heard)},
            functools.partial(table_shards, tables, root=root, settings=settings),
        )
    if len(groups) < len(tables) and not tars:
        warn(f"{len(tables) - len(groups)} tables have no tar of their name and are not read")
    identity = describe_files([one for names, found in groups for one in (*names, *found)])

    def shards() -> list[ClipShard]:
        found: list[ClipShard] = []
        for names, archives in groups:
            lookup = functools.cache(functools.partial(table_listed, names, settings=settings))
            found += listed_shards(archives, lookup=lookup, settings=settings)
        return found

    return _Layout(identity, shards)


def _beside(table: Path) -> tuple[str, Path] | None:
    """The tar of a table's name, such as words.tar of words.tsv."""
    stem = table.name.split(".")[0]
    for suffix in TARS:
        tar = table.with_name(stem + suffix)
        if tar.is_file():
            return tar.name, tar
    return None
