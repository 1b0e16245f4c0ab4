"""Stages in order: a TOML file that calls the verbs, each skipped when nothing of it has changed.

A stage names a verb, its settings, and earlier stages' directories by their `out`. The verbs
themselves know whether their work is done (the key in minna.json), so a pipeline keeps no state of
its own: run it again after a kill, an edit or a disk that filled up, and it does what is left. One
thing is never thrown away: a run whose recipe or text has changed is refused by name.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import ConfigDict, Field, TypeAdapter
from pydantic.dataclasses import dataclass

from minna.console import say
from minna.errors import UsageError, nearest
from minna.settings import Shelf, checked
from minna.units import format_seconds

if TYPE_CHECKING:
    from minna.evaluate import EvaluateSettings

_FORBID = ConfigDict(extra="forbid")


@dataclass(frozen=True, kw_only=True, config=_FORBID)
class CorpusStage:
    """`corpus build` with the settings of that verb; `corpus` is an earlier one to make it from."""

    verb: Literal["corpus build"]
    out: str
    settings: dict[str, Any]
    corpus: str | None = None

    def run(self, root: Path) -> None:
        """Do it."""
        from minna.corpus import build_corpus, build_dialogues, build_pairs

        where = {} if self.corpus is None else {"path": root / self.corpus}
        settings = _checked(self._kind(), self.settings | where, self.out)
        if self._of_dialogues:
            build_dialogues(settings=settings, out=root / self.out)
        elif self._of_pictures:
            build_pairs(settings=settings, out=root / self.out)
        else:
            build_corpus(settings=settings, out=root / self.out)

    def check(self) -> None:
        """Check the settings before anything runs."""
        where = {} if self.corpus is None else {"path": self.corpus}
        _checked(self._kind(), self.settings | where, self.out)

    @property
    def _of_dialogues(self) -> bool:
        return self.settings.get("source") in ("dialogues", "keywords")

    @property
    def _of_pictures(self) -> bool:
        return self.settings.get("source") in ("emoji", "pictures")

    def _kind(self) -> Any:
        from minna.corpus import BuildSettings, DialogueSettings, PairSettings

        if self._of_dialogues:
            return DialogueSettings
        return PairSettings if self._of_pictures else BuildSettings


@dataclass(frozen=True, kw_only=True, config=_FORBID)
class TokenizerStage:
    """`tokenizer train` with the `[tokenizer]` section of a recipe."""

    verb: Literal["tokenizer train"]
    out: str
    corpus: str
    recipe: str

    def run(self, root: Path) -> None:
        """Do it."""
        from minna import recipe
        from minna.tokenizer.train import train_tokenizer

        settings = recipe.load(self.recipe).tokenizer
        train_tokenizer(root / self.corpus, out=root / self.out, settings=settings)

    def check(self) -> None:
        """Check the recipe before anything runs."""
        from minna import recipe

        recipe.load(self.recipe)


@dataclass(frozen=True, kw_only=True, config=_FORBID)
class TrainStage:
    """`train`; `overrides` as on the command line.

    Attributes:
        tokenizer: left out, it is that of the model the recipe goes on from.
        base: the model to go on from (`init.from`).
        reward: the reward model (`stream.reward`).
    """

    verb: Literal["train"]
    out: str
    recipe: str
    corpus: str
    tokenizer: str | None = None
    base: str | None = None
    reward: str | None = None
    overrides: tuple[str, ...] = ()

    def run(self, root: Path) -> None:
        """Do it."""
        from minna import recipe

        places = {"init.from": self.base, "stream.reward": self.reward}
        given = [f"{key}={(root / out).as_posix()}" for key, out in places.items() if out]
        own = root / self.out / recipe.OWN_TOKENIZER
        recipe.run_recipe(
            recipe.load(self.recipe, overrides=[*given, *self.overrides]),
            corpus=root / self.corpus,
            tokenizer=own if self.tokenizer is None else root / self.tokenizer,
            out=root / self.out,
        )

    def check(self) -> None:
        """Check recipe and overrides before anything runs."""
        from minna import recipe

        recipe.load(self.recipe, overrides=self.overrides)


@dataclass(frozen=True, kw_only=True, config=_FORBID)
class ExportStage:
    """`export`."""

    verb: Literal["export"]
    out: str
    run_: Annotated[str, Field(alias="run")]
    settings: dict[str, Any] = Field(default_factory=dict)

    def run(self, root: Path) -> None:
        """Do it."""
        from minna.export import ExportSettings, export_run

        settings = _checked(ExportSettings, self.settings, self.out)
        export_run(root / self.run_, out=root / self.out, settings=settings)

    def check(self) -> None:
        """Check the settings before anything runs."""
        from minna.export import ExportSettings

        _checked(ExportSettings, self.settings, self.out)


@dataclass(frozen=True, kw_only=True, config=_FORBID)
class EvaluateStage:
    """`evaluate`; `data` is a folder of data sets, relative to where the pipeline is run."""

    verb: Literal["evaluate"]
    out: str
    model: str
    corpus: str | None = None
    data: str | None = None
    settings: dict[str, Any] = Field(default_factory=dict)

    def run(self, root: Path) -> None:
        """Do it."""
        from minna.evaluate import evaluate

        evaluate(
            root / self.model,
            corpus=None if self.corpus is None else root / self.corpus,
            data=None if self.data is None else Path(self.data),
            out=root / self.out,
            settings=self._settings(),
        )

    def check(self) -> None:
        """Check the settings before anything runs."""
        from minna.evaluate.run import check

        check(self._settings(), with_corpus=self.corpus is not None)
        if self.data is not None and not Path(self.data).is_dir():
            raise UsageError(
                f"stage {self.out!r} (evaluate) reads data from {self.data}, which is no folder",
                remedy="give the folder of the data sets, relative to where you are",
            )

    def _settings(self) -> EvaluateSettings:
        from minna.evaluate import EvaluateSettings

        return _checked(EvaluateSettings, self.settings, self.out)


@dataclass(frozen=True, kw_only=True, config=_FORBID)
class ReleaseStage:
    """`release`."""

    verb: Literal["release"]
    out: str
    model: str
    reports: tuple[str, ...]
    settings: dict[str, Any] = Field(default_factory=dict)

    def run(self, root: Path) -> None:
        """Do it."""
        from minna.release import ReleaseSettings, release

        settings = _checked(ReleaseSettings, self.settings, self.out)
        release(
            root / self.model,
            reports=[root / report for report in self.reports],
            out=root / self.out,
            settings=settings,
        )

    def check(self) -> None:
        """Check the settings before anything runs."""
        from minna.release import ReleaseSettings

        _checked(ReleaseSettings, self.settings, self.out)


@dataclass(frozen=True, kw_only=True, config=_FORBID)
class DuelStage:
    """`duel`; each model meets every one before it. `judge` is a stage's reward model."""

    verb: Literal["duel"]
    out: str
    models: tuple[str, ...]
    corpus: str
    settings: dict[str, Any]
    judge: str | None = None

    def run(self, root: Path) -> None:
        """Do it."""
        from minna.evaluate.duel import DuelSettings, duel

        judge = {} if self.judge is None else {"judge": (root / self.judge).as_posix()}
        settings = _checked(DuelSettings, self.settings | judge, self.out)
        models = [root / model for model in self.models]
        duel(models, on=root / self.corpus, out=root / self.out, settings=settings)

    def check(self) -> None:
        """Check the settings before anything runs."""
        from minna.evaluate.duel import DuelSettings

        judge = {} if self.judge is None else {"judge": self.judge}
        _checked(DuelSettings, self.settings | judge, self.out)


