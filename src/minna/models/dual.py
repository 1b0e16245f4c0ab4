"""A dual encoder: words and pictures as vectors of one space (CLIP, CLOOB, SigLIP).

Two towers and two matrices. In locked-image tuning (Zhai et al. 2022, arXiv:2111.07991), the way of
rinna's CLIP and CLOOB, the image tower is given and only the text tower learns, so what training
reads is usually features that were computed once; then `image` is None and `embed_features` is all
that is left of pictures. A text embedder is the same without the image side.

`logit_scale` is the logarithm of what cosines are multiplied with, as in every CLIP since Radford
et al. 2021: it begins at ln(1 / 0.07), SigLIP's at ln 10 with a bias of -10 (Zhai et al. 2023).
CLOOB's is a constant unless it is to be learned, so there is no parameter that an optimiser or its
decay would have to leave alone.

Features of towers are often far from zero (Lite0's lie behind a ReLU6: all cosines above 0.5), and
CLOOB's retrieval averages over what is alike; `centre` takes their mean, a buffer, away first.

Shape letters: B rows, S tokens of a row, D width of the text tower, W features of the image tower,
E width of the shared space.
"""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal

import torch
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from minna.errors import UsageError
from minna.models.checkpointing import Checkpointing
from minna.models.encoder import Encoder, EncoderConfig
from minna.models.pictures.towers import ImageTower
from minna.models.pictures.vit import Vit

Scores = Literal["clip", "cloob", "siglip"]

_FIRST_SCALE, _FIRST_OF_SIGLIP = math.log(1 / 0.07), math.log(10)
_FIRST_BIAS = -10.0


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class DualConfig:
    """The shape of a dual encoder.

    Attributes:
        text: of the text tower; its `context` is the longest row, the token in front counted.
        pooling: a text is read at its first token, or as the mean of all.
        image: config.json of the image tower; {} for a text embedder.
        image_width: features of the image tower; 0 for a text embedder.
        width: of the shared space.
        image_projection: "none" projects texts to the image tower's features (LiT without a head).
        scores: what the model is trained for, and with it which scale it has.
        centre: whether the mean of training features is taken from an image's.
        inv_tau, scale_hopfield: of CLOOB. The first is its scale, which may be learned as is
            that of CLIP; the second is for training alone.
    """

    text: EncoderConfig
    pooling: Literal["first", "mean"] = "first"
    image: dict[str, Any] = Field(default_factory=dict)
    image_width: int = Field(default=0, ge=0)
    width: int = Field(default=512, gt=0)
    image_projection: Literal["linear", "none"] = "linear"
    scores: Scores = "clip"
    centre: Literal["off", "on"] = "off"
    inv_tau: Annotated[float, Field(gt=0)] | Literal["learned"] = 30.0
    scale_hopfield: float = Field(default=15.0, gt=0)

    @property
    def learns_scale(self) -> bool:
        """Whether the scale is a parameter."""
        return self.scores != "cloob" or self.inv_tau == "learned"

    def __post_init__(self) -> None:
        """Check what would otherwise fail deep inside."""
        if bool(self.image) != bool(self.image_width):
            raise UsageError(
                f"image_width is {self.image_width} and the image tower's config has "
                f"{len(self.image)} fields; a text embedder has neither",
                remedy="give both, or none",
            )
        if self.image and self.image_projection == "none" and self.image_width != self.width:
            raise UsageError(
                f"without an image projection the width must be the image tower's: width is "
                f"{self.width}, and the tower gives {self.image_width} features",
                remedy=f'set width = {self.image_width}, or image_projection = "linear"',
            )


