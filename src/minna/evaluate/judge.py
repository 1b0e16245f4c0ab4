"""From a list of tasks to their figures: ask what is not answered yet, then score.

Everything that can be wrong with tasks, data and prompts is found before the model is asked
anything: all requests of all tasks are built and encoded first. Every answer is filed as it comes,
so an error in one task (or a kill) costs nothing of the others.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from minna.console import progress, warn
from minna.errors import ArtifactError, DataError, UsageError
from minna.evaluate.backends.base import Backend, Generated, Generation, Likelihood
from minna.evaluate.encode import answer_text, encode_request
from minna.evaluate.measures import check_metrics
from minna.evaluate.plan import Planned
from minna.evaluate.records import Answer, Document, Encoded, Mode, Request
from minna.evaluate.report import Cost, Data, Task
from minna.evaluate.requests import build_requests, prompts_sha256, requests_sha256
from minna.evaluate.scoring import TaskScores, score_task
from minna.evaluate.settings import EvaluateSettings
from minna.evaluate.store import Store, key_of
from minna.evaluate.task import Chosen
from minna.runtime.memory import peak_bytes


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """A task whose questions are ready."""

    planned: Planned
    documents: list[Document]
    requests: list[Request]
    encoded: list[Encoded]
    keys: list[str]

    @property
    def name(self) -> str:
        """Full name."""
        return self.planned.chosen.name


@dataclass(frozen=True, kw_only=True)
class Judged:
    """A task with its figures and the items behind them."""

    task: Task
    scores: TaskScores


def prepare(
    planned: Planned, *, backend: Backend, mode: Mode, settings: EvaluateSettings, asked: str
) -> Prepared:
    """Build and encode the requests of a task; `asked` identifies the model (see `store`).

    Raises:
        UsageError: no tokenizer where one is needed, no examples, or a metric that does not fit.
        MissingExtraError: what a metric is made with is not installed.
        DataError: an item that cannot be asked, named with its task.
    """
    chosen = planned.chosen
    check_metrics(chosen, mode=mode, coder=backend.coder)
    documents, requests = build_requests(
        chosen,
        planned.splits,
        mode=mode,
        shots=planned.shots,
        limit=settings.limit,
        coder=backend.coder,
        max_length=backend.max_length,
    )
    encoded = [_encoded(request, chosen=chosen, backend=backend, mode=mode) for request in requests]
    _refuse_ids(requests, encoded, limit=backend.id_limit)
    return Prepared(
        planned=planned,
        documents=documents,
        requests=requests,
        encoded=encoded,
        keys=[
            key_of(entry, asked=asked, text="" if backend.coder else request.context)
            for request, entry in zip(requests, encoded, strict=True)
        ],
    )


def _refuse_ids(
    requests: Sequence[Request], encoded: Sequence[Encoded], *, limit: int | None
) -> None:
    """A tokenizer of another model gives ids this one has no row for."""
    for request, entry in zip(requests, encoded, strict=True):
        rows = [candidate.ids for candidate in entry.candidates] or [entry.prompt]
        highest = max((max(ids) for ids in rows if ids), default=0)
        if limit is not None and highest >= limit:
            raise DataError(
                f"{request.task}: item {request.doc_id!r} has the token id {highest}, and the "
                f"model's vocabulary has {limit} rows",
                remedy="the tokenizer is another model's: fetch both again from one place",
            )


def _encoded(request: Request, *, chosen: Chosen, backend: Backend, mode: Mode) -> Encoded:
    if backend.coder is not None:
        encoded = encode_request(
            request,
            chosen=chosen,
            mode=mode,
            coder=backend.coder,
            max_length=backend.max_length,
        )
        if mode == "fixed" and request.kind == "generate":
            # a model may end its texts in more ways than its tokenizer knows
            both = dict.fromkeys((*encoded.stop_ids, *backend.eos_ids))
            return replace(encoded, stop_ids=tuple(both))
        return encoded
    if request.kind == "loglikelihood":
        raise UsageError(
            f"{request.task}: choices are scored as token ids, and no tokenizer was given",
            remedy="give the model's tokenizer (--tokenizer DIR), or only tasks that generate",
        )
    return Encoded(max_new_tokens=request.max_new_tokens or 0, stop_texts=request.until)


def judge(
    prepared: Prepared, *, backend: Backend, mode: Mode, settings: EvaluateSettings, store: Store
) -> Judged:
    """Ask what is not in the store, and score.

    Raises:
        ArtifactError: the model gave something that is not a number, named with task and item.
    """
    start, before = time.monotonic(), backend.reading.spared
    answered = _ask(prepared, backend=backend, mode=mode, store=store)
    _refuse_broken(prepared, store)
    answers = [
        _answer(request, encoded, store[key], backend=backend, mode=mode)
        for request, encoded, key in zip(
            prepared.requests, prepared.encoded, prepared.keys, strict=True
        )
    ]
    scores = score_task(
        prepared.planned.chosen,
        prepared.documents,
        prepared.requests,
        answers,
        mode=mode,
        coder=backend.coder,
        shots=prepared.planned.shots,
        resamples=settings.resamples,
        seed=settings.seed,
    )
    _warn(prepared, answers, mode=mode)
    cost = Cost(
        seconds=round(time.monotonic() - start, 3),
        prompt_tokens=sum(answer.prompt_tokens for answer in answers),
        shared_tokens=max(0, backend.reading.spared - before),
        new_tokens=sum(answer.new_tokens for answer in answers),
        requests=len(answers),
        answered=answered,
        peak_bytes=peak_bytes(),
    )
    task = _task(prepared, scores, backend=backend, mode=mode, cost=cost)
    return Judged(task=task, scores=scores)


def _task(
    prepared: Prepared, scores: TaskScores, *, backend: Backend, mode: Mode, cost: Cost
) -> Task:
    """The task's entry in report.json: figures, and everything they were made by."""
    planned, chosen = prepared.planned, prepared.planned.chosen
    return Task(
        name=chosen.task.name,
        title=chosen.task.title,
        version=chosen.version.version,
        prompt=chosen.prompt.code,
        style=chosen.prompt.style,
        shots=max(request.shots for request in prepared.requests),
        n=len(prepared.requests),
        main=scores.main,
        data=Data(
            sha256=planned.splits.sha256,
            title=chosen.task.source.title,
            split="scored",
            files=planned.splits.files,
        ),
        hashes={
            "prompts": prompts_sha256(chosen),
            "requests": requests_sha256(prepared.requests),
        },
        conditions={
            **scores.conditions,
            **backend.conditions(),
            "shots_wanted": planned.shots,
            "bos": "in front" if mode == "fixed" and _has_bos(backend) else "none",
        },
        metrics=scores.metrics,
        cost=cost,
    )


