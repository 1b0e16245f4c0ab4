"""Causal attention for training on CPUs with AVX-512 or AMX, forward and backward.

torch's flash attention takes 1.2 s of a 4.1 s step of the reference shape (16 rows of 512, 6 layers
x 6 heads x 64) on two Zen 4 cores, ours 0.25 s (bench/bench_train.py --profile).
`csrc/attention.cpp` says how ours is laid out. It knows documents (a query looks at keys from its
document's start on, and blocks of hidden keys are never computed) and grouped queries, in bf16 or
fp32 with fp32 sums and statistics.

The kernel is two operators, `minna::attention` and `minna::attention_backward`, so that
torch.compile passes over them without a break. The twins in plain torch are `fused_attention` and
`explicit_attention` of minna.models.attention.

Shape letters: B rows, S tokens, H query heads, K key-value heads, all heads `head` wide.
"""

from __future__ import annotations

import ctypes
import functools
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from minna.console import warn
from minna.native.build import library

COST = "training takes about 1.4 times as long"
_DTYPES = (torch.bfloat16, torch.float32)
_HEAD_STEP = 16
_HEAD_LIMIT = 256
_NO_MEMORY = 2


class _Strides(ctypes.Structure):
    _fields_ = (("row", ctypes.c_int64), ("head", ctypes.c_int64), ("token", ctypes.c_int64))


class _Call(ctypes.Structure):
    """One call, field for field as `struct Call` of attention.cpp."""

    _fields_ = (
        *((name, ctypes.c_int64) for name in ("B", "H", "K", "S", "d", "threads")),
        *((name, _Strides) for name in ("q_at", "k_at", "v_at", "out_at", "grad_at")),
        *((name, ctypes.c_void_p) for name in ("q", "k", "v", "starts", "out", "lse")),
        *((name, ctypes.c_void_p) for name in ("grad", "dq", "dk", "dv")),
    )


def knows_head(width: int) -> bool:
    """Whether heads of this width are known: multiples of 16 up to 256."""
    return width % _HEAD_STEP == 0 and width <= _HEAD_LIMIT


def fits(q: Tensor, k: Tensor) -> bool:
    """Whether the kernel knows this call: device, type, heads, and a key for each query."""
    return (
        q.device.type == "cpu"
        and q.dtype in _DTYPES
        and q.dtype == k.dtype
        and q.shape[1] % k.shape[1] == 0
        and knows_head(q.shape[-1])
        and q.shape[2] == k.shape[2]
        and q.numel() > 0
    )


def attention(q: Tensor, k: Tensor, v: Tensor, *, starts_BS: Tensor | None) -> Tensor:
    """softmax(q k^T / sqrt(head)) v, causal; differentiable.

    Args:
        q: [B, H, S, head], any strides (contiguous features need no copy), as `fits` has it.
        k: [B, K, S, head], K a divisor of H.
        v: as k.
        starts_BS: int32, the first key each query looks at, never after itself; None is 0.

    Returns:
        [B, H, S, head] as a view of [B, S, H, head], so that joining the heads costs nothing.
    """
    return torch.ops.minna.attention(q, k, v, starts_BS)[0]


@functools.cache
def ready(dtype: torch.dtype) -> bool:
    """Whether the kernel can be had here and gives the right numbers; says so once where not."""
    if _library() is None:
        return False
    fault = _self_test(dtype)
    if fault is not None:
        name = str(dtype).removeprefix("torch.")
        warn(f"the attention kernel {fault} in {name}; torch's own is used, and {COST}")
    return fault is None


@functools.cache
def _library() -> ctypes.CDLL | None:
    found = library("attention", cost=COST)
    if found is not None:
        found.minna_attention_call_bytes.restype = ctypes.c_int64
        assert found.minna_attention_call_bytes() == ctypes.sizeof(_Call)
    return found


def _self_test(dtype: torch.dtype) -> str | None:
    """Say what is wrong with the kernel on two documents of a short row, or None."""
    generator = torch.Generator().manual_seed(0)
    S, edge, head = 75, 40, 32
    q, k, v, grad = (
        torch.randn(1, heads, S, head, generator=generator).to(dtype) for heads in (2, 1, 1, 2)
    )
    place = torch.arange(S)
    starts = torch.where(place < edge, 0, edge)
    mask = (place.unsqueeze(0) <= place.unsqueeze(1)) & (place >= starts.unsqueeze(1))
    with torch.enable_grad():
        plain = [x.float().requires_grad_() for x in (q, k, v)]
        wanted = F.scaled_dot_product_attention(*plain, attn_mask=mask, enable_gqa=True)
        gradients = torch.autograd.grad(wanted, plain, grad.float())
    starts = starts.to(torch.int32).unsqueeze(0)
    try:
        out, lse = _forward(q, k, v, starts)
        given = (out, *_backward(grad, q, k, v, out, lse, starts))
    except RuntimeError:
        return "does not run on this CPU"
    tolerance = 2e-2 if dtype is torch.bfloat16 else 1e-4
    for ours, theirs in zip(given, (wanted.detach(), *gradients), strict=True):
        if not torch.allclose(ours.float(), theirs, rtol=tolerance, atol=4 * tolerance):
            return "gives wrong numbers on this CPU"
    return None


