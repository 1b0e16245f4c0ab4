"""Which candidates stand in one row, and which rows in one call: planned by lengths alone.

Nothing is laid out here. Trees of a whole task, planted at once, were gigabytes (5,734 questions of
900 tokens); the lengths of rows follow from what neighbours in sorted order share.
"""

from __future__ import annotations

import collections
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from minna.runtime.likelihood import Group
from minna.runtime.load import LoadedModel
from minna.runtime.prefix import MIN_SHARED, common
from minna.runtime.tree import Tree, plant

_LONGEST_ROW = 2  # contexts: what trees do not see of each other, attention computes all the same


@dataclass(frozen=True, kw_only=True)
class Part:
    """Candidates of one group that share a row.

    Attributes:
        place: of the group.
        members: candidates of it.
        size: tokens of their tree, behind what all groups begin with.
    """

    place: int
    members: tuple[int, ...]
    size: int

    def tree(self, groups: Sequence[Group], *, known: int) -> Tree:
        """Lay it out, when it is its turn."""
        return plant([groups[self.place][member] for member in self.members], known=known)


Line = list[Part]  # what stands side by side in one row


def families(groups: Sequence[Group]) -> Iterator[tuple[list[int], int]]:
    """Groups that begin alike, with how many ids are the same in all of them."""
    by_beginning: dict[tuple[int, ...], list[int]] = collections.defaultdict(list)
    alone: list[int] = []
    for place, group in enumerate(groups):
        if not group:
            continue
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


def _parts(group: Group, place: int, *, known: int, limit: int) -> Iterator[Part]:
    """Cut a group into trees: one for each beginning, and none longer than `limit` if it can be.

    Choices that were cut on the left share nothing: side by side in one row they would cost
    attention over the sum of their lengths.
    """

    def own(number: int) -> int:
        return len(group[number].ids) - 1 - known

    order = sorted(range(len(group)), key=lambda number: group[number].ids[known:-1])
    members = order[:1]
    size = own(order[0])
    for before, number in itertools.pairwise(order):
        # neighbours in order share the most, so a tree grows by what differs from the one before
        left, right = group[before].ids[known:-1], group[number].ids[known:-1]
        shared = common(left, right)
        if shared and size + own(number) - shared <= limit:
            members.append(number)
            size += own(number) - shared
        else:
            yield Part(place=place, members=tuple(members), size=size)
            members, size = [number], own(number)
    yield Part(place=place, members=tuple(members), size=size)


def lines_of(
    model: LoadedModel,
    groups: Sequence[Group],
    places: Sequence[int],
    *,
    known: int,
    batch_tokens: int,
) -> list[Line]:
    """Rows of trees, longest first.

    Behind a shared beginning several short trees share a row: the beginning's keys are then copied
    once per row and not once per tree. A row stays no longer than the beginning, so that what its
    trees do not see of each other costs no more attention than the beginning itself.
    """
    limit = min(batch_tokens, _LONGEST_ROW * model.decoder.config.context)
    parts = [
        part for place in places for part in _parts(groups[place], place, known=known, limit=limit)
    ]
    lines: list[Line] = []
    room = 0
    for part in sorted(parts, key=lambda part: -part.size):
        if lines and part.size <= room:
            lines[-1].append(part)
            room -= part.size
        else:
            lines.append([part])
            room = min(known, limit) - part.size
    return lines


def next_batch(waiting: collections.deque[Line], batch_tokens: int) -> list[Line]:
    """Take the first rows away, as many as stand in one call, padded to the longest."""
    batch = [waiting.popleft()]
    longest = length(batch[0])
    while waiting:
        longest = max(longest, length(waiting[0]))
        if longest * (len(batch) + 1) > batch_tokens:
            break
        batch.append(waiting.popleft())
    return batch


def length(line: Line) -> int:
    """Tokens of a row."""
    return sum(part.size for part in line)


def smaller(groups: Sequence[Group], batch: list[Line], *, known: int) -> list[Line] | None:
    """The same in rows that may stand in smaller calls; None for one candidate alone."""
    if len(batch) > 1:
        return batch
    (line,) = batch
    if len(line) > 1:
        return [[part] for part in line]
    (part,) = line
    if len(part.members) == 1:
        return None
    return [
        [Part(place=part.place, members=(m,), size=len(groups[part.place][m].ids) - 1 - known)]
        for m in part.members
    ]
