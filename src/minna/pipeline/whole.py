"""A pipeline file: read, changed by the words of a call, checked whole, run stage by stage.

What only the caller can say (where the recordings lie) stands under `needs`, so that a pipeline can
be shipped without it, listed, and refused before anything runs.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Final

from pydantic import Field, TypeAdapter
from pydantic.dataclasses import dataclass

from minna.console import say
from minna.errors import UsageError, nearest
from minna.pipeline.across import check_labels, check_order
from minna.pipeline.judging import DuelStage, EvaluateStage, TranscribeStage
from minna.pipeline.settings import FORBID, stage_settings
from minna.pipeline.stages import (
    CorpusStage,
    ExportStage,
    LabelStage,
    ReleaseStage,
    TokenizerStage,
    TrainStage,
)
from minna.settings import Shelf, with_overrides
from minna.units import format_seconds

Stage = Annotated[
    CorpusStage
    | TokenizerStage
    | LabelStage
    | TrainStage
    | ExportStage
    | EvaluateStage
    | TranscribeStage
    | ReleaseStage
    | DuelStage,
    Field(discriminator="verb"),
]
_EXAMPLE: Final = "corpus.limit=1000 run.train.steps=200"
_OWN: Final = {"label kmeans": ("layer",), "evaluate": ("data",)}
"""Keys of a stage that a word may change beside its settings."""


@dataclass(frozen=True, kw_only=True, config=FORBID)
class Pipeline:
    """What a pipeline file holds.

    Attributes:
        show: prompts that are continued with the finished model at the end.
        parts: name of a part -> its last stage, for running up to there.
        needs: STAGE.KEY that whoever runs it has to give -> what it is, in words.
    """

    name: str
    description: str
    stage: tuple[Stage, ...]
    show: tuple[str, ...] = ()
    parts: dict[str, str] = Field(default_factory=dict)
    needs: dict[str, str] = Field(default_factory=dict)


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


def load(name: str, *, overrides: Iterable[str] = ()) -> Pipeline:
    """Read and check a pipeline, by name or path.

    Args:
        name: of the pipeline.
        overrides: words `STAGE.key=value`, STAGE being a stage's `out`: of a training stage a key
            of its recipe, of another one a setting of its verb.

    Raises:
        UsageError: no such pipeline, not TOML, an unknown key, a word for no stage, or a stage that
            reads what no earlier stage wrote.
    """
    content = _SHELF.content(name)
    pipeline = stage_settings(Pipeline, content, name)
    check_order(pipeline.stage)
    if words := list(overrides):
        stages = _laid_over(content["stage"], words)
        pipeline = stage_settings(Pipeline, content | {"stage": stages}, name)
    for part in pipeline.parts:
        until(pipeline, part)
    for need in pipeline.needs:
        _stage_of(need, [stage.out for stage in pipeline.stage])
    recipes = {stage.out: stage.check() for stage in pipeline.stage}
    check_labels(pipeline.stage, recipes=recipes)
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

    Raises:
        UsageError: what the pipeline needs was not given.
    """
    _refuse_lacking(pipeline)
    seconds: dict[str, float] = {}
    for number, stage in enumerate(pipeline.stage, start=1):
        say(f"[{number}/{len(pipeline.stage)}] {stage.verb} -> {out / stage.out}", style="bold")
        start = time.monotonic()
        stage.run(out)
        seconds[stage.out] = time.monotonic() - start
        say(f"      done in {format_seconds(seconds[stage.out])}", style="dim")
    return seconds


def _refuse_lacking(pipeline: Pipeline) -> None:
    """Refuse to start without what only the caller can say."""
    stages: dict[str, Any] = {stage.out: stage for stage in pipeline.stage}
    lacking: list[str] = []
    for need in pipeline.needs:
        out, _, key = need.partition(".")
        if out in stages and key not in stages[out].settings:
            lacking.append(need)
    if lacking:
        told = "; ".join(f"{need}: {pipeline.needs[need]}" for need in lacking)
        words = " ".join(f"{need}=..." for need in lacking)
        raise UsageError(
            f"pipeline {pipeline.name} has to be told {told}",
            remedy=f"minna pipeline {pipeline.name} --out DIR {words}",
        )


def _laid_over(stages: Sequence[Mapping[str, Any]], words: list[str]) -> list[dict[str, Any]]:
    """Return stages with words `STAGE.key=value` laid over them, later ones winning."""
    changed = {str(stage["out"]): dict(stage) for stage in stages}
    for word in words:
        out = _stage_of(word, list(changed))
        setting = word.partition(".")[2]
        key = setting.partition("=")[0].partition(".")[0]
        stage = changed[out]
        if stage["verb"] == "train":
            stage["overrides"] = [*stage.get("overrides", ()), setting]
        elif key in _OWN.get(stage["verb"], ()):
            changed[out] = with_overrides(stage, [setting], example=_EXAMPLE)
        else:
            settings = stage.get("settings", {})
            stage["settings"] = with_overrides(settings, [setting], example=_EXAMPLE)
    return list(changed.values())


def _stage_of(word: str, outs: Sequence[str]) -> str:
    """The stage that a word begins with.

    Raises:
        UsageError: the pipeline has none of that name.
    """
    out, dot, _ = word.partition("=")[0].partition(".")
    if not dot or out not in outs:
        raise UsageError(
            f"{word!r} names no stage of this pipeline{nearest(out, outs)}",
            remedy=f"write STAGE.key=value, such as {_EXAMPLE}; stages: {', '.join(outs)}",
        )
    return out
