"""`minna corpus build`, `mix` and `cat`."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from minna.cli import corpus_clips, corpus_dialogues, corpus_pairs
from minna.cli.corpus_filter import filter_by_score
from minna.cli.corpus_join import join
from minna.cli.corpus_mix import mix
from minna.cli.output import JsonOption, emit

app = typer.Typer(help="Build and look at corpora.", no_args_is_help=True, rich_markup_mode=None)
app.command("mix")(mix)
app.command("join")(join)
app.command("filter")(filter_by_score)


@app.command("build")
def build(
    ctx: typer.Context,
    source: Annotated[
        str,
        typer.Argument(help="tatoeba, aozora, local ...: `minna list sources`, hub:OWNER/NAME."),
    ],
    overrides: Annotated[
        list[str] | None, typer.Argument(help="Other settings, as section.key=value.")
    ] = None,
    *,
    out: Annotated[Path, typer.Option("--out", help="Where the corpus goes.")],
    path: Annotated[
        Path | None, typer.Option("--from", help="Where the data lies: a file or a folder.")
    ] = None,
    limit: Annotated[
        int | None, typer.Option(help="Read only the first so many documents: a sample.")
    ] = None,
    valid: Annotated[
        float,
        typer.Option(
            help="Share of groups for validation (dialogues 0.02, pictures 0.1, clips 0.05)."
        ),
    ] = 0.005,
    test: Annotated[
        float,
        typer.Option(help="Share for final numbers (dialogues 0.02, pictures 0.1, clips 0.05)."),
    ] = 0.025,
    documents: Annotated[
        str, typer.Option(help="local .txt: a document is a file, a line or blank-line.")
    ] = "file",
    field: Annotated[str, typer.Option(help=".jsonl, .parquet: name of the text.")] = "text",
    licence: Annotated[
        str, typer.Option(help="Terms (local, hub, dialogues, pictures, clips).")
    ] = "not stated",
    attribution: Annotated[
        str, typer.Option(help="Credit (local, hub, dialogues, pictures, clips).")
    ] = "",
    files: Annotated[
        str, typer.Option(help="Which files of a folder or of a hub repository.")
    ] = "",
    revision: Annotated[str, typer.Option(help="hub: branch, tag or commit.")] = "main",
    language: Annotated[str, typer.Option(help="ja, en or any (both).")] = "ja",
    against: Annotated[
        list[Path] | None,
        typer.Option("--decontaminate", help="Evaluation data to keep out; may be given again."),
    ] = None,
    workers: Annotated[int | None, typer.Option(help="Processes; one a core by default.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Turn a source into a corpus: normalised, filtered, de-duplicated, split.

    The same command goes on where an interrupted one stopped. Sections of settings: filters, mask,
    dedup, contamination. The sources dialogues (--from a file or folder of them) and keywords
    (--from a text corpus) make a corpus of dialogues; their settings: unanswered, compared, seed.
    The sources emoji and pictures make a corpus of pictures with captions (docs/pictures.md);
    clips, synth and synth-en one of speech (docs/speech.md).

    Example: minna corpus build aozora --from aozora.tar.xz --out build/aozora dedup.near=group
    """
    from dataclasses import asdict

    from minna.corpus.sources import CLIPS, DIALOGUES, PICTURES

    others = ((DIALOGUES, corpus_dialogues), (PICTURES, corpus_pairs), (CLIPS, corpus_clips))
    for sources, verb in others:
        if source in sources:
            verb.build(ctx, source=source, overrides=overrides or [], out=out, as_json=as_json)
            return

    from minna.corpus import BuildSettings
    from minna.corpus import build as build_documents
    from minna.corpus.sources import open_source
    from minna.settings import checked, with_overrides

    options = {
        "source": source, "path": path, "limit": limit, "valid": valid, "test": test,
        "documents": documents, "field": field, "licence": licence, "attribution": attribution,
        "files": files, "revision": revision, "language": language, "workers": workers,
        "contamination": {"against": tuple(against or ())},
    }  # fmt: skip
    settings = checked(
        BuildSettings,
        with_overrides(options, overrides or [], example="filters.min_kana=0.1 dedup.near=off"),
        remedy="minna corpus build --help",
    )
    report = build_documents(open_source(settings), out=out, settings=settings)
    emit(asdict(report) | {"path": report.path.as_posix()}, as_json=as_json, text=_words(report))


@app.command("cat")
def cat(
    corpus: Annotated[Path, typer.Argument(help="A corpus.")],
    *,
    split: Annotated[str, typer.Option(help="train, valid, test or all.")] = "all",
    limit: Annotated[int | None, typer.Option(min=0, help="At most this many rows.")] = None,
) -> None:
    """Print rows as JSON lines.

    Example: minna corpus cat build/corpus --split test --limit 5
    """
    import itertools
    import json

    from minna.corpus import batches, columns_of

    rows = (
        row
        for batch in batches(corpus, split=split, columns=columns_of(corpus))
        for row in batch.to_pylist()
    )
    try:
        for row in itertools.islice(rows, limit):
            sys.stdout.write(json.dumps(_shown(row), ensure_ascii=False) + "\n")
        sys.stdout.flush()
    except BrokenPipeError:
        # `| head` has seen enough: what is still buffered must go nowhere, without a traceback
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _shown(row: dict[str, Any]) -> dict[str, Any]:
    """A row without the bytes of its picture or recording."""
    return corpus_clips.shown(corpus_pairs.shown(row))


def _words(report: object) -> str:
    from minna.corpus import BuildReport
    from minna.units import format_bytes, format_seconds

    assert isinstance(report, BuildReport)

    def counts(numbers: dict[str, int]) -> str:
        return ", ".join(f"{name} {count}" for name, count in numbers.items())

    first = {
        "built": f"built {report.path} in {format_seconds(report.wall_seconds)}",
        "resumed": f"went on with {report.path} and finished it",
        "unchanged": f"{report.path} is already there, from the same data and settings: not built",
    }[report.state]
    return "\n".join(
        [
            first,
            f"  documents {report.kept} of {report.read} ({counts(report.splits)})",
            f"  text      {format_bytes(report.text_bytes)}, {report.characters} characters",
            f"  dropped   {counts(report.dropped) or 'none'}",
            *([f"  lines out {counts(report.lines_removed)}"] if report.lines_removed else []),
            *([f"  masked    {counts(report.masked)}"] if report.masked else []),
            *([f"  readings  {report.readings}"] if report.readings else []),
            f"  card      {report.path / 'card.html'}",
        ]
    )
