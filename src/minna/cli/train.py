"""`minna train RECIPE` and `minna export RUN`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from minna.cli.output import JsonOption, emit


def train(
    recipe: Annotated[str, typer.Argument(help="A recipe's name, or a .toml file.")],
    overrides: Annotated[
        list[str] | None, typer.Argument(help="Settings to change, as section.key=value.")
    ] = None,
    *,
    corpus: Annotated[Path | None, typer.Option(help="The corpus directory.")] = None,
    tokenizer: Annotated[
        Path | None,
        typer.Option(help="The tokenizer directory (left out: init.from's, or sounds)."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="The run directory; goes on with what is there.")
    ] = None,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Only say what would be trained here, and what it needs."),
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Train RECIPE; the same command goes on where an interrupted run stopped.

    Example: minna train toy-gpt-neox --corpus build/corpus --tokenizer build/tokenizer
    --out build/run train.steps=200 optim.lr=3e-3
    """
    if dry_run:
        _dry_run(recipe, overrides or [], corpus=corpus, tokenizer=tokenizer, as_json=as_json)
        return
    from minna.errors import UsageError

    if corpus is None or out is None:
        missing = " and ".join(
            name for name, given in (("--corpus", corpus), ("--out", out)) if given is None
        )
        raise UsageError(
            f"training needs {missing}",
            remedy="give it, or --dry-run to see what would be trained",
        )
    from minna.train.allocator import restart_tuned

    restart_tuned()
    from minna import artifact
    from minna import recipe as recipes
    from minna.tokenizer.settings import BaseTokenizerSettings, OwnVocabulary

    chosen = recipes.load(recipe, overrides=overrides or [])
    by_itself = isinstance(chosen.tokenizer, BaseTokenizerSettings | OwnVocabulary)
    if tokenizer is None and not by_itself:
        raise UsageError(
            "training needs --tokenizer",
            remedy="give it, or --dry-run to see what would be trained",
        )
    tokenizer = tokenizer or out / recipes.OWN_TOKENIZER
    run = recipes.run_recipe(chosen, corpus=corpus, tokenizer=tokenizer, out=out)
    counts = artifact.read_manifest(run, kind="run").counts
    result = {"run": str(run), **{name: count.value for name, count in counts.items()}}
    emit(result, as_json=as_json, text=f"trained: {run} (look at {run / 'report.html'})")


def _dry_run(
    recipe: str,
    overrides: list[str],
    *,
    corpus: Path | None,
    tokenizer: Path | None,
    as_json: bool,
) -> None:
    from minna import plan
    from minna import recipe as recipes
    from minna.cli.plan import as_data

    chosen = recipes.load(recipe, overrides=overrides)
    made, text = plan.dry_run(chosen, tokenizer=tokenizer, corpus=corpus)
    emit(as_data(made), as_json=as_json, text=text)


def export(
    run: Annotated[Path, typer.Argument(help="A finished run.")],
    *,
    out: Annotated[Path, typer.Option(help="The model dir to write.")],
    dtype: Annotated[str, typer.Option(help="float32, float16 or bfloat16.")] = "float32",
    adapter: Annotated[
        bool, typer.Option("--adapter", help="Of adapters, these alone, as peft loads them.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Write a run as a model dir that transformers loads.

    Example: minna export build/run --out build/model
    """
    from minna.cli.output import checked
    from minna.export import ExportSettings, export_run

    settings = checked(ExportSettings, {"dtype": dtype, "adapter": adapter})
    model = export_run(run, out=out, settings=settings)
    emit({"model": str(model)}, as_json=as_json, text=f"exported: {model}")
