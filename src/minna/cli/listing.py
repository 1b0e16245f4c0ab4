"""`minna list`: what there is to choose from."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from minna.cli.output import JsonOption, emit


def listing(
    what: Annotated[str, typer.Argument(help="recipes or pipelines.")] = "recipes",
    name: Annotated[str | None, typer.Argument(help="Print this one whole.")] = None,
    *,
    as_json: JsonOption = False,
) -> None:
    """List recipes or pipelines, or print one whole.

    Example: minna list recipes toy-gpt-neox
    """
    from minna import pipeline, recipe
    from minna.errors import UsageError, nearest

    if what == "recipes":
        if name is not None:
            chosen = recipe.load(name)
            emit(recipe.resolved(chosen), as_json=as_json, text=recipe.to_toml(chosen).rstrip())
            return
        rows: dict[str, Any] = {n: recipe.load(n).description for n in recipe.names()}
    elif what == "pipelines":
        if name is not None:
            content = pipeline.load(name)
            emit(pipeline.resolved(content), as_json=as_json, text=pipeline.source(name).rstrip())
            return
        rows = {n: pipeline.load(n).description for n in pipeline.names()}
    else:
        raise UsageError(
            f"there is no list of {what!r}{nearest(what, ['recipes', 'pipelines'])}",
            remedy="lists: recipes, pipelines",
        )
    width = max(len(key) for key in rows)
    text = "\n".join(f"{key:<{width}}  {value}" for key, value in rows.items())
    emit(rows, as_json=as_json, text=text)
