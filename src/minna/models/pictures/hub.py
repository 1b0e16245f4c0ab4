"""Models of transformers filled from tensors that we read, and refused where they do not fit.

transformers renames the tensors of old files as its classes change, so it fills them itself; but
what is missing it draws at random, with a line in a log. Here that is an error. It gets a config
and tensors, never a name: nothing is looked up on a network, and no code beside weights is run.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any, Literal

import torch
from torch import Tensor, nn

from minna.errors import ArtifactError, MissingExtraError

Said = Literal["pooled", "first"]
FEATURES = "minna_features"
"""Key of a vision_config: which output of a CLIP tower its features are (see `HubVision`)."""
VISION = {
    "clip_vision_model": ("CLIPVisionConfig", "CLIPVisionModel"),
    "siglip_vision_model": ("SiglipVisionConfig", "SiglipVisionModel"),
}
"""model_type of a tower -> transformers' classes."""

_INNER, _MODULE = "vision_model.", "model."
_DROPPED = ("visual_projection.", "classifier.")  # heads on the features


def fill(classes: tuple[str, str], *, config: dict[str, Any], state: dict[str, Tensor]) -> Any:
    """Make a model of transformers, in fp32 and eval mode, from all of its tensors.

    Args:
        classes: names of the config's class and the model's.
        config: fields of config.json.
        state: tensors under their names on disk.

    Raises:
        MissingExtraError: transformers is not installed.
        ArtifactError: the config is not its, or a tensor is missing, unknown or of another shape.
    """
    try:
        import transformers
    except ImportError as error:
        raise MissingExtraError("transformers", extra="transformers") from error
    from transformers.utils import logging

    config_class, model_class = (getattr(transformers, name) for name in classes)
    bars = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        known = config_class.from_dict(dict(config))
        model, told = model_class.from_pretrained(
            None,
            config=known,
            state_dict=dict(state),
            dtype=torch.float32,
            ignore_mismatched_sizes=True,  # they are told below, with their names
            output_loading_info=True,
        )
    except (ValueError, TypeError, KeyError, RuntimeError) as error:
        raise ArtifactError(
            f"transformers makes no {classes[1]} of config.json: {error}",
            remedy="check that config.json and the weights belong together",
        ) from error
    finally:
        if bars:
            logging.enable_progress_bar()
    for problem in ("missing", "unexpected", "mismatched"):
        names = sorted(str(name) for name in told[f"{problem}_keys"])
        if names:
            raise ArtifactError(
                f"{len(names)} tensors of {classes[1]} are {problem}: {', '.join(names[:3])}",
                remedy="check that config.json and the weights belong together",
            )
    return model.eval()


class HubVision(nn.Module):
    """A CLIP or SigLIP vision tower of transformers, reduced to its features.

    "pooled" is what these models project: CLIP's normed class token, SigLIP's attention pooling.
    "first" is the class token before that norm, which rinna's class takes of any tower.
    """

    def __init__(self, model: Any, *, said: Said) -> None:
        super().__init__()
        self.model = model
        self.said: Said = said
        self.width = int(model.config.hidden_size)

    def forward(self, pixels_BCHW: Tensor) -> Tensor:
        """Return features [B, D]."""
        output = self.model(pixel_values=pixels_BCHW)
        return output.pooler_output if self.said == "pooled" else output.last_hidden_state[:, 0]


def hub_vision(config: dict[str, Any], state: dict[str, Tensor]) -> HubVision:
    """Make the vision tower of a config.json, filled from tensors under their names on disk.

    Raises:
        MissingExtraError: transformers is not installed.
        ArtifactError: the weights do not fit, or the tower has no pooled output.
    """
    said: Any = config.get(FEATURES, "pooled")
    if said not in ("pooled", "first") or config.get("vision_use_head") is False:
        raise ArtifactError(
            f"the vision tower of config.json gives no features ({FEATURES} {said!r}, "
            f"vision_use_head {config.get('vision_use_head')!r})",
            remedy='use a tower with its head, and "pooled" or "first"',
        )
    plain = {key: value for key, value in config.items() if key != FEATURES}
    return HubVision(fill(VISION[config["model_type"]], config=plain, state=_own(state)), said=said)


def to_disk(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Rename a state dict of `HubVision` to what transformers' files have."""
    short = {name.removeprefix(_MODULE).removeprefix(_INNER): one for name, one in state.items()}
    return {f"{_INNER}{name}": tensor for name, tensor in short.items()}


def from_disk(state: dict[str, Tensor]) -> Generator[tuple[str, Tensor]]:
    """Rename what transformers' files have to a state dict of `HubVision`."""
    for name, tensor in _own(state).items():
        yield f"{_MODULE}{name.removeprefix(_INNER)}", tensor


def _own(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors of the tower alone."""
    return {
        name: tensor
        for name, tensor in state.items()
        if not name.startswith(_DROPPED) and not name.endswith("position_ids")
    }
