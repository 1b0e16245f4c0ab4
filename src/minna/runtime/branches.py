"""How likely a model finds given continuations: every choice of a question at the price of one.

Harnesses score each choice as a text of its own: the question is read once per choice, the softmax
is taken at every position and the whole [tokens, vocabulary] block is carried about. Here the
choices are branches of one row (`tree.py`), what all rows begin with is read once and its keys and
values stand in front of every row, only positions before a scored token go through the head, and
the softmax there is fp32 whatever the weights are: in bf16 neighbouring log-probabilities around
-10 are 0.06 apart, and answers change.

Sharing is exact: it happens only where sequences are equal from their first token on, so a context
that was cut from the left (and begins elsewhere for every choice) is simply read alone, in a row of
its own. `plain` is the same figure the straightforward way and the reference of the tests.
"""

from __future__ import annotations

import collections
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from minna.models.decoder import LayerCache
from minna.runtime.engine import cache_dtype
from minna.runtime.likelihood import Group, Likelihood, Reading, check, plain, too_large
from minna.runtime.load import LoadedModel
from minna.runtime.rows import Line, Part, families, length, lines_of, next_batch, smaller
from minna.runtime.score import HEAD_TOKENS
from minna.runtime.tree import Row, Tree, lay, mask_of

__all__ = ["Likelihood", "Reading", "likelihoods", "plain"]


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


@torch.no_grad()
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
        UsageError: a candidate with nothing to pay for or before it, or longer than the context;
            or one that alone does not fit into memory.
    """
    check(model, groups)
    reading = reading if reading is not None else Reading()
    yield from ((place, []) for place, group in enumerate(groups) if not group)
    for members, known in families(groups):
        front = _read_front(model, groups[members[0]][0].ids[:known])
        reading.tokens += known
        reading.spared -= known
        found: dict[int, dict[int, Likelihood]] = {place: {} for place in members}
        lines = lines_of(model, groups, members, known=known, batch_tokens=batch_tokens)
        for part, scored in _read_all(
            model, groups, lines, known=known, front=front, batch_tokens=batch_tokens
        ):
            group = groups[part.place]
            reading.tokens += part.size
            reading.spared += sum(len(group[m].ids) - 1 for m in part.members) - part.size
            found[part.place].update(zip(part.members, scored, strict=True))
            if len(found[part.place]) == len(group):
                done = found.pop(part.place)
                yield part.place, [done[member] for member in range(len(group))]


def _read_front(model: LoadedModel, ids: tuple[int, ...]) -> list[_Front]:
    """Keys and values of a shared beginning, one record per layer."""
    dtype = cache_dtype(model.device, model.dtype)
    layers = [_Front(dtype) for _ in range(model.decoder.config.layers)]
    if ids:
        for layer in layers:
            layer.keep = True
        try:
            model.decoder(torch.tensor([ids], device=model.device), caches=_caches(layers))
        except torch.OutOfMemoryError as error:
            raise too_large(len(ids), model) from error
        for layer in layers:
            layer.keep = False
    return layers


def _caches(layers: list[_Front]) -> list[LayerCache]:
    return list(layers)


def _read_all(
    model: LoadedModel,
    groups: Sequence[Group],
    lines: list[Line],
    *,
    known: int,
    front: list[_Front],
    batch_tokens: int,
) -> Iterator[tuple[Part, list[Likelihood]]]:
    """Read rows, a call at a time; what does not fit into memory is read in smaller calls."""
    waiting = collections.deque(lines)
    while waiting:
        batch = next_batch(waiting, batch_tokens)
        trees = [[part.tree(groups, known=known) for part in line] for line in batch]
        try:
            found = _score(model, trees, known=known, front=front)
        except torch.OutOfMemoryError as error:
            parts = smaller(groups, batch, known=known)
            if parts is None:
                (part,) = batch[0]
                raise too_large(known + part.size, model) from error
        else:
            yield from zip((part for line in batch for part in line), found, strict=True)
            continue
        # outside of the handler, which would hold the tensors that did not fit
        torch.cuda.empty_cache()
        waiting.extendleft(reversed(parts))
        if len(batch) > 1:
            batch_tokens = max(map(length, batch)) * (len(batch) // 2)


def _score(
    model: LoadedModel, trees: list[list[Tree]], *, known: int, front: list[_Front]
) -> list[list[Likelihood]]:
    """One call: a list of likelihoods per tree, in order of rows and trees."""
    rows = [lay(row) for row in trees]
    hidden_BSD = _read(model, rows, known=known, front=front)
    S = hidden_BSD.shape[1]
    asked: list[NDArray[np.int64]] = []
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
        mine = slice(done, done + len(tree.wanted))
        found.append(_sum(tree.owner, logprobs[mine], top[mine]))
        done = mine.stop
    return found


def _sum(
    owner: NDArray[np.int64], logprobs: NDArray[np.float64], top: NDArray[np.bool_]
) -> list[Likelihood]:
    tokens = np.bincount(owner)
    sums = np.bincount(owner, weights=logprobs)
    hits = np.bincount(owner, weights=top)
    return [
        Likelihood(logprob=float(s), greedy=bool(h == n), tokens=int(n))
        for s, h, n in zip(sums, hits, tokens, strict=True)
    ]


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
        logprobs[mine] = chosen.cpu().double().numpy()  # Apple's GPUs have no fp64
        top[mine] = (logits_PV.argmax(-1)[rows] == ids).cpu().numpy()
    return logprobs, top
