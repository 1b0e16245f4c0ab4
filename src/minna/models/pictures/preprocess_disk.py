"""preprocessor_config.json of transformers, of any age: what of it changes pixels.

transformers fills in what a file leaves out from the class it names, so the same three lines mean
other pixels for a CLIP than for a ViT. Those classes are a table here; of any other class the file
must say all. What is not done here (padding, thumbnails, pictures of every shape) is an error and
not another picture.
"""

from __future__ import annotations

from typing import Any

from minna.errors import ArtifactError, nearest
from minna.models.pictures.preprocess import (
    FILTERS,
    OPENAI_MEAN,
    OPENAI_STD,
    Colours,
    Interpolation,
    Preprocess,
    Resize,
)

_HALF = (0.5, 0.5, 0.5)
_SIDES = {"do_resize": True, "do_rescale": True, "rescale_factor": 1 / 255, "do_normalize": True}
# What transformers' classes do where the file does not say. `one_number` is what a size of one
# number means there.
_CLASSES: dict[str, dict[str, Any]] = {
    "CLIP": {
        **_SIDES,
        "size": {"shortest_edge": 224},
        "resample": 3,
        "do_center_crop": True,
        "crop_size": 224,
        "image_mean": OPENAI_MEAN,
        "image_std": OPENAI_STD,
        "one_number": "shortest_edge",
    },
    "ViT": {
        **_SIDES,
        "size": 224,
        "resample": 2,
        "do_center_crop": False,
        "image_mean": _HALF,
        "image_std": _HALF,
        "one_number": "square",
    },
    "Siglip": {
        **_SIDES,
        "size": {"height": 224, "width": 224},
        "resample": 3,
        "do_center_crop": False,
        "image_mean": _HALF,
        "image_std": _HALF,
        "one_number": "shortest_edge",
    },
    "EfficientNet": {
        **_SIDES,
        "size": 346,
        "resample": 3,
        "do_center_crop": False,
        "crop_size": 289,
        "image_mean": _HALF,
        "image_std": _HALF,
        "include_top": True,
        "one_number": "square",
    },
}
# What would change the pixels and is not done here, with the values that change nothing.
_UNSUPPORTED: dict[str, tuple[Any, ...]] = {
    "do_resize": (True,),
    "do_pad": (None, False),
    "crop_pct": (None,),
    "do_thumbnail": (None, False),
    "do_align_long_axis": (None, False),
    "do_flip_channel_order": (None, False),
    "do_reduce_labels": (None, False),
}


def read(config: dict[str, Any]) -> Preprocess:
    """Read the fields of a preprocessor_config.json.

    Raises:
        ArtifactError: it asks for what is not done here, or leaves out what its class does not say
            either.
    """
    named: Any = config.get("image_processor_type", config.get("feature_extractor_type", "ViT"))
    kind = str(named)
    for ending in ("Fast", "Pil", "ImageProcessor", "FeatureExtractor"):
        kind = kind.removesuffix(ending)
    usual = _CLASSES.get(kind, {"one_number": "square", "do_center_crop": False})
    values = {**usual, **{key: value for key, value in config.items() if value is not None}}
    for name, neutral in _UNSUPPORTED.items():
        if values.get(name, neutral[0]) not in neutral:
            raise ArtifactError(
                f"preprocessor_config.json asks for {name} = {values[name]!r}, which is not done",
                remedy=f"use a tower that does without; here it must be {neutral[0]!r}",
            )
    resize, resized = _size(_needed(values, "size", named), one_number=values["one_number"])
    crop = _square(_needed(values, "crop_size", named)) if values["do_center_crop"] else None
    if resize == "short_side" and crop is None:
        raise ArtifactError(
            f"preprocessor_config.json resizes the shorter side to {resized} and crops nothing, so "
            "that every picture has a shape of its own",
            remedy='give "do_center_crop": true with a crop_size, or a size with height and width',
        )
    scale = float(_needed(values, "rescale_factor", named)) if values.get("do_rescale") else 1.0
    mean, std = _normalised(values, named)
    return Preprocess(
        size=crop or resized,
        resize=resize,
        resized=resized,
        interpolation=_interpolation(_needed(values, "resample", named)),
        scale=scale,
        mean=mean,
        std=std,
    )


def _needed(values: dict[str, Any], name: str, named: Any) -> Any:
    if name not in values:
        raise ArtifactError(
            f"preprocessor_config.json has no {name!r}{nearest(name, values)}, and what "
            f"{named!r} does without it is not known here",
            remedy=f"write it there; classes known here: {', '.join(_CLASSES)}",
        )
    return values[name]


def _size(size: Any, *, one_number: str) -> tuple[Resize, int]:
    """Read a size in any of its spellings."""
    if isinstance(size, int) and one_number == "shortest_edge":
        size = {"shortest_edge": size}
    if isinstance(size, dict) and isinstance(size.get("shortest_edge"), int):
        if size.get("longest_edge"):
            raise ArtifactError(
                f"preprocessor_config.json has size {size!r}: pictures of every shape",
                remedy="use a tower that sees squares",
            )
        return "short_side", size["shortest_edge"]
    return "squash", _square(size)


def _square(size: Any) -> int:
    """Read the side of a square.

    Raises:
        ArtifactError: it is none.
    """
    sides: Any = {size} if isinstance(size, int) else None
    if isinstance(size, dict):
        sides = {size.get("height"), size.get("width")}
    side = sides.pop() if sides and len(sides) == 1 else None
    if not isinstance(side, int) or side < 1:
        raise ArtifactError(
            f"preprocessor_config.json has the size {size!r}; towers here see squares",
            remedy='give a number, or equal "height" and "width"',
        )
    return side


def _interpolation(code: Any) -> Interpolation:
    if isinstance(code, int) and 0 <= code < len(FILTERS):
        return FILTERS[code]
    raise ArtifactError(
        f"preprocessor_config.json has resample {code!r}, and Pillow's filters are 0 to 5",
        remedy=f"they are {', '.join(f'{n} {name}' for n, name in enumerate(FILTERS))}",
    )


def _normalised(values: dict[str, Any], named: Any) -> tuple[Colours, Colours]:
    """Read mean and std; EfficientNet's further steps are part of them.

    It may move values down by 1 first (`rescale_offset`), and divide by std once more at the end
    (`include_top`).
    """
    mean, std = (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)
    if values.get("do_normalize"):
        mean = _colours(_needed(values, "image_mean", named), "image_mean")
        std = _colours(_needed(values, "image_std", named), "image_std")
    if values.get("rescale_offset"):
        mean = (mean[0] + 1, mean[1] + 1, mean[2] + 1)
    if values.get("include_top"):
        again = _colours(_needed(values, "image_std", named), "image_std")
        std = (std[0] * again[0], std[1] * again[1], std[2] * again[2])
    return mean, std


def _colours(value: Any, name: str) -> Colours:
    numbers: list[Any] = [value] * 3 if isinstance(value, int | float) else list(value or ())
    if len(numbers) == 3 and all(isinstance(number, int | float) for number in numbers):  # noqa: PLR2004 - red, green, blue
        return float(numbers[0]), float(numbers[1]), float(numbers[2])
    raise ArtifactError(
        f"preprocessor_config.json has {name} {value!r}, and pictures have three colours",
        remedy="give three numbers",
    )
