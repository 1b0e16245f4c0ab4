"""Checkpoints: whole or not at all, checked before they are trusted, exact when resumed.

A checkpoint is a directory with a manifest like everything else: weights and optimiser state as
safetensors (no pickle), the rest (step, stream position, random state) as JSON. Resuming verifies
every hash; a damaged newest checkpoint is named and the one before it is used, which is why two are
kept.
"""

from __future__ import annotations

import base64
import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from minna import artifact
from minna.artifact.files import write_text_atomically
from minna.artifact.tensors import save_tensors
from minna.artifact.verify import verify
from minna.console import warn
from minna.errors import ArtifactError, TrainingError
from minna.train.precision import random_state, set_random_state
from minna.train.protocols import Parts


@dataclass(frozen=True, kw_only=True)
class Progress:
    """Where a run stands: updates done, tokens seen, seconds spent training."""

    step: int = 0
    tokens: int = 0
    seconds: float = 0.0

    def after_step(self, *, tokens: int, seconds: float) -> Progress:
        """Return where it stands after one more update."""
        return Progress(
            step=self.step + 1, tokens=self.tokens + tokens, seconds=self.seconds + seconds
        )


def save(
    parts: Parts, *, run: Path, progress: Progress, numerics: dict[str, Any], keep: int
) -> Path:
    """Write checkpoints/step-N, then drop all but the `keep` newest.

    Checkpoints of later steps belong to a future that a damaged one made us leave; they go first,
    so that they can never push out a good one.

    Raises:
        ArtifactError: the disk is full; the checkpoints of before are untouched.
    """
    folder = run / "checkpoints"
    out = folder / f"step-{progress.step:08d}"
    state = {
        "step": progress.step,
        "tokens": progress.tokens,
        "seconds": progress.seconds,
        "stream": parts.stream.state_dict(),
        "random": {
            name: base64.b64encode(bytes(value.tolist())).decode()
            for name, value in random_state().items()
        },
        "numerics": numerics,
    }
    with artifact.writing(out, kind="checkpoint", settings={"step": progress.step}) as draft:
        save_tensors(_own(parts.model.state_dict()), draft.path / "model.safetensors")
        save_tensors(_own(parts.objective.state_dict()), draft.path / "objective.safetensors")
        save_tensors(_optimiser_tensors(parts), draft.path / "optimiser.safetensors")
        write_text_atomically(draft.path / "state.json", json.dumps(state, indent=1))
    for later in [path for path in saved(run) if path.name > out.name]:
        shutil.rmtree(later)
    for old in saved(run)[:-keep]:
        shutil.rmtree(old)
    return out


def saved(run: Path) -> list[Path]:
    """Checkpoints of a run, oldest first."""
    return sorted(path for path in (run / "checkpoints").glob("step-*") if path.is_dir())


def newest_good(run: Path) -> Path | None:
    """Return the newest intact checkpoint, naming every damaged one; None when there is none.

    Raises:
        TrainingError: there are checkpoints and none is intact.
    """
    found = saved(run)
    for path in reversed(found):
        try:
            verify(path)
        except ArtifactError as error:
            warn(f"checkpoint {path.name} cannot be used: {error.rule}")
        else:
            return path
    if found:
        raise TrainingError(
            f"none of the {len(found)} checkpoints in {run / 'checkpoints'} is intact",
            remedy="put a good copy back, or remove the run directory to start again",
        )
    return None


def numerics_of(checkpoint: Path) -> dict[str, Any]:
    """Return the arithmetic the checkpointed run was using."""
    return _state(checkpoint)["numerics"]


def progress_of(checkpoint: Path) -> Progress:
    """Return how much a checkpoint has behind it."""
    state = _state(checkpoint)
    return Progress(step=state["step"], tokens=state["tokens"], seconds=state["seconds"])


def restore(parts: Parts, *, checkpoint: Path) -> Progress:
    """Put weights, optimiser, objective, stream and random state back.

    Raises:
        TrainingError: the checkpoint is of another shape than this recipe.
    """
    state = _state(checkpoint)
    try:
        parts.model.load_state_dict(load_file(checkpoint / "model.safetensors"))
        parts.objective.load_state_dict(load_file(checkpoint / "objective.safetensors"))
    except RuntimeError as error:
        raise TrainingError(
            f"checkpoint {checkpoint} does not fit this recipe: {error}",
            remedy="resume with the recipe the run was started with (RUN/recipe.toml)",
        ) from error
    _restore_optimisers(parts, load_file(checkpoint / "optimiser.safetensors"))
    parts.stream.load_state_dict(state["stream"])
    set_random_state(
        {
            name: torch.tensor(list(base64.b64decode(text)), dtype=torch.uint8)
            for name, text in state["random"].items()
        }
    )
    return progress_of(checkpoint)


def load_model_state(checkpoint: Path) -> dict[str, Tensor]:
    """Return the weights of a verified checkpoint."""
    verify(checkpoint)
    return load_file(checkpoint / "model.safetensors")


def _state(checkpoint: Path) -> dict[str, Any]:
    return json.loads((checkpoint / "state.json").read_text(encoding="utf-8"))


def _own(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Contiguous CPU tensors, as safetensors wants them."""
    return {name: tensor.detach().cpu().contiguous() for name, tensor in state.items()}


def _learning(parts: Parts) -> list[tuple[str, Tensor, dict[str, Any]]]:
    """(name, parameter, optimiser state) of every parameter that learns, in a fixed order."""
    name_of = {id(p): name for name, p in parts.model.named_parameters()}
    return [
        (name_of[id(parameter)], parameter, optimiser.state[parameter])
        for optimiser in parts.optimisers
        for group in optimiser.param_groups
        for parameter in group["params"]
    ]


def _optimiser_tensors(parts: Parts) -> dict[str, Tensor]:
    return _own(
        {
            f"{name}/{key}": value
            for name, _, state in _learning(parts)
            for key, value in state.items()
        }
    )


def _restore_optimisers(parts: Parts, tensors: dict[str, Tensor]) -> None:
    left = dict(tensors)
    for name, parameter, state in _learning(parts):
        for full in [key for key in left if key.startswith(f"{name}/")]:
            value = left.pop(full)
            key = full.removeprefix(f"{name}/")
            # a copy: what load_file returns lies in the mapped file, which will be deleted
            state[key] = value.to(parameter.device, copy=True)
    if left:
        raise TrainingError(
            f"the checkpoint has optimiser state of {len(left)} unknown: {sorted(left)[:3]}",
            remedy="resume with the recipe the run was started with (RUN/recipe.toml)",
        )
