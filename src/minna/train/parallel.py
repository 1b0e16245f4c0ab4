"""How the ranks of a run share a model: each has a whole copy (DDP), or each a part (FSDP2).

Both average gradients over ranks, and the loop has divided by counts over all ranks, so its losses
are multiplied by the number of ranks first: 1 rank x 4 micro-batches and 4 ranks x 1 are the same
update (tests/train/test_parallel.py).

Copies cost 2 (N - 1) / N x the fp32 gradients in traffic, once a step. Parts hold 1 / N of weights,
gradients and optimiser state; each layer is gathered for its forward and again for its backward,
and gradients are reduced to their owners after every micro-batch, so that no rank ever holds them
whole. Layers travel in bf16 where they compute in it; what surrounds them (embeddings, the last
norm, the head) stays in fp32, and with it the residual stream: rounded there, every layer would add
to a blurred sum. Gradients are summed in fp32 always.
"""

from __future__ import annotations

import contextlib
import re
from contextlib import AbstractContextManager
from typing import Literal

import torch
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard
from torch.distributed.tensor import DTensor, Replicate
from torch.nn.parallel import DistributedDataParallel

from minna.errors import UsageError
from minna.train.protocols import Batch, Losses, Objective, Placement
from minna.train.ranks import ALONE, Ranks

Sharding = Literal["auto", "replicate", "shard"]

# fp32 weight, gradient and two moments of AdamW; above this share of a device's memory they are
# better divided: activations need the rest
_BYTES_PER_PARAMETER = 16
_ROOM_FOR_COPIES = 0.5


class Whole:
    """One process, or copies: the model is whole on every rank."""

    kind = "copies"

    def __init__(self, model: nn.Module, objective: Objective, *, ranks: Ranks = ALONE) -> None:
        self.model, self.objective, self.ranks = model, objective, ranks
        self._copies: DistributedDataParallel | None = None
        if not ranks.alone:
            on_gpu = next(model.parameters()).is_cuda
            self._copies = DistributedDataParallel(
                _Losses(model, objective),
                device_ids=[ranks.local] if on_gpu else None,
                forward_sync_buffers=False,
                gradient_as_bucket_view=True,
            )

    def losses(self, batch: Batch) -> Losses:
        """Run the objective on a micro-batch."""
        if self._copies is None:
            return self.objective.loss(self.model, batch)
        return self._copies(batch)

    def backward_of(self, *, last: bool) -> AbstractContextManager[None]:
        """Return the context of a micro-batch: gradients are summed with the last one's."""
        if last or self._copies is None:
            return contextlib.nullcontext()
        return self._copies.no_sync()

    def looking(self) -> AbstractContextManager[None]:
        """Return an empty context: looks along the way compute in fp32."""
        return contextlib.nullcontext()

    def compile(self) -> None:
        """Compile the model as one."""
        self.model.compile(dynamic=False)

    def uncompile(self) -> None:
        """Take that back."""
        self.model._compiled_call_impl = None  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]


class Divided:
    """Every rank has a part of every layer."""

    kind = "parts"

    def __init__(
        self,
        model: nn.Module,
        objective: Objective,
        *,
        ranks: Ranks,
        units: str,
        precision: Literal["bf16", "fp32"],
    ) -> None:
        self.model, self.objective, self.ranks = model, objective, ranks
        self._precision = precision
        self._units = _units(model, units)

    def losses(self, batch: Batch) -> Losses:
        """Run the objective on a micro-batch."""
        return self.objective.loss(self.model, batch)

    def backward_of(self, *, last: bool) -> AbstractContextManager[None]:  # noqa: ARG002
        """Return an empty context: gradients go to their owners after every micro-batch."""
        return contextlib.nullcontext()

    def looking(self) -> AbstractContextManager[None]:
        """Return the context of looks: layers come in the arithmetic of training."""
        device = own_part(next(self.model.parameters())).device.type
        if self._precision == "fp32":
            return contextlib.nullcontext()
        return torch.autocast(device, dtype=torch.bfloat16)  # type: ignore[return-value]

    def compile(self) -> None:
        """Compile layer by layer: gathering and freeing of weights stay between them."""
        for unit in self._units:
            unit.forward = torch.compile(unit.forward, dynamic=False)

    def uncompile(self) -> None:
        """Take that back."""
        for unit in self._units:
            vars(unit).pop("forward", None)


