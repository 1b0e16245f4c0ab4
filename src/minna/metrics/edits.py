"""What was understood beside what was said: edits of words and of sounds, and rates of error.

The paper's word error rate (section 5, Table 4) is over words as strings of phones: what a model
writes is cut at the word boundary, and one wrong phone or one wrong boundary makes a word wrong.
Edits are summed over the corpus and divided by the sum of reference words, so a rate may exceed 1.
Rates over sounds are beside it, with and without the boundary, since two models with the same words
wrong may be far apart in sounds.

The fewest edits are unique, their kinds are not: "ab" for "ba" is two substitutions, or a deletion
and an insertion. Of the shortest ways we take the one with the most substitutions, so that kinds
are defined too; it is found without walking back, from one number that counts both.

All pairs of a block are compared at once, a row of their matrices at a time: 10,000 sentences of 70
phones take less than a second.

Names: N pairs, R reference sounds, H sounds understood.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Literal, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from minna.errors import DataError
from minna.metrics.interval import Interval, ratio_interval

Ints = NDArray[np.int64]
Words = Sequence[Sequence[str]]
"""Words, each a sequence of sounds."""
BOUNDARY: Final = "|"
"""Stands between words where sounds are counted."""

_T = TypeVar("_T", bound=Hashable)
_EDIT: Final = 1 << 20
"""What an edit costs; what is no substitution costs one more, so of equal ways they are fewest."""
_GAP: Final = _EDIT + 1
_CELLS: Final = 1 << 16
"""Of a block's row: half a megabyte stays in the processor's cache."""
_LONGEST: Final = _EDIT // 2


@dataclass(frozen=True, kw_only=True)
class ErrorRate:
    """Edits of a whole corpus.

    Attributes:
        rate: edits over reference units, as a share, with its interval.
        substitutions, insertions, deletions: of the shortest ways with the most substitutions.
        reference: units that were said.
        items: pairs compared.
    """

    rate: Interval
    substitutions: int
    insertions: int
    deletions: int
    reference: int
    items: int


def word_units(words: Words) -> list[tuple[str, ...]]:
    """What a word error rate compares: each word whole; words without a sound are none."""
    return [tuple(word) for word in words if len(word)]


def sound_units(words: Words, *, boundaries: Literal["counted", "left"]) -> list[str]:
    """What a rate over sounds compares: all sounds in a row, with "|" between words or not."""
    units: list[str] = []
    for word in word_units(words):
        if units and boundaries == "counted":
            units.append(BOUNDARY)
        units.extend(word)
    return units


def error_rate(
    references: Sequence[Sequence[Hashable]],
    hypotheses: Sequence[Sequence[Hashable]],
    *,
    groups: ArrayLike | None = None,
    resamples: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> ErrorRate:
    """Edits over reference units, summed over all pairs.

    Args:
        references: what was said, in units: words, phones, characters.
        hypotheses: what was understood, in the same order.
        groups: [N] pairs that are drawn together; each alone if None.
        resamples: bootstrap draws.
        level: of the interval.
        seed: of the draws.

    Raises:
        DataError: lengths differ, or nothing was said at all.
    """
    counts = edit_counts(references, hypotheses)
    return rate_of(counts, groups=groups, resamples=resamples, level=level, seed=seed)


def rate_of(
    counts_N4: Ints,
    *,
    groups: ArrayLike | None = None,
    resamples: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> ErrorRate:
    """The rate of what `edit_counts` counted.

    Raises:
        DataError: no pairs, or no reference has a unit.
    """
    if len(counts_N4) and not counts_N4[:, 3].any():
        raise DataError(
            f"an error rate is over what was said, and none of {len(counts_N4)} references says "
            "anything",
            remedy="give clips with a transcript",
        )
    rate = ratio_interval(
        counts_N4[:, :3].sum(axis=1),
        counts_N4[:, 3],
        groups=groups,
        resamples=resamples,
        level=level,
        seed=seed,
    )
    substitutions, insertions, deletions, reference = map(int, counts_N4.sum(axis=0))
    return ErrorRate(
        rate=rate,
        substitutions=substitutions,
        insertions=insertions,
        deletions=deletions,
        reference=reference,
        items=len(counts_N4),
    )


def edit_counts(
    references: Sequence[Sequence[Hashable]], hypotheses: Sequence[Sequence[Hashable]]
) -> Ints:
    """[N, 4] of each pair: substitutions, insertions, deletions, and units of the reference.

    Raises:
        DataError: the lists differ in length, or a text has more than 524,288 units.
    """
    if len(references) != len(hypotheses):
        raise DataError(
            f"{len(hypotheses)} texts were understood, and {len(references)} were said",
            remedy="compare the same clips in the same order",
        )
    numbers: dict[Hashable, int] = {}
    said = [_numbered(one, numbers) for one in references]
    heard = [_numbered(one, numbers) for one in hypotheses]
    counts_N4 = np.zeros((len(said), 4), dtype=np.int64)
    if not said:
        return counts_N4
    lengths_R = np.array([len(one) for one in said], dtype=np.int64)
    lengths_H = np.array([len(one) for one in heard], dtype=np.int64)
    longest = int(max(lengths_R.max(), lengths_H.max()))
    if longest > _LONGEST:
        raise DataError(
            f"a text of {longest:,} units is too long to be compared (at most {_LONGEST:,})",
            remedy="cut the recordings",
        )
    cost_N = np.empty(len(said), dtype=np.int64)
    for block in _blocks(lengths_R, lengths_H):
        cost_N[block] = _costs([said[k] for k in block], [heard[k] for k in block])
    edits_N, gaps_N = np.divmod(cost_N, _EDIT)
    more_N = lengths_H - lengths_R  # insertions minus deletions, on every way
    counts_N4[:, 0] = edits_N - gaps_N
    counts_N4[:, 1] = (gaps_N + more_N) // 2
    counts_N4[:, 2] = (gaps_N - more_N) // 2
    counts_N4[:, 3] = lengths_R
    return counts_N4


def aligned(reference: Sequence[_T], hypothesis: Sequence[_T]) -> list[tuple[_T | None, _T | None]]:
    """Pairs of what was said and understood, on a way that `edit_counts` counts; None is a gap."""
    numbers: dict[Hashable, int] = {}
    said, heard = _numbered(reference, numbers), _numbered(hypothesis, numbers)
    rows = [row[0].copy() for row in _rows([said], [heard])]
    place, other = len(said), len(heard)
    pairs: list[tuple[_T | None, _T | None]] = []
    while place or other:
        cost = rows[place][other]
        both = place > 0 and other > 0
        same = both and said[place - 1] == heard[other - 1]
        if both and rows[place - 1][other - 1] + (0 if same else _EDIT) == cost:
            place, other = place - 1, other - 1
            pairs.append((reference[place], hypothesis[other]))
        elif place and rows[place - 1][other] + _GAP == cost:
            place -= 1
            pairs.append((reference[place], None))
        else:
            other -= 1
            pairs.append((None, hypothesis[other]))
    return pairs[::-1]


def _numbered(units: Sequence[Hashable], numbers: dict[Hashable, int]) -> Ints:
    return np.array([numbers.setdefault(one, len(numbers)) for one in units], dtype=np.int64)


def _blocks(lengths_R: Ints, lengths_H: Ints) -> Iterator[list[int]]:
    """Numbers of pairs to be compared together: of like lengths, the longest reference first."""
    order = np.argsort(lengths_H, kind="stable")
    start = 0
    while start < len(order):
        stop = start + 1
        while stop < len(order) and (stop + 1 - start) * (lengths_H[order[stop]] + 1) <= _CELLS:
            stop += 1
        block = order[start:stop]
        yield block[np.argsort(-lengths_R[block], kind="stable")].tolist()
        start = stop


def _costs(said: Sequence[Ints], heard: Sequence[Ints]) -> Ints:
    """[N] cost of the cheapest way of each pair; the longest reference stands first."""
    row = np.empty((0, 0), dtype=np.int64)
    for found in _rows(said, heard):
        row = found
    return row[np.arange(len(heard)), [len(one) for one in heard]]


def _rows(said: Sequence[Ints], heard: Sequence[Ints]) -> Iterator[Ints]:
    """[N, H + 1] costs after 0, 1, ... R reference units; the same array each time.

    A way into a cell comes from above or from the side. Those from the side form chains, and the
    cheapest chain is a running minimum once the price of each step is taken out.
    """
    lengths = np.array([len(one) for one in said])
    heard_NH = np.full((len(heard), max(map(len, heard))), -1, dtype=np.int64)
    for number, one in enumerate(heard):
        heard_NH[number, : len(one)] = one
    said_NR = np.zeros((len(said), int(lengths[0])), dtype=np.int64)
    for number, one in enumerate(said):
        said_NR[number, : len(one)] = one
    chain_H = _GAP * np.arange(heard_NH.shape[1] + 1, dtype=np.int64)
    row_NH = np.repeat(chain_H[None], len(heard), axis=0)
    yield row_NH
    for place in range(said_NR.shape[1]):
        active = int((lengths > place).sum())
        before = row_NH[:active]
        wrong = heard_NH[:active] != said_NR[:active, place, None]
        there = before + _GAP
        np.minimum(there[:, 1:], before[:, :-1] + _EDIT * wrong, out=there[:, 1:])
        there -= chain_H
        np.minimum.accumulate(there, axis=1, out=there)
        there += chain_H
        row_NH[:active] = there
        yield row_NH
