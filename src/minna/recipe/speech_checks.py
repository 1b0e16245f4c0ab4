"""What sections of a recipe of speech must agree about; none of them can see the others."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from minna.errors import UsageError

if TYPE_CHECKING:
    from minna.recipe.schema import Recipe

PRETRAINING: Final = {
    "hubert": "masked_clusters",
    "wav2vec2": "quantised_contrast",
    "data2vec-audio": "self_distillation",
}
"""What each family learns before anybody tells it words; then all learn by CTC."""


def speech_objective(recipe: Recipe) -> str:
    """Return how a family of speech learns first; "" where it is none."""
    return PRETRAINING.get(recipe.model.family, "")


def check_speech(recipe: Recipe) -> None:
    """Check that family, objective, vocabulary and batches belong together.

    Raises:
        UsageError: they do not.
    """
    told, first = recipe.objective.kind, speech_objective(recipe)
    if told not in (first, "ctc"):
        raise UsageError(
            f"model.family {recipe.model.family} is pre-trained by {first}, and objective.kind is "
            f"{told}",
            remedy=f'write kind = "{first}" (or "ctc", to recognise) in [objective]',
        )
    needed = "sounds" if told == "ctc" else "none"
    if recipe.tokenizer.kind != needed:
        raise UsageError(
            f"objective {told} needs tokenizer.kind {needed}, and it is {recipe.tokenizer.kind}",
            remedy=f'write kind = "{needed}" in [tokenizer]',
        )
    _check_batches(recipe)


def _check_batches(recipe: Recipe) -> None:
    longest: int = getattr(recipe.stream, "attended", 0)
    if recipe.stream.row_tokens < longest:
        raise UsageError(
            f"stream.row_tokens is {recipe.stream.row_tokens} frames, and one clip of "
            f"stream.longest seconds has {longest}",
            remedy=f"give stream.row_tokens={longest} or more, or a shorter stream.longest",
        )
    if recipe.train.micro_batch_rows != 1:
        raise UsageError(
            f"train.micro_batch_rows is {recipe.train.micro_batch_rows}, and a row of a stream of "
            "speech is a whole batch",
            remedy="leave it at 1; stream.row_tokens says how large a batch is",
        )
    if recipe.train.sharding == "shard":
        raise UsageError(
            "a model of speech is whole on every rank, and train.sharding is shard",
            remedy="leave train.sharding at auto (each rank then has a copy)",
        )
