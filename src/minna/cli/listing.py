"""`minna list`: what there is to choose from."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from minna.cli.output import JsonOption, emit


def listing(
    what: Annotated[
        str, typer.Argument(help="recipes, pipelines, formats, sources, tasks, suites or tracks.")
    ] = "recipes",
    name: Annotated[str | None, typer.Argument(help="Print this one whole.")] = None,
    *,
    as_json: JsonOption = False,
) -> None:
    """List recipes, pipelines, formats, sources, tasks, suites or tracks, or print one whole.

    Example: minna list recipes toy-gpt-neox
    """
    from minna.errors import UsageError, nearest

    if what == "recipes":
        from minna import recipe

        if name is not None:
            chosen = recipe.load(name)
            emit(recipe.resolved(chosen), as_json=as_json, text=recipe.to_toml(chosen).rstrip())
            return
        rows: dict[str, Any] = {n: recipe.load(n).description for n in recipe.names()}
    elif what == "pipelines":
        from minna import pipeline

        if name is not None:
            content = pipeline.load(name)
            emit(pipeline.resolved(content), as_json=as_json, text=pipeline.source(name).rstrip())
            return
        rows = {n: pipeline.load(n).description for n in pipeline.names()}
    elif what == "formats":
        from minna import prompts

        if name is not None:
            shown = prompts.source(name).rstrip()
            emit(
                {"toml": shown, "chat_template": prompts.chat_template(prompts.load(name))},
                as_json=as_json,
                text=shown,
            )
            return
        rows = {n: prompts.load(n).description for n in prompts.names()}
    elif what == "sources":
        from minna.corpus.sources import DESCRIPTIONS

        rows = DESCRIPTIONS if name is None else {name: DESCRIPTIONS.get(name, "not a source")}
    elif what == "tracks":
        from minna import speedrun

        if name is not None:
            track = speedrun.load(name)
            emit(speedrun.resolved(track), as_json=as_json, text=speedrun.source(name).rstrip())
            return
        rows = {n: speedrun.load(n).description for n in speedrun.names()}
    elif what in ("tasks", "suites"):
        if name is not None:
            values, text = _whole(what, name)
            emit(values, as_json=as_json, text=text.rstrip())
            return
        rows = _tasks() if what == "tasks" else _suites()
    else:
        lists = ["recipes", "pipelines", "formats", "sources", "tasks", "suites", "tracks"]
        raise UsageError(
            f"there is no list of {what!r}{nearest(what, lists)}",
            remedy=f"lists: {', '.join(lists)}",
        )
    width = max(len(key) for key in rows)
    text = "\n".join(f"{key:<{width}}  {value}" for key, value in rows.items())
    emit(rows, as_json=as_json, text=text)


def _whole(what: str, name: str) -> tuple[dict[str, Any], str]:
    """One task or suite: its values, and its file."""
    from minna.evaluate import suite, task

    if what == "tasks":
        return task.choose(name).task.model_dump(mode="json"), task.source_text(name)
    return suite.read_suite(name).model_dump(mode="json"), suite.source_text(name)


def _tasks() -> dict[str, Any]:
    """Tasks in a line each: versions, prompts, shots, main metric, licence."""
    from minna.evaluate.task import choose, task_names

    rows: dict[str, Any] = {}
    for each in task_names():
        task = choose(each).task
        versions = ", ".join(version.version for version in task.versions)
        codes = ", ".join(dict.fromkeys(prompt.code for prompt in task.prompts))
        rows[each] = (
            f"{task.title['en']}; versions {versions}; prompts {codes}; {task.shots} shots; "
            f"{task.metrics[0]}; {task.source.licence}"
        )
    return rows


def _suites() -> dict[str, Any]:
    from minna.evaluate.suite import read_suite, suite_names

    return {each: read_suite(each).description for each in suite_names()}
