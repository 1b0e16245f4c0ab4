"""Between the shell and the rooms: settings checked on the way in, results printed on the way."""

from __future__ import annotations

import json
from typing import Annotated, Any, TypeVar

import typer

JsonOption = Annotated[
    bool, typer.Option("--json", help="Print the result as one JSON object on stdout.")
]
_T = TypeVar("_T")


def emit(result: dict[str, Any], *, as_json: bool, text: str) -> None:
    """Print `result` as JSON, or `text` for people."""
    typer.echo(json.dumps(result, ensure_ascii=False) if as_json else text)


def checked(settings: type[_T], values: dict[str, Any]) -> _T:
    """Make a settings object from options.

    Raises:
        UsageError: a value is not allowed; the message names the option.
    """
    from pydantic import TypeAdapter, ValidationError

    from minna.errors import UsageError

    try:
        return TypeAdapter(settings).validate_python(values)
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(str(part) for part in first["loc"])
        raise UsageError(
            f"--{name.replace('_', '-')} {first['input']!r}: {first['msg']}",
            remedy="see the verb's --help",
        ) from error
