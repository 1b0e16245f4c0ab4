"""What a plan must know of a model, counted on the meta device: every shape, no weight.

Nothing here knows a family. A model is some modules that repeat (its record's `shard_units`), what
stands around them, and a head; parameters and matrices are counted where they are, so that a family
added later is planned without a line here.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import torch
from torch import nn

from minna.models import build, find_family
from minna.models.decoder import FusedLinear
from minna.models.trainable import set_trainable
from minna.recipe.schema import Recipe
from minna.train.optim import MuonSettings


@dataclass(frozen=True, kw_only=True)
class Anatomy:
    """The numbers of a model that bytes and seconds follow from.

    Attributes:
        parameters, learning: of the whole model.
        units: modules that repeat (layers).
        unit: parameters of the largest of them.
        unit_matrices: of these, the entries of matrices.
        inputs: features that enter the matrices of a unit, shared ones once.
        outputs: features that its matrices put out together.
        widest: the most that one of them puts out.
        outputs_off_stream: of these, what does not go back into the stream.
        attention: features of all query heads.
        rotated: features of queries and keys, where positions turn them; else 0.
        around: parameters outside the units (embeddings, last norm, head).
        width, heads, vocab: features of the stream, query heads of a unit, words of the head.
        state_numbers: numbers that the optimisers keep.
        flops: of one trained token, forward and backward (PaLM, appendix B).
        forward: of the units' forward pass alone, per token.
    """

    parameters: int
    learning: int
    units: int
    unit: int
    unit_matrices: int
    inputs: int
    outputs: int
    widest: int
    outputs_off_stream: int
    attention: int
    rotated: int
    around: int
    width: int
    heads: int
    vocab: int
    state_numbers: int
    flops: int
    forward: int


def anatomy(recipe: Recipe, *, vocab: int) -> Anatomy:
    """Count the model of a recipe.

    Args:
        recipe: whose model it is.
        vocab: words of its tokenizer.

    Raises:
        UsageError: the recipe's own vocabulary is smaller, or a `trainable` pattern fits nothing.
    """
    shape, row = recipe.model, recipe.stream.row_tokens
    with torch.device("meta"):
        model = build(shape, vocab=vocab)
    family = find_family(shape.family)
    named = family.parts
    set_trainable(model, patterns={named.get(k, k): v for k, v in recipe.trainable.items()})
    units = {n: m for n, m in model.named_modules() if re.search(family.shard_units, n)}
    assert units, f"no module of {shape.family} is called {family.shard_units}"
    largest = max(units.values(), key=_size)
    inside = sum(_size(unit) for unit in units.values())
    words = vocab if shape.vocab is None else shape.vocab
    flops = model.flops_per_token(row_tokens=row)
    return Anatomy(
        parameters=_size(model),
        learning=sum(p.numel() for p in model.parameters() if p.requires_grad),
        units=len(units),
        unit=_size(largest),
        unit_matrices=sum(m.weight.numel() for m in _matrices(largest)),
        # tables of angles are the only buffers a model has
        **_features(largest, width=shape.width, turned=any(b.numel() for b in model.buffers())),
        around=_size(model) - inside,
        width=shape.width,
        heads=shape.heads,
        vocab=words,
        state_numbers=_state_numbers(recipe, model, list(units)),
        flops=flops,
        forward=flops // 3 - 2 * words * shape.width,
    )


def _size(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def _matrices(module: nn.Module) -> list[nn.Linear]:
    return [m for m in module.modules() if isinstance(m, nn.Linear)]


def _features(unit: nn.Module, *, width: int, turned: bool) -> dict[str, int]:
    """Features that go in and out of a unit's matrices.

    A matrix whose output is as wide as the stream leads back into it, and has an input of its own;
    of the others those of one module and height (gate and up) share theirs.
    """
    leaving = [m for m in _matrices(unit) if m.out_features != width]
    returning = [m for m in _matrices(unit) if m.out_features == width]
    entered = {
        (parent, child.out_features)
        for parent in unit.modules()
        for child in parent.children()
        if child in leaving
    }
    fused = [m for m in unit.modules() if isinstance(m, FusedLinear)]
    queries = fused[0].heights[0] if fused else width
    return {
        "inputs": width * len(entered) + sum(m.in_features for m in returning),
        "outputs": sum(m.out_features for m in _matrices(unit)),
        "widest": max(m.out_features for m in _matrices(unit)),
        "outputs_off_stream": sum(m.out_features for m in leaving),
        "attention": queries,
        "rotated": sum(fused[0].heights[:2]) if fused and turned else 0,
    }


def _state_numbers(recipe: Recipe, model: nn.Module, units: list[str]) -> int:
    """Two numbers for each parameter of AdamW; Muon keeps one for each matrix of a unit."""
    total = 0
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        in_unit = any(name.startswith(f"{unit}.") for unit in units)
        by_muon = isinstance(recipe.optim, MuonSettings) and in_unit and parameter.ndim > 1
        total += parameter.numel() * (1 if by_muon else 2)
    return total
