"""Dialogues as rows of which only answers are learned: supervised tuning, and pairs to compare.

A row holds whole documents that do not see each other (`segments`, and positions that begin anew),
so that packing changes what a step costs and not what is learned. Where a preference is learned,
both answers to the same turns lie in one row, one behind the other, and the batch says where each
ends and which token belongs to which.

B rows of a batch, S tokens of a row, P pairs in it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass as plain_dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass
from torch import Tensor

from minna.errors import DataError
from minna.streams.packing import EpochRows, Rows
from minna.streams.shards import TokenShards

IGNORE = -100
_Int64 = npt.NDArray[np.int64]


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class ChatStreamSettings:
    """How dialogues become rows.

    Attributes:
        format: the prompt format, by name (`minna list formats`) or path.
        rows: "packed" puts several documents into a row, "single" one.
    """

    kind: Literal["chat"]
    row_tokens: int = Field(ge=2)
    format: str = "minna"
    rows: Rows = "packed"


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class PairStreamSettings:
    """How dialogues with two answers become rows.

    Attributes:
        row_tokens: both answers, each behind its turns, must fit.
        format, rows: as in a chat stream; a document is a pair.
    """

    kind: Literal["pairs"]
    row_tokens: int = Field(ge=4)
    format: str = "minna"
    rows: Rows = "packed"


class Documents:
    """Documents of shards by number: their ids, and which of them are learned."""

    def __init__(self, shards: TokenShards) -> None:
        self._shards = shards.shards
        self.count = sum(shard.documents for shard in self._shards)
        self._first = np.cumsum([0, *[shard.documents for shard in self._shards]])
        empty = np.zeros(0, np.int64)
        self.lengths: _Int64 = np.concatenate(
            [empty, *[np.diff(shard.offsets) for shard in self._shards]]
        )

    def __getitem__(self, number: int) -> tuple[_Int64, npt.NDArray[np.bool_]]:
        """Return ids and mask, both [length], of a document."""
        place = int(np.searchsorted(self._first, number, side="right")) - 1
        shard, own = self._shards[place], number - int(self._first[place])
        span = slice(int(shard.offsets[own]), int(shard.offsets[own + 1]))
        assert shard.learned is not None, "shards of dialogues have masks"
        return shard.tokens[span].astype(np.int64), np.asarray(shard.learned[span])


@plain_dataclass
class _Laid:
    """One row in the making."""

    tokens: _Int64
    targets: _Int64
    segments: _Int64
    positions: _Int64
    documents: _Int64
    used: int = 0
    ends: tuple[int, ...] = ()

    @staticmethod
    def empty(room: int, *, fill: int) -> _Laid:
        def full(value: int) -> _Int64:
            return np.full(room, value, np.int64)

        return _Laid(
            tokens=full(fill),
            targets=full(IGNORE),
            segments=full(0),
            positions=full(0),
            documents=full(-1),
        )

    def add(self, ids: _Int64, learned: npt.NDArray[np.bool_], *, size: int, document: int) -> None:
        """Lay a document behind the others: its first `size` tokens are read, the next answered."""
        span = slice(self.used, self.used + size)
        self.tokens[span] = ids[:size]
        asked = slice(self.used, self.used + len(ids) - 1)
        self.targets[asked] = np.where(learned[1:], ids[1:], IGNORE)
        self.segments[span] = len(self.ends)
        self.positions[span] = np.arange(size)
        self.documents[span] = document
        self.used += size
        self.ends += (self.used - 1,)

    def close(self) -> None:
        """What is left is a document of its own, of which nothing is learned."""
        self.segments[self.used :] = len(self.ends)
        self.positions[self.used :] = np.arange(len(self.tokens) - self.used)


class ChatStream:
    """An endless iterator of batches with `tokens`, `targets`, `segments`, `positions` [B, S].

    Of pairs (`side_by_side` 2) a batch also has `ends` [2 P]: where the last token that is read of
    each document stands among the B S places, better and worse in turn; and `documents` [B, S]:
    the number of each token's document among those 2 P, -1 for none.

    Args:
        shards: the training split of dialogues (`dialogues.py`).
        room: tokens of a row (S).
        rows: how documents share rows.
        batch_rows: rows per batch on this rank (B).
        fill: the id of places that nothing takes.
        seed: fixes every shuffle.
        side_by_side: documents that must lie in one row, one behind the other: 1, or 2 for pairs.
        rank, ranks: this rank takes every `ranks`-th batch of the same global order.
    """

    def __init__(
        self,
        shards: TokenShards,
        *,
        room: int,
        rows: Rows,
        batch_rows: int,
        fill: int,
        seed: int,
        side_by_side: Literal[1, 2] = 1,
        rank: int = 0,
        ranks: int = 1,
    ) -> None:
        self.documents = Documents(shards)
        if not self.documents.count:
            raise DataError("the training split holds no dialogue", remedy="give a larger corpus")
        # a reward is read at the end itself; where only words are learned, nothing follows the end
        self._unread = 1 if side_by_side == 1 else 0
        read = self.documents.lengths - self._unread
        self._items = read.reshape(-1, side_by_side).sum(1)
        self._order = EpochRows(self._items, room=room, rows=rows, seed=seed)
        self._room, self._batch_rows, self._fill = room, batch_rows, fill
        self._side_by_side = side_by_side
        self._rank, self._ranks = rank, ranks

    def state_dict(self) -> dict[str, int]:
        """Where the stream stands, for all ranks alike."""
        return self._order.state_dict()

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Go to a place."""
        self._order.load_state_dict(state)

    def figures(self) -> dict[str, float]:
        """Say nothing beside what is learned."""
        return {}

    def filled(self) -> tuple[int, float]:
        """Rows of an epoch, and the share of their tokens that documents take."""
        return self._order.filled()

    def __iter__(self) -> Iterator[dict[str, Tensor]]:
        return self

    def __next__(self) -> dict[str, Tensor]:
        rows = [self._order.take() for _ in range(self._batch_rows * self._ranks)]
        mine = rows[self._rank * self._batch_rows : (self._rank + 1) * self._batch_rows]
        number = 0
        laid: list[_Laid] = []
        for items in mine:
            row = _Laid.empty(self._room, fill=self._fill)
            for item in items:
                for side in range(self._side_by_side):
                    ids, learned = self.documents[int(item) * self._side_by_side + side]
                    row.add(ids, learned, size=len(ids) - self._unread, document=number)
                    number += 1
            row.close()
            laid.append(row)
        return self._batch(laid)

    def _batch(self, laid: list[_Laid]) -> dict[str, Tensor]:
        names = ["tokens", "targets", "segments", "positions"]
        if self._side_by_side == 1:
            return {name: _stacked(laid, name) for name in names}
        ends = [row * self._room + end for row, one in enumerate(laid) for end in one.ends]
        batch = {name: _stacked(laid, name) for name in [*names, "documents"]}
        return batch | {"ends": torch.tensor(ends)}


def _stacked(laid: list[_Laid], name: str) -> Tensor:
    return torch.from_numpy(np.stack([getattr(row, name) for row in laid]))
