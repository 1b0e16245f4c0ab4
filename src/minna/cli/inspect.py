"""`minna inspect DIR`: what a directory is, how it came to be, whether it is intact."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from minna.cli.output import JsonOption, emit


def inspect(
    path: Annotated[Path, typer.Argument(help="Any directory minna wrote.")],
    *,
    mask: Annotated[
        bool, typer.Option("--mask", help="Of a run on dialogues: what of them is learned.")
    ] = False,
    split: Annotated[str, typer.Option(help="With --mask: train, valid or test.")] = "train",
    limit: Annotated[int, typer.Option(min=1, help="With --mask: dialogues shown.")] = 5,
    as_json: JsonOption = False,
) -> None:
    """Say what DIR is, how it came to be, and whether it is intact.

    Example: minna inspect build/quickstart/corpus
    """
    if mask:
        _show_mask(path, split=split, limit=limit, as_json=as_json)
        return
    from minna import artifact
    from minna.units import format_bytes, format_count, format_seconds

    manifest, findings = artifact.inspect(path)
    size = sum(entry.bytes for entry in manifest.files.values())
    made = f"made      {manifest.created} in {format_seconds(manifest.wall_seconds)}"
    lines = [
        f"{path}: a {manifest.kind}, {len(manifest.files)} files, {format_bytes(size)}",
        f"{made}, minna {manifest.versions.get('minna', '?')}",
    ]
    lines += [
        f"count     {name}: {format_count(count.value)} {count.unit}"
        for name, count in manifest.counts.items()
    ]
    lines += [f"setting   {key} = {value}" for key, value in manifest.settings.items()]
    lines += [f"parent    {p.role} ({p.kind}) {p.sha256[:12]} {p.path}" for p in manifest.parents]
    lines += [
        f"licence   {item.source}: {item.licence} {item.attribution}".rstrip()
        for item in manifest.licences
    ]
    lines += [f"legal     {note}" for note in manifest.legal]
    lines += [f"{f.level}: {f.what}\n  remedy: {f.remedy}" for f in findings] or ["intact"]
    result = manifest.model_dump(mode="json") | {
        "findings": [{"level": f.level, "what": f.what, "remedy": f.remedy} for f in findings]
    }
    emit(result, as_json=as_json, text="\n".join(lines))
    if any(finding.level == "error" for finding in findings):
        raise typer.Exit(1)


def _show_mask(path: Path, *, split: str, limit: int, as_json: bool) -> None:
    """Print dialogues with what is learned in green, or where there is no colour in ⟦ ⟧."""
    from dataclasses import asdict

    from minna.streams.masks import stretches

    documents = stretches(path, split=split, limit=limit)
    colour = sys.stdout.isatty() and not os.environ.get("NO_COLOR")
    before, after = ("\x1b[1;32m", "\x1b[0m") if colour else ("⟦", "⟧")
    lines: list[str] = []
    for number, document in enumerate(documents):
        learned = sum(part.tokens for part in document if part.learned)
        lines.append(f"--- {number}: {learned} of {sum(p.tokens for p in document)} tokens learned")
        lines.append(
            "".join(
                f"{before}{part.text}{after}" if part.learned else part.text for part in document
            )
        )
    result = {"documents": [[asdict(part) for part in document] for document in documents]}
    emit(result, as_json=as_json, text="\n".join(lines))
