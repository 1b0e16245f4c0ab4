"""Several reports beside each other, and the refusal where they do not belong beside each other.

Equal names do not make equal questions: with 3 examples of JNLI asked for, a model that reads 256
tokens is shown 2, and one that reads more is shown all. So in `fixed`, which promises the same
questions to every model, the very requests must agree (by hash). `compat` makes prompts by each
model's own tokens, and a chat template is part of the model: there a note says how many prompts
differ.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from minna.errors import UsageError
from minna.evaluate.compared import Comparison, Row, TaskComparison
from minna.evaluate.differences import corrected, difference_of
from minna.evaluate.report import Metric, Report, Task, read_items, read_report

_REMEDY = (
    "evaluate both models with the same minna, data, mode, versions, prompts, shots and --limit"
)

__all__ = ["Comparison", "compare"]


def compare(paths: Sequence[Path]) -> Comparison:
    """Put reports beside each other; the first is what the others are compared with.

    Raises:
        UsageError: fewer than two, no task in common, or they differ in mode, task version, prompt,
            shots or data.
        ArtifactError: one is not a report, or its items do not fit it.
    """
    if len(paths) < 2:  # noqa: PLR2004 - a comparison has two sides
        raise UsageError(
            f"a comparison needs at least 2 reports, and {len(paths)} was given",
            remedy="minna compare REPORT REPORT ...",
        )
    reports = [read_report(path) for path in paths]
    _refuse(paths, [("mode", report.mode) for report in reports])
    names = [{task.name for task in report.tasks} for report in reports]
    common = [task.name for task in reports[0].tasks if all(task.name in has for has in names)]
    if not common:
        listed = "; ".join(
            f"{path} has {', '.join(sorted(has))}" for path, has in zip(paths, names, strict=True)
        )
        raise UsageError(
            f"these reports have no task in common: {listed}",
            remedy="evaluate the models with the same --tasks or --suite",
        )
    compared = [_compare_task(name, paths, reports) for name in common]
    every = list(dict.fromkeys(task.name for report in reports for task in report.tasks))
    return Comparison(
        mode=reports[0].mode,
        paths=[path.as_posix() for path in paths],
        models=[report.model_name for report in reports],
        tasks=corrected(compared),
        partial={
            name: [path.as_posix() for path, has in zip(paths, names, strict=True) if name in has]
            for name in every
            if name not in common
        },
    )


def _refuse(
    paths: Sequence[Path],
    facts: Sequence[tuple[str, str]],
    *,
    task: str = "",
    remedy: str = _REMEDY,
) -> None:
    """Raise if any report's fact differs from the first's."""
    for path, (name, value) in zip(paths, facts, strict=True):
        if value != facts[0][1]:
            where = f" on {task}" if task else ""
            raise UsageError(
                f"these reports do not compare{where}: {name} is {facts[0][1]!r} in {paths[0]} and "
                f"{value!r} in {path}",
                remedy=remedy,
            )


def _refuse_other_rules(
    name: str, paths: Sequence[Path], tasks: Sequence[Task], *, mode: str
) -> None:
    for fact in (
        [("task version", task.version) for task in tasks],
        [("prompt", task.prompt) for task in tasks],
        [("text of the prompt", task.hashes.get("prompts", "")[:12]) for task in tasks],
    ):
        _refuse(paths, fact, task=name)
    shots = [_shots(task, mode=mode) for task in tasks]
    _refuse(
        paths,
        [("number of examples (shots)", str(count)) for count in shots],
        task=name,
        remedy=f"evaluate both with --num-fewshot {min(shots)} for this task: fewer may have been "
        "used than asked for, as no more fit a model's context",
    )
    for fact in (
        [("main metric", task.main) for task in tasks],
        [("data", f"{task.data.title}, split {task.data.split}") for task in tasks],
        [("scored documents", f"{task.n}, {task.data.sha256[:12]}") for task in tasks],
    ):
        _refuse(paths, fact, task=name)


def _shots(task: Task, *, mode: str) -> int:
    """Those really used; in compat, where every question may get fewer, those asked for."""
    wanted = task.conditions.get("shots_wanted")
    return int(wanted) if mode == "compat" and wanted is not None else task.shots


def _compare_task(name: str, paths: Sequence[Path], reports: list[Report]) -> TaskComparison:
    tasks = [report.task(name) for report in reports]
    first, mode = tasks[0], reports[0].mode
    _refuse_other_rules(name, paths, tasks, mode=mode)
    items = [read_items(path, name) for path in paths]
    rows: list[Row] = []
    for path, report, task, own in zip(paths, reports, tasks, items, strict=True):
        row = Row(path=path.as_posix(), model=report.model_name, metrics=task.metrics)
        if task is not first:
            told = _asked_otherwise((first, task), (items[0], own))
            if told and mode != "compat" and "chat" not in (first.style, task.style):
                raise UsageError(
                    f"the two models were asked different prompts on {name}: {told} in {paths[0]} "
                    f"and {path}, though task, version, prompt and data agree",
                    remedy="a model's context decides how many examples and how much of a long "
                    "text it is shown: evaluate both with as few --num-fewshot as fit both, or "
                    "leave this task out of one of them",
                )
            found = difference_of(first, items[0], own, paths=(paths[0], path), mode=mode)
            unit = task.metrics[task.main].unit
            difference = Metric(value=found.value, low=found.low, high=found.high, unit=unit)
            row = replace(row, difference=difference, p=found.p, test=found.test, note=told)
        rows.append(row)
    # Kneser-Ney counts the tokens of one tokenizer, xz bytes: only xz holds for every row
    references = {
        key: reference.metrics[first.main]
        for task in reversed(tasks)
        for key, reference in task.references.items()
        if key == "xz" or task is first
    }
    return TaskComparison(task=first, rows=rows, references=references)


def _asked_otherwise(
    tasks: tuple[Task, Task], items: tuple[list[dict[str, Any]], list[dict[str, Any]]]
) -> str:
    """How the requests of two reports differ, in words; "" where they are the same."""
    ours, theirs = (task.hashes.get("requests") for task in tasks)
    if ours == theirs:
        return ""
    prompts = {row["id"]: row.get("context") for row in items[0]}
    other = sum(prompts.get(row["id"]) != row.get("context") for row in items[1])
    if other:
        return f"{other:,} of {tasks[0].n:,} prompts are not the same"
    return "the longest answers or stop texts are not the same"
