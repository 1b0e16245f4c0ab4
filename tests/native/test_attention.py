"""Our attention against float64: values and gradients, every shape and type, any thread count."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.machine import needs_kernels

from minna.models.attention import choose_attention, document_starts
from minna.native import attention as native

pytestmark = needs_kernels
EPS = {torch.bfloat16: 2**-8, torch.float32: 2**-23}


def ready(dtype):
    """Whether this type must work here: a CPU without bf16 instructions trains in fp32."""
    if dtype is torch.bfloat16 and not torch.cpu._is_avx512_bf16_supported():
        pytest.skip("this CPU has no bf16 instructions")
    assert native.ready(dtype)


def documents(lengths, rows):
    """Starts [rows, S] of documents of these lengths; every row is turned a little further."""
    segments = torch.repeat_interleave(torch.arange(len(lengths)), torch.tensor(lengths))
    return document_starts(torch.stack([segments.roll(3 * row) for row in range(rows)]))


def visible(S, starts):
    place = torch.arange(S)
    causal = place.unsqueeze(0) <= place.unsqueeze(1)
    if starts is None:
        return causal.expand(1, 1, S, S)
    return (causal & (place >= starts.unsqueeze(-1))).unsqueeze(1)


def inputs(B, H, K, S, head, dtype, *, layout="qkv", seed=0):
    """q, k, v and a gradient; as views of one fused matrix, or heads first, or features apart."""
    generator = torch.Generator().manual_seed(seed)
    if layout == "qkv":
        whole = torch.randn(B, S, (H + 2 * K) * head, generator=generator).to(dtype)
        parts = whole.split([H * head, K * head, K * head], dim=-1)
        q, k, v = (x.unflatten(-1, (-1, head)).transpose(1, 2) for x in parts)
    elif layout == "heads":
        q, k, v = (torch.randn(B, n, S, head, generator=generator).to(dtype) for n in (H, K, K))
    else:
        q, k, v = (
            torch.randn(B, n, head, S, generator=generator).to(dtype).transpose(2, 3)
            for n in (H, K, K)
        )
    grad = torch.randn(B, S, H, head, generator=generator).to(dtype).transpose(1, 2)
    return q, k, v, grad


def ours(q, k, v, starts):
    return native.attention(q, k, v, starts_BS=starts)


def plain(q, k, v, starts):
    """softmax(q k^T / sqrt(head)) v as written, in the type given."""
    group = q.shape[1] // k.shape[1]
    k, v = (x.repeat_interleave(group, dim=1) for x in (k, v))
    scores = q @ k.transpose(-1, -2) * q.shape[-1] ** -0.5
    scores = scores.masked_fill(~visible(q.shape[2], starts), float("-inf"))
    return scores.softmax(-1) @ v


def flash(q, k, v, starts):
    mask = None if starts is None else visible(q.shape[2], starts)
    return F.scaled_dot_product_attention(
        q, k, v, attn_mask=mask, is_causal=mask is None, enable_gqa=q.shape[1] != k.shape[1]
    )


def run(attend, q, k, v, grad, starts):
    q, k, v = (x.detach().requires_grad_() for x in (q, k, v))
    out = attend(q, k, v, starts)
    return (out.detach(), *torch.autograd.grad(out, (q, k, v), grad))


def check(q, k, v, grad, starts):
    """Not further from float64 than 1.5 times torch's own attention, and a rounding or two.

    Every score's gradient is a difference of two fp32 sums of `head` products of about 1, whence
    the last term: where one key has all the weight it is zero, and rounding is all there is.
    """
    exact = run(plain, q.double(), k.double(), v.double(), grad.double(), starts)
    theirs = run(flash, q, k, v, grad, starts)
    given = run(ours, q, k, v, grad, starts)
    sums = q.shape[-1] * EPS[torch.float32]
    for name, a, b, x in zip(("out", "dq", "dk", "dv"), given, theirs, exact, strict=True):
        assert a.dtype is q.dtype and a.shape == x.shape
        for norm, roundings in ((worst, 3), (typical, 1)):
            allowed = 1.5 * norm(b - x) + roundings * EPS[q.dtype] * norm(x) + sums
            assert norm(a - x) <= allowed, (name, norm.__name__)


def worst(x):
    return x.abs().max().item()


def typical(x):
    return x.square().mean().sqrt().item()


@given(
    B=st.integers(1, 3),
    heads=st.sampled_from([(1, 1), (2, 2), (4, 2), (3, 1), (6, 6)]),
    lengths=st.lists(st.integers(1, 90), min_size=1, max_size=6),
    head=st.sampled_from([16, 32, 48, 64, 80, 128]),
    dtype=st.sampled_from([torch.bfloat16, torch.float32]),
    apart=st.booleans(),
    layout=st.sampled_from(["qkv", "heads", "features"]),
    seed=st.integers(0, 99),
)
@settings(max_examples=60, deadline=None)
def test_values_and_gradients_are_as_near_to_float64_as_torch_s_own(
    B, heads, lengths, head, dtype, apart, layout, seed
):
    ready(dtype)
    starts = documents(lengths, B) if apart else None
    check(*inputs(B, *heads, sum(lengths), head, dtype, layout=layout, seed=seed), starts)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
@pytest.mark.parametrize("S", [1, 2, 31, 32, 33, 64, 192, 193, 512, 577])
def test_every_edge_of_a_block(S, dtype):
    ready(dtype)
    check(*inputs(1, 2, 1, S, 64, dtype), None)


@pytest.mark.parametrize(
    "lengths",
    [[1] * 70, [64, 64, 64, 64, 1], [63, 2, 63, 65, 130], [1, 299], [299, 1], [600, 1, 20]],
    ids=str,
)
def test_documents_that_end_on_and_cross_the_edges_of_blocks(lengths):
    ready(torch.float32)
    check(*inputs(2, 2, 2, sum(lengths), 32, torch.float32), documents(lengths, 2))


def test_large_scores_and_heads_of_256():
    ready(torch.float32)
    q, k, v, grad = inputs(1, 1, 1, 100, 256, torch.float32)
    check(30 * q, k, v, grad, None)


def test_a_hidden_document_changes_not_one_bit():
    ready(torch.float32)
    starts = documents([100, 150], 1)
    q, k, v, grad = inputs(1, 2, 2, 250, 32, torch.float32)
    before = run(ours, q, k, v, grad, starts)
    for x in (q, k, v, grad):
        x[:, :, :100] += 5
    after = run(ours, q, k, v, grad, starts)
    assert all(
        torch.equal(a[:, :, 100:], b[:, :, 100:]) for a, b in zip(before, after, strict=True)
    )


def test_nan_is_not_hidden():
    ready(torch.float32)
    q, k, v, grad = inputs(1, 1, 1, 40, 32, torch.float32)
    k[0, 0, 7, 3] = float("nan")
    out, dq, _, _ = run(ours, q, k, v, grad, None)
    assert out[0, 0, 7:].isnan().all() and dq[0, 0, 7:].isnan().all()
    assert not out[0, 0, :7].isnan().any()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_the_same_bits_for_any_number_of_threads(dtype):
    ready(dtype)
    given, before = [], torch.get_num_threads()
    # one key-value head for several threads: its query blocks are shared out too
    q, k, v, grad = inputs(1, 3, 1, 400, 64, dtype)
    starts = documents([30, 200, 170], 1)
    try:
        for threads in (1, 2, 5):
            torch.set_num_threads(threads)
            given += [run(ours, q, k, v, grad, starts) for _ in range(2)]
    finally:
        torch.set_num_threads(before)
    for one in given[1:]:
        assert all(torch.equal(a, b) for a, b in zip(one, given[0], strict=True))


@pytest.mark.parametrize("apart", [False, True])
def test_torch_finds_the_operators_well_made(apart):
    ready(torch.float32)
    q, k, v, _ = inputs(2, 2, 1, 33, 16, torch.float32)
    starts = documents([20, 13], 2) if apart else None
    arguments = (*(x.detach().requires_grad_() for x in (q, k, v)), starts)
    torch.library.opcheck(torch.ops.minna.attention.default, arguments)


@pytest.mark.parametrize("backend", ["aot_eager", pytest.param("inductor", marks=pytest.mark.full)])
def test_compiled_is_eager(backend):
    ready(torch.float32)
    whole = torch.randn(2, 40, 3 * 64, generator=torch.Generator().manual_seed(0))
    segments = torch.arange(40).div(15, rounding_mode="floor").expand(2, 40)

    def block(whole):
        q, k, v = (x.unflatten(-1, (2, 32)).transpose(1, 2) for x in whole.split(64, dim=-1))
        attend = choose_attention("native", mask=None, segments_BS=segments, dropout=0.0)
        out = attend(q * 2, k.sin(), v)
        return out.transpose(1, 2).reshape(2, 40, 64).square().sum()

    found = []
    for call in (block, torch.compile(block, backend=backend, dynamic=False, fullgraph=True)):
        leaf = whole.clone().requires_grad_()
        loss = call(leaf)
        found.append((loss.detach(), *torch.autograd.grad(loss, leaf)))
    for a, b in zip(*found, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)


def test_no_copy_in_no_copy_out():
    ready(torch.float32)
    q, k, v, grad = inputs(2, 4, 2, 50, 32, torch.float32)
    for x in run(ours, q, k, v, grad, None):
        assert x.transpose(1, 2).is_contiguous()


def test_what_the_kernel_does_not_know_goes_to_torch():
    q, k, v, _ = inputs(1, 2, 2, 20, 24, torch.float32)
    assert not native.fits(q, k) and not native.fits(q.half(), k.half())
    segments = torch.tensor([[0] * 5 + [1] * 15])
    attend = choose_attention("native", mask=None, segments_BS=segments, dropout=0.0)
    wanted = plain(q, k, v, document_starts(segments))
    torch.testing.assert_close(attend(q, k, v), wanted, rtol=1e-4, atol=1e-5)


def test_a_free_mask_and_dropout_give_way_to_torch():
    mask = torch.ones(1, 1, 8, 8, dtype=torch.bool).tril()
    for mask_, dropout in ((mask, 0.0), (None, 0.1)):
        chosen = choose_attention("native", mask=mask_, segments_BS=None, dropout=dropout)
        assert chosen.func.__name__ == "fused_attention"


def test_autocast_runs_it_in_bf16_as_it_does_torch_s():
    ready(torch.bfloat16)
    q, k, v, _ = inputs(1, 2, 2, 20, 32, torch.float32)
    attend = choose_attention("native", mask=None, segments_BS=None, dropout=0.0)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        out = attend(q, k, v.bfloat16())
    assert out.dtype is torch.bfloat16


def test_wrong_numbers_are_noticed_and_said(monkeypatch, capsys):
    ready(torch.float32)
    right = native._forward

    def wrong(*given):
        out, lse = right(*given)
        return out * 1.1, lse

    monkeypatch.setattr(native, "_forward", wrong)
    native.ready.cache_clear()
    assert not native.ready(torch.float32)
    assert "gives wrong numbers" in capsys.readouterr().err
    native.ready.cache_clear()
