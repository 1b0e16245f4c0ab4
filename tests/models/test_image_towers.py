"""Preprocessing equals transformers' to the bit; EfficientNet-Lite0 and ViT are what they say."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from safetensors.torch import load_file
from torch import nn

from minna.errors import ArtifactError, UsageError
from minna.models.pictures import lite0, vit
from minna.models.pictures.lite0 import CLASSES, WIDTH, ConvNorm, Lite0
from minna.models.pictures.preprocess import Preprocess, lite0_preprocess, rinna_preprocess
from minna.models.pictures.towers import lite_config, make_tower, tower_to_disk
from minna.models.pictures.vit import Vit, VitConfig

SHAPES = [(40, 61), (64, 40), (33, 33), (300, 20), (9, 70)]
VIT = {
    "model_type": "vit",
    "image_size": 32,
    "patch_size": 8,
    "num_hidden_layers": 2,
    "hidden_size": 24,
    "num_attention_heads": 3,
    "intermediate_size": 40,
    "layer_norm_eps": 1e-6,
}


def picture(width, height, *, mode="RGB", seed=0):
    bands = {"RGB": 3, "RGBA": 4, "L": 1}[mode]
    values = np.random.default_rng(seed).integers(0, 256, (height, width, bands), np.uint8)
    return Image.fromarray(values if bands > 1 else values[..., 0], mode)


def pictures():
    return [picture(w, h, seed=n) for n, (w, h) in enumerate(SHAPES)]


@pytest.mark.parametrize(
    ("kind", "fields"),
    [
        ("CLIP", {"size": {"shortest_edge": 32}, "crop_size": {"height": 32, "width": 32}}),
        ("CLIP", {"size": 37, "crop_size": 32, "resample": 2}),
        ("CLIP", {"size": {"shortest_edge": 20}, "crop_size": 33, "do_normalize": False}),
        ("ViT", {"size": {"height": 32, "width": 32}}),
        ("ViT", {"size": 31, "image_mean": [0.1, 0.2, 0.3], "resample": 1}),
        ("ViT", {"size": 32, "do_rescale": False, "image_mean": 127.0, "image_std": 128.0}),
        ("Siglip", {"size": {"height": 30, "width": 30}}),
        ("EfficientNet", {"size": {"height": 40, "width": 40}, "do_center_crop": True, "crop_size": 32}),
        ("EfficientNet", {"size": 32, "include_top": False, "rescale_offset": True}),
    ],
)  # fmt: skip
def test_pixels_are_those_of_transformers(kind, fields):
    transformers = pytest.importorskip("transformers")
    theirs = getattr(transformers, f"{kind}ImageProcessorPil")(do_convert_rgb=True, **fields)
    for name in (f"{kind}ImageProcessor", f"{kind}FeatureExtractor", f"{kind}ImageProcessorPil"):
        ours = Preprocess.from_disk({"image_processor_type": name, **fields})
        shown = [*pictures(), picture(50, 31, mode="RGBA"), picture(20, 44, mode="L")]
        expected = theirs(shown, return_tensors="pt")["pixel_values"]
        found = ours.pixels(shown)
        assert found.dtype == torch.float32 and found.shape == expected.shape
        if kind == "EfficientNet":  # one division by std and one shift here, two steps there
            torch.testing.assert_close(found, expected, rtol=0, atol=2e-5)
        else:
            assert torch.equal(found, expected)


def test_a_file_that_transformers_wrote_is_read_as_it_is_written_here(tmp_path):
    transformers = pytest.importorskip("transformers")
    theirs = transformers.CLIPImageProcessorPil(size={"shortest_edge": 40}, crop_size=36)
    theirs.save_pretrained(tmp_path)
    content = json.loads((tmp_path / "preprocessor_config.json").read_text(encoding="utf-8"))
    ours = Preprocess.from_disk(content)
    assert ours == Preprocess(size=36, resized=40)
    back = transformers.CLIPImageProcessorPil.from_dict(rinna_preprocess(36).to_disk())
    assert torch.equal(
        rinna_preprocess(36).pixels(pictures()),
        back(pictures(), return_tensors="pt")["pixel_values"],
    )


@settings(deadline=None)
@given(
    st.builds(
        Preprocess,
        size=st.integers(1, 300),
        resized=st.integers(1, 300),
        resize=st.sampled_from(["short_side", "squash"]),
        interpolation=st.sampled_from(["nearest", "bilinear", "bicubic", "lanczos"]),
        scale=st.sampled_from([1.0, 1 / 255]),
    )
)
def test_what_is_written_is_read_back_and_has_the_same_key(made):
    read = Preprocess.from_disk(json.loads(json.dumps(made.to_disk())))
    assert read == made and read.key == made.key
    assert made.key != Preprocess(size=made.size + 1).key


def test_lite0_sees_the_middle_seven_eighths():
    for size in (128, 224):
        made = lite0_preprocess(size)
        assert made == lite0_preprocess().at(size) or size != 224
        image = picture(size * 8 // 7 + 1, size * 8 // 7 + 1)
        pixels = made.pixels([image])[0]
        assert pixels.shape == (3, size, size)
    whole = Image.new("RGB", (256, 256), (127, 255, 0))
    seen = lite0_preprocess().pixels([whole])[0, :, 0, 0]
    torch.testing.assert_close(seen, torch.tensor([0.0, 1.0, -127 / 128]), rtol=0, atol=1e-6)
    assert lite0_preprocess().pixels([]).shape == (0, 3, 224, 224)


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"size": {"shortest_edge": 32}, "do_center_crop": False}, "crops nothing"),
        ({"size": {"shortest_edge": 32, "longest_edge": 64}}, "every shape"),
        ({"size": {"height": 32, "width": 30}}, "squares"),
        ({"do_resize": False}, "do_resize"),
        ({"do_pad": True}, "do_pad"),
        ({"resample": 9}, "resample 9"),
        ({"image_mean": [0.5]}, "three colours"),
        ({"image_std": [0.0, 1.0, 1.0]}, "infinities"),
        ({"image_processor_type": "NobodysImageProcessor"}, "NobodysImageProcessor"),
    ],
)
def test_what_would_change_pixels_and_is_not_done_is_refused(fields, told):
    with pytest.raises((ArtifactError, UsageError), match=told):
        Preprocess.from_disk({"image_processor_type": "CLIPImageProcessor", **fields})


def placed(width, height):
    """A picture in which red says how far right a pixel is, and green how far down."""
    across = np.tile(np.linspace(0, 255, width).astype(np.uint8), (height, 1))
    down = np.tile(np.linspace(0, 255, height).astype(np.uint8)[:, None], (1, width))
    return Image.fromarray(np.stack([across, down, down], -1))


@pytest.mark.parametrize("made", [rinna_preprocess(32), lite0_preprocess(28), Preprocess(size=32, resize="squash")])  # fmt: skip
def test_crops_are_drawn_from_the_generator_and_hold_most_of_the_picture(made):
    for width, height in ((120, 120), (200, 120), (90, 300)):
        image = placed(width, height)
        drawn = [made.augmented(image, generator=np.random.default_rng((7, n))) for n in range(12)]
        again = [made.augmented(image, generator=np.random.default_rng((7, n))) for n in range(12)]
        assert all(a.tobytes() == b.tobytes() for a, b in zip(drawn, again, strict=True))
        assert len({one.tobytes() for one in drawn}) == 12
        for one in drawn:
            assert min(one.size) == made.resized
            kept = [np.ptp(np.asarray(one)[..., colour]) / 255 for colour in (0, 1)]
            assert all(0.85 < share <= 1 for share in kept) and 0.85 < kept[0] * kept[1] <= 1
            assert made.pixels([one]).shape == (1, 3, made.size, made.size)
    tiny = made.augmented(picture(1, 1), generator=np.random.default_rng(0))
    assert made.pixels([tiny]).shape == (1, 3, made.size, made.size)


def test_a_crop_is_shown_without_being_resized_again():
    made = lite0_preprocess(28)
    for width, height in ((50, 50), (77, 50), (31, 93)):
        crop = made.augmented(picture(width, height), generator=np.random.default_rng(1))
        left, top = (crop.width - 28) // 2, (crop.height - 28) // 2
        middle = np.asarray(crop)[top : top + 28, left : left + 28]
        seen = torch.from_numpy((middle.transpose(2, 0, 1).astype(np.float32) - 127) / 128)
        torch.testing.assert_close(made.pixels([crop])[0], seen, rtol=0, atol=1e-6)


def learned_lite0(*, classes=0):
    """Weights as of a network that saw something: statistics that are not 0 and 1."""
    torch.manual_seed(1)
    model = Lite0(classes=classes).eval()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, std=0.3)
            module.running_mean.normal_(std=0.2)
            module.running_var.uniform_(0.3, 2.0)
    return model


def test_lite0_has_the_size_and_the_shape_of_its_paper():
    with torch.device("meta"):
        whole = Lite0(classes=CLASSES)
    assert sum(p.numel() for p in whole.parameters()) == 4_652_008
    convolutions = [m for m in whole.modules() if isinstance(m, nn.Conv2d)]
    assert len(convolutions) == 49 and len(whole.blocks) == 16
    assert sum(m.stride[0] == 2 for m in convolutions) == 5
    model = learned_lite0()
    for side in (32, 45, 64):
        assert model(torch.randn(2, 3, side, side)).shape == (2, WIDTH)


@pytest.mark.parametrize(
    ("side", "kernel", "stride"), [(16, 3, 2), (15, 5, 2), (16, 5, 2), (9, 5, 1)]
)
def test_padding_is_tensorflows(side, kernel, stride):
    layer = ConvNorm(4, 4, kernel=kernel, stride=stride, groups=4).eval()
    x = torch.randn(1, 4, side, side)
    total = max((-(-side // stride) - 1) * stride + kernel - side, 0)
    before = total // 2
    larger = F.pad(x, (before, total - before, before, total - before))
    expected = layer.norm(F.conv2d(larger, layer.conv.weight, stride=stride, groups=4))
    torch.testing.assert_close(layer(x), expected)
    assert layer(x).shape[-1] == -(-side // stride)


def test_fused_norms_give_the_same_features():
    model = learned_lite0()
    pixels = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        expected, fused = model(pixels), model.fused()
        torch.testing.assert_close(fused(pixels), expected, rtol=1e-4, atol=1e-4)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in fused.modules())
    assert any(isinstance(module, nn.BatchNorm2d) for module in model.modules())


def test_names_of_the_package_are_those_of_every_tensor():
    model = learned_lite0(classes=5)
    inner = {ours: theirs for theirs, ours in lite0._BLOCK.items()}
    outer = {ours: theirs for theirs, ours in lite0._OUTER.items()}
    packed = {}
    for name, tensor in model.state_dict().items():
        part, _, last = name.rpartition(".")
        if part.startswith("blocks."):
            _, number, rest = part.split(".", 2)
            packed[f"_blocks.{number}.{inner[rest]}.{last}"] = tensor
        else:
            packed[f"{outer[part]}.{last}"] = tensor
    back = dict(lite0.from_package(packed))
    assert back.keys() == model.state_dict().keys()
    tower = make_tower(lite_config(classes=5), back, preprocess=lite0_preprocess(64))
    pixels = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        assert torch.equal(tower(pixels), model(pixels))
    with pytest.raises(ArtifactError, match="_se_reduce"):
        dict(lite0.from_package({"_blocks.0._se_reduce.weight": torch.zeros(1)}))


def test_towers_go_to_disk_and_back_and_lose_nothing():
    for tower in (
        make_tower(lite_config(classes=0), learned_lite0().state_dict(), preprocess=lite0_preprocess(64)),
        make_tower(VIT, vit.to_disk(random_vit().state_dict(), random_vit().config), preprocess=Preprocess(size=32)),
    ):  # fmt: skip
        again = make_tower(tower.config, tower_to_disk(tower), preprocess=tower.preprocess)
        pixels = torch.randn(1, 3, 32, 32)
        with torch.no_grad():
            assert torch.equal(again(pixels), tower(pixels))
            torch.testing.assert_close(tower.fused()(pixels), tower(pixels), rtol=1e-4, atol=1e-4)
        assert not again.training and again.width in (24, WIDTH)


def random_vit():
    torch.manual_seed(2)
    model = Vit(vit.config_from_disk(VIT)).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    return model


@pytest.mark.parametrize("head", ["ViTModel", "ViTForImageClassification"])
def test_features_are_the_first_state_of_transformers_vit(head, tmp_path):
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    config = transformers.ViTConfig(**{**VIT, "num_labels": 7})
    theirs = getattr(transformers, head)(config).eval()
    with torch.no_grad():
        for parameter in theirs.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    theirs.save_pretrained(tmp_path)
    saved = load_file(tmp_path / "model.safetensors")
    body = theirs if head == "ViTModel" else theirs.vit
    pixels = torch.randn(3, 3, 32, 32)
    with torch.no_grad():
        expected = body(pixels).last_hidden_state[:, 0]
        for state in (saved, dict(theirs.state_dict())):  # names of files, and of newer classes
            ours = make_tower(config.to_dict(), state, preprocess=Preprocess(size=32))
            torch.testing.assert_close(ours(pixels), expected, rtol=0, atol=1e-5)


def test_tensors_that_do_not_fit_and_other_towers_are_refused():
    model = random_vit()
    state = vit.to_disk(model.state_dict(), model.config)
    made = Preprocess(size=32)
    name = "encoder.layer.1.attention.attention.key.weight"
    with pytest.raises(ArtifactError, match="key"):
        make_tower(VIT, {k: v for k, v in state.items() if k != name}, preprocess=made)
    with pytest.raises(ArtifactError, match="more"):
        make_tower(VIT, {**state, "more": torch.zeros(1)}, preprocess=made)
    with pytest.raises(ArtifactError, match=r"\[17, 24\]|positions"):
        make_tower({**VIT, "image_size": 40}, state, preprocess=Preprocess(size=40))
    with pytest.raises(ArtifactError, match="sees pictures of 32"):
        make_tower(VIT, state, preprocess=Preprocess(size=64))
    with pytest.raises(ArtifactError, match="resnet"):
        make_tower({"model_type": "resnet"}, {}, preprocess=made)
    with pytest.raises(ArtifactError, match="lite4"):
        make_tower({**lite_config(classes=0), "variant": "lite4"}, {}, preprocess=made)
    with pytest.raises(ArtifactError, match="hidden_act"):
        make_tower({**VIT, "hidden_act": "relu"}, state, preprocess=made)
    with pytest.raises(UsageError, match="not a multiple"):
        VitConfig(size=8, patch=4, layers=1, width=10, heads=4, ffn=8)
