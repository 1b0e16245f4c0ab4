"""Image towers by name, with fresh weights: for learning from nothing, and for counting.

Locked-image tuning is given a tower that knows something (`init.image`). These stand in where only
a shape is asked for (`minna plan`, sizes of released models), or where both towers learn.
"""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import nn

from minna.errors import UsageError
from minna.models.pictures.lite0 import Lite0
from minna.models.pictures.preprocess import lite0_preprocess, rinna_preprocess
from minna.models.pictures.towers import ImageTower, lite_config
from minna.models.pictures.vit import Vit, config_from_disk

TowerName = Literal["vit-b-16", "lite0", "none"]

VIT_B_16: dict[str, Any] = {
    "model_type": "vit",
    "image_size": 224,
    "patch_size": 16,
    "num_channels": 3,
    "num_hidden_layers": 12,
    "hidden_size": 768,
    "num_attention_heads": 12,
    "intermediate_size": 3072,
    "hidden_act": "gelu",
    "layer_norm_eps": 1e-12,
    "qkv_bias": True,
}
"""google/vit-base-patch16-224, whose weights are AugReg's (Steiner et al. 2022)."""
_STD = 0.02


def fresh_tower(name: TowerName) -> ImageTower | None:
    """Return a tower of that shape with drawn weights (as torch draws them); of "none" nothing."""
    if name == "none":
        return None
    if name == "lite0":
        config = lite_config(classes=0)
        return ImageTower(Lite0(), config=config, preprocess=lite0_preprocess())
    tower = ImageTower(
        Vit(config_from_disk(VIT_B_16)), config=VIT_B_16, preprocess=rinna_preprocess(224)
    )
    for module in tower.modules():
        if isinstance(module, nn.Linear):
            nn.init.trunc_normal_(module.weight, std=_STD)
            if module.bias is not None:  # pyright: ignore[reportUnnecessaryComparison] - it may be
                nn.init.zeros_(module.bias)
    with torch.no_grad():
        body = tower.body
        assert isinstance(body, Vit), "this one is"
        nn.init.trunc_normal_(body.positions, std=_STD)
        nn.init.trunc_normal_(body.class_token, std=_STD)
    return tower


def seeing(tower: ImageTower, *, pixels: int) -> ImageTower:
    """Return a tower that sees pictures of that many pixels a side; 0 leaves it as it is.

    Raises:
        UsageError: it has a table of positions, which is of one size.
    """
    if pixels in (0, tower.preprocess.size):
        return tower
    if not isinstance(tower.body, Lite0):
        raise UsageError(
            f"model.pixels is {pixels}, and the image tower sees {tower.preprocess.size}",
            remedy="leave model.pixels out: only a tower of convolutions sees any size",
        )
    tower.preprocess = tower.preprocess.at(pixels)
    return tower
