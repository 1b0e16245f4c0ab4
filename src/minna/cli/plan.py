"""`minna plan`: what a recipe needs, before it is started."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from minna.cli.output import JsonOption, emit

if TYPE_CHECKING:
    from minna.plan import Plan


def plan(
    recipe: Annotated[
        str | None, typer.Argument(help="A recipe's name, or a .toml file (not with --table).")
    ] = None,
    overrides: Annotated[
        list[str] | None, typer.Argument(help="Settings to change, as section.key=value.")
    ] = None,
    *,
    gpus: Annotated[int, typer.Option(help="How many devices, one rank each.")] = 1,
    device: Annotated[str, typer.Option(help="h100, h200, a100, l4, 4090, or cpu (this)")] = "h100",
    price: Annotated[float | None, typer.Option(help="USD of one device for an hour.")] = None,
    table: Annotated[
        bool, typer.Option("--table", help="Every recipe of the paper on 1 to 64 devices.")
    ] = False,
    into: Annotated[
        Path | None, typer.Option(help="With --table: the page whose table is to be renewed.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Predict memory, traffic, speed, time and cost of RECIPE; build nothing, need no device.

    Example: minna plan japanese-gpt-neox-3.6b --gpus 64 --device h100 --price 2.5
    """
    from minna import plan as room
    from minna import recipe as recipes
    from minna.errors import UsageError

    kind = room.find(device)
    if table:
        text = room.table(kind, recipes=room.paper_recipes(), price=price)
        if into is not None:
            room.write_into(into, name=f"minna plan --table --device {device}", content=text)
        emit({"table": text}, as_json=as_json, text=text)
        return
    if recipe is None:
        raise UsageError("a plan needs a recipe", remedy="name one (`minna list recipes`)")
    chosen = recipes.load(recipe, overrides=overrides or [])
    made = room.plan(chosen, gpus=gpus, device=kind, price=price)
    emit(as_data(made), as_json=as_json, text="\n".join(room.lines(made)))


def as_data(made: Plan) -> dict[str, Any]:
    """A plan as plain data, with what follows from it."""
    from minna.plan import settings

    data = {key: value for key, value in asdict(made).items() if key != "recipe"}
    chosen = made.chosen
    return {
        "recipe": made.recipe.name,
        **data,
        "usable_bytes": made.usable_bytes,
        "fits": chosen is not None,
        "settings": None if chosen is None else settings(made, chosen),
        "steps": made.steps,
        "run_seconds": made.run_seconds,
        "usd": made.cost,
    }