Stage = Annotated[
    CorpusStage
    | TokenizerStage
    | TrainStage
    | ExportStage
    | EvaluateStage
    | ReleaseStage
    | DuelStage,
    Field(discriminator="verb"),
]


@dataclass(frozen=True, kw_only=True, config=_FORBID)
class Pipeline:
    """What a pipeline file holds.

    Attributes:
        show: prompts that are continued with the finished model at the end.
        parts: name of a part -> its last stage, for running up to there.
    """

    name: str
    description: str
    stage: tuple[Stage, ...]
    show: tuple[str, ...] = ()
    parts: dict[str, str] = Field(default_factory=dict)


_SHELF = Shelf(kind="pipeline", package="minna", folder="pipelines")


def names() -> list[str]:
    """Names of the pipelines that minna brings."""
    return _SHELF.names()


def source(name: str) -> str:
    """Return the TOML text of a pipeline, by name or path.

    Raises:
        UsageError: there is none.
    """
    return _SHELF.text(name)


def load(name: str) -> Pipeline:
    """Read and check a pipeline, by name or path.

    Raises:
        UsageError: no such pipeline, not TOML, an unknown key, or a stage that reads what no
            earlier stage wrote.
    """
    pipeline = _checked(Pipeline, _SHELF.content(name), name)
    _check_order(pipeline)
    for part in pipeline.parts:
        until(pipeline, part)
    for stage in pipeline.stage:
        stage.check()
    return pipeline


