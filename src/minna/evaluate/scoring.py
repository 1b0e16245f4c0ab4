"""From answers to figures: one task's scores, each with its interval and what it depends on.

Scoring needs neither the model nor its weights, so a finished report can be scored again. What
would make a figure meaningless (a log-likelihood that is no number, an answer to another question)
is refused before the first figure is made, never averaged in.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from minna.errors import DataError
from minna.evaluate.items import Item, join
from minna.evaluate.measures import Measure, measure_of, measures_of, prediction
from minna.evaluate.records import Answer, Document, Mode, Request
from minna.evaluate.report import Metric
from minna.evaluate.task import Chosen, TaskKind
from minna.metrics.interval import statistic_interval
from minna.metrics.paired import Difference, mean_difference, statistic_difference
from minna.tokenizer.coder import Coder


@dataclass(frozen=True, kw_only=True)
class TaskScores:
    """Scores of one task.

    Attributes:
        name: TASK-VERSION-PROMPT.
        version: of the task.
        kind: of the task.
        mode: compat or fixed.
        main: the metric that stands for the task in averages.
        metrics: by name, shares in percent, with 95 % intervals.
        items: in the order of asking.
        conditions: counts and versions that a reader of the figures must know.
    """

    name: str
    version: str
    kind: TaskKind
    mode: Mode
    main: str
    metrics: dict[str, Metric]
    items: list[Item]
    conditions: dict[str, int | float | str]


def score_task(
    chosen: Chosen,
    documents: Sequence[Document],
    requests: Sequence[Request],
    answers: Sequence[Answer],
    *,
    mode: Mode,
    coder: Coder | None = None,
    shots: int | None = None,
    resamples: int = 1000,
    seed: int = 0,
) -> TaskScores:
    """Score the answers to one task.

    Args:
        chosen: the task in its version.
        documents: at least those that were asked about.
        requests: in the order of asking.
        answers: one per request, in the same order.
        mode: whose rules: compat (the paper's harness) or fixed (ours).
        coder: the judged model's tokenizer; only ROUGE on its tokens asks for it.
        shots: examples that were wanted; None takes the most that any request holds.
        resamples: bootstrap draws of every interval.
        seed: of the draws.

    Raises:
        DataError: nothing to score, or documents that cannot be scored (see `items.join`).
        ArtifactError: answers that do not belong to the requests, or that are not finite.
        UsageError: a metric that does not fit the task.
    """
    if not requests:
        raise DataError(f"{chosen.name}: there is nothing to score", remedy="check the data files")
    task = chosen.task
    measures = measures_of(chosen, mode=mode, coder=coder)
    items = join(chosen.name, documents, requests, answers)
    groups = _groups(items)
    metrics: dict[str, Metric] = {}
    scores: list[dict[str, float]] = [{} for _ in items]
    conditions = _counts(items, shots=shots)
    for name, measure in measures.items():
        rows_NK = measure.rows(items)
        metrics[name] = _figure(measure, rows_NK, groups=groups, resamples=resamples, seed=seed)
        if measure.per_item:
            values = measure.statistic(rows_NK) * (measure.scale / 100)
            for found, value in zip(scores, values.tolist(), strict=True):
                found[name] = value
        if measure.made_by is not None:
            conditions[name] = measure.made_by(items)
    main = task.metrics[0]
    return TaskScores(
        name=chosen.name,
        version=chosen.version.version,
        kind=task.kind,
        mode=mode,
        main=main,
        metrics=metrics,
        items=[
            dataclasses.replace(item, prediction=prediction(item, metric=main), scores=found)
            for item, found in zip(items, scores, strict=True)
        ],
        conditions=conditions,
    )


def compare_items(
    metric: str,
    first: Sequence[Item],
    second: Sequence[Item],
    *,
    kind: TaskKind,
    mode: Mode,
    resamples: int = 10_000,
    seed: int = 0,
) -> Difference:
    """Second model minus first, in the metric's unit (percent for shares), on the same items.

    Means are taken from the items' stored scores, figures of a whole task are made anew.

    Args:
        metric: a metric of the task.
        first: scored items of one model.
        second: of the other; any order.
        kind: of the task.
        mode: in which both were scored.
        resamples: bootstrap draws.
        seed: of the draws.

    Raises:
        DataError: not the same items (ids and what is right).
        UsageError: a metric that does not fit the kind.
    """
    by_id = {item.id: item for item in second}
    if [item.gold for item in first] != [
        by_id[item.id].gold if item.id in by_id else None for item in first
    ] or len(by_id) != len(first):
        raise DataError(
            f"two models can only be compared on the same items, not on {len(first)} and "
            f"{len(by_id)} of which {sum(item.id in by_id for item in first)} are shared",
            remedy="evaluate both with the same data, --limit and task version",
        )
    paired = [by_id[item.id] for item in first]
    groups = _groups(first)
    stored = metric not in ("bleu", "chrf") and all(metric in item.scores for item in first)
    if stored:
        ours, theirs = ([item.scores[metric] for item in side] for side in (first, paired))
        found = mean_difference(ours, theirs, groups=groups, resamples=resamples, seed=seed)
        scale = 100.0
    else:
        measure = measure_of(metric, kind=kind, mode=mode)
        found = statistic_difference(
            measure.rows(first),
            measure.rows(paired),
            measure.statistic,
            groups=groups,
            resamples=resamples,
            seed=seed,
        )
        scale = measure.scale
    return dataclasses.replace(
        found, value=found.value * scale, low=found.low * scale, high=found.high * scale
    )


def _figure(
    measure: Measure,
    rows_NK: NDArray[np.float64],
    *,
    groups: list[str] | None,
    resamples: int,
    seed: int,
) -> Metric:
    found = statistic_interval(
        rows_NK, measure.statistic, groups=groups, resamples=resamples, seed=seed
    )
    return Metric(
        value=found.value * measure.scale,
        low=found.low * measure.scale,
        high=found.high * measure.scale,
        unit=measure.unit,
    )


def _groups(items: Sequence[Item]) -> list[str] | None:
    """Names of what is drawn together; an item without a group is one of its own."""
    if not any(item.group for item in items):
        return None
    return [f"group {item.group}" if item.group else f"item {item.id}" for item in items]


def _counts(items: Sequence[Item], *, shots: int | None) -> dict[str, int | float | str]:
    wanted = max(item.shots for item in items) if shots is None else shots
    counts: dict[str, int | float | str] = {
        "contexts_truncated": sum(item.truncated for item in items),
        "items_with_fewer_shots": sum(item.shots < wanted for item in items),
    }
    if any(item.finish for item in items):
        counts["answers_ended_by_length"] = sum(item.finish == "length" for item in items)
    groups = {item.group for item in items if item.group}
    if groups:
        counts["groups"] = len(groups) + sum(not item.group for item in items)
    return counts
