"""`minna VERB ...`: the verbs, and what happens to an error.

Exit status: 0 done, 1 it went wrong, 2 the call is wrong. Our own errors print rule, value and
remedy without a traceback; a bug keeps its traceback.
"""

from __future__ import annotations

import io
import sys

import typer

import minna
from minna.errors import MinnaError

app = typer.Typer(
    name="minna",
    help="Build, evaluate, release and use Japanese foundation models.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def _version(value: bool) -> None:  # noqa: FBT001 - typer's callback form
    if value:
        typer.echo(minna.__version__)
        raise typer.Exit


@app.callback()
def _root(
    *,
    version: bool = typer.Option(False, "--version", callback=_version, help="Print the version."),
) -> None:
    """Build, evaluate, release and use Japanese foundation models."""


def main() -> None:
    """Run the command line (the `minna` program)."""
    from minna.cli import verbs

    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # redirected output on Windows is not UTF-8
            stream.reconfigure(encoding="utf-8")
    verbs.register(app)
    try:
        app()  # turns Ctrl-C into exit status 130
    except MinnaError as error:
        sys.stderr.write(f"error: {error}\n")
        sys.exit(error.exit_status)


if __name__ == "__main__":
    main()
