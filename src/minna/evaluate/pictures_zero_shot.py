"""From vectors to figures: how often the right name stands first, and what stands there else.

Two rows of figures are made, with templates and with the name alone: the difference is the
templates' work and not the model's. Where two classes have the same names the first is always
chosen, so the other's pictures are lost before the model is asked; the ceiling that this leaves
stands in the conditions.

Names: N pictures, C classes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from minna.evaluate.items import Item
from minna.evaluate.pictures_data import Labelled
from minna.evaluate.report import Metric, Part
from minna.metrics.share import share_interval, wilson
from minna.runtime.class_names import PictureClass, shared_names
from minna.runtime.zero_shot import best, label_ranks, shares

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

TOP: Final = (1, 5, 10, 100)
MAIN: Final = "top_1"
KEPT: Final = 5
"""Guesses of a picture that are written down."""
_BLOCK: Final = 4096
_DRAWS: Final = 1000
_TOLD: Final = 12


class Scorer(Protocol):
    """Whatever gives every class a score: a zero-shot classifier, a probe."""

    def scores(self, pictures: NDArray[np.float32]) -> NDArray[np.float32]:
        """[N, C] of vectors [N, D]."""
        ...


@dataclass(frozen=True, kw_only=True)
class Judged:
    """What a classifier said to every picture.

    Attributes:
        labels: [N] the right class.
        ranks: [N] where it stands, from 1.
        guesses: [N, at most 5] classes, the likeliest first.
        shares: [N, at most 5] of the softmax over all classes.
    """

    labels: Ints
    ranks: Ints
    guesses: Ints
    shares: Floats


@dataclass(frozen=True, kw_only=True)
class ClassFigures:
    """One class: its pictures, how many were right, and the ends of that share's interval."""

    id: str
    name: str
    n: int
    right: int
    low: float
    high: float


@dataclass(frozen=True, kw_only=True)
class Confusion:
    """Pictures of one class that were taken for another."""

    gold: int
    guess: int
    count: int


def judge_pictures(scorer: Scorer, vectors: Any, rows: Ints, labels: Ints) -> Judged:
    """Ask about pictures, a block in memory at a time.

    Args:
        scorer: who is asked.
        vectors: of an index, mapped.
        rows: [N] which of them.
        labels: [N] their classes.
    """
    ranks: list[Ints] = []
    guesses: list[Ints] = []
    sure: list[Floats] = []
    for start in range(0, len(rows), _BLOCK):
        block = np.asarray(vectors[rows[start : start + _BLOCK]], dtype=np.float32)
        scores_NC = scorer.scores(block)
        ranks.append(label_ranks(scores_NC, labels[start : start + _BLOCK]))
        first = best(scores_NC, KEPT)
        guesses.append(first)
        sure.append(np.take_along_axis(shares(scores_NC), first, axis=1))
    return Judged(
        labels=labels,
        ranks=np.concatenate(ranks),
        guesses=np.concatenate(guesses),
        shares=np.concatenate(sure),
    )


def metrics_of(judged: Judged, *, classes: int, groups: Sequence[str] | None) -> dict[str, Metric]:
    """Top-k accuracies and the mean over classes, in percent."""
    made: dict[str, Metric] = {}
    for k in TOP:
        if k < classes:
            found = share_interval(judged.ranks <= k, groups=groups)
            made[f"top_{k}"] = _percent(found.value, found.low, found.high)
    counts, right = _by_class(judged, classes)
    there = counts > 0
    value = float((right[there] / counts[there]).mean())
    if groups is not None and len(set(groups)) < len(judged.labels):
        made["mean_per_class"] = Metric(value=100 * value, unit="percent")
        return made
    generator = np.random.default_rng(0)
    drawn = generator.binomial(
        counts[there], right[there] / counts[there], size=(_DRAWS, int(there.sum()))
    )
    low, high = np.quantile((drawn / counts[there]).mean(axis=1), [0.025, 0.975])
    made["mean_per_class"] = _percent(value, float(low), float(high))
    return made


