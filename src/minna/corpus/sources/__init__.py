"""Sources of documents: what people have, each in exactly its layout (`DESCRIPTIONS`)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final, NamedTuple, Protocol

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
    "CHOICES",
    "CLIPS",
    "DESCRIPTIONS",
    "DIALOGUES",
    "PICTURES",
    "SOURCES",
    "RawDocument",
    "Reading",
    "Shard",
    "Source",
    "content_id",
    "open_source",
    "settings_read",
]


CHOICES: Final = frozenset(
    {"documents", "field", "licence", "attribution", "files", "revision", "orthography"}
)
"""Settings that some sources read and others do not."""


class _Entry(NamedTuple):
    """A source: how it is opened, and which of `CHOICES` it reads."""

    open: Callable[[BuildSettings], Source]
    reads: frozenset[str]


def open_source(settings: BuildSettings) -> Source:
    """Return the source that the settings name.

    Raises:
        UsageError: no such source, it needs a path and got none, or a setting was given that it
            does not read.
        DataError: the path holds nothing the source can read.
    """
    entry = _entry(settings.source)
    others = {"dialogues": DIALOGUES, "pictures": PICTURES, "clips": CLIPS}
    gives = next((what for what, names in others.items() if settings.source in names), "")
    if gives:
        raise UsageError(
            f"the source {settings.source} gives {gives}, and documents are needed",
            remedy=f"minna corpus build {settings.source} --from PATH --out DIR",
        )
    if entry is None:
        known = (*SOURCES, *DIALOGUES, *PICTURES, *CLIPS)
        raise UsageError(
            f"{settings.source!r} is not a source (known: {', '.join(known)}, {PREFIX}OWNER/NAME)"
            + nearest(settings.source, known),
            remedy="use one of these names, or `local --from PATH` for your own files",
        )
    _refuse_unread(settings, reads=entry.reads)
    return entry.open(settings)


def settings_read(source: str) -> frozenset[str]:
    """Which of `CHOICES` a source reads; none, where it is not one of ours."""
    entry = _entry(source)
    return entry.reads if entry else frozenset()


def _entry(source: str) -> _Entry | None:
    return _HUB if source.startswith(PREFIX) else _TABLE.get(source)


def _refuse_unread(settings: BuildSettings, *, reads: frozenset[str]) -> None:
    """A setting that is ignored would be believed to have worked."""
    defaults = BuildSettings(source=settings.source)
    for name in sorted(CHOICES):
        value = getattr(settings, name)
        if name in reads or value == getattr(defaults, name):
            continue
        readers = [known for known, entry in _TABLE.items() if name in entry.reads]
        if name in _HUB.reads:
            readers.append(f"{PREFIX}OWNER/NAME")
        raise UsageError(
            f"the source {settings.source} does not read {name}, and {name}={value!r} was given "
            f"({name} is read by {', '.join(readers)})",
            remedy=f"leave {name} out, or use one of these sources",
        )


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


class _DumpReader(Protocol):
    def __call__(self, path: Path, *, files: str) -> Source: ...


def _dump(read: _DumpReader) -> Callable[[BuildSettings], Source]:
    return lambda settings: read(_place(settings), files=settings.files)


def _pairs(settings: BuildSettings) -> Source:
    return Pairs(
        _place(settings),
        licence=settings.licence,
        attribution=settings.attribution,
        files=settings.files,
    )


_TERMS: Final = frozenset({"licence", "attribution"})
_FILES: Final = frozenset({"files"})
_TEXT: Final = frozenset({"documents", "field", "files"})
_HUB: Final = _Entry(_hub, _TEXT | _TERMS | {"revision"})
_TABLE: Final[dict[str, _Entry]] = {
    "tatoeba": _Entry(lambda settings: Tatoeba(settings.path), frozenset()),
    "aozora": _Entry(
        lambda settings: Aozora(_place(settings), orthography=settings.orthography),
        frozenset({"orthography"}),
    ),
    "wikipedia": _Entry(_dump(dumps.wikipedia), _FILES),
    "cc100": _Entry(_dump(dumps.cc100), _FILES),
    "c4": _Entry(_dump(dumps.c4), _FILES),
    "pile": _Entry(_dump(dumps.pile), _FILES),
    "redpajama": _Entry(_dump(dumps.redpajama), _FILES),
    "pairs": _Entry(_pairs, _FILES | _TERMS),
    "debian": _Entry(lambda settings: Debian(_place(settings), files=settings.files), _FILES),
    "local": _Entry(_local, _TEXT | _TERMS),
}

SOURCES: Final = tuple(_TABLE)
DIALOGUES: Final = {
    "dialogues": "your dialogues and preferences: HH, chat, ShareGPT, Alpaca ... layouts",
    "keywords": "dialogues out of a text corpus: its sentences, asked for by their words",
}
"""Sources of dialogues (`dialogue_corpus`), which no document comes from."""
PICTURES: Final = {
    "emoji": "861 things in four artists' drawings with Japanese names, fetched once from npm",
    "pictures": "your pictures and captions: folder, TSV, JSON lines, parquet, tar shards, Hub",
}
"""Sources of pictures with captions (`pair_corpus`)."""
CLIPS: Final = {
    "clips": "your recordings: folder, TSV, JSON lines, tars, LibriSpeech, ReazonSpeech, JSUT ...",
    "synth": "any Japanese text, spoken by a program with many voices: synthetic, phones known",
    "synth-en": "any English text, spoken by a program: synthetic, for comparisons",
}
"""Sources of speech (`clip_corpus`)."""
DESCRIPTIONS: Final = (
    {
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
    | DIALOGUES
    | PICTURES
    | CLIPS
)
