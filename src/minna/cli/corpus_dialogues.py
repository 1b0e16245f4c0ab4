"""`minna corpus build dialogues` and `keywords`: the options that apply to them, and the words."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import typer

from minna.cli.output import emit

if TYPE_CHECKING:
    from minna.corpus import DialogueReport

_TAKES: Final = {
    "dialogues": ("path", "limit", "valid", "test", "licence", "attribution"),
    "keywords": ("path", "limit"),
}
_OWN: Final = {"dialogues": "unanswered=keep", "keywords": "compared=0.5 seed=1"}
_ALWAYS: Final = frozenset({"source", "overrides", "out", "as_json"})
_OPTIONS: Final = {"path": "--from", "against": "--decontaminate"}


def build(
    ctx: typer.Context, *, source: str, overrides: Sequence[str], out: Path, as_json: bool
) -> None:
    """Build a corpus of dialogues from the options that were given."""
    from dataclasses import asdict

    from minna.corpus import DialogueSettings, build_dialogues
    from minna.errors import UsageError
    from minna.settings import checked, with_overrides

    given = _given(ctx)
    _refuse_others(given, source)
    values = with_overrides({"source": source} | given, overrides, example=_OWN[source])
    if "path" not in values:
        raise UsageError(
            f"the source {source} needs the place of its data, and none was given",
            remedy=f"minna corpus build {source} --from PATH --out DIR",
        )
    settings = checked(DialogueSettings, values, remedy="see docs/dialogues.md")
    report = build_dialogues(settings=settings, out=out)
    emit(asdict(report) | {"path": report.path.as_posix()}, as_json=as_json, text=_words(report))


def _given(ctx: typer.Context) -> dict[str, Any]:
    """Options that stand on the command line: the defaults are those of text."""
    found: dict[str, Any] = {}
    for name, value in ctx.params.items():
        origin = ctx.get_parameter_source(name)
        if name not in _ALWAYS and origin is not None and origin.name != "DEFAULT":
            found[name] = value
    return found


def _refuse_others(given: dict[str, Any], source: str) -> None:
    """A setting that is ignored would be believed to have worked."""
    from minna.errors import UsageError

    def option(name: str) -> str:
        return _OPTIONS.get(name, f"--{name}")

    wrong = sorted(option(name) for name in given if name not in _TAKES[source])
    if wrong:
        takes = ", ".join(option(name) for name in _TAKES[source])
        raise UsageError(
            f"{', '.join(wrong)} does not apply to the source {source} (it takes {takes}, and "
            f"settings such as {_OWN[source]})",
            remedy=f"leave {', '.join(wrong)} out",
        )


def _words(report: DialogueReport) -> str:
    from minna.units import format_bytes, format_seconds

    def counts(numbers: dict[str, int]) -> str:
        return ", ".join(f"{name} {count}" for name, count in numbers.items())

    first = {
        "built": f"built {report.path} in {format_seconds(report.wall_seconds)}",
        "unchanged": f"{report.path} is already there, from the same data and settings: not built",
    }[report.state]
    return "\n".join(
        [
            first,
            f"  dialogues {report.kept} of {report.read} ({counts(report.splits)})",
            f"  compared  {report.rejected} with a worse answer",
            *([f"  prompts   {report.unanswered} wait for an answer"] * bool(report.unanswered)),
            f"  text      {format_bytes(report.text_bytes)} in {report.turns} turns",
            f"  dropped   {counts(report.dropped) or 'none'}",
            f"  card      {report.path / 'card.md'}",
        ]
    )
