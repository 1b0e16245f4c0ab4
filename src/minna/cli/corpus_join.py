"""`minna corpus join`: a corpus with a side-car's texts in the place of its own, or beside."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from minna.cli.output import JsonOption, emit

if TYPE_CHECKING:
    from minna.corpus.sidecar import JoinReport


def join(
    corpus: Annotated[Path, typer.Argument(help="A corpus of dialogues, documents or pictures.")],
    *,
    sidecar: Annotated[
        Path,
        typer.Option(
            "--sidecar", help="Its translations or captions, by `minna label translate` or caption."
        ),
    ],
    out: Annotated[Path, typer.Option("--out", help="Where the joined corpus goes.")],
    weight: Annotated[
        float | None,
        typer.Option(help="Of each generated caption, beside those there (1)."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Write CORPUS anew with the translations that were kept; ids, groups and splits stay.

    Generated captions of pictures stand beside those that are there.

    Example: minna corpus join build/hh --sidecar build/hh-ja --out build/hh-corpus-ja
    """
    from dataclasses import asdict

    from minna.corpus.sidecar import join as join_corpus

    report = join_corpus(corpus, sidecar=sidecar, out=out, weight=weight)
    emit(asdict(report) | {"path": report.path.as_posix()}, as_json=as_json, text=_words(report))


def _words(report: JoinReport) -> str:
    from minna.units import format_bytes

    def counts(numbers: dict[str, int]) -> str:
        return ", ".join(f"{name} {count}" for name, count in numbers.items())

    first = "joined" if report.state == "built" else "already there:"
    return "\n".join(
        [
            f"{first} {report.path}",
            f"  {report.unit} {report.kept} of {report.read} ({counts(report.splits)})",
            f"  text      {format_bytes(report.text_bytes)}",
            f"  dropped   {counts(report.dropped) or 'none'}",
        ]
    )
