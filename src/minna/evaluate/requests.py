"""From documents to the exact questions a model is asked, before any model is there.

Everything that decides a prompt is decided here, so that the list can be looked at, hashed and
compared: two runs with the same `requests_sha256` asked the same. `compat` asks what the paper's
harness asks (250 of 250 prompts of a published log are reproduced by a test), `fixed` asks what the
task means.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from minna.artifact.files import write_text_atomically
from minna.artifact.manifest import canonical
from minna.errors import DataError, UsageError
from minna.evaluate.asking import Asked, Prompter, ask_compat, ask_fixed
from minna.evaluate.chat import chat_template_of
from minna.evaluate.prompting import choice_texts
from minna.evaluate.records import Document, Mode, Request, Splits
from minna.evaluate.task import Chosen
from minna.tokenizer.coder import Coder

KEYS = (
    "index",
    "task",
    "doc_id",
    "kind",
    "context",
    "continuations",
    "until",
    "max_new_tokens",
    "gold",
)


def build_requests(
    chosen: Chosen,
    splits: Splits,
    *,
    mode: Mode,
    shots: int,
    limit: int | None = None,
    coder: Coder | None,
    max_length: int | None,
) -> tuple[list[Document], list[Request]]:
    """Everything a model is asked about one task, in the order of asking.

    Args:
        chosen: the task in its version, with its prompt.
        splits: its data.
        mode: "compat": as the paper's harness asks. "fixed": one set of examples for the task,
            documents in the order of the file, answers capped by the task and not by the gold.
        shots: examples per question (fewer where they do not fit; `Request.shots` tells).
        limit: at most so many documents: the first of the shuffled ones (compat), evenly spread
            ones (fixed).
        coder: the model's tokenizer; None where nothing asked depends on tokens.
        max_length: tokens the model reads; None where that is not known.

    Returns:
        The documents and their requests, in one order.

    Raises:
        UsageError: what is asked for needs a tokenizer, a train split or more documents.
        DataError: a document that cannot be asked, named with the task.
    """
    _check(chosen, splits, shots=shots, limit=limit)
    is_chat = coder is not None and chosen.prompt.style == "chat"
    chat = chat_template_of(coder, task=chosen.name) if coder and is_chat else None
    prompter = Prompter(chosen, chat)
    ask = ask_compat if mode == "compat" else ask_fixed
    asked = ask(prompter, splits, shots=shots, limit=limit, coder=coder, max_length=max_length)
    until = _until(chosen, mode=mode, coder=coder)
    requests = [
        _request(entry, index=index, chosen=chosen, until=until)
        for index, entry in enumerate(asked)
    ]
    return [entry.document for entry in asked], requests


def prompts_sha256(chosen: Chosen) -> str:
    """Hex sha256 of everything a task file says about the text of a prompt."""
    content = {
        "task": chosen.task.name,
        "kind": chosen.task.kind,
        "version": chosen.version.model_dump(mode="json"),
        "prompt": chosen.prompt.model_dump(mode="json"),
    }
    return hashlib.sha256(canonical(content).encode()).hexdigest()


def requests_sha256(requests: Iterable[Request]) -> str:
    """Hex sha256 of the requests: of the very file that `write_requests` writes."""
    digest = hashlib.sha256()
    for request in requests:
        digest.update(_line(request).encode())
    return digest.hexdigest()


def write_requests(path: Path, requests: Iterable[Request]) -> None:
    """Write one JSON object a line, with exactly `KEYS`; the file is there whole or not at all."""
    write_text_atomically(path, "".join(map(_line, requests)))


def _line(request: Request) -> str:
    row = {key: getattr(request, key) for key in KEYS}
    return json.dumps(row, ensure_ascii=False) + "\n"


def _request(entry: Asked, *, index: int, chosen: Chosen, until: tuple[str, ...]) -> Request:
    document = entry.document
    generates = chosen.task.kind == "generate"
    return Request(
        index=index,
        task=chosen.name,
        doc_id=document.id,
        kind="generate" if generates else "loglikelihood",
        context=entry.context,
        continuations=() if generates else choice_texts(document, chosen=chosen),
        until=until if generates else (),
        max_new_tokens=entry.cap if generates else None,
        gold=_gold(document, chosen=chosen),
        shots=len(entry.examples),
        messages=entry.turns(chosen) if chosen.prompt.style == "chat" else (),
    )


def _gold(document: Document, *, chosen: Chosen) -> int | tuple[str, ...]:
    if chosen.task.kind == "generate":
        if not document.answers:
            raise _bad(document, "has no right answer", chosen=chosen)
        return document.answers
    choices = choice_texts(document, chosen=chosen)
    if len(choices) < 2:  # noqa: PLR2004 - a choice has two sides
        raise _bad(document, f"has {len(choices)} choices, and 2 are the least", chosen=chosen)
    if "" in choices:
        raise _bad(document, f"has an empty choice, number {choices.index('')}", chosen=chosen)
    label = document.label
    if label is None or not 0 <= label < len(choices):
        told = f"has label {label}, and its choices go from 0 to {len(choices) - 1}"
        raise _bad(document, told, chosen=chosen)
    return label


def _bad(document: Document, told: str, *, chosen: Chosen) -> DataError:
    return DataError(
        f"{chosen.name}: document {document.id!r} {told}",
        remedy="mend that row of the data file, or leave it out",
    )


def _until(chosen: Chosen, *, mode: Mode, coder: Coder | None) -> tuple[str, ...]:
    """Texts that end an answer: the harness's own, or in `fixed` the next example's beginning."""
    prompt = chosen.prompt
    stops: Sequence[str] = (prompt.stop,)
    if mode == "compat" and chosen.task.stop_at_eos and chosen.task.kind == "generate":
        if coder is None or not coder.eos_text:
            raise UsageError(
                f"{chosen.name} stops at the end-of-text token in mode compat, and "
                + ("there is no tokenizer" if coder is None else "the tokenizer has none"),
                remedy="give a tokenizer that has one (eos_token), or use --mode fixed",
            )
        stops = (coder.eos_text, prompt.stop)
    elif mode == "fixed" and prompt.style == "text" and prompt.stop not in prompt.separator:
        stops = (prompt.stop, prompt.separator)
    return tuple(text for text in stops if text)


def _check(chosen: Chosen, splits: Splits, *, shots: int, limit: int | None) -> None:
    if shots < 0 or (limit is not None and limit < 1):
        raise UsageError(
            f"{chosen.name}: examples must be at least 0 and a limit at least 1, not "
            f"{shots} and {limit}",
            remedy="mend --num-fewshot or --limit",
        )
    if chosen.task.kind == "sentence" and shots:
        raise UsageError(
            f"{chosen.name} compares whole sentences, without examples; {shots} are asked for",
            remedy="use --num-fewshot 0",
        )
    prompt = chosen.prompt
    missing = [m for m in (prompt.article_marker, prompt.summary_marker) if m not in prompt.input]
    if missing:
        raise DataError(
            f"{chosen.name}: the marker {missing[0]!r} does not stand in the prompt's input",
            remedy="mend article_marker or summary_marker in the task file",
        )
    if not splits.scored:
        raise DataError(f"{chosen.name}: there is no document to score", remedy="check the data")
    twice = [name for name, count in Counter(d.id for d in splits.scored).items() if count > 1]
    if twice:
        raise DataError(
            f"{chosen.name}: {len(twice)} ids stand for several documents, the first is "
            f"{twice[0]!r}",
            remedy="give every document an id of its own",
        )
