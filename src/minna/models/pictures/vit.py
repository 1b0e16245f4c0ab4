"""A vision transformer (Dosovitskiy et al. 2021, arXiv:2010.11929): AugReg's and rinna's tower.

Ours and not transformers': it is three products around the attention of torch, it opens rinna's
checkpoints where transformers is not installed, and names of weights in a run do not change with
somebody's next version. transformers' ViTModel gives the same features on the same weights
(tests/models/test_image_towers.py). What it says of a picture is the last hidden state of its first
place, the class token's, behind the last norm.

AugReg trained without dropout or with little; a tower here never drops anything.

Shape letters: B pictures, P places (patches and the class token), D width.
"""

from __future__ import annotations

import re
from collections.abc import Generator
from typing import Any

import torch
import torch.nn.functional as F
from pydantic import ConfigDict
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from minna.errors import ArtifactError, UsageError
from minna.models import checkpointing
from minna.models.checkpointing import Checkpointing
from minna.models.weights.checks import refuse_features, refuse_leftovers, require, take

_OUTER = {
    "embeddings.cls_token": "class_token",
    "embeddings.position_embeddings": "positions",
    "embeddings.patch_embeddings.projection.weight": "patches.weight",
    "embeddings.patch_embeddings.projection.bias": "patches.bias",
    "layernorm.weight": "final_norm.weight",
    "layernorm.bias": "final_norm.bias",
}
_LAYER = {
    "layernorm_before": "attention_norm",
    "attention.output.dense": "out",
    "layernorm_after": "mlp_norm",
    "intermediate.dense": "up",
    "output.dense": "down",
}
_QKV = ("query", "key", "value")
# transformers 5 names a layer's parts otherwise in memory; files of it may have either
_NEWER = (
    (re.compile(r"^layers\.(\d+)\."), r"encoder.layer.\1."),
    (re.compile(r"\.attention\.q_proj\."), ".attention.attention.query."),
    (re.compile(r"\.attention\.k_proj\."), ".attention.attention.key."),
    (re.compile(r"\.attention\.v_proj\."), ".attention.attention.value."),
    (re.compile(r"\.attention\.o_proj\."), ".attention.output.dense."),
    (re.compile(r"\.mlp\.fc1\."), ".intermediate.dense."),
    (re.compile(r"\.mlp\.fc2\."), ".output.dense."),
)
# heads that were trained on the features, and what masked-image training leaves behind
_DROPPED = ("pooler.", "classifier.", "decoder.", "embeddings.mask_token")


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class VitConfig:
    """The shape of a vision transformer. `size` and `patch` are sides in pixels."""

    size: int
    patch: int
    layers: int
    width: int
    heads: int
    ffn: int
    norm_eps: float = 1e-12
    qkv_bias: bool = True

    def __post_init__(self) -> None:
        """Check what would otherwise fail deep inside."""
        if self.width % self.heads:
            raise UsageError(
                f"width {self.width} is not a multiple of heads {self.heads}",
                remedy="use the config.json that came with the weights",
            )

    @property
    def places(self) -> int:
        """Patches of a picture, and the class token."""
        return (self.size // self.patch) ** 2 + 1


class VitLayer(nn.Module):
    """Attention and a feed-forward, each of the normed input and added to it."""

    def __init__(self, config: VitConfig) -> None:
        super().__init__()
        self.config = config
        self.attention_norm = nn.LayerNorm(config.width, eps=config.norm_eps)
        self.qkv = nn.Linear(config.width, 3 * config.width, bias=config.qkv_bias)
        self.out = nn.Linear(config.width, config.width)
        self.mlp_norm = nn.LayerNorm(config.width, eps=config.norm_eps)
        self.up = nn.Linear(config.width, config.ffn)
        self.down = nn.Linear(config.ffn, config.width)

    def forward(self, x_BPD: Tensor, keep: Checkpointing) -> Tensor:
        """Return the next hidden states [B, P, D]."""
        return checkpointing.run(keep, self._add, x_BPD)

    def _add(self, x_BPD: Tensor) -> Tensor:
        B, P, D = x_BPD.shape
        heads = self.config.heads
        parts = self.qkv(self.attention_norm(x_BPD)).view(B, P, 3, heads, D // heads)
        q, k, v = (part.transpose(1, 2) for part in parts.unbind(2))
        attended = F.scaled_dot_product_attention(q, k, v)
        x_BPD = x_BPD + self.out(attended.transpose(1, 2).reshape(B, P, D))
        return x_BPD + self.down(F.gelu(self.up(self.mlp_norm(x_BPD))))


class Vit(nn.Module):
    """The transformer; what it returns is the class token's last state."""

    def __init__(self, config: VitConfig) -> None:
        super().__init__()
        self.config = config
        self.width = config.width
        self.checkpointing: Checkpointing = "none"
        self.patches = nn.Conv2d(3, config.width, config.patch, stride=config.patch)
        self.class_token = nn.Parameter(torch.zeros(1, 1, config.width))
        self.positions = nn.Parameter(torch.zeros(1, config.places, config.width))
        self.layers = nn.ModuleList(VitLayer(config) for _ in range(config.layers))
        self.final_norm = nn.LayerNorm(config.width, eps=config.norm_eps)

    def forward(self, pixels_BCHW: Tensor) -> Tensor:
        """Return features [B, D]."""
        patches_BPD = self.patches(pixels_BCHW).flatten(2).transpose(1, 2)
        token_B1D = self.class_token.expand(len(pixels_BCHW), -1, -1)
        x_BPD = torch.cat([token_B1D, patches_BPD], dim=1) + self.positions
        keep = self.checkpointing if self.training else "none"
        for layer in self.layers:
            x_BPD = layer(x_BPD, keep)
        return self.final_norm(x_BPD[:, 0])


def config_from_disk(config: dict[str, Any]) -> VitConfig:
    """Read the fields of a ViT's config.json.

    Raises:
        ArtifactError: a field is missing, or asks for what is not here.
    """
    refuse_features(config, {"hidden_act": "gelu", "num_channels": 3})
    return VitConfig(
        size=_side(config, "image_size", 224),
        patch=_side(config, "patch_size", 16),
        layers=require(config, "num_hidden_layers"),
        width=require(config, "hidden_size"),
        heads=require(config, "num_attention_heads"),
        ffn=require(config, "intermediate_size"),
        norm_eps=config.get("layer_norm_eps", 1e-12),
        qkv_bias=config.get("qkv_bias", True),
    )


def to_disk(state: dict[str, Tensor], config: VitConfig) -> dict[str, Tensor]:
    """Rename ours to transformers' (ViTModel without its pooler)."""
    out = {theirs: state[ours] for theirs, ours in _OUTER.items()}
    for index in range(config.layers):
        there, here = f"encoder.layer.{index}", f"layers.{index}"
        for kind in _qkv_parts(config):
            parts = state[f"{here}.qkv.{kind}"].chunk(3)
            for name, part in zip(_QKV, parts, strict=True):
                out[f"{there}.attention.attention.{name}.{kind}"] = part.contiguous()
        for theirs, ours in _LAYER.items():
            for kind in ("weight", "bias"):
                out[f"{there}.{theirs}.{kind}"] = state[f"{here}.{ours}.{kind}"]
    return out


def from_disk(state: dict[str, Tensor], config: VitConfig) -> Generator[tuple[str, Tensor]]:
    """Rename transformers' to ours, of ViTModel or of a classifier, in either naming.

    Raises:
        ArtifactError: a tensor is missing or unknown.
    """
    left = {
        name: tensor
        for name, tensor in ((_older(name), tensor) for name, tensor in state.items())
        if not name.startswith(_DROPPED)
    }
    for theirs, ours in _OUTER.items():
        yield ours, take(left, theirs)
    for index in range(config.layers):
        there, here = f"encoder.layer.{index}", f"layers.{index}"
        for kind in _qkv_parts(config):
            names = [f"{there}.attention.attention.{name}.{kind}" for name in _QKV]
            yield f"{here}.qkv.{kind}", torch.cat([take(left, name) for name in names])
        for theirs, ours in _LAYER.items():
            for kind in ("weight", "bias"):
                yield f"{here}.{ours}.{kind}", take(left, f"{there}.{theirs}.{kind}")
    refuse_leftovers(left)


def _side(config: dict[str, Any], name: str, usual: int) -> int:
    """Read the side of a square, which transformers also writes as two numbers.

    Raises:
        ArtifactError: it is no square.
    """
    value: Any = config.get(name, usual)
    sides: set[Any] = set(value) if isinstance(value, list | tuple) else {value}
    side = sides.pop() if len(sides) == 1 else None
    if not isinstance(side, int) or side < 1:
        raise ArtifactError(
            f"config.json has {name} {value!r}; towers here see squares",
            remedy="use a tower that was trained on squares",
        )
    return side


def _older(name: str) -> str:
    name = name.removeprefix("vit.")
    for newer, older in _NEWER:
        name = newer.sub(older, name)
    return name


def _qkv_parts(config: VitConfig) -> tuple[str, ...]:
    return ("weight", "bias") if config.qkv_bias else ("weight",)
