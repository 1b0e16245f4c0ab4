"""Going on from a model dir: what is read from it, what is compared, and what it costs."""

from __future__ import annotations

import dataclasses
import json
import tomllib
import weakref

import pytest
import torch
from tests.models.test_families import SMALL, random_qwen

from minna import recipe
from minna.errors import ArtifactError, UsageError
from minna.models import build, family, find_family
from minna.recipe.init import initialise, refuse_other_shape
from minna.recipe.schema import check
from minna.runtime.weights import read_weights

FREE = """
name = "mine"
description = "Goes on from a model dir"
source = "own choice"
[init]
from = "{base}"
[stream]
row_tokens = 32
[optim]
kind = "adamw"
lr = 1e-4
[schedule]
kind = "cosine"
warmup = 1
[train]
steps = 2
tokens_per_step = 64
micro_batch_rows = 2
"""


def saved_by_transformers(folder, kind, **changes):
    from transformers import AutoConfig, AutoModelForCausalLM

    torch.manual_seed(0)
    settings = {**SMALL, **changes}
    AutoModelForCausalLM.from_config(AutoConfig.for_model(kind, **settings)).save_pretrained(folder)
    return folder


def mine(tmp_path, base, *overrides, more=""):
    file = tmp_path / "mine.toml"
    file.write_text(FREE.format(base=base.as_posix()) + more, encoding="utf-8")
    return recipe.load(str(file), overrides=overrides)


def filled(chosen, *, vocab=None):
    model = build(chosen.model, vocab=vocab or chosen.tokenizer.vocab_size)
    initialise(model, chosen)
    return model


@pytest.mark.parametrize("kind", ["llama", "qwen2", "gpt2", "gpt_neox", "qwen"])
def test_a_recipe_that_leaves_the_shape_out_reads_it_from_the_model_dir(kind, tmp_path):
    small = {
        "gpt2": {"n_embd": 48, "n_layer": 2, "n_head": 4, "n_positions": 64, "vocab_size": 64},
        "gpt_neox": {"rotary_pct": 0.5},
    }
    base = tmp_path / "base"
    if kind == "qwen":
        random_qwen(base)
    else:
        saved_by_transformers(base, kind, **small.get(kind, {"num_key_value_heads": 2}))
    chosen = mine(tmp_path, base)
    assert (chosen.model.family, chosen.model.width, chosen.model.vocab) == (kind, 48, 64)
    assert (chosen.tokenizer.kind, chosen.tokenizer.vocab_size) == ("base", 64)
    model = filled(chosen)
    disk = find_family(kind).to_disk(model.state_dict(), model.config)
    theirs = read_weights(base)
    same = [torch.equal(tensor, theirs[name]) for name, tensor in disk.items() if name in theirs]
    assert all(same) and len(same) >= len(disk) - 1
    assert check(tomllib.loads(recipe.to_toml(chosen))) == chosen


def test_what_a_recipe_states_is_kept_and_only_what_training_may_change(tmp_path):
    base = saved_by_transformers(tmp_path / "base", "llama", num_key_value_heads=2)
    longer = mine(tmp_path, base, "model.context=256", "model.rotary_scaling=4")
    assert (longer.model.context, longer.model.rotary_scaling) == (256, 4.0)
    assert filled(longer).cos.shape[0] == 256
    for override, words in (
        ("model.kv_heads=4", "kv_heads 2 there, 4 here.*num_key_value_heads"),
        ("model.width=96", "width 48 there, 96 here.*hidden_size"),
        ("model.norm_eps=0.1", "rms_norm_eps"),
        ("model.vocab=63", "none can be cut"),
    ):
        with pytest.raises(UsageError, match=words):
            refuse_other_shape(mine(tmp_path, base, override))
    with pytest.raises(UsageError, match="of family llama, and model.family is gpt2"):
        refuse_other_shape(
            recipe.load("toy-gpt2", overrides=[f"init.from={base.as_posix()}", "model.vocab=64"])
        )
    with pytest.raises(ArtifactError, match="is not a directory"):
        refuse_other_shape(recipe.load("youri-7b"))


def test_a_longer_context_without_scaling_is_warned_of(tmp_path, capsys):
    base = saved_by_transformers(tmp_path / "base", "llama")
    refuse_other_shape(mine(tmp_path, base, "model.context=256"))
    said = " ".join(capsys.readouterr().err.split())
    assert "angles beyond were never seen" in said


@pytest.mark.parametrize("tied", [True, False])
def test_new_words_begin_as_the_mean_of_the_old(tied, tmp_path):
    base = saved_by_transformers(tmp_path / "base", "llama", tie_word_embeddings=tied)
    model = filled(mine(tmp_path, base, "model.vocab=80"))
    table = read_weights(base)["model.embed_tokens.weight"]
    assert torch.equal(model.embed.weight[:64], table)
    torch.testing.assert_close(model.embed.weight[64:], table.mean(0).expand(16, -1))
    assert (model.head is None) == tied
    if not tied:
        head = read_weights(base)["lm_head.weight"]
        torch.testing.assert_close(model.head.weight[64:], head.mean(0).expand(16, -1))


def test_a_family_nobody_knows_and_weights_that_do_not_fit_are_refused(tmp_path):
    base = saved_by_transformers(tmp_path / "base", "llama")
    chosen = mine(tmp_path, base)
    file = base / "config.json"
    whole = json.loads(file.read_text(encoding="utf-8"))
    file.write_text(json.dumps({**whole, "model_type": "mamba"}), encoding="utf-8")
    with pytest.raises(ArtifactError, match="model_type 'mamba'"):
        mine(tmp_path, base)
    file.write_text(json.dumps({**whole, "intermediate_size": 80}), encoding="utf-8")
    with pytest.raises(ArtifactError, match=r"shape \[72, 48\].*should have \[80, 48\]"):
        filled(mine(tmp_path, base))
    file.write_text(json.dumps(whole), encoding="utf-8")
    assert filled(chosen).config.ffn == 72


def test_tensors_made_anew_live_one_at_a_time(tmp_path, monkeypatch):
    # GPT-2's matrices lie transposed on disk: nothing of its file can be used as it is
    base = saved_by_transformers(tmp_path / "base", "gpt2")
    chosen = mine(tmp_path, base)
    model = build(chosen.model, vocab=64)
    record = family.FAMILIES["gpt2"]
    made: list[weakref.ref[torch.Tensor]] = []
    alive: list[int] = []

    def watched(state, config):
        mapped = {tensor.data_ptr() for tensor in state.values()}
        for name, tensor in record.from_disk(state, config):
            if tensor.data_ptr() not in mapped:
                made.append(weakref.ref(tensor))
            yield name, tensor
            del tensor
            alive.append(sum(ref() is not None for ref in made))

    monkeypatch.setitem(family.FAMILIES, "gpt2", dataclasses.replace(record, from_disk=watched))
    initialise(model, chosen)
    assert len(made) == 2 * 4
    assert max(alive) <= 1
