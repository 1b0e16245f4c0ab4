"""What each metric of a task file means: a row of sums per item, and a figure of the sums.

Everything that is reported follows from these two: the figure, its interval (resample rows), the
difference of two models (resample rows of both), so no metric can be forgotten in one of the three.

The same name may mean another rule elsewhere: `acc` chooses among texts, compares two sentences, or
looks for a number, by the kind of the task. All rules are in `measure_of`, and nowhere else.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from minna.errors import UsageError
from minna.evaluate.items import Item
from minna.evaluate.records import Mode
from minna.evaluate.speech_measures import RATES, rows_of
from minna.evaluate.task import Chosen, TaskKind
from minna.metrics.answers import (
    INVALID,
    best_of,
    character_f1,
    exact_match,
    extract_number,
    number_match,
    token_f1,
)
from minna.metrics.bootstrap import Statistic
from minna.metrics.choose import (
    by_bytes,
    by_characters,
    by_sum,
    sentence_won,
    sentence_won_as_harness,
)
from minna.metrics.classify import (
    as_matrix,
    balanced_accuracy,
    confusion_rows,
    macro_f1,
    matthews,
)
from minna.metrics.interval import mean_of_sums
from minna.metrics.rouge import rouge_n
from minna.metrics.translation import (
    bleu_of_sums,
    bleu_rows,
    bleu_signature,
    chrf_of_sums,
    chrf_rows,
    target_language,
)
from minna.metrics.words import normalised_words, word_source
from minna.tokenizer.coder import Coder

Floats = NDArray[np.float64]

_TRIAL = Item(id="", group="", gold=("試す",), prediction="", context="", text="試す")


@dataclass(frozen=True, kw_only=True)
class Measure:
    """One metric.

    Attributes:
        rows: [N, K] what each item adds.
        statistic: from sums [..., K] to figures.
        unit: of the figure times `scale`.
        scale: 100 for shares, which are shown in percent.
        per_item: whether the statistic of a single row means something.
        made_by: versions of what the figure depends on, for the conditions of a report.
    """

    rows: Callable[[Sequence[Item]], Floats]
    statistic: Statistic
    unit: str = "percent"
    scale: float = 100.0
    per_item: bool = True
    made_by: Callable[[Sequence[Item]], str] | None = None


def measure_of(metric: str, *, kind: TaskKind, mode: Mode, coder: Coder | None = None) -> Measure:
    """The rule of a metric.

    Args:
        metric: a name of `task.MetricName`, or rouge2_lm, rouge2_mecab.
        kind: of the task.
        mode: compat or fixed.
        coder: the judged model's tokenizer, for ROUGE on its tokens.

    Raises:
        UsageError: the metric does not fit the kind, or needs a tokenizer that was not given.
    """
    if metric == "rouge2":
        metric = "rouge2_lm" if mode == "compat" else "rouge2_mecab"
    if metric == "rouge2_lm":
        return _mean(_rouge_lm(coder), made_by=lambda _: "tokens of the judged model")
    table = {"choice": _CHOICE, "sentence": _SENTENCE[mode], "generate": _GENERATE}[kind]
    if metric not in table:
        raise UsageError(
            f"the metric {metric!r} does not fit a task of kind {kind!r}",
            remedy=f"metrics of that kind: {', '.join(table)}",
        )
    return table[metric]


def beside(metric: str, *, mode: Mode, coder: Coder | None) -> tuple[str, ...]:
    """Metrics that are reported with this one though no task file names them."""
    if metric != "rouge2":
        return ()
    if mode == "compat":
        return ("rouge2_mecab",)
    return ("rouge2_lm",) if coder is not None else ()


def measures_of(chosen: Chosen, *, mode: Mode, coder: Coder | None) -> dict[str, Measure]:
    """All that is reported of a task, the main metric first.

    Raises:
        UsageError: as `measure_of`.
    """
    return {
        name: measure_of(name, kind=chosen.task.kind, mode=mode, coder=coder)
        for metric in chosen.task.metrics
        for name in (metric, *beside(metric, mode=mode, coder=coder))
    }


def check_metrics(chosen: Chosen, *, mode: Mode, coder: Coder | None) -> None:
    """Score one made-up answer, so that what is missing is told before a model is asked for hours.

    Raises:
        UsageError: a metric does not fit the task's kind, or needs a tokenizer that was not given.
        MissingExtraError: what a metric is made with (MeCab, sacrebleu ...) is not installed.
    """
    for measure in measures_of(chosen, mode=mode, coder=coder).values():
        if chosen.task.kind == "generate":
            measure.rows([_TRIAL])
            if measure.made_by is not None:
                measure.made_by([_TRIAL])


def prediction(item: Item, *, metric: str) -> int | str:
    """What of the answer is compared with gold: a choice, a number, or the text as it is."""
    if item.logprobs:
        return by_sum(item.logprobs)
    if metric in ("acc", "number_match"):
        found = extract_number(item.text)
        return INVALID if found is None else str(found)
    return item.text


def _mean(
    score: Callable[[Item], float], *, made_by: Callable[[Sequence[Item]], str] | None = None
) -> Measure:
    def rows(items: Sequence[Item]) -> Floats:
        return np.array([(float(score(item)), 1.0) for item in items])

    return Measure(rows=rows, statistic=mean_of_sums, made_by=made_by)


def _of_confusion(figure: Statistic, **display: Any) -> Measure:
    def rows(items: Sequence[Item]) -> Floats:
        return confusion_rows(
            [item.label for item in items],
            [by_sum(item.logprobs) for item in items],
            classes=max(len(item.continuations) for item in items),
        )

    return Measure(
        rows=rows, statistic=lambda cells: figure(as_matrix(cells)), per_item=False, **display
    )


def _rouge_lm(coder: Coder | None) -> Callable[[Item], float]:
    if coder is None:
        raise UsageError(
            "ROUGE on the judged model's tokens needs its tokenizer, and none was given",
            remedy="use --mode fixed, which compares MeCab words",
        )
    encode = coder.encode

    def score(item: Item) -> float:
        ours = encode(item.text)
        return best_of(lambda gold: rouge_n(ours, encode(gold)), item.golds)

    return score


def _rouge_mecab(item: Item) -> float:
    ours = normalised_words(item.text)
    return best_of(lambda gold: rouge_n(ours, normalised_words(gold)), item.golds)


def _bleu_rows(items: Sequence[Item]) -> Floats:
    golds = [item.golds for item in items]
    return bleu_rows([item.text for item in items], golds, language=_language(items))


def _language(items: Sequence[Item]) -> Any:
    return target_language([item.golds[0] for item in items])


def _error_rate(rate: str) -> Measure:
    def rows(items: Sequence[Item]) -> Floats:
        return rows_of(rate, [item.golds[0] for item in items], [item.text for item in items])

    return Measure(rows=rows, statistic=mean_of_sums, per_item=False)


def _made_of_words(_: Sequence[Item]) -> str:
    return word_source()


_CHOICE = {
    "acc": _mean(lambda item: by_sum(item.logprobs) == item.gold),
    "acc_norm": _mean(lambda item: by_characters(item.logprobs, item.continuations) == item.gold),
    "acc_bytes": _mean(lambda item: by_bytes(item.logprobs, item.continuations) == item.gold),
    "balanced_acc": _of_confusion(balanced_accuracy),
    "macro_f1": _of_confusion(macro_f1),
    "mcc": _of_confusion(matthews, unit="coefficient", scale=1.0),
}
_SENTENCE: dict[Mode, dict[str, Measure]] = {
    "compat": {
        "acc": _mean(
            lambda item: sentence_won_as_harness(item.logprobs, item.greedy, gold=item.label)
        )
    },
    "fixed": {"acc": _mean(lambda item: sentence_won(item.logprobs, gold=item.label))},
}
_NUMBER = _mean(lambda item: number_match(item.text, item.golds))
_GENERATE = {
    "acc": _NUMBER,
    "number_match": _NUMBER,
    "exact_match": _mean(lambda item: exact_match(item.text, item.golds)),
    "f1": _mean(lambda item: token_f1(item.text, item.golds), made_by=_made_of_words),
    "char_f1": _mean(lambda item: character_f1(item.text, item.golds)),
    "rouge2_mecab": _mean(_rouge_mecab, made_by=_made_of_words),
    "bleu": Measure(
        rows=_bleu_rows,
        statistic=bleu_of_sums,
        unit="points",
        scale=1.0,
        made_by=lambda items: bleu_signature(_language(items)),
    ),
    "chrf": Measure(
        rows=lambda items: chrf_rows([i.text for i in items], [i.golds for i in items]),
        statistic=chrf_of_sums,
        unit="points",
        scale=1.0,
    ),
    **{rate: _error_rate(rate) for rate in RATES},
}
