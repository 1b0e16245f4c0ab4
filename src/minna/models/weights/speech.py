"""HuBERT, wav2vec 2.0 and data2vec on disk: transformers' names, which are ours inside as well.

What differs between files is what stands around them: encoders have no prefix or that of their
family, recognisers always have it, and those that only learn carry codebooks and projections, which
an encoder has no use for. Weight norm has two spellings (`weight_g` and `weight_v` of older torch,
`parametrizations.weight.original0` and `1`); the older is written, since every version reads it.

What the fields of config.json cannot say stands under `minna`: whether samples are normalised,
which transformers keeps in preprocessor_config.json. There its default is yes, also beside released
base models that were trained on samples as they came; to their norm over the clip it is nearly one.
"""

from __future__ import annotations

import re
from collections.abc import Generator
from typing import Any

import torch
from torch import Tensor

from minna.console import warn
from minna.errors import ArtifactError, nearest
from minna.models.speech.config import BLANK, KERNELS, RATE, STRIDES, SpeechConfig
from minna.models.weights.checks import refuse_features, refuse_leftovers, require, take

PREFIXES = {"hubert": "hubert.", "wav2vec2": "wav2vec2.", "data2vec-audio": "data2vec_audio."}
"""model_type -> what stands before the names of an encoder inside a larger model."""
CLASSES = {"hubert": "Hubert", "wav2vec2": "Wav2Vec2", "data2vec-audio": "Data2VecAudio"}
"""model_type -> how transformers' classes begin (...Config, ...Model, ...ForCTC)."""
PRETRAINING = "pretraining.safetensors"
"""Beside an encoder's folder: what was learned with it and is no part of it."""
BODY, HEAD = "body.", "lm_head."

_OURS = "minna"
_MASK = "masked_spec_embed"
_WEIGHT_NORM = (
    ("parametrizations.weight.original0", "weight_g"),
    ("parametrizations.weight.original1", "weight_v"),
)
# what other models have on top of an encoder, or learned beside it
_DROPPED = re.compile(
    r"^(quantizer|project_hid|project_q|final_proj|label_embs_concat|projector|classifier|"
    r"layer_weights|lm_head)(\.|$)"
)


def config_to_disk(config: SpeechConfig) -> dict[str, Any]:
    """Write a config as config.json fields; with `vocab` it is a recogniser's."""
    ours: dict[str, Any] = {
        "model_type": config.family,
        "architectures": [f"{CLASSES[config.family]}{'ForCTC' if config.vocab else 'Model'}"],
        "hidden_size": config.width,
        "num_hidden_layers": config.layers,
        "num_attention_heads": config.heads,
        "intermediate_size": config.ffn,
        "hidden_act": "gelu",
        "feat_extract_activation": "gelu",
        "feat_extract_norm": config.conv_norm,
        "conv_dim": list(config.conv_widths),
        "conv_kernel": list(KERNELS),
        "conv_stride": list(STRIDES),
        "conv_bias": config.conv_bias,
        "do_stable_layer_norm": config.block_norm == "pre",
        "num_conv_pos_embedding_groups": config.position_groups,
        "layer_norm_eps": config.norm_eps,
        "initializer_range": config.init_std,
        "hidden_dropout": config.dropout,
        "attention_dropout": config.attention_dropout,
        "activation_dropout": config.activation_dropout,
        "feat_proj_dropout": config.feature_dropout,
        "final_dropout": config.head_dropout,
        "layerdrop": config.layer_drop,
        # with neither mask transformers' models have no masked_spec_embed to be filled
        "apply_spec_augment": True,
        "mask_time_prob": 0.05,
        "mask_time_length": 10,
        "mask_feature_prob": 0.0,
        "ctc_loss_reduction": "sum",
        "ctc_zero_infinity": True,
        "pad_token_id": BLANK,
        "bos_token_id": 1,
        "eos_token_id": 2,
        _OURS: {"audio": config.audio},
    }
    layers, kernel = config.positions
    if config.family == "data2vec-audio":
        ours |= {"num_conv_pos_embeddings": layers, "conv_pos_kernel_size": kernel}
    else:
        ours["num_conv_pos_embeddings"] = kernel
    return ours | ({"vocab_size": config.vocab} if config.vocab else {})


