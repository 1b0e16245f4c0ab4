"""The key-value cache: one block per layer, allocated ahead, the active rows always in front.

transformers joins a longer tensor at every token, so at eight rows it copies 75 MB a step for a
12-layer model. Here a token is written into its place, and the layer sees a view that ends at the
longest active row: nothing is copied. The active rows are kept first, so that a batch of them is a
slice.

Under the native step (`step.py`) it has the type of the embedding. Elsewhere on a CPU it is fp32
even under bf16 weights, unless there is AMX: attention of one query over 250 positions of 8 rows x
12 layers costs 18 ms in bf16 there and 7.6 ms in fp32, since torch's bf16 kernel converts as it
goes.

Shape letters: B rows of a call, K key-value heads, S new tokens, T positions so far.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from minna.models.decoder import DecoderConfig, LayerCache

_FIRST_CAPACITY = 256

Addresses = ctypes.Array[ctypes.c_void_p]


@dataclass(frozen=True, kw_only=True)
class Window:
    """Where the next call writes and how far it looks.

    Attributes:
        rows: the cache rows, as a slice when they are neighbours (reading those copies nothing).
        starts: tokens each row already holds.
        end: positions the layers see.
        index: [B] row numbers and [B] starts, for writing one token into rows of unequal length.
    """

    rows: slice | list[int]
    starts: tuple[int, ...]
    end: int
    index: tuple[Tensor, Tensor] | None = None


class LayerRows:
    """The keys and values of one layer; implements the decoder's `LayerCache`."""

    def __init__(self, owner: KeyValueCache) -> None:
        self._owner = owner
        self.keys = owner.empty(owner.capacity)
        self.values = owner.empty(owner.capacity)

    def append(self, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        """Write [B, K, S, head] keys and values into the window; return all [B, K, T, head]."""
        window = self._owner.window
        for block, new in ((self.keys, key), (self.values, value)):
            if window.index is not None:
                rows, starts = window.index
                block[rows, :, starts] = new[:, :, 0].to(block.dtype)
            elif isinstance(window.rows, slice) and len(set(window.starts)) == 1:
                start = window.starts[0]
                block[window.rows, :, start : start + new.shape[2]] = new
            else:
                for position, (row, start) in enumerate(
                    zip(self._rows(), window.starts, strict=True)
                ):
                    block[row, :, start : start + new.shape[2]] = new[position]
        return self.keys[window.rows, :, : window.end], self.values[window.rows, :, : window.end]

    def _rows(self) -> Sequence[int]:
        rows = self._owner.window.rows
        return range(rows.start, rows.stop) if isinstance(rows, slice) else rows


class KeyValueCache:
    """Rows of keys and values for every layer, each row with its own length."""

    def __init__(
        self, config: DecoderConfig, *, rows: int, dtype: torch.dtype, device: torch.device
    ) -> None:
        self.config = config
        self.dtype = dtype
        self.device = device
        self.rows = rows
        self.capacity = min(_FIRST_CAPACITY, config.context)
        self.lengths = [0] * rows
        self.window = Window(rows=slice(0, 0), starts=(), end=0)
        self._layers = [LayerRows(self) for _ in range(config.layers)]
        self._addresses: tuple[Addresses, Addresses] | None = None

    @property
    def layers(self) -> list[LayerCache]:
        """What the decoder takes as `caches`."""
        return list(self._layers)

    @property
    def addresses(self) -> tuple[Addresses, Addresses]:
        """Where the keys and the values of each layer lie, for the native step."""
        if self._addresses is None:
            many = ctypes.c_void_p * len(self._layers)
            self._addresses = (
                many(*(layer.keys.data_ptr() for layer in self._layers)),
                many(*(layer.values.data_ptr() for layer in self._layers)),
            )
        return self._addresses

    @property
    def bytes(self) -> int:
        """Memory held."""
        return sum(layer.keys.nbytes + layer.values.nbytes for layer in self._layers)

    def empty(self, capacity: int) -> Tensor:
        """A block [rows, K, capacity, head] of zeros: positions not yet written must be finite."""
        shape = (self.rows, self.config.key_value_heads, capacity, self.config.head_width)
        return torch.zeros(shape, dtype=self.dtype, device=self.device)

    def open(self, rows: Sequence[int], *, new: int) -> tuple[Tensor, Tensor | None]:
        """Make room for `new` tokens in each of `rows`, and point the layers there.

        Returns:
            The positions [B, new] of the new tokens, and the boolean mask [B or 1, 1, new, T] of
            what they may look at, or None where the decoder's own (causal, or everything) is right.
        """
        starts = tuple(self.lengths[row] for row in rows)
        end = max(starts) + new
        self.reserve(end)
        first, last = rows[0], rows[-1] + 1
        neighbours = list(rows) == list(range(first, last))
        equal = len(set(starts)) == 1
        start_B = torch.tensor(starts, device=self.device)
        index = None
        if new == 1 and not equal:
            index = (torch.tensor(rows, device=self.device), start_B)
        self.window = Window(
            rows=slice(first, last) if neighbours else list(rows),
            starts=starts,
            end=end,
            index=index,
        )
        positions_BS = start_B[:, None] + torch.arange(new, device=self.device)
        # only padding can lie beyond the context, and it needs some position
        positions_BS = positions_BS.clamp(max=self.config.context - 1)
        if equal and (new == 1 or starts[0] == 0):
            return positions_BS, None
        seen = torch.arange(end, device=self.device)
        if equal:
            positions_1S = positions_BS[:1]
            return positions_BS, (seen <= positions_1S[..., None])[:, None]
        return positions_BS, (seen <= positions_BS[..., None])[:, None]

    def commit(self, rows: Sequence[int], *, added: Sequence[int]) -> None:
        """Count what the last call wrote; padding beyond `added` is forgotten."""
        for row, count in zip(rows, added, strict=True):
            self.lengths[row] += count

    def fork(self, source: int, target: int, *, length: int) -> None:
        """Make `target` hold the first `length` tokens of `source`."""
        if source != target:
            for layer in self._layers:
                for block in (layer.keys, layer.values):
                    block[target, :, :length] = block[source, :, :length]
        self.lengths[target] = length

    def swap(self, left: int, right: int) -> None:
        """Exchange two rows."""
        reach = max(self.lengths[left], self.lengths[right])
        for layer in self._layers:
            for block in (layer.keys, layer.values):
                kept = block[left, :, :reach].clone()
                block[left, :, :reach] = block[right, :, :reach]
                block[right, :, :reach] = kept
        lengths = self.lengths
        lengths[left], lengths[right] = lengths[right], lengths[left]

    def reserve(self, needed: int) -> None:
        """Double the capacity until `needed` positions fit; at most the context."""
        if needed <= self.capacity:
            return
        capacity = self.capacity
        while capacity < needed:
            capacity *= 2
        capacity = max(needed, min(capacity, self.config.context))
        kept = max(self.lengths)
        grown: list[tuple[Tensor, Tensor]] = []
        for layer in self._layers:
            pair = self.empty(capacity), self.empty(capacity)
            for block, old in zip(pair, (layer.keys, layer.values), strict=True):
                block[:, :, :kept] = old[:, :, :kept]
            grown.append(pair)
        # all or none: the kernel takes every block to be of one capacity
        for layer, (keys, values) in zip(self._layers, grown, strict=True):
            layer.keys, layer.values = keys, values
        self.capacity, self._addresses = capacity, None
