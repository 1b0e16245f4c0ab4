"""The decoder is transformers' model: same weights, same logits, same gradients."""

from __future__ import annotations

import pytest
import torch

from minna.models import Decoder, find_family
from minna.models.family import Gpt2Shape, GptNeoXShape

SHAPES = {
    "gpt2": Gpt2Shape(layers=3, width=48, heads=4, ffn=160, context=40, dropout=0.0),
    "gpt2-untied": Gpt2Shape(
        layers=2, width=32, heads=2, ffn=64, context=40, dropout=0.0, tied=False
    ),
    "gpt_neox": GptNeoXShape(layers=3, width=48, heads=4, ffn=160, context=40),
    "gpt_neox-parallel": GptNeoXShape(
        layers=2, width=48, heads=3, ffn=96, context=40, residual="parallel", rotary_fraction=0.25
    ),
    "gpt_neox-tied": GptNeoXShape(
        layers=2, width=48, heads=3, ffn=96, context=40, tied=True, attention_bias=False
    ),
}


def theirs(config, family, state):
    from transformers import AutoModelForCausalLM, GPT2Config, GPTNeoXConfig

    classes = {"gpt2": GPT2Config, "gpt_neox": GPTNeoXConfig}
    model = AutoModelForCausalLM.from_config(classes[family.name](**family.config_to_disk(config)))
    disk = family.to_disk(state, config)
    if "embed_out.weight" in disk:
        disk["lm_head.weight"] = disk.pop("embed_out.weight")
    missing, unexpected = model.load_state_dict(disk, strict=False)
    assert not unexpected
    assert all("lm_head" in name for name in missing) and (not missing or config.tied)
    return model.eval()


@pytest.mark.parametrize("name", SHAPES)
def test_logits_and_gradients_equal_transformers(name):
    shape = SHAPES[name]
    family = find_family(shape.family)
    ours = Decoder(shape.decoder(101))
    ours.initialise(seed=3)
    with torch.no_grad():
        for parameter in ours.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.05)
    peer = theirs(ours.config, family, ours.state_dict())
    tokens = torch.randint(0, 101, (3, 40), generator=torch.Generator().manual_seed(0))
    mine = ours.logits(ours(tokens))
    other = peer(tokens).logits
    torch.testing.assert_close(mine, other, rtol=1e-4, atol=1e-5)
    weight = torch.randn(mine.shape, generator=torch.Generator().manual_seed(1))
    (mine * weight).sum().backward()
    (other * weight).sum().backward()
    gradients = {n: p.grad for n, p in ours.named_parameters()}
    expected = {n: p.grad for n, p in peer.named_parameters()}
    if "lm_head.weight" in expected and shape.family == "gpt_neox":
        expected["embed_out.weight"] = expected.pop("lm_head.weight")
    for disk_name, gradient in family.to_disk(gradients, ours.config).items():
        torch.testing.assert_close(
            gradient, expected[disk_name], rtol=2e-3, atol=2e-4, msg=disk_name
        )


@pytest.mark.parametrize("name", SHAPES)
def test_weights_and_config_survive_the_way_to_disk_and_back(name):
    shape = SHAPES[name]
    family = find_family(shape.family)
    ours = Decoder(shape.decoder(101))
    ours.initialise(seed=5)
    disk = family.to_disk(ours.state_dict(), ours.config)
    back = family.from_disk(dict(disk), ours.config)
    assert set(back) == set(ours.state_dict())
    assert all(torch.equal(back[key], value) for key, value in ours.state_dict().items())
    again = family.config_from_disk(family.config_to_disk(ours.config))
    assert again == ours.config


@pytest.mark.parametrize("name", SHAPES)
def test_explicit_attention_equals_fused(name):
    model = Decoder(SHAPES[name].decoder(50))
    model.initialise(seed=1)
    tokens = torch.randint(0, 50, (2, 24), generator=torch.Generator().manual_seed(0))
    fused = model(tokens)
    model.attention_kind = "explicit"
    torch.testing.assert_close(model(tokens), fused, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("masked", ["causal", "documents"])
def test_explicit_attention_in_blocks_equals_fused_with_gradients(masked):
    from minna.objectives.causal_lm import document_mask

    shape = GptNeoXShape(layers=1, width=32, heads=2, ffn=32, context=320)
    model = Decoder(shape.decoder(50))
    model.initialise(seed=1)
    generator = torch.Generator().manual_seed(0)
    tokens = torch.randint(0, 50, (2, 300), generator=generator)
    segments = torch.arange(300).div(70, rounding_mode="floor").expand(2, 300)
    mask = document_mask(segments) if masked == "documents" else None
    outs, gradients = [], []
    for kind in ("fused", "explicit"):
        model.attention_kind = kind
        model.zero_grad()
        out = model(tokens, mask=mask)
        out.square().sum().backward()
        outs.append(out.detach())
        gradients.append(model.layers[0].attention.qkv.weight.grad.clone())
    torch.testing.assert_close(outs[0], outs[1], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(gradients[0], gradients[1], rtol=1e-3, atol=1e-3)
