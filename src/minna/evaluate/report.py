"""report.json: what was measured, on which documents, by which rules.

A figure without its conditions gets compared with the wrong neighbour: the same model has 3 % other
bits per byte on another split. So a task carries its version and a hash of the very documents, and
`compare` goes by those, not by the names of folders.

`write_schema` writes the JSON schema of these classes where the package keeps it.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from minna.artifact import read_manifest
from minna.artifact.files import write_text_atomically
from minna.errors import ArtifactError

REPORT_NAME = "report.json"
ITEMS_NAME = "items.jsonl"
_SHA256 = r"^[0-9a-f]{64}$"


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", validate_by_name=True)


class Metric(_Record):
    """A figure with its unit and the ends of its 95 % interval (null where there is none)."""

    value: float
    low: float | None = None
    high: float | None = None
    unit: str


class Part(_Record):
    """The same figures of a part of the documents, such as one source."""

    n: int = Field(ge=1)
    metrics: dict[str, Metric]


class Reference(_Record):
    """Something that is no neural model, measured on the same documents."""

    metrics: dict[str, Metric]
    conditions: dict[str, int | float | str] = Field(
        description="what it was given: training documents, tokens, bytes"
    )


class Data(_Record):
    """The documents: `sha256` is over the ids and texts that were scored, in order."""

    sha256: str = Field(pattern=_SHA256)
    corpus: str
    split: str


class Task(_Record):
    """One measurement. Another `version` means other rules: figures of two do not compare."""

    name: str
    version: int = Field(ge=1)
    n: int = Field(ge=1, description="scored items")
    data: Data
    conditions: dict[str, int | float | str]
    metrics: dict[str, Metric]
    sources: dict[str, Part] = Field(default_factory=dict)
    references: dict[str, Reference] = Field(default_factory=dict)


class Report(_Record):
    """The content of report.json, schema 1."""

    schema_version: Literal[1] = Field(default=1, alias="schema")
    mode: str = Field(description="which family of rules: fixed (this project's own)")
    model: str = Field(pattern=_SHA256, description="sha256 of the model's minna.json")
    model_name: str
    tasks: list[Task] = Field(min_length=1)

    def task(self, name: str) -> Task:
        """Return the task of that name.

        Raises:
            ArtifactError: the report has none.
        """
        for task in self.tasks:
            if task.name == name:
                return task
        raise ArtifactError(
            f"this report of {self.model_name} has no task {name!r} "
            f"(it has {', '.join(task.name for task in self.tasks)})",
            remedy="evaluate the model again",
        )


def write_report(directory: Path, report: Report) -> None:
    """Write report.json."""
    content = report.model_dump(mode="json", by_alias=True)
    text = json.dumps(content, ensure_ascii=False, indent=1, allow_nan=False)
    write_text_atomically(directory / REPORT_NAME, text + "\n")


def read_report(path: Path) -> Report:
    """Read a report directory.

    Raises:
        ArtifactError: not a report, or one of another schema.
    """
    read_manifest(path, kind="report")
    file = path / REPORT_NAME
    try:
        return Report.model_validate_json(file.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ArtifactError(
            f"{path} has no {REPORT_NAME}", remedy="run the evaluation again"
        ) from error
    except (ValidationError, UnicodeDecodeError) as error:
        raise ArtifactError(
            f"{file} is not a report of schema 1: {error}",
            remedy="run the evaluation again, or use the minna version that wrote it",
        ) from error


def json_schema() -> dict[str, Any]:
    """The JSON schema of report.json."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **Report.model_json_schema(by_alias=True),
    }


def write_schema() -> Path:
    """Write artifact/schemas/report.json anew, after a change of these classes."""
    target = Path(__file__).resolve().parents[1] / "artifact" / "schemas" / REPORT_NAME
    write_text_atomically(target, json.dumps(json_schema(), ensure_ascii=False, indent=1) + "\n")
    return target
