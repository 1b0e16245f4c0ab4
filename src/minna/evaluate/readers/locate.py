"""Which files of a folder are a task's data set.

Users keep one big folder for all data sets, a folder for each, or stand in the data set itself, so
each task names glob patterns and all three ways are found. Two versions side by side (jnli-v1.1 and
jnli-v1.3 differ in labels) are an error that names both: which was scored must never depend on the
order of a directory.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from minna.errors import DataError, UsageError
from minna.evaluate.task import Chosen

_SHOWN = 4


def locate(chosen: Chosen, *, data: Path | None) -> tuple[list[Path], list[Path]]:
    """The files that are scored, and those that examples come from (none is allowed).

    Args:
        chosen: the task.
        data: the user's folder; for a user's own task, the folder of its TOML file is searched
            after it, or instead.

    Raises:
        UsageError: `data` is no folder.
        DataError: nothing to score is there, or more than one version.
    """
    if data is not None and not data.is_dir():
        raise UsageError(f"--data {data} is not a folder", remedy="give the folder of the data")
    folders = [folder for folder in (data, chosen.folder) if folder is not None]
    for folder in folders:
        scored = _find(chosen, chosen.task.files.scored, folder=folder)
        if scored:
            shots = _find(chosen, chosen.task.files.shots, folder=folder)
            return scored, shots
    raise missing(chosen, where=" or ".join(str(folder) for folder in folders))


def missing(chosen: Chosen, *, where: str) -> DataError:
    """The error for a data set that is not there: what it is, and where to get it."""
    source = chosen.task.source
    wanted = " or ".join(chosen.task.files.scored)
    return DataError(
        f"{chosen.task.name}: no data set in {where} (looked for {wanted})",
        remedy=f"get {source.title} from {source.url} (licence: {source.licence}), "
        "and give its folder with --data",
    )


def not_on_hub(chosen: Chosen) -> DataError:
    """The error for a task that can only be read from the user's own copy."""
    source = chosen.task.source
    return DataError(
        f"{chosen.task.name}: no copy of its data set on the Hub is known",
        remedy=f"give --data DIR: get {source.title} from {source.url} (licence: {source.licence})",
    )


def _find(chosen: Chosen, patterns: Sequence[str], *, folder: Path) -> list[Path]:
    # the second time by file name alone: the user stands in the data set's own folder
    for names in (patterns, [PurePosixPath(pattern).name for pattern in patterns]):
        for pattern in names:
            found = _matches(chosen, pattern, folder=folder)
            if found:
                return _one_version(chosen, found, pattern=pattern, folder=folder)
    return []


def _matches(chosen: Chosen, pattern: str, *, folder: Path) -> list[Path]:
    try:
        return sorted(path for path in folder.glob(pattern) if path.is_file())
    except (NotImplementedError, ValueError) as error:  # absolute; empty
        raise DataError(
            f"{chosen.task.name}: {pattern!r} in `files` is no pattern of files below a folder: "
            f"{error}",
            remedy="write it relative to the data folder, such as **/mine/test*.jsonl",
        ) from error


def _one_version(chosen: Chosen, found: list[Path], *, pattern: str, folder: Path) -> list[Path]:
    speaks_of_parts = "[" in pattern or "-of-" in pattern
    if len(found) == 1 or (speaks_of_parts and len({path.parent for path in found}) == 1):
        return found
    names = [path.relative_to(folder).as_posix() for path in found[:_SHOWN]]
    raise DataError(
        f"{chosen.task.name}: {len(found)} files of {folder} match {pattern}: {', '.join(names)}",
        remedy="give the folder of the one that is meant with --data",
    )
