"""Which tasks, in which versions, with how many examples, on which data: decided before any model.

A suite of eight tasks whose seventh has no data would otherwise fail after an hour; so every task
is found and every data set read first, and all that is missing is told at once.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from minna.console import warn
from minna.errors import DataError, MinnaError, UsageError
from minna.evaluate.readers import read_data
from minna.evaluate.records import Mode, Splits
from minna.evaluate.settings import EvaluateSettings
from minna.evaluate.suite import read_suite
from minna.evaluate.task import Chosen, choose


@dataclass(frozen=True, kw_only=True)
class Planned:
    """One task with its data."""

    chosen: Chosen
    shots: int
    splits: Splits


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What will be asked.

    Attributes:
        suite: name of the suite, None for single tasks.
        mode: for all tasks.
        tasks: in the order they are asked.
        left_out: full name of a task to why it is left out.
    """

    suite: str | None
    mode: Mode
    tasks: tuple[Planned, ...]
    left_out: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Choice:
    """Which tasks, before their data are read."""

    suite: str | None
    mode: Mode
    tasks: tuple[tuple[Chosen, int], ...]


def choose_tasks(settings: EvaluateSettings) -> Choice:
    """Find the tasks that settings name, and their shots.

    Raises:
        UsageError: an unknown suite, task, version or prompt, or settings that exclude each other.
    """
    mode: Mode = settings.mode or "fixed"
    if settings.suite is not None:
        if settings.tasks:
            raise UsageError(
                f"suite {settings.suite!r} and tasks {', '.join(settings.tasks)} exclude each "
                "other",
                remedy="give one of --suite and --tasks",
            )
        suite = read_suite(settings.suite)
        mode = settings.mode or suite.mode
        chosen = suite.choose(prompt=settings.prompt, versions=settings.versions)
    else:
        if settings.versions is not None:
            raise UsageError(
                f"versions {settings.versions!r} are sets of a suite",
                remedy="write the version into the name, such as jnli-1.1-0.2",
            )
        found = [choose(name, prompt=settings.prompt) for name in settings.tasks]
        chosen = [(entry, entry.task.shots) for entry in found]
    _refuse_twins([entry for entry, _ in chosen])
    if any(entry.task.name == "bits_per_byte" for entry, _ in chosen):
        raise UsageError(
            "bits_per_byte is what --corpus measures, and no name for a task of one's own",
            remedy="give that task another name",
        )
    shots = _shots(settings, chosen)
    return Choice(
        suite=settings.suite,
        mode=mode,
        tasks=tuple((entry, count) for (entry, _), count in zip(chosen, shots, strict=True)),
    )


def plan(settings: EvaluateSettings, *, data: Path | None) -> Plan:
    """Find the tasks and read their data.

    Args:
        settings: suite or tasks, and what is said about their versions, prompts and shots.
        data: the folder with the user's data sets; None fetches them from the Hub.

    Raises:
        UsageError: an unknown suite, task, version or prompt.
        DataError: data that are missing (all of them named) or broken.
    """
    choice = choose_tasks(settings)
    tasks: list[Planned] = []
    problems: dict[str, MinnaError] = {}
    for entry, shots in choice.tasks:
        try:
            splits = read_data(entry, data=data)
        except DataError as error:
            problems[entry.name] = error
            continue
        tasks.append(Planned(chosen=entry, shots=shots, splits=splits))
    tell(problems, missing=settings.missing, any_left=bool(tasks))
    return Plan(
        suite=choice.suite,
        mode=choice.mode,
        tasks=tuple(tasks),
        left_out={name: str(error) for name, error in problems.items()},
    )


def _shots(settings: EvaluateSettings, chosen: list[tuple[Chosen, int]]) -> list[int]:
    """One number for all, one per task, or what is usual."""
    given = list(settings.shots)
    if not given:
        return [usual for _, usual in chosen]
    if len(given) not in (1, len(chosen)):
        raise UsageError(
            f"{len(given)} numbers of shots were given for {len(chosen)} tasks",
            remedy="give one for all, or one per task in their order: "
            + ", ".join(entry.task.name for entry, _ in chosen),
        )
    if len(given) == len(chosen):
        return given
    # one number for all is for those that have examples at all
    return [0 if entry.task.kind == "sentence" else given[0] for entry, _ in chosen]


def _refuse_twins(chosen: list[Chosen]) -> None:
    names = [entry.task.name for entry in chosen]
    twins = sorted({name for name in names if names.count(name) > 1})
    if twins:
        raise UsageError(
            f"the task {twins[0]} stands twice", remedy="write one report per version or prompt"
        )


def tell(problems: dict[str, MinnaError], *, missing: str, any_left: bool) -> None:
    """Raise what keeps tasks from being asked, all at once; or only warn, where they may lack.

    Raises:
        DataError: several tasks cannot be asked; one raises its own error.
    """
    if not problems:
        return
    if missing == "skip" and any_left:
        for name, error in problems.items():
            warn(f"{name} is left out: {error}")
        return
    if len(problems) == 1:
        raise next(iter(problems.values()))
    told = "\n".join(f"- {name}: {error}" for name, error in problems.items())
    raise DataError(
        f"{len(problems)} tasks cannot be asked:\n{told}",
        remedy="mend that, or leave those tasks out with --missing skip",
    )