def config_from_disk(config: dict[str, Any]) -> SpeechConfig:
    """Read config.json fields as a config.

    Raises:
        ArtifactError: it is of another family, a field is missing, or asks for what is not here.
    """
    family: Any = config.get("model_type")
    if family not in PREFIXES:
        raise ArtifactError(
            f"config.json has model_type {family!r}, which is no encoder of speech"
            f"{nearest(str(family), PREFIXES)}",
            remedy=f"encoders of speech read here: {', '.join(PREFIXES)}",
        )
    _refuse(config)
    data2vec = family == "data2vec-audio"
    norm = "layer" if data2vec else config.get("feat_extract_norm", "group")
    places = config.get("num_conv_pos_embeddings")
    own: dict[str, Any] = config.get(_OURS) or {}
    recognises = any(str(one).endswith("ForCTC") for one in config.get("architectures") or ())
    if recognises:
        refuse_features(config, {"pad_token_id": BLANK})
    return SpeechConfig(
        family=family,
        layers=require(config, "num_hidden_layers"),
        width=require(config, "hidden_size"),
        heads=require(config, "num_attention_heads"),
        ffn=require(config, "intermediate_size"),
        conv_widths=tuple(config.get("conv_dim", (512,) * len(KERNELS))),
        conv_norm=norm,
        conv_bias=config.get("conv_bias", False),
        block_norm="pre" if config.get("do_stable_layer_norm") and not data2vec else "post",
        position_layers=places if data2vec else None,
        position_kernel=config.get("conv_pos_kernel_size") if data2vec else places,
        position_groups=config.get("num_conv_pos_embedding_groups", 16),
        audio=own.get("audio"),
        vocab=require(config, "vocab_size") if recognises else None,
        norm_eps=config.get("layer_norm_eps", 1e-5),
        dropout=config.get("hidden_dropout", 0.1),
        attention_dropout=config.get("attention_dropout", 0.1),
        activation_dropout=config.get("activation_dropout", 0.1),
        feature_dropout=config.get("feat_proj_dropout", 0.0),
        head_dropout=config.get("final_dropout", 0.1),
        layer_drop=config.get("layerdrop", 0.1),
        init_std=config.get("initializer_range", 0.02),
    )


def preprocessor(config: SpeechConfig) -> dict[str, Any]:
    """Return preprocessor_config.json: how transformers makes of samples what the encoder hears."""
    return {
        "feature_extractor_type": "Wav2Vec2FeatureExtractor",
        "feature_size": 1,
        "sampling_rate": RATE,
        "padding_side": "right",
        "padding_value": 0.0,
        "do_normalize": config.audio == "normalised",
        "return_attention_mask": config.conv_norm == "layer",
    }


