"""Optimisers against torch's own, schedules against their definition."""

from __future__ import annotations

import pytest
import torch
from tests.toys import toy_parts
from torch import nn

from minna.models import build
from minna.models.family import Qwen3Shape
from minna.train.optim import AdamWSettings, Muon, MuonSettings, make_optimisers, orthogonalise
from minna.train.schedule import Ahead, Cosine, Linear, StableDecay, TriStage


def gradients(parameter, steps):
    generator = torch.Generator().manual_seed(7)
    return [torch.randn(parameter.shape, generator=generator) for _ in range(steps)]


@pytest.mark.parametrize("shape", [(16, 16), (48, 12), (12, 48)])
def test_muon_moves_as_torchs_own_does(shape):
    mine, theirs = (nn.Parameter(torch.zeros(shape)) for _ in range(2))
    ours = Muon([("layers.0.mlp.up.weight", mine)], lr=0.1, momentum=0.9, weight_decay=0.1)
    peer = torch.optim.Muon([theirs], lr=0.1, momentum=0.9, weight_decay=0.1, nesterov=True)
    for gradient in gradients(mine, 4):
        mine.grad, theirs.grad = gradient.clone(), gradient.clone()
        ours.step()
        peer.step()
    # both orthogonalise in bf16 (three digits), in another order of products
    torch.testing.assert_close(mine, theirs, rtol=0, atol=0.02)


@pytest.mark.parametrize("heights", [(12, 12, 12), (24, 6, 6)])
def test_the_fused_matrix_is_orthogonalised_as_the_matrices_it_is(heights):
    fused = nn.Parameter(torch.zeros(36, 12))
    apart = [nn.Parameter(torch.zeros(rows, 12)) for rows in heights]
    how = {"lr": 1.0, "momentum": 0.9, "weight_decay": 0.0}
    name = "layers.0.attention.qkv.weight"
    one = Muon([(name, fused)], heights={name: heights}, **how)
    three = Muon([(f"layers.{i}.attention.out.weight", p) for i, p in enumerate(apart)], **how)
    (gradient,) = gradients(fused, 1)
    fused.grad = gradient
    for parameter, piece in zip(apart, gradient.split(heights), strict=True):
        parameter.grad = piece
    one.step()
    three.step()
    torch.testing.assert_close(fused.detach(), torch.cat([p.detach() for p in apart]))


def test_muon_learns_the_heights_of_fused_matrices_from_the_model():
    shape = Qwen3Shape(layers=2, width=32, heads=4, kv_heads=2, head_dim=16, ffn=64, context=64)
    _, muon = make_optimisers(build(shape, vocab=61), settings=MuonSettings(lr=1e-3, matrix_lr=0.1))
    found = {group["heights"] for group in muon.param_groups if len(group["heights"]) > 1}
    assert found == {(64, 32, 32)}


def test_orthogonalise_brings_singular_values_near_one():
    matrices = torch.randn(5, 32, 20, generator=torch.Generator().manual_seed(0))
    values = torch.linalg.svdvals(orthogonalise(matrices))
    assert float(values.min()) > 0.6 and float(values.max()) < 1.3


def test_muon_takes_the_matrices_of_layers_and_adamw_the_rest_once_each():
    model = toy_parts().model
    adamw, muon = make_optimisers(model, settings=MuonSettings(lr=1e-3, matrix_lr=0.02))
    taken = [id(p) for o in (adamw, muon) for g in o.param_groups for p in g["params"]]
    assert sorted(taken) == sorted(id(p) for p in model.parameters())
    in_muon = {id(p) for g in muon.param_groups for p in g["params"]}
    named = {name for name, p in model.named_parameters() if id(p) in in_muon}
    assert all(name.startswith("layers.") and name.endswith("weight") for name in named)
    assert not any("norm" in name for name in named) and len(named) == 8


def test_decay_leaves_norms_and_biases_alone_and_frozen_parameters_get_no_state():
    model = toy_parts().model
    model.embed.weight.requires_grad_(False)
    (adamw,) = make_optimisers(model, settings=AdamWSettings(lr=1e-3, weight_decay=0.5))
    for group in adamw.param_groups:
        assert all((p.ndim > 1) == (group["weight_decay"] > 0) for p in group["params"])
    assert all(p is not model.embed.weight for g in adamw.param_groups for p in g["params"])


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        (Cosine(warmup=10, floor=0.1), {0: 0.1, 9: 1.0, 10: 1.0, 55: 0.55, 100: 0.1}),
        (Linear(warmup=10), {0: 0.1, 9: 1.0, 10: 1.0, 55: 0.5, 100: 0.0}),
        (
            StableDecay(warmup=10, decay=0.5, floor=0.0),
            {0: 0.1, 9: 1.0, 50: 1.0, 75: 0.5, 100: 0.0},
        ),
        (Cosine(floor=0.0), {0: 1.0, 50: 0.5, 100: 0.0}),
        (
            TriStage(warmup=0.1, decay=0.5, floor=0.04),
            {0: 0.01, 5: 0.505, 10: 1.0, 50: 1.0, 75: 0.2, 100: 0.04},
        ),
        (
            Ahead(steps=20, factor=10.0, then=TriStage(warmup=0.1, decay=0.5, floor=0.04)),
            {0: 10.0, 19: 10.0, 20: 0.01, 28: 1.0, 60: 1.0, 80: 0.2, 100: 0.04},
        ),
        (TriStage(warmup=0.0, decay=1.0, floor=0.01), {0: 1.0, 50: 0.1, 100: 0.01}),
    ],
)
def test_schedules_at_known_steps(schedule, expected):
    for step, scale in expected.items():
        assert schedule.scale(step, 100) == pytest.approx(scale, abs=1e-9)


def test_stages_that_are_longer_than_a_run_are_refused():
    with pytest.raises(ValueError, match=r"warmup 0.6 and decay 0.5 are more than a run"):
        TriStage(warmup=0.6, decay=0.5)
