"""Weights from a model dir, in every file form transformers writes, each opened without trust.

safetensors files are plain data. A `pytorch_model.bin` is a pickle, which can run a stranger's
code, so it is opened only by torch's restricted reader and memory-mapped (`weights_only=True,
mmap=True`); what that refuses is an error here, not a reason to try harder.
"""

from __future__ import annotations

import json
import os
import pickle
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from minna.errors import ArtifactError

_NAMES = ("model.safetensors", "pytorch_model.bin")
_AGAIN = "fetch the file again, or export the model again"


def read_weights(path: Path) -> dict[str, Tensor]:
    """Return every tensor of the model dir at `path`, by its name on disk (mapped, not yet read).

    Raises:
        ArtifactError: no weights there, or a file is truncated, damaged, or refused.
    """
    for name in _NAMES:
        if (path / name).is_file():
            return read_tensors(path / name)
        index = path / f"{name}.index.json"
        if index.is_file():
            return _read_shards(path, index)
    raise ArtifactError(
        f"{path} holds no weights ({', '.join(_NAMES)}, or an index of shards)",
        remedy="give a model dir made by `minna export` or one fetched whole from a hub",
    )


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object.

    Raises:
        ArtifactError: not there, not JSON, or not an object.
    """
    try:
        value: Any = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ArtifactError(
            f"{path.parent} has no {path.name}, so it is not a model dir",
            remedy="give a directory that transformers can load",
        ) from error
    except ValueError as error:
        raise ArtifactError(f"{path} is not JSON: {error}", remedy=_AGAIN) from error
    if not isinstance(value, dict):
        raise ArtifactError(f"{path} must hold a JSON object, not {value!r}", remedy=_AGAIN)
    return value  # pyright: ignore[reportUnknownVariableType] - keys of JSON objects are strings


def _read_shards(path: Path, index: Path) -> dict[str, Tensor]:
    listed: dict[str, str] = read_json(index).get("weight_map") or {}
    if not listed:
        raise ArtifactError(f"{index} has no weight_map", remedy=_AGAIN)
    state: dict[str, Tensor] = {}
    for name in sorted(set(listed.values())):
        if Path(name).name != name:
            raise ArtifactError(
                f"{index} names a shard outside its directory: {name!r}",
                remedy="do not use this model dir: its index was tampered with",
            )
        if not (path / name).is_file():
            raise ArtifactError(f"{index.name} names {name}, which is missing", remedy=_AGAIN)
        state |= read_tensors(path / name)
    missing = [name for name in listed if name not in state]
    if missing:
        raise ArtifactError(
            f"{len(missing)} tensors named in {index.name} are in no shard: {missing[0]}, ...",
            remedy=_AGAIN,
        )
    return state


def read_tensors(file: Path) -> dict[str, Tensor]:
    """Read one safetensors file, or tensors that torch saved with nothing else beside them.

    Raises:
        ArtifactError: it is damaged, or may not be read.
    """
    if not os.access(file, os.R_OK):  # safetensors would say that it is not there
        raise ArtifactError(
            f"{file} may not be read by this user", remedy=f"ask its owner: chmod a+r {file.name}"
        )
    if file.suffix == ".safetensors":
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        try:
            return load_file(file)
        except SafetensorError as error:
            raise ArtifactError(
                f"{file} is not a whole safetensors file ({error})", remedy=_AGAIN
            ) from error
    try:
        state: Any = torch.load(file, map_location="cpu", weights_only=True, mmap=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError) as error:
        reason = str(error).splitlines()[0]
        raise ArtifactError(
            f"{file} is damaged, or holds more than tensors ({reason})",
            remedy="use the model's safetensors files instead",
        ) from error
    if not isinstance(state, dict) or not all(isinstance(t, Tensor) for t in state.values()):
        raise ArtifactError(
            f"{file} must hold a plain dictionary of tensors",
            remedy="use the model's safetensors files instead",
        )
    return state  # pyright: ignore[reportUnknownVariableType] - checked the line above
