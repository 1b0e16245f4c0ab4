"""A task is a data file: what it asks, in which versions, by which prompts, and how it is scored.

The prompts of the paper's harness differ in a colon or a space, and each changes the score. So they
are data, one TOML per task in `tasks/`, looked up by exact version; an unknown version is an error
and never the nearest one. A user's own task is the same file in the user's folder.
"""

from __future__ import annotations

import functools
import hashlib
import tomllib
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from minna.artifact.manifest import canonical
from minna.errors import DataError, UsageError, nearest

TaskKind = Literal["choice", "sentence", "generate"]
MetricName = Literal[
    "acc",
    "acc_norm",
    "acc_bytes",
    "balanced_acc",
    "macro_f1",
    "mcc",
    "exact_match",
    "f1",
    "char_f1",
    "number_match",
    "rouge2",
    "bleu",
    "chrf",
]


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Prompt(_Record):
    """How a document becomes text. Templates name fields in braces; values are never re-read."""

    code: str = Field(description='such as "0.2"; "chat" for the model\'s own chat template')
    versions: tuple[str, ...] = Field(description="the task versions it belongs to; () is all")
    description: str = Field(default="", description="stands once, in front")
    input: str
    target: str = "{answer}"
    separator: str = Field(default="\n\n", description="between examples, and before the question")
    stop: str = Field(default="\n", description='ends an answer; "" for a chat unless given')
    choices: tuple[str, ...] = Field(default=(), description="words for the labels, in their order")
    passage: str = Field(default="", description="one passage: {title}, {text}")
    passage_separator: str = "\n"
    article_marker: str = Field(default="", description="what the article stands behind")
    summary_marker: str = Field(default="", description="what is asked behind the article")
    style: Literal["text", "chat"] = "text"
    system: str = Field(default="", description="system message of a chat prompt")

    @model_validator(mode="before")
    @classmethod
    def _chats_have_lines(cls, values: Any) -> Any:
        """A chat's answer ends where the model ends it: most have several lines."""
        if isinstance(values, dict) and values.get("style") == "chat":
            return {"stop": "", **values}
        return values


class Version(_Record):
    """What else than prompts differs between versions of a task."""

    version: str
    balanced_shots: bool = Field(default=False, description="one example per label, then shuffled")
    passages: int | None = Field(default=None, description="how many of a question's are kept")
    drop_shots_to_fit: bool = Field(
        default=False, description="compat: a question that is too long gets fewer examples"
    )


class Cap(_Record):
    """How long an answer may be, in tokens, by mode."""

    compat: Literal["gold", "gold+10"] | Annotated[int, Field(ge=1)] = 256
    fixed: int = Field(default=256, ge=1)


class Files(_Record):
    """Names of the data files below the data directory, glob patterns, the first match counts.

    Several matches are an error (two versions of a data set), unless the pattern itself speaks of
    parts: a set such as `dev[12]`, or shards, `-of-`.
    """

    scored: tuple[str, ...]
    shots: tuple[str, ...] = ()


class Rows(_Record):
    """How columns become documents (reader "rows")."""

    id: str = Field(default="", description="column; the row number where empty")
    group: str = ""
    label: str = Field(default="", description="column with an index, a letter or a label word")
    labels: tuple[str, ...] = Field(default=(), description="the words of `label`, in order")
    choices: tuple[str, ...] = Field(default=(), description="columns, or one that holds a list")
    answers: tuple[str, ...] = Field(default=(), description="columns, or one that holds a list")
    nested: str = Field(default="", description='key of the list of rows, such as "samples"')
    columns: tuple[str, ...] = Field(default=(), description="of a table without a header")


class Source(_Record):
    """Where the data are from, and where to get them."""

    title: str
    url: str
    licence: str
    hub: str = Field(default="", description="OWNER/NAME of a data set on the Hugging Face Hub")
    hub_config: str = Field(default="default", description="its configuration")
    hub_scored: str = Field(default="validation", description="its split that is scored")
    hub_shots: str = Field(default="train", description="its split for examples")


class Task(_Record):
    """One task: see docs/evaluation.md for a walk through a file."""

    name: str = Field(pattern=r"^[a-z0-9_]+$")
    title: dict[Literal["en", "ja"], str]
    kind: TaskKind
    reader: str
    metrics: tuple[MetricName, ...] = Field(min_length=1, description="the first is the main one")
    shots: int = Field(ge=0)
    version: str = Field(description="the default version")
    prompt: str = Field(description="code of the default prompt")
    cap: Cap = Cap()
    stop_at_eos: bool = Field(default=False, description="end of text is the first of `until`")
    files: Files
    rows: Rows = Rows()
    source: Source
    versions: tuple[Version, ...] = Field(min_length=1)
    prompts: tuple[Prompt, ...] = Field(min_length=1)


