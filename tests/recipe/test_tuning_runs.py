"""Runs on dialogues, pairs and rewards, the whole way: trained, stopped, gone on, exported, refused."""

from __future__ import annotations

import dataclasses
import json

import pytest
import torch
from tests import toy_chain
from tests.toys import same_bits

from minna import recipe
from minna.corpus.dialogue_corpus import DialogueSettings, build_dialogues
from minna.errors import DataError, TrainingError, UsageError
from minna.export import export_run
from minna.recipe.init import completed
from minna.recipe.schema import check
from minna.runtime.load import load_model
from minna.runtime.reward import ModelReward, load_scorer, open_reward
from minna.runtime.rollout import Question, answer
from minna.tokenizer import TokenizerSettings, train_tokenizer
from minna.train import checkpoint
from minna.train.log import read_log

ROW = 112


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """Dialogues of keywords, and a model dir to go on from."""
    root = tmp_path_factory.mktemp("home")
    kept = dict(toy_chain.SHAPES)
    toy_chain.SHAPES["gpt_neox"] = dataclasses.replace(kept["gpt_neox"], context=ROW)
    try:
        chain = toy_chain.make_chain(root)
    finally:
        toy_chain.SHAPES.update(kept)
    settings = DialogueSettings(source="keywords", path=chain.corpus)
    build_dialogues(settings=settings, out=root / "dialogues")
    return root


def recipe_of(home, *, objective, stream, train=None, **sections):
    """A small recipe."""
    row = stream.get("row_tokens", ROW)
    content = {
        "name": "small",
        "description": "small",
        "source": "own choice",
        "init": {"from": str(home / "model")},
        "tokenizer": {"kind": "base"},
        "objective": {"kind": objective} | sections.pop("told", {}),
        "stream": {"row_tokens": row} | stream,
        "optim": {"kind": "adamw", "lr": 3e-3},
        "schedule": {"kind": "linear", "warmup": 1, "floor": 0.1},
        "train": {
            "steps": 6, "tokens_per_step": row * 8, "micro_batch_rows": 4, "compile": "off",
            "precision": "fp32", "log_every": 1, "evaluate_every": 3, "save_every": 3, "keep": 9,
        } | (train or {}),
        "evaluate": {"valid_documents": 20, "prompts": ["「海」で丁寧な文"], "sample_tokens": 4},
        **sections,
    }  # fmt: skip
    return check(completed(content))


def run(home, out, chosen, *, corpus="dialogues"):
    return recipe.run_recipe(chosen, corpus=home / corpus, tokenizer=out / "tokenizer", out=out)


