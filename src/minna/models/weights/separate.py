"""The layout that Llama began and Qwen2 and Qwen3 kept: matrices apart, gated, RMS norms, rotary.

Queries, keys and values lie apart on disk and are one matrix here. What differs between the three
is a bias, a norm on queries and keys, and what a missing field of config.json means, so their files
hold only that. transformers 5 writes `rope_parameters`, everything older (and llama.cpp) reads
`rope_theta` and `rope_scaling`: both spellings are read and written. Old Llama files carry
inv_freq buffers, which are dropped.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from minna.errors import ArtifactError
from minna.models.decoder import DecoderConfig, RotaryBands
from minna.models.weights.checks import refuse_leftovers, require, rotary_scaling, take

_BUFFERS = (".rotary_emb.inv_freq",)
_FUSED = ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj")
_LAYER = {
    "input_layernorm": "attention_norm",
    "self_attn.o_proj": "attention.out",
    "post_attention_layernorm": "mlp_norm",
    "mlp.gate_proj": "mlp.gate",
    "mlp.up_proj": "mlp.up",
    "mlp.down_proj": "mlp.down",
}
_NORMS = {"self_attn.q_norm": "attention.q_norm", "self_attn.k_norm": "attention.k_norm"}


def fields_to_disk(config: DecoderConfig, *, model_type: str) -> dict[str, Any]:
    """Write what all of them have as config.json fields, rotary in both spellings."""
    scaling = _scaling(config)
    kind = {"rope_type": "default"} if scaling is None else scaling
    return {
        "model_type": model_type,
        "vocab_size": config.vocab,
        "max_position_embeddings": config.context,
        "hidden_size": config.width,
        "intermediate_size": config.ffn,
        "num_hidden_layers": config.layers,
        "num_attention_heads": config.heads,
        "num_key_value_heads": config.key_value_heads,
        "hidden_act": "silu",
        "rms_norm_eps": config.norm_eps,
        "rope_theta": config.rotary_base,
        "rope_parameters": {**kind, "rope_theta": config.rotary_base},
        **({} if scaling is None else {"rope_scaling": _old_spelling(scaling)}),
        "attention_dropout": config.dropout,
        "initializer_range": config.init_std,
        "tie_word_embeddings": config.tied,
    }


def fields_from_disk(config: dict[str, Any]) -> dict[str, Any]:
    """Read what all of them have as arguments of a decoder config.

    Raises:
        ArtifactError: a field is missing, or the rotation is scaled in a way unknown here.
    """
    rope: dict[str, Any] = config.get("rope_parameters") or {}
    if rope.get("partial_rotary_factor", 1.0) != 1:
        raise ArtifactError(
            "config.json asks for partial_rotary_factor = "
            f"{rope['partial_rotary_factor']!r}; here it must be 1.0",
            remedy="use a model that rotates whole heads",
        )
    heads = require(config, "num_attention_heads")
    return {
        "vocab": require(config, "vocab_size"),
        "layers": require(config, "num_hidden_layers"),
        "width": require(config, "hidden_size"),
        "heads": heads,
        "kv_heads": config.get("num_key_value_heads") or heads,
        "ffn": require(config, "intermediate_size"),
        "norm": "rms",
        "norm_eps": config.get("rms_norm_eps", 1e-6),
        "rotary_base": rope.get("rope_theta", config.get("rope_theta", 10000.0)),
        "activation": "silu",
        "mlp": "gated",
        "tied": config.get("tie_word_embeddings", False),
        "init_std": config.get("initializer_range", 0.02),
        **_read_scaling(config),
    }


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
        for theirs, ours in _names(config).items():
            for part in _parts(ours, config):
                out[f"{layer}{theirs}.{part}"] = state[f"layers.{index}.{ours}.{part}"]
    return out


def from_disk(state: dict[str, Tensor], config: DecoderConfig) -> Iterator[tuple[str, Tensor]]:
    """Rename Hugging Face's to ours; a tied file may still carry its head, which is dropped.

    Raises:
        ArtifactError: a tensor is missing or unknown.
    """
    left = {name: tensor for name, tensor in state.items() if not name.endswith(_BUFFERS)}
    yield "embed.weight", take(left, "model.embed_tokens.weight")
    yield "final_norm.weight", take(left, "model.norm.weight")
    if config.tied:
        left.pop("lm_head.weight", None)
    else:
        yield "head.weight", take(left, "lm_head.weight")
    for index in range(config.layers):
        layer = f"model.layers.{index}."
        for part in _parts("attention.qkv", config):
            pieces = [take(left, f"{layer}{theirs}.{part}") for theirs in _FUSED]
            yield f"layers.{index}.attention.qkv.{part}", torch.cat(pieces)
        for theirs, ours in _names(config).items():
            for part in _parts(ours, config):
                yield f"layers.{index}.{ours}.{part}", take(left, f"{layer}{theirs}.{part}")
    refuse_leftovers(left)


def _names(config: DecoderConfig) -> dict[str, str]:
    return _LAYER | _NORMS if config.query_key_norm else _LAYER


def _parts(ours: str, config: DecoderConfig) -> tuple[str, ...]:
    has_bias = (
        (config.attention_bias and ours == "attention.qkv")
        or (config.out_bias and ours == "attention.out")
        or (config.mlp_bias and ours.startswith("mlp."))
    )
    return ("weight", "bias") if has_bias else ("weight",)


def _scaling(config: DecoderConfig) -> dict[str, Any] | None:
    """How the rotation is scaled, in the words of transformers 5; None where it is not."""
    bands = config.rotary_bands
    if bands is not None:
        return {
            "rope_type": "llama3",
            "factor": config.rotary_scaling,
            "low_freq_factor": bands.low,
            "high_freq_factor": bands.high,
            "original_max_position_embeddings": bands.context,
        }
    if config.rotary_scaling != 1:
        return {"rope_type": "linear", "factor": config.rotary_scaling}
    return None


def _old_spelling(scaling: dict[str, Any]) -> dict[str, Any]:
    """As transformers 4 wrote it: linear knows `type` and `factor` alone, llama3 came later."""
    if scaling["rope_type"] == "linear":
        return {"type": "linear", "factor": scaling["factor"]}
    return scaling


def _read_scaling(config: dict[str, Any]) -> dict[str, Any]:
    """The factor and the bands of a scaled rotation.

    Raises:
        ArtifactError: a kind unknown here, a field that is missing, two spellings that disagree.
    """
    found: dict[str, dict[str, Any]] = {}
    for field in ("rope_parameters", "rope_scaling"):
        asked: dict[str, Any] = config.get(field) or {}
        if asked.get("rope_type", asked.get("type")) == "llama3":
            found[field] = {
                "rotary_scaling": float(require(asked, "factor")),
                "rotary_bands": RotaryBands(
                    low=require(asked, "low_freq_factor"),
                    high=require(asked, "high_freq_factor"),
                    context=require(asked, "original_max_position_embeddings"),
                ),
            }
    if not found:
        return {"rotary_scaling": rotary_scaling(config)}
    first, *others = found.values()
    given = [field for field in ("rope_parameters", "rope_scaling") if config.get(field)]
    if any(other != first for other in others) or len(found) < len(given):
        raise ArtifactError(
            "config.json scales rotary positions in two ways: "
            f"{ {field: config[field] for field in given}!r}",
            remedy="take out the one the model was not trained with",
        )
    return first
