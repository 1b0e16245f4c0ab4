"""What stages must agree about, asked before the first of them runs: some run for weeks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from minna.errors import UsageError, nearest
from minna.pipeline.stages import ExportStage, LabelStage, TrainStage

if TYPE_CHECKING:
    from minna.recipe import Recipe


def check_order(stages: Sequence[Any]) -> None:
    """Check that every stage reads what an earlier one writes.

    Raises:
        UsageError: one reads what nobody wrote, or two write the same.
    """
    written: set[str] = set()
    for stage in stages:
        for name in stage.reads():
            if name not in written:
                raise UsageError(
                    f"stage {stage.out!r} ({stage.verb}) reads {name!r}, which no earlier stage "
                    f"writes{nearest(name, written)}",
                    remedy=f"written before it: {', '.join(sorted(written)) or 'nothing'}",
                )
        if stage.out in written:
            raise UsageError(f"two stages write {stage.out!r}", remedy="give each its own out")
        written.add(stage.out)


def check_labels(stages: Sequence[Any], *, recipes: Mapping[str, Any]) -> None:
    """Check that labels are of a layer that is there, and as many and frequent as is learnt.

    Args:
        stages: of the pipeline.
        recipes: of the stages that train, by their `out`.

    Raises:
        UsageError: a stage counts on others.
    """
    by_out = {stage.out: stage for stage in stages}
    for stage in stages:
        if isinstance(stage, LabelStage) and stage.model is not None:
            exported = by_out[stage.model]
            if isinstance(exported, ExportStage) and recipes.get(exported.run_):
                _check_layer(stage, exported, recipes[exported.run_])
        if isinstance(stage, TrainStage) and stage.labels is not None:
            labels = by_out[stage.labels]
            if not isinstance(labels, LabelStage):
                raise UsageError(
                    f"stage {stage.out!r} (train) learns labels from {stage.labels!r}, which is a "
                    f"stage of {labels.verb}",
                    remedy="name a stage of label kmeans",
                )
            _check_learnt(stage, labels, recipes[stage.out])


def _check_layer(stage: LabelStage, exported: ExportStage, recipe: Recipe) -> None:
    layers: int = recipe.model.layers
    if stage.layer is not None and stage.layer > layers:
        raise UsageError(
            f"stage {stage.out!r} (label kmeans) asks for layer {stage.layer} of {stage.model}, "
            f"and {exported.run_} trains {layers}",
            remedy=f"{stage.out}.layer=N, N from 1 to {layers}; HuBERT takes the one in the middle",
        )


def _check_learnt(stage: TrainStage, labels: LabelStage, recipe: Recipe) -> None:
    clusters: int | None = getattr(recipe.objective, "clusters", None)
    rate: int | None = getattr(recipe.stream, "label_rate", None)
    for what, learnt, given, key in (
        ("clusters", clusters, labels.centres().clusters, "objective.clusters"),
        ("labels a second", rate, labels.rate, "stream.label_rate"),
    ):
        if learnt != given:
            raise UsageError(
                f"stage {stage.out!r} (train) counts on {learnt} {what}, and {labels.out!r} gives "
                f"{given}",
                remedy=f"{stage.out}.{key}={given}, or change {labels.out}",
            )
