"""From a recipe to the parts of a run: model, objective, stream, optimisers, evaluators.

The only file that knows every room of training. The loop below it knows none.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from minna.errors import UsageError
from minna.models import Decoder, find_family
from minna.models.adapters import adapt, adapter_parameters, size_of
from minna.models.attention import EXPLICIT_ATTENTION_TOKENS, AttentionKind
from minna.models.dual import DualEncoder
from minna.models.scorer import Scorer
from minna.models.trainable import set_trainable
from minna.native.attention import knows_head
from minna.recipe.init import initialise
from minna.recipe.kinds import Scene
from minna.recipe.schema import Recipe, attended, check_step_tokens
from minna.recipe.tuning import kind_of
from minna.train.optim import Muon, make_optimisers
from minna.train.parallel import place
from minna.train.precision import Numerics
from minna.train.protocols import Objective, Parts
from minna.train.ranks import ALONE, Ranks
from minna.units import format_bytes, format_count, format_seconds

_HOPED_SHARE = 0.3
# Each rank then has a copy: objectives have weights of their own, or look across ranks.
_WHOLE = ("experience", "pictures", "sentences", "clips", "utterances")


def build_parts(
    recipe: Recipe,
    *,
    tokens: Path,
    tokenizer: Path,
    numerics: Numerics,
    fresh: bool,
    ranks: Ranks = ALONE,
) -> Parts:
    """Put the parts of a run together.

    Args:
        recipe: what to build.
        tokens: token shards of the corpus.
        tokenizer: the tokenizer directory.
        numerics: device and arithmetic.
        fresh: whether weights must be initialised (no checkpoint will replace them).
        ranks: who trains together; the model ends on this one's device, whole or divided.

    Raises:
        UsageError: the sections do not fit the tokenizer or each other.
    """
    accumulation = check_step_tokens(recipe, ranks=ranks.count)
    kind = kind_of(recipe)
    words = kind.words(tokenizer)
    model = kind.model(recipe, words.vocab_size)
    adapter = recipe.adapter
    if fresh or adapter.used or kind.compares:  # a checkpoint of adapters holds nothing else
        initialise(model, recipe)
    flops = model.flops_per_token(row_tokens=attended(recipe))
    learned = None
    if adapter.used:
        assert isinstance(model, Decoder), "the recipe was checked"
        flops = model.flops_per_token(row_tokens=attended(recipe), learns=False)
        flops += 6 * adapter_parameters(model, adapter)
        learned = adapt(model, adapter, device=numerics.device, seed=recipe.train.seed)
        if isinstance(model, Scorer):  # what it judges by is no adapter, and learns
            model.score.requires_grad_(requires_grad=True)
            learned += ["score.weight", "held_out"]
    objective = kind.objective(recipe, model, words, ranks)
    _refuse_parts(recipe, objective, accumulation=accumulation)
    if isinstance(model, Decoder):
        model.attention_kind = attention_kind(
            model, row_tokens=recipe.stream.row_tokens, numerics=numerics
        )
    model.checkpointing = recipe.train.checkpointing
    family = find_family(recipe.model.family)
    patterns = {family.parts.get(key, key): learns for key, learns in recipe.trainable.items()}
    frozen = set_trainable(model, patterns=patterns)
    # parts of one gathered layer must be of one type
    mixed = adapter.used and adapter.base != "fp32"
    whole = mixed or recipe.stream.kind in _WHOLE
    objective.to(torch.device(numerics.device))
    placement = place(
        model,
        objective,
        device=numerics.device,
        sharding="replicate" if whole else recipe.train.sharding,
        units=family.shard_units,
        ranks=ranks,
        precision=numerics.precision,
    )
    scene = Scene(
        recipe=recipe,
        tokens=tokens,
        words=words,
        ranks=ranks,
        numerics=numerics,
        model=model,
        objective=objective,
    )
    if isinstance(model, DualEncoder) and model.image is not None and model.image.locked:
        learned = [name for name in model.state_dict() if not name.startswith("image.")]
    stream = kind.stream(scene)
    assert isinstance(objective, nn.Module), "objectives are modules"
    return Parts(
        model=model,
        objective=objective,
        placement=placement,
        stream=stream,
        optimisers=[
            *make_optimisers(model, settings=recipe.optim),
            *make_optimisers(objective, settings=recipe.optim),
        ],
        schedule=kind.schedule(recipe),
        clip=recipe.optim.clip,
        evaluators=kind.looks(scene, stream),
        weights=kind.terms(recipe),
        micro_batch_tokens=recipe.train.micro_batch_rows * recipe.stream.row_tokens * ranks.count,
        accumulation=accumulation,
        flops_per_token=flops,
        quality=kind.quality(tokens),
        told=kind.told,
        frozen=frozen,
        kept=learned,
    )


def _refuse_parts(recipe: Recipe, objective: Objective, *, accumulation: int) -> None:
    if accumulation > 1 and not objective.splittable:
        raise UsageError(
            f"objective {recipe.objective.kind} needs the whole step in one batch, and "
            f"train.tokens_per_step asks for {accumulation} micro-batches",
            remedy="raise train.micro_batch_rows or lower train.tokens_per_step",
        )


def arithmetic(recipe: Recipe, *, parts: Parts, tokens: Path, numerics: Numerics) -> list[str]:
    """Return the numbers that follow from a recipe, as lines to read before step 0."""
    settings = recipe.train
    rows, row = settings.micro_batch_rows, recipe.stream.row_tokens
    parameters = size_of(parts.model)
    weights = sum(p.numel() * p.element_size() for p in parts.model.parameters())
    learning = sum(p.numel() for p in parts.model.parameters() if p.requires_grad)
    data = kind_of(recipe).data(tokens)
    states = sum(_state_bytes(optimiser) for optimiser in parts.optimisers)
    fixed = weights + 4 * learning + states
    hoped = (
        numerics.peak
        * parts.placement.ranks.count
        * _HOPED_SHARE
        / (settings.tokens_per_step * parts.flops_per_token)
    )
    budget = settings.budget
    steps = budget.steps if budget.seconds is None else min(budget.steps, budget.seconds * hoped)
    total = settings.tokens_per_step * steps
    length = (
        f"{budget.steps} steps"
        if budget.seconds is None
        else f"{format_seconds(budget.seconds)} of training; at {_HOPED_SHARE:.0%} of the matrix "
        f"peak {format_count(round(steps))} steps"
    )
    ranks = parts.placement.ranks
    among = "" if ranks.alone else f" x {ranks.count} ranks ({parts.placement.kind})"
    facts = {
        "recipe": f"{recipe.name}: {recipe.description}",
        "model": f"{format_count(parameters)} parameters ({format_count(learning)} learn), "
        f"{format_bytes(fixed)} of weights, gradients and optimiser state",
        "data": data.words(),
        "step": f"{rows} rows x {row} tokens x {parts.accumulation} micro-batches{among} = "
        f"{settings.tokens_per_step} tokens",
        "run": f"{length} = {format_count(total)} tokens = "
        f"{data.epochs(tokens=total, row_tokens=row):.2f} epochs, "
        f"{total * parts.flops_per_token:.2e} FLOPs",
        "machine": f"{numerics.device}, {numerics.precision}, compile {numerics.compile}, "
        f"{numerics.kernels} kernels, {parts.model.attention_kind} attention, "
        f"{numerics.peak / 1e9:.0f} GFLOP/s matrix peak measured; "
        f"at {_HOPED_SHARE:.0%} of it {format_seconds(steps / hoped)}",
    }
    return [f"{name:<9} {text}" for name, text in facts.items()]


def attention_kind(model: Decoder, *, row_tokens: int, numerics: Numerics) -> AttentionKind:
    """Return how to train: our own kernel where there is one, else what torch does best."""
    if numerics.device == "cuda" and numerics.compile == "on":
        return "flex"  # for rows with documents apart; else causal flash
    known = knows_head(model.config.head_width) and model.config.dropout == 0
    if numerics.kernels == "native" and known:
        return "native"
    short = row_tokens <= EXPLICIT_ATTENTION_TOKENS
    if numerics.device == "cpu" and numerics.compile == "on" and short:
        return "explicit"
    return "fused"


def _state_bytes(optimiser: torch.optim.Optimizer) -> int:
    """Bytes of optimiser state: two fp32 numbers a parameter for AdamW, one for Muon."""
    numbers = 1 if isinstance(optimiser, Muon) else 2
    groups = optimiser.param_groups
    return 4 * numbers * sum(p.numel() for group in groups for p in group["params"])
