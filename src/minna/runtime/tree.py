"""Token sequences that share beginnings, laid out in one row so that nothing is read twice.

Five choices behind one question are five sequences, equal but for their last tokens. Written as a
tree (the question once, the choices as branches) they are one row of little more than the question,
and a mask lets every token look at its own ancestors only: each branch sees exactly what it would
see alone. On the paper's jcommonsenseqa prompts that is 4.8 times less to read.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from minna.runtime.prefix import common


class Candidate(Protocol):
    """A token sequence whose end is scored: `ids[start:]` given `ids[:start]`."""

    @property
    def ids(self) -> tuple[int, ...]:
        """What is read and paid for; the last is never read."""
        ...

    @property
    def start(self) -> int:
        """The first id that is paid for, at least 1."""
        ...


@dataclass(frozen=True, kw_only=True)
class Segment:
    """A stretch of tokens without a branch; `parent` is its place in the list, -1 for a root."""

    ids: tuple[int, ...]
    depth: int
    parent: int


@dataclass(frozen=True, kw_only=True)
class Tree:
    """The sequences of one group.

    Attributes:
        segments: a parent stands before its children.
        asked: [A] place in the row of each scored token's predecessor.
        wanted: [A] the scored tokens.
        owner: [A] the candidate each belongs to.
    """

    segments: tuple[Segment, ...]
    asked: NDArray[np.int64]
    wanted: NDArray[np.int64]
    owner: NDArray[np.int64]

    @property
    def size(self) -> int:
        """Tokens of the row."""
        return sum(len(segment.ids) for segment in self.segments)


def plant(group: Sequence[Candidate], *, known: int = 0) -> Tree:
    """Lay a group of candidates out as a tree.

    Args:
        group: at least one candidate.
        known: ids at their beginning that the model has read already (equal in all, and fewer than
            any `start`).
    """
    order = sorted(range(len(group)), key=lambda number: group[number].ids[known:-1])
    segments: list[Segment] = []
    starts: list[int] = []
    paths: list[list[int]] = [[] for _ in group]
    size = 0
    stack: list[tuple[list[int], int, int]] = [(order, known, -1)]
    while stack:
        members, depth, parent = stack.pop()
        first, last = (group[members[place]].ids[:-1] for place in (0, -1))
        end = depth + common(first[depth:], last[depth:])
        here = parent
        if end > depth:
            here = len(segments)
            segments.append(Segment(ids=first[depth:end], depth=depth, parent=parent))
            starts.append(size)
            size += end - depth
            for member in members:
                paths[member].append(here)
        rest = [member for member in members if len(group[member].ids) - 1 > end]
        # sorted, so that equal next ids are neighbours
        while rest:
            token = group[rest[0]].ids[end]
            branch = [member for member in rest if group[member].ids[end] == token]
            stack.append((branch, end, here))
            rest = rest[len(branch) :]
    return _asked(group, segments, starts, paths)


def _asked(
    group: Sequence[Candidate],
    segments: list[Segment],
    starts: list[int],
    paths: list[list[int]],
) -> Tree:
    asked: list[NDArray[np.int64]] = []
    wanted: list[tuple[int, ...]] = []
    owner: list[NDArray[np.int64]] = []
    for number, candidate in enumerate(group):
        places = np.concatenate(
            [np.arange(starts[s], starts[s] + len(segments[s].ids)) for s in paths[number]]
        )
        paid = len(candidate.ids) - candidate.start
        asked.append(places[len(places) - paid :])
        wanted.append(candidate.ids[candidate.start :])
        owner.append(np.full(paid, number))
    return Tree(
        segments=tuple(segments),
        asked=np.concatenate(asked).astype(np.int64),
        wanted=np.concatenate([np.array(ids, dtype=np.int64) for ids in wanted]),
        owner=np.concatenate(owner).astype(np.int64),
    )


@dataclass(frozen=True, kw_only=True)
class Row:
    """Trees side by side, ready for the model; none sees another.

    Attributes:
        ids: [S] tokens.
        depths: [S] place of each token in its own sequence.
        segment: [S] number of its segment.
        ancestors: [G, G] whether tokens of one segment may look at those of another.
    """

    ids: NDArray[np.int64]
    depths: NDArray[np.int64]
    segment: NDArray[np.int64]
    ancestors: NDArray[np.bool_]

    @property
    def is_chain(self) -> bool:
        """Whether a causal mask says the same."""
        return len(self.ancestors) == 1


def lay(trees: Sequence[Tree]) -> Row:
    """Put trees into one row, in order."""
    segments = [segment for tree in trees for segment in tree.segments]
    shift = np.cumsum([0, *[len(tree.segments) for tree in trees]])
    parents = [
        -1 if segment.parent < 0 else segment.parent + int(shift[number])
        for number, tree in enumerate(trees)
        for segment in tree.segments
    ]
    ancestors = np.eye(len(segments), dtype=bool)
    for number, parent in enumerate(parents):
        if parent >= 0:
            ancestors[number] |= ancestors[parent]
    sizes = [len(segment.ids) for segment in segments]
    return Row(
        ids=np.concatenate([np.array(segment.ids, dtype=np.int64) for segment in segments]),
        depths=np.concatenate([np.arange(s.depth, s.depth + len(s.ids)) for s in segments]),
        segment=np.repeat(np.arange(len(segments)), sizes),
        ancestors=ancestors,
    )


def mask_of(rows: Sequence[Row], *, known: int) -> NDArray[np.bool_]:
    """[B, 1, S, known + S] what every token may look at: what is known, itself, its ancestors.

    Padding looks at itself, so that no softmax is over nothing.
    """
    longest = max(len(row.ids) for row in rows)
    mask = np.zeros((len(rows), 1, longest, known + longest), dtype=bool)
    mask[..., :known] = True
    causal = np.tri(longest, dtype=bool)
    for number, row in enumerate(rows):
        size = len(row.ids)
        # rows of segments first, then columns: two gathers of whole lines
        seen = row.ancestors[row.segment][:, row.segment]
        mask[number, 0, :size, known : known + size] = seen & causal[:size, :size]
        padding = np.arange(size, longest)
        mask[number, 0, padding, known + padding] = True
    return mask
