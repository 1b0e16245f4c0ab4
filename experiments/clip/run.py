"""Run settings.toml: locked-image tuning on emoji by three losses, photographs, a filter.

    python -m experiments.clip.run [--corpus build/emoji] [--data DIR] [--seeds 0 1]
        [--only reference,losses,filter] [--out build/experiments/clip]

What is done is not done again; a run that was stopped goes on. It prints docs/vision.md's tables.
"""

from __future__ import annotations

import argparse
import time
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from experiments.clip.world import (
    CELLS,
    cells,
    emoji_features,
    of_nearest_picture,
    photo_features,
    right_names,
    right_photos,
    shuffled,
    templates_named,
)
from minna import recipe
from minna.corpus.filter_pairs import FilterSettings, filter_pairs
from minna.export import export_run
from minna.label.clip_score import clip_score
from minna.metrics.interval import Interval
from minna.metrics.paired import mean_difference
from minna.metrics.retrieval import chance_of
from minna.metrics.roc import area_under_roc
from minna.metrics.share import share_interval
from minna.runtime.own_towers import open_own
from minna.tokenizer import train_tokenizer

SETTINGS = Path(__file__).with_name("settings.toml")
PARTS = ("reference", "losses", "filter")
HARD = CELLS[1]  # seen things by unseen renderers: enough pictures to tell models apart


class Experiment:
    """Everything that is asked of one set of places."""

    def __init__(self, given: argparse.Namespace) -> None:
        self.said = tomllib.loads(SETTINGS.read_text(encoding="utf-8"))
        self.corpus, self.out, self.data = given.corpus, given.out, given.data
        self.seeds = [s for s in self.said["seeds"] if given.seeds is None or s in given.seeds]
        self.cells = cells(self.corpus, seen=self.said["seen"], unseen=self.said["unseen"])
        self.tokenizer = train_tokenizer(
            self.corpus, out=self.out / "tokenizer", settings=recipe.load("emoji-clip").tokenizer
        )
        self._features: dict[int, np.ndarray] = {}

    def trained(
        self, name: str, *, of: str, overrides: list[str], corpus: Path | None = None
    ) -> Path:
        """Train a recipe and export it, or find it done."""
        chosen = recipe.load(of, overrides=overrides)
        run = recipe.run_recipe(
            chosen,
            corpus=corpus or self.corpus,
            tokenizer=self.tokenizer,
            out=self.out / f"{name}-run",
        )
        return export_run(run, out=self.out / name)

    def right(self, model: Path, *, pixels: int = 128) -> dict[str, np.ndarray]:
        """By cell, whether each picture got its name: first, among five, [N, 2]."""
        if pixels not in self._features:
            self._features[pixels] = emoji_features(self.corpus, pixels=pixels)
        features = self._features[pixels]
        return {name: right_names(model, features, cell) for name, cell in self.cells.items()}

    def interval(self, right: np.ndarray, cell: str) -> Interval:
        """The share that is right; pictures of one group are drawn together."""
        return share_interval(right, groups=self.cells[cell].groups)

    def reference(self) -> dict[int, dict[str, np.ndarray]]:
        """Train and ask the reference, seed by seed."""
        part = self.said["reference"]
        return {
            seed: self.right(
                self.trained(
                    f"reference-{seed}",
                    of=part["recipe"],
                    overrides=[*part["overrides"], f"train.seed={seed}"],
                ),
                pixels=96,
            )
            for seed in self.seeds
        }

    def losses(self) -> dict[str, dict[int, Path]]:
        """Train every loss with every seed."""
        part = self.said["losses"]
        return {
            loss: {
                seed: self.trained(
                    f"{loss}-{seed}", of=name, overrides=[*part["overrides"], f"train.seed={seed}"]
                )
                for seed in self.seeds
            }
            for loss, name in part["recipes"].items()
        }

    def filtered(self, seed: int) -> dict[str, Any]:
        """Score the noisy set by a model trained on it, leave the worst out, train on the rest."""
        part = self.said["filter"]
        noisy, wrong = shuffled(
            self.corpus,
            sources=self.said["seen"],
            share=part["shuffled"],
            seed=seed,
            out=self.out / f"noisy-{seed}-corpus",
        )
        more = [*part["overrides"], f"train.seed={seed}"]
        models = {
            "noisy": self.trained(f"noisy-{seed}", of=part["recipe"], overrides=more, corpus=noisy)
        }
        judge = models["noisy"]
        sidecar = self.out / f"scores-{seed}"
        clip_score(noisy, out=sidecar, towers=open_own(judge, device="cpu"), model=judge)
        kept = self.out / f"filtered-{seed}-corpus"
        filter_pairs(
            noisy, sidecar=sidecar, out=kept, settings=FilterSettings(quantile=part["dropped"])
        )
        models["filtered"] = self.trained(
            f"filtered-{seed}", of=part["recipe"], overrides=more, corpus=kept
        )
        models["clean"] = self.trained(f"clean-{seed}", of=part["recipe"], overrides=more)
        return {
            "auc": _auc(sidecar, noisy, wrong),
            "right": {name: self.right(model) for name, model in models.items()},
        }


