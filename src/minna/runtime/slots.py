"""Which row of the cache belongs to whom, and what finished rows still know.

The active rows are the first ones. A row that is released keeps its keys and values behind them
until the place is needed, least recently used first: the next turn of a chat, or the next question
behind the same examples, starts from there at the price of a copy.
"""

from __future__ import annotations

from collections.abc import Sequence

from minna.runtime.cache import KeyValueCache
from minna.runtime.prefix import MIN_SHARED, common


class Slots:
    """Rows of a cache with the token ids they hold; `active` of them, in front, are in use."""

    def __init__(self, cache: KeyValueCache) -> None:
        self.cache = cache
        self.active = 0
        self.tokens: list[list[int]] = [[] for _ in range(cache.rows)]
        self._used = [0] * cache.rows
        self._clock = 0

    @property
    def free(self) -> int:
        """Rows that can be claimed."""
        return self.cache.rows - self.active

    def claim(self, prompt: Sequence[int]) -> tuple[int, int]:
        """Take the next row for a prompt, filled with what some row already knows of it.

        Returns:
            The row and how many of the prompt's tokens it holds; the last is never among them,
            since it must be asked at.
        """
        source, shared = self._knows_most(prompt[:-1])
        if shared < MIN_SHARED:
            return self._take(None, prompt[:0]), 0
        return self._take(source, prompt[:shared]), shared

    def branch(self, source: int) -> int:
        """Take the next row as a copy of an active one."""
        return self._take(source, self.tokens[source])

    def release(self, row: int) -> None:
        """Give an active row back; the last active row takes its number."""
        self.active -= 1
        last = self.active
        if row != last:
            self.cache.swap(row, last)
            self.tokens[row], self.tokens[last] = self.tokens[last], self.tokens[row]
            self._used[row] = self._used[last]
        self._touch(last)

    def read(self, row: int, tokens: Sequence[int]) -> None:
        """Note that the model has read `tokens` into the row."""
        self.tokens[row].extend(tokens)

    def forget(self) -> None:
        """Drop what idle rows know (the weights have changed)."""
        for row in range(self.active, self.cache.rows):
            self.tokens[row] = []
            self.cache.lengths[row] = 0

    def _take(self, source: int | None, tokens: Sequence[int]) -> int:
        row = self.active
        if source != row:
            self._make_room(row, keep=source)
        self.cache.fork(row if source is None else source, row, length=len(tokens))
        self.tokens[row] = list(tokens)
        self._touch(row)
        self.active += 1
        return row

    def _make_room(self, row: int, *, keep: int | None) -> None:
        """Move what `row` still knows over the least recently used idle row."""
        if not self.tokens[row]:
            return
        idle = [r for r in range(row, self.cache.rows) if r != keep]
        victim = min(idle, key=self._used.__getitem__)
        if victim != row:
            self.cache.fork(row, victim, length=len(self.tokens[row]))
            self.tokens[victim], self._used[victim] = self.tokens[row], self._used[row]

    def _knows_most(self, tokens: Sequence[int]) -> tuple[int, int]:
        reach = [common(held, tokens) for held in self.tokens]
        best = max(range(len(reach)), key=reach.__getitem__)
        return best, reach[best]

    def _touch(self, row: int) -> None:
        self._clock += 1
        self._used[row] = self._clock
