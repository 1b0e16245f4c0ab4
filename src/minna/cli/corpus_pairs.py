"""`minna corpus build emoji` and `pictures`: the options that apply to them, and the words."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import typer

from minna.cli.corpus_options import counts, first_line, given_options, refuse_others
from minna.cli.output import emit

if TYPE_CHECKING:
    from minna.corpus import PairReport

_SHARED: Final = ("path", "limit", "valid", "test", "workers")
_TAKES: Final = {
    "emoji": _SHARED,
    "pictures": (*_SHARED, "licence", "attribution", "files", "revision"),
}
_OWN: Final = {
    "emoji": 'pixels=224 \'renderers=["noto", "openmoji"]\' concepts=all',
    "pictures": "images=DIR image=file caption=text near=off",
}


def build(
    ctx: typer.Context, *, source: str, overrides: Sequence[str], out: Path, as_json: bool
) -> None:
    """Build a corpus of pictures from the options that were given."""
    from dataclasses import asdict

    from minna.corpus import PairSettings, build_pairs
    from minna.errors import UsageError
    from minna.settings import checked, with_overrides

    given = given_options(ctx)
    refuse_others(given, source, takes=_TAKES[source], own=_OWN[source])
    values = with_overrides({"source": source} | given, overrides, example=_OWN[source])
    if source == "pictures" and "path" not in values:
        raise UsageError(
            "the source pictures needs the place of its data, and none was given",
            remedy="minna corpus build pictures --from PATH --out DIR",
        )
    settings = checked(PairSettings, values, remedy="see docs/pictures.md")
    report = build_pairs(settings=settings, out=out)
    emit(asdict(report) | {"path": report.path.as_posix()}, as_json=as_json, text=_words(report))


def _words(report: PairReport) -> str:
    from minna.units import format_bytes

    alike = f", {report.near} pictures beside one they look like" * bool(report.near)
    return "\n".join(
        [
            first_line(report.path, state=report.state, wall_seconds=report.wall_seconds),
            f"  pictures  {report.kept} of {report.read} ({counts(report.splits)})",
            f"  bytes     {format_bytes(report.image_bytes)}",
            f"  captions  {report.captions}",
            f"  sources   {counts(report.sources)}",
            f"  groups    {report.groups}{alike}",
            f"  dropped   {counts(report.dropped) or 'none'}",
            f"  card      {report.path / 'card.md'}",
        ]
    )


def shown(row: dict[str, Any]) -> dict[str, Any]:
    """A row as `corpus cat` prints it: of a picture, how many bytes it has."""
    from minna.units import format_bytes

    return row | {"image": format_bytes(len(row["image"]))} if "image" in row else row