class DualEncoder(nn.Module):
    """Two towers that meet in one space.

    Args:
        config: its shape.
        image: the image tower; None where features are computed elsewhere.
    """

    attention_kind = "fused"  # texts are read both ways, as in the encoder
    image_mean: Tensor

    def __init__(self, config: DualConfig, *, image: ImageTower | None = None) -> None:
        super().__init__()
        if image is not None and image.width != config.image_width:
            raise UsageError(
                f"the image tower gives {image.width} features, and the dual encoder reads "
                f"{config.image_width}",
                remedy="build it for that tower",
            )
        self.config = config
        self.text = Encoder(config.text, head="none")
        self.image = image
        projects = bool(config.image) and config.image_projection == "linear"
        self.visual_projection: nn.Module = (
            nn.Linear(config.image_width, config.width, bias=False) if projects else nn.Identity()
        )
        self.text_projection = nn.Linear(config.text.width, config.width, bias=False)
        siglip = config.scores == "siglip"
        self._first_scale = _FIRST_OF_SIGLIP if siglip else _FIRST_SCALE
        scale = torch.tensor(self._first_scale)
        self.logit_scale = nn.Parameter(scale) if config.learns_scale else None
        self.logit_bias = nn.Parameter(torch.tensor(_FIRST_BIAS)) if siglip else None
        self.register_buffer("image_mean", torch.zeros(config.image_width))

    @property
    def checkpointing(self) -> Checkpointing:
        """What layers keep for their backward pass."""
        return self.text.checkpointing

    @checkpointing.setter
    def checkpointing(self, how: Checkpointing) -> None:
        self.text.checkpointing = how
        if self.image is not None and isinstance(self.image.body, Vit):
            self.image.body.checkpointing = how

    @property
    def scale(self) -> float:
        """What cosines are multiplied with."""
        if self.logit_scale is not None:
            return math.exp(float(self.logit_scale.detach()))
        constant = self.config.inv_tau
        assert constant != "learned", "then it is a parameter"
        return constant

    @property
    def bias(self) -> float:
        """What is added to scaled cosines; 0 but for SigLIP's loss."""
        return 0.0 if self.logit_bias is None else float(self.logit_bias.detach())

    def train(self, mode: bool = True) -> DualEncoder:  # noqa: FBT001, FBT002 - torch's signature
        """Switch to training; a locked image tower stays as it is, batch statistics included."""
        super().train(mode)
        if self.image is not None and self.image.locked:
            self.image.eval()
        return self

    def forward(self, tokens_BS: Tensor, lengths_B: Tensor) -> Tensor:
        """Return `embed_text`: what training runs for every batch."""
        return self.embed_text(tokens_BS, lengths_B)

    def embed_text(self, tokens_BS: Tensor, lengths_B: Tensor) -> Tensor:
        """Return texts in the shared space [B, E], not normalised.

        Args:
            tokens_BS: ids, padded behind; the tokenizer's side puts the first token there.
            lengths_B: tokens of each row.
        """
        hidden_BSD = self.text(tokens_BS, lengths_B)
        if self.config.pooling == "first":
            return self.text_projection(hidden_BSD[:, 0])
        places = torch.arange(tokens_BS.shape[1], device=tokens_BS.device)
        seen_BS1 = (places < lengths_B[:, None])[..., None]
        mean_BD = (hidden_BSD.float() * seen_BS1).sum(1) / lengths_B[:, None]
        return self.text_projection(mean_BD.to(hidden_BSD.dtype))

    def embed_features(self, features_BW: Tensor) -> Tensor:
        """Return features of the image tower in the shared space [B, E], not normalised.

        Raises:
            UsageError: this is a text embedder.
        """
        if not self.config.image:
            raise UsageError("this model embeds texts only", remedy="give it texts")
        features_BW = features_BW.to(self.image_mean.dtype)
        if self.config.centre == "on":
            features_BW = features_BW - self.image_mean
        return self.visual_projection(features_BW)

    def embed_image(self, pixels_BCHW: Tensor) -> Tensor:
        """Return pictures in the shared space [B, E], not normalised.

        Raises:
            UsageError: there is no image tower.
        """
        if self.image is None:
            raise UsageError(
                "this model has no image tower, so it cannot see pictures",
                remedy="give it the features that the tower made of them",
            )
        tower = self.image
        return self.embed_features(tower.look(pixels_BCHW) if tower.locked else tower(pixels_BCHW))

    @torch.no_grad()
    def initialise(self, *, seed: int) -> None:
        """Draw fresh weights for all but the image tower.

        Projections are normal with deviation 1 / sqrt(width they read) (Radford et al. 2021).
        """
        self.text.initialise(seed=seed)
        generator = torch.Generator().manual_seed(seed)
        for matrix in (self.text_projection, self.visual_projection):
            if isinstance(matrix, nn.Linear):
                deviation = 1 / math.sqrt(matrix.in_features)
                matrix.weight.normal_(0.0, deviation, generator=generator)
        if self.logit_scale is not None:
            self.logit_scale.fill_(self._first_scale)
        if self.logit_bias is not None:
            self.logit_bias.fill_(_FIRST_BIAS)
        self.image_mean.zero_()

    def flops_per_token(self, *, row_tokens: int) -> int:
        """Floating-point operations of one trained token: the text tower's, and projections'.

        An image tower that learns is not counted: what it costs depends on pixels, not on tokens.
        """
        matrices = (self.text_projection, self.visual_projection)
        projections = sum(p.numel() for matrix in matrices for p in matrix.parameters())
        return self.text.flops_per_token(row_tokens=row_tokens) + 6 * projections // row_tokens
