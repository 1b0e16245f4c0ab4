"""Head and loss by chunks are exactly head and loss."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from minna.objectives import linear_cross_entropy
from minna.objectives.linear_cross_entropy import CHUNK_TOKENS, IGNORE


def inputs(tokens, dtype=torch.float32):
    generator = torch.Generator().manual_seed(0)
    hidden = torch.randn(tokens, 24, generator=generator, dtype=dtype, requires_grad=True)
    weight = torch.randn(97, 24, generator=generator, dtype=dtype, requires_grad=True)
    targets = torch.randint(0, 97, (tokens,), generator=generator)
    targets[::5] = IGNORE
    return hidden, weight, targets


@pytest.mark.parametrize("tokens", [1, 7, CHUNK_TOKENS, 2 * CHUNK_TOKENS + 13])
def test_value_and_gradients_equal_the_plain_way(tokens):
    hidden, weight, targets = inputs(tokens, torch.float64)
    ours = linear_cross_entropy(hidden, weight, targets)
    (3 * ours).backward()
    gradients = hidden.grad.clone(), weight.grad.clone()
    hidden.grad = weight.grad = None
    plain = F.cross_entropy(hidden @ weight.T, targets, ignore_index=IGNORE, reduction="sum")
    (3 * plain).backward()
    torch.testing.assert_close(ours.double(), plain, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(gradients[0], hidden.grad, rtol=1e-4, atol=2e-5)
    torch.testing.assert_close(gradients[1], weight.grad, rtol=1e-4, atol=5e-5)


def test_under_autocast_it_stays_near_the_fp32_value():
    hidden, weight, targets = inputs(300)
    exact = linear_cross_entropy(hidden, weight, targets)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rounded = linear_cross_entropy(hidden, weight, targets)
    assert float(rounded.detach()) == pytest.approx(float(exact.detach()), rel=5e-3)


def test_rows_that_are_all_ignored_cost_nothing():
    hidden, weight, targets = inputs(20)
    loss = linear_cross_entropy(hidden, weight, torch.full_like(targets, IGNORE))
    loss.backward()
    assert float(loss.detach()) == 0.0
    assert not hidden.grad.any() and not weight.grad.any()


def test_without_gradients_none_are_made():
    hidden, weight, targets = inputs(20)
    with torch.no_grad():
        loss = linear_cross_entropy(hidden, weight, targets)
    assert not loss.requires_grad


def test_a_frozen_head_still_passes_gradients_to_the_states():
    hidden, weight, targets = inputs(20)
    linear_cross_entropy(hidden, weight.detach(), targets).backward()
    assert hidden.grad.any()
