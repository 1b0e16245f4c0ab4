"""What a plan must know of a model, counted on the meta device: every shape, no weight.

Nothing here knows a family. A model is some modules that repeat (its record's `shard_units`), what
stands around them, and a head; parameters and matrices are counted where they are, so that a family
added later is planned without a line here.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn

from minna.models import Decoder, build, find_family
from minna.models.adapters import AdapterSettings, adapter_parameters
from minna.models.decoder import FusedLinear
from minna.models.speech.config import STRIDES
from minna.models.speech.encoder import SpeechEncoder
from minna.models.speech.recogniser import SpeechRecogniser
from minna.models.trainable import set_trainable
from minna.objectives import GRPOSettings, PPOSettings
from minna.recipe.schema import Recipe, attended
from minna.runtime.reward import RULE
from minna.streams import ExperienceSettings
from minna.train.optim import MuonSettings

_FP32 = 4
# Half a byte, an 8-bit scale for each 64 and an fp32 one for each 256 of those (Dettmers et al.
# 2023, section 3: 0.127 bits a parameter).
_NF4 = 0.5 + 1 / 64 + 4 / (64 * 256)


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
        stored: bytes of all weights as they are kept.
        base: how frozen weights are kept beside adapters; None where all are fp32 and learn.
        adapted: numbers a token of one unit that adapters keep for the backward pass.
        largest: entries of the largest matrix of a unit.
        beside: bytes of other networks that every rank holds whole: the reference that a policy is
            compared with, a critic with its gradients and moments, a reward model.
        front: numbers a token that convolutions before the units keep for the backward pass.
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
    stored: int
    base: Literal["fp32", "bf16", "nf4"] | None
    adapted: int
    largest: int
    beside: int = 0
    front: int = 0


def anatomy(recipe: Recipe, *, vocab: int) -> Anatomy:
    """Count the model of a recipe.

    Args:
        recipe: whose model it is.
        vocab: words of its tokenizer.

    Raises:
        UsageError: the recipe's own vocabulary is smaller, or a `trainable` pattern fits nothing.
    """
    shape, row = recipe.model, attended(recipe)
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
    whole = flops = model.flops_per_token(row_tokens=row)
    parameters, stored = _size(model), _FP32 * _size(model)
    learning = sum(p.numel() for p in model.parameters() if p.requires_grad)
    state_numbers = _state_numbers(recipe, model, list(units))
    adapter, adapted = recipe.adapter, 0
    if adapter.used and isinstance(model, Decoder):
        learning = adapter_parameters(model, adapter)
        flops = model.flops_per_token(row_tokens=row, learns=False) + 6 * learning
        stored = _stored(model, adapter.base) + _FP32 * learning
        parameters += learning
        state_numbers = 2 * learning
        adapted = _adapted(largest, adapter)
    return Anatomy(
        parameters=parameters,
        learning=learning,
        units=len(units),
        unit=_size(largest),
        unit_matrices=sum(m.weight.numel() for m in _matrices(largest)),
        # tables of angles are the only buffers a model has
        **_features(largest, width=shape.width, turned=any(b.numel() for b in model.buffers())),
        around=_size(model) - inside,
        width=shape.width,
        heads=shape.heads,
        vocab=words,
        state_numbers=state_numbers,
        flops=flops,
        forward=whole // 3 - 2 * words * shape.width,
        stored=stored,
        base=adapter.base if adapter.used else None,
        adapted=adapted,
        largest=max(m.weight.numel() for m in _matrices(largest)),
        beside=_beside(recipe, parameters=_size(model)),
        front=_front(model),
    )


def _front(model: nn.Module) -> int:
    """Numbers a frame that the convolutions of speech keep: before their activation and after.

    Where every step is normed, also before that (a norm over time is a scale of the weights).
    Nothing is kept of those that do not learn.
    """
    body = model.body if isinstance(model, SpeechRecogniser) else model
    if not isinstance(body, SpeechEncoder):
        return 0
    found, often = 0, math.prod(STRIDES)
    times = 3 if body.config.conv_norm == "layer" else 2
    for layer in body.feature_extractor.conv_layers:
        often //= int(layer.conv.stride[0])
        found += times * often * int(layer.conv.out_channels) * layer.conv.weight.requires_grad
    return found


def _beside(recipe: Recipe, *, parameters: int) -> int:
    """Bytes of the other networks of tuning, each taken to be as large as the model, in fp32."""
    told, stream = recipe.objective, recipe.stream
    compares = told.kind in ("dpo", "ppo") or (isinstance(told, GRPOSettings) and told.kl > 0)
    copies = 1 if compares and not recipe.adapter.used else 0
    if isinstance(stream, ExperienceSettings) and not stream.reward.startswith(RULE):
        copies += 1
    if isinstance(told, PPOSettings) and told.critic != "head":
        copies += 4  # weights, gradients, two moments
    return _FP32 * copies * parameters


def _stored(model: nn.Module, base: Literal["fp32", "bf16", "nf4"]) -> int:
    """Bytes of frozen weights: norms in fp32, what is large as `adapter.base` says."""
    total = 0.0
    for name, module in model.named_modules():
        own = sum(p.numel() for p in module.parameters(recurse=False))
        each = float(_FP32)
        if isinstance(module, (nn.Linear, nn.Embedding)) and base != "fp32":
            each = 2.0
            if base == "nf4" and isinstance(module, nn.Linear) and name.startswith("layers."):
                each = _NF4
        total += each * own
    return round(total)


def _adapted(unit: nn.Module, settings: AdapterSettings) -> int:
    """What adapters keep of a token: what A makes of it; beside 4-bit matrices, what enters, too.

    Those are one operator to the compiler, which keeps its own copy in bf16.
    """
    own = settings.base == "nf4"
    return sum(
        own * child.in_features + settings.rank
        for parent in unit.modules()
        for name, child in parent.named_children()
        if isinstance(child, nn.Linear) and name in settings.targets
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
