"""Run settings.toml: HuBERT of two languages or none, tuned on few labels or many.

    python -m experiments.speech.run [--data DIR] [--seeds 0] [--only none,en,en-one,ja-1,ja]
        [--out build/experiments/speech]

What is done is not done again; a run that was stopped goes on. It prints docs/speech.md's tables.
"""

from __future__ import annotations

import argparse
import time
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from experiments.speech.world import Gains, corpora, gains_of, gap_of, judged, part
from minna import artifact, recipe
from minna.errors import UsageError
from minna.evaluate.report import Metric, read_report
from minna.evaluate.speech import RecognitionSettings, evaluate_recognition
from minna.evaluate.speech_measures import PHONES, PHONES_AND_BOUNDARIES, WORDS
from minna.evaluate.subject import open_subject
from minna.export import export_run
from minna.label.frame_features import Mfcc
from minna.label.kmeans import KmeansSettings, label_kmeans, label_layer
from minna.label.kmeans_report import KmeansReport
from minna.metrics.interval import Interval
from minna.runtime.speech import open_recogniser

SETTINGS = Path(__file__).with_name("settings.toml")
MODELS: Final = {
    "none": ("", 0),
    "en": ("en", 2),
    "en-one": ("en-one", 2),
    "ja-1": ("ja", 1),
    "ja": ("ja", 2),
}
"""What a recogniser begins from: the language and iteration of HuBERT."""
NAMES: Final = {
    "none": "no pre-training",
    "en": "English, 30 voices",
    "en-one": "English, one voice",
    "ja-1": "Japanese, first iteration",
    "ja": "Japanese",
}
SETS: Final = {"test": "synthetic", "real": "recorded"}
"""Sentences by pseudo-speakers that nothing was trained on; words by people."""
RATES: Final = {WORDS: "WER", PHONES: "PER", PHONES_AND_BOUNDARIES: "PER and boundaries"}
Reports = dict[tuple[str, float], dict[str, dict[int, Path]]]
"""(model, minutes) -> what is asked -> seed -> report."""


class Experiment:
    """Everything that is labelled, trained and asked.

    Args:
        said: settings.toml.
        places: the corpora ja, en, en-one and real.
        out: where all goes.
    """

    def __init__(self, said: dict[str, Any], *, places: Mapping[str, Path], out: Path) -> None:
        self.said, self.out = said, out
        heard, told = said["parts"]["heard"], said["parts"]["told"]
        self.heard = {
            name: part(places[name], **heard, out=out / f"{name}-heard")
            for name in ("ja", "en", "en-one")
        }
        self.told = part(places["ja"], **told, behind=self.heard["ja"], out=out / "ja-told")
        self.asked = {"test": (self.told, "test"), "real": (places["real"], said["parts"]["real"])}
        self.labels: dict[str, KmeansReport] = {}
        self.seconds: dict[tuple[str, str], float] = {}
        self._encoders: dict[tuple[str, int], Path] = {}

    def reports(self, model: str, minutes: float, seed: int) -> dict[str, Path]:
        """Train a recogniser and hear it on everything, or find that done."""
        tune, name = self.said["tune"], f"{model}-{minutes:g}-{seed}"
        language, iteration = MODELS[model]
        steps = tune["steps"][f"{minutes:g}"]
        more = [*tune["overrides"], f"train.steps={steps}"]
        more += [f"stream.minutes={minutes:g}", f"train.seed={seed}"]
        if language:
            more += tune["pretrained"]
            more.append(f"init.from={self.encoder(language, iteration).as_posix()}")
        else:
            more += tune["none"]
        tuned = self._trained(
            name, of=tune["recipe"], overrides=more, corpus=self.told, stage="tuning"
        )
        found: dict[str, Path] = {}
        for asked, (data, split) in self.asked.items():
            found[asked] = evaluate_recognition(
                open_recogniser(tuned, device="cpu"),
                model=open_subject(tuned).parent,
                data=data,
                out=self.out / "reports" / f"{name}-{asked}",
                settings=RecognitionSettings(split=split, beam=self.said["beam"]),
            )
            self._count("evaluation", found[asked])
        return found

    def encoder(self, language: str, iteration: int) -> Path:
        """Label and pre-train, one iteration after the other."""
        if (language, iteration) in self._encoders:
            return self._encoders[language, iteration]
        pretrain = self.said["pretrain"]
        labels = self._labels(language, iteration)
        overrides = [
            *pretrain["overrides"],
            f"stream.labels={labels.path.as_posix()}",
            f"stream.label_rate={labels.rate}",
            f"objective.clusters={labels.clusters}",
        ]
        self._encoders[language, iteration] = self._trained(
            f"{language}-{iteration}",
            of=pretrain["first" if iteration == 1 else "second"],
            overrides=overrides,
            corpus=self.heard[language],
            stage="pre-training",
        )
        return self._encoders[language, iteration]

    def _labels(self, language: str, iteration: int) -> KmeansReport:
        """What an iteration learns: clusters of cepstra, then of a layer of the one before."""
        said, heard = self.said["labels"], self.heard[language]
        out = self.out / f"labels-{language}-{iteration}"
        settings = KmeansSettings(**said["mfcc" if iteration == 1 else "layer"])
        if iteration == 1:
            found = label_kmeans(heard, features=Mfcc(), out=out, settings=settings)
        else:
            given = {"folder": self.encoder(language, iteration - 1), "layer": said["number"]}
            found = label_layer(heard, **given, device="cpu", out=out, settings=settings)
        self.labels[f"{NAMES[language]}, {found.features}"] = found
        self._count("labels", out)
        return found

    def _trained(
        self, name: str, *, of: str, overrides: list[str], corpus: Path, stage: str
    ) -> Path:
        """Train a recipe and export it, or find it done."""
        run = self.out / "runs" / name
        own = run / recipe.OWN_TOKENIZER
        recipe.run_recipe(
            recipe.load(of, overrides=overrides), corpus=corpus, tokenizer=own, out=run
        )
        self._count(stage, run)
        return export_run(run, out=self.out / "models" / name)

    def _count(self, stage: str, place: Path) -> None:
        self.seconds[stage, place.name] = artifact.read_manifest(place).wall_seconds


