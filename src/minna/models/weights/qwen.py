"""Qwen 1 on disk (`QWenLMHeadModel`, Bai et al. 2023): nekomata's layout, which transformers lacks.

Its modelling code was never part of transformers; loading it there runs code from a hub. Here it is
the decoder with other names:

- `attn.c_attn` is [q; k; v] with a bias, already one matrix; no other matrix has one (`no_bias`);
- `intermediate_size` counts both halves of the gated feed-forward, each half is our `ffn`;
- the published feed-forward is c_proj(w1(x) * silu(w2(x))): **w2 is the gate**, w1 goes straight.

Past `seq_length` (8,192 in Qwen-7B, whose table has 32,768) Qwen's own code stretches the rotation
(dynamic NTK: the base grows with the longest row of a batch) and scales queries by a logarithm
(logn); both do nothing up to there. A rotation that depends on how long the row will be contradicts
a cache, so `seq_length` is the context here and what is longer is refused. `auto_map` points to
Qwen's own repository, so that an export loads in transformers with trust_remote_code as Qwen's
files do; nothing here ever runs that code.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from torch import Tensor

from minna.errors import ArtifactError
from minna.models.decoder import DecoderConfig
from minna.models.weights.checks import refuse_features, refuse_leftovers, require, take

_CODE = "Qwen/Qwen-7B--"
_BUFFERS = (".rotary_emb.inv_freq", ".attn.bias", ".attn.masked_bias", ".attn.logn_tensor")
_LAYER = {
    "ln_1": "attention_norm",
    "attn.c_attn": "attention.qkv",
    "attn.c_proj": "attention.out",
    "ln_2": "mlp_norm",
    "mlp.w1": "mlp.up",
    "mlp.w2": "mlp.gate",
    "mlp.c_proj": "mlp.down",
}
_TOP = {
    "transformer.wte.weight": "embed.weight",
    "transformer.ln_f.weight": "final_norm.weight",
    "lm_head.weight": "head.weight",
}


def config_to_disk(config: DecoderConfig) -> dict[str, Any]:
    """Write a decoder config as the config.json fields of Qwen-7B."""
    return {
        "model_type": "qwen",
        "auto_map": {
            "AutoConfig": f"{_CODE}configuration_qwen.QWenConfig",
            "AutoModelForCausalLM": f"{_CODE}modeling_qwen.QWenLMHeadModel",
        },
        "vocab_size": config.vocab,
        "seq_length": config.context,
        "max_position_embeddings": config.context,
        "hidden_size": config.width,
        "intermediate_size": 2 * config.ffn,
        "num_hidden_layers": config.layers,
        "num_attention_heads": config.heads,
        "kv_channels": config.head_width,
        "layer_norm_epsilon": config.norm_eps,
        "rotary_pct": 1.0,
        "rotary_emb_base": config.rotary_base,
        "use_dynamic_ntk": True,
        "use_logn_attn": True,
        "no_bias": True,
        "scale_attn_weights": True,
        "emb_dropout_prob": config.dropout,
        "attn_dropout_prob": config.dropout,
        "initializer_range": config.init_std,
        "tie_word_embeddings": False,
        "bf16": False,
        "fp16": False,
        "fp32": False,
        "use_flash_attn": "auto",
        "onnx_safe": None,
    }


def config_from_disk(config: dict[str, Any]) -> DecoderConfig:
    """Read config.json fields as a decoder config.

    Raises:
        ArtifactError: a field is missing, or asks for what no released Qwen did.
    """
    refuse_features(
        config,
        {
            "no_bias": True,
            "rotary_pct": 1.0,
            "scale_attn_weights": True,
            "tie_word_embeddings": False,
            "use_cache_quantization": False,
        },
    )
    both, heads = require(config, "intermediate_size"), require(config, "num_attention_heads")
    width, kv_channels = require(config, "hidden_size"), config.get("kv_channels", 128)
    if both % 2 or heads * kv_channels != width:
        raise ArtifactError(
            f"config.json has intermediate_size {both} and {heads} heads of kv_channels "
            f"{kv_channels} in hidden_size {width}; Qwen 1 has an even one, and heads that fill "
            "the width",
            remedy="use the config.json that came with the weights",
        )
    return DecoderConfig(
        vocab=require(config, "vocab_size"),
        context=_context(config),
        layers=require(config, "num_hidden_layers"),
        width=width,
        heads=heads,
        kv_heads=heads,
        head_dim=kv_channels,
        ffn=both // 2,
        norm="rms",
        norm_eps=config.get("layer_norm_epsilon", 1e-6),
        rotary_base=config.get("rotary_emb_base", 10000.0),
        activation="silu",
        mlp="gated",
        attention_bias=True,
        attention_out_bias=False,
        mlp_bias=False,
        dropout=config.get("emb_dropout_prob", 0.0),
        init_std=config.get("initializer_range", 0.02),
    )


def to_disk(state: dict[str, Tensor], config: DecoderConfig) -> dict[str, Tensor]:
    """Rename ours to Qwen's."""
    out = {theirs: state[ours] for theirs, ours in _top(config).items()}
    for index in range(config.layers):
        for theirs, ours in _LAYER.items():
            for part in _parts(ours):
                name = f"transformer.h.{index}.{theirs}.{part}"
                out[name] = state[f"layers.{index}.{ours}.{part}"]
    return out


def from_disk(state: dict[str, Tensor], config: DecoderConfig) -> Iterator[tuple[str, Tensor]]:
    """Rename Qwen's to ours; drops the buffers that old files carry.

    Raises:
        ArtifactError: a tensor is missing or unknown.
    """
    left = {name: tensor for name, tensor in state.items() if not name.endswith(_BUFFERS)}
    for theirs, ours in _top(config).items():
        yield ours, take(left, theirs)
    for index in range(config.layers):
        for theirs, ours in _LAYER.items():
            for part in _parts(ours):
                name = f"transformer.h.{index}.{theirs}.{part}"
                yield f"layers.{index}.{ours}.{part}", take(left, name)
    refuse_leftovers(left)


def _top(config: DecoderConfig) -> dict[str, str]:
    """What surrounds the layers; a reward model has no head of words."""
    return {t: ours for t, ours in _TOP.items() if ours != "head.weight" or not config.tied}


def _context(config: dict[str, Any]) -> int:
    """Positions that mean what training made of them: up to where other rules begin."""
    table = config.get("max_position_embeddings", 8192)
    stretched = config.get("use_dynamic_ntk", True) or config.get("use_logn_attn", True)
    return min(table, require(config, "seq_length")) if stretched else table


def _parts(ours: str) -> tuple[str, ...]:
    return ("weight", "bias") if ours == "attention.qkv" else ("weight",)
