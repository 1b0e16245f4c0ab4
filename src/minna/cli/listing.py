"""`minna list`: what there is to choose from."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from minna.cli.output import JsonOption, emit


def listing(
    what: Annotated[str, typer.Argument(help="recipes, pipelines or sources.")] = "recipes",
    name: Annotated[str | None, typer.Argument(help="Print this one whole.")] = None,
    *,
    as_json: JsonOption = False,
) -> None:
    """List recipes, pipelines or sources of text, or print one whole.

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
    elif what == "sources":
        from minna.corpus.sources import DESCRIPTIONS

        rows = DESCRIPTIONS if name is None else {name: DESCRIPTIONS.get(name, "not a source")}
    else:
        lists = ["recipes", "pipelines", "sources"]
        raise UsageError(
            f"there is no list of {what!r}{nearest(what, lists)}",
            remedy=f"lists: {', '.join(lists)}",
        )
    width = max(len(key) for key in rows)
    text = "\n".join(f"{key:<{width}}  {value}" for key, value in rows.items())
    emit(rows, as_json=as_json, text=text)
