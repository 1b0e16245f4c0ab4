"""RoBERTa on disk: query, key and value apart, a tied head under two names, a bias under two."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import torch
from torch import Tensor

from minna.models.encoder import EncoderConfig
from minna.models.weights.checks import refuse_features, refuse_leftovers, require, take

_EMBEDDINGS = {
    "embeddings.word_embeddings.weight": "embed.weight",
    "embeddings.position_embeddings.weight": "positions.weight",
    "embeddings.token_type_embeddings.weight": "types.weight",
    "embeddings.LayerNorm.weight": "embed_norm.weight",
    "embeddings.LayerNorm.bias": "embed_norm.bias",
}
_HEAD = {
    "lm_head.dense.weight": "transform.weight",
    "lm_head.dense.bias": "transform.bias",
    "lm_head.layer_norm.weight": "transform_norm.weight",
    "lm_head.layer_norm.bias": "transform_norm.bias",
    "lm_head.bias": "head_bias",
}
_LAYER = {
    "attention.output.dense": "out",
    "attention.output.LayerNorm": "attention_norm",
    "intermediate.dense": "up",
    "output.dense": "down",
    "output.LayerNorm": "mlp_norm",
}
_QKV = ("query", "key", "value")
# what transformers 4 kept in the file beside the weights, what is tied, and what we never made
_DROPPED = ("position_ids", "lm_head.decoder.weight", "lm_head.decoder.bias", "token_type_ids")


def config_to_disk(config: EncoderConfig) -> dict[str, Any]:
    """Write an encoder config as config.json fields."""
    return {
        "model_type": "roberta",
        "vocab_size": config.vocab,
        "max_position_embeddings": config.position_rows,
        "hidden_size": config.width,
        "num_hidden_layers": config.layers,
        "num_attention_heads": config.heads,
        "intermediate_size": config.ffn,
        "type_vocab_size": config.types,
        "hidden_act": "gelu",
        "layer_norm_eps": config.norm_eps,
        "hidden_dropout_prob": config.dropout,
        "attention_probs_dropout_prob": config.dropout,
        "initializer_range": config.init_std,
        "position_embedding_type": "absolute",
        "tie_word_embeddings": True,
        "is_decoder": False,
    }


def config_from_disk(config: dict[str, Any]) -> EncoderConfig:
    """Read config.json fields as an encoder config.

    The table of positions has two rows more than are used, as in rinna's and in Liu et al.'s.

    Raises:
        ArtifactError: a field is missing, or asks for what is not here.
    """
    refuse_features(
        config,
        {
            "hidden_act": "gelu",
            "position_embedding_type": "absolute",
            "tie_word_embeddings": True,
            "is_decoder": False,
            "add_cross_attention": False,
        },
    )
    rows = require(config, "max_position_embeddings")
    return EncoderConfig(
        vocab=require(config, "vocab_size"),
        context=max(1, rows - 2),
        position_rows=rows,
        layers=require(config, "num_hidden_layers"),
        width=require(config, "hidden_size"),
        heads=require(config, "num_attention_heads"),
        ffn=require(config, "intermediate_size"),
        types=config.get("type_vocab_size", 2),
        norm_eps=config.get("layer_norm_eps", 1e-12),
        dropout=config.get("hidden_dropout_prob", 0.1),
        init_std=config.get("initializer_range", 0.02),
    )


def to_disk(state: dict[str, Tensor], config: EncoderConfig) -> dict[str, Tensor]:
    """Rename ours to Hugging Face's; what is tied is written once."""
    body = body_to_disk(state, config, prefix="roberta.")
    return body | {theirs: state[ours] for theirs, ours in _HEAD.items()}


def body_to_disk(
    state: dict[str, Tensor], config: EncoderConfig, *, prefix: str
) -> dict[str, Tensor]:
    """Rename all but the head, under the name that the model has in a larger one."""
    out = {f"{prefix}{theirs}": state[ours] for theirs, ours in _EMBEDDINGS.items()}
    for index in range(config.layers):
        there, here = f"{prefix}encoder.layer.{index}", f"layers.{index}"
        for kind in ("weight", "bias"):
            parts = state[f"{here}.qkv.{kind}"].chunk(3)
            for name, part in zip(_QKV, parts, strict=True):
                out[f"{there}.attention.self.{name}.{kind}"] = part.contiguous()
            for theirs, ours in _LAYER.items():
                out[f"{there}.{theirs}.{kind}"] = state[f"{here}.{ours}.{kind}"]
    return out


def from_disk(
    state: dict[str, Tensor], config: EncoderConfig
) -> Generator[tuple[str, Tensor], None, None]:
    """Rename Hugging Face's to ours, one tensor at a time.

    Raises:
        ArtifactError: a tensor is missing or unknown.
    """
    left = kept(state, prefix="roberta.")
    yield from body_from_disk(left, config, prefix="roberta.")
    for theirs, ours in _HEAD.items():
        yield ours, take(left, theirs)
    refuse_leftovers(left)


def kept(state: dict[str, Tensor], *, prefix: str) -> dict[str, Tensor]:
    """Return the tensors that are asked for: no buffers, nothing tied, no pooler."""
    return {
        name: tensor
        for name, tensor in state.items()
        if not name.endswith(_DROPPED) and not name.startswith(f"{prefix}pooler.")
    }


def body_from_disk(
    left: dict[str, Tensor], config: EncoderConfig, *, prefix: str
) -> Generator[tuple[str, Tensor], None, None]:
    """Take all but the head out of `left`, and rename it.

    Raises:
        ArtifactError: a tensor is missing.
    """
    for theirs, ours in _EMBEDDINGS.items():
        yield ours, take(left, f"{prefix}{theirs}")
    for index in range(config.layers):
        there, here = f"{prefix}encoder.layer.{index}", f"layers.{index}"
        for kind in ("weight", "bias"):
            names = [f"{there}.attention.self.{name}.{kind}" for name in _QKV]
            yield f"{here}.qkv.{kind}", torch.cat([take(left, name) for name in names])
            for theirs, ours in _LAYER.items():
                yield f"{here}.{ours}.{kind}", take(left, f"{there}.{theirs}.{kind}")
