"""A locked image tower looks by a faster copy of itself, and learns nothing by it."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from minna.models.dual import DualConfig, DualEncoder
from minna.models.encoder import EncoderConfig
from minna.models.pictures.lite0 import WIDTH
from minna.models.pictures.shapes import fresh_tower

TEXT = EncoderConfig(vocab=30, context=8, position_rows=10, layers=1, width=8, heads=2, ffn=16)


@pytest.fixture(scope="module")
def tower():
    torch.manual_seed(0)
    made = fresh_tower("lite0").eval()
    for module in made.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 1.5)
    return made.requires_grad_(requires_grad=False)


def test_it_sees_what_the_tower_sees_also_after_other_weights(tower):
    pixels = torch.randn(35, 3, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(tower.look(pixels), tower(pixels), rtol=1e-3, atol=1e-4)
        first = tower.look(pixels[:3])
        tower.body.head.conv.weight.mul_(1.5)
        other = tower.look(pixels[:3])
        assert not torch.allclose(first, other, rtol=1e-3)
        torch.testing.assert_close(other, tower(pixels[:3]), rtol=1e-3, atol=1e-4)


def test_a_locked_tower_gets_no_graph_and_one_that_learns_does(tower):
    config = DualConfig(text=TEXT, image=tower.config, image_width=WIDTH, width=16)
    model = DualEncoder(config, image=tower).train()
    names = set(model.state_dict())
    pixels = torch.randn(2, 3, 32, 32)
    model.embed_image(pixels).square().sum().backward()
    assert model.visual_projection.weight.grad is not None
    assert all(p.grad is None for p in tower.parameters())
    assert set(model.state_dict()) == names  # the copy is no part of the model
    tower.requires_grad_(requires_grad=True)
    try:
        model.embed_image(pixels).square().sum().backward()
        assert tower.body.stem.conv.weight.grad is not None
    finally:
        tower.zero_grad()
        tower.requires_grad_(requires_grad=False)
