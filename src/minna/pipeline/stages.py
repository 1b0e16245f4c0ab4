"""Stages that make something: corpora, tokenizers, labels, runs, model dirs, releases.

Each has `check`, before anything runs, `run`, and `reads`: what earlier stages must have written.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from minna.errors import UsageError
from minna.pipeline.settings import FORBID, plain_settings, stage_settings

if TYPE_CHECKING:
    from minna.label.kmeans import KmeansSettings
    from minna.recipe import Recipe

_HUB: Final = "hub:"


@dataclass(frozen=True, kw_only=True, config=FORBID)
class CorpusStage:
    """`corpus build` with the settings of that verb; `corpus` is an earlier one to make it from."""

    verb: Literal["corpus build"]
    out: str
    settings: dict[str, Any]
    corpus: str | None = None

    def run(self, root: Path) -> None:
        """Do it."""
        where = {} if self.corpus is None else {"path": root / self.corpus}
        kind, build = self._way()
        build(settings=stage_settings(kind, self.settings | where, self.out), out=root / self.out)

    def check(self) -> None:
        """Check the settings before anything runs, and that there is what is to be read."""
        where = {} if self.corpus is None else {"path": self.corpus}
        kind, _ = self._way()
        stage_settings(kind, self.settings | where, self.out)
        path = str(self.settings.get("path") or "")
        if path and not path.startswith(_HUB) and not Path(path).exists():
            raise UsageError(
                f"stage {self.out!r} (corpus build) reads {path}, which does not exist",
                remedy=f"give the path from where you are: {self.out}.path=PATH",
            )

    def reads(self) -> list[str]:
        """The directories it reads."""
        return [self.corpus] if self.corpus else []

    def _way(self) -> tuple[Any, Callable[..., Any]]:
        """The class of the settings, and who builds from them."""
        from minna import corpus
        from minna.corpus.sources import CLIPS, DIALOGUES, PICTURES

        source = self.settings.get("source")
        if source in DIALOGUES:
            return corpus.DialogueSettings, corpus.build_dialogues
        if source in PICTURES:
            return corpus.PairSettings, corpus.build_pairs
        if source in CLIPS:
            return corpus.ClipSettings, corpus.build_clips
        return corpus.BuildSettings, corpus.build_corpus


@dataclass(frozen=True, kw_only=True, config=FORBID)
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

    def reads(self) -> list[str]:
        """The directories it reads."""
        return [self.corpus]


@dataclass(frozen=True, kw_only=True, config=FORBID)
class LabelStage:
    """`label kmeans`: of cepstra, or of a layer of a model that an earlier stage exported.

    Attributes:
        model: left out, cepstra are clustered.
        layer: of the model, counted from 1.
        settings: how centres are found.
    """

    verb: Literal["label kmeans"]
    out: str
    corpus: str
    model: str | None = None
    layer: Annotated[int, Field(ge=1)] | None = None
    settings: dict[str, Any] = Field(default_factory=dict)

    def run(self, root: Path) -> None:
        """Do it."""
        from minna.label.frame_features import Mfcc
        from minna.label.kmeans import label_kmeans, label_layer

        corpus, out, settings = root / self.corpus, root / self.out, self.centres()
        if self.model is None or self.layer is None:
            label_kmeans(corpus, out=out, features=Mfcc(), settings=settings)
        else:
            folder = root / self.model
            label_layer(corpus, out=out, folder=folder, layer=self.layer, settings=settings)

    def check(self) -> None:
        """Check the settings before anything runs."""
        self.centres()
        if (self.model is None) != (self.layer is None):
            raise UsageError(
                f"stage {self.out!r} (label kmeans) has model {self.model!r}, layer {self.layer}",
                remedy="give both for a layer of a model, and neither for cepstra",
            )

    def reads(self) -> list[str]:
        """The directories it reads."""
        return [self.corpus, *([self.model] if self.model else [])]

    @property
    def rate(self) -> int:
        """Labels a second."""
        from minna.label.frame_features import LayerFeatures, Mfcc

        return Mfcc.rate if self.model is None else LayerFeatures.rate

    def centres(self) -> KmeansSettings:
        """How they are found."""
        from minna.label.kmeans import KmeansSettings

        return plain_settings(KmeansSettings, self.settings, self.out)


@dataclass(frozen=True, kw_only=True, config=FORBID)
class TrainStage:
    """`train`; `overrides` as on the command line.

    Attributes:
        tokenizer: left out, it is that of the model the recipe goes on from, or the recipe's own.
        base: the model to go on from (`init.from`).
        reward: the reward model (`stream.reward`).
        labels: of the corpus's frames, from a stage `label kmeans` (`stream.labels`).
    """

    verb: Literal["train"]
    out: str
    recipe: str
    corpus: str
    tokenizer: str | None = None
    base: str | None = None
    reward: str | None = None
    labels: str | None = None
    overrides: tuple[str, ...] = ()

    def run(self, root: Path) -> None:
        """Do it."""
        from minna import recipe

        given = [f"{key}={(root / out).as_posix()}" for key, out in self._places().items()]
        own = root / self.out / recipe.OWN_TOKENIZER
        recipe.run_recipe(
            recipe.load(self.recipe, overrides=[*given, *self.overrides]),
            corpus=root / self.corpus,
            tokenizer=own if self.tokenizer is None else root / self.tokenizer,
            out=root / self.out,
        )

    def check(self) -> Recipe:
        """Check recipe and overrides before anything runs; return them."""
        from minna import recipe

        return recipe.load(self.recipe, overrides=self.overrides)

    def reads(self) -> list[str]:
        """The directories it reads."""
        words = [self.tokenizer] if self.tokenizer else []
        return [self.corpus, *words, *self._places().values()]

    def _places(self) -> dict[str, str]:
        """Earlier stages' directories, by the key of the recipe that names them."""
        places = {
            "init.from": self.base,
            "stream.reward": self.reward,
            "stream.labels": self.labels,
        }
        return {key: out for key, out in places.items() if out}


@dataclass(frozen=True, kw_only=True, config=FORBID)
class ExportStage:
    """`export`."""

    verb: Literal["export"]
    out: str
    run_: Annotated[str, Field(alias="run")]
    settings: dict[str, Any] = Field(default_factory=dict)

    def run(self, root: Path) -> None:
        """Do it."""
        from minna.export import ExportSettings, export_run

        settings = stage_settings(ExportSettings, self.settings, self.out)
        export_run(root / self.run_, out=root / self.out, settings=settings)

    def check(self) -> None:
        """Check the settings before anything runs."""
        from minna.export import ExportSettings

        stage_settings(ExportSettings, self.settings, self.out)

    def reads(self) -> list[str]:
        """The directories it reads."""
        return [self.run_]


@dataclass(frozen=True, kw_only=True, config=FORBID)
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

        settings = stage_settings(ReleaseSettings, self.settings, self.out)
        release(
            root / self.model,
            reports=[root / report for report in self.reports],
            out=root / self.out,
            settings=settings,
        )

    def check(self) -> None:
        """Check the settings before anything runs."""
        from minna.release import ReleaseSettings

        stage_settings(ReleaseSettings, self.settings, self.out)

    def reads(self) -> list[str]:
        """The directories it reads."""
        return [self.model, *self.reports]
