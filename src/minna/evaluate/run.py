"""`evaluate`: a model in, a report directory out: held-out text, tasks of a suite, or both."""

from __future__ import annotations

import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from minna import artifact
from minna.artifact.atomic import Draft
from minna.artifact.manifest import Parent, canonical
from minna.console import say
from minna.errors import DataError, MinnaError, UsageError
from minna.evaluate.backends.base import Backend
from minna.evaluate.backends.distributed import (
    DistributedBackend,
    Ranks,
    dismiss,
    join,
    serve,
)
from minna.evaluate.bits import BITS_PER_BYTE, VERSION, Bits, measure_bits
from minna.evaluate.judge import Judged, Prepared, judge, prepare
from minna.evaluate.page import write_page
from minna.evaluate.plan import Plan, choose_tasks, plan, tell
from minna.evaluate.records import Mode
from minna.evaluate.report import (
    Report,
    write_items,
    write_report,
)
from minna.evaluate.settings import EvaluateSettings
from minna.evaluate.store import Store
from minna.evaluate.subject import Server, Subject, open_subject
from minna.evaluate.summary import average, licence_of, total, write_harness


def evaluate(
    model: Path | str,
    *,
    out: Path,
    settings: EvaluateSettings,
    corpus: Path | None = None,
    data: Path | None = None,
    server: Server | None = None,
) -> Path | None:
    """Measure a model; a report of the same model, data and settings is left as it is.

    Args:
        model: a model dir, a release, any Hugging Face folder of a causal language model, or the
            base URL of a server that speaks OpenAI's protocol.
        out: the report directory.
        settings: which tasks, by which rules.
        corpus: whose held-out text bits per byte are measured on; None measures none.
        data: the folder of the tasks' data sets; None fetches them from the Hub.
        server: how a model behind a URL is asked.

    Returns:
        `out`; None on a rank other than 0 under torchrun, which only helps.

    Raises:
        ArtifactError: the model is damaged, what it says is not a number, `out` holds another kind
            of directory. What was answered until then is kept for the next call.
        DataError: data that are missing or broken, a split that is empty.
        UsageError: nothing to measure, an unknown task, no end of text, no such device.
    """
    check(settings, with_corpus=corpus is not None)
    subject = open_subject(model, server=server)
    ranks = join()
    if ranks is None:
        return _evaluate(subject, out=out, settings=settings, corpus=corpus, data=data)
    if ranks.rank > 0:
        serve(subject.backend(settings), ranks)
        return None
    try:
        return _evaluate(subject, ranks, out=out, settings=settings, corpus=corpus, data=data)
    finally:
        dismiss()


def _evaluate(
    subject: Subject,
    ranks: Ranks | None = None,
    *,
    out: Path,
    settings: EvaluateSettings,
    corpus: Path | None,
    data: Path | None,
) -> Path:
    planned = plan(settings, data=data) if _has_tasks(settings) else None
    parents = [subject.parent]
    if corpus is not None:
        parents.append(artifact.parent_of(corpus, role="corpus", kind="corpus"))
    values = _values(settings, planned, with_bits=corpus is not None)
    if artifact.unchanged(out, key=artifact.key_of("report", settings=values, parents=parents)):
        say(f"{out}: this model is evaluated on these data with these settings already")
        return out
    with artifact.writing(out, kind="report", settings=values, parents=parents) as draft:
        file = out.with_name(f".{out.name}.answers.jsonl")
        with Store(file) as store:
            try:
                _measure(
                    draft, subject, ranks, planned, corpus=corpus, store=store, settings=settings
                )
            except KeyboardInterrupt:
                if file.is_file():
                    say(f"stopped; the answers so far are kept: the same command goes on to {out}")
                raise
    store.remove()  # only now does the report hold everything
    return out


def check(settings: EvaluateSettings, *, with_corpus: bool) -> None:
    """Refuse what can be refused before a model and data are there.

    Raises:
        UsageError: nothing to measure, an unknown task, or two modes in one report.
    """
    if not _has_tasks(settings):
        if with_corpus:
            return
        raise UsageError(
            "an evaluation needs a corpus, a suite or tasks",
            remedy="give --corpus DIR, --suite jp8, or --tasks NAME,NAME",
        )
    if choose_tasks(settings).mode == "compat" and with_corpus:
        raise UsageError(
            "bits per byte have no compat rules, and a report has one mode",
            remedy="write two reports: one with --corpus, one with --suite or --tasks",
        )


