"""`minna inspect DIR`: what a directory is, how it came to be, whether it is intact."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from minna.cli.output import JsonOption, emit


def inspect(
    path: Annotated[Path, typer.Argument(help="Any directory minna wrote.")],
    *,
    as_json: JsonOption = False,
) -> None:
    """Say what DIR is, how it came to be, and whether it is intact.

    Example: minna inspect build/quickstart/corpus
    """
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
