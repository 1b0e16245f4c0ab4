"""A pipeline that goes on from a model to one that answers: stages, parts, and nothing done twice."""

from __future__ import annotations

import json

import pytest

from minna import artifact, pipeline
from minna.errors import UsageError
from minna.evaluate.duel import read_duel
from tests.test_chain import FAST, SMALL, write_pipeline

STAGES = """
[[stage]]
verb = "corpus build"
out = "keywords"
corpus = "corpus"
settings = {{ source = "keywords" }}
[[stage]]
verb = "train"
out = "sft-run"
recipe = "toy-sft"
corpus = "keywords"
base = "model"
overrides = {sft}
[[stage]]
verb = "export"
out = "sft"
run = "sft-run"
[[stage]]
verb = "train"
out = "reward-run"
recipe = "toy-reward"
corpus = "keywords"
base = "sft"
overrides = {reward}
[[stage]]
verb = "export"
out = "reward"
run = "reward-run"
[[stage]]
verb = "train"
out = "ppo-run"
recipe = "toy-ppo"
corpus = "keywords"
base = "sft"
reward = "reward"
overrides = {ppo}
[[stage]]
verb = "export"
out = "ppo"
run = "ppo-run"
[[stage]]
verb = "duel"
out = "duel"
models = ["model", "sft", "ppo"]
corpus = "keywords"
settings = {{ judge = "rule:keywords", format = "minna", answer_tokens = 6, limit = 10 }}
"""


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tuning")
    file = write_pipeline(folder)
    overrides = [*FAST, *SMALL["gpt_neox"][1], "train.steps=4", "train.evaluate_every=4"]
    overrides += ["train.tokens_per_step=1024", "train.micro_batch_rows=8", "stream.row_tokens=128"]
    ppo = [*overrides, "stream.least_accuracy=0", "stream.rollout_rows=16"]
    text = file.read_text(encoding="utf-8").replace(
        'show = ["私は"]', 'show = ["私は"]\n[parts]\nfirst = "release"\nsft = "sft"\n'
    )
    file.write_text(
        text
        + STAGES.format(
            sft=json.dumps(overrides), reward=json.dumps(overrides), ppo=json.dumps(ppo)
        ),
        encoding="utf-8",
    )
    chosen = pipeline.load(str(file))
    return chosen, folder / "out", pipeline.run(chosen, out=folder / "out")


def test_every_stage_is_there_and_names_what_it_was_made_of(done):
    _, out, seconds = done
    assert list(seconds)[-3:] == ["ppo-run", "ppo", "duel"]
    parents = {p.role: p.path for p in artifact.read_manifest(out / "ppo-run").parents}
    assert parents["init"].endswith("/sft") and parents["reward"].endswith("/reward")
    result = read_duel(out / "duel")
    assert [one["name"] for one in result["models"]] == ["model", "sft", "ppo"]
    assert [(one["model"], one["over"]) for one in result["meetings"]] == [
        ("sft", "model"), ("ppo", "model"), ("ppo", "sft"),
    ]  # fmt: skip
    assert (out / "ppo" / "chat_template.jinja").is_file()


def test_the_second_run_changes_nothing(done):
    chosen, out, _ = done
    before = {path: path.stat().st_mtime_ns for path in out.glob("*/minna.json")}
    pipeline.run(chosen, out=out)
    assert {path: path.stat().st_mtime_ns for path in out.glob("*/minna.json")} == before


def test_a_part_ends_a_pipeline_and_a_wrong_one_is_named(done):
    chosen, _, _ = done
    assert pipeline.until(chosen, "first").stage[-1].out == "release"
    assert pipeline.until(chosen, "reward-run").stage[-1].out == "reward-run"
    with pytest.raises(UsageError, match="no part or stage 'fist'; did you mean 'first'"):
        pipeline.until(chosen, "fist")
    whole = pipeline.load("quickstart")
    assert pipeline.until(whole, "pretrain").stage[-1].verb == "release"
