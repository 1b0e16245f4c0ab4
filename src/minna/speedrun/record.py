"""record.json: what a speed run reached, on what, and everything needed to do it again.

A record that leaves out a thread count or the compiler cannot be beaten or doubted, so all of it is
written by the program that ran.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from minna.artifact.verify import verify
from minna.errors import ArtifactError
from minna.speedrun.machine import Machine

RECORD = "record.json"
CURVE = "curve.svg"


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Point(_Part):
    """One look along the way, on a part of the split `valid`."""

    minutes: float
    tokens: int
    bits_per_byte: float


class HeldOutText(_Part):
    """What the final weights were scored on; equal hashes are the same text."""

    split: str
    documents: int
    bytes: int
    sha256: str


class Record(_Part):
    """The content of record.json, schema 1.

    Attributes:
        what: what is new here, in words; the table shows it.
        track: the whole track.
        outside_class: in what the machine is not of the track's class; empty for a ranked record.
        recipe: resolved.
        overrides: as given.
        bits_per_byte: of the final weights on the whole held-out text.
        seconds: of training: compiling and steps.
        numerics: what was settled: device, precision, compile, measured matrix peak.
    """

    schema_: Literal[1] = Field(default=1, alias="schema")
    what: str
    track: dict[str, Any]
    outside_class: list[str]
    recipe: dict[str, Any]
    overrides: list[str]
    bits_per_byte: float = Field(gt=0)
    held_out: HeldOutText
    parameters: int
    steps: int
    tokens: int
    seconds: float = Field(gt=0)
    curve: list[Point]
    machine: Machine
    numerics: dict[str, Any]
    versions: dict[str, str]
    commit: str | None
    created: str

    def rules(self) -> dict[str, Any]:
        """What two records must share to be compared."""
        return {key: self.track[key] for key in ("name", "minutes", "machine", "corpus")}


def read_record(path: Path) -> Record:
    """Read the record of a speed run's directory.

    Raises:
        ArtifactError: it is none, unfinished, damaged, or of another schema.
    """
    manifest = verify(path)
    if manifest.kind != "record":
        raise ArtifactError(
            f"{path} is a {manifest.kind}, and the record of a speed run is needed",
            remedy="give the --out of a `minna speedrun`",
        )
    try:
        return Record.model_validate_json((path / RECORD).read_text(encoding="utf-8"))
    except ValidationError as error:
        raise ArtifactError(
            f"{path / RECORD} is not a record of schema 1: {error}",
            remedy="run it again, or use the minna version that wrote it",
        ) from error
