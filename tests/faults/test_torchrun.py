"""The commands of docs/parallel.md, with torchrun itself: two starts of torch a test, so they are long."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time

import pytest
from tests.conftest import ROOT
from tests.faults.test_kills import content

from minna.train import checkpoint

pytestmark = [pytest.mark.full, pytest.mark.xdist_group("crews")]


def torchrun(inputs, out, *overrides):
    """The command of the page, of this Python, with these inputs."""
    page = (ROOT / "docs" / "parallel.md").read_text(encoding="utf-8")
    found = re.search(
        r"^    torchrun (--nproc-per-node 2) (-m minna) train toy-gpt2 ", page, re.MULTILINE
    )
    assert found, "docs/parallel.md tells another command"
    words = [word for part in found.groups() for word in part.split()]
    run = [sys.executable, "-m", "torch.distributed.run", "--standalone", *words]
    environment = {
        **os.environ,
        "OMP_NUM_THREADS": "1",
        "MINNA_ALLOCATOR": "system",
        "MINNA_KERNELS": "torch",
        "PYTHONPATH": os.pathsep.join([str(ROOT / "src"), os.environ.get("PYTHONPATH", "")]),
    }
    return subprocess.Popen(
        [*run, *inputs.command(out, *overrides)],
        env=environment,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def test_the_command_of_the_page_trains_and_is_what_forked_ranks_do(crews, inputs, tmp_path):
    process = torchrun(inputs, tmp_path / "run", "train.sharding=shard")
    _, said = process.communicate(timeout=120)
    assert process.returncode == 0, said
    command = inputs.command(tmp_path / "forked", "train.sharding=shard")
    assert crews.run(command, command).done
    one, other = (checkpoint.saved(tmp_path / name)[-1] for name in ("run", "forked"))
    assert content(one) == content(other)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_to_torchrun_and_all_its_ranks_saves_after_the_step(inputs, tmp_path, number):
    """As a terminal (Ctrl-C) and SLURM do: every process gets it, and torchrun passes it on."""
    run = tmp_path / "run"
    process = torchrun(inputs, run, "train.steps=100000", "train.save_every=100000")
    log = run / "log.jsonl"
    while not (log.is_file() and log.stat().st_size):
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.1)
    os.killpg(process.pid, number)
    _, said = process.communicate(timeout=120)
    assert process.returncode != 0
    assert "the same command goes on from there" in said, said[-2000:]
    found = checkpoint.newest_good(run)
    assert found is not None


def test_a_rank_killed_under_torchrun_ends_the_run_and_the_command_goes_on(inputs, tmp_path):
    run = tmp_path / "run"
    process = torchrun(inputs, run, "train.steps=400", "train.save_every=5", "train.keep=1000")
    while not (run / "checkpoints" / "step-00000005").is_dir():
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.05)
    children = subprocess.run(
        ["ps", "-o", "pid=", "--ppid", str(process.pid)], capture_output=True, text=True, check=True
    ).stdout.split()
    os.kill(int(children[-1]), signal.SIGKILL)
    process.communicate(timeout=120)
    assert process.returncode != 0
    found = checkpoint.newest_good(run)
    assert found is not None and checkpoint.progress_of(found).step >= 5
    steps = checkpoint.progress_of(found).step + 5
    again = torchrun(inputs, run, f"train.steps={steps}", "train.save_every=5")
    _, said = again.communicate(timeout=120)
    assert again.returncode == 0, said
    assert f"going on from {found.name}" in said
