"""What the card needs of report.json, and whether the report is about this model.

The release room does not know how a report is made (the rooms of one floor do not import each
other); it reads the published format (docs/formats.md), and ignores fields it has no line for.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from minna.artifact.verify import verify
from minna.errors import ArtifactError
from minna.release.provenance import Link

REPORT_NAME = "report.json"
_SCHEMA = 2


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
    version: str
    n: int
    data: Data = Data()
    metrics: dict[str, Metric]
    references: dict[str, Reference] = Field(default_factory=dict)


class _Content(_View):
    schema_version: int = Field(alias="schema")
    mode: str
    tasks: list[Task]


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """One report of the model that is released.

    Attributes:
        unseen: "held out" for a split of a training corpus that was not trained on, "seen" for the
            training split, "other" for a corpus that training did not know.
    """

    mode: str
    tasks: list[Task]
    unseen: str


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
    corpora = {link.sha256 for link in chain if link.manifest.kind == "corpus"}
    split = str(manifest.settings.get("split", ""))
    unseen = "other"
    if manifest.parent("corpus").sha256 in corpora:
        unseen = "seen" if split == "train" else "held out"
    return Evaluation(mode=content.mode, tasks=content.tasks, unseen=unseen)


def _read(file: Path) -> _Content:
    try:
        content = _Content.model_validate_json(file.read_text(encoding="utf-8"))
    except (OSError, ValidationError, UnicodeDecodeError) as error:
        raise ArtifactError(
            f"{file} is not a report: {error}", remedy="run the evaluation again"
        ) from error
    if content.schema_version != _SCHEMA:
        raise ArtifactError(
            f"{file} has schema {content.schema_version}, and {_SCHEMA} is read here",
            remedy="run the evaluation again with this minna",
        )
    return content
