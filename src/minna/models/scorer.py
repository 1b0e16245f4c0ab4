"""A decoder that gives a number instead of a word: reward models, and PPO's critic.

The trunk is that of the language model it begins from; in place of its head stands one row. What a
reward means is only known beside others, so the model keeps what its scores were like on held-out
references: their mean and deviation (rewards are given in those, as Stiennon et al. 2020, section
3.4, and PPO's implementations after it), and how many of how many pairs it told apart.

B rows, S tokens, D width.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from minna.models.decoder import Decoder, DecoderConfig

SCORE = "score.weight"


@dataclass(frozen=True, kw_only=True)
class HeldOut:
    """What a reward model did on pairs that it did not learn.

    Attributes:
        accuracy: share of pairs whose better answer got more.
        pairs: how many.
        mean, deviation: of all scores.
    """

    accuracy: float = 0.0
    pairs: int = 0
    mean: float = 0.0
    deviation: float = 1.0


class Scorer(Decoder):
    """A decoder whose head is one row.

    Args:
        config: of the language model; its own head is left out.
    """

    held_out: Tensor

    def __init__(self, config: DecoderConfig) -> None:
        super().__init__(replace(config, tied=True))
        self.score = nn.Linear(config.width, 1, bias=False)
        self.offset = 0.0  # of a critic that begins as a reward model with a bias of its own
        start = HeldOut()
        numbers = [start.accuracy, float(start.pairs), start.mean, start.deviation]
        self.register_buffer("held_out", torch.tensor(numbers))

    def scores(self, hidden: Tensor) -> Tensor:
        """Return a number [...] for each hidden state [..., D], in fp32, as they were learned."""
        # a sum, not a product of matrices: autocast would take that in bf16
        return (hidden.float() * self.score.weight[0].float()).sum(-1) + self.offset

    def rewards(self, hidden: Tensor) -> Tensor:
        """Return scores [...] in deviations from the mean of references."""
        known = self.known
        return (self.scores(hidden) - known.mean) / known.deviation

    @property
    def known(self) -> HeldOut:
        """What its scores were like on held-out references."""
        accuracy, pairs, mean, deviation = self.held_out.tolist()
        return HeldOut(accuracy=accuracy, pairs=int(pairs), mean=mean, deviation=deviation)

    def learn_of(self, known: HeldOut) -> None:
        """Keep what scores of references are like."""
        numbers = [known.accuracy, float(known.pairs), known.mean, known.deviation]
        self.held_out.copy_(torch.tensor(numbers))

    @torch.no_grad()
    def initialise(self, *, seed: int) -> None:
        """Draw fresh weights: the trunk's as any decoder's, the row's by `initialise_score`."""
        super().initialise(seed=seed)
        self.initialise_score(seed=seed)

    @torch.no_grad()
    def initialise_score(self, *, seed: int) -> None:
        """Draw the row: normal with deviation 1 / sqrt(D + 1) (Stiennon et al. 2020's code)."""
        generator = torch.Generator().manual_seed(seed)
        self.score.weight.normal_(0, 1 / math.sqrt(self.config.width + 1), generator=generator)
