"""Rows without their padding: states and gradients of rows that are padded and masked."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from minna.models.encoder import Encoder, EncoderConfig
from minna.models.unpadded import Unpadded, seen

LONG = 80  # more than what attention writes out
CONFIG = EncoderConfig(
    vocab=40, context=LONG, position_rows=LONG, layers=2, width=16, heads=2, ffn=24
)


def made() -> Encoder:
    torch.manual_seed(0)
    encoder = Encoder(CONFIG, head="none")
    encoder.initialise(seed=0)
    with torch.no_grad():
        for parameter in encoder.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    return encoder


def padded_and_masked(encoder, tokens, lengths):
    """The same encoder with all padding computed, as on a GPU."""
    S = tokens.shape[1]
    x = encoder.embed(tokens) + encoder.positions(torch.arange(S)) + encoder.types.weight[0]
    x = encoder.embed_norm(x)
    for layer in encoder.layers:
        x = layer(x, "none", seen(lengths, row_tokens=S))
    return x * seen(lengths, row_tokens=S)[..., None]


@pytest.mark.parametrize("lengths", [[5, 1, 12, 7], [3, 3, 3], [LONG, 2, 65]])
def test_states_and_gradients_are_those_of_padded_rows(lengths):
    tokens = torch.randint(0, 40, (len(lengths), max(lengths)))
    lengths = torch.tensor(lengths)
    encoder = made()
    weight = torch.randn(len(lengths), tokens.shape[1], CONFIG.width)
    found = []
    for run in (encoder, lambda *given: padded_and_masked(encoder, *given)):
        encoder.zero_grad()
        states = run(tokens, lengths)
        (states * weight).sum().backward()
        found.append((states.detach(), {n: p.grad.clone() for n, p in encoder.named_parameters()}))
    (ours, ours_grad), (plain, plain_grad) = found
    torch.testing.assert_close(ours, plain, rtol=1e-4, atol=1e-5)
    for name, gradient in plain_grad.items():
        torch.testing.assert_close(ours_grad[name], gradient, rtol=1e-3, atol=1e-4, msg=name)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(1, 9), min_size=1, max_size=6))
def test_what_is_laid_out_and_spread_again_is_what_it_was_before_its_padding(lengths):
    rows = Unpadded(torch.tensor(lengths), row_tokens=max(lengths))
    x = torch.randn(len(lengths), max(lengths), 3)
    laid = rows.laid(x)
    assert len(laid) == sum(lengths)
    assert torch.equal(rows.spread(laid), x * rows.seen_BS[..., None])


def test_dropout_acts_in_training_alone():
    encoder = made()
    encoder.config = EncoderConfig(**{**vars(CONFIG), "dropout": 0.5})
    for layer in encoder.layers:
        layer.config = encoder.config
    tokens, lengths = torch.randint(0, 40, (3, 6)), torch.tensor([6, 2, 4])
    with torch.no_grad():
        assert torch.equal(encoder.eval()(tokens, lengths), encoder(tokens, lengths))
        assert not torch.equal(encoder.train()(tokens, lengths), encoder(tokens, lengths))
