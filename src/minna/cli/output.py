"""Between the shell and the rooms: settings checked on the way in, results printed on the way."""

from __future__ import annotations

import json
from typing import Annotated, Any, TypeVar

import typer

from minna.console import is_rank_zero

JsonOption = Annotated[
    bool, typer.Option("--json", help="Print the result as one JSON object on stdout.")
]
_T = TypeVar("_T")


def emit(result: dict[str, Any], *, as_json: bool, text: str) -> None:
    """Print `result` as JSON, or `text` for people."""
    if is_rank_zero():  # of several under torchrun
        typer.echo(json.dumps(result, ensure_ascii=False) if as_json else text)


def checked(settings: type[_T], values: dict[str, Any]) -> _T:
    """Make a settings object from options.

    Raises:
        UsageError: a value is not allowed; the message names the option.
    """
    from minna import settings as house

    return house.checked(
        settings,
        values,
        naming=lambda path: f"--{path.replace('_', '-')}",
        remedy="see the verb's --help",
    )
