"""Which files of a path a source reads, and what format a name claims.

Names decide, never contents: a format that is guessed from the first bytes reads a broken file as
another one. What a folder holds beside them is counted and told, so that a misspelt `files` pattern
or a wrong folder is seen at once.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Sequence
from pathlib import Path
from typing import Final, Literal, TypeVar

from minna.console import warn
from minna.corpus.sources.streams import COMPRESSIONS
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
    found = [(file.relative_to(path), file) for file in path.rglob("*") if file.is_file()]
    return sorted(
        (name.as_posix(), file)
        for name, file in found
        if not any(part.startswith(".") for part in name.parts)
    )


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
