"""What the sorts of corpora share on the command line: which options apply, how counts are told.

The options of `corpus build` are those of text, with the defaults of text; dialogues, pictures and
clips take some of them, with defaults of their own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import typer

_ALWAYS: Final = frozenset({"source", "overrides", "out", "as_json"})
_OPTIONS: Final = {"path": "--from", "against": "--decontaminate"}


def given_options(ctx: typer.Context) -> dict[str, Any]:
    """Options that stand on the command line."""
    found: dict[str, Any] = {}
    for name, value in ctx.params.items():
        origin = ctx.get_parameter_source(name)
        if name not in _ALWAYS and origin is not None and origin.name != "DEFAULT":
            found[name] = value
    return found


def refuse_others(given: Mapping[str, Any], source: str, *, takes: Sequence[str], own: str) -> None:
    """A setting that is ignored would be believed to have worked.

    Args:
        given: options that were given.
        source: that is built from.
        takes: options that it reads.
        own: an example of its settings.

    Raises:
        UsageError: an option does not apply to the source.
    """
    from minna.errors import UsageError

    def option(name: str) -> str:
        return _OPTIONS.get(name, f"--{name}")

    wrong = sorted(option(name) for name in given if name not in takes)
    if wrong:
        raise UsageError(
            f"{', '.join(wrong)} does not apply to the source {source} (it takes "
            f"{', '.join(map(option, takes))}, and settings such as {own})",
            remedy=f"leave {', '.join(wrong)} out",
        )


def counts(numbers: Mapping[str, int]) -> str:
    """Names with their numbers, in one line."""
    return ", ".join(f"{name} {count}" for name, count in numbers.items())


def first_line(path: Path, *, state: str, wall_seconds: float) -> str:
    """What a build did, in one line."""
    from minna.units import format_seconds

    return {
        "built": f"built {path} in {format_seconds(wall_seconds)}",
        "resumed": f"went on with {path} and finished it",
        "unchanged": f"{path} is already there, from the same data and settings: not built",
    }[state]
