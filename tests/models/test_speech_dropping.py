"""Dropout of speech encoders on a CPU: the share, its factor and gradient, attention that drops."""

from __future__ import annotations

import pytest
import torch
from tests.speech_models import encoder, noise

from minna.models.speech import blocks, convolutions
from minna.models.speech.dropping import Dropout, dropped
from minna.models.speech.encoder import attended


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32, torch.float64])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_a_share_is_dropped_and_the_rest_made_larger_by_so_much(dtype, share):
    torch.manual_seed(0)
    x = torch.full((301, 1_003), 3.0, dtype=dtype, requires_grad=True)
    found = dropped(x, share)
    factor = torch.tensor(1 / (1 - share), dtype=dtype)
    assert set(found.unique().tolist()) == {0.0, float(3 * factor)}
    assert float((found == 0).double().mean()) == pytest.approx(share, abs=0.004)
    found.sum().backward()
    assert torch.equal(x.grad, torch.where(found == 0, 0, factor))


def test_neighbours_and_calls_are_dropped_for_themselves_and_again_alike_from_one_seed():
    torch.manual_seed(1)
    first, second = (dropped(torch.ones(400_000), 0.5) == 0 for _ in range(2))
    for a, b in ((first[:-1], first[1:]), (first[:-4], first[4:]), (first, second)):
        assert float((a & b).double().mean()) == pytest.approx(0.25, abs=0.005)
    torch.manual_seed(1)
    assert torch.equal(dropped(torch.ones(400_000), 0.5) == 0, first)


def test_nothing_is_dropped_in_use_and_every_dropout_of_an_encoder_is_ours():
    x = torch.ones(1_000)
    assert torch.equal(Dropout(0.5).eval()(x), x)
    assert torch.equal(Dropout(0.0).train()(x), x)
    kinds = {
        type(module)
        for module in encoder("data2vec", dropout=0.1).modules()
        if isinstance(module, torch.nn.Dropout)
    }
    assert kinds == {Dropout}


@pytest.mark.parametrize("mode", ["hubert", "wav2vec2-large", "data2vec"])
@pytest.mark.parametrize("padded", [False, True])
def test_attention_that_drops_is_transformers_but_for_what_is_dropped(mode, padded, monkeypatch):
    block = encoder(mode, attention_dropout=0.3).encoder.layers[0].train()
    torch.manual_seed(0)
    x = torch.randn(3, 20, 32, requires_grad=True)
    frames = torch.tensor([20, 11, 5])
    seen = attended(torch.arange(20) < frames[:, None]) if padded else None
    with torch.no_grad():
        averages = torch.stack([block._mixed(x, seen) for _ in range(1_000)]).mean(0)
    monkeypatch.setattr(blocks, "dropped", lambda weights, _share: weights)
    found = block._mixed(x, seen)
    expected = block.eval().attention(x, attention_mask=seen)[0]
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(
        torch.autograd.grad(found.square().sum(), x),
        torch.autograd.grad(expected.square().sum(), x),
    )
    error = (averages - expected.detach()).abs().mean() / expected.detach().abs().mean()
    assert float(error) < 0.1


def test_a_step_in_bf16_has_the_gradients_of_fp32_nearly():
    found = []
    for kind in (torch.float32, torch.bfloat16):
        model = encoder(width=64, position_groups=4).train()
        with torch.autocast("cpu", dtype=kind, enabled=kind == torch.bfloat16):
            hidden = model(noise(6, 8_000)).hidden
        hidden.float().square().sum().backward()
        weights = [layer.conv.weight.grad for layer in model.feature_extractor.conv_layers]
        found.append(torch.cat([one.flatten() for one in weights]))
    assert float((found[0] - found[1]).norm() / found[0].norm()) < 0.05


def test_gradients_of_many_clips_in_bf16_are_summed_in_fp32():
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(64, 21, 8, generator=generator).bfloat16()
    weight = torch.rand(4, 8, 3, generator=generator).bfloat16().requires_grad_()
    (rounded,) = torch.autograd.grad(convolutions._Strided.apply(x, weight, 2).sum(), weight)
    exact_weight = weight.detach().double().requires_grad_()
    exact = convolutions._Strided.apply(x.double(), exact_weight, 2).sum()
    (expected,) = torch.autograd.grad(exact, exact_weight)
    torch.testing.assert_close(rounded.double(), expected, rtol=2**-8, atol=0)