def until(pipeline: Pipeline, part: str) -> Pipeline:
    """Return a pipeline that ends with a part (or a stage, by its `out`).

    Raises:
        UsageError: it has none of that name.
    """
    last = pipeline.parts.get(part, part)
    outs = [stage.out for stage in pipeline.stage]
    if last not in outs:
        known = [*pipeline.parts, *outs]
        raise UsageError(
            f"pipeline {pipeline.name} has no part or stage {part!r}{nearest(part, known)}",
            remedy=f"parts are {', '.join(pipeline.parts) or 'none'}, stages {', '.join(outs)}",
        )
    return replace(pipeline, stage=pipeline.stage[: outs.index(last) + 1])


def resolved(pipeline: Pipeline) -> dict[str, Any]:
    """Return a pipeline as plain data."""
    return TypeAdapter(Pipeline).dump_python(pipeline, mode="json", by_alias=True)


def run(pipeline: Pipeline, *, out: Path) -> dict[str, float]:
    """Run every stage below `out`.

    Returns:
        Seconds of each stage, by its `out`.
    """
    seconds: dict[str, float] = {}
    for number, stage in enumerate(pipeline.stage, start=1):
        say(f"[{number}/{len(pipeline.stage)}] {stage.verb} -> {out / stage.out}", style="bold")
        start = time.monotonic()
        stage.run(out)
        seconds[stage.out] = time.monotonic() - start
        say(f"      done in {format_seconds(seconds[stage.out])}", style="dim")
    return seconds


def _check_order(pipeline: Pipeline) -> None:
    written: set[str] = set()
    for stage in pipeline.stage:
        for name in _reads(stage):
            if name not in written:
                raise UsageError(
                    f"stage {stage.out!r} ({stage.verb}) reads {name!r}, which no earlier stage "
                    f"writes{nearest(name, written)}",
                    remedy=f"written before it: {', '.join(sorted(written)) or 'nothing'}",
                )
        if stage.out in written:
            raise UsageError(f"two stages write {stage.out!r}", remedy="give each its own out")
        written.add(stage.out)


def _reads(stage: Any) -> list[str]:
    """The directories a stage reads."""
    fields: dict[str, Callable[[], list[str]]] = {
        "corpus build": lambda: [stage.corpus] if stage.corpus else [],
        "tokenizer train": lambda: [stage.corpus],
        "train": lambda: [
            stage.corpus,
            *(out for out in (stage.tokenizer, stage.base, stage.reward) if out),
        ],
        "export": lambda: [stage.run_],
        "evaluate": lambda: [stage.model, *([stage.corpus] if stage.corpus else [])],
        "release": lambda: [stage.model, *stage.reports],
        "duel": lambda: [*stage.models, stage.corpus, *([stage.judge] if stage.judge else [])],
    }
    return fields[stage.verb]()


def _checked(kind: Any, content: dict[str, Any], where: str) -> Any:
    return checked(
        kind,
        content,
        naming=lambda path: f"pipeline stage or file {where!r}: {path}",
        remedy="`minna list pipelines quickstart` prints a whole pipeline to compare with",
    )
