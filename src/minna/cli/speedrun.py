"""`minna speedrun`: quality reached in a given time, and the table of such records."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from minna.cli.output import JsonOption, emit


def speedrun(
    words: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[RECIPE] [SECTION.KEY=VALUE]...",
            help="A recipe (the track's own if none is named) and settings to change; with "
            "--compare the directories of records.",
        ),
    ] = None,
    *,
    track: Annotated[
        str, typer.Option(help="`minna list tracks`, or a .toml file.")
    ] = "cpu-10min-tatoeba",
    out: Annotated[
        Path | None,
        typer.Option(help="Where run and record go; with --compare, where TRACK.svg is drawn."),
    ] = None,
    aozora: Annotated[
        Path | None, typer.Option(help="Your archive of Aozora Bunko, for its tracks.")
    ] = None,
    work: Annotated[
        Path | None,
        typer.Option(help="Where text and tokenizers lie, for many runs; OUT/work by default."),
    ] = None,
    what: Annotated[str, typer.Option(help="What is new in this run, for the table.")] = "",
    compare: Annotated[
        bool, typer.Option("--compare", help="Print the table of the records given.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Train for exactly the minutes of a track and record the bits per byte reached.

    Example: minna speedrun toy-gpt-neox optim.lr=4e-3 --track cpu-10min-tatoeba
    --out build/speedrun/lr
    """
    from minna.errors import UsageError

    if compare:
        _compare([Path(word) for word in words or []], out=out, as_json=as_json)
        return
    if out is None:
        raise UsageError("a speed run needs a directory", remedy="give --out DIR")
    from minna.train.allocator import restart_tuned

    restart_tuned()
    from minna import speedrun as room

    given = list(words or [])
    recipe = given.pop(0) if given and "=" not in given[0] else None
    chosen = room.load(track)
    call = room.Call(recipe=recipe, overrides=tuple(given), aozora=aozora, work=work, what=what)
    record = room.run_track(chosen, call=call, out=out)
    standing = room.Standing(track=chosen.name, description=chosen.description, records=(record,))
    result = record.model_dump(mode="json", by_alias=True)
    emit(result, as_json=as_json, text=f"{standing.table()}\n\n{out / 'record.json'}")


def _compare(paths: list[Path], *, out: Path | None, as_json: bool) -> None:
    from minna import speedrun as room
    from minna.errors import UsageError

    if not paths:
        raise UsageError("--compare needs the directories of records", remedy="name some")
    standings = room.compare(paths, out=out)
    result: dict[str, Any] = {
        standing.track: [
            record.model_dump(mode="json", by_alias=True) for record in standing.records
        ]
        for standing in standings
    }
    text = "\n\n".join(f"{each.description}:\n\n{each.table()}" for each in standings)
    emit(result, as_json=as_json, text=text)
