"""What a row of somebody's table says of a recording: its file, what is said, by whom, when.

Sets of recordings agree on nothing but that there is a file. The columns are found by the names
they usually have, one setting each names another, and a row that lacks its file or has broken
numbers is counted by what is wrong with it, never guessed at.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Final, NamedTuple, cast

from minna.corpus.audio import MOST_BYTES, SUFFIXES
from minna.corpus.blob_files import read_inside
from minna.corpus.blob_tables import find_column, storable
from minna.corpus.clip_settings import ClipSettings, GivenClip, Section

FILES: Final = (
    "file", "audio", "path", "audio_filepath", "audio_path", "file_name", "filename", "name",
    "wav", "flac", "mp3", "recording", "audio_bytes", "wav_filename",
)  # fmt: skip
TEXTS: Final = (
    "text", "transcript", "transcription", "sentence", "normalized_text", "normalised_text",
    "TEXT", "txt",
)  # fmt: skip
KANA: Final = ("kana", "reading", "yomi", "furigana", "pronunciation")
SPEAKERS: Final = ("speaker", "speaker_id", "client_id", "spk", "speaker_name")
_LICENCES: Final = ("licence", "license", "LICENSE")
_GROUPS: Final = ("group", "session", "recording_id", "chapter_id")
BESIDE: Final = (*_LICENCES, *_GROUPS, "split", "start", "end", "phones", "times")
"""Columns that are read where they are there."""
_SPLITS: Final = {
    "train": "train", "training": "train", "dev": "valid", "valid": "valid", "validation": "valid",
    "test": "test", "eval": "test",
}  # fmt: skip
_TOKEN = re.compile(r"[A-Za-z]+")


class Columns(NamedTuple):
    """Names of the columns of a table, "" where it has none."""

    file: str
    text: str = ""
    kana: str = ""
    speaker: str = ""

    @property
    def wanted(self) -> tuple[str, ...]:
        """All that are read beside the file."""
        return (*filter(None, self[1:]), *BESIDE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What is written in every row that does not say it itself."""

    source: str
    licence: str
    splits: str


def terms_of(settings: ClipSettings) -> Terms:
    """The terms that the settings name."""
    return Terms(source=settings.source_name, licence=settings.licence, splits=settings.splits)


def is_audio(name: str) -> bool:
    """Whether a file's name is that of a recording."""
    return name.lower().endswith(SUFFIXES)


def columns_among(names: Sequence[str], *, settings: ClipSettings, where: object) -> Columns:
    """Find the columns of a table.

    Raises:
        DataError: there is none with recordings, or one that a setting names is not there.
    """

    def maybe(asked: str, usual: Sequence[str], what: str) -> str:
        if asked:
            return find_column(asked, usual, names, where=where, what=what)
        return next((name for name in usual if name in names), "")

    return Columns(
        find_column(settings.file, FILES, names, where=where, what="file"),
        maybe(settings.text, TEXTS, "text"),
        maybe(settings.kana, KANA, "kana"),
        maybe(settings.speaker, SPEAKERS, "speaker"),
    )


def stated_split(name: str) -> str:
    """The split that a name tells, such as LibriSpeech/dev-clean/84 or words-train.tsv."""
    for part in reversed(PurePosixPath(name).parts):
        for token in _TOKEN.findall(part.lower()):
            if token in _SPLITS:
                return _SPLITS[token]
    return ""


def recording_of(
    rows: Sequence[Mapping[str, Any]],
    *,
    columns: Columns,
    content: tuple[bytes, str],
    terms: Terms,
    where: str,
) -> GivenClip:
    """Rows of one file as a recording; the first says what is of the whole.

    Args:
        rows: the values of a table, by column.
        columns: which are which.
        content: the file's bytes, and why there are none.
        terms: what stands in the row otherwise.
        where: name of the table, which may tell a split.
    """
    first = rows[0]
    split = ""
    if terms.splits == "stated":
        split = _SPLITS.get(_word(first, "split").lower(), "") or stated_split(where)
    return GivenClip(
        content=content[0],
        sections=tuple(_section(row, columns) for row in rows),
        source=terms.source,
        licence=_first(first, _LICENCES) or terms.licence,
        group=_first(first, _GROUPS),
        split=split,
        problem=content[1],
    )


def content_of(value: Any, root: Path) -> tuple[bytes, str]:
    """The bytes of a recording, and why there are none.

    Args:
        value: of a table: bytes, a file's name, or a mapping of both, as the Hub's data sets have.
        root: where files lie. A whole path is read where it lies below.
    """
    if isinstance(value, bytes):
        return (value, "") if value else (b"", "empty")
    if isinstance(value, str):
        if not value.strip():
            return b"", "no_audio"
        place = Path(value)
        below = place.is_absolute() and place.is_relative_to(root.resolve())
        name = str(place.relative_to(root.resolve())) if below else value
        return read_inside(root, name, most=MOST_BYTES)
    if isinstance(value, Mapping):
        inner = cast("Mapping[str, Any]", value)
        return content_of(inner["bytes"] if inner.get("bytes") else inner.get("path"), root)
    return b"", "no_audio" if value is None else "malformed"


def _section(row: Mapping[str, Any], columns: Columns) -> Section:
    """What a row says of its recording, or of a stretch of it."""
    start, end = _seconds(row.get("start"), 0.0), _seconds(row.get("end"), None)
    times = _times(row.get("times"))
    told = [row.get(name) if name else "" for name in columns[1:]]
    if start is _BROKEN or end is _BROKEN or times is None:
        return Section(problem="malformed")
    if any(not isinstance(text, str | None | int) or isinstance(text, bool) for text in told):
        return Section(problem="malformed")
    text, kana, speaker = ("" if one is None else storable(str(one)) for one in told)
    return Section(
        start=cast("float", start),
        end=cast("float | None", end),
        transcript=text,
        kana=kana,
        speaker=speaker,
        phones=_word(row, "phones"),
        times=times,
    )


_BROKEN: Final = object()


def _seconds(value: Any, otherwise: float | None) -> Any:
    """A time in seconds; what is not there is `otherwise`, what is no number _BROKEN."""
    if value is None or value == "":
        return otherwise
    try:
        seconds = float(value)
    except (TypeError, ValueError):
        return _BROKEN
    return seconds if math.isfinite(seconds) and seconds >= 0 else _BROKEN


def _times(value: Any) -> tuple[float, ...] | None:
    """A list of seconds, or one as JSON or with spaces; None where it is something else."""
    if value is None or value == "":
        return ()
    if isinstance(value, str):
        try:
            value = json.loads(value) if value.lstrip().startswith("[") else value.split()
        except ValueError:
            return None
    if not isinstance(value, Sequence):
        return None
    seconds = [_seconds(one, None) for one in cast("Sequence[Any]", value)]
    if any(one is None or one is _BROKEN for one in seconds):
        return None
    return tuple(cast("list[float]", seconds))


def _first(row: Mapping[str, Any], names: Sequence[str]) -> str:
    return next((word for name in names if (word := _word(row, name))), "")


def _word(row: Mapping[str, Any], name: str) -> str:
    value = row.get(name)
    if isinstance(value, bool) or not isinstance(value, str | int):
        return ""
    return storable(str(value))
