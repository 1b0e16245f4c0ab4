"""`minna corpus build dialogues` and `keywords`: the options that apply to them, and the words."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

import typer

from minna.cli.corpus_options import counts, first_line, given_options, refuse_others
from minna.cli.output import emit

if TYPE_CHECKING:
    from minna.corpus import DialogueReport

_TAKES: Final = {
    "dialogues": ("path", "limit", "valid", "test", "licence", "attribution"),
    "keywords": ("path", "limit"),
}
_OWN: Final = {"dialogues": "unanswered=keep", "keywords": "compared=0.5 seed=1"}


def build(
    ctx: typer.Context, *, source: str, overrides: Sequence[str], out: Path, as_json: bool
) -> None:
    """Build a corpus of dialogues from the options that were given."""
    from dataclasses import asdict

    from minna.corpus import DialogueSettings, build_dialogues
    from minna.errors import UsageError
    from minna.settings import checked, with_overrides

    given = given_options(ctx)
    refuse_others(given, source, takes=_TAKES[source], own=_OWN[source])
    values = with_overrides({"source": source} | given, overrides, example=_OWN[source])
    if "path" not in values:
        raise UsageError(
            f"the source {source} needs the place of its data, and none was given",
            remedy=f"minna corpus build {source} --from PATH --out DIR",
        )
    settings = checked(DialogueSettings, values, remedy="see docs/dialogues.md")
    report = build_dialogues(settings=settings, out=out)
    emit(asdict(report) | {"path": report.path.as_posix()}, as_json=as_json, text=_words(report))


def _words(report: DialogueReport) -> str:
    from minna.units import format_bytes

    return "\n".join(
        [
            first_line(report.path, state=report.state, wall_seconds=report.wall_seconds),
            f"  dialogues {report.kept} of {report.read} ({counts(report.splits)})",
            f"  compared  {report.rejected} with a worse answer",
            *([f"  prompts   {report.unanswered} wait for an answer"] * bool(report.unanswered)),
            f"  text      {format_bytes(report.text_bytes)} in {report.turns} turns",
            f"  dropped   {counts(report.dropped) or 'none'}",
            f"  card      {report.path / 'card.md'}",
        ]
    )
