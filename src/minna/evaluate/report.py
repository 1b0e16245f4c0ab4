"""report.json: what was measured, on which documents, by which rules.

A figure without its conditions gets compared with the wrong neighbour: the same model has 3 % other
bits per byte on another split, and one full-width colon in a prompt moves a score by points. So a
task carries its version, prompt, number of examples and a hash of the very data, and `compare` goes
by those, not by the names of folders. What was asked and answered lies beside it, line by line.

`write_schema` writes the JSON schema of these classes where the package keeps it.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from minna.artifact import read_manifest, replace_file
from minna.artifact.files import write_text_atomically
from minna.errors import ArtifactError

SCHEMA: Final = 2
REPORT_NAME = "report.json"
ITEMS_FOLDER = "items"
_HALF = re.compile("[\ud800-\udfff]")
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
    """The data: `sha256` is over the scored ids and texts, or over the bytes of the files."""

    sha256: str = Field(pattern=_SHA256)
    title: str = Field(description="the corpus or the data set, for people")
    split: str
    files: tuple[str, ...] = ()


class Cost(_Record):
    """What it took; `shared_tokens` were never read a second time, thanks to sharing."""

    seconds: float = Field(default=0.0, ge=0)
    prompt_tokens: int = Field(default=0, ge=0, description="tokens of all contexts")
    shared_tokens: int = Field(
        default=0, ge=0, description="of prompts and choices, not read again"
    )
    new_tokens: int = Field(default=0, ge=0, description="generated, or scored as choices")
    requests: int = Field(default=0, ge=0)
    answered: int = Field(
        default=0, ge=0, description="of the requests, in this run; the others by an earlier one"
    )
    peak_bytes: int | None = Field(default=None, ge=0)


class Task(_Record):
    """One measurement. Another `version` or `prompt` means other rules: figures do not compare."""

    name: str = Field(pattern=r"^[a-z0-9_]+$")
    title: dict[Literal["en", "ja"], str] = Field(default_factory=dict)
    version: str
    prompt: str = Field(default="", description="code of the prompt; empty where there is none")
    style: Literal["text", "chat"] = Field(
        default="text", description="chat: through the model's own chat template"
    )
    shots: int = Field(default=0, ge=0, description="examples in front, the most any item got")
    n: int = Field(ge=1, description="scored items")
    main: str = Field(description="the metric that stands for the task")
    data: Data
    hashes: dict[Literal["prompts", "requests"], str] = Field(default_factory=dict)
    conditions: dict[str, int | float | str]
    metrics: dict[str, Metric]
    sources: dict[str, Part] = Field(default_factory=dict)
    references: dict[str, Reference] = Field(default_factory=dict)
    cost: Cost | None = None

    @model_validator(mode="after")
    def _main_is_measured(self) -> Task:
        if self.main not in self.metrics:
            raise ValueError(f"main metric {self.main!r} is none of {', '.join(self.metrics)}")
        return self

    @property
    def full_name(self) -> str:
        """NAME-VERSION-PROMPT, or NAME-VERSION where there is no prompt."""
        return "-".join(part for part in (self.name, self.version, self.prompt) if part)


class Report(_Record):
    """The content of report.json, schema 2."""

    schema_version: Literal[2] = Field(default=SCHEMA, alias="schema")
    mode: str = Field(description="which family of rules: fixed (this project's own) or compat")
    model: str = Field(pattern=_SHA256, description="sha256 of the model's minna.json")
    model_name: str
    suite: str | None = None
    limit: int | None = Field(default=None, ge=1, description="at most so many items of a task")
    average: Metric | None = Field(
        default=None, description="only where the whole suite ran, by its own numbers of examples"
    )
    tasks: list[Task] = Field(min_length=1)
    cost: Cost | None = None

    @model_validator(mode="after")
    def _names_differ(self) -> Report:
        names = [task.name for task in self.tasks]
        if len(set(names)) < len(names):
            raise ValueError(f"a task stands twice in {', '.join(names)}")
        return self

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


def average_of(value: float, parts: Sequence[Metric]) -> Metric:
    """The unweighted mean `value` of tasks, with an interval from theirs.

    Tasks have no items in common, so their errors are independent and add in squares. There is no
    interval where one of them has none.
    """
    lows = [part.value - part.low for part in parts if part.low is not None]
    highs = [part.high - part.value for part in parts if part.high is not None]
    unit = parts[0].unit
    if len(lows) < len(parts) or len(highs) < len(parts):
        return Metric(value=value, unit=unit)
    return Metric(
        value=value,
        low=value - math.hypot(*lows) / len(parts),
        high=value + math.hypot(*highs) / len(parts),
        unit=unit,
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
        content: Any = json.loads(file.read_text(encoding="utf-8"))
        found = content.get("schema") if isinstance(content, dict) else None
        if found != SCHEMA:
            raise ArtifactError(
                f"{file} has schema {found!r}, and schema {SCHEMA} is read here",
                remedy="evaluate the model again with this minna",
            )
        return Report.model_validate(content)
    except FileNotFoundError as error:
        raise ArtifactError(
            f"{path} has no {REPORT_NAME}", remedy="run the evaluation again"
        ) from error
    except ValueError as error:  # of JSON, of UTF-8, of the schema
        raise ArtifactError(
            f"{file} is not a report of schema {SCHEMA}: {error}",
            remedy="run the evaluation again, or use the minna version that wrote it",
        ) from error


def whole_characters(text: str) -> str:
    """The text with U+FFFD for each half of a pair: a file cannot hold half a character."""
    return _HALF.sub("\ufffd", text)


def write_items(directory: Path, task: str, rows: Iterable[Mapping[str, Any]]) -> Path:
    """Write items/TASK.jsonl: one line per item, enough to compare two models item by item."""
    file = directory / ITEMS_FOLDER / f"{task}.jsonl"
    with replace_file(file) as lines:
        for row in rows:
            text = json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n"
            lines.write(whole_characters(text).encode())
    return file


def read_items(path: Path, task: str) -> list[dict[str, Any]]:
    """Read the items of a task of the report directory `path`.

    Raises:
        ArtifactError: there are none, or they cannot be read.
    """
    file = path / ITEMS_FOLDER / f"{task}.jsonl"
    try:
        rows: list[Any] = [json.loads(line) for line in file.read_bytes().splitlines()]
    except (OSError, ValueError) as error:
        raise ArtifactError(
            f"{file} cannot be read: {error}", remedy="run the evaluation again"
        ) from error
    if not all(isinstance(row, dict) and "id" in row for row in rows):
        raise ArtifactError(
            f"{file} holds a line that is no item with an id", remedy="run the evaluation again"
        )
    return rows


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
