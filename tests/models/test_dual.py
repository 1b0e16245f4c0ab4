"""A dual encoder: padding means nothing, locked towers stay, and weights go out and come back."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from minna.errors import ArtifactError, UsageError
from minna.models.dual import DualConfig, DualEncoder
from minna.models.encoder import Encoder, EncoderConfig
from minna.models.pictures import vit
from minna.models.pictures.lite0 import Lite0
from minna.models.pictures.preprocess import Preprocess, lite0_preprocess
from minna.models.pictures.shapes import VIT_B_16
from minna.models.pictures.towers import ImageTower, lite_config
from minna.models.pictures.vit import Vit
from minna.models.weights import dual

TEXT = EncoderConfig(
    vocab=50, context=12, layers=2, width=24, heads=3, ffn=40, position_rows=14, init_std=0.3
)
VIT = {
    "model_type": "vit",
    "image_size": 16,
    "patch_size": 8,
    "num_hidden_layers": 1,
    "hidden_size": 20,
    "num_attention_heads": 2,
    "intermediate_size": 30,
}


def vit_tower():
    torch.manual_seed(5)
    return ImageTower(
        Vit(vit.config_from_disk(VIT)).eval(), config=VIT, preprocess=Preprocess(size=16)
    )


def lite_tower():
    torch.manual_seed(6)
    body = Lite0().eval()
    return ImageTower(body, config=lite_config(classes=0), preprocess=lite0_preprocess(32))


def made(*, image=None, **fields):
    known = {} if image is None else {"image": image.config, "image_width": image.width}
    model = DualEncoder(DualConfig(text=TEXT, **{"width": 16, **known, **fields}), image=image)
    model.initialise(seed=3)
    return model.eval()


@settings(deadline=None)
@given(st.lists(st.integers(1, 12), min_size=1, max_size=5), st.sampled_from(["first", "mean"]))
def test_what_lies_behind_a_text_changes_nothing(lengths, pooling):
    model = made(pooling=pooling)
    generator = torch.Generator().manual_seed(sum(lengths))
    rows = [torch.randint(0, 50, (length,), generator=generator) for length in lengths]
    tokens = torch.full((len(rows), max(lengths)), 3)
    for line, row in enumerate(rows):
        tokens[line, : len(row)] = row
    with torch.no_grad():
        together = model.embed_text(tokens, torch.tensor(lengths))
        for line, row in enumerate(rows):
            alone = model.embed_text(row[None], torch.tensor([len(row)]))[0]
            torch.testing.assert_close(together[line], alone, rtol=1e-4, atol=1e-5)
            plain = model.text(row[None])[0]
            pooled = plain[0] if pooling == "first" else plain.mean(0)
            torch.testing.assert_close(alone, model.text_projection.weight @ pooled, rtol=1e-4, atol=1e-5)  # fmt: skip


def test_no_gradient_comes_from_padding_whatever_is_kept():
    tokens = torch.randint(0, 49, (3, 12))
    tokens[:, 5:] = 49  # a token that stands behind all texts only
    found = []
    for how in ("none", "selective", "full"):
        model = made().train()
        model.checkpointing = how
        assert model.checkpointing == model.text.checkpointing == how
        model(tokens, torch.tensor([5, 3, 4])).square().sum().backward()
        found.append({name: p.grad for name, p in model.named_parameters() if p.grad is not None})
    assert not found[0]["text.embed.weight"][49].any()
    assert found[0]["text.embed.weight"][tokens[0, 0]].any()
    for other in found[1:]:
        for name, gradient in found[0].items():
            torch.testing.assert_close(other[name], gradient, msg=name)
    assert found[0].keys() == dict(made().text.named_parameters(prefix="text")).keys() | {
        "text_projection.weight"
    }


def test_a_text_tower_is_an_encoder_without_its_head():
    words, none = Encoder(TEXT), Encoder(TEXT, head="none")
    more = words.state_dict().keys() - none.state_dict().keys()
    assert more == {
        f"{name}.{kind}" for name in ("transform", "transform_norm") for kind in ("weight", "bias")
    } | {"head_bias"}
    words.initialise(seed=2)
    none.load_state_dict({k: v for k, v in words.state_dict().items() if k not in more})
    tokens = torch.randint(0, 50, (2, 9))
    assert torch.equal(none.eval()(tokens), words.eval()(tokens))
    assert none.flops_per_token(row_tokens=9) < words.flops_per_token(row_tokens=9)
    assert made().flops_per_token(row_tokens=8) > none.flops_per_token(row_tokens=8)


def test_images_are_centred_and_projected_as_asked():
    tower = vit_tower()
    pixels = torch.randn(3, 3, 16, 16)
    plain = made(image=tower)
    with torch.no_grad():
        features = tower(pixels)
        expected = features @ plain.visual_projection.weight.T
        torch.testing.assert_close(plain.embed_image(pixels), expected)
        plain.image_mean.fill_(1.0)
        torch.testing.assert_close(plain.embed_features(features.half()), expected, rtol=0, atol=2e-2)  # fmt: skip
        centred = made(image=tower, centre="on")
        centred.image_mean.copy_(features.mean(0))
        torch.testing.assert_close(
            centred.embed_features(features),
            (features - features.mean(0)) @ centred.visual_projection.weight.T,
        )
        assert torch.equal(made(image=tower, image_projection="none", width=20).embed_image(pixels), features)  # fmt: skip


def test_a_locked_tower_stays_in_eval_mode_and_keeps_its_statistics():
    tower = lite_tower()
    model = made(image=tower)
    tower.requires_grad_(False)
    before = {name: one.clone() for name, one in tower.state_dict().items()}
    assert model.train() is model and model.text.training and not tower.training
    with torch.no_grad():
        model.embed_image(torch.randn(2, 3, 32, 32))
    assert all(torch.equal(one, before[name]) for name, one in tower.state_dict().items())
    tower.requires_grad_(True)
    model.train()
    assert tower.training and all(m.training for m in tower.modules())
    assert not model.eval().training


def test_scales_are_those_of_the_papers():
    assert made().scale == pytest.approx(1 / 0.07) and made().bias == 0
    siglip = made(scores="siglip")
    assert siglip.scale == pytest.approx(10) and siglip.bias == -10
    cloob = made(scores="cloob", inv_tau=14.3)
    assert cloob.scale == 14.3 and cloob.logit_scale is None and cloob.logit_bias is None
    assert made(scores="cloob", inv_tau="learned").logit_scale.item() == pytest.approx(math.log(1 / 0.07))  # fmt: skip


def test_fresh_weights_follow_from_the_seed_and_leave_the_image_tower_alone():
    tower = vit_tower()
    before = {name: one.clone() for name, one in tower.state_dict().items()}
    first, second = made(image=tower), made(image=tower)
    assert all(torch.equal(one, before[name]) for name, one in tower.state_dict().items())
    left, right = first.state_dict(), second.state_dict()
    assert all(torch.equal(left[name], right[name]) for name in left)
    second.initialise(seed=4)
    assert not torch.equal(left["visual_projection.weight"], second.visual_projection.weight)
    assert first.visual_projection.weight.std().item() == pytest.approx(20**-0.5, rel=0.2)


def test_rinnas_clip_has_as_many_parameters_as_its_file():
    text = EncoderConfig(vocab=32000, context=77, layers=12, width=768, heads=12, ffn=3072, position_rows=514)  # fmt: skip
    with torch.device("meta"):
        image = ImageTower(Vit(vit.config_from_disk(VIT_B_16)), config=VIT_B_16, preprocess=Preprocess())  # fmt: skip
        model = DualEncoder(DualConfig(text=text, image=VIT_B_16, image_width=768), image=image)
    assert sum(p.numel() for p in model.parameters()) == 196_613_377


@pytest.mark.parametrize(
    "fields",
    [
        {"image": vit_tower()},
        {"image": lite_tower(), "centre": "on", "pooling": "mean"},
        {"image": vit_tower(), "image_projection": "none", "width": 20, "scores": "siglip"},
        {"image": vit_tower(), "scores": "cloob", "inv_tau": 30.0},
        {"image": vit_tower(), "scores": "cloob", "inv_tau": "learned", "scale_hopfield": 8.0},
        {"pooling": "mean"},
    ],
)
def test_what_is_written_is_read_back(fields):
    model = made(**fields)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
        model.image_mean.normal_()
    config, state = dual.dual_to_disk(model)
    assert dual.is_dual(config) and not dual.is_rinnas(config)
    assert dual.config_from_disk(config) == dataclasses.replace(model.config)
    ours = dict(dual.from_disk(state, model.config))
    expected = model.state_dict()
    if model.config.centre == "off":
        expected["image_mean"] = torch.zeros_like(expected["image_mean"])
    assert ours.keys() == {name for name in expected if "num_batches" not in name}
    assert all(torch.equal(ours[name], expected[name]) for name in ours)
    assert {name.split(".")[0] for name in state} <= {
        "text_model", "vision_model", "visual_projection", "text_projection",
        "logit_scale", "logit_bias", "image_mean",
    }  # fmt: skip
    assert dual.to_disk(expected, model.config).keys() == state.keys()


def test_names_are_those_of_rinnas_checkpoints():
    _, state = dual.dual_to_disk(made(image=vit_tower()))
    names = set(state)
    assert {
        "text_model.embeddings.word_embeddings.weight",
        "text_model.embeddings.position_embeddings.weight",
        "text_model.encoder.layer.1.attention.self.query.bias",
        "text_model.encoder.layer.0.attention.output.LayerNorm.weight",
        "vision_model.embeddings.cls_token",
        "vision_model.embeddings.patch_embeddings.projection.weight",
        "vision_model.encoder.layer.0.attention.attention.query.weight",
        "vision_model.encoder.layer.0.intermediate.dense.weight",
        "vision_model.layernorm.bias",
        "visual_projection.weight",
        "text_projection.weight",
        "logit_scale",
    } <= names
    assert not any("lm_head" in name or "pooler" in name or "image_mean" in name for name in names)
    assert "logit_scale" not in dual.dual_to_disk(made(image=vit_tower(), scores="cloob"))[1]


def test_the_tower_of_cached_features_is_written_with_the_model():
    tower = vit_tower()
    model = DualEncoder(DualConfig(text=TEXT, image=VIT, image_width=20, width=16))
    with pytest.raises(ArtifactError, match="image tower"):
        dual.dual_to_disk(model)
    _, state = dual.dual_to_disk(model, image=tower)
    with pytest.raises(UsageError, match="no image tower"):
        model.embed_image(torch.zeros(1, 3, 16, 16))
    whole = dict(dual.from_disk(state, model.config))
    assert torch.equal(whole["image.body.class_token"], tower.body.class_token)


def test_configs_and_tensors_that_do_not_fit_are_refused():
    with pytest.raises(UsageError, match="without an image projection"):
        made(image=vit_tower(), image_projection="none")
    with pytest.raises(UsageError, match="image_width"):
        DualConfig(text=TEXT, image_width=20)
    with pytest.raises(UsageError, match="gives 20 features"):
        DualEncoder(DualConfig(text=TEXT, image=VIT, image_width=24), image=vit_tower())
    with pytest.raises(UsageError, match="texts only"):
        made().embed_features(torch.zeros(1, 20))
    config, state = dual.dual_to_disk(made(image=vit_tower()))
    shape = dual.config_from_disk(config)
    gone = {name: one for name, one in state.items() if name != "logit_scale"}
    with pytest.raises(ArtifactError, match="logit_scale"):
        dict(dual.from_disk(gone, shape))
    with pytest.raises(ArtifactError, match="more"):
        dict(dual.from_disk({**state, "more": torch.zeros(1)}, shape))
    for text in ({"model_type": "clip_text_model"}, None):
        other = {**config, "text_config": text}
        assert not dual.is_dual(other)
        with pytest.raises(ArtifactError, match="text tower"):
            dual.config_from_disk(other)
    rinnas = {key: value for key, value in config.items() if key != "minna"}
    assert dual.is_rinnas(rinnas) and dual.config_from_disk(rinnas).text.context == 12
    with pytest.raises(ArtifactError, match="vision_config None"):
        dual.config_from_disk({**rinnas, "vision_config": None})
