"""Attention of packed documents on a GPU: torch's flex attention and a list of blocks to look at.

With a mask, scaled_dot_product_attention leaves its flash kernel and looks at every pair of a row;
flex attention skips the 128 x 128 blocks that causality or a document's end hides. Of torch's two
ways flex is the one taken, by reading and not by our measurement (no GPU was at hand; `bench/
gpu_pack.py` times both):

- its shapes are fixed by rows and row length, so the compiled step is compiled once and nothing
  waits for the GPU; the other (`torch.nn.attention.varlen`) wants a list of document lengths, which
  is as long as there are documents: another shape each batch, and a wait to learn it;
- a document of 20 tokens is a 128-row tile of its own there; here six of them share one.

Neither has a backward pass on CPU, where `native` and `explicit` serve (models/attention.py).

Documents lie end to end in a row, so which blocks are empty, partial or full follows from where the
first and last query of a block may begin to look: B x (S / 128)^2 small integers, once a forward
pass for all layers, never a [B, S, S] mask.

Shape letters: B rows, S tokens of a row, N = S / 128 blocks, H query heads, K key-value heads.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.attention.flex_attention import BlockMask, flex_attention

BLOCK = 128


def document_block_mask(starts_BS: Tensor) -> BlockMask:
    """Return which blocks of [S, S] hold pairs that causal attention within documents looks at.

    Args:
        starts_BS: where each token's document begins in its row (`attention.document_starts`).
    """
    S = starts_BS.shape[1]
    begin_N = torch.arange(0, S, BLOCK, device=starts_BS.device)
    last_N = begin_N + BLOCK - 1
    # starts never fall along a row: a block's first query looks back furthest, its last the least
    furthest_BN1 = starts_BS[:, begin_N].unsqueeze(2)
    least_BN1 = starts_BS[:, last_N.clamp_max(S - 1)].unsqueeze(2)
    query_N1, key_1N = begin_N.unsqueeze(1), begin_N.unsqueeze(0)
    seen_BNN = (key_1N <= query_N1) & (last_N.unsqueeze(0) >= furthest_BN1)
    # a row's last block is never full where the row ends inside it: torch's own rule
    whole_N1 = (last_N < S).unsqueeze(1)
    full_BNN = (key_1N < query_N1) & (key_1N >= least_BN1) & whole_N1

    def look(b: Tensor, h: Tensor, q: Tensor, k: Tensor) -> Tensor:
        del h  # documents are the same for all heads
        return (k <= q) & (k >= starts_BS[b, q])

    counts, indices = _listed(seen_BNN & ~full_BNN)
    full_counts, full_indices = _listed(full_BNN)
    return BlockMask.from_kv_blocks(
        counts,
        indices,
        full_counts,
        full_indices,
        BLOCK_SIZE=BLOCK,
        mask_mod=look,
        seq_lengths=(S, S),
    )


def _listed(chosen_BNN: Tensor) -> tuple[Tensor, Tensor]:
    """How many key blocks each query block has, and which, those first: [B, 1, N], [B, 1, N, N]."""
    chosen = chosen_BNN.unsqueeze(1).to(torch.int32)
    order = torch.argsort(chosen, dim=-1, descending=True, stable=True)
    return chosen.sum(dim=-1, dtype=torch.int32), order.to(torch.int32)


def document_attention(q: Tensor, k: Tensor, v: Tensor, *, blocks: BlockMask) -> Tensor:
    """Attend where `blocks` says: q [B, H, S, head], k and v [B, K, S, head] -> [B, H, S, head].

    To be traced by torch.compile (a compiled model does): as it stands it writes out all scores.
    """
    # under autocast a query-key norm leaves q and k in fp32, and flex takes no mixture
    q, k = q.to(v.dtype), k.to(v.dtype)
    return flex_attention(q, k, v, block_mask=blocks, enable_gqa=q.shape[1] != k.shape[1])
