"""Stages in order: a TOML file that calls the verbs, each skipped when nothing of it has changed.

A stage names a verb, its settings, and earlier stages' directories by their `out`. The verbs
themselves know whether their work is done (the key in minna.json), so a pipeline keeps no state of
its own: run it again after a kill, an edit or a disk that filled up, and it does what is left. One
thing is never thrown away: a run whose recipe or text has changed is refused by name.
"""

from minna.pipeline.judging import DuelStage, EvaluateStage, TranscribeStage
from minna.pipeline.stages import (
    CorpusStage,
    ExportStage,
    LabelStage,
    ReleaseStage,
    TokenizerStage,
    TrainStage,
)
from minna.pipeline.whole import Pipeline, Stage, load, names, resolved, run, source, until

__all__ = [
    "CorpusStage",
    "DuelStage",
    "EvaluateStage",
    "ExportStage",
    "LabelStage",
    "Pipeline",
    "ReleaseStage",
    "Stage",
    "TokenizerStage",
    "TrainStage",
    "TranscribeStage",
    "load",
    "names",
    "resolved",
    "run",
    "source",
    "until",
]
