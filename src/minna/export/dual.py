"""A dual encoder as a model dir: rinna's layout, with its preprocessing and both towers.

What was trained lies in the checkpoint; a locked image tower does not, and is taken from where the
run took it, if it is still the same one.
"""

from __future__ import annotations

import json
from pathlib import Path

from torch import Tensor

from minna.artifact.files import write_text_atomically
from minna.errors import ArtifactError
from minna.export.files import ExportSettings, as_json, write_weights
from minna.models.dual import DualEncoder
from minna.models.weights.dual import dual_to_disk
from minna.recipe import Recipe
from minna.runtime.towers import tower_digest, tower_folder
from minna.tokenizer.coder import AnyTokenizer


def fill_dual(model: DualEncoder, weights: dict[str, Tensor], recipe: Recipe, *, run: Path) -> None:
    """Give a dual encoder, made around its image tower, the weights of a checkpoint.

    Raises:
        ArtifactError: the image tower is another one than in training.
    """
    inputs = json.loads((run / "inputs.json").read_text(encoding="utf-8"))
    image = recipe.init.image
    if image and inputs.get("image tower") != tower_digest(tower_folder(image)):
        raise ArtifactError(
            f"the image tower at {image} is not the one this run was trained with",
            remedy="put that one back, or train again",
        )
    found = model.load_state_dict(weights, strict=False)
    left = [name for name in found.missing_keys if not name.startswith("image.")]
    assert not left and not found.unexpected_keys, f"the checkpoint was verified: {left}"


def write_dual(
    out: Path, model: DualEncoder, *, words: AnyTokenizer, settings: ExportSettings
) -> None:
    """Write weights, config.json and preprocessor_config.json into the folder `out`."""
    config, tensors = dual_to_disk(model)
    write_weights(out, tensors, settings)
    ids = {"bos_token_id": words.bos_id, "eos_token_id": words.eos_id, "pad_token_id": words.pad_id}
    content = {
        **config,
        **{name: number for name, number in ids.items() if number >= 0},
        "dtype": settings.dtype,
        "torch_dtype": settings.dtype,
    }
    write_text_atomically(out / "config.json", as_json(content))
    if model.image is not None:
        preprocess = as_json(model.image.preprocess.to_disk())
        write_text_atomically(out / "preprocessor_config.json", preprocess)
