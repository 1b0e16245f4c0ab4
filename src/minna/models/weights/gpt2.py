"""GPT-2 on disk: Conv1D matrices lie transposed, the head is tied, position rows are learned."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from torch import Tensor

from minna.errors import ArtifactError
from minna.models.decoder import DecoderConfig
from minna.models.weights.checks import refuse_features, refuse_leftovers, require, take

# Three names of one function, equal to rounding; japanese-gpt-1b says gelu_fast.
_ACTIVATIONS = {
    "gelu_new": "gelu_tanh",
    "gelu_fast": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
    "gelu": "gelu",
}
_LAYER = {
    "ln_1": "attention_norm",
    "attn.c_attn": "attention.qkv",
    "attn.c_proj": "attention.out",
    "ln_2": "mlp_norm",
    "mlp.c_fc": "mlp.up",
    "mlp.c_proj": "mlp.down",
}


def config_to_disk(config: DecoderConfig) -> dict[str, Any]:
    """Write a decoder config as config.json fields."""
    return {
        "model_type": "gpt2",
        "vocab_size": config.vocab,
        "n_positions": config.context,
        "n_ctx": config.context,
        "n_embd": config.width,
        "n_layer": config.layers,
        "n_head": config.heads,
        "n_inner": config.ffn,
        "activation_function": "gelu_new" if config.activation == "gelu_tanh" else "gelu",
        "layer_norm_epsilon": config.norm_eps,
        "resid_pdrop": config.dropout,
        "embd_pdrop": config.dropout,
        "attn_pdrop": config.dropout,
        "initializer_range": config.init_std,
        "tie_word_embeddings": config.tied,
    }


def config_from_disk(config: dict[str, Any]) -> DecoderConfig:
    """Read config.json fields as a decoder config.

    Raises:
        ArtifactError: a field is missing, or asks for what GPT-2 here does not do.
    """
    refuse_features(
        config,
        {
            "scale_attn_weights": True,
            "scale_attn_by_inverse_layer_idx": False,
            "reorder_and_upcast_attn": False,
            "add_cross_attention": False,
        },
    )
    activation = config.get("activation_function", "gelu_new")
    if activation not in _ACTIVATIONS:
        raise ArtifactError(
            f"config.json has activation_function {activation!r}",
            remedy=f"supported: {', '.join(_ACTIVATIONS)}",
        )
    width = require(config, "n_embd")
    return DecoderConfig(
        vocab=require(config, "vocab_size"),
        context=config.get("n_positions", 1024),
        layers=require(config, "n_layer"),
        width=width,
        heads=require(config, "n_head"),
        ffn=config.get("n_inner") or 4 * width,
        norm_eps=config.get("layer_norm_epsilon", 1e-5),
        positions="learned",
        activation=_ACTIVATIONS[activation],  # pyright: ignore[reportArgumentType]
        tied=config.get("tie_word_embeddings", True),
        dropout=config.get("resid_pdrop", 0.1),
        init_std=config.get("initializer_range", 0.02),
    )


def to_disk(state: dict[str, Tensor], config: DecoderConfig) -> dict[str, Tensor]:
    """Rename ours to Hugging Face's; matrices of Conv1D modules are [in, out] there."""
    out = {
        "transformer.wte.weight": state["embed.weight"],
        "transformer.wpe.weight": state["positions.weight"],
        "transformer.ln_f.weight": state["final_norm.weight"],
        "transformer.ln_f.bias": state["final_norm.bias"],
    }
    if not config.tied:
        out["lm_head.weight"] = state["head.weight"]
    for index in range(config.layers):
        for theirs, ours in _LAYER.items():
            weight = state[f"layers.{index}.{ours}.weight"]
            name = f"transformer.h.{index}.{theirs}"
            out[f"{name}.weight"] = weight.T.contiguous() if weight.ndim > 1 else weight
            out[f"{name}.bias"] = state[f"layers.{index}.{ours}.bias"]
    return out


def from_disk(state: dict[str, Tensor], config: DecoderConfig) -> Iterator[tuple[str, Tensor]]:
    """Rename Hugging Face's to ours; drops the causal-mask buffers old checkpoints carry.

    Raises:
        ArtifactError: a tensor is missing or unknown.
    """
    left = {
        name if name.startswith(("transformer.", "lm_head.")) else f"transformer.{name}": tensor
        for name, tensor in state.items()
        if not name.endswith((".attn.bias", ".attn.masked_bias"))
    }
    if config.tied:
        left.pop("lm_head.weight", None)
    yield "embed.weight", take(left, "transformer.wte.weight")
    yield "positions.weight", take(left, "transformer.wpe.weight")
    yield "final_norm.weight", take(left, "transformer.ln_f.weight")
    yield "final_norm.bias", take(left, "transformer.ln_f.bias")
    if not config.tied:
        yield "head.weight", take(left, "lm_head.weight")
    for index in range(config.layers):
        for theirs, ours in _LAYER.items():
            name = f"transformer.h.{index}.{theirs}"
            weight = take(left, f"{name}.weight")
            weight = weight.T.contiguous() if weight.ndim > 1 else weight
            yield f"layers.{index}.{ours}.weight", weight
            yield f"layers.{index}.{ours}.bias", take(left, f"{name}.bias")
    refuse_leftovers(left)
