"""kill -9 of a pipeline of speech, in any stage: the same command goes on to the same weights.

The pipeline is the one that is shipped, made tiny: recordings, k-means, HuBERT, k-means, HuBERT,
CTC, a report.
"""

from __future__ import annotations

import hashlib
import json
import random
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from tests.faults.test_kills import EVERY_RANK, FIRST_RANK
from tests.test_speech_chain import MODELS, NAME, RUNS, words, write_recordings

from minna import artifact, pipeline
from minna.train import checkpoint

pytestmark = pytest.mark.xdist_group("crews")
STAGES = ("corpus", "labels-1", "labels-2", *RUNS, *MODELS, "report")


@dataclass
class Figures:
    """What came of so many kills.

    Attributes:
        at: stage -> kills while it ran; "" between stages.
    """

    kills: int = 0
    pipelines: int = 0
    at: Counter[str] = field(default_factory=Counter[str])


@dataclass(frozen=True)
class Piped:
    """Recordings, and what a pipeline that nobody disturbs makes of them, in so many seconds."""

    talks: Path
    straight: dict[str, str]
    seconds: float

    def command(self, out: Path, saving: str = "waiting") -> list[str]:
        """The words after `minna`."""
        settings = (f"train.saving={saving}", "train.keep=2")
        more = [f"{run}.{setting}" for run in RUNS for setting in settings]
        return ["pipeline", NAME, *words(self.talks), *more, "--out", str(out)]


def content(out: Path) -> dict[str, str]:
    """Hashes of what a pipeline makes, but for times and paths: labels, weights, what is heard."""
    found: dict[str, str] = {}
    for stage in STAGES:
        assert artifact.inspect(out / stage)[1] == [], stage
    for pattern in ("labels-*/data/*.npy", "*/*.safetensors", "*/config.json"):
        for file in sorted(out.glob(pattern)):
            name = file.relative_to(out).as_posix()
            found[name] = hashlib.sha256(file.read_bytes()).hexdigest()
    assert {name.partition("/")[0] for name in found} >= {"labels-1", "labels-2", *MODELS}
    report = json.loads((out / "report" / "report.json").read_text(encoding="utf-8"))
    return found | {"report": json.dumps(report["tasks"][0]["metrics"])}


def leftovers(out: Path) -> list[str]:
    """Drafts, in the folder of the pipeline and in its runs."""
    found = [*out.glob(".*"), *out.glob("*/.*"), *out.glob("*/checkpoints/.*")]
    return sorted(path.name for path in found if not path.name.endswith("lock"))


def running(out: Path) -> str:
    """The stage that was interrupted."""
    done = {stage for stage in STAGES if (out / stage / "minna.json").is_file()}
    order = [stage.out for stage in pipeline.load(NAME).stage]
    return next((stage for stage in order if stage not in done), "")


@pytest.fixture(scope="module")
def piped(crews, tmp_path_factory) -> Piped:
    """Recordings, and what a pipeline that nobody disturbs makes of them."""
    folder = tmp_path_factory.mktemp("piped")
    made = Piped(write_recordings(folder / "talks"), {}, 0.0)
    # refused for want of recordings, after which the server has imported all
    crews.run(["pipeline", NAME, "--out", str(folder / "untold")])
    start = time.monotonic()
    outcome = crews.run(made.command(folder / "straight"))
    assert outcome.done, outcome.errors
    seconds = time.monotonic() - start
    return Piped(made.talks, content(folder / "straight"), seconds)


def killed_at(crews, piped, out, fault) -> None:
    """Run until a fault ends it."""
    outcome = crews.run(piped.command(out), faults={0: fault})
    assert outcome.statuses == [-9], (fault, outcome)


def test_a_pipeline_killed_while_labelling_and_while_training_ends_with_the_same_weights(
    crews, piped, tmp_path
):
    out = tmp_path / "out"
    labels = {"kind": "kill_at_file", "named": ".labels-2.partial/data", "call": 2}
    killed_at(crews, piped, out, labels)
    assert running(out) == "labels-2"
    assert (out / ".labels-2.partial" / "data" / "00000.npy").is_file()
    killed_at(crews, piped, out, {"kind": "kill", "at": "step", "call": 4, "everyone": False})
    assert running(out) == "hubert-run" and len(checkpoint.saved(out / "hubert-run")) == 1
    outcome = crews.run(piped.command(out))
    assert outcome.done, outcome.errors
    assert "going on from step-00000002" in outcome.errors[0]
    assert content(out) == piped.straight
    assert leftovers(out) == []


def within(stage: str, *, call: int) -> dict[str, Any]:
    """End while a stage gives a file its name."""
    named = f"/{stage}/" if stage in RUNS else f".{stage}.partial"
    return {"faults": {0: {"kind": "kill_at_file", "named": named, "call": call}}}


def drawn(draw: random.Random, *, seconds: float) -> dict[str, Any]:
    """One of many moments: by the clock, as a file gets its name, or at a place in training."""
    moment = draw.choice(["time", "time", "file", "train"])
    if moment == "time":
        return {"kill": {"after": draw.uniform(0, seconds), "ranks": [0]}}
    if moment == "file":
        return {"faults": {0: {"kind": "kill_at_file", "call": draw.randint(1, 40)}}}
    at = draw.choice([*EVERY_RANK, *FIRST_RANK])
    kill = {"kind": "kill", "at": at, "call": draw.randint(1, 8), "everyone": False}
    return {"faults": {0: kill}}


@pytest.mark.full
def test_a_pipeline_killed_anywhere_ends_with_the_same_weights(crews, piped, tmp_path, capsys):
    draw, found, wanted = random.Random(7), Figures(), 50
    order = [stage.out for stage in pipeline.load(NAME).stage]
    planned = [within(stage, call=draw.randint(1, 2)) for stage in order]  # one in each, in order
    while found.kills < wanted:
        out = tmp_path / f"out-{found.pipelines}"
        while True:
            fault = planned.pop(0) if planned else drawn(draw, seconds=piped.seconds)
            ends = found.kills >= wanted
            outcome = crews.run(piped.command(out, saving="background"), **({} if ends else fault))
            if outcome.done:
                break
            assert outcome.statuses == [-9], (fault, outcome)
            found.kills += 1
            found.at[running(out)] += 1
        assert content(out) == piped.straight
        assert leftovers(out) == []
        found.pipelines += 1
    told = ", ".join(f"{stage or 'at its end'} {count}" for stage, count in found.at.most_common())
    with capsys.disabled():
        sys.stdout.write(
            f"\n{found.kills} kills in {found.pipelines} pipelines, each ended with the labels, "
            f"weights and figures of an undisturbed one, bit for bit; killed at: {told}\n"
        )
    assert set(found.at) >= set(order)
