"""How likely a model finds a continuation: the record, and the straightforward way to it.

`plain` reads every candidate alone and takes the softmax at every position, as harnesses do. It is
the reference that `branches.likelihoods`, several times faster, is tested against.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch

from minna.errors import UsageError
from minna.runtime.load import LoadedModel
from minna.runtime.tree import Candidate

Group = Sequence[Candidate]


@dataclass(frozen=True, kw_only=True)
class Likelihood:
    """The sum of log-probabilities of a candidate's paid ids, and whether each was the top one."""

    logprob: float
    greedy: bool
    tokens: int


@dataclass(kw_only=True)
class Reading:
    """What was read: `tokens` by the model, `spared` thanks to sharing."""

    tokens: int = 0
    spared: int = 0


@torch.no_grad()
def plain(
    model: LoadedModel, groups: Sequence[Group], *, reading: Reading | None = None
) -> Iterator[tuple[int, list[Likelihood]]]:
    """Score every candidate alone, one forward each, softmax at every position: the reference.

    Arguments, results and errors as `branches.likelihoods`.
    """
    check(model, groups)
    reading = reading if reading is not None else Reading()
    for place, group in enumerate(groups):
        found: list[Likelihood] = []
        for candidate in group:
            try:
                found.append(_alone(model, candidate))
            except torch.OutOfMemoryError as error:
                raise too_large(len(candidate.ids) - 1, model) from error
            reading.tokens += len(candidate.ids) - 1
        yield place, found


def _alone(model: LoadedModel, candidate: Candidate) -> Likelihood:
    ids = torch.tensor(candidate.ids, device=model.device)
    hidden_1SD = model.decoder(ids[None, :-1])
    logprobs_SV = model.decoder.logits(hidden_1SD[0]).float().log_softmax(-1)
    paid_AV = logprobs_SV[candidate.start - 1 :]
    wanted_A = ids[candidate.start :]
    chosen_A = paid_AV.gather(1, wanted_A[:, None])
    return Likelihood(
        # fp64 on the host: Apple's GPUs have none
        logprob=float(chosen_A.cpu().double().sum()),
        greedy=bool((paid_AV.argmax(-1) == wanted_A).all()),
        tokens=len(wanted_A),
    )


def check(model: LoadedModel, groups: Sequence[Group]) -> None:
    """Refuse what cannot be scored.

    Raises:
        UsageError: a candidate with nothing to pay for or before it, or longer than the context.
    """
    context = model.decoder.config.context
    for group in groups:
        for candidate in group:
            if not 1 <= candidate.start < len(candidate.ids):
                raise UsageError(
                    f"a candidate of {len(candidate.ids)} ids is scored from id {candidate.start}; "
                    "something must stand before it, and something be scored",
                    remedy="begin with the end-of-text token, and leave out empty choices",
                )
            if len(candidate.ids) - 1 > context:
                raise UsageError(
                    f"a candidate reads {len(candidate.ids) - 1} ids, and the model's context is "
                    f"{context}",
                    remedy="cut it from the left",
                )


def too_large(tokens: int, model: LoadedModel) -> UsageError:
    """The error for what cannot be made any smaller."""
    return UsageError(
        f"one sequence of {tokens} tokens does not fit into the memory of {model.device}",
        remedy="use a smaller --batch-tokens, --dtype bf16, or --device cpu",
    )