def main() -> None:
    """Build, label, train, ask, judge, print."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--out", type=Path, default=Path("build/experiments/speech"))
    options.add_argument("--data", type=Path, default=Path("../shared/data"))
    options.add_argument("--seeds", type=int, nargs="*", help="of settings.toml's, only these")
    options.add_argument("--only", default=",".join(MODELS), help="models, with commas")
    given = options.parse_args()
    said = tomllib.loads(SETTINGS.read_text(encoding="utf-8"))
    places = corpora(said["corpora"], data=given.data, out=given.out)
    wanted = chosen(given.only)
    start = time.monotonic()
    experiment = Experiment(said, places=places, out=given.out)
    seeds = [seed for seed in said["seeds"] if given.seeds is None or seed in given.seeds]
    found = asked_all(experiment, wanted, seeds=seeds)
    print(told(experiment, found))
    minutes = (time.monotonic() - start) / 60
    print(f"\n{minutes:.0f} minutes, corpora and what was there already not counted")


def chosen(words: str) -> list[str]:
    """Models by name.

    Raises:
        UsageError: there is no such model.
    """
    wanted = words.split(",")
    if unknown := [name for name in wanted if name not in MODELS]:
        raise UsageError(
            f"--only has no {', '.join(unknown)}", remedy=f"name some of {', '.join(MODELS)}"
        )
    return [name for name in MODELS if name in wanted]


def asked_all(experiment: Experiment, models: Sequence[str], *, seeds: Sequence[int]) -> Reports:
    """Reports of all models, few labels first."""
    found: Reports = {}
    for minutes in experiment.said["minutes"]:
        for model in models:
            by_set = found.setdefault((model, minutes), {asked: {} for asked in SETS})
            for seed in seeds:
                for asked, report in experiment.reports(model, minutes, seed).items():
                    by_set[asked][seed] = report
    return found


def told(experiment: Experiment, found: Reports) -> str:
    """All tables and verdicts."""
    said = experiment.said
    gains = {
        (asked, rate): gains_of(_of_set(found, asked), rate) for asked in SETS for rate in RATES
    }
    deciding = [(asked, rate) for asked, rates in said["decided"].items() for rate in rates]
    more = {
        key: gap_of(_of_set(found, key[0]), key[1], minutes=said["minutes"]) for key in deciding
    }
    verdicts = {key: judged(gains[key], more[key]) for key in deciding}
    return "\n\n".join(
        [
            *([labels_table(experiment.labels)] if experiment.labels else []),
            errors_table(found),
            gains_table(gains, paper=said["paper"]),
            *([more_line(more)] if any(more.values()) else []),
            verdict_lines(verdicts, said["claims"]),
            costs_line(experiment.seconds),
        ]
    )


def _of_set(found: Reports, asked: str) -> dict[tuple[str, float], list[Path]]:
    return {key: list(by_set[asked].values()) for key, by_set in found.items()}


def labels_table(labels: Mapping[str, KmeansReport]) -> str:
    """What HuBERT learned to say; English has no phones to compare with."""
    lines = ["| labels | clusters used | PNMI | phone purity |", "|---|---|---|---|"]
    for name, one in labels.items():
        fits = one.agreement
        shown = f"{fits.pnmi:.3f} | {fits.phone_purity:.3f}" if fits else "- | -"
        lines.append(f"| {name} | {one.used} of {one.clusters} | {shown} |")
    return "\n".join(lines)


def errors_table(found: Reports) -> str:
    """A row for each model, number of minutes and seed, per cent."""
    head = [_column(asked, rate) for asked in SETS for rate in RATES]
    lines = [f"| model | labels | seed | {' | '.join(head)} |"]
    lines.append("|---" * (len(head) + 3) + "|")
    for (model, minutes), by_set in found.items():
        for seed in by_set["test"]:
            figures = [
                _metric(read_report(by_set[asked][seed]).tasks[0].metrics[rate])
                for asked in SETS
                for rate in RATES
            ]
            shown = " | ".join(figures)
            lines.append(f"| {NAMES[model]} | {minutes:g} min | {seed} | {shown} |")
    return "\n".join(lines)


def gains_table(
    gains: Mapping[tuple[str, str], Gains], *, paper: Mapping[str, Sequence[float]]
) -> str:
    """Share of the errors that the better model saves, per cent, beside the paper's."""
    lines = ["| relative gain | labels | " + " | ".join(_column(*key) for key in gains) + " |"]
    lines.append("|---" * (len(gains) + 2) + "|")
    for worse, better, minutes in next(iter(gains.values())):
        shown = " | ".join(_share(one[worse, better, minutes]) for one in gains.values())
        lines.append(f"| {NAMES[better]} over {NAMES[worse]} | {minutes:g} min | {shown} |")
    empty = " | " * (len(gains) - 1)
    for labels, figures in paper.items():
        three = " / ".join(f"{one:g}" for one in figures)
        lines.append(f"| paper: Japanese over English | {labels} | {three}{empty} |")
    return "\n".join(lines)


