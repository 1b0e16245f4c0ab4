"""What an objective brings with it: its stream, its terms, and how its model is looked at.

The one place that knows which of these go together; `build.py` reads it and asks nobody's type.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from minna.recipe import evaluators, masked_evaluators
from minna.recipe.schema import Recipe
from minna.streams import (
    MaskedStream,
    MaskedStreamSettings,
    TextStream,
    TextStreamSettings,
    TokenShards,
)
from minna.tokenizer.coder import AnyTokenizer
from minna.tokenizer.masks import with_masks
from minna.train.protocols import Evaluator, Stream
from minna.train.ranks import Ranks


@dataclass(frozen=True, kw_only=True)
class Kind:
    """What goes with an objective.

    Attributes:
        stream: makes the stream of training.
        terms: weight of each term of the loss.
        looks: makes what looks at the model along the way.
        whole_text: whether the loss pays for every token, so that it says bits per byte.
    """

    stream: Callable[[Recipe, TokenShards, AnyTokenizer, Ranks], Stream]
    terms: dict[str, float]
    looks: Callable[[Recipe, Path, AnyTokenizer], list[Evaluator]]
    whole_text: bool


def _text(recipe: Recipe, shards: TokenShards, words: AnyTokenizer, ranks: Ranks) -> Stream:
    return TextStream(
        shards,
        settings=cast("TextStreamSettings", recipe.stream),
        eos=words.eos_id,
        **_place(recipe, ranks),
    )


def _masked(recipe: Recipe, shards: TokenShards, words: AnyTokenizer, ranks: Ranks) -> Stream:
    return MaskedStream(
        shards,
        settings=cast("MaskedStreamSettings", recipe.stream),
        words=with_masks(words),
        **_place(recipe, ranks),
    )


def _place(recipe: Recipe, ranks: Ranks) -> dict[str, Any]:
    return {
        "rows": recipe.train.micro_batch_rows,
        "seed": recipe.train.seed,
        "rank": ranks.rank,
        "ranks": ranks.count,
    }


KINDS = {
    "causal_lm": Kind(
        stream=_text, terms={"next_token": 1.0}, looks=evaluators.looks, whole_text=True
    ),
    "masked_lm": Kind(
        stream=_masked, terms={"masked": 1.0}, looks=masked_evaluators.looks, whole_text=False
    ),
}
