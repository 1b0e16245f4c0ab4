"""A picture as its tower was trained to see it: resized, cropped, scaled; with Pillow and numpy.

Preprocessing belongs to a tower, not to the house: AugReg's ViT sees values in [-1, 1], rinna
shows the same ViT pictures normalised by OpenAI's means, EfficientNet-Lite0 sees (x - 127) / 128,
and each loses points by the others'. So it lies beside the weights, in transformers' own
preprocessor_config.json. transformers' usual processors need torchvision; results here equal those
of its Pillow ones to the bit (tests/models/test_image_towers.py): values are looked up in a table
of 256, made with their order of roundings.

Shape letters: B pictures, H and W their sides.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from pydantic import ConfigDict
from pydantic.dataclasses import dataclass
from torch import Tensor

from minna.errors import UsageError

if TYPE_CHECKING:
    from PIL.Image import Image

Resize = Literal["short_side", "squash"]
Interpolation = Literal["nearest", "lanczos", "bilinear", "bicubic", "box", "hamming"]
Colours = tuple[float, float, float]

FILTERS: tuple[Interpolation, ...] = (
    "nearest",
    "lanczos",
    "bilinear",
    "bicubic",
    "box",
    "hamming",
)  # Pillow's numbers, which preprocessor_config.json holds
OPENAI_MEAN, OPENAI_STD = (
    (0.48145466, 0.4578275, 0.40821073),
    (0.26862954, 0.26130258, 0.27577711),
)


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class Preprocess:
    """What a picture goes through.

    Attributes:
        size: side of the square the tower sees, in pixels.
        resize: "short_side" keeps the picture's shape and cuts what is too long, "squash" does not
            keep it.
        resized: side before the middle is cut out; as `size` where nothing is.
        interpolation: Pillow's filter.
        scale: what a value of 0 to 255 is multiplied with first.
        mean, std: of the scaled values, by colour: what the tower sees is (x - mean) / std.
    """

    size: int = 224
    resize: Resize = "short_side"
    resized: int = 0
    interpolation: Interpolation = "bicubic"
    scale: float = 1 / 255
    mean: Colours = OPENAI_MEAN
    std: Colours = OPENAI_STD

    def __post_init__(self) -> None:
        """Fill in `resized`; check what would otherwise divide by zero."""
        if self.resized == 0:
            object.__setattr__(self, "resized", self.size)
        if self.size < 1 or self.resized < 1:
            raise UsageError(
                f"pictures of {self.size} pixels out of {self.resized} cannot be made",
                remedy="give sides of at least 1",
            )
        if not all(math.isfinite(value) and value for value in self.std):
            raise UsageError(
                f"pictures are divided by std {self.std}, which may hold neither 0 nor infinities",
                remedy="use the preprocessor_config.json that came with the tower",
            )

    @property
    def key(self) -> str:
        """Hex sha256 of the settings: features made with others are others."""
        content = json.dumps(dataclasses.asdict(self), sort_keys=True)
        return hashlib.sha256(content.encode()).hexdigest()

    def at(self, size: int) -> Preprocess:
        """The same for a tower that sees pictures of another size: the same share is cut out."""
        share = self.resized / self.size
        return dataclasses.replace(self, size=size, resized=round(size * share))

    def pixels(self, images: Iterable[Image]) -> Tensor:
        """Return what the tower sees [B, 3, H, W], float32."""
        shown = [self._shown(image) for image in images]
        if not shown:
            return torch.zeros(0, 3, self.size, self.size)
        values_B3HW = np.stack(shown).transpose(0, 3, 1, 2)
        seen_B3HW = np.empty(values_B3HW.shape, np.float32)
        for colour, table in enumerate(self._tables()):
            np.take(table, values_B3HW[:, colour], out=seen_B3HW[:, colour])
        return torch.from_numpy(seen_B3HW)

    def augmented(self, image: Image, *, generator: np.random.Generator) -> Image:
        """Return a random crop of 0.9 to 1 of the area, stretched by at most a tenth.

        It is as large as `pixels` makes the whole picture before it cuts out the middle, so things
        in it are as large as in a picture that is shown plainly. Nothing is mirrored: a mirrored
        word is no word (open_clip's augmentation for contrastive training; its crops are nearly
        square, so that of a wide photograph it can draw only one).
        """
        image = _as_rgb(image)
        left, top, width, height = _random_box(*image.size, generator=generator)
        crop = image.crop((left, top, left + width, top + height))
        return crop.resize(self._whole(*image.size), self._filter)

    def to_disk(self) -> dict[str, Any]:
        """Write as preprocessor_config.json."""
        short = self.resize == "short_side"
        both = {"height": self.resized, "width": self.resized}
        return {
            "image_processor_type": "CLIPImageProcessor" if short else "ViTImageProcessor",
            "do_convert_rgb": True,
            "do_resize": True,
            "size": {"shortest_edge": self.resized} if short else both,
            "resample": FILTERS.index(self.interpolation),
            "do_center_crop": short or self.size != self.resized,
            "crop_size": {"height": self.size, "width": self.size},
            "do_rescale": True,
            "rescale_factor": self.scale,
            "do_normalize": True,
            "image_mean": list(self.mean),
            "image_std": list(self.std),
        }

    @staticmethod
    def from_disk(config: dict[str, Any]) -> Preprocess:
        """Read a preprocessor_config.json of transformers, of any age.

        Pictures are always made RGB first (`do_convert_rgb`): towers here have three colours.

        Raises:
            ArtifactError: it asks for what is not done here, or leaves out what its class does not
                say either.
        """
        from minna.models.pictures.preprocess_disk import read

        return read(config)

    @property
    def _filter(self) -> Any:
        from PIL.Image import Resampling

        return Resampling(FILTERS.index(self.interpolation))

    def _whole(self, width: int, height: int) -> tuple[int, int]:
        """Width and height of a whole picture before its middle is cut out."""
        side = self.resized
        if self.resize == "squash":
            return side, side
        if width <= height:
            return side, max(1, int(side * height / width))
        return max(1, int(side * width / height)), side

    def _shown(self, image: Image) -> npt.NDArray[np.uint8]:
        """Return the part of a picture that the tower sees, [H, W, 3] of 0 to 255."""
        image = _as_rgb(image)
        target = self._whole(*image.size)
        if target != image.size:
            image = image.resize(target, self._filter)
        return _middle(np.asarray(image), self.size)

    def _tables(self) -> list[npt.NDArray[np.float32]]:
        """What each of the 256 values becomes, by colour, rounded as transformers rounds."""
        scaled = (np.arange(256, dtype=np.float64) * self.scale).astype(np.float32)
        return [
            (scaled - np.float32(mean)) / np.float32(std)
            for mean, std in zip(self.mean, self.std, strict=True)
        ]


def lite0_preprocess(size: int = 224) -> Preprocess:
    """EfficientNet-Lite0's: the middle 7/8 of the picture, (x - 127) / 128."""
    return Preprocess(
        size=size,
        resized=round(size / 0.875),
        interpolation="bicubic",
        mean=(127 / 255, 127 / 255, 127 / 255),
        std=(128 / 255, 128 / 255, 128 / 255),
    )


