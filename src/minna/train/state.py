"""The tensors of a run on disk, whole or in parts, and back into any number of ranks.

Copies of a model are written once, by rank 0: three safetensors files. A divided model is written
by all ranks at once, each its own parts, by torch.distributed.checkpoint in its safetensors layout
(its usual one has a pickled index, which nothing here ever loads). Both are read by the same
reader, which gives each rank the slices it owns, so a run saved on 4 ranks goes on on 2, or alone.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import Tensor, nn
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.hf_storage import (
    HuggingFaceStorageReader,
    HuggingFaceStorageWriter,
)
from torch.distributed.checkpoint.metadata import TensorStorageMetadata
from torch.distributed.checkpoint.state_dict_loader import load
from torch.distributed.checkpoint.state_dict_saver import save
from torch.distributed.tensor import DTensor

from minna.artifact.files import disk_error
from minna.artifact.tensors import save_tensors
from minna.errors import ArtifactError, TrainingError
from minna.train.parallel import own_part
from minna.train.protocols import Parts
from minna.train.ranks import Ranks

_OBJECTIVE = "objective:"
_FITS = "resume with the recipe the run was started with (RUN/recipe.toml)"


@dataclass(frozen=True, kw_only=True)
class State:
    """Tensors by name: those of the objective begin with "objective:", moments are NAME/KEY."""

    model: dict[str, Tensor]
    objective: dict[str, Tensor]
    optimiser: dict[str, Tensor]

    @property
    def divided(self) -> bool:
        """Whether this rank holds parts."""
        return any(isinstance(tensor, DTensor) for tensor in self.model.values())

    def all(self) -> dict[str, Tensor]:
        """Every tensor, by a name of its own."""
        return {**self.model, **self.objective, **self.optimiser}


def collect(parts: Parts) -> State:
    """Return the tensors of a run as they are: on their device, changing with the next step."""
    model: Mapping[str, Tensor] = parts.model.state_dict()
    if parts.kept is not None:
        model = {name: model[name] for name in parts.kept}
    return State(
        model=_own(model),
        objective=_own({_OBJECTIVE + name: t for name, t in parts.objective.state_dict().items()}),
        optimiser=_own(
            {
                f"{name}/{key}": value
                for name, _, state in _learning(parts)
                for key, value in state.items()
            }
        ),
    )


def copied(state: State) -> State:
    """Copy to memory that no step changes."""
    return State(
        model=_copies(state.model),
        objective=_copies(state.objective),
        optimiser=_copies(state.optimiser),
    )


def _own(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.detach() for name, tensor in tensors.items()}


def _copies(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: _copy(tensor) for name, tensor in tensors.items()}


def _copy(tensor: Tensor) -> Tensor:
    if not isinstance(tensor, DTensor):
        return tensor.to("cpu", copy=True)
    # on the CPU but still known as a part: what is written is this rank's slice, at its place
    return DTensor.from_local(
        tensor.to_local().to("cpu", copy=True),
        tensor.device_mesh,
        tensor.placements,
        run_check=False,
        shape=tensor.shape,
        stride=tensor.stride(),
    )


def write(state: State, folder: Path, *, ranks: Ranks) -> None:
    """Write the tensors into `folder`; a divided model needs every rank here.

    Raises:
        ArtifactError: the disk is full, on whichever rank.
    """
    if not state.divided:
        if ranks.first:
            for name, tensors in vars(state).items():
                whole = {key: tensor.cpu().contiguous() for key, tensor in tensors.items()}
                save_tensors(whole, folder / f"{name}.safetensors")
        return
    writer = HuggingFaceStorageWriter(str(folder), save_distributed=True)
    tensors = {
        name: tensor if isinstance(tensor, DTensor) else tensor.contiguous()
        for name, tensor in state.all().items()
    }
    try:
        save(tensors, storage_writer=writer, process_group=ranks.control)
    except CheckpointException as error:
        first = next(iter(error.failures.values()))[0]
        cause = first if isinstance(first, OSError) else OSError(str(first))
        raise disk_error(cause, folder) from error


def restore(parts: Parts, folder: Path) -> None:
    """Read every tensor of a checkpoint into the parts, each rank what it owns.

    Raises:
        TrainingError: the checkpoint is of another shape than this recipe.
    """
    there = stored(folder)
    state = collect(parts)
    wanted = {**state.model, **state.objective}
    moments = {name: found for name, found in there.items() if "/" in name}
    _refuse_other_shape(folder, wanted, there=set(there) - set(moments), sizes=there)
    for name, parameter, kept in _learning(parts):
        for full in [key for key in moments if key.startswith(f"{name}/")]:
            found = moments.pop(full)
            like = found.size == parameter.shape
            kept[full.removeprefix(f"{name}/")] = wanted[full] = (
                torch.zeros_like(parameter, dtype=found.properties.dtype)
                if like
                # the step count of torch's fused AdamW lies beside its parameter
                else torch.zeros(found.size, dtype=found.properties.dtype, device=parameter.device)
            )
    if moments:
        raise TrainingError(
            f"the checkpoint has optimiser state of {len(moments)} unknown: {sorted(moments)[:3]}",
            remedy=_FITS,
        )
    _read(folder, wanted)


def read_model(folder: Path) -> dict[str, Tensor]:
    """Return the whole weights of a checkpoint, however many ranks wrote it."""
    tensors = {
        name: torch.empty(found.size, dtype=found.properties.dtype)
        for name, found in stored(folder).items()
        if "/" not in name and not name.startswith(_OBJECTIVE)
    }
    _read(folder, tensors)
    return tensors


def read_objective(folder: Path) -> dict[str, Tensor]:
    """Return what the objective of a checkpoint learned (codebooks, teachers), whole."""
    tensors = {
        name: torch.empty(found.size, dtype=found.properties.dtype)
        for name, found in stored(folder).items()
        if name.startswith(_OBJECTIVE) and "/" not in name
    }
    _read(folder, tensors)
    return {name.removeprefix(_OBJECTIVE): tensor for name, tensor in tensors.items()}


def stored(folder: Path) -> dict[str, TensorStorageMetadata]:
    """Name, shape and type of every tensor of a checkpoint.

    Raises:
        ArtifactError: a file is no safetensors file.
    """
    try:
        found = HuggingFaceStorageReader(str(folder)).read_metadata().state_dict_metadata
    except (SafetensorError, OSError) as error:
        raise ArtifactError(
            f"the tensors in {folder} cannot be read: {error}",
            remedy="put a good copy back, or remove that checkpoint",
        ) from error
    return {name: one for name, one in found.items() if isinstance(one, TensorStorageMetadata)}


def _read(folder: Path, into: dict[str, Tensor]) -> None:
    """Fill tensors in place; every rank reads its own slices, without a word to the others."""
    if not into:
        return
    reader = HuggingFaceStorageReader(str(folder))
    with warnings.catch_warnings():  # it says that it is alone, which is what it was told to be
        warnings.filterwarnings("ignore", message="torch.distributed is disabled")
        load(dict(into), storage_reader=reader, no_dist=True)


def _refuse_other_shape(
    folder: Path,
    wanted: Mapping[str, Tensor],
    *,
    there: set[str],
    sizes: Mapping[str, TensorStorageMetadata],
) -> None:
    said = [f"{name} is missing" for name in wanted if name not in there]
    said += [f"{name} is unknown" for name in sorted(there - set(wanted))]
    said += [
        f"{name} is {list(sizes[name].size)} there and {list(tensor.shape)} here"
        for name, tensor in wanted.items()
        if name in there and sizes[name].size != tensor.shape
    ]
    if said:
        raise TrainingError(
            f"checkpoint {folder} does not fit this recipe: {'; '.join(said[:4])}", remedy=_FITS
        )


def learning(parts: Parts) -> list[tuple[str, nn.Parameter]]:
    """Name and parameter of all that learns, in the model and in the objective."""
    return [(name, parameter) for name, parameter in _named(parts) if parameter.requires_grad]


def _named(parts: Parts) -> list[tuple[str, nn.Parameter]]:
    objective = parts.objective.named_parameters()
    return [*parts.model.named_parameters(), *((_OBJECTIVE + name, p) for name, p in objective)]


def _learning(parts: Parts) -> list[tuple[str, Tensor, dict[str, Any]]]:
    """(name, parameter, optimiser state) of every parameter that learns, in a fixed order."""
    name_of = {id(parameter): name for name, parameter in _named(parts)}
    return [
        (name_of[id(parameter)], parameter, optimiser.state[parameter])
        for optimiser in parts.optimisers
        for group in optimiser.param_groups
        for parameter in group["params"]
    ]


def frozen_bytes(parts: Parts) -> list[bytes]:
    """What this rank holds of the frozen parameters."""
    state = parts.model.state_dict()
    return [
        own_part(state[name]).detach().cpu().contiguous().view(torch.uint8).numpy().tobytes()
        for name in parts.frozen
    ]
