"""Two towers of every kind give the features of a straightforward implementation."""

from __future__ import annotations

import dataclasses
import json
import shutil

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from tests.runtime.tower_folders import (
    LONG,
    TEXTS,
    pictures,
    plain_pixels,
    rinnas_words,
    write_clip,
    write_rinna,
    write_siglip,
)

from minna.errors import ArtifactError, DataError, UsageError
from minna.models.weights import dual
from minna.runtime import own_towers
from minna.runtime.embedding_batches import by_length
from minna.runtime.own_towers import open_dual
from minna.runtime.two_towers import open_two_towers

pytest.importorskip("transformers")
CLOSE = {"rtol": 0, "atol": 2e-5}


@pytest.mark.parametrize(
    ("scores", "form", "native"),
    [("clip", "bin", False), ("cloob", "safetensors", False), ("clip", "safetensors", True)],
)
def test_rinnas_checkpoints_give_the_features_of_the_facts(tmp_path, scores, form, native):
    plain = write_rinna(tmp_path, scores=scores, form=form, native=native)
    towers = open_two_towers(tmp_path, device="cpu")
    texts = [*TEXTS, LONG]
    np.testing.assert_allclose(towers.texts(texts), plain.texts(texts), **CLOSE)
    expected = plain.images(plain_pixels(pictures(), 32))
    np.testing.assert_allclose(towers.images(pictures()), expected, **CLOSE)
    assert towers.width == 16 and towers.bias == 0
    assert towers.scale == pytest.approx(np.exp(3.1) if scores == "clip" else 25.0)
    assert towers.name == tmp_path.name and len(towers.digest) == 64


def test_texts_of_rinnas_own_vocabulary_begin_with_cls_in_lower_case(tmp_path, shared_data):
    plain = write_rinna(tmp_path, shared=shared_data)
    towers = open_two_towers(tmp_path, device="cpu")
    texts = ["犬", "Hello World ABC", LONG]
    np.testing.assert_allclose(towers.texts(texts), plain.texts(texts), **CLOSE)
    asked = []
    embed = towers.model.embed_text
    towers.model.embed_text = lambda tokens, lengths: asked.append((tokens, lengths)) or embed(tokens, lengths)  # fmt: skip
    towers.texts(["犬"])
    towers.texts([LONG])
    assert asked[0][0].tolist() == [[4, 9, 1651]] and asked[0][1].tolist() == [3]
    assert asked[1][1].tolist() == [77]
    towers.texts(["hello world abc"])
    assert asked[2][0].tolist() == [[4, 9, 22848, 463, 7375, 9, 8493]]


def test_what_is_written_in_our_layout_gives_the_same_and_reads_as_many_tokens(tmp_path):
    first, second = tmp_path / "first", tmp_path / "second"
    first.mkdir()
    plain = write_rinna(first)
    model = open_dual(first)
    text = dataclasses.replace(model.config.text, context=9)
    model.config = dataclasses.replace(model.config, text=text, centre="on")
    model.image_mean.fill_(0.25)
    config, state = dual.dual_to_disk(model)
    shutil.copytree(first, second)
    (second / "config.json").write_text(json.dumps(config), encoding="utf-8")
    save_file({k: v.contiguous() for k, v in state.items()}, second / "model.safetensors")
    (second / "tokenizer_config.json").write_text('{"do_lower_case": true}', encoding="utf-8")
    with pytest.raises(ArtifactError, match=r"preprocessor_config\.json"):
        open_two_towers(second)
    made = model.image.preprocess.to_disk()
    (second / "preprocessor_config.json").write_text(json.dumps(made), encoding="utf-8")
    towers, before = open_two_towers(second, device="cpu"), open_two_towers(first, device="cpu")
    np.testing.assert_allclose(towers.texts(TEXTS[:3]), plain.texts(TEXTS[:3]), **CLOSE)
    assert not np.allclose(towers.texts([LONG]), before.texts([LONG]), atol=1e-3)
    assert np.allclose(towers.texts([LONG]), towers.texts([LONG[:40]]), atol=1e-5)
    assert not np.allclose(towers.images(pictures()), before.images(pictures()), atol=1e-3)
    assert towers.digest != before.digest


