"""A dual encoder on disk: the layout of rinna's CLIP and CLOOB, read and written.

The text tower lies under `text_model.` (RobertaModel or BertModel without pooler and head), the
image tower under `vision_model.` (ViTModel; a native CLIP vision tower doubles the prefix), beside
`visual_projection.weight`, `text_projection.weight` and, but for CLOOB, `logit_scale`. config.json
has `text_config`, `vision_config` and `projection_dim`.

Its `model_type` "clip" is also that of transformers' CLIP, which is another model: what tells them
apart is the text tower, `text_config.model_type` (`is_dual`).

What rinna's layout has no words for stands under `minna`: pooling, whether images are projected and
centred (then with a tensor `image_mean`), the longest text, what was trained for. Without that key
it is rinna's: first token, at most 77 of them, a linear projection. A model of the sigmoid loss is
`minna_siglip`, not `siglip`, whose towers and tokenizer transformers would build. A text embedder
has no `vision_config`.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Generator
from typing import Any

import torch
from torch import Tensor

from minna.errors import ArtifactError, nearest
from minna.models.dual import DualConfig, DualEncoder, Scores
from minna.models.encoder import EncoderConfig
from minna.models.pictures.hub import FEATURES
from minna.models.pictures.towers import ImageTower, state_from_disk, state_to_disk
from minna.models.weights import roberta
from minna.models.weights.checks import refuse_leftovers, require, take

TEXT, VISION = "text_model.", "vision_model."
_TEXT, _IMAGE = "text.", "image.body."  # the same in our state dicts
LONGEST = 77
"""Tokens of a text of rinna's, [CLS] counted: its package pads and cuts to that."""

_SCORES: dict[str, Scores] = {"clip": "clip", "cloob": "cloob", "minna_siglip": "siglip"}
_TYPES = {scores: kind for kind, scores in _SCORES.items()}
_TEXT_TYPES = ("roberta", "bert")
_OURS = "minna"


def is_dual(config: dict[str, Any]) -> bool:
    """Whether a config.json is of this layout, ours or rinna's."""
    text: Any = config.get("text_config")
    named = config.get("model_type") in _TYPES.values()
    return named and isinstance(text, dict) and text.get("model_type") in _TEXT_TYPES


def is_rinnas(config: dict[str, Any]) -> bool:
    """Whether a config.json of this layout was not written here."""
    return _OURS not in config


