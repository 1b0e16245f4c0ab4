"""What a straight line can read from picture vectors: logistic regression beside zero-shot.

Zero-shot accuracy mixes two questions: are the classes apart in the vectors, and do the words point
at them? A probe that is trained on labelled pictures answers the first alone. How strongly it is
held back (L2) decides its figure by points, so it is chosen on a part of the training pictures that
is not trained on, and never on those that are scored.

Names: N pictures, D width, C classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from minna.console import say
from minna.errors import DataError

Floats = NDArray[np.float32]

STRENGTHS: Final = tuple(10.0**power for power in np.arange(-7.0, 1.1, 1.0).tolist())
"""Of the L2 term, tried from the strongest to the weakest."""
_HELD_OUT: Final = 0.2
_STEPS: Final = 200


@dataclass(frozen=True, kw_only=True)
class Probe:
    """A linear classifier.

    Attributes:
        weights: [C, D].
        bias: [C].
        strength: of the L2 term that was chosen.
        held_out: share of the held-out training pictures that were right with it.
    """

    weights: Floats
    bias: Floats
    strength: float
    held_out: float

    def scores(self, pictures: Floats) -> Floats:
        """[N, C]."""
        return np.asarray(pictures, np.float32) @ self.weights.T + self.bias


def fit_probe(
    pictures: Floats,
    labels: NDArray[np.int64],
    *,
    classes: int,
    strengths: Sequence[float] = STRENGTHS,
    seed: int = 0,
) -> Probe:
    """Train a probe: choose L2 on a fifth held out (of every class), then train on everything.

    Args:
        pictures: [N, D] normalised vectors.
        labels: [N] classes from 0.
        classes: C.
        strengths: candidates for L2, the factor of the sum of squared weights beside the mean loss.
        seed: of what is held out.

    Raises:
        DataError: fewer than two classes are shown, or none of them twice.
    """
    held_N = _held_out(labels, seed=seed)
    if len(np.unique(labels)) < 2 or not held_N.any():  # noqa: PLR2004 - nothing to tell apart
        raise DataError(
            f"a probe needs pictures of at least two classes and two pictures of a class, and got "
            f"{len(labels)} pictures of {len(np.unique(labels))}",
            remedy="give a larger training set",
        )
    # vectors of length one in D dimensions have entries of 1 / sqrt(D): brought to size one, the
    # same strengths serve every width
    scale = float(np.sqrt(pictures.shape[1]))
    x_ND = torch.from_numpy(np.asarray(pictures, np.float32)) * scale
    y_N = torch.from_numpy(np.asarray(labels, np.int64))
    train, held = torch.from_numpy(~held_N), torch.from_numpy(held_N)
    best: tuple[float, float] | None = None
    state: Tensor | None = None
    for strength in sorted(strengths, reverse=True):
        state = _fit(x_ND[train], y_N[train], classes=classes, strength=strength, start=state)
        right = float(((_scores(state, x_ND[held])).argmax(1) == y_N[held]).double().mean())
        if best is None or right > best[0]:
            best = (right, strength)
    assert best is not None
    right, strength = best
    say(f"probe: L2 {strength:g} is best on {int(held_N.sum())} held-out pictures ({right:.1%})")
    state = _fit(x_ND, y_N, classes=classes, strength=strength, start=None)
    table = state.numpy()
    return Probe(
        weights=table[:, :-1] * np.float32(scale),
        bias=table[:, -1],
        strength=strength,
        held_out=right,
    )


def _held_out(labels: NDArray[np.int64], *, seed: int) -> NDArray[np.bool_]:
    """[N] a fifth of every class with at least two pictures, drawn by the seed."""
    generator = np.random.default_rng(seed)
    held_N = np.zeros(len(labels), dtype=bool)
    for label in np.unique(labels):
        members = generator.permutation(np.flatnonzero(labels == label))
        held_N[members[: max(int(len(members) > 1), int(len(members) * _HELD_OUT))]] = True
    return held_N


def _scores(state: Tensor, x_ND: Tensor) -> Tensor:
    """[N, C] of weights and bias [C, D + 1]."""
    return x_ND @ state[:, :-1].T + state[:, -1]


def _fit(
    x_ND: Tensor, y_N: Tensor, *, classes: int, strength: float, start: Tensor | None
) -> Tensor:
    """[C, D + 1] weights and bias that make mean cross-entropy + strength |weights|^2 least.

    The problem is convex, so where it starts decides how long it takes and not where it ends.
    """
    made = torch.zeros(classes, x_ND.shape[1] + 1) if start is None else start.clone()
    state = made.requires_grad_(True)
    optimiser = torch.optim.LBFGS(
        [state],
        max_iter=_STEPS,
        tolerance_grad=1e-6,
        history_size=10,
        line_search_fn="strong_wolfe",
    )

    def closure() -> Tensor:
        optimiser.zero_grad()
        loss = torch.nn.functional.cross_entropy(_scores(state, x_ND), y_N)
        loss = loss + strength * state[:, :-1].square().sum()
        loss.backward()
        return loss

    optimiser.step(closure)
    return state.detach()
