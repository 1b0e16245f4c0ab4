"""Matrices laid out once for the CPU's own multiply, instead of on every call.

The first choice is our own layout (`minna/native/linear.py`), which one call a token reads at the
speed of memory (`step.py`). What follows is for where there is no compiler or no AVX-512.

Generation reads every weight for every token, so the layout of the weights is its speed. On two Zen
4 cores all matrices of a 134 M parameter GPT-NeoX take, per token (one row / eight rows):

    bf16  torch's linear  12.6 / 15.8 ms    packed   8.8 /  9.3 ms
    fp32  torch's linear  30.3 / 45.5 ms    packed  17.7 / 18.6 ms

The packing is oneDNN's, reached through the operators torch's own compiler uses. Where they are
missing (another processor, a build without oneDNN) the plain linear stays, which computes the same.
"""

from __future__ import annotations

import functools
import platform
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from minna.models.decoder import Decoder
from minna.native.linear import LinearKind, NativeLinear, decode_library, ready
from minna.native.quantise import QuantisedKind, QuantisedLinear

Bits = QuantisedKind
Make = Callable[[Tensor, Tensor | None], nn.Module]

_X86 = ("x86_64", "amd64")
_BITS: dict[torch.dtype, LinearKind] = {torch.float32: "fp32", torch.bfloat16: "bf16"}


class PackedLinear(nn.Module):
    """A linear layer for inference whose weight lies in oneDNN's blocked layout."""

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        super().__init__()
        self.packed: Tensor = _mkldnn()._reorder_linear_weight(weight.detach(), None)  # noqa: SLF001
        self.bias = None if bias is None else bias.detach().clone()
        self._apply_linear: Any = _mkldnn()._linear_pointwise.default  # noqa: SLF001

    def forward(self, x: Tensor) -> Tensor:
        """Return x @ weight.T + bias."""
        return self._apply_linear(x, self.packed, self.bias, "none", [], "")


def has_tiles() -> bool:
    """Whether this CPU has matrix tiles (AMX), with which torch's bf16 kernels are all fast."""
    return bool(_cpu()._is_amx_tile_supported())  # noqa: SLF001


def has_bf16_instructions() -> bool:
    """Whether this CPU multiplies bf16 in hardware."""
    return has_tiles() or bool(_cpu()._is_avx512_bf16_supported())  # noqa: SLF001


def pack(decoder: Decoder, *, kind: Bits | None = None) -> Decoder:
    """Replace the decoder's matrices by packed ones, in place; they cannot be read back.

    Does nothing where packing is not possible, but for int8 and int4, which are always. One matrix
    is in memory twice at a time, no more. A tied head gets a packed matrix of its own beside the
    embedding.

    Args:
        decoder: in the type it computes in.
        kind: bits of the weights; those of the decoder's type when None.
    """
    weight = decoder.embed.weight
    make = _maker(weight, kind)
    if make is None:
        return decoder
    # a head in 4 bits costs as many greedy tokens as all layers together
    make_head = make if kind != "int4" else _maker(weight, "int8")
    head = weight if decoder.head is None else decoder.head.weight
    bias = None if decoder.head is None else decoder.head.bias
    assert make_head is not None, "who can make int4 can make int8"
    decoder.head = make_head(head, bias)  # pyright: ignore[reportAttributeAccessIssue]
    for parent in list(decoder.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, nn.Linear):
                setattr(parent, name, make(child.weight, child.bias))
    return decoder


def _maker(weight: Tensor, kind: Bits | None) -> Make | None:
    """What makes a layer of those bits here, beside an embedding `weight`."""
    bits = kind or _BITS.get(weight.dtype)
    slow = bits == "bf16" and not has_bf16_instructions()
    built = weight.device.type == "cpu" and decode_library() is not None
    if built and bits and not slow and ready(bits):
        return functools.partial(NativeLinear, kind=bits)
    if kind is not None:
        return functools.partial(QuantisedLinear, kind=kind)
    return PackedLinear if can_pack(weight.device.type, weight.dtype) else None


@functools.cache
def can_pack(device: str, dtype: torch.dtype) -> bool:
    """Whether the packed multiply exists here and gives the plain one's numbers."""
    if device != "cpu" or platform.machine().lower() not in _X86:
        return False
    if dtype not in (torch.float32, torch.bfloat16) or not torch.backends.mkldnn.is_available():
        return False
    if dtype is torch.bfloat16 and not _mkldnn()._is_mkldnn_bf16_supported():  # noqa: SLF001
        return False
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(32, 64, generator=generator).to(dtype)
    x = torch.randn(3, 64, generator=generator).to(dtype)
    try:
        given = PackedLinear(weight, None)(x)
    except (AttributeError, NotImplementedError, RuntimeError):
        # private operators: a torch without them is no error, only slower
        return False
    return torch.allclose(given.float(), x.float() @ weight.float().T, rtol=2e-2, atol=2e-1)


def _cpu() -> Any:
    return torch.cpu


def _mkldnn() -> Any:
    return torch.ops.mkldnn
