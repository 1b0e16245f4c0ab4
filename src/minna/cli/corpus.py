"""`minna corpus build` and `minna corpus cat`."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from minna.cli.output import JsonOption, emit

app = typer.Typer(help="Build and look at corpora.", no_args_is_help=True, rich_markup_mode=None)


@app.command("build")
def build(
    source: Annotated[str, typer.Argument(help="tatoeba, aozora, or local (your own text).")],
    *,
    out: Annotated[Path, typer.Option("--out", help="Where the corpus goes.")],
    path: Annotated[
        Path | None, typer.Option("--from", help="Where the data lies: a file or a folder.")
    ] = None,
    limit: Annotated[int | None, typer.Option(help="Keep at most this many documents.")] = None,
    valid: Annotated[float, typer.Option(help="Share of groups for validation.")] = 0.005,
    test: Annotated[float, typer.Option(help="Share of groups for the final numbers.")] = 0.025,
    documents: Annotated[
        str, typer.Option(help="local .txt: a document is a file, a line or blank-line.")
    ] = "file",
    field: Annotated[str, typer.Option(help="local .jsonl, .parquet: name of the text.")] = "text",
    licence: Annotated[str, typer.Option(help="local: terms of the text.")] = "not stated",
    attribution: Annotated[str, typer.Option(help="local: whom to credit.")] = "",
    as_json: JsonOption = False,
) -> None:
    """Turn a source into a corpus: normalised, filtered, de-duplicated, split.

    Example: minna corpus build tatoeba --out build/corpus
    """
    from dataclasses import asdict

    from pydantic import ValidationError

    from minna.corpus import BuildSettings
    from minna.corpus import build as build_documents
    from minna.corpus.sources import open_source
    from minna.errors import UsageError

    try:
        settings = BuildSettings(
            source=source,
            path=path,
            limit=limit,
            valid=valid,
            test=test,
            documents=documents,  # pyright: ignore[reportArgumentType] - pydantic checks it
            field=field,
            licence=licence,
            attribution=attribution,
        )
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(str(part) for part in first["loc"]) or "the settings"
        raise UsageError(
            f"{name}: {first['msg']}, not {first['input']!r}", remedy="minna corpus build --help"
        ) from error
    report = build_documents(open_source(settings), out=out, settings=settings)
    emit(asdict(report) | {"path": report.path.as_posix()}, as_json=as_json, text=_words(report))


@app.command("cat")
def cat(
    corpus: Annotated[Path, typer.Argument(help="A corpus.")],
    *,
    split: Annotated[str, typer.Option(help="train, valid, test or all.")] = "all",
    limit: Annotated[int | None, typer.Option(help="At most this many rows.")] = None,
) -> None:
    """Print rows as JSON lines.

    Example: minna corpus cat build/corpus --split test --limit 5
    """
    import itertools
    import json

    from minna.corpus import batches

    columns = ("id", "group", "split", "source", "licence", "text")
    rows = (
        row for batch in batches(corpus, split=split, columns=columns) for row in batch.to_pylist()
    )
    try:
        for row in itertools.islice(rows, limit):
            sys.stdout.write(json.dumps(row, ensure_ascii=False) + "\n")
        sys.stdout.flush()
    except BrokenPipeError:
        # `| head` has seen enough: what is still buffered must go nowhere, without a traceback
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _words(report: object) -> str:
    from minna.corpus import BuildReport
    from minna.units import format_bytes, format_seconds

    assert isinstance(report, BuildReport)
    dropped = ", ".join(f"{reason} {count}" for reason, count in report.dropped.items())
    splits = ", ".join(f"{name} {count}" for name, count in report.splits.items())
    first = {
        "built": f"built {report.path} in {format_seconds(report.wall_seconds)}",
        "resumed": f"went on with {report.path} and finished it",
        "unchanged": f"{report.path} is already there, from the same data and settings: not built",
    }[report.state]
    return "\n".join(
        [
            first,
            f"  documents {report.kept} of {report.read} ({splits})",
            f"  text      {format_bytes(report.text_bytes)}, {report.characters} characters",
            f"  dropped   {dropped or 'none'}",
        ]
    )
