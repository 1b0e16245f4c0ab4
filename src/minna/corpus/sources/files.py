"""Which files of a path a source reads, and what format a name claims.

Names decide, never contents: a format that is guessed from the first bytes reads a broken file as
another one. What a folder holds beside them is counted and told, so that a misspelt `files` pattern
or a wrong folder is seen at once.
"""

from __future__ import annotations

import fnmatch
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final, Literal, TypeVar

from minna.console import warn
from minna.corpus.sources.streams import COMPRESSIONS, broken
from minna.errors import DataError, UsageError

Format = Literal["text", "json lines", "parquet"]

_SUFFIXES: Final[dict[str, Format]] = {
    ".txt": "text",
    ".jsonl": "json lines",
    ".ndjson": "json lines",
    ".json": "json lines",  # C4's .json.gz are lines; an array in one is refused when it is read
    ".parquet": "parquet",
}
_SHOWN = 3
_File = TypeVar("_File")


def format_of(name: str) -> Format | None:
    """The format a file name claims, or None; a compression may stand behind all but parquet."""
    plain = name.lower()
    for compression in COMPRESSIONS:
        plain = plain.removesuffix(compression)
    for suffix, kind in _SUFFIXES.items():
        if plain.endswith(suffix):
            return None if kind == "parquet" and plain != name.lower() else kind
    return None


def find_files(
    path: Path, *, formats: Sequence[Format], pattern: str = "", what: str = "text"
) -> list[tuple[str, Path]]:
    """The files of `path` (a file or a folder, searched to the bottom) by name, in that order.

    Args:
        path: what the user gave.
        formats: those the source can read.
        pattern: only names that match it ("*" also takes "/"); "" for all.
        what: the word for what was looked for, for the error.

    Raises:
        DataError: no such path, or nothing in it that can be read.
        UsageError: a single file of another format.
    """
    if not path.exists():
        raise DataError(f"{path} does not exist", remedy="check the path after --from")
    endings = [suffix for suffix, kind in _SUFFIXES.items() if kind in formats]
    remedy = f"give {', '.join(endings)}; all but .parquet also with .gz, .xz or .zst behind"
    if path.is_file():
        if format_of(path.name) not in formats:
            raise UsageError(f"the format of {path.name} is unknown", remedy=remedy)
        return [(path.name, path)]
    named = visible_files(path)
    files = [(name, file) for name, file in named if format_of(name) in formats]
    if not files:
        raise DataError(f"{path} holds no {what} file ({len(named)} others)", remedy=remedy)
    if pattern:
        return matching(files, pattern=pattern, where=str(path))
    if len(files) < len(named):
        warn(f"{len(named) - len(files)} files in {path} are of unknown format and are not read")
    return files


def visible_files(path: Path) -> list[tuple[str, Path]]:
    """Every file below a folder by its POSIX name, sorted; what starts with a dot is left out."""
    return [(file.relative_to(path).as_posix(), file) for file in walk(path)]


def walk(path: Path) -> list[Path]:
    """Every regular file below a folder, by its POSIX name; what starts with a dot is left out.

    A linked folder may lead back to one above it, and is told instead of followed; a pipe named
    .txt would be waited for without end, and a link to nothing cannot be read.

    Raises:
        DataError: a folder, or a file's kind, cannot be read: nobody knows what it holds.
    """
    found: list[Path] = []
    linked = special = 0
    try:
        for parent, folders, names in os.walk(path, onerror=_raise):
            folders[:] = [name for name in folders if not name.startswith(".")]
            linked += sum(Path(parent, name).is_symlink() for name in folders)
            entries = [Path(parent, name) for name in names if not name.startswith(".")]
            files = [entry for entry in entries if entry.is_file()]
            found += files
            special += len(entries) - len(files)
    except OSError as error:
        raise broken(error.filename or path, error) from error
    if linked:
        warn(f"{linked} linked folders in {path} are not read: give the folders they lead to")
    if special:
        warn(f"{special} pipes, devices or links to nothing in {path} are not read")
    return sorted(found, key=lambda file: file.relative_to(path).as_posix())


def _raise(error: OSError) -> None:
    raise error


def matching(
    files: Sequence[tuple[str, _File]], *, pattern: str, where: str
) -> list[tuple[str, _File]]:
    """Those whose name matches the pattern.

    Raises:
        DataError: none does.
    """
    chosen = [(name, file) for name, file in files if fnmatch.fnmatchcase(name, pattern)]
    if not chosen:
        shown = ", ".join(name for name, _ in files[:_SHOWN])
        raise DataError(
            f"no file of {where} matches files={pattern!r} ({len(files)} files, such as {shown})",
            remedy='"*" stands for any characters, "/" too: files="*.parquet", files="en/*"',
        )
    return chosen
