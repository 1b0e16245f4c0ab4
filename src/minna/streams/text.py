"""Rows of tokens from shuffled documents: every batch follows from (seed, position).

An epoch is one long ribbon: the documents of a pool of shards in a shuffled order, end to end. Rows
are windows on the ribbon. So resuming, or handing the stream to another number of ranks, needs
three numbers (epoch, pool, row), nothing is ever padded, and memory is bounded by the index of one
pool.

Rows may start anywhere (`continuous`, right for long documents) or only where a document starts
(`document_start`, right for sentences: a row of 64 tokens then holds whole sentences but its last,
which the next row tells again from its start).

Attention may cross document ends (`across`) or not (`within`). Within, `</s>` at the end of one
document is also the first input of the next: it is what a new document is predicted from, in
training and in scoring alike.

A shard that is told 2.5 times an epoch is three passes of it among the others: two whole, and one
of the half whose turn it is (`corpus/components.py`).

B rows of a batch, S tokens of a row.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass
from torch import Tensor

from minna.corpus.components import told_again, whole_and_rest
from minna.errors import DataError
from minna.streams.shards import Shard, TokenShards

# Documents shuffled together: 4 M of them need 64 MB of index, and no corpus below that is ever
# shuffled in parts.
POOL_DOCUMENTS = 1 << 22

_Int64 = npt.NDArray[np.int64]
_Pass = tuple[Shard, int]
Place = tuple[int, int, int]
"""Epoch, pool of the epoch, row of the pool."""


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class TextStreamSettings:
    """How documents become rows."""

    kind: Literal["text"] = "text"
    row_tokens: int = Field(ge=2)
    rows: Literal["continuous", "document_start"] = "continuous"
    attention: Literal["across", "within"] = "within"


class TextStream:
    """An endless iterator of batches.

    Args:
        shards: the training split.
        settings: row length and rules.
        rows: rows per batch on this rank (B).
        eos: the id of `</s>`.
        seed: fixes every shuffle.
        rank, ranks: this rank takes every `ranks`-th batch of the same global order.
    """

    def __init__(
        self,
        shards: TokenShards,
        *,
        settings: TextStreamSettings,
        rows: int,
        eos: int,
        seed: int,
        rank: int = 0,
        ranks: int = 1,
    ) -> None:
        tokens = sum(len(shard.tokens) * shard.repeats for shard in shards.shards)
        if tokens <= settings.row_tokens:
            raise DataError(
                f"the training split has {tokens:g} tokens, fewer than one row of "
                f"{settings.row_tokens}",
                remedy="give a larger corpus, or a smaller stream.row_tokens",
            )
        # a pass is a shard and how often it has been told before in the same epoch
        self.passes = [
            (shard, told) for shard in shards.shards for told in range(math.ceil(shard.repeats))
        ]
        self.settings = settings
        self.rows = rows
        self.eos = eos
        self.seed = seed
        self.rank, self.ranks = rank, ranks
        self.epoch, self.pool, self.row = 0, 0, 0
        self._ribbon: _Ribbon | None = None

    def state_dict(self) -> dict[str, int]:
        """Where the stream stands, for all ranks alike."""
        return {"epoch": self.epoch, "pool": self.pool, "row": self.row}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Go to a place."""
        self.epoch, self.pool, self.row = state["epoch"], state["pool"], state["row"]
        self._ribbon = None

    def figures(self) -> dict[str, float]:
        """Say nothing beside what is learned."""
        return {}

    def __iter__(self) -> Iterator[dict[str, Tensor]]:
        return self

    def __next__(self) -> dict[str, Tensor]:
        return self._batch(np.stack([window for _, window in self.next_windows()]))

    def next_windows(self) -> list[tuple[Place, npt.NDArray[np.int64]]]:
        """Return the next rows of this rank, [S + 1] tokens each, and where they stand."""
        windows: list[tuple[Place, _Ribbon]] = []
        for _ in range(self.rows * self.ranks):
            ribbon, row = self._next_window()
            windows.append(((self.epoch, self.pool, row), ribbon))
        mine = windows[self.rank * self.rows : (self.rank + 1) * self.rows]
        return [(place, ribbon.window(place[2])) for place, ribbon in mine]

    def _batch(self, window: npt.NDArray[np.int64]) -> dict[str, Tensor]:
        """Turn [B, S + 1] tokens into inputs and targets; segments when documents are apart."""
        tokens = np.ascontiguousarray(window[:, :-1])
        batch = {"tokens": tokens, "targets": np.ascontiguousarray(window[:, 1:])}
        if self.settings.attention == "within":
            # `</s>` opens the next document: it belongs to the segment it predicts.
            segments = np.cumsum(tokens == self.eos, axis=1)
            columns = np.arange(tokens.shape[1])
            starts = np.where(tokens == self.eos, columns, 0)
            batch |= {
                "segments": segments,
                "positions": columns - np.maximum.accumulate(starts, axis=1),
            }
        return {name: torch.from_numpy(array) for name, array in batch.items()}

    def _next_window(self) -> tuple[_Ribbon, int]:
        """Return the ribbon and the row there, and step forward."""
        if self._ribbon is None:
            self._ribbon = self._open()
        while self.row >= len(self._ribbon.starts):
            self.row = 0
            self.pool += 1
            if self.pool >= len(self._pools(self.epoch)):
                self.pool, self.epoch = 0, self.epoch + 1
            self._ribbon = self._open()
        self.row += 1
        return self._ribbon, self.row - 1

    def _pools(self, epoch: int) -> list[list[_Pass]]:
        """Passes of an epoch in shuffled order, gathered to pools of about POOL_DOCUMENTS."""
        order = np.random.default_rng((self.seed, epoch)).permutation(len(self.passes))
        pools: list[list[_Pass]] = [[]]
        for index in order:
            if sum(shard.documents for shard, _ in pools[-1]) >= POOL_DOCUMENTS:
                pools.append([])
            pools[-1].append(self.passes[index])
        return pools

    def _open(self) -> _Ribbon:
        seed = (self.seed, self.epoch, self.pool + 1)
        passes = self._pools(self.epoch)[self.pool]
        return _Ribbon(
            passes,
            epoch=self.epoch,
            settings=self.settings,
            generator=np.random.default_rng(seed),
        )


