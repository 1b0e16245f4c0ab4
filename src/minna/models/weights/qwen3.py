"""Qwen3 on disk: the modern shape that transformers, vLLM and llama.cpp all load as it is.

Chosen over Llama because it is the one widely read layout with a norm on queries and keys and with
heads of a width of their own. transformers' defaults for what config.json leaves out are those of
an 8 B model (32 key-value heads, heads of 128), so both are required; sliding windows and rotary
scaling other than linear and Llama 3.1's are refused.
"""

from __future__ import annotations

from typing import Any

from minna.models.decoder import DecoderConfig
from minna.models.weights.checks import refuse_features, refuse_windows, require
from minna.models.weights.separate import fields_from_disk, fields_to_disk, from_disk, to_disk

__all__ = ["config_from_disk", "config_to_disk", "from_disk", "to_disk"]


def config_to_disk(config: DecoderConfig) -> dict[str, Any]:
    """Write a decoder config as config.json fields."""
    return {
        **fields_to_disk(config, model_type="qwen3"),
        "head_dim": config.head_width,
        "attention_bias": config.attention_bias,
        "use_sliding_window": False,
        "sliding_window": None,
        "max_window_layers": config.layers,
    }


def config_from_disk(config: dict[str, Any]) -> DecoderConfig:
    """Read config.json fields, old or new spelling, as a decoder config.

    Raises:
        ArtifactError: a field is missing, or asks for what Qwen3 here does not do.
    """
    refuse_features(
        config, {"hidden_act": "silu", "use_sliding_window": False, "attention_dropout": 0.0}
    )
    refuse_windows(config)
    require(config, "num_key_value_heads")
    return DecoderConfig(
        **fields_from_disk(config),
        head_dim=require(config, "head_dim"),
        context=config.get("max_position_embeddings", 32768),
        attention_bias=config.get("attention_bias", False),
        mlp_bias=False,
        query_key_norm=True,
    )
