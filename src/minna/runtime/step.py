"""One token for every row without Python between the layers: the engine's fast way.

On 134 M parameters in bf16 the matrices of a token take 8.8 ms from oneDNN's layout, and Python
and small operators took another 5; one call of `csrc/decode.cpp` reads the weights at the speed of
memory and has nothing beside it. It gives the decoder's numbers (tests/native/test_decode.py), each
row's bit for bit the same in any company.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from minna.models.decoder import Attend, Decoder, DecoderConfig, FeedForward, Layer
from minna.native import decode as records
from minna.native.linear import Matrix, NativeLinear, decode_library, refuse
from minna.runtime.cache import KeyValueCache

_ACTIVATIONS = {"gelu": 0, "gelu_tanh": 1, "silu": 2}
_KINDS = {torch.float32: 0, torch.bfloat16: 1}
# What the kernel knows of a config: a choice added to the decoder must be added there, too.
_KNOWN = frozenset(
    """
    vocab context layers width heads ffn kv_heads head_dim norm norm_eps positions rotary_fraction
    rotary_base rotary_scaling rotary_bands activation mlp residual attention_bias
    attention_out_bias mlp_bias query_key_norm tied dropout init_std residual_init embed_init_std
    """.split()  # noqa: SIM905 - as one reads it
)


class NativeStep:
    """The step of a decoder whose matrices are all `NativeLinear`."""

    def __init__(self, decoder: Decoder) -> None:
        kernels = decode_library()
        assert kernels is not None, "only where there are kernels"
        records.prepare(kernels)
        self._kernels = kernels
        self._decoder = decoder
        self._kept: list[Tensor] = []  # fp32 copies the kernel points into
        self._layers = (records.Layer * decoder.config.layers)(
            *(self._layer(layer) for layer in decoder.layers)
        )
        self._model = self._describe(decoder)

    @property
    def cache_dtype(self) -> torch.dtype:
        """The type of keys and values: fp32 under fp32, else bf16, half of what is read."""
        return self._decoder.embed.weight.dtype

    def __call__(self, tokens: Sequence[int], cache: KeyValueCache) -> Tensor:
        """Read one token into each of the first rows of the cache; return fp32 logits [B, V]."""
        rows = len(tokens)
        lengths = cache.lengths[:rows]
        config = self._decoder.config
        # the kernel checks no limit: beyond one it would read what belongs to others
        if rows > cache.rows or max(lengths) >= config.context:
            raise IndexError(
                f"{rows} rows of up to {max(lengths) + 1} tokens do not fit a cache of "
                f"{cache.rows} rows and a context of {config.context}"
            )
        if not 0 <= min(tokens) <= max(tokens) < config.vocab:
            raise IndexError(f"token ids {tokens} are not all in a vocabulary of {config.vocab}")
        cache.reserve(max(lengths) + 1)
        keys, values = cache.addresses
        logits_BV = torch.empty(rows, config.vocab)
        step = records.Step(
            rows=rows,
            tokens=(ctypes.c_int64 * rows)(*tokens),
            places=(ctypes.c_int64 * rows)(*lengths),
            keys=keys,
            values=values,
            capacity=cache.capacity,
            logits=logits_BV.data_ptr(),
        )
        self._model.cache_kind = _KINDS[cache.dtype]
        refuse(self._kernels.step(self._model, step), f"a step of {rows} rows")
        cache.commit(range(rows), added=[1] * rows)
        return logits_BV

    def _describe(self, decoder: Decoder) -> records.Model:
        config = decoder.config
        positions = None if decoder.positions is None else self._table(decoder.positions.weight)
        rotary = config.positions == "rotary"
        cos, sin = self._keep(decoder.cos), self._keep(decoder.sin)
        return records.Model(
            layers=config.layers,
            width=config.width,
            heads=config.heads,
            kv_heads=config.key_value_heads,
            head=config.head_width,
            ffn=config.ffn,
            vocab=config.vocab,
            context=config.context,
            rotated=config.rotary_width if rotary else 0,
            rms=config.norm == "rms",
            activation=_ACTIVATIONS[config.activation],
            parallel=config.residual == "parallel",
            embed_kind=_KINDS[decoder.embed.weight.dtype],
            eps=config.norm_eps,
            embed=self._table(decoder.embed.weight),
            positions=positions,
            cos=cos if rotary else None,
            sin=sin if rotary else None,
            layer=self._layers,
            final_norm=self._norm(decoder.final_norm),
            out=_matrix(decoder.head),
        )

    def _layer(self, layer: nn.Module) -> records.Layer:
        assert isinstance(layer, Layer)
        attention, mlp = layer.attention, layer.mlp
        assert isinstance(attention, Attend) and isinstance(mlp, FeedForward)
        norms = (attention.q_norm, attention.k_norm)
        q_norm, k_norm = (None if norm is None else self._keep(norm.weight) for norm in norms)
        return records.Layer(
            attention_norm=self._norm(layer.attention_norm),
            mlp_norm=self._norm(layer.mlp_norm),
            qkv=_matrix(attention.qkv),
            out=_matrix(attention.out),
            up=_matrix(mlp.up),
            gate=_matrix(mlp.gate),
            down=_matrix(mlp.down),
            q_norm=q_norm,
            k_norm=k_norm,
        )

    def _norm(self, norm: nn.Module) -> records.Norm:
        if isinstance(norm, nn.LayerNorm):
            return records.Norm(weight=self._keep(norm.weight), bias=self._keep(norm.bias))
        assert isinstance(norm, nn.RMSNorm)
        return records.Norm(weight=self._keep(norm.weight), bias=None)

    def _table(self, weight: Tensor) -> int:
        """Rows as they are, one after the other; held here, whatever becomes of the module's."""
        self._kept.append(weight.detach().contiguous())
        return self._kept[-1].data_ptr()

    def _keep(self, tensor: Tensor) -> int:
        self._kept.append(tensor.detach().float().contiguous())
        return self._kept[-1].data_ptr()


def native_step(decoder: Decoder) -> NativeStep | None:
    """The fast step of a decoder, or None where it does not apply."""
    fields = set(DecoderConfig.__dataclass_fields__)
    if not isinstance(decoder.head, NativeLinear) or not fields <= _KNOWN:
        return None
    return NativeStep(decoder)


def _matrix(module: nn.Module | None) -> Matrix:
    if module is None:
        return Matrix()
    assert isinstance(module, NativeLinear)
    return module.matrix