def _has_bos(backend: Backend) -> bool:
    return backend.coder is not None and bool(backend.coder.bos_ids)


def _ask(prepared: Prepared, *, backend: Backend, mode: Mode, store: Store) -> int:
    """Ask what is not in the store; return how many requests that answered (twins count too)."""
    missing = sum(key not in store for key in prepared.keys)
    pending: dict[str, int] = {}
    for place, key in enumerate(prepared.keys):
        if key not in store:
            pending.setdefault(key, place)
    keys, places = list(pending), list(pending.values())
    kind = prepared.requests[0].kind
    found: Iterable[tuple[int, dict[str, Any]]]
    if kind == "loglikelihood":
        found = _likelihoods(backend, [prepared.encoded[place] for place in places])
    else:
        found = _generated(backend, [_job(prepared, place, mode=mode) for place in places])
    with progress() as bar:
        task = bar.add_task(prepared.name, total=len(prepared.keys), note="items")
        bar.advance(task, len(prepared.keys) - len(keys))
        for number, row in found:
            store.put(keys[number], row)
            bar.advance(task)
    return missing


def _refuse_broken(prepared: Prepared, store: Store) -> None:
    """Generation: the largest of logits that are no numbers is a token like any other."""
    broken = [
        request.doc_id
        for request, key in zip(prepared.requests, prepared.keys, strict=True)
        if not store[key].get("finite", True)
    ]
    if broken:
        raise ArtifactError(
            f"{prepared.name}: the model gave logits that are not numbers for {len(broken)} of "
            f"{len(prepared.requests)} items (first: {', '.join(broken[:3])})",
            remedy="evaluate with --dtype fp32; if it stays, the weights hold a NaN",
        )


