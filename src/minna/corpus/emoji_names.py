"""What emoji are called in Japanese: names and keywords of Unicode's CLDR, for 4,342 of them.

They were written by people for people who search: every name is another one, five characters long
on average, with four or five keywords. No other free source says in Japanese what is on thousands
of pictures, least of all 天狗, おでん and 鯉のぼり.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final, NamedTuple

from minna.corpus.sources.streams import open_bytes
from minna.corpus.sources.tars import tar_files
from minna.errors import DataError

LANGUAGE: Final = "ja"
_STYLE: Final = 0xFE0F  # "draw it as a picture": the same thing with it and without
_FOLDERS: Final = ("annotations", "annotationsDerived")


class Name(NamedTuple):
    """What one emoji is called, and words for it."""

    text: str
    keywords: tuple[str, ...]


def key_of(sequence: str) -> str:
    """The code points of an emoji, such as "1f436", without those that only choose a style."""
    return "-".join(f"{ord(point):x}" for point in sequence if ord(point) != _STYLE)


def key_of_file(stem: str) -> str:
    """The key of a file named by code points, such as 1F468-200D-2695-FE0F; "" for others."""
    try:
        points = [int(part, 16) for part in stem.split("-")]
    except ValueError:
        return ""
    return "-".join(f"{point:x}" for point in points if point != _STYLE)


def read_names(*archives: Path) -> dict[str, Name]:
    """Read the Japanese names out of CLDR's packages, by key.

    Raises:
        DataError: a package is damaged, or of another layout.
    """
    found: dict[str, Name] = {}
    for archive in archives:
        for sequence, told in _annotations(archive).items():
            name = next(iter(told.get("tts", ())), "")
            words = (word for word in told.get("default", ()) if word != name)
            if name:
                found[key_of(sequence)] = Name(name, tuple(words))
    return found


def _annotations(archive: Path) -> dict[str, Any]:
    for name, content in files_of(archive, ending=f"/{LANGUAGE}/annotations.json"):
        told: Any = json.loads(content)
        for folder in _FOLDERS:
            if f"/{folder}/" in name:
                return told[folder]["annotations"]
    raise DataError(
        f"{archive} holds no annotations of {LANGUAGE!r}", remedy="remove it and fetch it again"
    )


def files_of(archive: Path, *, folder: str = "", ending: str = "") -> list[tuple[str, bytes]]:
    """Files of a package by name, those in a folder and with an ending.

    Raises:
        DataError: the archive is damaged.
    """
    with open_bytes(archive) as stream:
        return [
            (member.name, content.read())
            for member, content in tar_files(stream)
            if member.name.startswith(folder) and member.name.endswith(ending)
        ]
