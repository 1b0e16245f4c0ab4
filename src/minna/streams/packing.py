"""Which documents share a row, so that short ones do not cost the padding up to a long one.

Instruction data is short beside a model's context: alone in its row, a dialogue of the Japanese HH
set fills a sixth of 1,024 tokens, and five sixths of the work are thrown away. Best fit, longest
first, leaves one or two per cent empty; documents of a row do not see each other (segments), so the
loss is that of each alone (tests/streams/test_chat.py).

Whole documents only: an answer is never cut.
"""

from __future__ import annotations

import bisect
from collections.abc import Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt

_Int64 = npt.NDArray[np.int64]
# Documents that are packed together. 65,536 fill rows as well as a million do, and the order of an
# epoch stays that of its shuffle but for these neighbourhoods.
POOL = 1 << 16

Rows = Literal["packed", "single"]


def epoch_rows(
    lengths: _Int64, *, room: int, rows: Rows, seed: int, epoch: int
) -> list[npt.NDArray[np.int64]]:
    """Return the rows of an epoch: each the numbers of its documents, in the order they lie there.

    Args:
        lengths: tokens that each document takes; none is longer than `room`.
        room: tokens of a row.
        rows: "packed", or one document a row.
        seed: of the run; with the epoch it fixes the shuffle.
        epoch: which one.
    """
    generator = np.random.default_rng((seed, epoch))
    order = generator.permutation(len(lengths))
    if rows == "single":
        return [order[place : place + 1] for place in range(len(order))]
    found: list[npt.NDArray[np.int64]] = []
    for start in range(0, len(order), POOL):
        pool = order[start : start + POOL]
        packed = pack(lengths[pool], room=room)
        found += [pool[packed[place]] for place in generator.permutation(len(packed))]
    return found


def pack(lengths: Sequence[int] | _Int64, *, room: int) -> list[_Int64]:
    """Best fit decreasing: put each document, longest first, into the fullest row that holds it."""
    order = np.argsort(-np.asarray(lengths), kind="stable")
    rows: list[list[int]] = []
    by_left: dict[int, list[int]] = {}
    lefts: list[int] = []  # room left that some row has, ascending
    for number in order:
        size = int(lengths[number])
        place = bisect.bisect_left(lefts, size)
        if place == len(lefts):
            rows.append([])
            row, left = len(rows) - 1, room
        else:
            left = lefts[place]
            row = by_left[left].pop()
            if not by_left[left]:
                del by_left[left], lefts[place]
        rows[row].append(int(number))
        if left > size:
            if left - size not in by_left:
                by_left[left - size] = []
                bisect.insort(lefts, left - size)
            by_left[left - size].append(row)
    return [np.asarray(row, dtype=np.int64) for row in rows]


class EpochRows:
    """Rows without end: those of epoch 0, of epoch 1, ...; where it stands is two numbers.

    Args:
        lengths, room, rows, seed: as `epoch_rows` takes them.
    """

    def __init__(self, lengths: _Int64, *, room: int, rows: Rows, seed: int) -> None:
        self.lengths, self.room, self.seed = lengths, room, seed
        self.rows: Rows = rows
        self.epoch, self.row = 0, 0
        self._of_epoch: list[_Int64] | None = None

    def state_dict(self) -> dict[str, int]:
        """Where it stands."""
        return {"epoch": self.epoch, "row": self.row}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Go to a place."""
        self.epoch, self.row = state["epoch"], state["row"]
        self._of_epoch = None

    def take(self) -> _Int64:
        """Return the documents of the next row."""
        if self._of_epoch is None:
            self._of_epoch = self._rows()
        if self.row == len(self._of_epoch):
            self.epoch, self.row = self.epoch + 1, 0
            self._of_epoch = self._rows()
        self.row += 1
        return self._of_epoch[self.row - 1]

    def filled(self) -> tuple[int, float]:
        """Rows of the first epoch, and the share of their tokens that documents take."""
        rows = epoch_rows(self.lengths, room=self.room, rows=self.rows, seed=self.seed, epoch=0)
        return len(rows), float(self.lengths.sum()) / (len(rows) * self.room)

    def _rows(self) -> list[_Int64]:
        return epoch_rows(
            self.lengths, room=self.room, rows=self.rows, seed=self.seed, epoch=self.epoch
        )