def test_a_native_clip_tower_keeps_its_doubled_names_and_its_features(tmp_path):
    first, second = tmp_path / "first", tmp_path / "second"
    first.mkdir()
    write_rinna(first, native=True)
    before = open_two_towers(first, device="cpu")
    config, state = dual.dual_to_disk(before.model)
    assert all(name.startswith("vision_model.vision_model.") for name in state if "vision" in name)
    assert config["vision_config"]["minna_features"] == "first"
    shutil.copytree(first, second)
    (second / "config.json").write_text(json.dumps(config), encoding="utf-8")
    save_file({k: v.contiguous() for k, v in state.items()}, second / "model.safetensors")
    made = json.dumps(before.model.image.preprocess.to_disk())
    (second / "preprocessor_config.json").write_text(made, encoding="utf-8")
    after = open_two_towers(second, device="cpu")
    assert np.array_equal(after.images(pictures()), before.images(pictures()))
    assert after.model.state_dict().keys() == dict(dual.from_disk(state, after.model.config)).keys()


def test_a_text_embedder_refuses_pictures(tmp_path):
    write_rinna(tmp_path)
    model = open_dual(tmp_path)
    shape = dataclasses.replace(model.config, image={}, image_width=0, pooling="mean", width=16)
    from minna.models.dual import DualEncoder

    texts_only = DualEncoder(shape)
    texts_only.initialise(seed=0)
    config, state = dual.dual_to_disk(texts_only)
    assert config["vision_config"] is None
    (tmp_path / "config.json").write_text(json.dumps(config), encoding="utf-8")
    save_file({k: v.contiguous() for k, v in state.items()}, tmp_path / "model.safetensors")
    towers = open_two_towers(tmp_path, device="cpu")
    found = towers.texts(TEXTS)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-5)
    with pytest.raises(UsageError, match="texts only"):
        towers.images(pictures())


def test_texts_come_back_in_their_order_whatever_the_batches(tmp_path, monkeypatch):
    write_rinna(tmp_path)
    towers = open_two_towers(tmp_path, device="cpu")
    together = towers.texts([*TEXTS, LONG, *TEXTS])
    alone = np.concatenate([towers.texts([text]) for text in [*TEXTS, LONG, *TEXTS]])
    np.testing.assert_allclose(together, alone, **CLOSE)
    small = lambda lengths: by_length(lengths, tokens=20)  # noqa: E731
    monkeypatch.setattr(own_towers, "by_length", small)
    np.testing.assert_allclose(towers.texts([*TEXTS, LONG, *TEXTS]), alone, **CLOSE)
    assert towers.texts([]).shape == towers.images([]).shape == (0, 16)
    assert towers.texts([]).dtype == np.float32
    assert towers.images(iter(pictures() * 12)).shape == (36, 16)
    with pytest.raises(DataError):
        towers.texts(["\ud800"])


def test_batches_hold_every_text_once_and_few_places():
    lengths = [3, 50, 7, 7, 20, 1, 77, 3]
    batches = list(by_length(lengths, tokens=60))
    assert sorted(place for batch in batches for place in batch) == list(range(8))
    for batch in batches:
        assert len(batch) == 1 or len(batch) * max(lengths[place] for place in batch) <= 60
    assert list(by_length([])) == []


def test_a_clip_of_transformers_gives_its_own_features(tmp_path):
    model, words, see = write_clip(tmp_path)
    towers = open_two_towers(tmp_path, device="cpu")
    texts = ["a quick fox", "The fox, the QUICK one!", "犬と猫", "", "fox " * 60]
    asked = words(texts, padding=True, truncation=True, max_length=30, return_tensors="pt")
    with torch.no_grad():
        expected = model.get_text_features(**asked).pooler_output
        expected_images = model.get_image_features(see(pictures(), return_tensors="pt")["pixel_values"]).pooler_output  # fmt: skip
    normal = torch.nn.functional.normalize
    np.testing.assert_allclose(towers.texts(texts), normal(expected, dim=1), **CLOSE)
    np.testing.assert_allclose(towers.images(pictures()), normal(expected_images, dim=1), **CLOSE)
    assert towers.width == 16 and towers.bias == 0
    assert towers.scale == pytest.approx(model.logit_scale.exp().item())


