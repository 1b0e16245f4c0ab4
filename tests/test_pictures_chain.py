"""Words and pictures from a folder to a model that finds them, at toy size, for real."""

from __future__ import annotations

import dataclasses
import itertools
import json

import numpy as np
import pytest
import torch

from minna import recipe
from minna.corpus import BuildSettings, build_corpus
from minna.corpus.settings import DedupSettings
from minna.errors import ArtifactError, DataError, TrainingError, UsageError
from minna.export import export_run
from minna.metrics.retrieval import positive_ranks
from minna.recipe.tuning import kind_of
from minna.runtime.two_towers import open_two_towers
from minna.runtime.weights import read_weights
from minna.tokenizer import TokenizerSettings, train_tokenizer
from minna.train.state import read_model
from tests.stopping import stopping_at
from tests.toy_chain import make_corpus
from tests.toy_pictures import COLOURS, CONCEPTS, SHAPES, drawn, make_pairs, make_tower

PICTURES = [name for name in recipe.names() if recipe.load(name).stream.kind == "pictures"]
SENTENCES = [name for name in recipe.names() if recipe.load(name).stream.kind == "sentences"]
SMALL = (
    "model.layers=1",
    "model.width=32",
    "model.heads=2",
    "model.ffn=64",
    "model.context=32",
    "model.position_rows=34",
    "model.pixels=0",
    "model.dropout=0.0",
    "stream.row_tokens=16",
    "schedule.warmup=5",
    "optim.lr=0.003",
    "train.tokens_per_step=256",
    "train.micro_batch_rows=16",
    "train.steps=60",
    "train.log_every=20",
    "train.evaluate_every=60",
    "train.save_every=30",
    "train.precision=fp32",
    "train.compile=off",
)
WITH_PICTURES = (*SMALL, "model.tower=none", "stream.sources=[]", "stream.views=2")
VOCAB = 350


