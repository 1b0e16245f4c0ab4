"""One process or several, copies or parts: the same losses, the same weights, the same resumed run."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from tests.train import parallel_worker as worker

from minna.train import checkpoint
from minna.train.ranks import ALONE

ROOT = Path(__file__).resolve().parents[2]
TOLERANCE = 1e-5
# one process of the test runner: what the tests share takes several processes of its own
pytestmark = pytest.mark.xdist_group("ranks")


def launch(count: int, out: Path, *cases: str) -> None:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    command += ["--nproc-per-node", str(count), str(Path(worker.__file__)), str(out), *cases]
    paths = [str(ROOT), str(ROOT / "src"), os.environ.get("PYTHONPATH", "")]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(paths)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Everything that needs several processes, in two launches: starting torch is what costs."""
    out = tmp_path_factory.mktemp("ranks")
    for name in ("alone-copies", "alone-parts"):
        worker.run(ALONE, out, "auto", "adamw", 4, name)
    both = [f"steps:{sharding}:adamw" for sharding in ("replicate", "shard")]
    launch(4, out, *both, "run:shard:adamw:4:four-two", "run:shard:adamw:4:four-alone")
    muon = [f"steps:{sharding}:muon" for sharding in ("replicate", "shard")]
    launch(
        2,
        out,
        *both,
        *muon,
        "run:shard:adamw:8:four-two",
        "run:replicate:adamw:8:alone-copies",
        "run:shard:adamw:8:alone-parts",
        "run:shard:adamw:5:two-two",
        "run:shard:adamw:8:two-two",
        "run:replicate:adamw:4:copies-alone",
        "reinforce",
    )
    for name in ("four-alone", "copies-alone"):
        worker.run(ALONE, out, "auto", "adamw", 8, name)
    return out


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> dict[str, torch.Tensor]:
    out = tmp_path_factory.mktemp("straight")
    worker.run(ALONE, out, "auto", "adamw", 8, "run")
    return checkpoint.load_model_state(checkpoint.saved(out / "run")[-1])


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("alone")
    for optim in ("adamw", "muon"):
        file = out / f"{optim}.json"
        file.write_text(json.dumps(worker.steps(ALONE, out, "auto", optim)), encoding="utf-8")
    return out


@pytest.mark.parametrize("count", [2, 4])
@pytest.mark.parametrize("sharding", ["replicate", "shard"])
def test_ranks_do_the_updates_of_one_process(ran, alone, count, sharding):
    one = json.loads((alone / "adamw.json").read_text(encoding="utf-8"))
    many = json.loads((ran / f"steps-{sharding}-adamw-{count}.json").read_text(encoding="utf-8"))
    assert many["losses"] == pytest.approx(one["losses"], abs=TOLERANCE)
    assert many["norms"] == pytest.approx(one["norms"], abs=TOLERANCE)
    ours = load_file(ran / f"weights-{sharding}-adamw-{count}.safetensors")
    for name, tensor in load_file(alone / "weights-auto-adamw-1.safetensors").items():
        torch.testing.assert_close(ours[name], tensor, rtol=0, atol=TOLERANCE, msg=name)


def test_ranks_say_and_learn_what_one_process_does(ran):
    one = worker.reinforce(ALONE)
    two = json.loads((ran / "reinforce-2.json").read_text(encoding="utf-8"))
    assert two["ids"] == one["ids"]
    for mine, theirs in zip(one["figures"], two["figures"], strict=True):
        assert theirs == pytest.approx(mine, abs=1e-4)


@pytest.mark.parametrize("sharding", ["replicate", "shard"])
def test_muon_turns_the_whole_matrix_whoever_holds_its_parts(ran, alone, sharding):
    one = json.loads((alone / "muon.json").read_text(encoding="utf-8"))
    many = json.loads((ran / f"steps-{sharding}-muon-2.json").read_text(encoding="utf-8"))
    # bf16 inside: the last bit of a gradient shows in the weights
    assert many["losses"] == pytest.approx(one["losses"], abs=2e-3)


@pytest.mark.parametrize(
    "name",
    ["four-two", "four-alone", "alone-copies", "alone-parts", "two-two", "copies-alone"],
)
def test_a_run_goes_on_on_another_number_of_ranks_as_if_nothing_had_happened(
    ran, uninterrupted, name
):
    last = checkpoint.saved(ran / name)[-1]
    assert last.name == "step-00000008"
    found = checkpoint.load_model_state(last)
    assert set(found) == set(uninterrupted)
    for key, tensor in uninterrupted.items():
        torch.testing.assert_close(found[key], tensor, rtol=0, atol=TOLERANCE, msg=key)


def test_only_the_first_rank_writes_the_log_and_cuts_it_where_it_goes_on(ran):
    lines = (ran / "four-two" / "log.jsonl").read_text(encoding="utf-8").splitlines()
    steps = [json.loads(line)["step"] for line in lines if '"train"' in line]
    assert steps == list(range(1, 9))


def test_a_divided_checkpoint_has_a_file_of_every_rank_and_no_pickle(ran):
    (kept,) = [path for path in checkpoint.saved(ran / "two-two") if path.name.endswith("8")]
    names = sorted(path.name for path in kept.iterdir())
    assert [name for name in names if name.endswith(".safetensors")] == [
        f"shard-{rank:05d}-model-00001-of-00001.safetensors" for rank in (1, 2)
    ]
    assert [name for name in names if not name.endswith(".safetensors")] == [
        "minna.json",
        "state.json",
    ]
