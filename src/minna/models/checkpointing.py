"""What a layer keeps from its forward pass for its backward pass, and what it computes again.

The memory of activations grows with the tokens of a micro-batch, and on long rows or large models
it is what does not fit. Three ways, the same gradients from all (tests/models/test_checkpointing):

- `none`: keep what autograd asks for;
- `selective`: keep what is dear to compute, the products with weight matrices and the output of
  attention; norms, rotations, activations and dropout are computed again, which costs passes over
  memory and no product;
- `full`: keep a layer's input alone and run it again: a third more products (Chen et al. 2016,
  arXiv:1604.06174, with one segment per layer).

The choice acts inside a layer, so that torch.compile sees it in whatever is compiled (the model, or
layer by layer between FSDP2's gathering of weights), and random states are kept by torch.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor
from torch.utils.checkpoint import (
    CheckpointPolicy,
    checkpoint,
    create_selective_checkpoint_contexts,
)

from minna.native.attention import OPERATOR as NATIVE_ATTENTION

Checkpointing = Literal["none", "selective", "full"]

_ATEN = torch.ops.aten
# What `selective` keeps. `bmm` is not here: a product of two activations is attention written out
# (`explicit`), whose scores are the one thing that must not be kept.
_KEPT = frozenset(
    (
        _ATEN.mm.default,
        _ATEN.addmm.default,
        _ATEN._scaled_dot_product_flash_attention.default,  # noqa: SLF001
        _ATEN._scaled_dot_product_flash_attention_for_cpu.default,  # noqa: SLF001
        _ATEN._scaled_dot_product_efficient_attention.default,  # noqa: SLF001
        _ATEN._scaled_dot_product_cudnn_attention.default,  # noqa: SLF001
        torch.ops.higher_order.flex_attention,
        NATIVE_ATTENTION,
    )
)


def run(how: Checkpointing, layer: Callable[..., Tensor], *inputs: Any) -> Tensor:
    """Run `layer(*inputs)`, keeping for its backward pass what `how` says."""
    if how == "none":
        return layer(*inputs)
    if how == "full":
        return checkpoint(layer, *inputs, use_reentrant=False)  # type: ignore[no-any-return]
    return checkpoint(layer, *inputs, use_reentrant=False, context_fn=_contexts)  # type: ignore[no-any-return]


def _policy(_context: Any, operator: Any, *_: Any, **__: Any) -> CheckpointPolicy:
    return CheckpointPolicy.MUST_SAVE if operator in _KEPT else CheckpointPolicy.PREFER_RECOMPUTE


_contexts = functools.partial(create_selective_checkpoint_contexts, _policy)
