"""Flex attention of packed documents: which blocks, and the same numbers as the masked attention.

Flex has no backward pass on CPU: gradients are compared on a GPU only, where there is one.
"""

from __future__ import annotations

import pytest
import torch
from torch.nn.attention.flex_attention import BlockMask, create_block_mask

from minna.models.attention import (
    choose_attention,
    document_mask,
    document_starts,
    fused_attention,
)
from minna.models.flex import document_attention, document_block_mask

ROWS = {
    "many short": 0.05,
    "a few": 0.01,
    "one for all": 0.0,
    "each token alone": 1.0,
}


def segments(share: float, *, tokens: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(tokens)
    return (torch.rand(3, tokens, generator=generator) < share).cumsum(1)


def listed(mask: BlockMask) -> list[list[list[int]]]:
    """The blocks of each kind, in the order of rows."""
    kinds = [
        (mask.kv_num_blocks, mask.kv_indices),
        (mask.full_kv_num_blocks, mask.full_kv_indices),
        (mask.q_num_blocks, mask.q_indices),
        (mask.full_q_num_blocks, mask.full_q_indices),
    ]
    found = []
    for counts, indices in kinds:
        rows = zip(counts.flatten().tolist(), indices.flatten(0, -2).tolist(), strict=True)
        found.append([sorted(row[:count]) for count, row in rows])
    return found


@pytest.mark.parametrize("share", ROWS.values(), ids=ROWS.keys())
@pytest.mark.parametrize("tokens", [64, 200, 384, 512])
def test_the_blocks_are_those_torch_finds_by_looking_at_every_pair(
    share: float, tokens: int
) -> None:
    of = segments(share, tokens=tokens)

    def look(b: torch.Tensor, _h: torch.Tensor, q: torch.Tensor, k: torch.Tensor) -> torch.Tensor:
        return (of[b, q] == of[b, k]) & (k <= q)

    theirs = create_block_mask(look, 3, None, tokens, tokens, device="cpu")
    ours = document_block_mask(document_starts(of))
    assert listed(ours) == listed(theirs)
    assert ours.shape == (3, 1, tokens, tokens)


@pytest.mark.parametrize("heads", [(4, 4), (4, 2), (4, 1)])
@pytest.mark.filterwarnings("ignore:flex_attention called without torch.compile")
def test_it_attends_as_the_masked_attention_does(heads: tuple[int, int]) -> None:
    of = segments(0.02, tokens=200)
    generator = torch.Generator().manual_seed(0)
    q = torch.randn(3, heads[0], 200, 16, generator=generator)
    k, v = torch.randn(2, 3, heads[1], 200, 16, generator=generator)
    with torch.no_grad():
        # a query-key norm under autocast leaves wider queries and keys than values
        ours = document_attention(
            q.double(), k.double(), v, blocks=document_block_mask(document_starts(of))
        )
        theirs = fused_attention(q, k, v, mask=document_mask(of), dropout=0.0)
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-5)


def test_on_cpu_and_in_eager_mode_the_kind_gives_way_to_the_masked_attention() -> None:
    of = segments(0.02, tokens=32)
    q, k, v = torch.randn(3, 3, 2, 32, 16, generator=torch.Generator().manual_seed(0))
    for where in (of, None):
        ours = choose_attention("flex", mask=None, segments_BS=where, dropout=0.0)(q, k, v)
        theirs = choose_attention("fused", mask=None, segments_BS=where, dropout=0.0)(q, k, v)
        assert torch.equal(ours, theirs)


@pytest.mark.full
def test_compiled_it_is_one_kernel_with_the_same_numbers() -> None:
    of = segments(0.02, tokens=256)
    q = torch.randn(3, 4, 256, 32, generator=torch.Generator().manual_seed(0))
    k, v = torch.randn(2, 3, 2, 256, 32, generator=torch.Generator().manual_seed(1))

    def attend(*tensors: torch.Tensor) -> torch.Tensor:
        *qkv, where = tensors
        return document_attention(*qkv, blocks=document_block_mask(document_starts(where)))

    with torch.no_grad():
        ours = torch.compile(attend, fullgraph=True, dynamic=False)(q, k, v, of)
        theirs = fused_attention(q, k, v, mask=document_mask(of), dropout=0.0)
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-5)


@pytest.mark.full
@pytest.mark.skipif(not torch.cuda.is_available(), reason="flex has a backward pass on CUDA only")
def test_on_a_gpu_gradients_are_those_of_the_masked_attention() -> None:
    of = segments(0.02, tokens=512).cuda()
    gradients = []
    for kind in ("flex", "fused"):
        torch.manual_seed(0)
        qkv = [torch.randn(3, heads, 512, 64, device="cuda") for heads in (4, 2, 2)]
        tensors = [x.bfloat16().requires_grad_() for x in qkv]

        def attend(*given: torch.Tensor, kind: str = kind) -> torch.Tensor:
            return choose_attention(kind, mask=None, segments_BS=of, dropout=0.0)(*given)

        torch.compile(attend, fullgraph=True)(*tensors).float().square().sum().backward()
        gradients.append([x.grad.float() for x in tensors])
    for ours, theirs in zip(*gradients, strict=True):
        torch.testing.assert_close(ours, theirs, atol=0.1, rtol=0.05)
