"""The masked-word loss against a straightforward one in float64, and its gradients."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from tests.models.test_encoder import random_encoder

from minna.objectives import MaskedLM


def batch():
    torch.manual_seed(5)
    tokens = torch.randint(7, 61, (4, 20))
    targets = torch.where(torch.rand(4, 20) < 0.2, tokens, -100)
    tokens = torch.where(targets != -100, 6, tokens)
    return {"tokens": tokens, "targets": targets}


def test_loss_and_gradients_are_those_of_the_plain_formula():
    given, objective = batch(), MaskedLM()
    ours = random_encoder().train()
    sums, figures = objective.loss(ours, given)
    assert figures == {}
    sums["masked"].backward()
    plain = random_encoder().double().train()
    logits = plain.logits(plain(given["tokens"]))
    expected = F.cross_entropy(
        logits.flatten(0, 1), given["targets"].flatten(), ignore_index=-100, reduction="sum"
    )
    expected.backward()
    torch.testing.assert_close(sums["masked"].double(), expected, rtol=1e-5, atol=1e-5)
    for name, parameter in plain.named_parameters():
        found = dict(ours.named_parameters())[name].grad
        torch.testing.assert_close(found.double(), parameter.grad, rtol=1e-3, atol=1e-4, msg=name)


def test_counts_are_the_hidden_words():
    given = batch()
    assert MaskedLM().counts(given) == {"masked": int((given["targets"] != -100).sum())}
