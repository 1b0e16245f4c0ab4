"""From log-probabilities of frames to texts: the best path, and prefix beam search.

CTC gives each frame a symbol or a blank; a text is all alignments that become it once repeats and
blanks are taken out. The best single path is read off in one pass. Beam search keeps the prefixes
with the greatest *sum* over alignments (Graves & Jaitly 2014; Hannun et al. 2014), as the paper
decodes: beam 20, no language model. With a beam that holds every prefix it is exact.

Each prefix also carries its best single alignment, which is where the times of symbols come from:
nothing is aligned a second time, and memory grows with the length, not with its square.

The search runs in C++ where that can be had (`minna.native.beam`); here is its twin in numpy, with
the same texts, order and times.

Names: T frames, V symbols (0 is the blank), P prefixes in the beam.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from minna.errors import DataError, UsageError
from minna.native import beam as native

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

BLANK: Final = 0
BEAM: Final = 20
"""Of the paper."""


@dataclass(frozen=True, kw_only=True)
class Reading:
    """A text that was found.

    Attributes:
        ids: its symbols, without blanks.
        starts: the first frame of each.
        ends: the frame behind the last that says it; a symbol is also heard in blanks after it.
        score: natural log of its probability: of all alignments (beam), of the best path (greedy).
    """

    ids: tuple[int, ...]
    starts: tuple[int, ...]
    ends: tuple[int, ...]
    score: float


def greedy(logprobs_TV: NDArray[np.floating]) -> Reading:
    """Read off the best path.

    Raises:
        DataError: not frames of log-probabilities, or one is no number.
    """
    logprobs = _checked(logprobs_TV)
    best_T = logprobs.argmax(axis=1)
    score = float(logprobs[np.arange(len(best_T)), best_T].sum())
    edges = np.flatnonzero(np.diff(best_T, prepend=-1, append=-1))
    starts, ends = edges[:-1], edges[1:]
    said = best_T[starts] != BLANK if len(best_T) else np.zeros(0, dtype=bool)
    return Reading(
        ids=tuple(best_T[starts[said]].tolist()),
        starts=tuple(starts[said].tolist()),
        ends=tuple(ends[said].tolist()),
        score=score,
    )


def beam_search(
    logprobs_TV: NDArray[np.floating], *, beam: int = BEAM, best: int = 1
) -> list[Reading]:
    """Find the texts with the greatest probability, the best first.

    Args:
        logprobs_TV: natural logs of probabilities; minus infinity is allowed.
        beam: prefixes kept after each frame.
        best: how many texts; fewer come back where the beam holds fewer.

    Raises:
        DataError: not frames of log-probabilities, or one is no number.
        UsageError: a beam or a number of texts below 1.
    """
    if beam < 1 or best < 1:
        raise UsageError(
            f"a beam of {beam} with the best {best} of it finds nothing",
            remedy="both must be 1 or more",
        )
    logprobs = _checked(logprobs_TV)
    best = min(best, beam)
    if native.ready():
        rows = native.beam_search(logprobs, beam=beam, best=best)
        return [
            Reading(
                ids=tuple(row.ids.tolist()),
                starts=tuple(row.starts.tolist()),
                ends=tuple(row.ends.tolist()),
                score=row.score,
            )
            for row in rows
        ]
    search = Search(logprobs.shape[1], beam=beam)
    for frame, row_V in enumerate(logprobs):
        search.step(row_V, frame)
    return search.finish(best)


def _checked(logprobs_TV: NDArray[np.floating]) -> Floats:
    """The frames in float64.

    Raises:
        DataError: not [T, V], or NaN or plus infinity in it.
    """
    logprobs = np.asarray(logprobs_TV, dtype=np.float64)
    if logprobs.ndim != 2 or logprobs.shape[1] < 2:  # noqa: PLR2004 - frames of two symbols
        raise DataError(
            f"log-probabilities are [frames, symbols], two symbols or more, not {logprobs.shape}"
        )
    if not (logprobs < np.inf).all():  # NaN is not below it either
        raise DataError(
            "the model gives log-probabilities that are no numbers",
            remedy="are its weights damaged? In fp32 it may do better",
        )
    return logprobs


class _Ways:
    """How prefixes were arrived at by a blank, or by their last symbol: arrays over P.

    Attributes:
        sum: log of the sum over alignments.
        best: log of the best alignment.
        emission: number of its last emission, -1 without one.
        end: the last frame that says the last symbol.
    """

    def __init__(self, sum_P: Floats, best_P: Floats, emission_P: Ints, end_P: Ints) -> None:
        self.sum, self.best, self.emission, self.end = sum_P, best_P, emission_P, end_P

    @classmethod
    def never(cls, size: int) -> _Ways:
        """Nobody arrived so."""
        none = np.full(size, -np.inf)
        return cls(none, none.copy(), np.full(size, -1), np.zeros(size, dtype=np.int64))

    def at(self, places: Ints) -> _Ways:
        """Those of some prefixes."""
        return _Ways(self.sum[places], self.best[places], self.emission[places], self.end[places])

    def then(self, other: _Ways) -> _Ways:
        """These prefixes, and then others."""
        return _Ways(
            np.concatenate([self.sum, other.sum]),
            np.concatenate([self.best, other.best]),
            np.concatenate([self.emission, other.emission]),
            np.concatenate([self.end, other.end]),
        )


class Search:
    """Prefix beam search in numpy, a frame at a time.

    Args:
        symbols: V.
        beam: prefixes kept after each frame.
    """

    def __init__(self, symbols: int, *, beam: int) -> None:
        self._symbols, self._beam = symbols, beam
        self._parents, self._said = [-1], [-1]  # of nodes: prefixes, each once
        self._children: dict[int, int] = {}
        self._emissions: list[tuple[int, int, int]] = []  # before, end of that, start
        self._node = np.zeros(1, dtype=np.int64)
        self._last = np.full(1, -1)
        self._symbol = _Ways.never(1)
        self._blank = _Ways.never(1)
        self._blank.sum[0] = self._blank.best[0] = 0.0

    def step(self, row_V: Floats, frame: int) -> None:
        """Hear one frame more."""
        blank, symbol = self._blank, self._symbol
        total_P = np.logaddexp(blank.sum, symbol.sum)
        spoken = symbol.best > blank.best
        best_P = np.where(spoken, symbol.best, blank.best)
        again_P = np.where(self._last >= 0, row_V[self._last], -np.inf)
        stay_blank = _Ways(
            total_P + row_V[BLANK],
            best_P + row_V[BLANK],
            np.where(spoken, symbol.emission, blank.emission),
            np.where(spoken, symbol.end, blank.end),
        )
        stay_symbol = _Ways(
            symbol.sum + again_P,
            symbol.best + again_P,
            symbol.emission.copy(),
            np.where(self._last >= 0, frame, symbol.end),
        )
        longer_PV = total_P[:, None] + row_V
        further_PV = best_P[:, None] + row_V
        rows = np.flatnonzero(self._last >= 0)
        longer_PV[rows, self._last[rows]] = blank.sum[rows] + row_V[self._last[rows]]
        further_PV[rows, self._last[rows]] = blank.best[rows] + row_V[self._last[rows]]
        self._join(stay_symbol, longer_PV, further_PV, frame)
        longer_PV[:, BLANK] = np.logaddexp(stay_blank.sum, stay_symbol.sum)
        parents, said = np.divmod(_best_places(longer_PV, self._beam), self._symbols)
        stays, new = np.flatnonzero(said == BLANK), np.flatnonzero(said != BLANK)
        nodes, emissions = self._made(parents[new], said[new], frame)
        spoken_new = _Ways(
            longer_PV[parents[new], said[new]],
            further_PV[parents[new], said[new]],
            emissions,
            np.full(len(new), frame),
        )
        order = np.argsort(np.concatenate([stays, new]), kind="stable")
        kept = parents[stays]
        self._blank = stay_blank.at(kept).then(_Ways.never(len(new))).at(order)
        self._symbol = stay_symbol.at(kept).then(spoken_new).at(order)
        self._last = np.concatenate([self._last[kept], said[new]])[order]
        self._node = np.concatenate([self._node[kept], nodes])[order]

    def _join(self, stay: _Ways, longer_PV: Floats, further_PV: Floats, frame: int) -> None:
        """Where a prefix and its parent are both in the beam, two ways to it become one."""
        parents_P = np.array([self._parents[node] for node in self._node.tolist()])
        children, parents = np.nonzero(parents_P[:, None] == self._node)
        for k, p in zip(children.tolist(), parents.tolist(), strict=True):
            said = self._last[k]
            stay.sum[k] = np.logaddexp(stay.sum[k], longer_PV[p, said])
            if further_PV[p, said] > stay.best[k]:
                stay.best[k], stay.end[k] = further_PV[p, said], frame
                stay.emission[k] = self._emit(p, int(said), frame)
            longer_PV[p, said] = -np.inf

    def _made(self, parents: Ints, said: Ints, frame: int) -> tuple[Ints, Ints]:
        """Nodes and emissions of prefixes that are a symbol longer than those they come from."""
        nodes: list[int] = []
        emissions: list[int] = []
        for p, symbol in zip(parents.tolist(), said.tolist(), strict=True):
            nodes.append(self._child(int(self._node[p]), symbol))
            emissions.append(self._emit(p, symbol, frame))
        return np.array(nodes, dtype=np.int64), np.array(emissions, dtype=np.int64)

    def _emit(self, p: int, symbol: int, frame: int) -> int:
        """Note that a prefix says one symbol more; return the number of that."""
        spoken = self._symbol.best[p] > self._blank.best[p] and symbol != self._last[p]
        way = self._symbol if spoken else self._blank
        self._emissions.append((int(way.emission[p]), int(way.end[p]), frame))
        return len(self._emissions) - 1

    def _child(self, parent: int, symbol: int) -> int:
        key = parent * self._symbols + symbol
        found = self._children.setdefault(key, len(self._parents))
        if found == len(self._parents):
            self._parents.append(parent)
            self._said.append(symbol)
        return found

    def finish(self, best: int) -> list[Reading]:
        """Return the best texts."""
        score_P = np.logaddexp(self._blank.sum, self._symbol.sum)
        order = np.argsort(-score_P, kind="stable")[:best]
        return [self._reading(int(k), float(score_P[k])) for k in order]

    def _reading(self, k: int, score: float) -> Reading:
        way = self._symbol if self._symbol.best[k] > self._blank.best[k] else self._blank
        node, emission, end = int(self._node[k]), int(way.emission[k]), int(way.end[k])
        told: list[tuple[int, int, int]] = []
        while self._parents[node] >= 0:
            before, end_before, start = self._emissions[emission]
            told.append((self._said[node], start, end + 1))
            node, emission, end = self._parents[node], before, end_before
        ids, starts, ends = zip(*told[::-1], strict=True) if told else ((), (), ())
        return Reading(ids=ids, starts=starts, ends=ends, score=score)


def _best_places(scores: Floats, count: int) -> Ints:
    """Places of the highest scores, the highest first; of equals the first. None that is -inf."""
    flat = scores.ravel()
    least = -np.inf
    if len(flat) > count:
        least = np.partition(flat, len(flat) - count)[len(flat) - count]
    places = np.flatnonzero((flat >= least) & (flat > -np.inf))
    return places[np.argsort(-flat[places], kind="stable")][:count]
