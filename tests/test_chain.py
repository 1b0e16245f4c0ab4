"""The main job at toy size, for real: text -> corpus -> tokenizer -> run -> model -> report -> release."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys

import pytest
import torch

from minna import artifact, pipeline, recipe
from minna.corpus import BuildSettings, build_corpus
from minna.errors import ArtifactError, TrainingError, UsageError
from minna.export import ExportSettings, export_run
from minna.runtime.load import load_model
from minna.tokenizer.load import load_tokenizer
from minna.train.checkpoint import saved
from tests.toy_chain import sentences

FAST = (
    "train.steps=12",
    "train.compile=off",
    "train.device=cpu",
    "train.tokens_per_step=512",
    "train.micro_batch_rows=8",
    "train.evaluate_every=6",
    "train.save_every=6",
    "train.log_every=2",
    "evaluate.sample_tokens=8",
    "evaluate.valid_documents=20",
)
SMALL = {
    "gpt_neox": (
        "toy-gpt-neox",
        ("model.layers=2", "model.width=32", "model.heads=2", "model.ffn=64"),
    ),
    "gpt2": ("toy-gpt2", ("model.width=32", "model.heads=2", "model.ffn=64")),
}


def write_pipeline(folder, family="gpt_neox", overrides=()):
    text = folder / "text.txt"
    text.write_text("\n".join(sentences(1500, seed=0)), encoding="utf-8")
    name, shape = SMALL[family]
    mine = folder / "toy.toml"
    mine.write_text(
        f'extends = "{name}"\nname = "toy"\n[tokenizer]\nkind = "bpe"\nvocab_size = 420\n',
        encoding="utf-8",
    )
    steps = json.dumps([*FAST, *shape, *overrides])
    file = folder / "toy-pipeline.toml"
    file.write_text(
        f"""
name = "toy"
description = "The quickstart, small"
show = ["私は"]
[[stage]]
verb = "corpus build"
out = "corpus"
settings = {{ source = "local", path = "{text.as_posix()}", documents = "line", test = 0.1, valid = 0.05, licence = "CC0-1.0" }}
[[stage]]
verb = "tokenizer train"
out = "tokenizer"
corpus = "corpus"
recipe = "{mine.as_posix()}"
[[stage]]
verb = "train"
out = "run"
recipe = "{mine.as_posix()}"
corpus = "corpus"
tokenizer = "tokenizer"
overrides = {steps}
[[stage]]
verb = "export"
out = "model"
run = "run"
[[stage]]
verb = "evaluate"
out = "report"
model = "model"
corpus = "corpus"
settings = {{ references = ["kneser-ney", "xz"] }}
[[stage]]
verb = "release"
out = "release"
model = "model"
reports = ["report"]
settings = {{ name = "toy" }}
""",
        encoding="utf-8",
    )
    return file


@pytest.fixture(scope="module", params=["gpt_neox", "gpt2"])
def chain(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp(request.param)
    file = write_pipeline(folder, request.param)
    chosen = pipeline.load(str(file))
    pipeline.run(chosen, out=folder / "out")
    return chosen, folder / "out"


def test_every_directory_is_intact_and_knows_its_parents(chain):
    chosen, out = chain
    for stage in chosen.stage:
        manifest, findings = artifact.inspect(out / stage.out)
        assert findings == [], stage.out
        assert manifest.kind in ("corpus", "tokenizer", "run", "model", "report", "release")
    run = artifact.read_manifest(out / "run")
    assert {parent.role for parent in run.parents} == {"corpus", "tokenizer"}
    assert run.licences[0].licence == "CC0-1.0"


def test_the_second_run_of_a_pipeline_changes_nothing(chain):
    chosen, out = chain
    before = {
        stage.out: (out / stage.out / "minna.json").stat().st_mtime_ns for stage in chosen.stage
    }
    pipeline.run(chosen, out=out)
    after = {
        stage.out: (out / stage.out / "minna.json").stat().st_mtime_ns for stage in chosen.stage
    }
    assert before == after


def test_the_run_has_curves_samples_and_a_report_for_people(chain):
    _, out = chain
    lines = (out / "run" / "log.jsonl").read_text(encoding="utf-8").splitlines()
    entries = [json.loads(line) for line in lines]
    losses = [entry["loss"] for entry in entries if entry["event"] == "train"]
    looks = [entry["bits_per_byte"] for entry in entries if entry["event"] == "evaluate"]
    assert losses[-1] < losses[0] and len(looks) == 3 and looks[-1] < looks[0]
    assert any(entry["event"] == "sample" and entry["prompt"] == "私は" for entry in entries)
    page = (out / "run" / "report.html").read_text(encoding="utf-8")
    assert "<svg" in page and "私は" in page and 'name="viewport"' in page
    assert "src=" not in page and 'href="http' not in page.replace("http://www.w3.org", "")
    assert list((out / "run").glob("events.out.tfevents.*"))


LOAD = """
import sys, json, torch
assert not any(name.startswith("minna") for name in sys.modules)
from transformers import AutoModelForCausalLM, AutoTokenizer
path, texts = sys.argv[1], json.loads(sys.argv[2])
tokenizer = AutoTokenizer.from_pretrained(path)
model = AutoModelForCausalLM.from_pretrained(path).eval()
out = []
for text in texts:
    ids = tokenizer(text)["input_ids"]
    with torch.no_grad():
        logits = model(torch.tensor([ids])).logits[0, -1].double().tolist()
    out.append({"ids": ids, "logits": logits})
