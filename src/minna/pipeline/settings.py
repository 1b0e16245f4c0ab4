"""What stands in a stage is checked by the class of its verb; what is wrong names the stage."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, Final, TypeVar, get_type_hints

from pydantic import ConfigDict

from minna.errors import UsageError, nearest
from minna.settings import checked

FORBID: Final = ConfigDict(extra="forbid")
_T = TypeVar("_T")


def stage_settings(kind: type[_T], content: Mapping[str, Any], where: str) -> _T:
    """Make a settings object of a pipeline file or of one of its stages.

    Args:
        kind: its class.
        content: what stands there.
        where: the file, or the stage by its `out`.

    Raises:
        UsageError: an unknown key, or a value that is not allowed.
    """
    return checked(
        kind,
        content,
        naming=lambda path: _naming(where, path),
        remedy="`minna list pipelines quickstart` prints a whole pipeline to compare with",
    )


def plain_settings(kind: type[_T], content: Mapping[str, Any], where: str) -> _T:
    """Make a settings object of a class that does not itself refuse unknown keys.

    Raises:
        UsageError: as `stage_settings`.
    """
    _refuse_unknown(kind, content, where, ())
    return stage_settings(kind, content, where)


def _refuse_unknown(
    kind: Any, content: Mapping[str, Any], where: str, path: tuple[str, ...]
) -> None:
    known = [field.name for field in dataclasses.fields(kind)]
    hints = get_type_hints(kind)
    for key, value in content.items():
        if key not in known:
            raise UsageError(
                f"{_naming(where, '.'.join((*path, key)))} is not a setting{nearest(key, known)}",
                remedy=f"known here: {', '.join(known)}",
            )
        if isinstance(value, Mapping) and dataclasses.is_dataclass(hints[key]):
            _refuse_unknown(hints[key], value, where, (*path, key))


def _naming(where: str, path: str) -> str:
    return f"pipeline stage or file {where!r}: {path}"
