"""A suite is a list of tasks with shots, prompts and versions, and perhaps a rule for one number.

The paper's Table 2 is one number a model: the mean of eight tasks, each by its first metric. That
number means nothing when a task is missing, or when two versions of one are mixed, so it is given
for exactly the whole suite and never otherwise.
"""

from __future__ import annotations

import functools
import tomllib
from collections.abc import Mapping
from importlib import resources
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from minna.errors import UsageError, nearest
from minna.evaluate.records import Mode
from minna.evaluate.task import Chosen, choose


class Average(BaseModel):
    """How a suite's scores become one number: of each task the first of these metrics it has."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    metrics: tuple[str, ...]


class Suite(BaseModel):
    """A named list of tasks."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    title: dict[Literal["en", "ja"], str]
    description: str
    mode: Mode = Field(description="how it is scored by default")
    versions: str = Field(description="the version set that is taken by default")
    prompt: str = Field(description="name or code of the prompt that is taken by default")
    average: Average | None = None
    shots: dict[str, int] = Field(description="task -> examples, in the order of asking")
    prompts: dict[str, str] = Field(description='name -> code; "" is each task\'s own')
    version_sets: dict[str, dict[str, str]]

    def choose(
        self, *, prompt: str | None = None, versions: str | None = None
    ) -> list[tuple[Chosen, int]]:
        """The suite's tasks and their shots.

        Args:
            prompt: a name or code of `prompts`; a task that has not that code takes its default.
            versions: a name of `version_sets`.

        Raises:
            UsageError: the suite has no such prompt or versions.
        """
        code = self._code(prompt or self.prompt)
        wanted = versions or self.versions
        if wanted not in self.version_sets:
            raise UsageError(
                f"the suite {self.name} has no versions {wanted!r}"
                f"{nearest(wanted, self.version_sets)}",
                remedy=f"versions: {', '.join(self.version_sets)}",
            )
        version_of = self.version_sets[wanted]
        return [
            (_with_prompt(task, version=version_of[task], code=code), shots)
            for task, shots in self.shots.items()
        ]

    def mean(self, scores: Mapping[str, Mapping[str, float]]) -> float | None:
        """The suite's one number, to two places; None unless every task has a score.

        Args:
            scores: task (its name, or its full name TASK-VERSION-PROMPT) -> metric -> value in
                per cent. Tasks that are not of the suite are left out; two entries for one task
                give None.
        """
        if self.average is None:
            return None
        found: dict[str, float] = {}
        for full, metrics in scores.items():
            task = full.partition("-")[0]
            if task not in self.shots:
                continue
            metric = next((name for name in self.average.metrics if name in metrics), None)
            if metric is None or task in found:
                return None
            found[task] = metrics[metric]
        if len(found) != len(self.shots):
            return None
        return round(sum(found.values()) / len(found), 2)

    def _code(self, prompt: str) -> str:
        if prompt in self.prompts:
            return self.prompts[prompt]
        if prompt in self.prompts.values():
            return prompt
        known = [f"{name} ({code})" if code else name for name, code in self.prompts.items()]
        raise UsageError(
            f"the suite {self.name} has no prompt {prompt!r}{nearest(prompt, self.prompts)}",
            remedy=f"prompts: {', '.join(known)}; or name single tasks with --tasks",
        )


def suite_names() -> list[str]:
    """Names of the suites that come with the package."""
    files = resources.files("minna.evaluate") / "suites"
    return sorted(f.name.removesuffix(".toml") for f in files.iterdir() if f.name.endswith(".toml"))


@functools.cache
def read_suite(name: str) -> Suite:
    """A suite by its name.

    Raises:
        UsageError: there is none of this name.
    """
    if name not in suite_names():
        raise UsageError(
            f"no suite {name!r}{nearest(name, suite_names())}",
            remedy=f"suites: {', '.join(suite_names())}",
        )
    file = resources.files("minna.evaluate") / "suites" / f"{name}.toml"
    values = tomllib.loads(file.read_text(encoding="utf-8"))
    return Suite.model_validate({"name": name} | values)


def source_text(name: str) -> str:
    """The TOML text of a suite.

    Raises:
        UsageError: there is none of this name.
    """
    read_suite(name)
    return (resources.files("minna.evaluate") / "suites" / f"{name}.toml").read_text("utf-8")


def average(scores: Mapping[str, Mapping[str, float]]) -> float | None:
    """The paper's eight-task average of the harness's own result files, to two places.

    The harness writes `acc` as a fraction and everything else in per cent.

    Args:
        scores: the `results` of such a file.

    Returns:
        None unless all eight tasks are there.
    """
    percents = {
        task: {name: value * 100 if name == "acc" else value for name, value in metrics.items()}
        for task, metrics in scores.items()
    }
    return read_suite("jp8").mean(percents)


def _with_prompt(task: str, *, version: str, code: str) -> Chosen:
    default = choose(task, version=version)
    there = {p.code for p in default.task.prompts if not p.versions or version in p.versions}
    return choose(task, version=version, prompt=code) if code in there else default
