"""One token for every row in one call of C++ (`csrc/decode.cpp`): records that mirror its own."""

from __future__ import annotations

import ctypes

from minna.native.linear import Matrix

_SIZES = (
    *("layers", "width", "heads", "kv_heads", "head", "ffn", "vocab", "context", "rotated"),
    *("rms", "activation", "parallel", "embed_kind", "cache_kind"),
)
_LONG, _POINTER = ctypes.c_int64, ctypes.c_void_p


class Norm(ctypes.Structure):
    """`struct Norm`: fp32 vectors; no bias means RMS."""

    _fields_ = (("weight", _POINTER), ("bias", _POINTER))


class Layer(ctypes.Structure):
    """`struct Layer`."""

    _fields_ = (
        ("attention_norm", Norm),
        ("mlp_norm", Norm),
        ("qkv", Matrix),
        ("out", Matrix),
        ("up", Matrix),
        ("gate", Matrix),
        ("down", Matrix),
        ("q_norm", _POINTER),
        ("k_norm", _POINTER),
    )


class Model(ctypes.Structure):
    """`struct Model`."""

    _fields_ = (
        *((name, _LONG) for name in _SIZES),
        ("eps", ctypes.c_double),
        ("embed", _POINTER),
        ("positions", _POINTER),
        ("cos", _POINTER),
        ("sin", _POINTER),
        ("layer", ctypes.POINTER(Layer)),
        ("final_norm", Norm),
        ("out", Matrix),
    )


class Step(ctypes.Structure):
    """`struct Step`."""

    _fields_ = (
        ("rows", _LONG),
        ("tokens", ctypes.POINTER(_LONG)),
        ("places", ctypes.POINTER(_LONG)),
        ("keys", ctypes.POINTER(_POINTER)),
        ("values", ctypes.POINTER(_POINTER)),
        ("capacity", _LONG),
        ("logits", _POINTER),
    )


def prepare(kernels: ctypes.CDLL) -> None:
    """Tell ctypes the types, and check that both sides agree on the records."""
    kernels.step.restype = _LONG
    kernels.step.argtypes = [ctypes.POINTER(Model), ctypes.POINTER(Step)]
    for name, record in (("layer_bytes", Layer), ("model_bytes", Model), ("step_bytes", Step)):
        ask = getattr(kernels, name)
        ask.restype = _LONG
        assert ask() == ctypes.sizeof(record), name