class _Ribbon:
    """The documents of a pool in a shuffled order, end to end, and where its rows start."""

    def __init__(
        self,
        passes: list[_Pass],
        *,
        epoch: int,
        settings: TextStreamSettings,
        generator: np.random.Generator,
    ) -> None:
        self.shards = [shard for shard, _ in passes]
        self.length = settings.row_tokens + 1
        told = [_documents(shard, told=told, epoch=epoch) for shard, told in passes]
        starts = np.concatenate([begin for begin, _ in told])
        lengths = np.concatenate([length for _, length in told])
        owner = np.repeat(np.arange(len(told)), [len(begin) for begin, _ in told])
        order = generator.permutation(len(starts))
        self.owner, self.begin = owner[order], starts[order]
        self.ends: _Int64 = np.cumsum(lengths[order])
        self.starts = row_starts(self.ends, row_tokens=settings.row_tokens, rows=settings.rows)

    def window(self, row: int) -> _Int64:
        """Return the S + 1 tokens of a row."""
        position, left = int(self.starts[row]), self.length
        out = np.empty(left, dtype=np.int64)
        document = int(np.searchsorted(self.ends, position, side="right"))
        while left:
            before = int(self.ends[document - 1]) if document else 0
            size = int(self.ends[document]) - before
            skip = position - before
            take = min(size - skip, left)
            at = int(self.begin[document]) + skip
            tokens = self.shards[self.owner[document]].tokens
            out[self.length - left : self.length - left + take] = tokens[at : at + take]
            position, left, document = position + take, left - take, document + 1
        return out


def _documents(shard: Shard, *, told: int, epoch: int) -> tuple[_Int64, _Int64]:
    """Where the documents of a pass begin and how long they are: all, or those whose turn it is."""
    starts, lengths = shard.offsets[:-1], np.diff(shard.offsets)
    whole, rest = whole_and_rest(shard.repeats)
    if told < whole:
        return starts, lengths
    sizes = np.diff(shard.byte_ends)
    taken = told_again(sizes, rest=rest, epoch=epoch, seed=shard.seed, number=shard.number)
    return starts[taken], lengths[taken]


def row_starts(ends: _Int64, *, row_tokens: int, rows: str) -> npt.NDArray[Any]:
    """Where rows of `row_tokens` + 1 tokens start on a ribbon of documents ending at `ends`.

    Continuous rows overlap by the one token that is a target in one and an input in the next. Rows
    that start with a document start at the last document end inside the row before; a document
    longer than a row goes on in the next.
    """
    if not len(ends):
        return np.zeros(0, dtype=np.int64)  # a pool in which a small fraction took nothing
    total = int(ends[-1])
    last = total - row_tokens - 1
    if rows == "continuous":
        return np.arange(0, last + 1, row_tokens)
    starts: list[int] = []
    position = 0
    while position <= last:
        starts.append(position)
        index = int(np.searchsorted(ends, position + row_tokens + 1, side="right")) - 1
        end = int(ends[index]) if index >= 0 else 0
        position = end if end > position else position + row_tokens
    return np.asarray(starts, dtype=np.int64)
