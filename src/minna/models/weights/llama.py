"""Llama 1, 2 and 3 on disk (`LlamaForCausalLM`): the `separate` layout without biases.

youri-7b is Llama 2 at 7 B. `num_key_value_heads` may be missing (Llama 1: as many as heads), so
may `head_dim` (an equal share of the width); `pretraining_tp` only says in how many pieces the same
products were once taken. Llama 3.1's rotary scaling (`rope_type` "llama3") is known.
"""

from __future__ import annotations

from typing import Any

from minna.models.decoder import DecoderConfig
from minna.models.weights.checks import refuse_features
from minna.models.weights.separate import fields_from_disk, fields_to_disk, from_disk, to_disk

__all__ = ["config_from_disk", "config_to_disk", "from_disk", "to_disk"]


def config_to_disk(config: DecoderConfig) -> dict[str, Any]:
    """Write a decoder config as config.json fields."""
    return {
        **fields_to_disk(config, model_type="llama"),
        "head_dim": config.head_width,
        "attention_bias": config.attention_bias,
        "mlp_bias": config.mlp_bias,
        "pretraining_tp": 1,
    }


def config_from_disk(config: dict[str, Any]) -> DecoderConfig:
    """Read config.json fields, old or new spelling, as a decoder config.

    Raises:
        ArtifactError: a field is missing, or asks for what Llama here does not do.
    """
    refuse_features(config, {"hidden_act": "silu", "attention_dropout": 0.0})
    fields = fields_from_disk(config)
    return DecoderConfig(
        **fields,
        head_dim=config.get("head_dim") or fields["width"] // fields["heads"],
        context=config.get("max_position_embeddings", 2048),
        attention_bias=config.get("attention_bias", False),
        mlp_bias=config.get("mlp_bias", False),
    )