def rinna_preprocess(size: int = 224) -> Preprocess:
    """As for CLIP and CLOOB of rinna: bilinear, OpenAI's numbers (their ViT began with others)."""
    return Preprocess(size=size, interpolation="bilinear")


def _as_rgb(image: Image) -> Image:
    """Return three colours; what is transparent lies on white, as in corpora here."""
    if image.mode == "RGB" and image.info.get("transparency") is None:
        return image
    if not image.has_transparency_data:
        return image.convert("RGB")
    from PIL.Image import alpha_composite, new

    white = new("RGBA", image.size, (255, 255, 255, 255))
    return alpha_composite(white, image.convert("RGBA")).convert("RGB")


def _middle(values_HW3: npt.NDArray[np.uint8], size: int) -> npt.NDArray[np.uint8]:
    """Cut out the middle; where the picture is smaller, black surrounds it (as transformers)."""
    height, width = values_HW3.shape[:2]
    if height < size or width < size:
        larger = np.zeros((max(height, size), max(width, size), 3), np.uint8)
        top, left = -((height - len(larger)) // 2), -((width - larger.shape[1]) // 2)
        larger[top : top + height, left : left + width] = values_HW3
        values_HW3 = larger
        height, width = values_HW3.shape[:2]
    top, left = (height - size) // 2, (width - size) // 2
    return values_HW3[top : top + size, left : left + size]


def _random_box(
    width: int, height: int, *, generator: np.random.Generator
) -> tuple[int, int, int, int]:
    """Draw left, top, width and height of a crop: its area, then of the shapes that fit, one."""
    area = generator.uniform(0.9, 1.0)
    stretch = math.exp(generator.uniform(math.log(area), -math.log(area)))
    w = min(width, max(1, round(width * math.sqrt(area * stretch))))
    h = min(height, max(1, round(height * math.sqrt(area / stretch))))
    left = int(generator.integers(0, width - w + 1))
    return left, int(generator.integers(0, height - h + 1)), w, h
