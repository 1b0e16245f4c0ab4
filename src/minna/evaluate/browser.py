"""The items of a report as data inside its page: what was asked, what was said, what was right.

A score cannot show a prompt whose line break is lost or a model that answers in English; ten items
can. A page with every prompt of the eight tasks would weigh 100 MB, so at most 200 items a task are
taken, evenly over all, and a long prompt loses its middle (the beginning tells the task, the end
asks); whole prompts lie in items/.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

from markupsafe import Markup

from minna.evaluate.report import whole_characters

MOST_ITEMS: Final = 200
_HEAD, _TAIL = 400, 900


def embedded(rows: Sequence[Mapping[str, Any]], *, main: str) -> Markup:
    """JSON of at most 200 items, safe inside a script element."""
    graded = is_graded(rows, main=main)
    shown = [_item(row, main=main, graded=graded) for row in evenly(rows)]
    return safe_json(shown)


def safe_json(value: object) -> Markup:
    """JSON in which nothing can end a script element or begin a comment."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return Markup(whole_characters(text))  # noqa: S704 - escaped above


def evenly(rows: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """All rows, or 200 spread over them."""
    if len(rows) <= MOST_ITEMS:
        return list(rows)
    return [rows[number * len(rows) // MOST_ITEMS] for number in range(MOST_ITEMS)]


def is_graded(rows: Sequence[Mapping[str, Any]], *, main: str) -> bool:
    """Whether the main metric of an item is more than right or wrong (ROUGE, BLEU)."""
    return any(_score(row, main) not in (0, 1) for row in rows)


def chance_level(rows: Sequence[Mapping[str, Any]], *, main: str) -> float | None:
    """What guessing reaches, in percent; None where answers are not chosen."""
    counts = [len(row.get("continuations") or ()) for row in rows]
    if not counts or 0 in counts or main not in ("acc", "acc_norm", "acc_bytes"):
        return None
    return 100 * math.fsum(1 / count for count in counts) / len(counts)


def _score(row: Mapping[str, Any], main: str) -> float | None:
    found = row.get("scores", {}).get(main)
    return None if found is None else float(found)


def _item(row: Mapping[str, Any], *, main: str, graded: bool) -> dict[str, Any]:
    continuations: list[str] = list(row.get("continuations") or ())
    score = _score(row, main)
    item: dict[str, Any] = {
        "id": row["id"],
        "right": None if graded or score is None else score == 1,
        "score": score,
        "gold": _words(row.get("gold"), continuations),
        "prediction": _words(row.get("prediction"), continuations),
        "context": _without_middle(str(row.get("context", ""))),
        "shots": row.get("shots", 0),
        "read": row.get("prompt_tokens", 0),
        "cut": bool(row.get("truncated")),
    }
    if continuations:
        item["choices"] = _choices(row, continuations)
    else:
        item |= {"text": row.get("text", ""), "finish": row.get("finish", "")}
    return item


def _choices(row: Mapping[str, Any], continuations: list[str]) -> list[dict[str, Any]]:
    logprobs: list[float] = list(row.get("logprobs") or ())
    best = max(logprobs, default=0.0)
    weights = [math.exp(value - best) for value in logprobs]
    return [
        {
            "text": text,
            "logprob": round(value, 3),
            "share": round(weight / math.fsum(weights), 4),
            "gold": number == row.get("gold"),
        }
        for number, (text, value, weight) in enumerate(
            zip(continuations, logprobs, weights, strict=True)
        )
    ]


def _words(answer: object, continuations: list[str]) -> list[str]:
    """An index as the text it stands for; one text or several as they are."""
    if isinstance(answer, int) and 0 <= answer < len(continuations):
        return [continuations[answer]]
    if isinstance(answer, (list, tuple)):
        return [str(text) for text in answer]
    return [] if answer is None else [str(answer)]


def _without_middle(text: str) -> str:
    if len(text) <= _HEAD + _TAIL:
        return text
    left = len(text) - _HEAD - _TAIL
    return f"{text[:_HEAD]}\n[… {left:,} characters are left out here …]\n{text[-_TAIL:]}"
