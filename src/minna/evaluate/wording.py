"""How figures and tasks are put into words: the same on a page, in Markdown, in a terminal.

Shares are percent with two decimals, as the published tables have them; what is no share (a
coefficient, bits) keeps three. p below 0.001 is said so: more digits claim more than 10,000 draws
can know.
"""

from __future__ import annotations

from typing import Final

from minna.evaluate.report import Metric, Task

HUNDREDS: Final = ("percent", "points")
"""Units that run from 0 to 100."""
MODES: Final = {
    "compat": "the paper's harness, bug for bug",
    "fixed": "this project's own rules",
}
REFERENCE_NAMES: Final = {"kneser-ney": "Kneser-Ney n-gram", "xz": "xz, training text in front"}
_METRICS: Final = {
    "acc": "accuracy",
    "acc_norm": "accuracy per character",
    "acc_bytes": "accuracy per byte",
    "balanced_acc": "balanced accuracy",
    "macro_f1": "macro F1",
    "mcc": "Matthews correlation",
    "exact_match": "exact match",
    "f1": "F1",
    "char_f1": "character F1",
    "number_match": "right numbers",
    "rouge2": "ROUGE-2",
    "rouge2_lm": "ROUGE-2, model's tokens",
    "rouge2_mecab": "ROUGE-2, MeCab words",
    "bleu": "BLEU",
    "chrf": "chrF",
}
_CERTAIN = 0.001
_SHORT = 18


def metric_name(name: str) -> str:
    """A metric's name for people."""
    return _METRICS.get(name, name.replace("_", " "))


def short_title(task: Task) -> str:
    """What a task is called where there is little room: "JNLI"; its name where a title is long."""
    title = task.title.get("en", task.name).split(":", maxsplit=1)[0].strip()
    return title if len(title) <= _SHORT else task.name


def shots_words(task: Task) -> str:
    """How many examples stood in front: "3-shot", "2 of 3 shots", "3-shot, chat"."""
    wanted = task.conditions.get("shots_wanted", task.shots)
    words = f"{task.shots}-shot" if wanted == task.shots else f"{task.shots} of {wanted} shots"
    return words + (", chat" if task.style == "chat" else "")


def at_most(limit: int | None) -> str:
    """What a report at --limit must say wherever its figures stand; "" for a whole one."""
    return "" if limit is None else f"at most {limit:,} items of a task"


def decimals(unit: str) -> int:
    """Digits behind the point that a figure of this unit is shown with."""
    return 2 if unit in HUNDREDS else 3


def shown(metric: Metric) -> str:
    """A figure with its interval: "1.097 (1.090 to 1.104)"."""
    digits = decimals(metric.unit)
    if metric.low is None or metric.high is None:
        return f"{metric.value:.{digits}f}"
    return f"{metric.value:.{digits}f} ({metric.low:.{digits}f} to {metric.high:.{digits}f})"


def signed(metric: Metric) -> str:
    """A difference with its interval: "+1.23 (-0.40 to +2.85)"."""
    digits = decimals(metric.unit)
    if metric.low is None or metric.high is None:
        return f"{metric.value:+.{digits}f}"
    return f"{metric.value:+.{digits}f} ({metric.low:+.{digits}f} to {metric.high:+.{digits}f})"


def shown_p(value: float) -> str:
    """A p value: "0.031", "< 0.001"."""
    return "< 0.001" if value < _CERTAIN else f"{value:.3f}"