class _Losses(nn.Module):
    """What DDP wraps: the forward pass with the objective, so that its hooks see all of it."""

    def __init__(self, model: nn.Module, objective: Objective) -> None:
        super().__init__()
        self.model = model
        self.objective = objective

    def forward(self, batch: Batch) -> Losses:
        return self.objective.loss(self.model, batch)


def place(
    model: nn.Module,
    objective: Objective,
    *,
    device: str,
    sharding: Sharding,
    units: str,
    ranks: Ranks,
    precision: Literal["bf16", "fp32"],
) -> Placement:
    """Share a model among ranks; optimisers are made afterwards, of what each then holds.

    Args:
        model: on the CPU, weights set.
        objective: of the run.
        device: where it shall train; of a model to be divided, a unit at a time comes there whole.
        sharding: `train.sharding`.
        units: `Family.shard_units`.
        ranks: among whom.
        precision: of the arithmetic.

    Raises:
        UsageError: parts were asked for and there is but one rank.
    """
    parameters = sum(p.numel() for p in model.parameters())
    if choose(sharding, parameters=parameters, ranks=ranks, device=device) == "replicate":
        return Whole(model.to(device), objective, ranks=ranks)
    divide(model, device=device, units=units, ranks=ranks, precision=precision)
    return Divided(model, objective, ranks=ranks, units=units, precision=precision)


def choose(sharding: Sharding, *, parameters: int, ranks: Ranks, device: str) -> Sharding:
    """Settle "auto": copies where they leave half of a device's memory, else parts.

    Raises:
        UsageError: parts were asked for and there is but one rank.
    """
    if sharding == "shard" and ranks.alone:
        raise UsageError(
            "train.sharding is shard, and there is one process to share among",
            remedy="start it with torchrun --nproc-per-node N -m minna train ..., or "
            "leave train.sharding at auto",
        )
    if sharding != "auto":
        return sharding
    if ranks.alone or device != "cuda":
        return "replicate"
    room = torch.cuda.get_device_properties(ranks.local).total_memory
    fits = _BYTES_PER_PARAMETER * parameters < _ROOM_FOR_COPIES * room
    return "replicate" if fits else "shard"


def divide(
    model: nn.Module,
    *,
    device: str,
    units: str,
    ranks: Ranks,
    precision: Literal["bf16", "fp32"],
) -> None:
    """Turn every parameter into this rank's part of it, in place.

    Args:
        model: weights set, the same on every rank.
        device: where the parts go.
        units: pattern of the names of modules gathered one at a time (`Family.shard_units`).
        ranks: among whom.
        precision: of the layers' arithmetic.
    """
    mesh = init_device_mesh(device, (ranks.count,))
    half = torch.bfloat16 if precision == "bf16" else None
    inner = MixedPrecisionPolicy(
        param_dtype=half, reduce_dtype=torch.float32, cast_forward_inputs=False
    )
    outer = MixedPrecisionPolicy(reduce_dtype=torch.float32, cast_forward_inputs=False)
    for unit in _units(model, units):
        fully_shard(unit, mesh=mesh, mp_policy=inner)
    fully_shard(model, mesh=mesh, mp_policy=outer)
    if device == "cpu":  # gloo has no average
        for module in model.modules():
            if isinstance(module, FSDPModule):
                module.set_force_sum_reduction_for_comms(enable=True)


def _units(model: nn.Module, pattern: str) -> list[nn.Module]:
    found = [module for name, module in model.named_modules() if re.search(pattern, name)]
    assert found, f"no module is called {pattern}"
    return found


def own_part(tensor: Tensor) -> Tensor:
    """Return what this rank holds of a tensor: all of it, unless it is divided."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


def whole(tensor: Tensor) -> Tensor:
    """Return all of a tensor, gathered from every rank if it is divided."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def whole_like(part: Tensor, like: Tensor) -> Tensor:
    """Return all of a tensor whose part on this rank is `part`, divided as `like` is."""
    if not isinstance(like, DTensor):
        return part
    spread = DTensor.from_local(
        part,
        like.device_mesh,
        like.placements,
        run_check=False,
        shape=like.shape,
        stride=like.stride(),
    )
    return spread.full_tensor()


def part_of(full: Tensor, like: Tensor) -> Tensor:
    """Return of a tensor that every rank has whole what this rank holds of `like`."""
    if not isinstance(like, DTensor):
        return full
    copies = [Replicate()] * like.device_mesh.ndim
    spread = DTensor.from_local(full, like.device_mesh, copies, run_check=False)
    return spread.redistribute(placements=like.placements).to_local()