@dataclass(frozen=True, kw_only=True)
class Chosen:
    """A task in one version with one prompt; `name` is TASK-VERSION-PROMPT."""

    task: Task
    version: Version
    prompt: Prompt
    folder: Path | None = None

    @property
    def name(self) -> str:
        """Full name."""
        return f"{self.task.name}-{self.version.version}-{self.prompt.code}"

    def sha256(self) -> str:
        """Hex sha256 of all that the task file says of this version with this prompt.

        Other prompts and versions of the file do not count: one more of them asks nothing else.
        """
        content = {
            "task": self.task.model_dump(mode="json", exclude={"versions", "prompts"}),
            "version": self.version.model_dump(mode="json"),
            "prompt": self.prompt.model_dump(mode="json"),
        }
        return hashlib.sha256(canonical(content).encode()).hexdigest()


def task_names() -> list[str]:
    """Names of the tasks that come with the package."""
    files = resources.files("minna.evaluate") / "tasks"
    return sorted(f.name.removesuffix(".toml") for f in files.iterdir() if f.name.endswith(".toml"))


def source_text(name: str) -> str:
    """The TOML text of a task: NAME, NAME-VERSION-PROMPT or a path.

    Raises:
        UsageError: no such task.
        DataError: a user's file that is not a task.
    """
    choose(name)
    if name.endswith(".toml"):
        return Path(name).read_text(encoding="utf-8")
    stem = name.split("-", maxsplit=1)[0]
    return (resources.files("minna.evaluate") / "tasks" / f"{stem}.toml").read_text("utf-8")


def choose(name: str, *, version: str | None = None, prompt: str | None = None) -> Chosen:
    """Find a task.

    Args:
        name: a task that comes with the package (TASK or TASK-VERSION-PROMPT), or the path of a
            user's TOML file.
        version: None takes the task's default.
        prompt: code of a prompt; None takes the task's default.

    Raises:
        UsageError: no such task, version or prompt, or version and prompt do not belong together.
        DataError: a user's file that is not a task.
    """
    task, folder = _find(name)
    if name.endswith(".toml"):
        parts: list[str] = []
    else:
        parts = name.split("-")[1:]
    for said, place in ((version, 0), (prompt, 1)):
        if said and len(parts) > place and parts[place] != said:
            raise UsageError(
                f"{name} names {parts[place]!r}, and {said!r} is asked for beside it",
                remedy="say it once",
            )
    wanted = version or (parts[0] if parts else task.version)
    code = prompt or (parts[1] if len(parts) > 1 else task.prompt)
    versions = {entry.version: entry for entry in task.versions}
    if wanted not in versions:
        raise UsageError(
            f"{task.name} has no version {wanted!r}{nearest(wanted, versions)}",
            remedy=f"versions known here: {', '.join(versions)}",
        )
    for entry in task.prompts:
        if entry.code == code and (not entry.versions or wanted in entry.versions):
            return Chosen(task=task, version=versions[wanted], prompt=entry, folder=folder)
    codes = [p.code for p in task.prompts if not p.versions or wanted in p.versions]
    raise UsageError(
        f"{task.name} {wanted} has no prompt {code!r}",
        remedy=f"prompts of that version: {', '.join(codes)}",
    )


def _find(name: str) -> tuple[Task, Path | None]:
    if name.endswith(".toml"):
        path = Path(name)
        if not path.is_file():
            raise UsageError(f"no task file {name}", remedy="check the path")
        return _parse(path.read_bytes(), where=name), path.parent
    stem = name.split("-", maxsplit=1)[0]
    if stem not in task_names():
        raise UsageError(
            f"no task {stem!r}{nearest(stem, task_names())}",
            remedy="see `minna list tasks`, or give the path of your own TOML file",
        )
    return _packaged(stem), None


@functools.cache
def _packaged(stem: str) -> Task:
    file = resources.files("minna.evaluate") / "tasks" / f"{stem}.toml"
    return _parse(file.read_bytes(), where=f"{stem}.toml")


def _parse(content: bytes, *, where: str) -> Task:
    try:
        values: dict[str, Any] = tomllib.loads(content.decode("utf-8"))
        return Task.model_validate(values)
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise DataError(f"{where} is not TOML: {error}", remedy="mend that line") from error
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise DataError(
            f"{where} is not a task: {place}: {first['msg']}",
            remedy="docs/evaluation.md walks through a task file",
        ) from error
