"""Where a fresh model's weights come from: a model dir (`init.from`), or chance.

The run's own checkpoint comes later and wins.
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

from minna.errors import UsageError
from minna.models import Decoder
from minna.recipe.schema import Recipe
from minna.runtime.load import load_model


def initialise(model: Decoder, recipe: Recipe) -> None:
    """Random weights, or those of a model dir (the run's own checkpoint comes later and wins)."""
    model.initialise(seed=recipe.train.seed)
    if not recipe.init.from_:
        return
    source = load_model(Path(recipe.init.from_), device="cpu", dtype="fp32", layout="plain")
    theirs = source.decoder.state_dict()
    ours = model.state_dict()
    wrong = [name for name in ours if name not in theirs or theirs[name].shape != ours[name].shape]
    # the same shapes can still be another network (heads, rotation, residual, activation)
    # a context may be lengthened by scaling its angles: that is what such a run is for
    free = {"dropout", "init_std", "embed_init_std", "residual_init", "context", "rotary_scaling"}
    mine, its = asdict(model.config), asdict(source.decoder.config)
    differing = [
        f"{key} {its[key]!r} there"
        for key in mine
        if key not in free | {"vocab"} and mine[key] != its[key]
    ]
    if wrong or differing:
        raise UsageError(
            f"init.from {recipe.init.from_} does not fit [model]: "
            f"{', '.join([*differing, *wrong][:4])}",
            remedy="give [model] the shape of that model dir's config.json",
        )
    model.load_state_dict(theirs)