def _likelihoods(
    backend: Backend, encoded: Sequence[Encoded]
) -> Iterator[tuple[int, dict[str, Any]]]:
    groups = [entry.candidates for entry in encoded]
    for number, likelihoods in backend.likelihoods(groups) if groups else ():
        yield number, _row_of_likelihoods(likelihoods)


def _row_of_likelihoods(likelihoods: Sequence[Likelihood]) -> dict[str, Any]:
    return {
        "logprobs": [entry.logprob for entry in likelihoods],
        "greedy": [entry.greedy for entry in likelihoods],
        "lengths": [entry.tokens for entry in likelihoods],
    }


def _generated(
    backend: Backend, jobs: Sequence[Generation]
) -> Iterator[tuple[int, dict[str, Any]]]:
    for number, generated in backend.generate(jobs) if jobs else ():
        yield number, _row_of_generated(generated)


def _row_of_generated(generated: Generated) -> dict[str, Any]:
    row = asdict(generated)
    return row | {"ids": list(generated.ids)}


def _job(prepared: Prepared, place: int, *, mode: Mode) -> Generation:
    encoded = prepared.encoded[place]
    return Generation(
        prompt=encoded.prompt,
        max_new_tokens=encoded.max_new_tokens,
        stop_ids=encoded.stop_ids,
        stop_texts=encoded.stop_texts,
        text=prepared.requests[place].context,
        messages=prepared.requests[place].messages,
        stops_after="text" if mode == "fixed" else "any",
    )


def _answer(
    request: Request, encoded: Encoded, row: dict[str, Any], *, backend: Backend, mode: Mode
) -> Answer:
    if request.kind == "loglikelihood":
        return Answer(
            logprobs=tuple(row["logprobs"]),
            greedy=tuple(row["greedy"]),
            lengths=tuple(row["lengths"]),
            prompt_tokens=sum(candidate.start for candidate in encoded.candidates),
            new_tokens=sum(row["lengths"]),
            truncated=encoded.truncated,
        )
    ids: list[int] = row["ids"]
    text = row["text"]
    if ids and backend.coder is not None:
        text = answer_text(ids, coder=backend.coder, mode=mode, until=request.until)
    elif mode == "fixed":
        text = text.strip()
    return Answer(
        text=text,
        finish=row["finish"],
        prompt_tokens=len(encoded.prompt) or row["prompt_tokens"],
        new_tokens=len(ids),
        truncated=encoded.truncated,
    )


def _warn(prepared: Prepared, answers: Sequence[Answer], *, mode: Mode) -> None:
    """Say what a figure hides: contexts that were cut, examples left out, endless answers."""
    total, wanted = len(answers), prepared.planned.shots
    cut = [place for place, answer in enumerate(answers) if answer.truncated]
    if cut:
        warn(
            f"{prepared.name}: {len(cut)} of {total} contexts are longer than the model reads and "
            f"lost their beginning (first: item {prepared.requests[cut[0]].doc_id})"
        )
    fewer = [place for place, r in enumerate(prepared.requests) if r.shots < wanted]
    if fewer:
        warn(
            f"{prepared.name}: {len(fewer)} of {total} prompts hold fewer examples than the "
            f"{wanted} that were asked for, as no more fit the model's context (first: item "
            f"{prepared.requests[fewer[0]].doc_id}, {prepared.requests[fewer[0]].shots})"
        )
    if isinstance(prepared.planned.chosen.task.cap.compat, str) and mode == "compat":
        return  # a cap taken from the right answer says nothing about where the model would end
    endless = [place for place, answer in enumerate(answers) if answer.finish == "length"]
    if 2 * len(endless) > total:
        warn(
            f"{prepared.name}: {len(endless)} of {total} answers did not end and were cut at the "
            f"cap (first: item {prepared.requests[endless[0]].doc_id})"
        )
