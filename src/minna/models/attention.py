"""The ways to attend: one signature, chosen once a forward pass, the same numbers from all.

- `fused`: torch's scaled_dot_product_attention; knows caches, masks and dropout.
- `explicit`: softmax(q k^T) v written out in blocks, for torch.compile to fuse on CPU.
- `native`: our own kernel for CPUs with AVX-512 or AMX (minna/native); looks at no pair that a
  document boundary or causality hides.
- `flex`: torch's flex attention for packed documents on a GPU, in a compiled model (flex.py).

Shape letters: B rows, S queries, T keys, H query heads, K key-value heads, all heads `head` wide.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from minna.models.flex import document_attention, document_block_mask
from minna.native import attention as native

# Rows up to this length attend by explicit softmax(QK^T)V when the model is compiled for CPU and
# there is no native kernel, in blocks of queries that look only at the keys up to their end. The
# scores it keeps for the backward pass cost 0.9 GB at 16 rows of 512 (6 heads), so long rows stay
# flash.
EXPLICIT_ATTENTION_TOKENS = 256
_QUERY_BLOCK = 128

AttentionKind = Literal["fused", "explicit", "native", "flex"]

# (q [B, H, S, head], k [B, K, T, head], v [B, K, T, head]) -> [B, H, S, head]
Attention = Callable[[Tensor, Tensor, Tensor], Tensor]


def choose_attention(
    kind: AttentionKind, *, mask: Tensor | None, segments_BS: Tensor | None, dropout: float
) -> Attention:
    """Return the attention of one forward pass.

    Args:
        kind: the way hoped for; `native` and `flex` know no dropout and no free mask, and give way
            to `fused` there.
        mask: boolean, broadcastable to [B, H, S, T], True where a token may look; None is causal.
        segments_BS: the document of each token: causal within each.
        dropout: share of attention weights dropped.
    """
    if kind == "flex" and _flex_serves(segments_BS, mask=mask, dropout=dropout):
        assert segments_BS is not None
        blocks = document_block_mask(document_starts(segments_BS))
        return partial(document_attention, blocks=blocks)
    if kind == "explicit":
        if segments_BS is not None:
            mask = document_mask(segments_BS)
        return partial(explicit_attention, mask=mask, dropout=dropout)
    if kind == "native" and mask is None and dropout == 0:
        starts_BS = None if segments_BS is None else document_starts(segments_BS)
        return partial(native_attention, starts_BS=starts_BS)
    if segments_BS is not None:
        mask = document_mask(segments_BS)
    return partial(fused_attention, mask=mask, dropout=dropout)


def _flex_serves(segments_BS: Tensor | None, *, mask: Tensor | None, dropout: float) -> bool:
    """Whether flex attention is both possible and worth it.

    Without documents, causal flash is as fast; in eager mode (compile off, or failed) flex writes
    out all scores, more than the masked fused attention does; on CPU it has no backward pass.
    """
    return (
        segments_BS is not None
        and segments_BS.is_cuda
        and mask is None
        and not dropout
        and torch.compiler.is_compiling()
    )


def document_mask(segments_BS: Tensor) -> Tensor:
    """Causal within each document: boolean [B, 1, S, S], True where a token may look."""
    same_BSS = segments_BS.unsqueeze(2) == segments_BS.unsqueeze(1)
    return same_BSS.tril().unsqueeze(1)


def document_starts(segments_BS: Tensor) -> Tensor:
    """The first position in its row of each token's document: int32 [B, S].

    What a causal kernel needs to know of documents: query i looks at keys starts[i] .. i.
    """
    S = segments_BS.shape[1]
    place_S = torch.arange(S, device=segments_BS.device, dtype=torch.int32)
    new_BS = torch.ones_like(segments_BS, dtype=torch.bool)
    new_BS[:, 1:] = segments_BS[:, 1:] != segments_BS[:, :-1]
    return torch.where(new_BS, place_S, 0).cummax(dim=1).values.to(torch.int32)


def fused_attention(
    q: Tensor, k: Tensor, v: Tensor, *, mask: Tensor | None, dropout: float
) -> Tensor:
    """Torch's own attention; without a mask causal, unless one query looks at everything."""
    return F.scaled_dot_product_attention(
        q,
        k,
        v,
        attn_mask=mask,
        dropout_p=dropout,
        is_causal=mask is None and q.shape[2] > 1,
        enable_gqa=q.shape[1] != k.shape[1],
    )


def native_attention(q: Tensor, k: Tensor, v: Tensor, *, starts_BS: Tensor | None) -> Tensor:
    """Our own kernel where it knows the call, else the fused one; documents from their starts.

    Under autocast it runs in the autocast type, as torch's attention does.
    """
    device = q.device.type
    if torch.is_autocast_enabled(device):
        dtype = torch.get_autocast_dtype(device)
        q, k, v = q.to(dtype), k.to(dtype), v.to(dtype)
    if native.fits(q, k):
        return native.attention(q, k, v, starts_BS=starts_BS)
    mask = None if starts_BS is None else document_mask(starts_BS)
    return fused_attention(q, k, v, mask=mask, dropout=0.0)


def explicit_attention(
    q: Tensor, k: Tensor, v: Tensor, *, mask: Tensor | None, dropout: float
) -> Tensor:
    """softmax(q k^T / sqrt(head)) v with the scores written out, for the compiler to fuse.

    Shapes as in scaled_dot_product_attention: q [B, H, S, head], k and v [B, K, T, head]. `mask`
    must be causal or stricter: keys after a block of queries are never looked at.
    """
    if q.shape[1] != k.shape[1]:
        k = k.repeat_interleave(q.shape[1] // k.shape[1], dim=1)
        v = v.repeat_interleave(q.shape[1] // v.shape[1], dim=1)
    S, T = q.shape[2], k.shape[2]
    pieces: list[Tensor] = []
    for start in range(0, S, _QUERY_BLOCK):
        end = min(start + _QUERY_BLOCK, S)
        seen = T - S + end  # a causal query never looks past its own place
        if mask is None:
            ones = torch.ones(end - start, seen, dtype=torch.bool, device=q.device)
            block = ones.tril(T - S + start)
        else:
            block = mask[..., start:end, :seen]
        scores = (q[:, :, start:end] @ k[:, :, :seen].transpose(-1, -2)).float()
        scores = (scores * q.shape[-1] ** -0.5).masked_fill(~block, float("-inf"))
        weights = F.dropout(scores.softmax(dim=-1).to(v.dtype), dropout, training=dropout > 0)
        pieces.append(weights @ v[:, :, :seen])
    return torch.cat(pieces, dim=2)
