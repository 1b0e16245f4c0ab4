"""A run of adapters: what it keeps, that it goes on exactly, and both ways out of it."""

from __future__ import annotations

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file
from tests.cli.test_cli import run as call
from tests.recipe.test_recipes_shrunk import shrink
from tests.toy_chain import make_corpus

from minna import artifact, recipe
from minna.errors import ArtifactError, UsageError
from minna.export import ExportSettings, export_run
from minna.runtime.load import load_model
from minna.tokenizer import TokenizerSettings, train_tokenizer


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """A corpus, a tokenizer, and a model dir to go on from."""
    root = tmp_path_factory.mktemp("base")
    corpus = make_corpus(root)
    words = train_tokenizer(corpus, out=root / "words", settings=TokenizerSettings(vocab_size=420))
    whole = recipe.run_recipe(small(), corpus=corpus, tokenizer=words, out=root / "run")
    return corpus, words, export_run(whole, out=root / "model")


def small(*more):
    return shrink("youri-7b", vocab=420, more=more or ("init.from=",))


def lora(model, *more):
    return small(f"init.from={model.as_posix()}", "adapter.rank=4", "optim.lr=0.02", *more)


def logits(model, ids):
    loaded = load_model(model, device="cpu", dtype="fp32", layout="plain").decoder
    with torch.no_grad():
        return loaded.logits(loaded(ids))


@pytest.mark.parametrize("kind", ["fp32", "nf4"])
def test_a_run_of_adapters_keeps_them_alone_goes_on_exactly_and_leaves_in_two_ways(
    base, kind, tmp_path
):
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    corpus, words, model = base
    given = {"corpus": corpus, "tokenizer": words}
    four = (f"adapter.base={kind}", "train.steps=4", "train.precision=fp32")
    straight = recipe.run_recipe(lora(model, *four), **given, out=tmp_path / "straight")
    stopped = tmp_path / "stopped"
    recipe.run_recipe(lora(model, *four[:1], "train.steps=2", four[2]), **given, out=stopped)
    recipe.run_recipe(lora(model, *four), **given, out=stopped)
    one, other = (
        load_file(run / "checkpoints" / "step-00000004" / "model.safetensors")
        for run in (straight, stopped)
    )
    assert all(".lora_" in name for name in one) and len(one) == 2 * 2 * 5
    if kind == "fp32":  # the schedule of the first two steps ended earlier: not the same run
        assert set(one) == set(other)
    moved = [tensor for name, tensor in one.items() if "lora_B" in name]
    assert all(float(tensor.abs().max()) > 0 for tensor in moved)
    whole = export_run(straight, out=tmp_path / "whole")
    alone = export_run(straight, out=tmp_path / "alone", settings=ExportSettings(adapter=True))
    assert artifact.read_manifest(alone).kind == "adapter"
    assert sorted(p.name for p in alone.iterdir() if "adapter" in p.name) == [
        "adapter_config.json",
        "adapter_model.safetensors",
    ]
    ids = torch.arange(40, 72).unsqueeze(0)
    before, after = logits(model, ids), logits(whole, ids)
    change = float((after - before).abs().max())
    assert change > 0.01
    theirs = PeftModel.from_pretrained(
        AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32), alone
    )
    with torch.no_grad():
        off = (theirs(ids).logits - after).abs()
    # beside the whole base, what was learned beside a 4-bit one is off by its rounding
    assert float(off.max()) < 1e-4 if kind == "fp32" else float(off.mean()) < 0.2 * change


def test_adapters_are_exact_on_resume(base, tmp_path):
    """Killed between two checkpoints, a run with the same settings ends with the same tensors."""
    corpus, words, model = base
    given = {"corpus": corpus, "tokenizer": words}
    settings = lora(model, "train.steps=4", "adapter.dropout=0.1")
    straight = recipe.run_recipe(settings, **given, out=tmp_path / "straight")
    cut = tmp_path / "cut"
    shutil.copytree(straight, cut)
    shutil.rmtree(cut / "checkpoints" / "step-00000004")
    (cut / artifact.MANIFEST_NAME).unlink()
    recipe.run_recipe(settings, **given, out=cut)
    for name in ("model", "optimiser"):
        one, other = (
            load_file(run / "checkpoints" / "step-00000004" / f"{name}.safetensors")
            for run in (straight, cut)
        )
        assert all(torch.equal(tensor, other[key]) for key, tensor in one.items()), name


def test_the_commands_say_what_cannot_be(base, tmp_path, monkeypatch, capsys):
    corpus, words, model = base
    for more, words_said in (
        (("init.from=", "adapter.rank=4"), "init.from names no weights"),
        (
            ("init.from=x", "adapter.rank=4", "adapter.bse=nf4"),
            "unknown key adapter.bse; did you mean",
        ),
        (
            ("init.from=x", "adapter.rank=4", "adapter.base=nf4", "train.sharding=shard"),
            "cannot be shared out in parts",
        ),
        (("init.from=x", "adapter.rank=4", "trainable={embed=true}"), "use one of them"),
    ):
        with pytest.raises(UsageError, match=".*") as said:
            small(*more)
        assert words_said in f"{said.value} {said.value.remedy}"
    done = recipe.run_recipe(small(), corpus=corpus, tokenizer=words, out=tmp_path / "run")
    status, _, err = call(
        f"minna export {done} --adapter --out {tmp_path / 'x'}", monkeypatch, capsys
    )
    assert status == 2 and "trained whole weights" in " ".join(err.split())
    assert not (tmp_path / "x").exists()
    tuned = recipe.run_recipe(lora(model), corpus=corpus, tokenizer=words, out=tmp_path / "lora")
    status, out, _ = call(f"minna export {tuned} --adapter --out {tmp_path / 'x'} --json", monkeypatch, capsys)  # fmt: skip
    assert status == 0 and json.loads(out)["model"] == str(tmp_path / "x")


def test_adapters_are_merged_into_no_other_weights_than_they_learned_beside(base, tmp_path):
    corpus, words, model = base
    own = tmp_path / "own"
    shutil.copytree(model, own)
    run = recipe.run_recipe(lora(own), corpus=corpus, tokenizer=words, out=tmp_path / "run")
    weights = own / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    with pytest.raises(ArtifactError, match="is not the one these adapters learned beside"):
        export_run(run, out=tmp_path / "model")
    shutil.rmtree(own)
    with pytest.raises(ArtifactError, match="is gone, and the run holds only its adapters"):
        export_run(run, out=tmp_path / "model")
