"""What goes wrong with one rank of two: every rank ends in time, says why, and nothing is lost."""

from __future__ import annotations

import dataclasses
import json
import os
import re

import pytest
from filelock import FileLock
from tests.faults.test_kills import content, leftovers
from tests.toy_chain import make_corpus

import minna
from minna.artifact import manifest
from minna.artifact.manifest import read_manifest, write_manifest
from minna.train import checkpoint
from minna.train.log import read_log

pytestmark = pytest.mark.xdist_group("crews")
full = pytest.mark.full
BOTH = pytest.mark.parametrize("sharding", ["replicate", "shard"])
# the other one is long
COPIES = pytest.mark.parametrize("sharding", ["replicate", pytest.param("shard", marks=full)])


def last(run):
    return checkpoint.saved(run)[-1].name


def ends_badly(outcome):
    return all(status == 1 for status in outcome.statuses)


@BOTH
@pytest.mark.parametrize("kind", ["nan", pytest.param("inf", marks=pytest.mark.full)])
def test_a_gradient_of_one_rank_that_is_not_finite_stops_all_before_the_update(
    crews, inputs, tmp_path, kind, sharding
):
    command = inputs.command(tmp_path / "run", f"train.sharding={sharding}")
    outcome = crews.run(command, command, faults={1: {"kind": kind, "step": 6}})
    assert ends_badly(outcome), outcome
    assert all("at step 6" in text for text in outcome.errors)
    assert last(tmp_path / "run") == "step-00000004"
    checkpoint.verify(checkpoint.saved(tmp_path / "run")[-1])
    assert leftovers(tmp_path / "run") == []  # what was being written then has been finished


@COPIES
def test_a_rank_that_hangs_ends_all_with_their_stacks_on_disk(crews, inputs, tmp_path, sharding):
    run = tmp_path / "run"
    command = inputs.command(run, f"train.sharding={sharding}", "train.hang_seconds=4")
    outcome = crews.run(command, command, faults={1: {"kind": "hang", "step": 6}})
    assert ends_badly(outcome), outcome
    assert "take_step" in (run / "hang-rank-0.txt").read_text(encoding="utf-8")
    assert "inject.py" in (run / "hang-rank-1.txt").read_text(encoding="utf-8")
    assert last(run) == "step-00000004"
    command = inputs.command(run, f"train.sharding={sharding}")
    assert crews.run(command, command).done
    assert not list(run.glob("hang-*"))


@pytest.mark.parametrize("first", [0, pytest.param(1, marks=full)])
def test_a_rank_that_never_starts_is_waited_for_so_long_and_named(crews, inputs, tmp_path, first):
    command = inputs.command(tmp_path / "run", "train.hang_seconds=2")
    outcome = crews.run(command, world=2, first=first)
    assert outcome.statuses == [1]
    assert re.search(rf"rank {first} waited \d+ s for 2 ranks", outcome.errors[0])
    assert "--nproc-per-node" in outcome.errors[0]


@pytest.mark.parametrize("call", [1, pytest.param(2, marks=full)])
def test_a_rank_that_dies_where_the_ranks_meet_is_not_waited_for(crews, inputs, tmp_path, call):
    command = inputs.command(tmp_path / "run", "train.hang_seconds=3")
    dies = {"kind": "kill", "at": "group", "call": call, "everyone": False}
    outcome = crews.run(command, command, faults={1: dies})
    assert outcome.statuses == [1, -9], outcome.errors
    assert "error: " in outcome.errors[0]


def test_ranks_with_another_recipe_corpus_code_or_place_are_refused_by_name(
    crews, inputs, tmp_path
):
    run = tmp_path / "run"
    command = inputs.command(run)
    other = make_corpus(tmp_path / "other", seed=1, count=600)
    wrong = {
        "the recipe of rank 1": (inputs.command(run, "optim.lr=1e-3"), None),
        "the corpus of rank 1": (inputs.command(run, corpus=other), None),
        "minna's code of rank 1": (command, {1: {"kind": "code"}}),
        "(which all must share) of rank 1": (inputs.command(tmp_path / "else"), None),
    }
    for words, (theirs, faults) in wrong.items():
        outcome = crews.run(command, theirs, faults=faults)
        assert ends_badly(outcome), (words, outcome)
        assert all(f"{words} is not that of rank 0" in text for text in outcome.errors), outcome
    assert crews.run(command, command).done


