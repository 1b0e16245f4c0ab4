"""A compat result in the shape of the paper's harness, for leaderboards and scripts made for it.

That shape: `results` {task: {metric, metric_stderr}}, `versions`, `config`; accuracies as
fractions, exact match, F1 and ROUGE-2 in percent. Only compat scores are written so: under the
names of that harness, figures by other rules would be taken for its own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from minna.errors import UsageError
from minna.evaluate.measures import measure_of
from minna.evaluate.scoring import TaskScores
from minna.metrics.bootstrap import group_sums, resampled
from minna.metrics.interval import standard_error

_NAMES = {"number_match": "acc"}
_FRACTIONS = ("acc", "acc_norm", "balanced_acc", "macro_f1")
_AS_THEY_ARE = ("mcc", "exact_match", "f1", "rouge2")
_ITERATIONS = 100_000
"""Draws behind the error of a Matthews coefficient, as many as that harness takes."""


def harness_results(scores: Sequence[TaskScores], *, config: Mapping[str, Any]) -> dict[str, Any]:
    """The result as that harness writes it.

    Args:
        scores: of every task.
        config: what its `config` holds: model, model_args, num_fewshot, batch_size, device,
            no_cache, limit, bootstrap_iters, description_dict.

    Raises:
        UsageError: scores of another mode than compat.
    """
    for entry in scores:
        if entry.mode != "compat":
            raise UsageError(
                f"{entry.name} was scored in mode {entry.mode}, and the harness's result holds "
                "its own rules only",
                remedy="evaluate with --mode compat",
            )
    return {
        "results": {_name(entry): _figures(entry) for entry in scores},
        "versions": {_name(entry): _version(entry.version) for entry in scores},
        "config": dict(config),
    }


def _name(entry: TaskScores) -> str:
    """A task without a prompt has its plain name there: xwinograd_ja."""
    return entry.name.partition("-")[0] if entry.name.endswith("-none") else entry.name


def _figures(entry: TaskScores) -> dict[str, float]:
    found: dict[str, float] = {}
    for name, metric in entry.metrics.items():
        known = _NAMES.get(name, name)
        if known in _FRACTIONS:
            found[known] = metric.value / 100
        elif known in _AS_THEY_ARE:
            found[known] = metric.value
        if known in ("acc", "acc_norm") and len(entry.items) > 1:
            found[f"{known}_stderr"] = standard_error([item.scores[name] for item in entry.items])
        if known == "mcc":
            found["mcc_stderr"] = _mcc_error(entry)
    return found


def _mcc_error(entry: TaskScores) -> float:
    measure = measure_of("mcc", kind=entry.kind, mode=entry.mode)
    rows = group_sums(measure.rows(entry.items))
    return float(resampled(rows, measure.statistic, resamples=_ITERATIONS).std(ddof=1))


def _version(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text