def encoder_to_disk(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Rename the state of a `SpeechEncoder` to that of transformers' bare model."""
    return {_older(name): tensor for name, tensor in state.items()}


def recogniser_to_disk(state: dict[str, Tensor], config: SpeechConfig) -> dict[str, Tensor]:
    """Rename the state of a `SpeechRecogniser` to that of transformers' ...ForCTC."""
    prefix = PREFIXES[config.family]
    return {
        f"{prefix}{_older(name.removeprefix(BODY))}" if name.startswith(BODY) else name: tensor
        for name, tensor in state.items()
    }


def to_disk(state: dict[str, Tensor], config: SpeechConfig) -> dict[str, Tensor]:
    """Rename the state of an encoder, or with `vocab` of a recogniser."""
    return recogniser_to_disk(state, config) if config.vocab else encoder_to_disk(state)


def from_disk(state: dict[str, Tensor], config: SpeechConfig) -> Generator[tuple[str, Tensor]]:
    """Rename the tensors of an encoder's folder, or with `vocab` of a recogniser's.

    Raises:
        ArtifactError: a tensor is missing or unknown.
    """
    return (recogniser_from_disk if config.vocab else encoder_from_disk)(state, config)


def pretraining_to_disk(
    state: dict[str, Tensor], beside: dict[str, Tensor], config: SpeechConfig
) -> dict[str, Tensor]:
    """Return the tensors of transformers' Wav2Vec2ForPreTraining, which has such parts itself.

    Args:
        state: of a `SpeechEncoder`.
        beside: what the objective learned with it, under the names it has on disk.
        config: of the encoder.
    """
    assert config.family == "wav2vec2", "no other family has a class for it"
    prefix = PREFIXES[config.family]
    return {f"{prefix}{name}": one for name, one in encoder_to_disk(state).items()} | beside


def encoder_from_disk(
    state: dict[str, Tensor], config: SpeechConfig
) -> Generator[tuple[str, Tensor]]:
    """Rename the encoder of any folder of the family to ours, one tensor at a time.

    Raises:
        ArtifactError: a tensor is missing or unknown.
    """
    prefix = PREFIXES[config.family]
    left = {
        _newer(name.removeprefix(prefix)): tensor
        for name, tensor in state.items()
        if not _DROPPED.match(name)
    }
    if _MASK not in left:  # transformers leaves it out where a config masks nothing
        warn(f"these weights have no {_MASK}: what stands for hidden frames is drawn")
        draw = torch.Generator().manual_seed(0)
        left[_MASK] = torch.rand(config.width, generator=draw)
    for name in encoder_names(config):
        yield name, take(left, name)
    refuse_leftovers(left)


def recogniser_from_disk(
    state: dict[str, Tensor], config: SpeechConfig
) -> Generator[tuple[str, Tensor]]:
    """Rename transformers' ...ForCTC to ours, one tensor at a time.

    Raises:
        ArtifactError: a tensor is missing or unknown.
    """
    heads = [f"{HEAD}weight", f"{HEAD}bias"]
    kept = dict(state)
    for name in heads:
        yield name, take(kept, name)
    for name, tensor in encoder_from_disk(kept, config):
        yield f"{BODY}{name}", tensor


def encoder_names(config: SpeechConfig) -> list[str]:
    """Names of all tensors of an encoder, in transformers' newer spelling."""
    both = ("weight", "bias")
    normed = len(KERNELS) if config.conv_norm == "layer" else 1
    names = [_MASK]
    for index in range(len(KERNELS)):
        conv = f"feature_extractor.conv_layers.{index}"
        names.append(f"{conv}.conv.weight")
        names += [f"{conv}.conv.bias"] if config.conv_bias else []
        names += [f"{conv}.layer_norm.{kind}" for kind in both] if index < normed else []
    names += [
        f"feature_projection.{part}.{k}" for part in ("layer_norm", "projection") for k in both
    ]
    places = "encoder.pos_conv_embed"
    if config.family == "data2vec-audio":
        count, _ = config.positions
        names += [f"{places}.layers.{n}.conv.{kind}" for n in range(count) for kind in both]
    else:
        names += [f"{places}.conv.{kind}" for kind in ("bias", *(new for new, _ in _WEIGHT_NORM))]
    names += [f"encoder.layer_norm.{kind}" for kind in both]
    parts = [f"attention.{one}_proj" for one in "kvq"] + ["attention.out_proj", "layer_norm"]
    parts += [f"feed_forward.{one}_dense" for one in ("intermediate", "output")]
    parts.append("final_layer_norm")
    return names + [
        f"encoder.layers.{index}.{part}.{kind}"
        for index in range(config.layers)
        for part in parts
        for kind in both
    ]


def _refuse(config: dict[str, Any]) -> None:
    """Raise where a config.json asks for another network."""
    refuse_features(
        config,
        {
            "hidden_act": "gelu",
            "feat_extract_activation": "gelu",
            "feat_proj_layer_norm": True,
            "conv_pos_batch_norm": False,
            "add_adapter": False,
            "adapter_attn_dim": None,
        },
    )
    for name, known in (("conv_kernel", KERNELS), ("conv_stride", STRIDES)):
        if tuple(config.get(name, known)) != known:
            raise ArtifactError(
                f"config.json has {name} {config[name]!r}; here it must be {list(known)}, which "
                "make a frame every 320 samples",
                remedy="use a model with the published convolutions",
            )


def _older(name: str) -> str:
    for newer, older in _WEIGHT_NORM:
        name = name.replace(f".pos_conv_embed.conv.{newer}", f".pos_conv_embed.conv.{older}")
    return name


def _newer(name: str) -> str:
    for newer, older in _WEIGHT_NORM:
        if name.endswith(f"pos_conv_embed.conv.{older}"):
            return name.removesuffix(older) + newer
    return name
