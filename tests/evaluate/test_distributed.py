"""Several ranks give what one process gives, and one that fails is heard."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import pytest
import torch.distributed as dist
from tests.evaluate.toy_models import generations, random_groups, toy_model

from minna.errors import UsageError
from minna.evaluate.backends import distributed
from minna.evaluate.backends.base import Generation
from minna.evaluate.backends.distributed import (
    DistributedBackend,
    RankError,
    Ranks,
    deal,
    dismiss,
    join,
)
from minna.evaluate.backends.engine import EngineBackend
from minna.runtime import load_model

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = """
import json, sys
from dataclasses import asdict
from pathlib import Path
import tests.conftest
from tests.evaluate.toy_models import generations, random_groups
import minna.evaluate.backends.distributed as distributed
from minna.evaluate.backends.engine import EngineBackend
from minna.errors import DataError, MinnaError
from minna.runtime import load_model

folder, out, fault = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
distributed._ROUND = 3
ranks = distributed.join()
backend = EngineBackend(load_model(folder, device="cpu", dtype="fp32"))
if ranks.rank:
    if fault == "data":
        def fails(groups):
            raise DataError("this rank is unhappy", remedy="cheer it up")
        backend.likelihoods = fails
    distributed.serve(backend, ranks)
    sys.exit()
whole = distributed.DistributedBackend(backend, ranks)
found = {"conditions": whole.conditions()}
try:
    found["likelihoods"] = [
        [number, [asdict(entry) for entry in group]]
        for number, group in whole.likelihoods(random_groups(groups=14, context=96))
    ]
    found["generated"] = [
        [number, asdict(answer)] for number, answer in whole.generate(generations(backend.coder, eos=2))
    ]
    found["tokens"] = whole.reading.tokens
except MinnaError as error:
    found["error"] = str(error)
distributed.dismiss()
out.write_text(json.dumps(found), encoding="utf-8")
"""


def run_ranks(folder, *, fault="none"):
    program, out = folder / "program.py", folder / f"{fault}.json"
    program.write_text(PROGRAM, encoding="utf-8")
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    done = subprocess.run(
        [*command, str(program), str(folder), str(out), fault],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(out.read_text(encoding="utf-8"))


@pytest.mark.full
def test_two_ranks_give_the_figures_and_answers_of_one(tmp_path):
    folder = toy_model(tmp_path)
    found = run_ranks(folder)
    alone = EngineBackend(load_model(folder, device="cpu", dtype="fp32"))
    expected = dict(alone.likelihoods(random_groups(groups=14, context=96)))
    assert {number for number, _ in found["likelihoods"]} == set(expected)
    for number, group in found["likelihoods"]:
        for theirs, mine in zip(group, expected[number], strict=True):
            assert theirs["logprob"] == pytest.approx(mine.logprob, abs=1e-4)
            assert (theirs["greedy"], theirs["tokens"]) == (mine.greedy, mine.tokens)
    answers = dict(alone.generate(generations(alone.coder, eos=2)))
    for number, answer in found["generated"]:
        assert tuple(answer["ids"]) == answers[number].ids
        assert (answer["text"], answer["finish"]) == (answers[number].text, answers[number].finish)
    assert found["conditions"]["ranks"] == 2 and found["tokens"] > 0


@pytest.mark.full
def test_a_rank_that_fails_fails_all_with_its_message(tmp_path):
    found = run_ranks(toy_model(tmp_path), fault="data")
    assert "rank 1: this rank is unhappy" in found["error"] and "cheer it up" in found["error"]


@pytest.mark.parametrize("world", [1, 2, 3])
@pytest.mark.parametrize("items", [0, 1, 5, 12, 13])
def test_every_item_is_dealt_once_and_costs_are_even(items, world):
    hands = [deal(items, rank=rank, world=world) for rank in range(world)]
    assert sorted(place for hand in hands for place in hand) == list(range(items))
    costs = [sum(100 - place for place in hand) for hand in hands]
    assert max(costs) - min(costs) <= 100


def test_without_torchrun_there_are_no_ranks(monkeypatch):
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    assert join() is None
    monkeypatch.setenv("WORLD_SIZE", "1")
    assert join() is None


@pytest.fixture
def alone(tmp_path):
    """A group of one rank, in this process."""
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    local = EngineBackend(load_model(toy_model(tmp_path), device="cpu", dtype="fp32"))
    backend = DistributedBackend(local, Ranks(rank=0, world=1))
    yield backend, local
    dismiss()


def test_what_travels_arrives_as_it_was(alone):
    backend, local = alone
    groups = random_groups(groups=5, context=50)
    assert dict(backend.likelihoods(groups)) == dict(local.likelihoods(groups))
    jobs = generations(backend.coder, eos=2)
    assert dict(backend.generate(jobs)) == dict(local.generate(jobs))


def test_an_error_that_is_a_bug_keeps_its_traceback(alone, monkeypatch, capsys):
    backend, local = alone
    monkeypatch.setattr(local, "generate", lambda jobs: 1 / 0)
    with pytest.raises(RankError, match="rank 0: ZeroDivisionError"):
        list(backend.generate(generations(backend.coder, eos=2)))
    assert "Traceback" in capsys.readouterr().err


@pytest.mark.full
def test_the_verb_under_torchrun_writes_the_report_of_one_process(tmp_path):
    """Two gloo ranks and one process: the same figures and items, to the last digit shown."""
    from tests.evaluate.made_data import write_all

    model, data = toy_model(tmp_path), write_all(tmp_path / "data")
    verb = ["-m", "minna.cli.main", "evaluate", str(model), "--data", str(data), "--tasks"]
    verb += ["jblimp,jcommonsenseqa,mgsm", "--num-fewshot", "0,0,0", "--out"]
    alone = [sys.executable, *verb, str(tmp_path / "alone")]
    ranks = ["-m", "torch.distributed.run", "--nproc-per-node", "2"]
    together = [sys.executable, *ranks, *verb, str(tmp_path / "together")]
    for command in (alone, together, together):  # the last finds it done, and lets its ranks go
        ended = subprocess.run(command, check=False, capture_output=True, text=True, timeout=240)
        assert ended.returncode == 0, ended.stderr[-2000:]
    one, two = (
        json.loads((tmp_path / name / "report.json").read_text()) for name in ("alone", "together")
    )
    assert [task["metrics"] for task in one["tasks"]] == [task["metrics"] for task in two["tasks"]]
    assert two["tasks"][0]["conditions"]["ranks"] == 2


def test_a_part_of_torchruns_variables_is_an_error_that_names_the_rest(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "0")
    for name in ("MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(UsageError, match=r"MASTER_ADDR, MASTER_PORT[\s\S]*torchrun"):
        join()


def test_all_of_a_generation_reaches_the_other_ranks():
    job = Generation(
        prompt=(5, 6),
        max_new_tokens=3,
        stop_ids=(2,),
        stop_texts=("a",),
        text="x",
        messages=(("user", "x"),),
        stops_after="text",
    )
    assert distributed._generation(json.loads(json.dumps(asdict(job)))) == job