def dual_to_disk(
    model: DualEncoder, *, image: ImageTower | None = None
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Return config.json and the tensors of a model, image tower included.

    Args:
        model: with its image tower, unless that is given.
        image: the tower whose features it was trained on.

    Raises:
        ArtifactError: there is no image tower, and the model is no text embedder.
    """
    state = model.state_dict()
    tower = image or model.image
    if tower is not None:
        state |= {f"{_IMAGE}{name}": one for name, one in tower.body.state_dict().items()}
    elif model.config.image:
        raise ArtifactError(
            "a dual encoder is written with its image tower, and this one has none",
            remedy="give the tower whose features it was trained on",
        )
    config = config_to_disk(model.config)
    if model.config.scores == "cloob":
        config["init_inv_tau"] = model.scale
    return config, to_disk(state, model.config)


def config_to_disk(config: DualConfig) -> dict[str, Any]:
    """Write a config as config.json fields."""
    out: dict[str, Any] = {
        "model_type": _TYPES[config.scores],
        "text_config": roberta.config_to_disk(config.text),
        "vision_config": dict(config.image) or None,
        "projection_dim": config.width,
        _OURS: {
            "pooling": config.pooling,
            "image_projection": config.image_projection,
            "centre": config.centre,
            "text_tokens": config.text.context,
        },
    }
    if config.scores == "cloob":
        out["scale_hopfield"] = config.scale_hopfield
        if config.inv_tau == "learned":
            out[_OURS]["inv_tau"] = "learned"
        else:
            out["init_inv_tau"] = config.inv_tau
        return out
    return out | {"logit_scale_init_value": math.log(1 / 0.07)}


def config_from_disk(config: dict[str, Any]) -> DualConfig:
    """Read config.json fields as a config.

    Raises:
        ArtifactError: it is of another layout, a field is missing, or asks for what is not here.
    """
    if not is_dual(config):
        text: Any = config.get("text_config")
        kind: Any = text.get("model_type") if isinstance(text, dict) else None
        raise ArtifactError(
            f"config.json has model_type {config.get('model_type')!r} with a text tower {kind!r}"
            f"{nearest(str(config.get('model_type')), _TYPES.values())}",
            remedy=f"dual encoders here are {', '.join(_TYPES.values())} with a text tower "
            f"{' or '.join(_TEXT_TYPES)}",
        )
    own: dict[str, Any] = config.get(_OURS) or {}
    image = vision_config(config)
    scores: Scores = _SCORES[config["model_type"]]
    return DualConfig(
        text=_text(config["text_config"], own),
        pooling=own.get("pooling", "first"),
        image=image,
        image_width=require(image, "hidden_size") if image else 0,
        width=require(config, "projection_dim"),
        image_projection=own.get("image_projection", "linear"),
        scores=scores,
        centre=own.get("centre", "off"),
        inv_tau=own.get("inv_tau", config.get("init_inv_tau", 30.0)),
        scale_hopfield=config.get("scale_hopfield", 15.0),
    )


def to_disk(state: dict[str, Tensor], config: DualConfig) -> dict[str, Tensor]:
    """Rename ours to the layout's; an image tower may be left out."""
    text = {name.removeprefix(_TEXT): one for name, one in state.items() if name.startswith(_TEXT)}
    image = {
        name.removeprefix(_IMAGE): one for name, one in state.items() if name.startswith(_IMAGE)
    }
    out = roberta.body_to_disk(text, config.text, prefix=TEXT)
    out |= {name: state[name] for name in _beside(config)}
    if image:
        disk = state_to_disk(image, config.image)
        out |= {f"{VISION}{name}": tensor for name, tensor in disk.items()}
    return out


def from_disk(state: dict[str, Tensor], config: DualConfig) -> Generator[tuple[str, Tensor]]:
    """Rename the layout's to ours, one tensor at a time.

    Raises:
        ArtifactError: a tensor is missing or unknown.
    """
    yield from without_image(state, config)
    if config.image:
        for name, tensor in state_from_disk(vision_state(state), config.image):
            yield f"{_IMAGE}{name}", tensor


def without_image(state: dict[str, Tensor], config: DualConfig) -> Generator[tuple[str, Tensor]]:
    """Rename all but the image tower, which `pictures.towers.make_tower` makes of its part.

    Raises:
        ArtifactError: a tensor is missing or unknown.
    """
    left = {name: one for name, one in state.items() if not name.startswith(VISION)}
    left = roberta.kept(left, prefix=TEXT)
    for name, tensor in roberta.body_from_disk(left, config.text, prefix=TEXT):
        yield f"{_TEXT}{name}", tensor
    for name in _beside(config):
        tensor = take(left, name)
        yield name, tensor.reshape(()) if name.startswith("logit_") else tensor
    if "image_mean" not in _beside(config):
        yield "image_mean", torch.zeros(config.image_width)
    refuse_leftovers(left)


def vision_config(config: dict[str, Any]) -> dict[str, Any]:
    """Return the image tower's config.json; {} for a text embedder.

    rinna's class reads a CLIP tower at its first place, ours as CLIP does.

    Raises:
        ArtifactError: there is none.
    """
    image: Any = config.get("vision_config")
    if image is None and not is_rinnas(config):
        return {}
    if not isinstance(image, dict):
        raise ArtifactError(
            f"config.json has vision_config {image!r}, and this model has an image tower",
            remedy="use the config.json that came with the weights",
        )
    if is_rinnas(config) and image.get("model_type") == "clip_vision_model":
        image = {FEATURES: "first", **image}
    return dict(image)


def vision_state(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the image tower's tensors, under the names they have in a folder of its own."""
    return {
        name.removeprefix(VISION): tensor
        for name, tensor in state.items()
        if name.startswith(VISION)
    }


def _beside(config: DualConfig) -> list[str]:
    """Names of what lies beside the towers, the same on disk and here."""
    names = ["text_projection.weight"]
    if config.image and config.image_projection == "linear":
        names.append("visual_projection.weight")
    if config.centre == "on":
        names.append("image_mean")
    if config.learns_scale:
        names.append("logit_scale")
    return names + (["logit_bias"] if config.scores == "siglip" else [])


def _text(config: dict[str, Any], own: dict[str, Any]) -> EncoderConfig:
    """Read the text tower; the table of a BERT has no rows that are not used."""
    shape = roberta.config_from_disk(config)
    rows = shape.position_rows if config["model_type"] == "bert" else shape.context
    return dataclasses.replace(shape, context=own.get("text_tokens", min(LONGEST, rows)))