def _forward(q: Tensor, k: Tensor, v: Tensor, starts: Tensor | None) -> tuple[Tensor, Tensor]:
    q, k, v = _by_features(q), _by_features(k), _by_features(v)
    out, lse = _forward_shapes(q, k, v, starts)
    _run("forward", q=q, k=k, v=v, starts=starts, out=out, lse=lse)
    return out, lse


def _forward_shapes(
    q: Tensor, _k: Tensor, _v: Tensor, _starts: Tensor | None
) -> tuple[Tensor, Tensor]:
    """The output as a view of [B, S, H, head], and log2 of each query's sum of exp, [B, H, S]."""
    B, H, S, _ = q.shape
    return _tokens_first(q), q.new_empty((B, H, S), dtype=torch.float32)


def _backward(
    grad: Tensor,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    out: Tensor,
    lse: Tensor,
    starts: Tensor | None,
) -> tuple[Tensor, Tensor, Tensor]:
    q, k, v, out = _by_features(q), _by_features(k), _by_features(v), _by_features(out)
    grad = _by_features(grad)
    dq, dk, dv = _backward_shapes(grad, q, k, v, out, lse, starts)
    _run(
        "backward",
        q=q,
        k=k,
        v=v,
        starts=starts,
        out=out,
        lse=lse.contiguous(),
        grad=grad,
        dq=dq,
        dk=dk,
        dv=dv,
    )
    return dq, dk, dv


def _backward_shapes(
    _grad: Tensor, q: Tensor, k: Tensor, v: Tensor, *_saved: Tensor | None
) -> tuple[Tensor, Tensor, Tensor]:
    """The gradients, each as a view of [B, S, heads, head]."""
    return _tokens_first(q), _tokens_first(k), _tokens_first(v)


def _tokens_first(like: Tensor) -> Tensor:
    B, heads, S, head = like.shape
    return like.new_empty((B, S, heads, head)).transpose(1, 2)


def _by_features(x: Tensor) -> Tensor:
    return x if x.stride(-1) == 1 else x.contiguous()


def _run(name: str, *, starts: Tensor | None, **tensors: Tensor) -> None:
    """Call the library; the tensors are as `_Call` names them."""
    found = _library()
    if found is None:
        raise RuntimeError("the attention kernel cannot be had on this machine")
    q, k = tensors["q"], tensors["k"]
    B, H, S, head = q.shape
    # what the kernel takes for granted: else it would read and write memory of others
    assert H % k.shape[1] == 0 and k.shape[2] == S and tensors["v"].shape == k.shape
    assert all(t.dtype == q.dtype for field, t in tensors.items() if field != "lse")
    call = _Call(B=B, H=H, K=k.shape[1], S=S, d=head, threads=torch.get_num_threads())
    for field in ("q", "k", "v", "out", "grad"):
        if field in tensors:
            setattr(call, f"{field}_at", _Strides(*tensors[field].stride()[:3]))
    for field, tensor in tensors.items():
        setattr(call, field, tensor.data_ptr())
    if starts is not None:
        starts = starts.contiguous()
        assert starts.dtype is torch.int32
        call.starts = starts.data_ptr()
    run: Any = getattr(found, f"minna_attention_{name}")
    failed = run(ctypes.byref(call), int(q.dtype is torch.bfloat16))
    if failed == _NO_MEMORY:
        raise torch.OutOfMemoryError(f"no memory for the {name} pass of attention over {S} tokens")
    if failed:
        raise RuntimeError(f"the attention kernel's {name} pass does not run on this CPU")


def _save(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    q, k, v, starts = inputs
    out, lse = output
    ctx.mark_non_differentiable(lse)
    ctx.save_for_backward(q, k, v, out, lse, starts)


def _differentiate(ctx: Any, grad: Tensor, _grad_lse: Tensor | None) -> tuple[Tensor | None, ...]:
    return (*torch.ops.minna.attention_backward(grad, *ctx.saved_tensors), None)


def _register() -> torch.library.Library:
    """Make the operators known to torch, once, when this module is read."""
    ours = torch.library.Library("minna", "FRAGMENT")
    tags = (torch.Tag.flexible_layout,)  # any strides are taken: no copies to keep the traced ones
    ours.define(
        "attention(Tensor q, Tensor k, Tensor v, Tensor? starts) -> (Tensor, Tensor)", tags=tags
    )
    ours.define(
        "attention_backward(Tensor grad, Tensor q, Tensor k, Tensor v, Tensor out, Tensor lse, "
        "Tensor? starts) -> (Tensor, Tensor, Tensor)",
        tags=tags,
    )
    ours.impl("attention", _forward, "CPU")
    ours.impl("attention_backward", _backward, "CPU")
    torch.library.register_fake("minna::attention", _forward_shapes, lib=ours)
    torch.library.register_fake("minna::attention_backward", _backward_shapes, lib=ours)
    torch.library.register_autograd(
        "minna::attention", _differentiate, setup_context=_save, lib=ours
    )
    return ours


_LIBRARY = _register()
OPERATOR: Any = torch.ops.minna.attention.default
