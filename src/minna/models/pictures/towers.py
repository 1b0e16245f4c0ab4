"""An image tower: what turns pixels into one row of features, with the preprocessing it needs.

Three kinds of folders hold one, told apart by `model_type`: our EfficientNet-Lite0, a vision
transformer, and the vision half of a CLIP, CLOOB or SigLIP. `runtime/towers.py` opens them; this
file makes a tower of a config and tensors, and gives its tensors back for a file.

Shape letters: B pictures, C colours, H and W sides, D width.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from minna.errors import ArtifactError, nearest
from minna.models.pictures import hub, lite0, vit
from minna.models.pictures.hub import HubVision
from minna.models.pictures.lite0 import Lite0
from minna.models.pictures.preprocess import Preprocess
from minna.models.pictures.vit import Vit

LITE = "efficientnet_lite"
KINDS = (LITE, "vit", *hub.VISION)
"""Values of `model_type` that are towers."""

_VARIANT = "lite0"
_AT_ONCE = 32  # pictures


class ImageTower(nn.Module):
    """Pixels in, features out.

    Args:
        body: the network; its `width` is D.
        config: its config.json.
        preprocess: what makes pixels of pictures.
    """

    def __init__(
        self, body: Lite0 | Vit | HubVision, *, config: dict[str, Any], preprocess: Preprocess
    ) -> None:
        super().__init__()
        self.body = body
        self.config = config
        self.preprocess = preprocess
        self._looks: tuple[list[tuple[Any, ...]], ImageTower] | None = None

    @property
    def width(self) -> int:
        """Features of a picture."""
        return self.body.width

    @property
    def locked(self) -> bool:
        """Whether nothing in it learns."""
        return not any(parameter.requires_grad for parameter in self.parameters())

    def forward(self, pixels_BCHW: Tensor) -> Tensor:
        """Return features [B, D], neither centred nor normalised."""
        return self.body(pixels_BCHW)

    @torch.no_grad()
    def look(self, pixels_BCHW: Tensor) -> Tensor:
        """Return the features [B, D] of a locked tower, as fast as they can be had.

        By `fused`, which is made at the first call and again where weights are others than then; on
        a CPU some pictures at a time, so that their channels stay in the cache.
        """
        state = self.body.state_dict().values()
        made_of = [(one.device, one.data_ptr(), one._version) for one in state]  # noqa: SLF001
        if self._looks is None or self._looks[0] != made_of:
            self._looks = (made_of, self.fused())
        body = self._looks[1].body
        if pixels_BCHW.device.type != "cpu":
            return body(pixels_BCHW)
        return torch.cat([body(some) for some in pixels_BCHW.split(_AT_ONCE)])

    def fused(self) -> ImageTower:
        """Return what is fastest to look with: Lite0 without its norms, others as they are."""
        body = self.body
        if not isinstance(body, Lite0):
            return self
        return ImageTower(body.fused(), config=self.config, preprocess=self.preprocess).eval()


def make_tower(
    config: dict[str, Any], state: dict[str, Tensor], *, preprocess: Preprocess
) -> ImageTower:
    """Make a tower, in fp32 and eval mode.

    Args:
        config: fields of its config.json.
        state: its tensors, under their names on disk.
        preprocess: what it sees.

    Raises:
        ArtifactError: no tower known here, or tensors that do not fit it, or pixels that do not.
    """
    kind = _kind(config)
    body: Lite0 | Vit | HubVision
    if kind in hub.VISION:
        body = hub.hub_vision(config, state)
    else:
        if kind == LITE:
            body = Lite0()
        else:
            with torch.device("meta"):
                body = Vit(vit.config_from_disk(config))
        _fill(body, state_from_disk(state, config))
    _refuse_other_size(config, preprocess)
    return ImageTower(body, config=dict(config), preprocess=preprocess).eval()


def tower_to_disk(tower: ImageTower) -> dict[str, Tensor]:
    """Return a tower's tensors under their names on disk."""
    return state_to_disk(tower.body.state_dict(), tower.config)


def state_to_disk(state: dict[str, Tensor], config: dict[str, Any]) -> dict[str, Tensor]:
    """Rename the state dict of a tower's body to the names on disk.

    Raises:
        ArtifactError: its config.json is of no tower known here.
    """
    kind = _kind(config)
    if kind == "vit":
        return vit.to_disk(state, vit.config_from_disk(config))
    return lite0.to_disk(state) if kind == LITE else hub.to_disk(state)


def state_from_disk(
    state: dict[str, Tensor], config: dict[str, Any]
) -> Iterable[tuple[str, Tensor]]:
    """Rename the tensors of a tower's folder to those of its body, one at a time.

    Raises:
        ArtifactError: its config.json is of no tower known here, or one is missing or unknown.
    """
    kind = _kind(config)
    if kind == "vit":
        return vit.from_disk(state, vit.config_from_disk(config))
    return lite0.from_disk(state) if kind == LITE else hub.from_disk(state)


def lite_config(*, classes: int) -> dict[str, Any]:
    """Return the config.json of EfficientNet-Lite0."""
    return {
        "model_type": LITE,
        "variant": _VARIANT,
        "hidden_size": lite0.WIDTH,
        "num_labels": classes,
        "image_size": 224,
    }


def _kind(config: dict[str, Any]) -> str:
    """Return the model_type of a tower.

    Raises:
        ArtifactError: it is none, or a variant that is not known here.
    """
    kind: Any = config.get("model_type")
    if kind not in KINDS:
        raise ArtifactError(
            f"config.json has model_type {kind!r}, which is no image tower"
            f"{nearest(str(kind), KINDS)}",
            remedy=f"image towers read here: {', '.join(KINDS)}",
        )
    if kind == LITE and config.get("variant", _VARIANT) != _VARIANT:
        raise ArtifactError(
            f"config.json has the variant {config['variant']!r} of EfficientNet-Lite",
            remedy=f"of that family, {_VARIANT} is read here",
        )
    return kind


@torch.no_grad()
def _fill(body: nn.Module, pairs: Iterable[tuple[str, Tensor]]) -> None:
    """Give a network all of its tensors.

    Raises:
        ArtifactError: one is of another shape than the config says, or holds no real numbers.
    """
    expected = body.state_dict()
    ours: dict[str, Tensor] = {}
    for name, tensor in pairs:
        if tensor.shape != expected[name].shape or not tensor.is_floating_point():
            raise ArtifactError(
                f"the tensor of {name!r} has shape {list(tensor.shape)} of {tensor.dtype}, and "
                f"config.json says {list(expected[name].shape)} of floating point",
                remedy="check that config.json and the weights belong together",
            )
        ours[name] = tensor.float().clone()
    left = body.load_state_dict(ours, strict=False, assign=True).missing_keys
    assert all(name.endswith("num_batches_tracked") for name in left), left


def _refuse_other_size(config: dict[str, Any], preprocess: Preprocess) -> None:
    """Raise where a tower with a table of positions is to see pictures of another size."""
    size: Any = config.get("image_size", 224)
    if config["model_type"] != LITE and size not in (preprocess.size, [preprocess.size] * 2):
        raise ArtifactError(
            f"the tower sees pictures of {size} pixels, and its preprocessing makes "
            f"{preprocess.size}",
            remedy="use the preprocessor_config.json that came with the tower",
        )