def test_a_siglip_of_transformers_gives_its_own_features(tmp_path):
    model, words, see = write_siglip(tmp_path)
    towers = open_two_towers(tmp_path, device="cpu")
    texts = ["犬と猫の写真", "The  quick, BROWN fox!?", "a▁b c", "", "...", LONG, " 前と後 "]
    asked = words(texts, padding="max_length", truncation=True, max_length=24, return_tensors="pt")
    assert towers.reading.rows(texts) == asked["input_ids"].tolist()
    with torch.no_grad():
        expected = model.get_text_features(input_ids=asked["input_ids"]).pooler_output
        expected_images = model.get_image_features(see(pictures(), return_tensors="pt")["pixel_values"]).pooler_output  # fmt: skip
    normal = torch.nn.functional.normalize
    np.testing.assert_allclose(towers.texts(texts), normal(expected, dim=1), **CLOSE)
    np.testing.assert_allclose(towers.images(pictures()), normal(expected_images, dim=1), **CLOSE)
    assert towers.scale == pytest.approx(model.logit_scale.exp().item())
    assert towers.bias == pytest.approx(model.logit_bias.item()) and towers.width == 24


@pytest.mark.parametrize(
    ("write", "name", "told"),
    [
        (write_rinna, "vision_model.encoder.layer.1.output.dense.bias", r"layer\.1\.output|layers\.1\.down"),
        (write_rinna, "text_model.encoder.layer.1.output.dense.bias", r"layer\.1\.output|layers\.1\.down"),
        (write_rinna, "visual_projection.weight", "visual_projection"),
        (write_clip, "text_model.encoder.layers.1.mlp.fc2.bias", r"text_model\.encoder\.layers\.1\.mlp"),
        (write_siglip, "vision_model.encoder.layers.1.mlp.fc2.bias", r"vision_model\.encoder\.layers\.1\.mlp"),
    ],
)  # fmt: skip
def test_missing_unknown_and_misshapen_tensors_are_told(tmp_path, write, name, told):
    write(tmp_path)
    file = tmp_path / "model.safetensors"
    state = load_file(file)
    for changed, words in (
        ({k: v for k, v in state.items() if k != name}, told),
        ({**state, "text_model.more.weight": torch.zeros(2)}, "more"),
        ({**state, name: state[name][:-1].clone()}, told),
    ):
        save_file(changed, file)
        with pytest.raises(ArtifactError, match=words):
            open_two_towers(tmp_path, device="cpu")
    file.write_bytes(file.read_bytes()[:100])
    with pytest.raises(ArtifactError, match="safetensors"):
        open_two_towers(tmp_path, device="cpu")


def test_what_is_no_pair_of_towers_is_told_by_its_text_tower(tmp_path):
    write_rinna(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text(encoding="utf-8"))
    for changed, told in (
        ({"model_type": "gpt2"}, "gpt2"),
        ({"text_config": {**config["text_config"], "model_type": "t5"}}, "t5"),
    ):
        content = json.dumps({**config, **changed})
        (tmp_path / "config.json").write_text(content, encoding="utf-8")
        with pytest.raises(ArtifactError, match=told):
            open_two_towers(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps(config), encoding="utf-8")
    (tmp_path / "spiece.model").unlink()
    with pytest.raises(ArtifactError, match="japanese-roberta-base"):
        open_two_towers(tmp_path)


def test_a_tokenizer_of_another_model_is_refused(tmp_path):
    write_rinna(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text(encoding="utf-8"))
    state = load_file(tmp_path / "model.safetensors")
    name = "text_model.embeddings.word_embeddings.weight"
    state[name] = state[name][:50].clone()
    config["text_config"]["vocab_size"] = 50
    save_file(state, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text(json.dumps(config), encoding="utf-8")
    with pytest.raises(ArtifactError, match="has 50|tokens"):
        open_two_towers(tmp_path)
    clip = tmp_path / "clip"
    clip.mkdir()
    write_clip(clip)
    content = json.loads((clip / "config.json").read_text(encoding="utf-8"))
    content["text_config"]["eos_token_id"] = 5
    (clip / "config.json").write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(ArtifactError, match="end mark 5"):
        open_two_towers(clip)


def test_pictures_of_any_mode_are_seen(tmp_path):
    write_rinna(tmp_path)
    towers = open_two_towers(tmp_path, device="cpu")
    grey = Image.new("L", (40, 50), 90)
    found = towers.images([grey, grey.convert("RGB"), grey.convert("RGBA")])
    np.testing.assert_allclose(found[1:], np.stack([found[0]] * 2), **CLOSE)
    assert rinnas_words(tmp_path) > 50