def parts_of(judged: Judged, pictures: Sequence[Labelled]) -> dict[str, Part]:
    """The accuracy of each source of a corpus, where there are several."""
    sources = sorted({one.source for one in pictures})
    if len(sources) < 2:  # noqa: PLR2004 - one source is the whole
        return {}
    made: dict[str, Part] = {}
    for source in sources:
        chosen = np.array([one.source == source for one in pictures])
        groups = groups_of([one for one in pictures if one.source == source])
        found = share_interval(judged.ranks[chosen] == 1, groups=groups)
        metric = _percent(found.value, found.low, found.high)
        made[source] = Part(n=int(chosen.sum()), metrics={MAIN: metric})
    return made


def by_class(judged: Judged, classes: Sequence[PictureClass]) -> list[ClassFigures]:
    """Figures of every class that has pictures, in the order of the classes."""
    counts, right = _by_class(judged, len(classes))
    made: list[ClassFigures] = []
    for one, count, correct in zip(classes, counts.tolist(), right.tolist(), strict=True):
        if count:
            low, high = wilson(correct, count)
            made.append(
                ClassFigures(id=one.id, name=one.name, n=count, right=correct, low=low, high=high)
            )
    return made


def confusions(judged: Judged) -> list[Confusion]:
    """Pairs of classes that were confused, the commonest first."""
    wrong = judged.ranks > 1
    pairs = zip(judged.labels[wrong].tolist(), judged.guesses[wrong, 0].tolist(), strict=True)
    return [
        Confusion(gold=gold, guess=guess, count=count)
        for (gold, guess), count in sorted(
            Counter(pairs).items(), key=lambda entry: (-entry[1], entry[0])
        )
    ]


def items_of(
    judged: Judged, pictures: Sequence[Labelled], classes: Sequence[PictureClass]
) -> list[Item]:
    """A line of items/TASK.jsonl for each picture: the right name, five guesses, their shares."""
    names = [one.name for one in classes]
    count = len(classes)
    made: list[Item] = []
    for one, rank, guesses, sure in zip(
        pictures,
        judged.ranks.tolist(),
        judged.guesses.tolist(),
        judged.shares.tolist(),
        strict=True,
    ):
        made.append(
            Item(
                id=one.path,
                group=one.group,
                gold=(names[one.label],),
                prediction=names[guesses[0]],
                scores={f"top_{k}": float(rank <= k) for k in TOP if k < count},
                context="",
                continuations=tuple(names[guess] for guess in guesses),
                logprobs=tuple(round(float(np.log(max(share, 1e-30))), 4) for share in sure),
                text=names[guesses[0]],
            )
        )
    return made


def conditions_of(
    judged: Judged, classes: Sequence[PictureClass], *, bad: int, left_out: int
) -> dict[str, int | float | str]:
    """What a reader must know: chance, what is missing, names that are not unique."""
    counts, _ = _by_class(judged, len(classes))
    made: dict[str, int | float | str] = {
        "classes": len(classes),
        "chance_top_1": round(100 / len(classes), 4),
        "classes_without_pictures": int((counts == 0).sum()),
        "bad_pictures": bad,
        "pictures_of_no_class": left_out,
    }
    twice = shared_names(classes)
    if twice:
        told = [f"{name} ({', '.join(ids)})" for name, ids in list(twice.items())[:_TOLD]]
        made["names_of_several_classes"] = len(twice)
        made["such_names"] = "; ".join(told) + (" ..." if len(twice) > _TOLD else "")
        made["ceiling_top_1"] = round(100 * ceiling(counts, classes), 2)
    return made


def ceiling(counts: Ints, classes: Sequence[PictureClass]) -> float:
    """The share of pictures that can be right at all, where classes have equal names."""
    first = {one.names: number for number, one in reversed(list(enumerate(classes)))}
    reachable = sum(
        int(counts[number]) for number, one in enumerate(classes) if first[one.names] == number
    )
    return reachable / max(1, int(counts.sum()))


def groups_of(pictures: Sequence[Labelled]) -> list[str] | None:
    """Names of what is drawn together; a picture without a group is one of its own."""
    if not any(one.group for one in pictures):
        return None
    return [f"group {one.group}" if one.group else f"picture {one.path}" for one in pictures]


def _by_class(judged: Judged, classes: int) -> tuple[Ints, Ints]:
    counts = np.bincount(judged.labels, minlength=classes)
    return counts, np.bincount(judged.labels[judged.ranks == 1], minlength=classes)


def _percent(value: float, low: float, high: float) -> Metric:
    return Metric(value=100 * value, low=100 * low, high=100 * high, unit="percent")
