"""What goes wrong in training, and what must not be lost then."""

from __future__ import annotations

import errno
import subprocess
import sys

import pytest
import torch
from filelock import FileLock
from tests.toys import same_bits, toy_parts, weights
from tests.train.test_invariants import settings, train

from minna.errors import ArtifactError, TrainingError
from minna.train import checkpoint, state
from minna.train.loop import sole_user
from minna.train.precision import Numerics
from minna.train.protocols import Evaluation

EAGER = Numerics(device="cpu", precision="fp32", compile="off", peak=1e11)


def test_a_nan_stops_naming_the_step_and_keeps_the_last_good_checkpoint(tmp_path):
    parts = toy_parts()
    calls = {"n": 0}
    original = parts.objective.loss

    def poisoned(model, batch):
        calls["n"] += 1
        sums, figures = original(model, batch)
        return (
            {"next_token": sums["next_token"] * float("nan")} if calls["n"] == 6 else sums
        ), figures

    parts.objective.loss = poisoned
    with pytest.raises(TrainingError, match="step 6"):
        train(parts, settings=settings(), numerics=EAGER, run=tmp_path)
    good = checkpoint.newest_good(tmp_path)
    assert good is not None and good.name == "step-00000004"
    done = train(toy_parts(), settings=settings(), numerics=EAGER, run=tmp_path)
    assert done.step == 12
    assert all(
        torch.isfinite(t).all()
        for t in checkpoint.load_model_state(checkpoint.saved(tmp_path)[-1]).values()
    )


def test_a_flipped_byte_in_the_newest_checkpoint_is_named_and_the_one_before_is_used(
    tmp_path, capsys
):
    straight = toy_parts()
    train(straight, settings=settings(), numerics=EAGER, run=tmp_path)
    newest = checkpoint.saved(tmp_path)[-1]
    file = newest / "model.safetensors"
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    good = checkpoint.newest_good(tmp_path)
    assert good is not None and good.name == "step-00000008"
    assert "step-00000012" in capsys.readouterr().err
    again = toy_parts()
    train(again, settings=settings(), numerics=EAGER, run=tmp_path)
    assert same_bits(weights(straight), weights(again))
    assert checkpoint.newest_good(tmp_path) == newest


def test_when_every_checkpoint_is_damaged_nothing_is_overwritten(tmp_path):
    train(toy_parts(), settings=settings(), numerics=EAGER, run=tmp_path)
    for folder in checkpoint.saved(tmp_path):
        (folder / "optimiser.safetensors").unlink()
    with pytest.raises(TrainingError, match="none of the 2 checkpoints"):
        train(toy_parts(), settings=settings(), numerics=EAGER, run=tmp_path)
    assert len(checkpoint.saved(tmp_path)) == 2


def test_a_checkpoint_of_another_shape_is_refused(tmp_path):
    train(toy_parts(), settings=settings(), numerics=EAGER, run=tmp_path)
    with pytest.raises(TrainingError, match="does not fit this recipe"):
        train(toy_parts(family="gpt2"), settings=settings(steps=20), numerics=EAGER, run=tmp_path)


def test_two_runs_in_one_directory_are_refused(tmp_path):
    holder = FileLock(tmp_path / ".lock")
    with holder, pytest.raises(TrainingError, match="another process"), sole_user(tmp_path):
        pass


def test_a_full_disk_while_saving_keeps_the_checkpoint_before(tmp_path, monkeypatch):
    real = state.save_tensors
    calls = {"n": 0}

    def full(tensors, path):
        calls["n"] += 1
        if calls["n"] == 5:
            path.write_bytes(b"half")
            raise OSError(errno.ENOSPC, "No space left on device")
        real(tensors, path)

    monkeypatch.setattr(state, "save_tensors", full)
    with pytest.raises(ArtifactError, match="disk is full"):
        train(toy_parts(), settings=settings(), numerics=EAGER, run=tmp_path)
    good = checkpoint.newest_good(tmp_path)
    assert good is not None and good.name == "step-00000004"
    straight = toy_parts()
    train(straight, settings=settings(), numerics=EAGER, run=tmp_path / "straight")
    resumed = toy_parts()
    train(resumed, settings=settings(), numerics=EAGER, run=tmp_path)
    assert same_bits(weights(straight), weights(resumed))


def test_a_disk_that_is_really_full_is_said_so(tmp_path):
    """A file-size limit makes the operating system itself refuse the write inside safetensors."""
    resource = pytest.importorskip("resource")
    code = (
        "import resource, signal, sys, torch\n"
        "from pathlib import Path\n"
        "from minna.artifact.tensors import save_tensors\n"
        "from minna.errors import ArtifactError\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        "try: save_tensors({'x': torch.zeros(100_000)}, Path(sys.argv[1]) / 'x.safetensors')\n"
        "except ArtifactError as error: print('said:', error.rule)\n"
    )
    del resource
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True
    )
    assert "said: cannot write" in done.stdout or "said: the disk is full" in done.stdout