print(json.dumps(out))
"""


def test_the_release_loads_in_transformers_without_minna_with_the_same_ids_and_logits(
    chain, tmp_path
):
    _, out = chain
    texts = ["私は学校で", "昨日、猫は図書館で走っている。", "emoji 😃 と\n改行  二つの空白"]
    done = subprocess.run(
        [sys.executable, "-I", "-c", LOAD, str(out / "release"), json.dumps(texts)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "HF_HUB_OFFLINE": "1"},
    )
    assert done.returncode == 0, done.stderr[-2000:]
    peer = json.loads(done.stdout.strip().splitlines()[-1])
    ours = load_model(out / "release", device="cpu", dtype="fp32", layout="plain")
    for text, theirs in zip(texts, peer, strict=True):
        ids = ours.tokenizer.encode(text)
        assert ids == theirs["ids"]
        hidden = ours.decoder(torch.tensor([ids]))[0, -1]
        logits = ours.decoder.logits(hidden).double()
        torch.testing.assert_close(
            logits, torch.tensor(theirs["logits"], dtype=torch.float64), rtol=1e-4, atol=1e-5
        )


def test_the_report_puts_the_model_beside_kneser_ney_and_xz(chain):
    _, out = chain
    report = json.loads((out / "report" / "report.json").read_text(encoding="utf-8"))
    (task,) = report["tasks"]
    assert set(task["references"]) == {"kneser-ney", "xz"}
    assert 0 < task["metrics"]["bits_per_byte"]["low"] < task["metrics"]["bits_per_byte"]["high"]


def test_exports_in_half_precision_and_in_shards_load_as_the_same_model(chain, tmp_path):
    _, out = chain
    whole = load_model(out / "model", dtype="fp32", layout="plain").decoder.state_dict()
    half = export_run(out / "run", out=tmp_path / "half", settings=ExportSettings(dtype="bfloat16"))
    cut = export_run(
        out / "run", out=tmp_path / "cut", settings=ExportSettings(shard_bytes=1_000_000)
    )
    for folder, tolerance in ((half, 0.02), (cut, 0.0)):
        state = load_model(folder, dtype="fp32", layout="plain").decoder.state_dict()
        for name, tensor in whole.items():
            torch.testing.assert_close(state[name], tensor, rtol=tolerance, atol=tolerance / 10)


def test_a_run_goes_on_from_an_exported_model_of_the_same_shape(chain, tmp_path):
    chosen, out = chain
    stage = next(stage for stage in chosen.stage if stage.verb == "train")
    more = recipe.load(
        stage.recipe,
        overrides=[*stage.overrides, "train.steps=2", f"init.from={(out / 'model').as_posix()}"],
    )
    recipe.run_recipe(
        more, corpus=out / "corpus", tokenizer=out / "tokenizer", out=tmp_path / "more"
    )
    log = (tmp_path / "more" / "log.jsonl").read_text(encoding="utf-8").splitlines()
    first = next(json.loads(line) for line in log if json.loads(line)["event"] == "train")
    old = (out / "run" / "log.jsonl").read_text(encoding="utf-8").splitlines()
    start = next(json.loads(line) for line in old if json.loads(line)["event"] == "train")
    assert first["loss"] < start["loss"]


def test_other_settings_in_the_same_run_directory_are_refused_by_name(chain):
    chosen, out = chain
    stage = next(stage for stage in chosen.stage if stage.verb == "train")
    other = recipe.load(stage.recipe, overrides=[*stage.overrides, "optim.lr=0.5"])
    with pytest.raises(TrainingError, match=r"optim\.lr was .* and is now 0\.5"):
        recipe.run_recipe(
            other, corpus=out / "corpus", tokenizer=out / "tokenizer", out=out / "run"
        )


def test_a_longer_run_goes_on_where_the_shorter_ended(chain, tmp_path):
    chosen, out = chain
    stage = next(stage for stage in chosen.stage if stage.verb == "train")
    run = tmp_path / "run"
    shutil.copytree(out / "run", run)
    longer = recipe.load(stage.recipe, overrides=[*stage.overrides, "train.steps=14"])
    recipe.run_recipe(longer, corpus=out / "corpus", tokenizer=out / "tokenizer", out=run)
    assert saved(run)[-1].name == "step-00000014"
    assert artifact.read_manifest(run).counts["steps"].value == 14


def test_a_run_does_not_go_on_with_other_text_or_fewer_steps(chain, tmp_path):
    chosen, out = chain
    stage = next(stage for stage in chosen.stage if stage.verb == "train")
    run = tmp_path / "run"
    shutil.copytree(out / "run", run)
    text = tmp_path / "other.txt"
    text.write_text("\n".join(sentences(900, seed=9)), encoding="utf-8")
    other = build_corpus(
        settings=BuildSettings(source="local", path=text, documents="line"), out=tmp_path / "corpus"
    )
    same = recipe.load(stage.recipe, overrides=stage.overrides)
    with pytest.raises(TrainingError, match="trained on another corpus"):
        recipe.run_recipe(same, corpus=other, tokenizer=out / "tokenizer", out=run)
    fewer = recipe.load(stage.recipe, overrides=[*stage.overrides, "train.steps=6"])
    with pytest.raises(TrainingError, match="stands at step 12, and train.steps is 6"):
        recipe.run_recipe(fewer, corpus=out / "corpus", tokenizer=out / "tokenizer", out=run)
    assert artifact.inspect(run)[1] == []


def test_a_part_that_is_frozen_stays_as_it_was_initialised(chain, tmp_path):
    from minna.models import build
    from minna.train.checkpoint import load_model_state

    chosen, out = chain
    stage = next(stage for stage in chosen.stage if stage.verb == "train")
    half = recipe.load(
        stage.recipe, overrides=[*stage.overrides, "train.steps=2", "trainable.layers=false"]
    )
    run = tmp_path / "half"
    recipe.run_recipe(half, corpus=out / "corpus", tokenizer=out / "tokenizer", out=run)
    fresh = build(half.model, vocab=load_tokenizer(out / "tokenizer").vocab_size)
    fresh.initialise(seed=half.train.seed)
    learned = load_model_state(saved(run)[-1])
    for name, tensor in fresh.state_dict().items():
        assert torch.equal(learned[name], tensor) == name.startswith("layers."), name


def test_training_into_a_directory_that_is_no_run_is_refused(chain):
    chosen, out = chain
    stage = next(stage for stage in chosen.stage if stage.verb == "train")
    same = recipe.load(stage.recipe, overrides=stage.overrides)
    with pytest.raises(ArtifactError, match="is not a run"):
        recipe.run_recipe(
            same, corpus=out / "corpus", tokenizer=out / "tokenizer", out=out / "corpus"
        )
    assert artifact.inspect(out / "corpus")[1] == []


def test_initial_weights_of_another_network_with_the_same_shapes_are_refused(chain, tmp_path):
    chosen, out = chain
    stage = next(stage for stage in chosen.stage if stage.verb == "train")
    more = [*stage.overrides, f"init.from={(out / 'model').as_posix()}", "model.heads=4"]
    other = recipe.load(stage.recipe, overrides=more)
    with pytest.raises(UsageError, match="heads 2 there"):
        recipe.run_recipe(
            other, corpus=out / "corpus", tokenizer=out / "tokenizer", out=tmp_path / "more"
        )


def test_an_export_refuses_a_damaged_run_and_a_tokenizer_that_was_made_again(chain, tmp_path):
    chosen, out = chain
    run = tmp_path / "run"
    shutil.copytree(out / "run", run)
    newest = max((run / "checkpoints").glob("step-*")) / "model.safetensors"
    content = bytearray(newest.read_bytes())
    content[-1] ^= 1
    newest.write_bytes(content)
    with pytest.raises(ArtifactError, match="is damaged"):
        export_run(run, out=tmp_path / "model")
    shutil.copyfile(out / "run" / newest.relative_to(run), newest)
    manifest = artifact.read_manifest(run)
    parents = [
        parent.model_copy(update={"sha256": "0" * 64}) if parent.role == "tokenizer" else parent
        for parent in manifest.parents
    ]
    artifact.write_manifest(run, manifest.model_copy(update={"parents": parents}))
    with pytest.raises(ArtifactError, match="not the one this run was trained with"):
        export_run(run, out=tmp_path / "model")


def test_a_tokenizer_of_another_size_than_the_weights_is_refused(chain, tmp_path):
    chosen, out = chain
    with pytest.raises(ArtifactError, match="a corpus is needed"):
        recipe.run_recipe(
            recipe.load("toy-gpt2"),
            corpus=out / "tokenizer",
            tokenizer=out / "tokenizer",
            out=tmp_path / "r",
        )
    with pytest.raises(ArtifactError, match="a run is needed"):
        export_run(out / "corpus", out=tmp_path / "m")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (('model = "model"', 'model = "modell"'), "no earlier stage"),
        (('out = "report"', 'out = "model"'), "two stages write"),
        (('verb = "export"', 'verb = "exprot"'), "exprot"),
        (('run = "run"', 'rum = "run"'), "run"),
    ],
)
def test_a_wrong_pipeline_says_what_is_wrong_before_anything_runs(tmp_path, change, words):
    file = write_pipeline(tmp_path)
    file.write_text(file.read_text(encoding="utf-8").replace(*change), encoding="utf-8")
    with pytest.raises(UsageError, match=words):
        pipeline.load(str(file))


def test_our_own_pipelines_are_valid():
    for name in pipeline.names():
        chosen = pipeline.load(name)
        assert chosen.name == name
        for stage in chosen.stage:
            if stage.verb == "train":
                recipe.load(stage.recipe, overrides=stage.overrides)


def test_token_shards_hold_the_corpus_and_go_on_after_a_cut(tmp_path):
    from minna.streams import TokenShards, write_tokens
    from minna.tokenizer.train import TokenizerSettings, train_tokenizer

    text = tmp_path / "text.txt"
    text.write_text("\n".join(sentences(600, seed=3)), encoding="utf-8")
    settings = BuildSettings(source="local", path=text, documents="line", shard_documents=100)
    corpus = build_corpus(settings=settings, out=tmp_path / "corpus")
    tokenizer = train_tokenizer(
        corpus, out=tmp_path / "tokenizer", settings=TokenizerSettings(vocab_size=420)
    )
    out = write_tokens(corpus, tokenizer=tokenizer, out=tmp_path / "tokens")
    words = load_tokenizer(tokenizer)
    shards = TokenShards(out, split="train")
    assert len(shards.shards) > 1
    texts = [
        words.decode(shard.tokens[a : b - 1].tolist())
        for shard in shards.shards
        for a, b in zip(shard.offsets, shard.offsets[1:], strict=False)
    ]
    from minna.corpus.read import texts as read_texts

    original = [document.text for document in read_texts(corpus, split="train")]
    assert texts == original
    assert shards.bytes == sum(len(text.encode()) + 1 for text in original)
    assert all(
        shard.tokens[shard.offsets[1:] - 1].tolist() == [words.eos_id] * shard.documents
        for shard in shards.shards
    )
    before = {f.name: f.stat().st_mtime_ns for f in out.iterdir()}
    write_tokens(corpus, tokenizer=tokenizer, out=out)
    assert before == {f.name: f.stat().st_mtime_ns for f in out.iterdir()}
    victim = next(out.glob("train-*.bin"))
    victim.write_bytes(victim.read_bytes()[:-2])
    with pytest.raises(ArtifactError, match="bytes, not"):
        TokenShards(out, split="train")
