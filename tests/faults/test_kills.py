"""kill -9 of one rank or of all, at random moments; what is left is whole, and goes on exactly."""

from __future__ import annotations

import hashlib
import json
import random
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file

from minna.artifact.verify import verify
from minna.train import checkpoint

pytestmark = pytest.mark.xdist_group("crews")
SETTINGS = ("train.save_every=3", "train.saving=background")
# in a rank: before an update, while tensors are copied, before its part is written ...
EVERY_RANK = ("step", "copy")
# ... what the first one does alone: hashing, the rename, after it, removing the oldest
FIRST_RANK = ("write", "hash", "rename", "renamed", "drop")


@dataclass
class Figures:
    """What came of so many kills."""

    kills: int = 0
    resumes: int = 0
    checkpoints: int = 0
    leftovers: int = 0


def content(folder: Path) -> dict[str, Any]:
    """All that a checkpoint holds, bit for bit, but times; it must be intact.

    By tensor: the order of tensors in the file of a part is that of the threads that wrote it.
    """
    files = verify(folder).files
    state = json.loads((folder / "state.json").read_text(encoding="utf-8"))
    state.pop("seconds")
    state["numerics"].pop("peak")  # measured by each run
    hashes = {
        f"{name}:{key}": hashlib.sha256(tensor.contiguous().view(-1).numpy().tobytes()).hexdigest()
        for name in files
        if name.endswith(".safetensors")
        for key, tensor in load_file(folder / name).items()
    }
    return hashes | state


def leftovers(run: Path) -> list[str]:
    found = [*(run / "checkpoints").glob(".*"), *run.glob(".*")]
    known = {".lock", ".tokens.lock"}
    return sorted(p.name for p in found if p.name not in known and not p.name.endswith(".lock"))


def fault_of(draw: random.Random, *, ranks: int, sharding: str, everyone: bool) -> dict[str, Any]:
    """One of ten moments, each as likely: by the clock thrice, else at a place in the code."""
    moment = draw.choice([*EVERY_RANK, *FIRST_RANK, "time", "time", "time"])
    anyone = draw.randrange(ranks)
    if moment == "time":
        who = list(range(ranks)) if everyone else [anyone]
        return {"kill": {"after": draw.uniform(0.1, 1.8), "ranks": who}}
    its = moment in EVERY_RANK or (moment == "write" and sharding == "shard")
    call = draw.randint(1, 8) if moment == "step" else draw.randint(1, 3)
    kill = {"kind": "kill", "at": moment, "call": call, "everyone": everyone}
    return {"faults": {anyone if its else 0: kill}}


def killed_again_and_again(
    crews, inputs, folder, *, ranks, sharding, kills, steps, seed
) -> Figures:
    """Kill `kills` times, each time going on by the same command; check after every one."""
    draw, figures = random.Random(seed), Figures()
    more = (*SETTINGS, f"train.steps={steps}", f"train.sharding={sharding}")
    straight = folder / "straight"
    assert crews.run(*[inputs.command(straight, *more, "train.keep=1000")] * ranks).done
    right = {path.name: content(path) for path in checkpoint.saved(straight)}
    last, number = f"step-{steps:08d}", 0
    while figures.kills < kills:
        run = folder / f"run-{number}"
        number += 1
        command = inputs.command(run, *more)
        while True:  # also a finished run that was killed is started once more
            ends = figures.kills >= kills
            everyone = figures.kills % 2 == 1
            fault = fault_of(draw, ranks=ranks, sharding=sharding, everyone=everyone)
            outcome = crews.run(*[command] * ranks, **({} if ends else fault))
            assert "hung" not in outcome.statuses, (fault, outcome)
            if ends:
                assert outcome.done, outcome.errors
            found = checkpoint.saved(run)
            for path in found:
                assert content(path) == right[path.name], (fault, path)
            figures.checkpoints += len(found)
            if outcome.done:
                break
            assert -9 in outcome.statuses, (fault, outcome)
            assert all(status in (0, 1, -9) for status in outcome.statuses), (fault, outcome)
            left = leftovers(run)
            assert all(name.endswith((".partial", ".tmp", ".dropped", ".meeting")) for name in left)
            figures.leftovers += len(left)
            figures.kills += 1
        assert checkpoint.saved(run)[-1].name == last
        assert leftovers(run) == []
    # every kill was gone on from to a checkpoint equal to the straight run's, all checked above
    figures.resumes = figures.kills
    return figures


@pytest.mark.parametrize("sharding", ["replicate", "shard"])
def test_two_ranks_killed_go_on_exactly(crews, inputs, tmp_path, sharding):
    found = killed_again_and_again(
        crews, inputs, tmp_path, ranks=2, sharding=sharding, kills=1, steps=12, seed=5
    )
    assert found.kills == found.resumes == 1


@pytest.mark.full
def test_fifty_kills_are_fifty_exact_resumes(crews, inputs, tmp_path, capsys):
    told, total = [], Figures()
    for ranks, sharding, kills in ((1, "replicate", 16), (2, "replicate", 17), (2, "shard", 17)):
        folder = tmp_path / f"{ranks}-{sharding}"
        found = killed_again_and_again(
            crews, inputs, folder, ranks=ranks, sharding=sharding, kills=kills, steps=40, seed=ranks
        )
        name = "1 rank" if ranks == 1 else f"{ranks} ranks, {sharding}"
        told.append(
            f"  {name}: {found.kills} kills, {found.checkpoints} checkpoints intact and equal"
        )
        total.kills += found.kills
        total.resumes += found.resumes
        total.checkpoints += found.checkpoints
        total.leftovers += found.leftovers
    with capsys.disabled():
        sys.stdout.write(
            f"\n{total.kills} kills: {total.resumes} exact resumes; {total.checkpoints} checkpoints "
            f"looked at, all intact and bit for bit those of an uninterrupted run; "
            f"{total.leftovers} drafts left, all cleared by the next start\n"
            + "\n".join(told)
            + "\n"
        )
    assert total.kills == total.resumes == 50
