"""`minna train --dry-run`: everything a start would settle, on the meta device, nothing written.

What a wrong setting costs on a cluster is the queue; here it costs a second. The tokenizer decides
the size of the embeddings, so it is read where it is given; the corpus is looked at, never read.
"""

from __future__ import annotations

import os
from pathlib import Path

from minna import artifact
from minna.plan.choose import Plan, plan
from minna.plan.devices import Device, of_cuda, this_cpu
from minna.plan.words import lines
from minna.recipe.schema import Recipe, check_step_tokens
from minna.recipe.tuning import kind_of
from minna.tokenizer.coder import training_tokenizer
from minna.train.precision import compiler_found, pick_device


def dry_run(recipe: Recipe, *, tokenizer: Path | None, corpus: Path | None) -> tuple[Plan, str]:
    """Build a run on the meta device.

    Args:
        recipe: what would be trained.
        tokenizer: its tokenizer directory; the recipe's own size counts if None.
        corpus: its corpus, for what the manifest tells; may be None.

    Returns:
        The plan for this machine (and as many ranks as torchrun started), and it in words.

    Raises:
        UsageError: what a start would refuse: a device that is not here, a step that its ranks
            cannot share, sections that do not fit each other.
        ArtifactError: a directory given is not what it should be.
    """
    ranks = int(os.environ.get("WORLD_SIZE", "1"))
    check_step_tokens(recipe, ranks=ranks)
    vocab = training_tokenizer(tokenizer).vocab_size if tokenizer else recipe.tokenizer.vocab_size
    place = pick_device(recipe.train.device)
    made = plan(recipe, gpus=ranks, device=_here(place), vocab=vocab)
    told = [
        *lines(made),
        "",
        f"machine   {place}, compile {_compile(recipe, place)}",
        f"tokenizer {vocab:,} words{'' if tokenizer else ' (the recipe says so: none was given)'}",
        f"corpus    {_corpus(corpus)}",
        "a dry run: no weight was drawn, nothing was written",
    ]
    return made, "\n".join(told)


def _here(place: str) -> Device:
    return of_cuda() if place == "cuda" else this_cpu()


def _compile(recipe: Recipe, place: str) -> str:
    if not kind_of(recipe).compiles:
        return "off"
    if recipe.train.compile != "auto":
        return recipe.train.compile
    return "on" if place in ("cpu", "cuda") and compiler_found(place) else "off"


def _corpus(corpus: Path | None) -> str:
    if corpus is None:
        return "none given"
    counts = artifact.read_manifest(corpus, kind="corpus").counts
    return ", ".join(f"{count.value:,} {count.unit} ({name})" for name, count in counts.items())
