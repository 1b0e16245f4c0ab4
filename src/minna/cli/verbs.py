"""Which file holds which verb. Adding a verb is a thin file beside this one and a line here."""

from __future__ import annotations

import typer

from minna.cli import (
    chat,
    classify,
    corpus,
    duel,
    embed,
    evaluate,
    generate,
    inspect,
    label,
    listing,
    pipeline,
    plan,
    release,
    requests,
    search,
    speedrun,
    tokenizer,
    train,
    transcribe,
)


def register(app: typer.Typer) -> None:
    """Attach every verb to the program, in the order of the story, once in a process."""
    if app.registered_commands:
        return  # typer would build each verb as often as it was attached
    app.command("quickstart")(pipeline.quickstart)
    app.command("pipeline")(pipeline.pipeline)
    app.add_typer(corpus.app, name="corpus")
    app.add_typer(tokenizer.app, name="tokenizer")
    app.command("list")(listing.listing)
    app.add_typer(label.app, name="label")
    app.command("plan")(plan.plan)
    app.command("train")(train.train)
    app.command("export")(train.export)
    app.command("requests")(requests.requests)
    app.command("evaluate")(evaluate.evaluate)
    app.command("compare")(evaluate.compare)
    app.command("duel")(duel.duel)
    app.command("release")(release.release)
    app.command("generate")(generate.generate)
    app.command("chat")(chat.chat)
    app.command("classify")(classify.classify)
    app.command("search")(search.search)
    app.command("embed")(embed.embed)
    app.command("transcribe")(transcribe.transcribe)
    app.command("speedrun")(speedrun.speedrun)
    app.command("inspect")(inspect.inspect)
