"""Qwen3 on disk: the modern shape that transformers, vLLM and llama.cpp all load as it is.

Chosen over Llama because it is the one widely read layout with a norm on queries and keys and with
heads of a width of their own. Queries, keys and values lie apart on disk and are one matrix here.
transformers' defaults for what config.json leaves out are those of an 8 B model (32 key-value
heads, heads of 128), so both are required; sliding windows and rotary scaling other than linear are
refused. transformers 5 writes `rope_parameters`, everything older (and llama.cpp) reads
`rope_theta` and `rope_scaling`: both spellings are read and written.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from minna.errors import ArtifactError
from minna.models.decoder import DecoderConfig
from minna.models.weights.checks import (
    refuse_features,
    refuse_leftovers,
    require,
    rotary_scaling,
    take,
)

_FUSED = ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj")
_LAYER = {
    "input_layernorm": "attention_norm",
    "self_attn.q_norm": "attention.q_norm",
    "self_attn.k_norm": "attention.k_norm",
    "self_attn.o_proj": "attention.out",
    "post_attention_layernorm": "mlp_norm",
    "mlp.gate_proj": "mlp.gate",
    "mlp.up_proj": "mlp.up",
    "mlp.down_proj": "mlp.down",
}


def config_to_disk(config: DecoderConfig) -> dict[str, Any]:
    """Write a decoder config as config.json fields, rotary in both spellings."""
    scaled = config.rotary_scaling != 1
    factor = {"factor": config.rotary_scaling} if scaled else {}
    kind = "linear" if scaled else "default"
    return {
        "model_type": "qwen3",
        "vocab_size": config.vocab,
        "max_position_embeddings": config.context,
        "hidden_size": config.width,
        "intermediate_size": config.ffn,
        "num_hidden_layers": config.layers,
        "num_attention_heads": config.heads,
        "num_key_value_heads": config.key_value_heads,
        "head_dim": config.head_width,
        "hidden_act": "silu",
        "rms_norm_eps": config.norm_eps,
        "rope_theta": config.rotary_base,
        "rope_parameters": {"rope_type": kind, "rope_theta": config.rotary_base, **factor},
        **({"rope_scaling": {"type": "linear", **factor}} if scaled else {}),
        "attention_bias": config.attention_bias,
        "attention_dropout": config.dropout,
        "use_sliding_window": False,
        "sliding_window": None,
        "max_window_layers": config.layers,
        "initializer_range": config.init_std,
        "tie_word_embeddings": config.tied,
    }


def config_from_disk(config: dict[str, Any]) -> DecoderConfig:
    """Read config.json fields, old or new spelling, as a decoder config.

    Raises:
        ArtifactError: a field is missing, or asks for what Qwen3 here does not do.
    """
    refuse_features(
        config, {"hidden_act": "silu", "use_sliding_window": False, "attention_dropout": 0.0}
    )
    windows = {kind for kind in config.get("layer_types") or () if kind != "full_attention"}
    if windows:
        raise ArtifactError(
            f"config.json asks for layer_types {sorted(windows)}; here all are 'full_attention'",
            remedy="use a model without sliding windows",
        )
    rope: dict[str, Any] = config.get("rope_parameters") or {}
    refuse_features(rope, {"partial_rotary_factor": 1.0})
    heads = require(config, "num_attention_heads")
    return DecoderConfig(
        vocab=require(config, "vocab_size"),
        context=config.get("max_position_embeddings", 32768),
        layers=require(config, "num_hidden_layers"),
        width=require(config, "hidden_size"),
        heads=heads,
        kv_heads=require(config, "num_key_value_heads") or heads,
        head_dim=require(config, "head_dim"),
        ffn=require(config, "intermediate_size"),
        norm="rms",
        norm_eps=config.get("rms_norm_eps", 1e-6),
        rotary_base=rope.get("rope_theta", config.get("rope_theta", 10000.0)),
        rotary_scaling=rotary_scaling(config),
        activation="silu",
        mlp="gated",
        attention_bias=config.get("attention_bias", False),
        mlp_bias=False,
        query_key_norm=True,
        tied=config.get("tie_word_embeddings", False),
        init_std=config.get("initializer_range", 0.02),
    )


def to_disk(state: dict[str, Tensor], config: DecoderConfig) -> dict[str, Tensor]:
    """Rename ours to Hugging Face's and lay queries, keys and values apart."""
    out = {
        "model.embed_tokens.weight": state["embed.weight"],
        "model.norm.weight": state["final_norm.weight"],
    }
    if not config.tied:
        out["lm_head.weight"] = state["head.weight"]
    keys = config.key_value_heads * config.head_width
    for index in range(config.layers):
        layer = f"model.layers.{index}."
        for part in _parts("attention.qkv", config):
            fused = state[f"layers.{index}.attention.qkv.{part}"]
            pieces = fused.split([config.attention_width, keys, keys])
            for theirs, piece in zip(_FUSED, pieces, strict=True):
                # a tensor of its own: a file may not hold views of one storage
                out[f"{layer}{theirs}.{part}"] = piece.clone()
        for theirs, ours in _LAYER.items():
            for part in _parts(ours, config):
                out[f"{layer}{theirs}.{part}"] = state[f"layers.{index}.{ours}.{part}"]
    return out


def from_disk(state: dict[str, Tensor], config: DecoderConfig) -> dict[str, Tensor]:
    """Rename Hugging Face's to ours; a tied file may still carry its head, which is dropped.

    Raises:
        ArtifactError: a tensor is missing or unknown.
    """
    left = dict(state)
    out = {
        "embed.weight": take(left, "model.embed_tokens.weight"),
        "final_norm.weight": take(left, "model.norm.weight"),
    }
    if config.tied:
        left.pop("lm_head.weight", None)
    else:
        out["head.weight"] = take(left, "lm_head.weight")
    for index in range(config.layers):
        layer = f"model.layers.{index}."
        for part in _parts("attention.qkv", config):
            pieces = [take(left, f"{layer}{theirs}.{part}") for theirs in _FUSED]
            out[f"layers.{index}.attention.qkv.{part}"] = torch.cat(pieces)
        for theirs, ours in _LAYER.items():
            for part in _parts(ours, config):
                out[f"layers.{index}.{ours}.{part}"] = take(left, f"{layer}{theirs}.{part}")
    refuse_leftovers(left)
    return out


def _parts(ours: str, config: DecoderConfig) -> tuple[str, ...]:
    has_bias = config.attention_bias and ours in ("attention.qkv", "attention.out")
    return ("weight", "bias") if has_bias else ("weight",)
