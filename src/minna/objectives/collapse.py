"""A model that has found out how to learn nothing is stopped, with the figure that shows it.

Targets that a model makes itself can all become the same; the loss then looks splendid ("super low
loss"), and days go by. Such a figure stays at its floor for ever, so it is given some steps.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from minna.errors import TrainingError


class Watch(nn.Module):
    """Counts the steps in a row at which a figure was too low.

    Args:
        figure: its name and what it is of, for the error.
        least: what it should not be below.
        patience: steps in a row that are too many.
        after: steps before which nothing is counted.
        remedy: what to do.
    """

    below: Tensor

    def __init__(
        self, figure: str, *, least: float, patience: int, after: int = 0, remedy: str
    ) -> None:
        super().__init__()
        self.figure, self.least, self.patience, self.after = figure, least, patience, after
        self._remedy = remedy
        self.register_buffer("below", torch.zeros((), dtype=torch.int64))

    def see(self, value: float, *, step: int) -> None:
        """Look at the figure of update number `step`, from 1.

        Raises:
            TrainingError: it was too low for too long.
        """
        if step <= self.after or value >= self.least:
            self.below.zero_()
            return
        self.below += 1
        if int(self.below) >= self.patience:
            raise TrainingError(
                f"the model has collapsed: {self.figure} is {value:.4g} at step {step}, and below "
                f"{self.least:.4g} for {self.patience} steps",
                remedy=self._remedy,
            )
