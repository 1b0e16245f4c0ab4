"""The one way a result reaches stdout: words for people, or one JSON object with `--json`."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

JsonOption = Annotated[
    bool, typer.Option("--json", help="Print the result as one JSON object on stdout.")
]


def emit(result: dict[str, Any], *, as_json: bool, text: str) -> None:
    """Print `result` as JSON, or `text` for people."""
    typer.echo(json.dumps(result, ensure_ascii=False) if as_json else text)
