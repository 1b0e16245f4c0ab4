"""The model that a policy must stay near: a frozen copy, or, beside adapters, the weights beneath.

It is no part of the objective's state: it comes from `init.from` each time a run begins or goes on,
so that a checkpoint does not carry a second model.
"""

from __future__ import annotations

import copy
from collections.abc import Generator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from minna.models.adapters import is_adapted, without_adapters
from minna.models.decoder import Decoder
from minna.objectives.linear_cross_entropy import IGNORE
from minna.objectives.linear_logprobs import linear_logprobs

Batch = dict[str, Tensor]


class Reference:
    """What a model was before this run.

    Args:
        model: with its weights set and its adapters on, before the first update.
    """

    def __init__(self, model: nn.Module) -> None:
        assert isinstance(model, Decoder), "only decoders have a reference"
        # in a list: a module would be saved, wrapped and moved with the objective
        self._copy: list[Decoder] = []
        if not is_adapted(model):
            kept = copy.deepcopy(model).eval()
            self._copy.append(kept.requires_grad_(requires_grad=False))

    def to(self, device: torch.device) -> None:
        """Move the copy, where there is one."""
        for model in self._copy:
            model.to(device)

    @contextmanager
    def of(self, policy: Decoder) -> Generator[Decoder]:
        """Return the model of before, for the length of a `with`; nothing of it is learned."""
        with torch.no_grad():
            if self._copy:
                self._copy[0].attention_kind = policy.attention_kind
                yield self._copy[0]
                return
            with without_adapters(policy):
                yield policy


def learned_states(model: Decoder, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
    """Return what a model has in mind where it chooses the learned targets of a batch.

    Args:
        model: a decoder.
        batch: `tokens` and `targets` [B, S]; `segments` and `positions` where rows hold several.

    Returns:
        hidden states [N, D], targets [N], and their places [N] among the B S.
    """
    hidden_BSD = model(
        batch["tokens"],
        positions_BS=batch.get("positions"),
        segments_BS=batch.get("segments"),
    )
    targets = batch["targets"].flatten()
    places_N = (targets != IGNORE).nonzero().squeeze(1)
    hidden_ND = hidden_BSD.flatten(0, 1).index_select(0, places_N)
    return hidden_ND, targets.index_select(0, places_N), places_N


def token_logprobs(
    model: Decoder, batch: Batch, *, vocab: int, temperature: float = 1.0
) -> tuple[Tensor, Tensor, Tensor]:
    """Return log-probabilities [N] and entropies [N] of the learned targets, and their places [N].

    Args:
        model: a decoder.
        batch: as `learned_states` takes it.
        vocab: words that may be chosen (a padded vocabulary has more rows).
        temperature: of the distribution.
    """
    hidden_ND, targets_N, places_N = learned_states(model, batch)
    head = model.head_weight[:vocab]
    logprobs_N, entropy_N = linear_logprobs(hidden_ND, head, targets_N, temperature=temperature)
    return logprobs_N, entropy_N, places_N