def more_line(more: Mapping[tuple[str, str], Interval | None]) -> str:
    """How much more is gained with few labels, in points."""
    shown = [f"{_column(*key)} {_share(one)}" for key, one in more.items() if one is not None]
    return "Gain with few labels less that with many, points: " + "; ".join(shown)


def verdict_lines(
    verdicts: Mapping[tuple[str, str], Mapping[str, Mapping[str, bool]]], claims: Mapping[str, str]
) -> str:
    """Each claim, and by which figures it is shown."""
    lines: list[str] = []
    for name, claim in claims.items():
        shown: list[str] = []
        for key, by_claim in verdicts.items():
            if holds := by_claim[name]:
                verdict = "shown" if all(holds.values()) else "not shown"
                each = ", ".join(f"{of}: {'yes' if one else 'no'}" for of, one in holds.items())
                shown.append(f"{verdict} by {_column(*key)} ({each})")
        lines.append(f"- {claim}: {'; '.join(shown) or 'not asked'}")
    return "\n".join(lines)


def costs_line(seconds: Mapping[tuple[str, str], float]) -> str:
    """What everything took when it was done, in minutes."""
    stages = list(dict.fromkeys(stage for stage, _ in seconds))
    parts = []
    for stage in stages:
        own = [one for (of, _), one in seconds.items() if of == stage]
        parts.append(f"{stage} {sum(own) / 60:.1f} ({len(own)})")
    return f"minutes (and how many): {', '.join(parts)}; {sum(seconds.values()) / 60:.0f} in all"


def _column(asked: str, rate: str) -> str:
    return f"{SETS[asked]} {RATES[rate]}"


def _metric(one: Metric) -> str:
    assert one.low is not None and one.high is not None, "rates of error have intervals"
    return f"{one.value:.1f} [{one.low:.1f}, {one.high:.1f}]"


def _share(one: Interval) -> str:
    return f"{100 * one.value:.1f} [{100 * one.low:.1f}, {100 * one.high:.1f}]"


if __name__ == "__main__":
    main()
