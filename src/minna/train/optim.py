"""Optimisers: AdamW for everything, or Muon for the matrices of the layers and AdamW for the rest.

Muon replaces a matrix's momentum by its nearest (semi-)orthogonal matrix, so every direction of the
weights moves by the same amount (Jordan et al. 2024; Liu et al. 2025, arXiv:2502.16982). Ours
differs from torch.optim.Muon in two ways that matter on small machines: matrices of one shape are
orthogonalised in one batched product instead of one by one, and a fused matrix ([q; k; v], of
unequal heights when queries share keys) is treated as the matrices it is.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from typing import Annotated, Any, Literal

import torch
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from minna.models.decoder import FusedLinear
from minna.train.parallel import own_part, part_of, whole_like

_FORBID = ConfigDict(extra="forbid")
Beta = Annotated[float, Field(ge=0, lt=1)]
_NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)
_NEWTON_SCHULZ_STEPS = 5


@dataclass(frozen=True, kw_only=True, config=_FORBID)
class AdamWSettings:
    """AdamW (Loshchilov and Hutter 2019). Decay acts on matrices, not on norms and biases."""

    kind: Literal["adamw"] = "adamw"
    lr: float = Field(gt=0)
    betas: tuple[Beta, Beta] = (0.9, 0.95)
    eps: float = Field(default=1e-8, gt=0)
    weight_decay: float = 0.01
    clip: float = Field(default=1.0, gt=0, description="largest norm of the whole gradient")


@dataclass(frozen=True, kw_only=True, config=_FORBID)
class MuonSettings:
    """Muon for matrices of the layers; AdamW (`lr`, `betas`, `eps`) for embeddings and vectors."""

    kind: Literal["muon"] = "muon"
    lr: float = Field(gt=0)
    matrix_lr: float = Field(gt=0)
    momentum: Beta = 0.95
    betas: tuple[Beta, Beta] = (0.9, 0.95)
    eps: float = Field(default=1e-8, gt=0)
    weight_decay: float = 0.0
    clip: float = Field(default=1.0, gt=0, description="largest norm of the whole gradient")


OptimSettings = Annotated[AdamWSettings | MuonSettings, Field(discriminator="kind")]


class Muon(torch.optim.Optimizer):
    """Momentum, orthogonalised; `lr` scales an update whose every singular value is about 1.

    A matrix of `rows` x `columns` moves by lr * sqrt(max(1, rows / columns)) a step.

    Args:
        params: the matrices, by name.
        lr, momentum, weight_decay: of all of them.
        heights: name -> rows of each matrix within a fused one.
    """

    def __init__(
        self,
        params: Iterable[tuple[str, nn.Parameter]],
        *,
        lr: float,
        momentum: float,
        weight_decay: float,
        heights: Mapping[str, tuple[int, ...]] | None = None,
    ) -> None:
        heights = heights or {}
        groups: list[dict[str, Any]] = [
            {"params": [matrix], "heights": heights.get(name, (matrix.shape[0],))}
            for name, matrix in params
        ]
        super().__init__(groups, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Update every matrix once."""
        assert closure is None, "Muon takes no closure"
        pushes: list[tuple[dict[str, Any], Tensor]] = []
        for group in self.param_groups:
            parameter: Tensor = group["params"][0]
            if parameter.grad is None:
                continue
            state = self.state[parameter]
            if "momentum" not in state:
                state["momentum"] = torch.zeros_like(parameter)
            own, momentum = own_part(parameter.grad), own_part(state["momentum"])
            momentum.lerp_(own, 1 - group["momentum"])
            nesterov = own.lerp(momentum, group["momentum"])
            # the directions of a matrix are those of all of it: every rank gathers and turns it
            pushes.append((group, whole_like(nesterov, parameter)))
            own_part(parameter).mul_(1 - group["lr"] * group["weight_decay"])
        by_shape: dict[torch.Size, list[tuple[float, Tensor]]] = defaultdict(list)
        for group, push in pushes:
            for part in push.split(group["heights"]):
                by_shape[part.shape].append((group["lr"], part))
        for shape, entries in by_shape.items():
            updates = orthogonalise(torch.stack([part for _, part in entries]))
            stretch = max(1.0, shape[0] / shape[1]) ** 0.5
            for (lr, part), update in zip(entries, updates, strict=True):
                torch.mul(update, -lr * stretch, out=part)
        for group, push in pushes:
            parameter = group["params"][0]
            own_part(parameter).add_(part_of(push, parameter))


def orthogonalise(matrices: Tensor) -> Tensor:
    """Push the singular values of each matrix [.., m, n] towards 1, in bf16, by five quintic steps.

    Newton-Schulz with the coefficients of Jordan et al. 2024: not exactly orthogonal (singular
    values end within about 0.7 to 1.2), which does no harm and saves half the products.
    """
    a, b, c = _NEWTON_SCHULZ
    tall = matrices.shape[-2] > matrices.shape[-1]
    x = matrices.bfloat16()
    x = x.mT if tall else x
    x = x / x.norm(dim=(-2, -1), keepdim=True).clamp_min(1e-7)
    for _ in range(_NEWTON_SCHULZ_STEPS):
        gram = x @ x.mT
        x = a * x + (b * gram + c * gram @ gram) @ x
    return (x.mT if tall else x).to(matrices.dtype)


def make_optimisers(
    model: nn.Module, *, settings: AdamWSettings | MuonSettings
) -> list[torch.optim.Optimizer]:
    """Return the optimisers of every parameter that learns; frozen ones get no state."""
    named = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
    matrices: list[tuple[str, nn.Parameter]] = []
    if isinstance(settings, MuonSettings):
        matrices = [(n, p) for n, p in named if n.startswith("layers.") and p.ndim == 2]  # noqa: PLR2004
    taken = {name for name, _ in matrices}
    rest = [(name, p) for name, p in named if name not in taken]
    groups = [
        {"params": [p for _, p in rest if p.ndim > 1], "weight_decay": settings.weight_decay},
        {"params": [p for _, p in rest if p.ndim <= 1], "weight_decay": 0.0},
    ]
    optimisers: list[torch.optim.Optimizer] = []
    if filled := [group for group in groups if group["params"]]:
        adamw = torch.optim.AdamW(
            filled, lr=settings.lr, betas=settings.betas, eps=settings.eps, fused=True
        )
        optimisers.append(adamw)
    if isinstance(settings, MuonSettings) and matrices:
        muon = Muon(
            matrices,
            lr=settings.matrix_lr,
            momentum=settings.momentum,
            weight_decay=settings.weight_decay,
            heights={
                f"{name}.weight": module.heights
                for name, module in model.named_modules()
                if isinstance(module, FusedLinear)
            },
        )
        optimisers.append(muon)
    for optimiser in optimisers:
        for group in optimiser.param_groups:
            group["peak_lr"] = group["lr"]
    return optimisers
