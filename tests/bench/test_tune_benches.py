"""Our halves of the benches beside TRL run, learn what a chat template marks, and add up."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from tests.toy_chain import make_corpus

from minna.models import build
from minna.models.family import GptNeoXShape
from minna.tokenizer import TokenizerSettings, train_tokenizer
from minna.tokenizer.load import load_tokenizer

BENCH = Path(__file__).resolve().parents[2] / "bench"
TINY = {"layers": 2, "width": 32, "heads": 2, "ffn": 64, "context": 64}


@pytest.fixture(scope="module")
def benches():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(BENCH))
        import bench_ppo
        import bench_sft
        import ppo_ours
        import sft_ours

        yield SimpleNamespace(sft=bench_sft, ppo=bench_ppo, sft_ours=sft_ours, ppo_ours=ppo_ours)
        for name in ("bench_ppo", "bench_sft", "ppo_ours", "sft_ours", "tune_work", "machine"):
            sys.modules.pop(name, None)


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("tune")
    corpus = make_corpus(root, count=400)
    settings = TokenizerSettings(vocab_size=420)
    return train_tokenizer(corpus, out=root / "tokenizer", settings=settings)


@pytest.fixture
def sft(benches, tokenizer, tmp_path) -> Path:
    rows = [
        {"messages": [
            {"role": "user", "content": f"{number}番の駅はどこですか。"},
            {"role": "assistant", "content": f"「{number}」は、公園の{'前' * (number % 5 + 1)}です。"},
        ]}
        for number in range(80)
    ]  # fmt: skip
    data = tmp_path / "data.jsonl"
    lines = [json.dumps(row, ensure_ascii=False) for row in rows]
    data.write_text("\n".join(lines) + "\n", encoding="utf-8")
    benches.sft_ours.write_data(tmp_path, tokenizer=tokenizer, data=data, room=128)
    model = build(GptNeoXShape(**TINY | {"context": 128}), vocab=420)
    model.initialise(seed=0)
    benches.sft_ours.write_weights(tmp_path, model, tokenizer=tokenizer)
    plan = {"updates": 3, "lr": 3e-3, "beta2": 0.95, "decay": 0.01}
    plan |= {"precision": "fp32", "compile": "off"}
    (tmp_path / "plan.json").write_text(json.dumps(plan), encoding="utf-8")
    return tmp_path


@pytest.mark.parametrize(("rows", "micro", "accumulation"), [("packed", 2, 1), ("single", 3, 2)])
def test_supervised_tuning_learns_what_the_template_marks(
    benches, sft, monkeypatch, rows, micro, accumulation
):
    from transformers import AutoTokenizer

    monkeypatch.setattr(benches.sft_ours, "ROOM", 128)
    options = argparse.Namespace(
        folder=sft, rows=rows, micro=micro, accumulation=accumulation, room=128
    )
    found = benches.sft.run_minna(options)
    words = AutoTokenizer.from_pretrained(sft / "model")
    marked = 0
    for line in (sft / "messages.jsonl").read_text(encoding="utf-8").splitlines():
        asked = words.apply_chat_template(
            json.loads(line), return_dict=True, return_assistant_tokens_mask=True
        )
        marked += sum(asked["assistant_masks"])
    assert found["data_learned"] == marked
    assert len(found["learned"]) == 3
    assert min(found["learned"]) > 0
    assert found["tokens"] == [micro * accumulation * 128] * 3
    assert np.all(np.diff(found["ends"]) > 0)

    def loss(trained: str) -> float:
        return benches.sft.run_held_out(argparse.Namespace(folder=sft, trained=sft / trained))[
            "loss"
        ]

    assert loss("trained") < loss("model")


def test_sides_that_learn_other_tokens_are_not_compared(benches):
    same = {"data_learned": 7, "data_tokens": 9}
    results = {"TRL, packed": [same], "minna, packed": [same | {"data_tokens": 10}]}
    assert benches.sft.learned_of(results) == "TRL 7 of 9, minna 7 of 10"
    results["minna, packed"] = [same | {"data_learned": 8}]
    with pytest.raises(SystemExit, match="do not learn the same tokens"):
        benches.sft.learned_of(results)


@pytest.mark.parametrize(("kind", "passes"), [("ppo", 2), ("grpo", 1)])
def test_reinforcement_answers_in_full_and_its_parts_add_up(
    benches, tokenizer, tmp_path, monkeypatch, kind, passes
):
    monkeypatch.setattr(benches.ppo_ours, "PROMPTS", 24)
    monkeypatch.setattr(benches.ppo_ours, "PROMPT", 3)
    benches.ppo_ours.prepare(tmp_path, tokenizer, shape=TINY)
    prompts = np.load(tmp_path / "prompts.npy")
    words = load_tokenizer(tokenizer)
    texts = (tmp_path / "prompts.jsonl").read_text(encoding="utf-8").splitlines()
    assert [words.encode(json.loads(text)) for text in texts] == prompts.tolist()
    plan = benches.ppo.PLANS[kind] | {
        "rollouts": 2, "rollout_rows": 16, "update_rows": 8, "passes": passes,
        "prompt_tokens": 3, "answer_tokens": 12, "beta2": 0.95, "precision": "fp32",
    }  # fmt: skip
    found = benches.ppo.run_minna(tmp_path, kind, plan)
    assert found["updates"] == 2 * passes * 2
    assert len(found["scores"]) == 2
    assert found["settings"]["largest first |ratio - 1|"] < 1e-5
    parts = benches.ppo.parts_of(found, argparse.Namespace(warmup=1, rollouts=1))
    assert min(parts.values()) > 0
    whole = parts.pop("whole")
    assert sum(parts.values()) == pytest.approx(whole)
