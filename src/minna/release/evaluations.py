"""What the card needs of report.json, and whether the report is about this model.

The release room does not know how a report is made (the rooms of one floor do not import each
other); it reads the published format (docs/formats.md), and ignores fields it has no line for.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, model_validator

from minna.artifact import Manifest
from minna.artifact.verify import verify
from minna.errors import ArtifactError
from minna.release.provenance import Link

REPORT_NAME = "report.json"
_SCHEMA = 2
_BITS = "bits_per_byte"


class _View(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class Metric(_View):
    """A figure with the ends of its 95 % interval."""

    value: float
    low: float | None = None
    high: float | None = None
    unit: str


class Reference(_View):
    """What else was measured on the same documents."""

    metrics: dict[str, Metric]


class Data(_View):
    """Which documents."""

    title: str = ""
    split: str = ""


class Task(_View):
    """One measurement."""

    name: str
    title: dict[str, str] = Field(default_factory=dict)
    version: str
    prompt: str = ""
    shots: int = 0
    n: int
    main: str
    data: Data = Data()
    metrics: dict[str, Metric]
    references: dict[str, Reference] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _main_is_measured(self) -> Task:
        if self.main not in self.metrics:
            raise ValueError(f"main metric {self.main!r} is none of {', '.join(self.metrics)}")
        return self


class _Content(_View):
    schema_version: int = Field(alias="schema")
    mode: str
    suite: str | None = None
    average: Metric | None = None
    tasks: list[Task]


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """One report of the model that is released.

    Attributes:
        mode: which rules, compat or fixed.
        tasks: every measurement.
        suite: the tasks' common name, where they are one.
        average: of the suite, only where all of it ran.
        unseen: of the text of bits per byte: "held out" for a split of a training corpus that was
            not trained on, "seen" for the training split, "other" for a corpus that training did
            not know.
    """

    mode: str
    tasks: list[Task]
    unseen: str
    suite: str | None = None
    average: Metric | None = None

    @property
    def on_text(self) -> list[Task]:
        """Bits per byte of held-out text."""
        return [task for task in self.tasks if task.name == _BITS]

    @property
    def judged(self) -> list[Task]:
        """Tasks with right and wrong answers."""
        return [task for task in self.tasks if task.name != _BITS]


def read_evaluation(path: Path, *, model: Path, chain: list[Link]) -> Evaluation:
    """Read a report of the model.

    Args:
        path: the report directory.
        model: the model dir.
        chain: from `walk(model)`: the model first.

    Raises:
        ArtifactError: damaged, not a report, or of another model.
    """
    manifest = verify(path)
    if manifest.kind != "report":
        raise ArtifactError(
            f"{path} is a {manifest.kind}, and a report is needed", remedy="minna evaluate MODEL"
        )
    about = manifest.parent("model")
    if about.sha256 != chain[0].sha256:
        raise ArtifactError(
            f"{path} is a report of another model ({about.path}, {about.sha256[:12]}), not of "
            f"{model} ({chain[0].sha256[:12]})",
            remedy=f"minna evaluate {model} --corpus CORPUS --out REPORT",
        )
    content = _read(path / REPORT_NAME)
    return Evaluation(
        mode=content.mode,
        tasks=content.tasks,
        unseen=_unseen(manifest, chain),
        suite=content.suite,
        average=content.average,
    )


def _unseen(manifest: Manifest, chain: list[Link]) -> str:
    corpora = {link.sha256 for link in chain if link.manifest.kind == "corpus"}
    scored = {parent.sha256 for parent in manifest.parents if parent.role == "corpus"}
    if not scored & corpora:  # a report of tasks alone has no corpus
        return "other"
    return "seen" if manifest.settings.get("split") == "train" else "held out"


def _read(file: Path) -> _Content:
    try:
        content: Any = json.loads(file.read_text(encoding="utf-8"))
        found = content.get("schema") if isinstance(content, dict) else None
        if found != _SCHEMA:
            raise ArtifactError(
                f"{file} has schema {found!r}, and {_SCHEMA} is read here",
                remedy="evaluate the model again with this minna",
            )
        return _Content.model_validate(content)
    except (OSError, ValueError) as error:  # of JSON, of UTF-8, of the fields
        raise ArtifactError(
            f"{file} is not a report: {error}", remedy="run the evaluation again"
        ) from error
