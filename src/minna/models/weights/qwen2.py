"""Qwen 1.5, 2 and 2.5 on disk (`Qwen2ForCausalLM`): Llama with biases on queries, keys and values.

Which matrices have a bias is no field of config.json, it is the family. `num_key_value_heads` is
required, because transformers' default is that of a 7 B model (32) whatever the heads. Sliding
windows are refused; most released files name one that `use_sliding_window` false switches off.
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
        **fields_to_disk(config, model_type="qwen2"),
        "head_dim": config.head_width,
        "use_sliding_window": False,
        "sliding_window": None,
        "max_window_layers": config.layers,
    }


def config_from_disk(config: dict[str, Any]) -> DecoderConfig:
    """Read config.json fields, old or new spelling, as a decoder config.

    Raises:
        ArtifactError: a field is missing, or asks for what Qwen2 here does not do.
    """
    refuse_features(
        config, {"hidden_act": "silu", "use_sliding_window": False, "attention_dropout": 0.0}
    )
    refuse_windows(config)
    require(config, "num_key_value_heads")
    fields = fields_from_disk(config)
    return DecoderConfig(
        **fields,
        head_dim=config.get("head_dim") or fields["width"] // fields["heads"],
        context=config.get("max_position_embeddings", 32768),
        attention_bias=True,
        attention_out_bias=False,
        mlp_bias=False,
    )
