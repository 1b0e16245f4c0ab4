"""Published sets of recordings, each in exactly its layout.

LibriSpeech (also MLS-like copies of it): `84-121123.trans.txt` beside `84-121123-0000.flac`; a line
is an id and its text, the id begins with the speaker. JSUT and JVS: `transcript_utf8.txt` (JVS:
`transcripts_utf8.txt`), lines of `ID:text`, and `ID.wav` in the folder `wav...` beside it. Common
Voice: `validated.tsv` (or train, dev, test) and the folder `clips`.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Final, Protocol

from minna.console import warn
from minna.corpus.audio import MOST_BYTES
from minna.corpus.blob_files import Files, read_bounded
from minna.corpus.clip_settings import ClipSettings, ClipShard, GivenClip, Section
from minna.corpus.clip_source_rows import stated_split, terms_of
from minna.corpus.sources.streams import bounded_lines, decode_utf8, open_bytes
from minna.errors import DataError

TRANS: Final = ".trans.txt"
UTF8: Final = ("transcript_utf8.txt", "transcripts_utf8.txt")
VALIDATED: Final = "validated.tsv"
_COMMON_VOICE: Final = {"train.tsv", "dev.tsv", "test.tsv"}
_PER_SHARD: Final = 50  # transcripts, of some ten to a thousand clips each
_JVS = re.compile(r"jvs\d+")


class _Read(Protocol):
    def __call__(self, files: Files, *, settings: ClipSettings) -> Iterator[GivenClip]: ...


def librispeech_shards(files: Files, *, settings: ClipSettings) -> list[ClipShard]:
    """Chapters of LibriSpeech."""
    found = [(name, file) for name, file in files if name.endswith(TRANS)]
    return _shards(found, settings, _read_librispeech)


def _read_librispeech(files: Files, *, settings: ClipSettings) -> Iterator[GivenClip]:
    terms = terms_of(settings)
    for name, file in files:
        for where, line in _lines(name, file):
            identity, _, text = line.partition(" ")
            speaker, _, rest = identity.partition("-")
            if not rest:
                raise DataError(
                    f"{where}: {line[:40]!r} does not begin with SPEAKER-CHAPTER-NUMBER",
                    remedy="a .trans.txt is LibriSpeech's; give other texts in a TSV",
                )
            content, problem = read_bounded(file.with_name(f"{identity}.flac"), most=MOST_BYTES)
            yield GivenClip(
                content=content,
                sections=(Section(transcript=text),),
                source=terms.source,
                licence=terms.licence,
                speaker=speaker,
                group=file.name.removesuffix(TRANS),
                split=stated_split(name) if terms.splits == "stated" else "",
                problem=problem,
            )


def jsut_shards(files: Files, *, settings: ClipSettings) -> list[ClipShard]:
    """Parts of JSUT, or speakers of JVS."""
    found = [(name, file) for name, file in files if file.name in UTF8]
    return _shards(found, settings, _read_jsut)


def _read_jsut(files: Files, *, settings: ClipSettings) -> Iterator[GivenClip]:
    terms = terms_of(settings)
    for name, file in files:
        folders = sorted(one for one in file.parent.iterdir() if one.name.startswith("wav"))
        if not folders:
            raise DataError(
                f"{file.parent} has a {file.name} and no folder wav beside it",
                remedy="unpack the whole archive",
            )
        match = _JVS.search(name)
        for where, line in _lines(name, file):
            identity, colon, text = line.partition(":")
            if not colon or PurePosixPath(identity).name != identity:
                raise DataError(f"{where}: {line[:40]!r} is not ID:text", remedy="mend the line")
            content, problem = read_bounded(folders[0] / f"{identity}.wav", most=MOST_BYTES)
            yield GivenClip(
                content=content,
                sections=(Section(transcript=text),),
                source=terms.source,
                licence=terms.licence,
                speaker=match.group() if match else "jsut",
                split=stated_split(name) if terms.splits == "stated" else "",
                problem=problem,
            )


def common_voice_tables(files: Files, *, settings: ClipSettings) -> list[tuple[str, Path]]:
    """The tables of Common Voice: validated.tsv, or the three where its splits are wanted."""
    beside = {file.parent for _, file in files if file.name == VALIDATED}
    mine = [(name, file) for name, file in files if file.parent in beside]
    if settings.splits == "stated":
        found = [(name, file) for name, file in mine if file.name in _COMMON_VOICE]
        if found:
            return found
        warn(f"no {', '.join(sorted(_COMMON_VOICE))} beside {VALIDATED}: no split is stated")
    return [(name, file) for name, file in mine if file.name == VALIDATED]


def _shards(files: Files, settings: ClipSettings, read: _Read) -> list[ClipShard]:
    return [
        ClipShard(
            name=files[start][0],
            read=functools.partial(read, files[start : start + _PER_SHARD], settings=settings),
        )
        for start in range(0, len(files), _PER_SHARD)
    ]


def _lines(name: str, file: Path) -> Iterator[tuple[str, str]]:
    """Lines of a transcript with where they stand."""
    with open_bytes(file) as stream:
        for piece in bounded_lines(stream):
            where = f"{name}, line {piece.line}"
            text = decode_utf8(piece.content, name=where, offset=piece.offset).strip()
            if text:
                yield where, text.removeprefix("\ufeff")
