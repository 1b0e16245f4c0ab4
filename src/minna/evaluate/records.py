"""What passes between the steps of an evaluation: documents, requests, answers. Plain records.

Every step can be looked at alone: documents are what a reader found in the files, requests what the
model will be asked (`minna requests` writes them without any model), answers what it said. The
scores follow from documents and answers, so a report can be scored again without the model.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

Mode = Literal["compat", "fixed"]
Kind = Literal["loglikelihood", "generate"]


@dataclass(frozen=True, kw_only=True)
class Document:
    """One item of a data set.

    Attributes:
        id: as the data set names it; unique within a split.
        fields: what prompt templates may name, all text.
        choices: the texts to choose from; () where the prompt's own label words are chosen from,
            or where there is nothing to choose.
        label: which choice is right.
        answers: texts that count as right, the first is the one examples show.
        passages: (title, text) pairs that belong to the question (jaqket_v2).
        group: what is resampled together in intervals (all questions about one paragraph); "" for
            an item of its own.
    """

    id: str
    fields: dict[str, str]
    choices: tuple[str, ...] = ()
    label: int | None = None
    answers: tuple[str, ...] = ()
    passages: tuple[tuple[str, str], ...] = ()
    group: str = ""


@dataclass(frozen=True, kw_only=True)
class Splits:
    """A data set as read: what is scored, what examples are drawn from.

    Attributes:
        scored: the test split where there is one, else validation, in file order.
        shots: the train split in file order; () where the user has none.
        sha256: over the bytes of the files that were read, in order of name.
        files: their names.
    """

    scored: tuple[Document, ...]
    shots: tuple[Document, ...]
    sha256: str
    files: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Request:
    """What a model is asked about one document.

    Attributes:
        index: place in the order of asking, from 0 within its task.
        task: full name, TASK-VERSION-PROMPT.
        doc_id: the document's id.
        kind: "loglikelihood" of every continuation, or "generate" from the context.
        context: the whole prompt; "" is read as one end-of-text token.
        continuations: texts whose likelihood is asked, () for generate.
        until: texts at which an answer ends (cut off), () for loglikelihood.
        max_new_tokens: cap of an answer, None for loglikelihood.
        gold: index of the right continuation, or the texts that count as right.
        shots: how many examples the context holds.
        messages: the prompt as (role, text) turns, of a chat prompt; for servers that render it.
    """

    index: int
    task: str
    doc_id: str
    kind: Kind
    context: str
    continuations: tuple[str, ...] = ()
    until: tuple[str, ...] = ()
    max_new_tokens: int | None = None
    gold: int | tuple[str, ...]
    shots: int = 0
    messages: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What a model said to one request.

    Attributes:
        logprobs: per continuation, the sum of natural logarithms over its tokens.
        greedy: per continuation, whether each of its tokens was the most likely one.
        lengths: per continuation, its tokens.
        text: of an answer, cut at the first of `until`; "" for loglikelihood.
        finish: why an answer ended: "stop" (a stop token), "stop-text", "length" (the cap);
            "" for loglikelihood.
        prompt_tokens: tokens of the context the model was given.
        new_tokens: tokens it generated, or scored.
        truncated: whether the beginning of the context was cut off to fit the model.
    """

    logprobs: tuple[float, ...] = ()
    greedy: tuple[bool, ...] = ()
    lengths: tuple[int, ...] = ()
    text: str = ""
    finish: str = ""
    prompt_tokens: int = 0
    new_tokens: int = 0
    truncated: bool = False


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A token sequence whose end is to be scored: `ids[start:]` given `ids[:start]`.

    Attributes:
        ids: what the model reads and pays for, already cut to its context: at most
            max_length + 1 ids, of which the last is never read.
        start: the first id that is paid for, at least 1.
    """

    ids: tuple[int, ...]
    start: int


@dataclass(frozen=True, kw_only=True)
class Encoded:
    """A request as token ids; `candidates` for loglikelihood, the rest for generate.

    Attributes:
        candidates: one per continuation, in its order.
        prompt: ids of the context, already cut.
        max_new_tokens: cap, already reduced to what fits behind the prompt.
        stop_ids: ids that end the answer.
        stop_texts: texts that end it.
        truncated: whether anything was cut off the context.
    """

    candidates: tuple[Candidate, ...] = ()
    prompt: tuple[int, ...] = ()
    max_new_tokens: int = 0
    stop_ids: tuple[int, ...] = ()
    stop_texts: tuple[str, ...] = field(default=())
    truncated: bool = False
