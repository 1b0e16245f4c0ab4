"""Sequences to score, in batches: equal ones once, longest first, within a budget."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from minna.evaluate.backends.base import Likelihood
from minna.evaluate.records import Candidate
from minna.runtime.score import HEAD_TOKENS


@dataclass(frozen=True)
class Scored:
    """`ids[start:]` is scored given `ids[:start]`; equal ones are one."""

    ids: tuple[int, ...]
    start: int

    @staticmethod
    def of(candidate: Candidate) -> Scored:
        """Of a candidate."""
        return Scored(tuple(candidate.ids), candidate.start)


def share_out(
    groups: Sequence[Sequence[Candidate]],
) -> tuple[dict[Scored, list[int]], list[int]]:
    """Which groups want each distinct sequence, and how many distinct ones each group wants."""
    wanted: dict[Scored, list[int]] = {}
    missing: list[int] = []
    for number, group in enumerate(groups):
        distinct = {Scored.of(candidate) for candidate in group}
        missing.append(len(distinct))
        for entry in distinct:
            wanted.setdefault(entry, []).append(number)
    return wanted, missing


def batches(
    entries: Sequence[Scored], *, tokens: int, positions: int, padded: bool
) -> Iterator[list[Scored]]:
    """Cut into batches, longest first, so that what does not fit in memory fails at once.

    Args:
        entries: what is scored.
        tokens: at most so many in a batch, padding included.
        positions: at most so many go through the head.
        padded: whether sequences of different lengths may stand in one batch.
    """
    batch: list[Scored] = []
    longest = first = 0
    for entry in sorted(entries, key=lambda entry: (-len(entry.ids), entry.ids, entry.start)):
        size = len(entry.ids) - 1
        begin = min(first, entry.start - 1) if batch else entry.start - 1
        rows = len(batch) + 1
        full = rows * longest > tokens or rows * (longest - begin) > positions
        if batch and (full or (not padded and size != longest)):
            yield batch
            batch, begin = [], entry.start - 1
        if not batch:
            longest = size
        first = begin
        batch.append(entry)
    if batch:
        yield batch


def pick(logits_SV: Tensor, entry: Scored, *, first: int) -> Likelihood:
    """The likelihood in one row of logits, whose first row belongs to position `first`.

    The softmax is fp32 whatever the logits are, and sums are fp64.
    """
    place = entry.start - 1 - first
    wanted = torch.tensor(entry.ids[entry.start :], device=logits_SV.device)
    logprob, greedy = 0.0, True
    asked = logits_SV[place : place + len(wanted)]
    for logits, ids in zip(asked.split(HEAD_TOKENS), wanted.split(HEAD_TOKENS), strict=True):
        numbers = logits.float()
        chosen = numbers.gather(1, ids[:, None])[:, 0]
        logprob += float((chosen - numbers.logsumexp(-1)).cpu().double().sum())
        greedy = greedy and bool((numbers.argmax(-1) == ids).all())
    return Likelihood(logprob=logprob, greedy=greedy, tokens=len(wanted))
