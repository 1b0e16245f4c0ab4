"""Which file holds which verb. Adding a verb is a thin file beside this one and a line here."""

from __future__ import annotations

import typer

from minna.cli import corpus, inspect, tokenizer


def register(app: typer.Typer) -> None:
    """Attach every verb to the program, in the order of the story."""
    app.add_typer(corpus.app, name="corpus")
    app.add_typer(tokenizer.app, name="tokenizer")
    app.command("inspect")(inspect.inspect)