def test_a_changed_source_file_is_other_code(tmp_path, monkeypatch):
    before = manifest.code_digest()
    for text in ("a = 1\n", "a = 2\n"):
        (tmp_path / "__init__.py").write_text(text, encoding="utf-8")
        monkeypatch.setattr(minna, "__file__", str(tmp_path / "__init__.py"))
        assert manifest.code_digest() != before
        before = manifest.code_digest()


@pytest.mark.parametrize("rank", [1, pytest.param(0, marks=full)])
def test_a_file_that_the_system_refuses_stops_all_and_nothing_half_written_counts(
    crews, inputs, tmp_path, rank
):
    run = tmp_path / "run"
    # in the background, the fourth step's checkpoint may still be on its way in the sixth
    more = ("train.sharding=shard", "train.saving=waiting", "model.width=64")
    command = inputs.command(run, *more)
    outcome = crews.run(command, command, faults={rank: {"kind": "full", "step": 6}})
    assert ends_badly(outcome), outcome
    assert any("cannot write" in text for text in outcome.errors), outcome
    assert last(run) == "step-00000004"
    assert crews.run(command, command).done
    assert last(run) == "step-00000012" and leftovers(run) == []


@full
@BOTH
def test_one_rank_that_is_told_to_stop_stops_all_after_the_same_step(
    crews, inputs, tmp_path, sharding
):
    run, straight = tmp_path / "run", tmp_path / "straight"
    more = f"train.sharding={sharding}"
    command = inputs.command(run, more)
    outcome = crews.run(command, command, faults={1: {"kind": "sigterm", "step": 6}})
    assert outcome.statuses == [130, 130], outcome
    assert last(run) == "step-00000006"
    assert crews.run(command, command).done
    assert crews.run(*[inputs.command(straight, more)] * 2).done
    assert content(run / "checkpoints" / last(run)) == content(
        straight / "checkpoints" / last(straight)
    )


def test_under_torchrun_a_signal_that_comes_twice_is_one(crews, inputs, tmp_path, monkeypatch):
    from minna.train.loop import _StopSignal

    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "none")
    stop = _StopSignal()
    for _ in range(3):
        stop(15, None)
    assert stop.received
    monkeypatch.delenv("TORCHELASTIC_RUN_ID")
    stop = _StopSignal()
    stop(15, None)
    with pytest.raises(KeyboardInterrupt):
        stop(15, None)


def test_an_error_of_one_rank_ends_the_other(crews, inputs, tmp_path):
    command = inputs.command(tmp_path / "run")
    outcome = crews.run(command, command, faults={1: {"kind": "raise", "step": 6}})
    assert ends_badly(outcome), outcome
    assert "another rank of this run is gone" in outcome.errors[0]
    assert last(tmp_path / "run") == "step-00000004"