def main() -> None:
    """Train, ask, judge, print."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--corpus", type=Path, default=Path("build/emoji"))
    options.add_argument("--out", type=Path, default=Path("build/experiments/clip"))
    options.add_argument("--data", type=Path, default=Path("../shared/data"))
    options.add_argument("--seeds", type=int, nargs="*", help="of settings.toml's, only these")
    options.add_argument("--only", default=",".join(PARTS), help="parts, with commas")
    given = options.parse_args()
    start = time.monotonic()
    experiment = Experiment(given)
    wanted = given.only.split(",")
    verdicts: dict[str, dict[int, bool]] = {}
    print(f"pictures: {_sizes(experiment)}\n")
    reference = experiment.reference() if {"reference", "losses"} & set(wanted) else {}
    if reference:
        print(_cells_table(experiment, {"reference": reference}), "\n")
    if "losses" in wanted:
        models = experiment.losses()
        right = {
            loss: {seed: experiment.right(model) for seed, model in by_seed.items()}
            for loss, by_seed in models.items()
        }
        print(_cells_table(experiment, {"reference": reference} | right), "\n")
        verdicts |= _about_losses(experiment, reference, right)
        verdicts["templates"] = _photos(experiment, models)
    if "filter" in wanted:
        verdicts |= _filter(experiment)
    for name, holds in verdicts.items():
        verdict = "shown" if all(holds.values()) else "not shown"
        seeds = ", ".join(f"{seed}: {'yes' if one else 'no'}" for seed, one in holds.items())
        print(f"- {verdict}: {experiment.said['claims'][name]} ({seeds})")
    print(f"\n{(time.monotonic() - start) / 60:.0f} minutes, what was there already not counted")


def _sizes(experiment: Experiment) -> str:
    return "; ".join(
        f"{name}: {len(cell.names)} of {len(set(cell.names))} names"
        for name, cell in experiment.cells.items()
    )


def _told(interval: Interval) -> str:
    return f"{100 * interval.value:.1f} ({100 * interval.low:.1f} to {100 * interval.high:.1f})"


def _cells_table(experiment: Experiment, right: dict[str, dict[int, dict[str, np.ndarray]]]) -> str:
    """Thing, renderer: share of pictures whose nearest name is their own, per cent; top five."""
    lines = ["| | " + " | ".join(f"{cell}: top 1 | top 5" for cell in CELLS) + " |"]
    lines.append("|---" * (2 * len(CELLS) + 1) + "|")
    for name, by_seed in right.items():
        for seed, by_cell in by_seed.items():
            shown = [
                f"{_told(experiment.interval(by_cell[cell][:, 0], cell))} | "
                f"{100 * by_cell[cell][:, 1].mean():.1f}"
                for cell in CELLS
            ]
            lines.append(f"| {name}, seed {seed} | " + " | ".join(shown) + " |")
    chance = [
        f"{100 * chance_of(1, among=len(set(cell.names)), at=k):.1f}"
        for cell in experiment.cells.values()
        for k in (1, 5)
    ]
    lines.append("| chance | " + " | ".join(chance) + " |")
    pictures = emoji_features(experiment.corpus, pixels=128)
    known = experiment.cells[CELLS[0]]
    nearest = _told(of_nearest_picture(pictures, experiment.cells[HARD], known))
    lines.append(f"| nearest picture of seen renderers, no text | | | {nearest} | | | | | |")
    return "\n".join(lines)


def _about_losses(
    experiment: Experiment,
    reference: dict[int, dict[str, np.ndarray]],
    right: dict[str, dict[int, dict[str, np.ndarray]]],
) -> dict[str, dict[int, bool]]:
    groups = experiment.cells[HARD].groups
    unseen = experiment.cells[CELLS[3]]
    chance = 1 / len(set(unseen.names))
    found: dict[str, dict[int, bool]] = {"reference": {}, "unseen": {}, "cloob": {}}
    for seed in experiment.seeds:
        better = [
            mean_difference(reference[seed][HARD][:, 0], one[seed][HARD][:, 0], groups=groups).low
            for one in right.values()
        ]
        found["reference"][seed] = min(better) > 0
        lows = [
            experiment.interval(one[seed][CELLS[3]][:, 0], CELLS[3]).low for one in right.values()
        ]
        found["unseen"][seed] = min(lows) > chance
        apart = mean_difference(
            right["clip"][seed][HARD][:, 0], right["cloob"][seed][HARD][:, 0], groups=groups
        )
        found["cloob"][seed] = apart.low > 0
        print(
            f"seed {seed}: CLOOB less CLIP, {HARD}: {100 * apart.value:.1f} points "
            f"({100 * apart.low:.1f} to {100 * apart.high:.1f})"
        )
    print()
    return found


def _photos(experiment: Experiment, models: dict[str, dict[int, Path]]) -> dict[int, bool]:
    """Print the table of photographs; say where templates helped every loss."""
    place = experiment.data / "tiny-imagenet"
    features, labels = photo_features(place / "val.tar", pixels=128)
    kinds = experiment.said["photos"]["templates"]
    print("| photographs, 200 classes: top 1 | " + " | ".join(kinds) + " |")
    print("|---" * (len(kinds) + 1) + "|")
    helped: dict[int, bool] = dict.fromkeys(experiment.seeds, True)
    for loss, by_seed in models.items():
        for seed, model in by_seed.items():
            towers = open_own(model, device="cpu")
            right = {
                kind: right_photos(
                    towers,
                    features,
                    labels,
                    names=place / "classes.ja.tsv",
                    templates=templates_named(kind, data=experiment.data),
                )
                for kind in kinds
            }
            shown = [_told(share_interval(one)) for one in right.values()]
            print(f"| {loss}, seed {seed} | " + " | ".join(shown) + " |")
            gain = mean_difference(right["none"], right["photos"])
            helped[seed] = helped[seed] and gain.low > 0
    print("| chance | " + " | ".join(["0.5"] * len(kinds)) + " |\n")
    return helped


def _filter(experiment: Experiment) -> dict[str, dict[int, bool]]:
    found = {seed: experiment.filtered(seed) for seed in experiment.seeds}
    tables = {
        f"{name}": {seed: one["right"][name] for seed, one in found.items()}
        for name in ("clean", "noisy", "filtered")
    }
    print(_cells_table(experiment, tables), "\n")
    groups = experiment.cells[HARD].groups
    better: dict[int, bool] = {}
    for seed, one in found.items():
        right = one["right"]
        gain = mean_difference(
            right["noisy"][HARD][:, 0], right["filtered"][HARD][:, 0], groups=groups
        )
        better[seed] = gain.low > 0
        print(
            f"seed {seed}: AUC {one['auc']:.3f}; filtered less noisy, {HARD}: "
            f"{100 * gain.value:.1f} points ({100 * gain.low:.1f} to {100 * gain.high:.1f})"
        )
    print()
    return {"auc": {seed: one["auc"] > 0.8 for seed, one in found.items()}, "filter": better}


def _auc(sidecar: Path, corpus: Path, wrong: set[str]) -> float:
    """Chance that a picture with its own captions scores above one with another's."""
    table = pq.read_table(sidecar / "data").to_pylist()
    train = {
        row["id"]
        for file in sorted((corpus / "data").glob("*.parquet"))
        for row in pq.read_table(file, columns=["id", "split"]).to_pylist()
        if row["split"] == "train"
    }
    scores = {row["id"]: row["scores"][row["best"]] for row in table if row["id"] in train}
    true = np.asarray([score for name, score in scores.items() if name not in wrong])
    false = np.asarray([score for name, score in scores.items() if name in wrong])
    return area_under_roc(true, false)


if __name__ == "__main__":
    main()
