"""Recordings with what is said beside them: `x.flac` and `x.txt` or `x.json`, in a folder or a tar.

So people keep their own recordings, and so webdataset's shards are. Where a table lies beside a
tar (words.tsv beside words.tar; ReazonSpeech's TSV and its tars), what is said is looked up in it
by the member's name.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, Final

from minna.corpus.audio import MOST_BYTES, SUFFIXES
from minna.corpus.blob_files import (
    Files,
    Listed,
    json_beside,
    members_by_key,
    read_beside,
    read_bounded,
    tar_members,
    text_beside,
)
from minna.corpus.clip_settings import ClipSettings, ClipShard, GivenClip
from minna.corpus.clip_source_rows import (
    FILES,
    KANA,
    SPEAKERS,
    TEXTS,
    Columns,
    Terms,
    is_audio,
    recording_of,
    stated_split,
    terms_of,
)

_TEXTS: Final = (".txt", ".lab", ".transcript")
_FACTS: Final = ".json"
_PER_SHARD: Final = 2000
Lookup = Callable[[], tuple[Columns, Listed]]


# ---- folders


def folder_shards(files: Files, *, settings: ClipSettings) -> list[ClipShard]:
    """Recordings of a folder, in the order of their names."""
    found = [(name, file) for name, file in files if is_audio(name)]
    return [
        ClipShard(
            name=found[start][0],
            read=functools.partial(
                _read_folder, found[start : start + _PER_SHARD], settings=settings
            ),
        )
        for start in range(0, len(found), _PER_SHARD)
    ]


def _read_folder(files: Files, *, settings: ClipSettings) -> Iterator[GivenClip]:
    terms = terms_of(settings)
    for name, file in files:
        texts = (file.with_suffix(suffix) for suffix in _TEXTS)
        text = next((read_beside(one, most=MOST_BYTES) for one in texts if one.is_file()), None)
        facts = read_beside(file.with_suffix(_FACTS), most=MOST_BYTES)
        content = read_bounded(file, most=MOST_BYTES)
        yield _sample(name, content, text, facts, settings=settings, terms=terms)


# ---- tars


def tar_shards(files: Files, *, settings: ClipSettings) -> list[ClipShard]:
    """Shards of webdataset, one a tar."""
    return [
        ClipShard(name=name, read=functools.partial(_read_tar, name, file, settings=settings))
        for name, file in files
    ]


def _read_tar(shard: str, file: Path, *, settings: ClipSettings) -> Iterator[GivenClip]:
    terms = terms_of(settings)
    for key, members in members_by_key(file, most=MOST_BYTES):
        suffix = next((suffix for suffix in SUFFIXES if suffix in members), "")
        content = members.get(suffix)
        problem = "" if content else "empty" if content == b"" else "too_large"
        if not suffix:
            problem = "no_audio"
        text = next((members[name] for name in _TEXTS if name in members), None)
        facts = members.get(_FACTS)
        found = content or b"", problem
        given = _sample(key, found, text, facts, settings=settings, terms=terms)
        tells = settings.splits == "stated" and not given.split
        yield given._replace(split=stated_split(shard)) if tells else given


def listed_shards(files: Files, *, lookup: Lookup, settings: ClipSettings) -> list[ClipShard]:
    """Tars whose members a table tells of, one shard each.

    Args:
        files: the tars.
        lookup: reads the table, once.
        settings: the terms.
    """
    return [
        ClipShard(
            name=name,
            read=functools.partial(_read_listed, name, file, lookup=lookup, settings=settings),
        )
        for name, file in files
    ]


def _read_listed(
    shard: str, file: Path, *, lookup: Lookup, settings: ClipSettings
) -> Iterator[GivenClip]:
    terms = terms_of(settings)
    columns, listed = lookup()
    for name, content in tar_members(file, most=MOST_BYTES):
        if not is_audio(name):
            continue
        told = next((found for one in _names(name) if (found := listed.texts(one))), [])
        problem = "too_large" if content is None else "" if content else "empty"
        rows: list[dict[str, Any]] = [json.loads(text) for text in told]
        yield recording_of(
            rows or [{}],
            columns=columns,
            content=(content or b"", problem if rows else "not_listed"),
            terms=terms,
            where=shard,
        )


def _names(member: str) -> Iterator[str]:
    """A member's name, whole and without the folders before it, as tables may have it."""
    parts = PurePosixPath(member.lower()).parts
    for start in range(len(parts)):
        yield "/".join(parts[start:])


# ---- both


def _sample(
    name: str,
    content: tuple[bytes, str],
    text: bytes | None,
    facts: bytes | None,
    *,
    settings: ClipSettings,
    terms: Terms,
) -> GivenClip:
    """A recording with the text and the JSON beside it."""
    row = json_beside(facts)
    words = text_beside(text)
    if row is None or words is None:
        content = b"", content[1] or "malformed"
    row = row or {}
    columns = Columns(
        "",
        settings.text or _present(TEXTS, row) or "text",
        settings.kana or _present(KANA, row),
        settings.speaker or _present(SPEAKERS, row),
    )
    told = {columns.text: words or ""} | {
        key: value for key, value in row.items() if key not in FILES
    }
    return recording_of([told], columns=columns, content=content, terms=terms, where=name)


def _present(usual: Sequence[str], row: Mapping[str, Any]) -> str:
    return next((name for name in usual if name in row), "")
