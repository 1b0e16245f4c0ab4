"""What follows from all tasks together: the average, the whole cost, the harness's own file."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from minna import artifact
from minna.artifact.files import write_text_atomically
from minna.evaluate.harness import harness_results
from minna.evaluate.judge import Judged
from minna.evaluate.plan import Plan
from minna.evaluate.report import Cost, Metric, Task, average_of
from minna.evaluate.settings import EvaluateSettings
from minna.evaluate.subject import Subject
from minna.evaluate.suite import read_suite
from minna.runtime.memory import peak_bytes

HARNESS_NAME: Final = "harness.json"


def average(
    planned: Plan | None, results: list[Judged], settings: EvaluateSettings
) -> Metric | None:
    """The suite's average, where it has a rule and the whole of every task was asked its way."""
    if planned is None or planned.suite is None or settings.limit or settings.shots:
        return None
    value = read_suite(planned.suite).mean(
        {
            result.task.name: {name: m.value for name, m in result.task.metrics.items()}
            for result in results
        }
    )
    if value is None:
        return None
    return average_of(value, [result.task.metrics[result.task.main] for result in results])


def write_harness(directory: Path, subject: Subject, planned: Plan, results: list[Judged]) -> None:
    """Write the figures in the shape of the harness's own result.json, for old leaderboards."""
    content = harness_results(
        [result.scores for result in results],
        config={
            "model": "minna",
            "model_args": f"pretrained={subject.name}",
            "num_fewshot": [entry.shots for entry in planned.tasks],
        },
    )
    text = json.dumps(content, ensure_ascii=False, indent=2, allow_nan=False)
    write_text_atomically(directory / HARNESS_NAME, text + "\n")


def licence_of(planned: Plan, task: Task) -> artifact.Licence:
    """The terms of the data behind a task."""
    (entry,) = [e for e in planned.tasks if e.chosen.task.name == task.name]
    source = entry.chosen.task.source
    return artifact.Licence(source=source.title, licence=source.licence, url=source.url)


def total(costs: Iterable[Cost], *, start: float) -> Cost:
    """The cost of everything; `start` is when it began (time.monotonic)."""
    every = list(costs)
    return Cost(
        seconds=round(time.monotonic() - start, 3),
        prompt_tokens=sum(cost.prompt_tokens for cost in every),
        shared_tokens=sum(cost.shared_tokens for cost in every),
        new_tokens=sum(cost.new_tokens for cost in every),
        requests=sum(cost.requests for cost in every),
        answered=sum(cost.answered for cost in every),
        peak_bytes=peak_bytes(),
    )
