"""Torch's ways to attend within documents on a GPU, timed alone (a section of the GPU pack).

minna takes `flex` by reading (models/flex.py); this is where the choice meets a clock.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from minna.models.attention import document_mask, document_starts, fused_attention
from minna.models.flex import document_attention, document_block_mask

WAYS = ("flex", "variable length", "masked sdpa", "causal across documents")
_TIMES = 20


def measure(name: str, *, segments: Tensor, heads: tuple[int, int], device: str) -> dict[str, Any]:
    """Milliseconds of one layer's attention, forward and (on a GPU) backward.

    Args:
        name: one of `WAYS`. What it needs to know of documents is timed apart (`blocks_ms`):
            training makes it once for all layers, and fused with the rest.
        segments: [B, S], the documents of real rows.
        heads: how many, and how wide.
        device: "cuda", or "cpu" for the forward pass alone.
    """
    cuda = device == "cuda"
    segments = segments.to(device)
    B, S = segments.shape
    dtype = torch.bfloat16 if cuda else torch.float32
    shape = (B, heads[0], S, heads[1])
    qkv = [torch.randn(shape, device=device, dtype=dtype, requires_grad=cuda) for _ in range(3)]
    prepare = _PREPARE[name]
    found = prepare(segments)
    attend = torch.compile(_ATTEND[name]) if name == "flex" and cuda else _ATTEND[name]
    with torch.set_grad_enabled(cuda):
        forward = _milliseconds(lambda: attend(*qkv, found), device)
        both = None
        if cuda:
            given = torch.randn(shape, device=device, dtype=dtype)

            def step() -> None:
                torch.autograd.grad(attend(*qkv, found), qkv, given)

            both = _milliseconds(step, device)
    return {
        "forward_ms": forward,
        "forward_backward_ms": both,
        "blocks_ms": _milliseconds(lambda: prepare(segments), device),
        "shape_BHSd": shape,
        "documents": int(document_ends(segments).numel() - 1),
    }


def document_ends(segments_BS: Tensor) -> Tensor:
    """Where documents begin and end in the tokens of all rows: int32 [documents + 1], from 0."""
    new_BS = torch.ones_like(segments_BS, dtype=torch.bool)
    new_BS[:, 1:] = segments_BS[:, 1:] != segments_BS[:, :-1]
    begins = new_BS.flatten().nonzero().flatten().to(torch.int32)
    return torch.cat((begins, begins.new_tensor([segments_BS.numel()])))


def variable_length(q: Tensor, k: Tensor, v: Tensor, ends: Tensor) -> Tensor:
    """Flash attention over a list of documents: q, k and v [B, H, S, head], bf16 on CUDA."""
    from torch.nn.attention.varlen import varlen_attn

    B, H, S, head = q.shape
    flat = [x.transpose(1, 2).reshape(B * S, H, head) for x in (q, k, v)]
    # S is a bound of the longest document: to ask for the longest would wait for the GPU
    out = varlen_attn(*flat, ends, ends, S, S, window_size=(-1, 0))
    assert isinstance(out, Tensor)
    return out.view(B, S, H, head).transpose(1, 2)


_PREPARE: dict[str, Callable[[Tensor], Any]] = {
    "flex": lambda segments: document_block_mask(document_starts(segments)),
    "variable length": document_ends,
    "masked sdpa": document_mask,
    "causal across documents": lambda _: None,
}
_ATTEND: dict[str, Callable[..., Tensor]] = {
    "flex": lambda q, k, v, blocks: document_attention(q, k, v, blocks=blocks),
    "variable length": variable_length,
    "masked sdpa": lambda q, k, v, mask: fused_attention(q, k, v, mask=mask, dropout=0.0),
    "causal across documents": lambda q, k, v, _: fused_attention(q, k, v, mask=None, dropout=0.0),
}


def _milliseconds(do: Callable[[], object], device: str) -> float:
    """Mean of `_TIMES` in a row after two to warm up."""
    for _ in range(2):
        do()
    if device == "cuda":
        torch.cuda.synchronize()
    start = time.perf_counter()
    for _ in range(_TIMES):
        do()
    if device == "cuda":
        torch.cuda.synchronize()
    return 1000 * (time.perf_counter() - start) / _TIMES
