"""A linear layer laid out for reading at the speed of memory: fp32, bf16, int8 or int4.

One layout serves both ends: a few rows (generation) stream it once, with 8-bit products where the
weights are 8 or 4 bits; many rows (prompts, scoring) get blocks of it, decoded where need be, in
oneDNN's matrix kernel. `csrc/linear.h` says how it lies.
"""

from __future__ import annotations

import ctypes
import functools
from typing import Literal

import torch
from torch import Tensor, nn

from minna.console import warn
from minna.native.build import library
from minna.native.quantise import QuantisedKind, quantise

LinearKind = Literal["fp32", "bf16", "int8", "int4"]

_NUMBER = {"fp32": 0, "bf16": 1, "int8": 2, "int4": 3}
_ROUNDED: dict[str, QuantisedKind] = {"int8": "int8", "int4": "int4"}
_OF_TENSOR = {torch.float32: 0, torch.bfloat16: 1}
_BLOCK = 32
_NO_MEMORY = 1
_CLOSE = 0.01  # bf16 rounds the inputs to 8 bits


class Matrix(ctypes.Structure):
    """`struct Matrix` of csrc/linear.h."""

    _fields_ = (
        ("kind", ctypes.c_int64),
        ("outputs", ctypes.c_int64),
        ("inputs", ctypes.c_int64),
        ("data", ctypes.c_void_p),
        ("bias", ctypes.c_void_p),
    )


def decode_library() -> ctypes.CDLL | None:
    """The kernels of generation, or None (said in one line) where they cannot be built."""
    found = library("decode", cost="generation takes longer, many times so in int8 and int4")
    if found is not None:
        found.packed_bytes.restype = ctypes.c_int64
        found.packed_bytes.argtypes = [ctypes.c_int64] * 3
        found.large_pages.argtypes = [ctypes.c_void_p, ctypes.c_int64]
        found.pack.argtypes = [ctypes.c_int64] * 3 + [ctypes.c_void_p] * 2
        found.pack_groups.argtypes = [ctypes.c_int64] * 4 + [ctypes.c_void_p] * 3
        found.linear.restype = ctypes.c_int64
        found.linear.argtypes = [
            ctypes.POINTER(Matrix),
            ctypes.c_int64,
            ctypes.c_int64,
            ctypes.c_void_p,
            ctypes.c_void_p,
        ]
    return found


def refuse(outcome: int, what: str) -> None:
    """Turn an Outcome of csrc/decode.cpp into an error, where it is one.

    Raises:
        torch.OutOfMemoryError: there is no memory for `what`.
        RuntimeError: this CPU, as it is set up now, has no such kernel.
    """
    if outcome == _NO_MEMORY:
        raise torch.OutOfMemoryError(f"no memory for {what}")
    if outcome:
        raise RuntimeError(f"oneDNN has no matrix kernel for {what} here (is it switched off?)")


@functools.cache
def ready(kind: LinearKind) -> bool:
    """Whether the layer can be had here and gives the right numbers; says so once where not."""
    if decode_library() is None:
        return False
    generator = torch.Generator().manual_seed(0)
    weight, x = torch.randn(40, 70, generator=generator), torch.randn(17, 70, generator=generator)
    layer, rounded = NativeLinear(weight, None, kind=kind), weight
    if kind in _ROUNDED:
        rounded = quantise(weight, kind=_ROUNDED[kind]).weight()
    expected = x @ rounded.T
    try:
        given = (layer(x), layer(x[:3]))  # many rows, and few
    except RuntimeError as error:
        warn(f"native kernels: {kind} does not run on this CPU ({error}); torch's own are used")
        return False
    good = all(
        float((ours - theirs).norm() / theirs.norm()) < _CLOSE
        for ours, theirs in zip(given, (expected, expected[:3]), strict=True)
    )
    if not good:
        warn(f"native kernels: {kind} gives wrong numbers on this CPU; torch's own are used")
    return good


class NativeLinear(nn.Module):
    """A linear layer for inference on this CPU; its weights cannot be read back."""

    def __init__(self, weight: Tensor, bias: Tensor | None, *, kind: LinearKind) -> None:
        super().__init__()
        kernels = decode_library()
        assert kernels is not None, "only where there are kernels"
        self._kernels = kernels
        self.kind: LinearKind = kind
        self.outputs, self.inputs = weight.shape
        size = kernels.packed_bytes(_NUMBER[kind], self.outputs, self.inputs)
        self.data = torch.empty(size, dtype=torch.uint8)
        kernels.large_pages(self.data.data_ptr(), size)
        self._pack(weight.detach())
        self.bias: Tensor | None = None
        if bias is not None:
            blocks = -(-self.outputs // _BLOCK)
            self.bias = torch.zeros(blocks * _BLOCK)
            self.bias[: self.outputs] = bias.detach()

    def _pack(self, weight: Tensor) -> None:
        number, to = _NUMBER[self.kind], self.data.data_ptr()
        if (kind := _ROUNDED.get(self.kind)) is not None:
            rounded = quantise(weight, kind=kind)
            groups = rounded.scales.shape[1]
            self._kernels.pack_groups(
                number,
                self.outputs,
                self.inputs,
                groups,
                rounded.levels.data_ptr(),
                rounded.scales.data_ptr(),
                to,
            )
            return
        plain = weight.float().contiguous()
        self._kernels.pack(number, self.outputs, self.inputs, plain.data_ptr(), to)

    @property
    def bytes(self) -> int:
        """What one pass over the weights reads."""
        return self.data.numel()

    @property
    def matrix(self) -> Matrix:
        """For the kernels; valid as long as this layer lives."""
        return Matrix(
            kind=_NUMBER[self.kind],
            outputs=self.outputs,
            inputs=self.inputs,
            data=self.data.data_ptr(),
            bias=None if self.bias is None else self.bias.data_ptr(),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return x @ weight.T + bias, in the type of x."""
        given = x if x.dtype in _OF_TENSOR else x.float()
        given = given.reshape(-1, self.inputs).contiguous()
        out = torch.empty(given.shape[0], self.outputs, dtype=given.dtype)
        failed = self._kernels.linear(
            self.matrix,
            given.shape[0],
            _OF_TENSOR[given.dtype],
            given.data_ptr(),
            out.data_ptr(),
        )
        refuse(failed, f"{given.shape[0]} rows of {self.inputs}")
        return out.view(*x.shape[:-1], self.outputs).to(x.dtype)
