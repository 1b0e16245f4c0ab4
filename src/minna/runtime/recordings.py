"""Recordings that lie about as files: found by path, folder or pattern, opened one by one."""

from __future__ import annotations

import glob
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from minna.corpus.audio import MOST_BYTES, SUFFIXES, BadClipError, Float32, open_clip
from minna.errors import UsageError


@dataclass(frozen=True)
class Recording:
    """A file; `name` is its path below the folder it was found in, with /."""

    path: Path
    name: str


def find_recordings(places: Sequence[str]) -> list[Recording]:
    """Return the files at paths, in folders (all below them) and of patterns, each once, in order.

    Hidden names are left out where a folder or a pattern is given; a file that is named is taken
    whatever it is called.

    Raises:
        UsageError: a place where there is none.
    """
    found: dict[Path, Recording] = {}
    for place in places:
        path = Path(place)
        if path.is_dir():
            below = [(one, one.relative_to(path)) for one in sorted(path.rglob("*"))]
            here = [
                (one, name.as_posix()) for one, name in below if _is_audio(name.as_posix(), one)
            ]
        elif path.exists():
            here = [(path, path.name)]
        else:
            matched = sorted(glob.glob(place, recursive=True))  # noqa: PTH207 - from any folder
            here = [(one, one.name) for one in map(Path, matched) if _is_audio(one.name, one)]
        if not here:
            raise UsageError(
                f"there is no recording at {place}",
                remedy=f"give files, folders, or a pattern of files that end in "
                f"{', '.join(SUFFIXES)}",
            )
        for file, name in here:
            found.setdefault(file, Recording(file, name))
    return list(found.values())


def _is_audio(name: str, file: Path) -> bool:
    parts = PurePosixPath(name).parts
    shown = not any(part.startswith(".") for part in parts)
    return shown and PurePosixPath(name).suffix.lower() in SUFFIXES and file.is_file()


def open_recording(path: Path) -> Float32:
    """Return the samples of a file: one channel at 16 kHz.

    Raises:
        BadClipError: it cannot be read, or is no recording of 25 ms to four hours.
        MissingExtraError: soundfile or soxr is not installed.
    """
    try:
        size = path.stat().st_size
        if size > MOST_BYTES:
            raise BadClipError(
                f"the file is too large: {size} bytes, and {MOST_BYTES} are allowed",
                problem="too_large",
                remedy="cut it first",
            )
        content = path.read_bytes()
    except OSError as error:
        raise BadClipError(f"it cannot be read: {error}", problem="unreadable") from error
    return open_clip(content)


def names_for(recordings: Iterable[Recording], suffix: str) -> dict[Path, str]:
    """What each recording's transcript is called, no two alike: a.txt, else a.wav.txt, a.wav-2.txt.

    Names that differ in case alone count as alike: on some disks they are.
    """
    given = list(recordings)
    short = {one.path: PurePosixPath(one.name).with_suffix(suffix).as_posix() for one in given}
    often = Counter(name.lower() for name in short.values())
    taken: set[str] = set()
    found: dict[Path, str] = {}
    for one in given:
        name = short[one.path] if often[short[one.path].lower()] == 1 else f"{one.name}{suffix}"
        number = 1
        while name.lower() in taken:
            number += 1
            name = f"{one.name}-{number}{suffix}"
        taken.add(name.lower())
        found[one.path] = name
    return found
