"""One scored item as it is kept: what was asked, what the model said, what it was worth.

A report's items/TASK.jsonl holds one per line. It is enough to score again, to compare two models
item by item and to show each on a page, without the data set and without the model.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from minna.errors import ArtifactError, DataError
from minna.evaluate.records import Answer, Document, Request


@dataclass(frozen=True, kw_only=True)
class Item:
    """One document, its request and its answer; see `records` for the fields of the same name.

    Attributes:
        id: the document's id.
        group: what it is resampled together with; "" for an item of its own.
        gold: index of the right continuation, or the texts that count as right.
        prediction: index of the chosen continuation, or what of the text was compared.
        scores: by metric, 0..1, also where the metric is shown in percent. Metrics of a whole task
            (Matthews, macro F1, balanced accuracy) are not here; BLEU and chrF of a sentence are,
            but theirs of a task is not the mean.
    """

    id: str
    group: str
    gold: int | tuple[str, ...]
    prediction: int | str
    scores: dict[str, float] = field(default_factory=dict)
    context: str
    continuations: tuple[str, ...] = ()
    logprobs: tuple[float, ...] = ()
    greedy: tuple[bool, ...] = ()
    lengths: tuple[int, ...] = ()
    text: str = ""
    finish: str = ""
    shots: int = 0
    prompt_tokens: int = 0
    new_tokens: int = 0
    truncated: bool = False

    @property
    def label(self) -> int:
        """The right continuation, of an item with a choice."""
        assert isinstance(self.gold, int)
        return self.gold

    @property
    def golds(self) -> tuple[str, ...]:
        """The right texts, of an item with an answer in words."""
        assert isinstance(self.gold, tuple)
        return self.gold


def read_item(values: Mapping[str, Any], *, where: str = "the report") -> Item:
    """An item from a line of items/TASK.jsonl.

    Raises:
        ArtifactError: keys are missing or unknown.
    """
    known = {entry.name for entry in dataclasses.fields(Item)}
    if not {"id", "group", "gold", "prediction", "context"} <= set(values) <= known:
        odd = sorted(set(values) ^ known)
        raise ArtifactError(
            f"{where} holds an item without or with other keys than expected: {', '.join(odd)}",
            remedy="evaluate the model again, or use the minna version that wrote the report",
        )
    frozen: dict[str, Any] = {
        key: tuple(cast("list[Any]", value)) if isinstance(value, list) else value
        for key, value in values.items()
    }
    return Item(**frozen)


def join(
    task: str, documents: Sequence[Document], requests: Sequence[Request], answers: Sequence[Answer]
) -> list[Item]:
    """Put documents, requests and answers together, in the order of the requests; not yet scored.

    Raises:
        DataError: an id that is there twice, an empty choice, a label outside the choices, a
            question without a right answer.
        ArtifactError: answers that do not belong to the requests, or that are not finite.
    """
    by_id = {document.id: document for document in documents}
    if len(by_id) != len(documents):
        twice = _first_twice([document.id for document in documents])
        raise DataError(f"{task}: the id {twice!r} is there twice", remedy="mend the data set")
    if len(requests) != len(answers):
        raise ArtifactError(
            f"{task}: {len(answers)} answers were found for {len(requests)} requests",
            remedy="run the evaluation again: it goes on where it stopped",
        )
    if len({request.doc_id for request in requests}) != len(requests):
        twice = _first_twice([request.doc_id for request in requests])
        raise DataError(f"{task}: the item {twice!r} is asked twice", remedy="mend the data set")
    for request, answer in zip(requests, answers, strict=True):
        _check(task, request, answer, known=request.doc_id in by_id)
    _check_finite(task, requests, answers)
    return [
        _item(by_id[request.doc_id], request, answer)
        for request, answer in zip(requests, answers, strict=True)
    ]


def _item(document: Document, request: Request, answer: Answer) -> Item:
    return Item(
        id=document.id,
        group=document.group,
        gold=request.gold,
        prediction="",
        context=request.context,
        continuations=request.continuations,
        logprobs=answer.logprobs,
        greedy=answer.greedy,
        lengths=answer.lengths,
        text=answer.text,
        finish=answer.finish,
        shots=request.shots,
        prompt_tokens=answer.prompt_tokens,
        new_tokens=answer.new_tokens,
        truncated=answer.truncated,
    )


def _check(task: str, request: Request, answer: Answer, *, known: bool) -> None:
    place = f"{task}: item {request.doc_id!r}"
    if not known:
        raise DataError(f"{place} is asked about, and is no document of the task")
    if request.kind == "generate":
        if not isinstance(request.gold, tuple) or not request.gold:
            raise DataError(f"{place} has no right answer", remedy="mend the data set")
        return
    choices = len(request.continuations)
    if not isinstance(request.gold, int) or not 0 <= request.gold < choices:
        raise DataError(
            f"{place} has the label {request.gold!r}, and {choices} choices",
            remedy="mend the data set: labels count from 0",
        )
    if "" in request.continuations:
        raise DataError(
            f"{place} has an empty choice ({request.continuations.index('')})",
            remedy="mend the data set: every choice needs a text",
        )
    if len(answer.logprobs) != choices or len(answer.greedy) != choices:
        raise ArtifactError(
            f"{place} has {choices} choices and {len(answer.logprobs)} log-likelihoods",
            remedy="delete the stored answers of this task and evaluate again",
        )


def _check_finite(task: str, requests: Sequence[Request], answers: Sequence[Answer]) -> None:
    broken = [
        f"{request.doc_id!r} {list(answer.logprobs)}"
        for request, answer in zip(requests, answers, strict=True)
        if not all(-float("inf") < value < float("inf") for value in answer.logprobs)
    ]
    if broken:
        raise ArtifactError(
            f"{task}: {len(broken)} of {len(requests)} items have log-likelihoods that are no "
            f"number: {'; '.join(broken[:3])}",
            remedy="evaluate in fp32 (--dtype fp32); if they stay, the weights are damaged: "
            "see `minna inspect`",
        )


def _first_twice(ids: Sequence[str]) -> str:
    seen: set[str] = set()
    for name in ids:
        if name in seen:
            return name
        seen.add(name)
    return ""