def test_a_damaged_newest_checkpoint_never_pushes_out_a_good_one(tmp_path):
    train(toy_parts(), settings=settings(keep=1), numerics=EAGER, run=tmp_path)
    newest = checkpoint.saved(tmp_path)[-1]
    older = newest.with_name("step-00000008")
    checkpoint.shutil.copytree(newest, older)
    (newest / "state.json").write_text("{", encoding="utf-8")
    parts = toy_parts()
    progress = checkpoint.Progress(step=9)
    checkpoint.Saver(parts, run=tmp_path, numerics={}, keep=1, when="waiting").save(progress)
    assert [path.name for path in checkpoint.saved(tmp_path)] == ["step-00000009"]
    assert checkpoint.newest_good(tmp_path) is not None


def test_frozen_parameters_come_out_as_they_went_in(tmp_path):
    parts = toy_parts()
    before = weights(parts)
    parts.model.embed.weight.requires_grad_(False)
    object.__setattr__(parts, "frozen", ["embed.weight"])
    train(parts, settings=settings(), numerics=EAGER, run=tmp_path)
    after = weights(parts)
    assert torch.equal(before["embed.weight"], after["embed.weight"])
    assert not torch.equal(before["layers.0.mlp.up.weight"], after["layers.0.mlp.up.weight"])

    def thief(model):
        with torch.no_grad():
            model.embed.weight += 1
        return Evaluation()

    object.__setattr__(parts, "evaluators", [thief])
    with pytest.raises(TrainingError, match="frozen parameters has changed"):
        train(parts, settings=settings(steps=14), numerics=EAGER, run=tmp_path)


def test_a_log_cut_in_the_middle_of_a_character_is_read_up_to_there(tmp_path):
    from minna.train.log import read_log

    whole = '{"step": 1, "event": "sample", "text": "行\u2028末"}\n{"step": 2, "text": "日'.encode()
    (tmp_path / "log.jsonl").write_bytes(whole[:-1])
    assert [entry["step"] for entry in read_log(tmp_path)] == [1]
    assert read_log(tmp_path)[0]["text"] == "行\u2028末"


def test_ctrl_c_saves_and_the_run_goes_on_exactly(tmp_path):
    import signal

    class Interrupt:
        done = False

        def __call__(self, model):
            if not self.done:
                self.done = True
                return Evaluation()
            signal.raise_signal(signal.SIGINT)
            return Evaluation()

    parts = toy_parts()
    object.__setattr__(parts, "evaluators", [Interrupt()])
    stopped = train(parts, settings=settings(evaluate_every=6), numerics=EAGER, run=tmp_path)
    assert stopped.step in (6, 7) and checkpoint.newest_good(tmp_path).name.endswith(
        f"{stopped.step}"
    )
    resumed, straight = toy_parts(), toy_parts()
    train(resumed, settings=settings(), numerics=EAGER, run=tmp_path)
    train(straight, settings=settings(), numerics=EAGER, run=tmp_path / "straight")
    assert same_bits(weights(straight), weights(resumed))


KILLED = """
import sys, threading, os, time, signal
from pathlib import Path
from tests.toys import toy_parts
from tests.train.test_invariants import settings, train, EAGER
from minna.train.loop import sole_user
run, seconds = Path(sys.argv[1]), float(sys.argv[2])
if seconds:
    threading.Timer(seconds, lambda: os._exit(9)).start()
with sole_user(run):
    train(toy_parts(dropout=0.1), settings=settings(steps=60), numerics=EAGER, run=run)
os._exit(0)
"""


@pytest.mark.parametrize("kills", [3, pytest.param(10, marks=pytest.mark.full)])
def test_killed_at_random_moments_and_gone_on_with_the_weights_are_the_same_bits(tmp_path, kills):
    import random

    straight = toy_parts(dropout=0.1)
    train(straight, settings=settings(steps=60), numerics=EAGER, run=tmp_path / "straight")
    generator = random.Random(kills)
    run = tmp_path / "killed"
    killed = 0
    while killed < kills:
        # short enough that some moments fall into a save and some before the first one
        done = subprocess.run(
            [sys.executable, "-c", KILLED, str(run), str(generator.uniform(0.01, 0.35))],
            cwd=_root(),
            check=False,
            capture_output=True,
        )
        killed += 1
        if done.returncode == 0:
            break
        assert done.returncode == 9, done.stderr.decode()
    last = subprocess.run(
        [sys.executable, "-c", KILLED, str(run), "0"], cwd=_root(), check=False, capture_output=True
    )
    assert last.returncode == 0, last.stderr.decode()
    newest = checkpoint.newest_good(run)
    assert newest is not None and newest.name == "step-00000060"
    assert same_bits(weights(straight), checkpoint.load_model_state(newest))


def _root():
    from tests.conftest import ROOT

    return ROOT
