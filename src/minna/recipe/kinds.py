"""What an objective brings with it: its model, its tokens, its stream, its terms, its looks.

The one place that knows which of these go together; `build.py` reads it and asks nobody's type.
Those of dialogues are in `tuning.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, cast

from torch import nn

from minna.models import build
from minna.models.family import Model
from minna.objectives import CausalLM, MaskedLM
from minna.recipe import evaluators, masked_evaluators
from minna.recipe.schema import Recipe
from minna.streams import (
    MaskedStream,
    MaskedStreamSettings,
    TextStream,
    TextStreamSettings,
    TokenShards,
    write_tokens,
)
from minna.tokenizer.coder import AnyTokenizer, training_tokenizer
from minna.tokenizer.masks import with_masks
from minna.train.precision import Numerics
from minna.train.protocols import Evaluator, LearningRate, Objective, Stream
from minna.train.quality import Quality, bits_per_byte, perplexity
from minna.train.ranks import Ranks


@dataclass(frozen=True, kw_only=True)
class Scene:
    """What a stream and looks are made of.

    Attributes:
        recipe: of the run.
        tokens: its token shards.
        words: the tokenizer.
        ranks: who trains.
        numerics: device and arithmetic.
        model, objective: of the run.
    """

    recipe: Recipe
    tokens: Path
    words: AnyTokenizer
    ranks: Ranks
    numerics: Numerics
    model: nn.Module
    objective: Objective

    @property
    def shards(self) -> TokenShards:
        """The training split of the token shards."""
        return TokenShards(self.tokens, split="train")

    @property
    def place(self) -> dict[str, Any]:
        """How a stream is divided and shuffled."""
        return {
            "seed": self.recipe.train.seed,
            "rank": self.ranks.rank,
            "ranks": self.ranks.count,
        }


def _tokens(recipe: Recipe, corpus: Path, tokenizer: Path, out: Path, threads: int) -> Path:  # noqa: ARG001
    return write_tokens(corpus, tokenizer=tokenizer, out=out, threads=threads)


def _model(recipe: Recipe, vocab: int) -> Model:
    return build(recipe.model, vocab=vocab)


class Data(Protocol):
    """What training reads, as the lines before step 0 tell it."""

    def words(self) -> str:
        """What there is."""
        ...

    def epochs(self, *, tokens: float, row_tokens: int) -> float:
        """How often so many tokens of training, in rows of that length, tell all of it."""
        ...


@dataclass(frozen=True, kw_only=True)
class Kind:
    """What goes with an objective and a stream.

    Attributes:
        objective: makes the objective of a model whose weights are set.
        stream: makes the stream of training.
        terms: weight of each term of the loss; those of weight 0 are only logged.
        looks: makes what looks at the model (and the stream) along the way.
        quality: what the loss means, for the tokens folder.
        tokens: writes the corpus as the stream reads it.
        model: makes the model of a vocabulary, its weights not set (but those of a locked tower).
        words: opens the tokenizer.
        data: opens what training reads.
        schedule: of the learning rate.
        told: figures that the line of progress shows.
        compares: whether the weights of `init.from` are needed for as long as the run lasts.
        compiles: whether batches are of one shape, as the compiler wants them.
    """

    objective: Callable[[Recipe, nn.Module, AnyTokenizer, Ranks], Objective]
    stream: Callable[[Scene], Stream]
    terms: Callable[[Recipe], dict[str, float]]
    looks: Callable[[Scene, Stream], list[Evaluator]]
    quality: Callable[[Path], Quality]
    tokens: Callable[[Recipe, Path, Path, Path, int], Path] = _tokens
    model: Callable[[Recipe, int], Model] = _model
    words: Callable[[Path], AnyTokenizer] = training_tokenizer
    data: Callable[[Path], Data] = lambda tokens: TokenShards(tokens, split="train")
    schedule: Callable[[Recipe], LearningRate] = lambda recipe: recipe.schedule
    told: tuple[str, ...] = field(default=())
    compares: bool = False
    compiles: bool = True


def _text(scene: Scene) -> Stream:
    return TextStream(
        scene.shards,
        settings=cast("TextStreamSettings", scene.recipe.stream),
        eos=scene.words.eos_id,
        rows=scene.recipe.train.micro_batch_rows,
        **scene.place,
    )


def _masked(scene: Scene) -> Stream:
    return MaskedStream(
        scene.shards,
        settings=cast("MaskedStreamSettings", scene.recipe.stream),
        words=with_masks(scene.words),
        rows=scene.recipe.train.micro_batch_rows,
        **scene.place,
    )


def _per_byte(tokens: Path) -> Quality:
    shards = TokenShards(tokens, split="train")
    return bits_per_byte(shards.epoch_tokens / shards.epoch_bytes)


TEXT = Kind(
    objective=lambda _recipe, _model, _words, _ranks: CausalLM(),
    stream=_text,
    terms=lambda _recipe: {"next_token": 1.0},
    looks=lambda scene, _stream: evaluators.looks(scene.recipe, scene.tokens, scene.words),
    quality=_per_byte,
)
MASKED = Kind(
    objective=lambda _recipe, _model, _words, _ranks: MaskedLM(),
    stream=_masked,
    terms=lambda _recipe: {"masked": 1.0},
    looks=lambda scene, _stream: masked_evaluators.looks(scene.recipe, scene.tokens, scene.words),
    quality=lambda _tokens: perplexity,
)
