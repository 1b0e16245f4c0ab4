"""`minna corpus build clips`, `synth` and `synth-en`: the options that apply, and the words."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import typer

from minna.cli.corpus_options import counts, first_line, given_options, refuse_others
from minna.cli.output import emit

if TYPE_CHECKING:
    from minna.corpus import ClipReport

_SHARED: Final = ("path", "limit", "valid", "test", "workers")
_TAKES: Final = {
    "clips": (*_SHARED, "licence", "attribution", "files", "revision"),
    "synth": (*_SHARED, "field", "licence", "attribution"),
    "synth-en": (*_SHARED, "field", "licence", "attribution"),
}
_OWN: Final = {
    "clips": "longest=20 splits=stated group_by=speaker store=flac reading=none",
    "synth": "speakers=30 takes=2 surroundings=none seed=1",
    "synth-en": "speakers=30 takes=2 surroundings=none seed=1",
}


def build(
    ctx: typer.Context, *, source: str, overrides: Sequence[str], out: Path, as_json: bool
) -> None:
    """Build a corpus of clips from the options that were given."""
    from dataclasses import asdict

    from minna.corpus import ClipSettings, build_clips
    from minna.settings import checked, with_overrides

    given = given_options(ctx)
    refuse_others(given, source, takes=_TAKES[source], own=_OWN[source])
    values = with_overrides({"source": source} | given, overrides, example=_OWN[source])
    settings = checked(ClipSettings, values, remedy="see docs/speech.md")
    report = build_clips(settings=settings, out=out)
    emit(asdict(report) | {"path": report.path.as_posix()}, as_json=as_json, text=_words(report))


def _words(report: ClipReport) -> str:
    from minna.units import format_bytes, format_seconds

    low, middle, high = report.levels
    size = format_bytes(report.audio_bytes)
    level = f"level {middle:.1f} dBFS ({low:.1f} to {high:.1f})"
    said = (
        f"{report.transcribed} with a transcript, {report.phoned} with phones, "
        f"{report.timed} with their times"
    )
    noted = f"  noted     {counts(report.notes)}"
    return "\n".join(
        [
            first_line(report.path, state=report.state, wall_seconds=report.wall_seconds),
            f"  clips     {report.kept} of {report.read} recordings ({counts(report.splits)})",
            f"  sound     {format_seconds(report.seconds)}, {size}, {level}",
            f"  said      {said}",
            f"  sources   {counts(report.sources)}",
            f"  groups    {report.groups}, {report.speakers or 'no'} speakers named",
            f"  dropped   {counts(report.dropped) or 'none'}",
            *([noted] if report.notes else []),
            f"  card      {report.path / 'card.md'}",
        ]
    )


def shown(row: dict[str, Any]) -> dict[str, Any]:
    """A row as `corpus cat` prints it: of a recording, how many bytes it has."""
    from minna.units import format_bytes

    return row | {"audio": format_bytes(len(row["audio"]))} if "audio" in row else row