def _has_tasks(settings: EvaluateSettings) -> bool:
    return bool(settings.suite or settings.tasks)


def _values(settings: EvaluateSettings, planned: Plan | None, *, with_bits: bool) -> dict[str, Any]:
    """What decides the report, as plain data: settings, and hashes of the data read."""
    values = asdict(settings) | {"references": list(settings.references)}
    values |= {"tasks": list(settings.tasks), "shots": list(settings.shots)}
    values["mode"] = planned.mode if planned else "fixed"
    if with_bits:
        values |= {"task": BITS_PER_BYTE, "version": VERSION}
    if planned:
        values["data"] = {
            entry.chosen.name: {
                "task": entry.chosen.sha256(),
                "sha256": entry.splits.sha256,
                "shots": entry.shots,
            }
            for entry in planned.tasks
        }
        values["left_out"] = sorted(planned.left_out)
    return values


def _measure(
    draft: Draft,
    subject: Subject,
    ranks: Ranks | None,
    planned: Plan | None,
    *,
    corpus: Path | None,
    store: Store,
    settings: EvaluateSettings,
) -> None:
    start = time.monotonic()
    bits: Bits | None = None
    if corpus is not None:
        bits = measure_bits(subject.load(settings), corpus=corpus, settings=settings)
        write_items(draft.path, BITS_PER_BYTE, bits.items())
        # examples of the text stand in report.html
        draft.licences = list(artifact.read_manifest(corpus).licences)
    results: list[Judged] = []
    if planned is not None:
        backend = subject.backend(settings)
        if ranks is not None:
            backend = DistributedBackend(backend, ranks)
        results = _judge_all(subject, backend, planned, store=store, settings=settings)
    for result in results:
        items = (asdict(item) for item in result.scores.items)
        write_items(draft.path, result.task.name, items)
        if planned is not None:
            draft.licences.append(licence_of(planned, result.task))
    tasks = [*([bits.task] if bits else []), *(result.task for result in results)]
    report = Report(
        mode=planned.mode if planned else "fixed",
        model=subject.parent.sha256,
        model_name=subject.name,
        suite=planned.suite if planned else None,
        average=average(planned, results, settings),
        limit=settings.limit,
        tasks=tasks,
        cost=total([task.cost for task in tasks if task.cost], start=start),
    )
    write_report(draft.path, report)
    if planned is not None and planned.mode == "compat":
        write_harness(draft.path, subject, planned, results)
    write_page(
        draft.path,
        report=report,
        held=bits.held if bits else None,
        nats=bits.nats if bits else None,
    )
    _count(draft, bits, results)


def _judge_all(
    subject: Subject, backend: Backend, planned: Plan, *, store: Store, settings: EvaluateSettings
) -> list[Judged]:
    asked = _asked(subject.parent, planned.mode, backend.conditions())
    ready: list[Prepared] = []
    problems: dict[str, MinnaError] = {}
    for entry in planned.tasks:
        try:
            ready.append(
                prepare(entry, backend=backend, mode=planned.mode, settings=settings, asked=asked)
            )
        except (DataError, UsageError) as error:
            problems[entry.chosen.name] = error
    tell(problems, missing=settings.missing, any_left=bool(ready))
    kept = sum(key in store for entry in ready for key in entry.keys)
    if kept:
        say(f"going on: {kept} answers of an earlier run are kept")
    return [
        judge(entry, backend=backend, mode=planned.mode, settings=settings, store=store)
        for entry in ready
    ]


def _asked(parent: Parent, mode: Mode, conditions: dict[str, Any]) -> str:
    """Who was asked, for the hash of an answer; on how many devices makes no difference."""
    how = {name: value for name, value in conditions.items() if name != "ranks"}
    return canonical([parent.sha256, mode, how])


def _count(draft: Draft, bits: Bits | None, results: list[Judged]) -> None:
    if bits is not None:
        draft.count("documents", len(bits.held.documents), "documents")
        draft.count("bytes", int(bits.held.bytes.sum()), "bytes")
        draft.count("tokens", len(bits.held.tokens.ids), "tokens")
    if results:
        draft.count("items", sum(result.task.n for result in results), "items")