@pytest.fixture(scope="module", autouse=True)
def _cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MINNA_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A pair corpus, an image tower, a tokenizer with [CLS] and one without."""
    root = tmp_path_factory.mktemp("pictures")
    pairs = make_pairs(root)

    def tokenizer(settings):
        out = root / f"tokenizer-{getattr(settings, 'specials', 'minna')}"
        small = dataclasses.replace(settings, kind="bpe", vocab_size=VOCAB, byte_fallback=True)
        return train_tokenizer(pairs, out=out, settings=small)

    return pairs, make_tower(root), tokenizer


def run_of(name, world, out, *more):
    pairs, tower, tokenizer = world
    whole = recipe.load(name)
    words = tokenizer(whole.tokenizer)
    vocab = (
        f"tokenizer.vocab_size={VOCAB}",
        *((f"model.vocab={VOCAB}",) * bool(whole.model.vocab)),
    )
    small = recipe.load(
        name, overrides=(*WITH_PICTURES, *vocab, f"init.image={tower.as_posix()}", *more)
    )
    return recipe.run_recipe(small, corpus=pairs, tokenizer=words, out=out), small


def looks_of(run):
    lines = [json.loads(line) for line in (run / "log.jsonl").read_text("utf-8").splitlines()]
    return [line for line in lines if line["event"] == "evaluate"]


@pytest.mark.parametrize("name", PICTURES)
def test_a_shrunk_recipe_learns_to_find_pictures_by_words(name, world, tmp_path):
    run, small = run_of(name, world, tmp_path / "run")
    looks = looks_of(run)
    assert looks[-1]["valid/by_text_5"] > looks[0]["valid/by_text_5"]
    model = export_run(run, out=tmp_path / "model")
    towers = open_two_towers(model, device="cpu")
    texts = towers.texts(CONCEPTS)
    images = towers.images([drawn(concept) for concept in CONCEPTS])
    np.testing.assert_allclose(np.linalg.norm(texts, axis=1), 1, rtol=1e-5)
    ranks = positive_ranks(images, texts, np.stack([np.arange(len(CONCEPTS))] * 2, axis=1))
    assert ranks.mean() < 0.6 * (len(CONCEPTS) + 1) / 2, "by chance it is 12.5"
    assert towers.scale == pytest.approx(
        small.objective.inv_tau if small.objective.kind == "cloob" else towers.scale
    )


def test_the_image_tower_is_as_it_was_and_lies_in_no_checkpoint(world, tmp_path):
    run, _ = run_of("toy-clip", world, tmp_path / "run")
    model = export_run(run, out=tmp_path / "model")
    before = read_weights(world[1])
    after = read_weights(model)
    assert before
    for name, tensor in before.items():
        torch.testing.assert_close(after[f"vision_model.{name}"], tensor, rtol=0, atol=0)
    (last, *_) = sorted((run / "checkpoints").glob("step-*"), reverse=True)
    assert not any(name.startswith("image.") for name in read_model(last))


def test_a_stopped_run_ends_in_the_same_weights(world, tmp_path):
    whole, _ = run_of("toy-clip", world, tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt), stopping_at(30):
        run_of("toy-clip", world, tmp_path / "run")
    assert [path.name for path in (tmp_path / "run" / "checkpoints").glob("step-*")] == [
        "step-00000030"
    ]
    run, _ = run_of("toy-clip", world, tmp_path / "run")
    one, other = (read_model(max((r / "checkpoints").glob("step-*"))) for r in (whole, run))
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_an_update_split_into_micro_batches_is_that_of_one(world, tmp_path):
    short = ("train.steps=3", "train.evaluate_every=9", "optim.lr=0.001")
    one, _ = run_of("toy-clip", world, tmp_path / "one", *short)
    four, _ = run_of("toy-clip", world, tmp_path / "four", *short, "train.micro_batch_rows=4")
    first, second = (read_model(next((r / "checkpoints").glob("step-*"))) for r in (one, four))
    for name, tensor in first.items():
        torch.testing.assert_close(second[name], tensor, rtol=1e-3, atol=1e-5)


def test_an_image_tower_that_learns_sees_pictures_and_is_kept(world, tmp_path):
    more = ("trainable.image=true", 'stream.features="on_line"', "train.steps=8")
    run, small = run_of("toy-clip", world, tmp_path / "run", *more, "schedule.warmup=2")
    model = export_run(run, out=tmp_path / "model")
    before, after = read_weights(world[1]), read_weights(model)
    name = "encoder.layer.0.output.dense.weight"
    assert not torch.equal(after[f"vision_model.{name}"], before[name])
    made = kind_of(small).model(small, VOCAB)
    last = max((run / "checkpoints").glob("step-*"))
    made.load_state_dict(read_model(last))  # all of it, the image tower too
    towers = open_two_towers(model, device="cpu")
    mine = made.eval().embed_image(made.image.preprocess.pixels([drawn(CONCEPTS[0])]))
    mine = torch.nn.functional.normalize(mine, dim=1).detach().numpy()
    np.testing.assert_allclose(towers.images([drawn(CONCEPTS[0])]), mine, atol=1e-5)


def test_a_run_goes_on_with_no_other_image_tower(world, tmp_path):
    pairs, _, tokenizer = world
    run_of("toy-clip", world, tmp_path / "run", "train.steps=30")
    other = (pairs, make_tower(tmp_path, seed=1), tokenizer)
    with pytest.raises(TrainingError, match="init.image"):
        run_of("toy-clip", other, tmp_path / "run")
    text = json.loads((world[1] / "config.json").read_text("utf-8"))
    weights = world[1] / "model.safetensors"
    kept = weights.read_bytes()
    try:
        run, _ = run_of("toy-clip", world, tmp_path / "done", "train.steps=10")
        (world[1] / "config.json").write_text(json.dumps(text | {"hidden_act": "gelu"}, indent=1))
        with pytest.raises(ArtifactError, match="not the one this run was trained with"):
            export_run(run, out=tmp_path / "model")
    finally:
        weights.write_bytes(kept)
        (world[1] / "config.json").write_text(json.dumps(text), encoding="utf-8")


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (("trainable.image=true",), "stream.features is cached"),
        (("init.image=",), "no image tower"),
        (("init.from=somewhere",), "begins from two towers"),
        (("train.sharding=shard",), "whole on every rank"),
        (("objective.kind=causal_lm",), "learns by contrastive"),
        (("model.pixels=48",), "model.pixels is 48"),
    ],
)
def test_what_does_not_fit_is_told_before_anything_is_done(more, said, world, tmp_path):
    with pytest.raises(UsageError, match=said):
        run_of("toy-clip", world, tmp_path / "run", *more)


def test_a_step_needs_as_many_different_things(world, tmp_path):
    with pytest.raises(DataError, match="a step shows 32 different things"):
        run_of(
            "toy-clip",
            world,
            tmp_path / "run",
            "train.tokens_per_step=512",
            "train.micro_batch_rows=32",
        )


def test_an_unknown_source_is_named_beside_those_there_are(world, tmp_path):
    with pytest.raises(DataError, match="no picture of apple") as told:
        run_of("toy-clip", world, tmp_path / "run", 'stream.sources=["apple"]')
    assert "pictures" in told.value.remedy


def test_a_locked_tower_of_random_weights_is_refused(world, tmp_path):
    with pytest.raises(UsageError, match="sees nothing"):
        run_of(
            "japanese-clip-vit-b-16", world, tmp_path / "run", "init.image=", "model.tower=lite0"
        )


@pytest.mark.parametrize("name", SENTENCES)
def test_a_shrunk_embedder_finds_translations(name, tmp_path):
    colours = dict(zip(COLOURS, ("red", "blue", "green", "yellow", "black", "purple"), strict=True))
    shapes = dict(zip(SHAPES, ("circle", "square", "triangle", "line"), strict=True))
    pairs = [
        (f"The {a} {b} is bigger than the {c} {d}.", f"{x}{y}は{z}{w}より大きい。")
        for (x, a), (z, c) in itertools.permutations(colours.items(), 2)
        for (y, b), (w, d) in itertools.product(shapes.items(), repeat=2)
    ]
    (tmp_path / "text").mkdir()
    for place, language in enumerate(("en", "ja")):
        text = "".join(pair[place] + "\n" for pair in pairs)
        (tmp_path / "text" / f"train.{language}").write_text(text, encoding="utf-8")
    corpus = tmp_path / "corpus"
    settings = BuildSettings(
        source="pairs",
        path=tmp_path / "text",
        language="any",
        valid=0.2,
        test=0.0,
        dedup=DedupSettings(near="off"),
        workers=1,
    )
    build_corpus(settings=settings, out=corpus)
    whole = recipe.load(name)
    words = dataclasses.replace(whole.tokenizer, vocab_size=VOCAB)
    tokenizer = train_tokenizer(corpus, out=tmp_path / "tokenizer", settings=words)
    more = (f"tokenizer.vocab_size={VOCAB}", "stream.row_tokens=32", "train.tokens_per_step=1024")
    small = recipe.load(
        name, overrides=(*SMALL[:6], *SMALL[7:], *more, "train.micro_batch_rows=32")
    )
    run = recipe.run_recipe(small, corpus=corpus, tokenizer=tokenizer, out=tmp_path / "run")
    looks = looks_of(run)
    assert looks[-1]["valid/found_5"] > 2 * looks[0]["valid/found_5"]
    towers = open_two_towers(export_run(run, out=tmp_path / "model"), device="cpu")
    english, japanese = (towers.texts([pair[k] for pair in pairs[::7]]) for k in (0, 1))
    found = (english @ japanese.T).argmax(1) == np.arange(len(english))
    assert found.mean() > 5 / len(english)


def test_a_corpus_without_groups_teaches_no_embedder(tmp_path):
    corpus = make_corpus(tmp_path, count=300)
    words = train_tokenizer(
        corpus, out=tmp_path / "tokenizer", settings=TokenizerSettings(vocab_size=420)
    )
    small = recipe.load("toy-embedder", overrides=(*SMALL, "tokenizer.vocab_size=420"))
    with pytest.raises(DataError, match="of one group"):
        recipe.run_recipe(small, corpus=corpus, tokenizer=words, out=tmp_path / "run")
