"""Stages that judge: `evaluate`, `transcribe`, `duel`; each leaves a report."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from minna.errors import UsageError, nearest
from minna.pipeline.settings import FORBID, plain_settings, stage_settings

if TYPE_CHECKING:
    from minna.evaluate import EvaluateSettings
    from minna.evaluate.speech import RecognitionSettings

_SPLITS: Final = ("train", "valid", "test", "all")


@dataclass(frozen=True, kw_only=True, config=FORBID)
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

    def reads(self) -> list[str]:
        """The directories it reads."""
        return [self.model, *([self.corpus] if self.corpus else [])]

    def _settings(self) -> EvaluateSettings:
        from minna.evaluate import EvaluateSettings

        return stage_settings(EvaluateSettings, self.settings, self.out)


@dataclass(frozen=True, kw_only=True, config=FORBID)
class TranscribeStage:
    """`transcribe MODEL --data CORPUS`: how much of what is said a recogniser gets wrong."""

    verb: Literal["transcribe"]
    out: str
    model: str
    corpus: str
    settings: dict[str, Any] = Field(default_factory=dict)

    def run(self, root: Path) -> None:
        """Do it."""
        from minna.evaluate.speech import evaluate_recognition
        from minna.evaluate.subject import open_subject
        from minna.runtime.speech import open_recogniser

        model = root / self.model
        evaluate_recognition(
            open_recogniser(model),
            model=open_subject(model).parent,
            data=root / self.corpus,
            out=root / self.out,
            settings=self._settings(),
        )

    def check(self) -> None:
        """Check the settings before anything runs."""
        self._settings()

    def reads(self) -> list[str]:
        """The directories it reads."""
        return [self.model, self.corpus]

    def _settings(self) -> RecognitionSettings:
        from minna.evaluate.speech import RecognitionSettings

        settings = plain_settings(RecognitionSettings, self.settings, self.out)
        if settings.split not in _SPLITS:
            raise UsageError(
                f"stage {self.out!r} (transcribe): {settings.split!r} is no split"
                f"{nearest(settings.split, _SPLITS)}",
                remedy=f"use one of {', '.join(_SPLITS)}",
            )
        if settings.beam != "greedy" and settings.beam < 1:
            raise UsageError(
                f"stage {self.out!r} (transcribe): a beam of {settings.beam} keeps nothing",
                remedy='give a number from 1, or "greedy"',
            )
        return settings


@dataclass(frozen=True, kw_only=True, config=FORBID)
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
        settings = stage_settings(DuelSettings, self.settings | judge, self.out)
        models = [root / model for model in self.models]
        duel(models, on=root / self.corpus, out=root / self.out, settings=settings)

    def check(self) -> None:
        """Check the settings before anything runs."""
        from minna.evaluate.duel import DuelSettings

        judge = {} if self.judge is None else {"judge": self.judge}
        stage_settings(DuelSettings, self.settings | judge, self.out)

    def reads(self) -> list[str]:
        """The directories it reads."""
        return [*self.models, self.corpus, *([self.judge] if self.judge else [])]
