"""Every recipe we ship, shrunk, goes the whole way: trains, exports, loads in transformers, talks.

All of them share one small corpus, and those with the same [tokenizer] share a tokenizer: what is left of
each is a second or two.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json

import pytest
import torch
from tests.corpus.made_corpora import english, row, write_corpus
from tests.models.qwen_reference import qwen_logits
from tests.toy_chain import sentences

from minna import recipe
from minna.export import export_run
from minna.recipe import resolved
from minna.runtime.generate import GenerateSettings, generate
from minna.runtime.load import load_model
from minna.runtime.weights import read_json, read_weights
from minna.tokenizer import TokenizerSettings
from minna.tokenizer.train import train_tokenizer

WIDTH, CONTEXT, PADDING = 32, 32, 12  # a context of 1,024 becomes one of 32, 8,192 one of 256
SMALL = (
    "model.layers=2",
    f"model.width={WIDTH}",
    "model.heads=2",
    "train.steps=2",
    "train.compile=off",
    "train.device=cpu",
    "train.micro_batch_rows=4",
    "train.evaluate_every=2",
    "train.save_every=2",
    "schedule.warmup=1",
    "evaluate.valid_documents=5",
    "evaluate.sample_tokens=4",
)


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    """A corpus in two languages, and a function that makes (once) the tokenizer of a recipe."""
    folder = tmp_path_factory.mktemp("inputs")
    texts = list(dict.fromkeys(sentences(400, seed=0)))
    rows = [row(text, split="train" if n > 40 else "valid") for n, text in enumerate(texts)]
    corpus = write_corpus(folder / "corpus", [*rows, *english(100)], file_rows=1000)

    def tokenizer_of(settings):
        if settings.kind == "base":  # any: what counts is that it is taken
            settings = TokenizerSettings()
        size = 420 if settings.byte_fallback else 200
        small = dataclasses.replace(settings, vocab_size=size)
        name = hashlib.sha256(repr(small).encode()).hexdigest()[:8]
        # settings that were used before find their directory there already
        return train_tokenizer(corpus, out=folder / name, settings=small), size

    return corpus, tokenizer_of


def shrink(name, *, vocab, more=()):
    """The recipe with its own features, and the size of a toy."""
    whole = recipe.load(name)
    ratio = whole.model.ffn / whole.model.width
    # rows of the embedding that no token has, where the released model has them
    padded = vocab + (PADDING if whole.model.vocab not in (None, whole.tokenizer.vocab_size) else 0)
    context = max(CONTEXT, whole.model.context * CONTEXT // 1024)
    kv_heads = getattr(whole.model, "kv_heads", None)
    if kv_heads is not None:
        shared = kv_heads != whole.model.heads  # by both heads
        more = (*more, f"model.kv_heads={1 if shared else 2}")
    overrides = [
        *SMALL,
        f"model.ffn={round(WIDTH * ratio)}",
        f"model.context={context}",
        f"stream.row_tokens={context}",
        f"train.tokens_per_step={context * 8}",
        f"tokenizer.vocab_size={vocab}",
        f"model.vocab={padded}",
        *more,
    ]
    return recipe.load(name, overrides=overrides)


def logits_elsewhere(folder, ids):
    """Of transformers; of the reference written in tests/models where it has no such model."""
    config = read_json(folder / "config.json")
    if config["model_type"] == "qwen":
        return qwen_logits(read_weights(folder), config, torch.tensor(ids)).float()
    from transformers import AutoModelForCausalLM

    peer = AutoModelForCausalLM.from_pretrained(folder).eval()
    with torch.no_grad():
        return peer(torch.tensor([ids])).logits[0]


# RoBERTa's have a chain of their own (tests/test_masked_chain.py), those of dialogues too (test_tuned_shrunk.py)
CAUSAL = [name for name in recipe.names() if recipe.load(name).stream.kind == "text"]


@pytest.mark.parametrize("name", CAUSAL)
def test_a_shrunk_recipe_trains_exports_loads_in_transformers_and_continues_text(
    name, inputs, tmp_path
):
    corpus, tokenizer_of = inputs
    whole = recipe.load(name)
    tokenizer, vocab = tokenizer_of(whole.tokenizer)
    more = ()
    if whole.init.from_:
        # a recipe of ours, or a model from elsewhere: then random weights of the same shape
        ours = whole.init.from_ in recipe.names()
        base = (
            shrink(whole.init.from_, vocab=vocab)
            if ours
            else shrink(name, vocab=vocab, more=("init.from=",))
        )
        recipe.run_recipe(base, corpus=corpus, tokenizer=tokenizer, out=tmp_path / "base-run")
        export_run(tmp_path / "base-run", out=tmp_path / "base")
        more = (f"init.from={(tmp_path / 'base').as_posix()}",)
    small = shrink(name, vocab=vocab, more=more)
    kept = {"family", "activation", "residual", "rotary_fraction", "rotary_scaling", "dropout"}
    kept |= {"tied", "residual_init", "embed_init_std"}
    assert {k: v for k, v in resolved(small)["model"].items() if k in kept} == {
        k: v for k, v in resolved(whole)["model"].items() if k in kept
    }
    recipe.run_recipe(small, corpus=corpus, tokenizer=tokenizer, out=tmp_path / "run")
    log = (tmp_path / "run" / "log.jsonl").read_text(encoding="utf-8").splitlines()
    assert any(json.loads(line)["event"] == "evaluate" for line in log)
    model = export_run(tmp_path / "run", out=tmp_path / "model")
    config = json.loads((model / "config.json").read_text(encoding="utf-8"))
    later = getattr(whole.tokenizer, "specials", "minna") in ("rinna-44k", "rinna-neox")
    assert (config["bos_token_id"], config["eos_token_id"]) == ((2, 3) if later else (1, 2))
    ours = load_model(model, device="cpu", dtype="fp32", layout="plain")
    ids = ours.tokenizer.encode("昨日、猫は図書館で走っている。")[: small.model.context]
    mine = ours.decoder.logits(ours.decoder(torch.tensor([ids])))[0]
    torch.testing.assert_close(mine, logits_elsewhere(model, ids), rtol=1e-4, atol=1e-5)
    assert mine.shape[-1] == small.model.vocab
    (answer,) = generate(ours, ["私は"], settings=GenerateSettings(max_new_tokens=6))
    assert 0 < len(answer.ids) <= 6
    assert all(token < ours.tokenizer.vocab_size for token in answer.ids)
