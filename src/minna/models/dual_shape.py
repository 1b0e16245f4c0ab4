"""The `[model]` section of a dual encoder, and what it builds around an image tower.

A recipe names the shape of the text tower and how both towers meet; the image tower is given by a
folder, so its shape is read from there, and only where nobody gives one is it named here.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from minna.models.dual import DualConfig, DualEncoder
from minna.models.encoder import EncoderConfig
from minna.models.pictures.shapes import TowerName, seeing
from minna.models.pictures.towers import ImageTower

_FORBID = ConfigDict(extra="forbid")
_Size = Annotated[int, Field(gt=0)]
_Share = Annotated[float, Field(ge=0, lt=1)]


@dataclass(frozen=True, kw_only=True, config=_FORBID)
class DualShape:
    """A dual encoder: the shape of its text tower (RoBERTa's), and how both towers meet.

    Attributes:
        tower: shape of an image tower that nobody gives (`init.image`): "vit-b-16" is AugReg's
            ViT-B/16, "lite0" EfficientNet-Lite0, "none" a text embedder's.
        pixels: side of the pictures that the image tower sees; 0 is its own (a ViT has no other).
        embed_width: of the shared space; 0 is the image tower's own width.
        pooling, image_projection, centre: as `DualConfig` says.
    """

    family: Literal["dual"] = "dual"
    layers: _Size
    width: _Size
    heads: _Size
    ffn: _Size
    context: _Size = 77
    position_rows: _Size | None = None
    types: _Size = 2
    vocab: _Size | None = None
    norm_eps: float = 1e-12
    dropout: _Share = 0.1
    init_std: float = 0.02
    tower: TowerName = "none"
    pixels: int = Field(default=0, ge=0)
    embed_width: int = Field(default=512, ge=0)
    pooling: Literal["first", "mean"] = "first"
    image_projection: Literal["linear", "none"] = "linear"
    centre: Literal["off", "on"] = "off"

    def text_tower(self, vocab: int) -> EncoderConfig:
        """Return the text tower of this shape for a vocabulary."""
        return EncoderConfig(
            vocab=vocab,
            context=self.context,
            position_rows=self.position_rows or self.context + 2,
            layers=self.layers,
            width=self.width,
            heads=self.heads,
            ffn=self.ffn,
            types=self.types,
            norm_eps=self.norm_eps,
            dropout=self.dropout,
            init_std=self.init_std,
        )

    def dual(
        self, vocab: int, *, image: dict[str, Any], image_width: int, **scores: Any
    ) -> DualConfig:
        """Return the dual encoder of this shape.

        Args:
            vocab: words of the tokenizer.
            image: config.json of the image tower; {} for a text embedder.
            image_width: features of it.
            scores: `scores`, and CLOOB's constants, as the objective says.
        """
        return DualConfig(
            text=self.text_tower(vocab),
            pooling=self.pooling,
            image=image,
            image_width=image_width,
            width=self.embed_width or image_width or self.width,
            image_projection=self.image_projection,
            centre=self.centre,
            **scores,
        )


def build_dual(
    shape: DualShape, *, vocab: int, tower: ImageTower | None, **scores: Any
) -> DualEncoder:
    """Build the (uninitialised) dual encoder of a `[model]` section around its image tower.

    Args:
        shape: the section.
        vocab: rows of the text tower's table.
        tower: locked until somebody says that it learns; None for a text embedder.
        scores: as `DualShape.dual` takes them.
    """
    if tower is None:
        return DualEncoder(shape.dual(vocab, image={}, image_width=0, **scores))
    tower = seeing(tower, pixels=shape.pixels).requires_grad_(requires_grad=False)
    config = shape.dual(vocab, image=tower.config, image_width=tower.width, **scores)
    return DualEncoder(config, image=tower)