@full
def test_damaged_and_missing_shards_are_named_and_the_checkpoint_before_is_used(
    crews, inputs, tmp_path
):
    run = tmp_path / "run"
    command = inputs.command(run, "train.sharding=shard")
    assert crews.run(command, command).done
    right = content(checkpoint.saved(run)[-1])

    def flip(file):
        raw = bytearray(file.read_bytes())
        raw[-3] ^= 4
        file.write_bytes(raw)

    harms = {
        "has changed": flip,
        "bytes, not": lambda file: os.truncate(file, file.stat().st_size // 2),
        "is missing": lambda file: file.unlink(),
    }
    for words, harm in harms.items():
        (run / "minna.json").unlink()
        name = "shard-00002-model-00001-of-00001.safetensors"
        harm(checkpoint.saved(run)[-1] / name)
        outcome = crews.run(command, command)
        assert outcome.done, outcome
        said = " ".join(outcome.errors[0].split())
        assert name in said and words in said, said
        assert "going on from step-00000008" in said
        assert content(checkpoint.saved(run)[-1]) == right


@full
def test_other_versions_are_told_and_the_run_goes_on(crews, inputs, tmp_path):
    run = tmp_path / "run"
    command = inputs.command(run)
    crews.run(command, command, faults={0: {"kind": "sigterm", "step": 5}})
    newest = checkpoint.saved(run)[-1]
    before = read_manifest(newest)
    changed = before.model_copy(update={"versions": {**before.versions, "torch": "1.0"}})
    write_manifest(newest, changed)
    outcome = crews.run(command, command)
    assert outcome.done
    assert "was written by other versions: torch 1.0, now" in outcome.errors[0]


@full
def test_two_crews_in_one_directory_one_trains_and_the_other_is_refused(crews, inputs, tmp_path):
    command = inputs.command(tmp_path / "run", "train.steps=25")
    slow = {rank: {"kind": "slow", "seconds": 0.1} for rank in range(4)}
    outcomes = crews.beside([[command] * 2, [command] * 2], faults=slow)
    (good,) = [outcome for outcome in outcomes if outcome.done]
    (bad,) = [outcome for outcome in outcomes if outcome is not good]
    assert ends_badly(bad), bad
    assert "another process is training" in "".join(bad.errors)
    assert checkpoint.newest_good(tmp_path / "run").name == "step-00000025"


def test_a_directory_that_is_held_is_left_alone(crews, inputs, tmp_path):
    run = tmp_path / "run"
    run.mkdir()
    with FileLock(run / ".lock"):
        outcome = crews.run(*[inputs.command(run)] * 2)
    assert ends_badly(outcome) and "another process is training" in outcome.errors[0]
    assert "rank 0 stopped, so rank 1 does" in outcome.errors[1]
    assert [path.name for path in run.iterdir()] == [".lock"]


@full
@pytest.mark.parametrize("seconds", [-1e8, 1e8])
def test_a_clock_that_jumps_changes_nothing(crews, inputs, tmp_path, seconds):
    run, straight = tmp_path / "run", tmp_path / "straight"
    jump = {"kind": "clock", "step": 3, "seconds": seconds}
    stops = {0: {"kind": "sigterm", "step": 6}, 1: jump}
    command = inputs.command(run)
    crews.run(command, command, faults=stops)
    assert crews.run(command, command, faults={0: jump, 1: jump}).done
    assert crews.run(*[inputs.command(straight)] * 2).done
    for name in ("step-00000008", "step-00000012"):
        assert content(run / "checkpoints" / name) == content(straight / "checkpoints" / name)


@full
def test_a_clock_that_jumps_takes_no_time_of_a_run_by_minutes(crews, inputs, tmp_path):
    run = tmp_path / "run"
    command = inputs.command(run, "train.minutes=0.02", "train.steps=100000")
    jump = {"kind": "clock", "step": 3, "seconds": 1e8}
    assert crews.run(command, command, faults={0: jump, 1: jump}).done
    steps = [entry for entry in read_log(run) if entry["event"] == "train"]
    assert len(steps) > 3
    assert 1.2 <= steps[-1]["seconds"] < 60
    scales = [entry["lr_scale"] for entry in steps]
    assert scales[-1] < max(scales)


@full
def test_a_checkpoint_of_four_parts_goes_on_on_two_ranks_and_alone(crews, inputs, tmp_path):
    run = tmp_path / "run"
    shard = inputs.command(run, "train.sharding=shard", "train.micro_batch_rows=1")
    crews.run(*[shard] * 4, faults={3: {"kind": "sigterm", "step": 5}})
    newest = checkpoint.saved(run)[-1]
    assert json.loads((newest / "state.json").read_text(encoding="utf-8"))["ranks"] == 4
    assert len(list(newest.glob("*.safetensors"))) == 4
    crews.run(*[shard] * 2, faults={1: {"kind": "sigterm", "step": 3}})
    assert last(run) == "step-00000008"
    assert crews.run(inputs.command(run)).done
    assert last(run) == "step-00000012"
    assert dataclasses.asdict(checkpoint.progress_of(checkpoint.saved(run)[-1]))["step"] == 12