EXPERIENCE = {
    "kind": "experience", "row_tokens": 64, "answer_tokens": 8, "rollout_rows": 16, "passes": 2,
    "reward": "rule:keywords",
}  # fmt: skip
KINDS = {
    "chat": {"objective": "causal_lm", "stream": {"kind": "chat"}},
    "reward": {"objective": "bradley_terry", "stream": {"kind": "pairs"}},
    "dpo": {"objective": "dpo", "stream": {"kind": "pairs"}},
    "ppo": {"objective": "ppo", "stream": EXPERIENCE},
    "head": {"objective": "ppo", "stream": EXPERIENCE, "told": {"critic": "head"}},
    "grpo": {"objective": "grpo", "stream": EXPERIENCE | {"samples": 4}},
    "drawn": {
        "objective": "grpo",
        "told": {"kl": 0.0},
        "stream": EXPERIENCE | {"samples": 4, "old_logprobs": "drawn"},
    },
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_stop_loses_nothing(home, tmp_path, kind, monkeypatch):
    from minna.train import loop

    chosen = recipe_of(home, **KINDS[kind], train={"save_every": 1})
    straight = run(home, tmp_path / "straight", chosen)
    stopped = tmp_path / "stopped"
    taken = loop.take_step

    def stop_at(parts, *, step, **rest):
        if step in stops:
            stops.remove(step)
            raise TrainingError("stopped", remedy="none")
        return taken(parts, step=step, **rest)

    monkeypatch.setattr(loop, "take_step", stop_at)
    stops = [1, 5]  # PPO: within the first rollout, and within the second
    for _ in range(2):
        with pytest.raises(TrainingError, match="stopped"):
            run(home, stopped, chosen)
    run(home, stopped, chosen)
    for file in ("model.safetensors", "objective.safetensors", "optimiser.safetensors"):
        places = [checkpoint.saved(place)[-1] / file for place in (straight, stopped)]
        assert places[0].read_bytes() == places[1].read_bytes(), file
    lines = [
        [{k: v for k, v in entry.items() if "second" not in k and "share" not in k} for entry in read_log(place)]
        for place in (straight, stopped)
    ]  # fmt: skip
    assert lines[0] == lines[1]


def test_what_was_drawn_is_what_would_be_scored(home, tmp_path):
    first = {
        kind: next(
            entry
            for entry in read_log(
                run(home, tmp_path / kind, recipe_of(home, **KINDS["drawn"] | more))
            )
            if entry["event"] == "train"
        )
        for kind, more in (
            ("drawn", {}),
            ("scored", {"stream": KINDS["drawn"]["stream"] | {"old_logprobs": "scored"}}),
        )
    }
    assert first["scored"]["val/drawn_apart"] < 1e-4
    for name in ("loss/policy", "val/ratio", "objective/scores"):
        assert first["drawn"][name] == pytest.approx(first["scored"][name], abs=1e-4)


def test_answers_are_learned_and_the_export_asks_as_it_was_taught(home, tmp_path):
    from transformers import AutoTokenizer

    chosen = recipe_of(home, **KINDS["chat"], train={"steps": 40, "evaluate_every": 40})
    done = run(home, tmp_path / "run", chosen)
    looks = [entry["perplexity"] for entry in read_log(done) if entry["event"] == "evaluate"]
    assert looks[-1] < 0.7 * looks[0]
    model = export_run(done, out=tmp_path / "model")
    words = AutoTokenizer.from_pretrained(model)
    asked = [{"role": "user", "content": "「海」で丁寧な文"}]
    text = words.apply_chat_template(asked, tokenize=False, add_generation_prompt=True)
    assert text == "ユーザー: 「海」で丁寧な文\nシステム: "


def test_a_reward_model_is_transformers_and_says_what_it_knows(home, tmp_path):
    from transformers import AutoModelForSequenceClassification

    chosen = recipe_of(home, **KINDS["reward"], train={"steps": 30, "evaluate_every": 30})
    done = run(home, tmp_path / "run", chosen)
    looks = [entry for entry in read_log(done) if entry["event"] == "evaluate"]
    assert {"pairs/accuracy", "pairs/margin", "pairs/calibration_error"} <= looks[-1].keys()
    model = export_run(done, out=tmp_path / "model")
    config = json.loads((model / "config.json").read_text(encoding="utf-8"))
    assert config["reward_accuracy"] == pytest.approx(looks[-1]["pairs/accuracy"], rel=1e-5)
    assert config["reward_pairs"] == 20
    assert not (model / "generation_config.json").exists()
    scorer, _ = load_scorer(model)
    peer = AutoModelForSequenceClassification.from_pretrained(model).eval()
    rows = torch.randint(5, 400, (3, 9), generator=torch.Generator().manual_seed(0))
    ours = scorer.scores(scorer(rows))[:, -1]
    with torch.no_grad():
        torch.testing.assert_close(peer(rows).logits[:, 0], ours, rtol=1e-4, atol=1e-5)
    kept = checkpoint.load_model_state(checkpoint.saved(done)[-1])["held_out"]
    assert kept.tolist()[2:] == pytest.approx(
        [looks[-1]["scores/mean"], looks[-1]["scores/std"]], rel=1e-4
    )
    # brought to deviation 1, and the mean in its bias
    assert config["reward_bias"] == pytest.approx(-kept[2].item() / kept[3].item())
    policy = load_model(home / "model", device="cpu", dtype="fp32", layout="plain")
    reward = open_reward(str(model), words=policy.tokenizer, least_accuracy=0)
    assert isinstance(reward, ModelReward)
    said = answer(
        policy.decoder, policy.tokenizer,
        [Question(ids=(5, 6, 7), turns=(), seed=n) for n in range(9)],
        answer_tokens=6, temperature=1.0,
    )  # fmt: skip
    whole = reward(said)
    alone = [reward([one])[0] for one in said]
    assert whole == pytest.approx(alone, abs=1e-5)
    ids = torch.tensor([[*said[0].prompt_ids, *said[0].answer_ids]])
    raw = scorer.scores(scorer(ids))[0, -1]
    assert alone[0] == pytest.approx(float(raw) + config["reward_bias"], abs=1e-5)
    with pytest.raises(UsageError, match=r"tells .* of 20 held-out pairs apart"):
        open_reward(str(model), words=policy.tokenizer, least_accuracy=1.01)


def test_rewards_that_cannot_be_are_refused(home, tmp_path):
    words = load_model(home / "model", device="cpu", dtype="fp32", layout="plain").tokenizer
    given = {"words": words, "least_accuracy": 0.0}
    with pytest.raises(UsageError, match="no reward 'rule:keyword'; did you mean 'keywords'"):
        open_reward("rule:keyword", **given)
    with pytest.raises(UsageError, match="there is no file"):
        open_reward("rule:none.py:f", **given)
    rule = tmp_path / "rule.py"
    rule.write_text(
        "def good(question, answer):\n    return len(answer)\n"
        "def whole(turns, answer):\n    return turns[0].text == 'x'\n"
        "def bad(question, answer):\n    return 1 / 0\n"
        "def silent(question, answer):\n    return None\n",
        encoding="utf-8",
    )
    policy = load_model(home / "model", device="cpu", dtype="fp32", layout="plain")
    from minna.prompts import Turn

    said = answer(
        policy.decoder, words, [Question(ids=(5, 6), turns=(Turn("user", "x"),), seed=0)],
        answer_tokens=4, temperature=1.0,
    )  # fmt: skip
    assert open_reward(f"rule:{rule}:good", **given)(said) == [len(said[0].text)]
    assert open_reward(f"rule:{rule}:whole", **given)(said) == [1.0]
    with pytest.raises(UsageError, match="has no function 'none'"):
        open_reward(f"rule:{rule}:none", **given)
    with pytest.raises(DataError, match=r"raised ZeroDivisionError: .* on the answer"):
        open_reward(f"rule:{rule}:bad", **given)(said)
    with pytest.raises(DataError, match="gave None"):
        open_reward(f"rule:{rule}:silent", **given)(said)
    with pytest.raises(Exception, match=r"no score\.weight: it is no reward model"):
        open_reward(str(home / "model"), **given)
    # the shape fits, the words are others
    other = train_tokenizer(
        home / "corpus", out=tmp_path / "other", settings=TokenizerSettings(vocab_size=430)
    )
    from minna.tokenizer.coder import training_tokenizer

    chosen = recipe_of(home, **KINDS["reward"], train={"steps": 1})
    model = export_run(run(home, tmp_path / "run", chosen), out=tmp_path / "model")
    with pytest.raises(UsageError, match="of another vocabulary"):
        open_reward(str(model), words=training_tokenizer(other), least_accuracy=0.0)


@pytest.mark.parametrize(
    ("kind", "change", "said"),
    [
        ("ppo", {"stream": EXPERIENCE | {"reward": ""}}, "somebody must judge"),
        ("ppo", {"stream": EXPERIENCE | {"rollout_rows": 12}}, "nearest are 8 and 16"),
        ("ppo", {"stream": EXPERIENCE | {"answer_tokens": 64}}, "leaves no room for a prompt"),
        ("grpo", {"stream": EXPERIENCE}, "compares the answers to one prompt"),
        ("grpo", {"stream": EXPERIENCE | {"samples": 3}}, "not a multiple of 3"),
        ("ppo", {"stream": EXPERIENCE | {"old_logprobs": "drawn"}}, "asks its models about every"),
        ("dpo", {"model": {"dropout": 0.1}}, "model.dropout 0.1 blurs"),
        ("dpo", {"stream": {"kind": "chat"}}, "reads a stream of kind 'pairs', not 'chat'"),
        ("ppo", {"adapter": {"rank": 4}}, "give objective.critic=head"),
        ("ppo", {"train": {"sharding": "shard"}}, "whole model"),
        ("chat", {"stream": {"kind": "chat", "fromat": "minna"}}, "did you mean 'format'"),
    ],
)
def test_settings_that_do_not_fit_are_named(home, kind, change, said):
    given = KINDS[kind] | {k: v for k, v in change.items() if k in ("stream", "train")}
    sections = {k: v for k, v in change.items() if k not in ("stream", "train")}
    with pytest.raises(UsageError, match=said):
        recipe_of(home, **given, **sections)


def test_what_compares_needs_a_model_to_go_on_from():
    with pytest.raises(UsageError, match="goes on from a model that knows something"):
        recipe.load("toy-gpt-neox", overrides=[
            "objective.kind=dpo", "stream={kind='pairs', row_tokens=64}", "train.tokens_per_step=4096",
        ])  # fmt: skip


def test_a_policy_that_leaves_or_says_one_thing_stops(home, tmp_path):
    far = recipe_of(
        home, objective="grpo", stream=EXPERIENCE | {"samples": 4, "stop_kl": 1e-3},
        told={"kl": 0.01}, optim={"kind": "adamw", "lr": 0.1},
    )  # fmt: skip
    with pytest.raises(TrainingError, match=r"nats an answer away .* the policy has left it"):
        run(home, tmp_path / "far", far)
    assert checkpoint.newest_good(tmp_path / "far") is not None
    alike = recipe_of(
        home, objective="grpo", stream=EXPERIENCE | {"samples": 4, "temperature": 0.001}
    )
    with pytest.raises(TrainingError, match="says one thing"):
        run(home, tmp_path / "alike", dataclasses.replace(
            alike, stream=dataclasses.replace(alike.stream, stop_alike=0.9)
        ))  # fmt: skip


def test_what_does_not_fit_a_row_is_left_out_and_what_is_left_is_said(home, tmp_path, capsys):
    tiny = recipe_of(home, objective="causal_lm", stream={"kind": "chat", "row_tokens": 64})
    run(home, tmp_path / "run", dataclasses.replace(tiny))
    assert "dialogues left out:" in capsys.readouterr().err
    with pytest.raises(DataError, match="no dialogue to train on"):
        run(
            home, tmp_path / "none",
            recipe_of(home, objective="causal_lm", stream={"kind": "chat", "row_tokens": 4}),
        )  # fmt: skip
    with pytest.raises(Exception, match="holds documents, not dialogues"):
        run(home, tmp_path / "text", recipe_of(home, **KINDS["chat"]), corpus="corpus")


def test_adapters_share_one_trunk_of_policy_reference_and_value(home, tmp_path):
    adapted = {"adapter": {"rank": 4}, "told": {"critic": "head"}}
    chosen = recipe_of(home, objective="ppo", stream=EXPERIENCE, **adapted)
    done = run(home, tmp_path / "run", chosen)
    kept = checkpoint.load_model_state(checkpoint.saved(done)[-1])
    assert kept and all("lora_" in name for name in kept)
    first = next(entry for entry in read_log(done) if entry["event"] == "train")
    assert first["objective/kl"] == 0 and first["val/first_ratio_error"] == 0
    later = [entry for entry in read_log(done) if entry["event"] == "train"][-1]
    assert later["objective/kl"] != 0
    whole = load_model(
        export_run(done, out=tmp_path / "model"), device="cpu", dtype="fp32", layout="plain"
    )
    base = load_model(home / "model", device="cpu", dtype="fp32", layout="plain")
    assert not same_bits(whole.decoder.state_dict(), base.decoder.state_dict())
    scorer = recipe_of(home, **KINDS["reward"], adapter={"rank": 4})
    done = run(home, tmp_path / "reward", scorer)
    kept = checkpoint.load_model_state(checkpoint.saved(done)[-1])
    assert {"score.weight", "held_out"} <= kept.keys()
    load_scorer(export_run(done, out=tmp_path / "reward-model"))
