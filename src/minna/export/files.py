"""How an export is written: its settings, and weights in files of bounded size."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass
from torch import Tensor

from minna.artifact.files import write_text_atomically
from minna.artifact.tensors import save_tensors

_DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class ExportSettings:
    """Settings of an export.

    Attributes:
        dtype: of the weights on disk; training keeps fp32 masters, so any is exact or rounded once.
        shard_bytes: largest weights file.
        adapter: of a run of adapters, write these alone, as the folder that peft loads beside the
            base; else they are added to the base's weights, and a whole model is written.
        temperature, top_p, repetition_penalty: advised sampling, written to generation_config.json.
    """

    dtype: Literal["float32", "float16", "bfloat16"] = "float32"
    shard_bytes: int = Field(default=5_000_000_000, ge=1_000_000)
    adapter: bool = False
    temperature: float = Field(default=0.7, gt=0)
    top_p: float = Field(default=0.9, gt=0, le=1)
    repetition_penalty: float = Field(default=1.0, gt=0)


def write_weights(out: Path, disk: dict[str, Tensor], settings: ExportSettings) -> None:
    """Write model.safetensors, or numbered shards with an index above `shard_bytes`."""
    from huggingface_hub import split_torch_state_dict_into_shards

    disk = {name: tensor.to(_DTYPES[settings.dtype]).contiguous() for name, tensor in disk.items()}
    plan = split_torch_state_dict_into_shards(disk, max_shard_size=settings.shard_bytes)
    for name, tensors in plan.filename_to_tensors.items():
        # transformers refuses a file whose metadata does not say which framework wrote it
        save_tensors({t: disk[t] for t in tensors}, out / name, metadata={"format": "pt"})
    if plan.is_sharded:
        index = {"metadata": plan.metadata, "weight_map": plan.tensor_to_filename}
        write_text_atomically(out / "model.safetensors.index.json", as_json(index))


def as_json(content: dict[str, Any]) -> str:
    """Return JSON as config files are written here."""
    return json.dumps(content, ensure_ascii=False, indent=2) + "\n"
