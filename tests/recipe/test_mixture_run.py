"""A run on a mixture: what is printed before step 0 counts what is read, and it goes on exactly."""

from __future__ import annotations

import json
import re

import pytest
from tests.corpus.made_corpora import english, japanese, write_corpus
from tests.toys import same_bits

from minna import recipe
from minna.corpus.mixture import mix
from minna.streams import TokenShards
from minna.tokenizer.train import TokenizerSettings, train_tokenizer
from minna.train.checkpoint import load_model_state, saved

SMALL = (
    "model.layers=1",
    "model.width=32",
    "model.heads=2",
    "model.ffn=64",
    "train.compile=off",
    "train.device=cpu",
    "train.precision=fp32",  # "auto" is settled by timing, which may differ between two runs
    "train.tokens_per_step=512",
    "train.micro_batch_rows=8",
    "train.save_every=2",
    "schedule.warmup=1",
    "evaluate.sample_tokens=4",
)


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("mixture")
    wiki = write_corpus(folder / "wiki", japanese(120) + japanese(5, first=900, split="valid"))
    pile = write_corpus(folder / "pile", english(200))
    mix([(wiki, 2.5), (pile, 0.5)], out=folder / "mix")
    settings = TokenizerSettings(vocab_size=340)
    train_tokenizer(folder / "mix", out=folder / "tokenizer", settings=settings)
    return {"corpus": folder / "mix", "tokenizer": folder / "tokenizer"}


def test_epochs_count_repeats_and_a_prolonged_run_is_the_long_run(inputs, tmp_path, capsys):
    def run(name, steps):
        # a constant rate, so that a run to step 6 by way of step 4 has the same schedule
        how = ("schedule.kind=stable_decay", "schedule.decay=0.0", f"train.steps={steps}")
        chosen = recipe.load("toy-gpt2", overrides=[*SMALL, *how])
        return recipe.run_recipe(chosen, **inputs, out=tmp_path / name)

    whole = run("whole", 6)
    said = capsys.readouterr().err
    shards = TokenShards(whole / "tokens", split="train")
    epochs = 6 * 512 / shards.epoch_tokens
    assert f"= {epochs:.2f} epochs" in said
    assert re.search(r"data .*an epoch tells [\d.]+k of them, repeats counted", said)
    assert 6 * 512 / shards.tokens != pytest.approx(epochs, rel=0.05)
    run("parts", 4)
    parts = run("parts", 6)
    left, right = (load_model_state(saved(path)[-1]) for path in (whole, parts))
    assert same_bits(left, right)
    log = [
        json.loads(line) for line in (parts / "log.jsonl").read_text(encoding="utf-8").splitlines()
    ]
    assert log[-1]["step"] == 6
