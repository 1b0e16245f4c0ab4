"""Models that transformers knows, opened as everything from elsewhere is.

safetensors alone, no code of the model's own, nothing from the network, no weight drawn at random.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import torch

from minna.errors import ArtifactError
from minna.runtime.load import Dtype, choose_dtype

DTYPES: Final = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
FAILURES: Final = (OSError, ValueError, KeyError, ImportError, RuntimeError)
"""What transformers raises when it cannot open a folder."""


def open_hub_model(path: Path, auto: str, *, device: torch.device, dtype: Dtype, what: str) -> Any:
    """Load a model that writes text, in eval mode.

    Args:
        path: its folder.
        auto: transformers' class for such models, such as AutoModelForSeq2SeqLM.
        device: where it goes.
        dtype: what it computes in; "auto" takes what the device is fast at, if it fits.
        what: it is, for errors.

    Raises:
        ArtifactError: transformers cannot open it, or weights are missing or of another shape.
    """
    import transformers

    kind_of: Any = getattr(transformers, auto)
    local: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
    try:
        config = transformers.AutoConfig.from_pretrained(path, **local)
        kind = DTYPES.get(dtype)
        if kind is None:
            with torch.device("meta"):
                size = kind_of.from_config(config).num_parameters()
            kind = choose_dtype(device, parameters=size)
        opened: Any = kind_of.from_pretrained(
            path, config=config, dtype=kind, use_safetensors=True, output_loading_info=True, **local
        )
    except FAILURES as error:
        raise unreadable(path, error, what=what) from error
    model, report = opened
    wrong = sorted(map(str, [*report["missing_keys"], *report["mismatched_keys"]]))
    if wrong:
        raise ArtifactError(
            f"{path}: {len(wrong)} weights are missing or of another shape than config.json says, "
            f"the first is {wrong[0]}",
            remedy="fetch the folder again; weights are never drawn at random here",
        )
    # only how many beams, and which tokens never: the lengths are ours
    model.generation_config.max_length = None
    return model.to(device).eval().requires_grad_(requires_grad=False)


def unreadable(path: Path, error: Exception, *, what: str) -> ArtifactError:
    """The error of a folder that transformers cannot open."""
    first = str(error).strip().split("\n", maxsplit=1)[0]
    return ArtifactError(
        f"transformers cannot open {path} as {what}: {first}",
        remedy="give a whole folder with model.safetensors, of a model that transformers itself "
        "knows (code that comes with a model is never run)",
    )
