"""GPT-NeoX on disk: queries, keys and values are interleaved per head, rotary has two spellings.

transformers 5 writes `rope_parameters`, everything older (and llama.cpp) reads `rotary_pct`,
`rotary_emb_base` and `rope_scaling`; the head is `embed_out` on disk and `lm_head` in memory. Both
spellings are read and both are written, and where they disagree nothing is guessed. The old 3.6b
files carry causal-mask and inv_freq buffers, which are dropped.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from torch import Tensor

from minna.errors import ArtifactError
from minna.models.decoder import DecoderConfig
from minna.models.weights.checks import refuse_leftovers, require, rotary_scaling, take

_ACTIVATIONS = {
    "gelu": "gelu",
    "gelu_new": "gelu_tanh",
    "gelu_fast": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
}
_BUFFERS = (".attention.bias", ".attention.masked_bias", ".rotary_emb.inv_freq")
_LAYER = {
    "input_layernorm": "attention_norm",
    "attention.query_key_value": "attention.qkv",
    "attention.dense": "attention.out",
    "post_attention_layernorm": "mlp_norm",
    "mlp.dense_h_to_4h": "mlp.up",
    "mlp.dense_4h_to_h": "mlp.down",
}


def config_to_disk(config: DecoderConfig) -> dict[str, Any]:
    """Write a decoder config as config.json fields, rotary in both spellings."""
    scaled = config.rotary_scaling != 1
    # transformers 4.31 to 4.42 refuse a rope_scaling with any third field
    old = {"type": "linear", "factor": config.rotary_scaling}
    new = {"rope_type": "linear", "factor": config.rotary_scaling}
    return {
        "model_type": "gpt_neox",
        "vocab_size": config.vocab,
        "max_position_embeddings": config.context,
        "hidden_size": config.width,
        "num_hidden_layers": config.layers,
        "num_attention_heads": config.heads,
        "intermediate_size": config.ffn,
        "hidden_act": "gelu_new" if config.activation == "gelu_tanh" else "gelu",
        "layer_norm_eps": config.norm_eps,
        "use_parallel_residual": config.residual == "parallel",
        "rotary_pct": config.rotary_fraction,
        "rotary_emb_base": config.rotary_base,
        "rope_parameters": {
            **(new if scaled else {"rope_type": "default"}),
            "rope_theta": config.rotary_base,
            "partial_rotary_factor": config.rotary_fraction,
        },
        **({"rope_scaling": old} if scaled else {}),
        "attention_bias": config.attention_bias,
        "attention_dropout": config.dropout,
        "hidden_dropout": config.dropout,
        "initializer_range": config.init_std,
        "tie_word_embeddings": config.tied,
    }


def config_from_disk(config: dict[str, Any]) -> DecoderConfig:
    """Read config.json fields, old or new spelling, as a decoder config.

    Raises:
        ArtifactError: a field is missing, or asks for what GPT-NeoX here does not do.
    """
    activation = config.get("hidden_act", "gelu")
    if activation not in _ACTIVATIONS:
        raise ArtifactError(
            f"config.json has hidden_act {activation!r}",
            remedy=f"supported: {', '.join(_ACTIVATIONS)}",
        )
    rope: dict[str, Any] = config.get("rope_parameters") or {}
    return DecoderConfig(
        vocab=require(config, "vocab_size"),
        context=config.get("max_position_embeddings", 2048),
        layers=require(config, "num_hidden_layers"),
        width=require(config, "hidden_size"),
        heads=require(config, "num_attention_heads"),
        ffn=require(config, "intermediate_size"),
        norm_eps=config.get("layer_norm_eps", 1e-5),
        rotary_fraction=rope.get("partial_rotary_factor", config.get("rotary_pct", 0.25)),
        rotary_base=rope.get("rope_theta", config.get("rotary_emb_base", 10000.0)),
        rotary_scaling=rotary_scaling(config),
        activation=_ACTIVATIONS[activation],  # pyright: ignore[reportArgumentType]
        residual="parallel" if config.get("use_parallel_residual", True) else "sequential",
        attention_bias=config.get("attention_bias", True),
        tied=config.get("tie_word_embeddings", False),
        dropout=config.get("hidden_dropout", 0.0),
        init_std=config.get("initializer_range", 0.02),
    )


def to_disk(state: dict[str, Tensor], config: DecoderConfig) -> dict[str, Tensor]:
    """Rename ours to Hugging Face's and interleave queries, keys and values per head."""
    out = {"gpt_neox.embed_in.weight": state["embed.weight"]}
    out |= {f"gpt_neox.final_layer_norm.{p}": state[f"final_norm.{p}"] for p in ("weight", "bias")}
    if not config.tied:
        out["embed_out.weight"] = state["head.weight"]
    for index in range(config.layers):
        for theirs, ours in _LAYER.items():
            for part in _parts(ours, config):
                tensor = state[f"layers.{index}.{ours}.{part}"]
                if ours == "attention.qkv":
                    tensor = _interleave(tensor, config)
                out[f"gpt_neox.layers.{index}.{theirs}.{part}"] = tensor
    return out


def from_disk(state: dict[str, Tensor], config: DecoderConfig) -> Iterator[tuple[str, Tensor]]:
    """Rename Hugging Face's to ours.

    Raises:
        ArtifactError: a tensor is missing or unknown.
    """
    left = {name: tensor for name, tensor in state.items() if not name.endswith(_BUFFERS)}
    yield "embed.weight", take(left, "gpt_neox.embed_in.weight")
    for part in ("weight", "bias"):
        yield f"final_norm.{part}", take(left, f"gpt_neox.final_layer_norm.{part}")
    head = "lm_head.weight" if "lm_head.weight" in left else "embed_out.weight"
    if config.tied:
        left.pop(head, None)
    else:
        yield "head.weight", take(left, head)
    for index in range(config.layers):
        for theirs, ours in _LAYER.items():
            for part in _parts(ours, config):
                tensor = take(left, f"gpt_neox.layers.{index}.{theirs}.{part}")
                if ours == "attention.qkv":
                    tensor = _separate(tensor, config)
                yield f"layers.{index}.{ours}.{part}", tensor
    refuse_leftovers(left)


def _parts(ours: str, config: DecoderConfig) -> tuple[str, ...]:
    has_bias = config.attention_bias or not ours.startswith("attention.")
    return ("weight", "bias") if has_bias else ("weight",)


def _interleave(tensor: Tensor, config: DecoderConfig) -> Tensor:
    """[3, head, features, ...] -> [head, 3, features, ...], flattened over the first three."""
    shape = (3, config.heads, config.head_width, *tensor.shape[1:])
    return tensor.view(shape).transpose(0, 1).reshape(tensor.shape).contiguous()


def _separate(tensor: Tensor, config: DecoderConfig) -> Tensor:
    """[head, 3, features, ...] -> [3, head, features, ...], flattened over the first three."""
    shape = (config.heads, 3, config.head_width, *tensor.shape[1:])
    return tensor.view(shape).transpose(0, 1).reshape(tensor.shape).contiguous()
