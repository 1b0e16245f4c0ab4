"""How likely a model finds given continuations: every choice of a question at the price of one.

Harnesses score each choice as a text of its own: the question is read once per choice, the softmax
is taken at every position and the whole [tokens, vocabulary] block is carried about. Here the
choices are branches of one row (`tree.py`), what all rows begin with is read once and its keys and
values stand in front of every row, only positions before a scored token go through the head, and
the softmax there is fp32 whatever the weights are: in bf16 neighbouring log-probabilities around
-10 are 0.06 apart, and answers change.

Sharing is exact: it happens only where sequences are equal from their first token on, so a context
that was cut from the left (and begins elsewhere for every choice) is simply read alone. `plain` is
the same figure the straightforward way and the reference of the tests.
"""

from __future__ import annotations

import collections
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from minna.errors import UsageError
from minna.models.decoder import LayerCache
from minna.runtime.engine import cache_dtype
from minna.runtime.load import LoadedModel
from minna.runtime.prefix import MIN_SHARED, common
from minna.runtime.score import HEAD_TOKENS
from minna.runtime.tree import Candidate, Row, Tree, lay, mask_of, plant

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


class _Front:
    """The cache of one layer: a shared beginning in front of what a call brings."""

    def __init__(self, dtype: torch.dtype) -> None:
        self._dtype = dtype
        self.keys: Tensor | None = None
        self.values: Tensor | None = None
        self.keep = False

    def append(self, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        key, value = key.to(self._dtype), value.to(self._dtype)
        if self.keep:
            self.keys, self.values = key, value
            return key, value
        if self.keys is None or self.values is None:
            return key, value
        B = key.shape[0]
        return (
            torch.cat((self.keys.expand(B, -1, -1, -1), key), dim=2),
            torch.cat((self.values.expand(B, -1, -1, -1), value), dim=2),
        )


@torch.inference_mode()
def likelihoods(
    model: LoadedModel,
    groups: Sequence[Group],
    *,
    batch_tokens: int = 4096,
    reading: Reading | None = None,
) -> Iterator[tuple[int, list[Likelihood]]]:
    """Score groups of candidates that share a beginning, such as the choices of a question.

    Args:
        model: from `load_model`.
        groups: each a list of candidates.
        batch_tokens: tokens (padding included) read in one call; bounds the memory.
        reading: counts what was read.

    Yields:
        (place in `groups`, one likelihood per candidate), in the order they are finished.

    Raises:
        UsageError: a candidate with nothing to pay for or before it, or longer than the context.
    """
    _check(model, groups)
    reading = reading if reading is not None else Reading()
    for members, known in _families(groups):
        front = _read_front(model, groups[members[0]][0].ids[:known])
        reading.tokens += known
        trees = {place: plant(groups[place], known=known) for place in members}
        for batch in _batches(trees, known=known, batch_tokens=batch_tokens):
            chosen = [[trees[place] for place in row] for row in batch]
            found = _score(model, chosen, known=known, front=front)
            numbers = iter(found)
            for place in (place for row in batch for place in row):
                reading.tokens += trees[place].size
                naive = sum(len(candidate.ids) - 1 for candidate in groups[place])
                reading.spared += naive - trees[place].size
                yield place, next(numbers)
        reading.spared -= known


@torch.inference_mode()
def plain(
    model: LoadedModel, groups: Sequence[Group], *, reading: Reading | None = None
) -> Iterator[tuple[int, list[Likelihood]]]:
    """Score every candidate alone, one forward each, softmax at every position: the reference.

    Arguments, results and errors as `likelihoods`.
    """
    _check(model, groups)
    reading = reading if reading is not None else Reading()
    for place, group in enumerate(groups):
        found: list[Likelihood] = []
        for candidate in group:
            ids = torch.tensor(candidate.ids, device=model.device)
            hidden_1SD = model.decoder(ids[None, :-1])
            logprobs_SV = model.decoder.logits(hidden_1SD[0]).float().log_softmax(-1)
            paid_AV = logprobs_SV[candidate.start - 1 :]
            wanted_A = ids[candidate.start :]
            found.append(
                Likelihood(
                    logprob=float(paid_AV.gather(1, wanted_A[:, None]).double().sum()),
                    greedy=bool((paid_AV.argmax(-1) == wanted_A).all()),
                    tokens=len(wanted_A),
                )
            )
            reading.tokens += len(ids) - 1
        yield place, found


def _check(model: LoadedModel, groups: Sequence[Group]) -> None:
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


def _families(groups: Sequence[Group]) -> Iterator[tuple[list[int], int]]:
    """Groups that begin alike, with how many ids are the same in all of them."""
    by_beginning: dict[tuple[int, ...], list[int]] = collections.defaultdict(list)
    alone: list[int] = []
    for place, group in enumerate(groups):
        beginnings = {candidate.ids[:MIN_SHARED] for candidate in group}
        least = min(candidate.start for candidate in group)
        if len(beginnings) == 1 and least > MIN_SHARED:
            by_beginning[beginnings.pop()].append(place)
        else:
            alone.append(place)
    for members in by_beginning.values():
        if len(members) == 1:
            alone += members
            continue
        first = groups[members[0]][0].ids
        known = min(candidate.start for place in members for candidate in groups[place]) - 1
        for place in members:
            for candidate in groups[place]:
                known = common(first[:known], candidate.ids)
        yield members, known
    if alone:
        yield sorted(alone), 0


def _read_front(model: LoadedModel, ids: tuple[int, ...]) -> list[_Front]:
    """Keys and values of a shared beginning, one record per layer."""
    dtype = cache_dtype(model.device, model.dtype)
    layers = [_Front(dtype) for _ in range(model.decoder.config.layers)]
    if ids:
        for layer in layers:
            layer.keep = True
        model.decoder(torch.tensor([ids], device=model.device), caches=_caches(layers))
        for layer in layers:
            layer.keep = False
    return layers


def _caches(layers: list[_Front]) -> list[LayerCache]:
    return list(layers)


def _batches(trees: dict[int, Tree], *, known: int, batch_tokens: int) -> Iterator[list[list[int]]]:
    """Rows of trees, longest first, a call at a time.

    Behind a shared beginning several short trees share a row: the beginning's keys are then copied
    once per row and not once per tree. A row stays no longer than the beginning, so that what its
    trees do not see of each other costs no more attention than the beginning itself.
    """
    order = sorted(trees, key=lambda place: -trees[place].size)
    rows: list[list[int]] = []
    room = 0
    for place in order:
        size = trees[place].size
        if rows and size <= room:
            rows[-1].append(place)
            room -= size
        else:
            rows.append([place])
            room = known - size
    batch: list[list[int]] = []
    longest = 0
    for row in rows:
        size = sum(trees[place].size for place in row)
        if batch and max(longest, size) * (len(batch) + 1) > batch_tokens:
            yield batch
            batch, longest = [], 0
        batch.append(row)
        longest = max(longest, size)
    if batch:
        yield batch


def _score(
    model: LoadedModel, trees: list[list[Tree]], *, known: int, front: list[_Front]
) -> list[list[Likelihood]]:
    """One call: a list of likelihoods per tree, in order of rows and trees."""
    rows = [lay(row) for row in trees]
    hidden_BSD = _read(model, rows, known=known, front=front)
    S = hidden_BSD.shape[1]
    asked: list[NDArray[np.int64]] = []
    offset = 0
    for number, row in enumerate(trees):
        offset = number * S
        for tree in row:
            asked.append(tree.asked + offset)
            offset += tree.size
    wanted = np.concatenate([tree.wanted for row in trees for tree in row])
    logprobs, top = _head(model, hidden_BSD.flatten(0, 1), np.concatenate(asked), wanted)
    found: list[list[Likelihood]] = []
    done = 0
    for tree in (tree for row in trees for tree in row):
        count = len(tree.wanted)
        names = int(tree.owner.max()) + 1
        sums = np.bincount(tree.owner, weights=logprobs[done : done + count], minlength=names)
        tokens = np.bincount(tree.owner, minlength=names)
        hits = np.bincount(tree.owner, weights=top[done : done + count], minlength=names)
        found.append(
            [
                Likelihood(logprob=float(s), greedy=bool(h == n), tokens=int(n))
                for s, h, n in zip(sums, hits, tokens, strict=True)
            ]
        )
        done += count
    return found


def _read(model: LoadedModel, rows: list[Row], *, known: int, front: list[_Front]) -> Tensor:
    """Hidden states [B, S, D] of padded rows behind the shared beginning."""
    longest = max(len(row.ids) for row in rows)
    ids = np.zeros((len(rows), longest), dtype=np.int64)
    depths = np.zeros((len(rows), longest), dtype=np.int64)
    for number, row in enumerate(rows):
        ids[number, : len(row.ids)] = row.ids
        depths[number, : len(row.ids)] = row.depths
    mask = None
    if known or not all(row.is_chain for row in rows):
        mask = torch.from_numpy(mask_of(rows, known=known)).to(model.device)
    return model.decoder(
        torch.from_numpy(ids).to(model.device),
        positions_BS=torch.from_numpy(depths).to(model.device),
        mask=mask,
        caches=_caches(front),
    )


def _head(
    model: LoadedModel,
    hidden_ND: Tensor,
    asked: NDArray[np.int64],
    wanted: NDArray[np.int64],
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Log-probability of each wanted id at its place, and whether it is the most likely one."""
    places, index = np.unique(asked, return_inverse=True)
    hidden_PD = hidden_ND[torch.from_numpy(places).to(hidden_ND.device)]
    logprobs = np.zeros(len(wanted))
    top = np.zeros(len(wanted), dtype=bool)
    order = np.argsort(index, kind="stable")
    bounds = np.searchsorted(index[order], np.arange(0, len(places) + HEAD_TOKENS, HEAD_TOKENS))
    for number, hidden in enumerate(hidden_PD.split(HEAD_TOKENS)):
        mine = order[bounds[number] : bounds[number + 1]]
        logits_PV = model.decoder.logits(hidden).float()
        rows = torch.from_numpy(index[mine] - number * HEAD_TOKENS).to(logits_PV.device)
        ids = torch.from_numpy(wanted[mine]).to(logits_PV.device)
        chosen = logits_PV[rows, ids] - logits_PV.logsumexp(-1)[rows]
        logprobs[mine] = chosen.double().cpu().numpy()
        top[mine] = (logits_PV.argmax(-1)[rows] == ids).cpu().numpy()
    return logprobs, top
