"""Pairs: token log-probabilities, Bradley-Terry and DPO against what one would write down."""

from __future__ import annotations

import copy
import sys

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as some
from tests.tuning import WORDS, pair_batch, toy_decoder

from minna.models.adapters import AdapterSettings, adapt, without_adapters
from minna.models.scorer import HeldOut, Scorer
from minna.objectives import DPO, BradleyTerry, DPOSettings, Reference, linear_logprobs


@settings(deadline=None)
@given(
    rows=some.integers(0, 9), words=some.integers(2, 40), temperature=some.sampled_from([0.5, 1, 2])
)
def test_log_probabilities_of_the_head_are_those_of_a_plain_softmax(rows, words, temperature):
    generator = torch.Generator().manual_seed(rows * 50 + words)
    hidden = torch.randn(rows, 6, generator=generator, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(words, 6, generator=generator, dtype=torch.float64, requires_grad=True)
    targets = torch.randint(words, (rows,), generator=generator)
    scale = torch.randn(rows, generator=generator, dtype=torch.float64)
    plain = (F.linear(hidden, weight).float() / temperature).log_softmax(1)
    expected = plain.gather(1, targets[:, None])[:, 0]
    (expected * scale).sum().backward()
    gradients = hidden.grad.clone(), weight.grad.clone()
    hidden.grad = weight.grad = None
    logprobs, entropy = linear_logprobs(hidden, weight, targets, temperature=temperature)
    (logprobs * scale).sum().backward()
    torch.testing.assert_close(logprobs, expected)
    torch.testing.assert_close(entropy, -(plain.exp() * plain).sum(1))
    torch.testing.assert_close(hidden.grad, gradients[0], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(weight.grad, gradients[1], rtol=1e-4, atol=1e-5)


def test_chunks_change_nothing(monkeypatch):
    hidden, weight = torch.randn(50, 8), torch.randn(30, 8)
    targets = torch.randint(30, (50,))
    whole = linear_logprobs(hidden, weight, targets)
    monkeypatch.setattr(sys.modules["minna.objectives.linear_logprobs"], "CHUNK_TOKENS", 7)
    for left, right in zip(whole, linear_logprobs(hidden, weight, targets), strict=True):
        torch.testing.assert_close(left, right)


def answers_alone(model, batch):
    """Log-probability of the learned tokens of each document, read alone."""
    found = []
    for number in range(len(batch["ends"])):
        rows, places = (batch["documents"] == number).nonzero(as_tuple=True)
        tokens = batch["tokens"][rows, places]
        targets = batch["targets"][rows, places]
        logits = model.logits(model(tokens[None]))[0, :, :WORDS].float()
        learned = targets != -100
        found.append(logits.log_softmax(1)[learned].gather(1, targets[learned, None]).sum())
    return torch.stack(found)


@pytest.mark.parametrize("adapted", [False, True])
def test_dpo_is_its_equation_on_answers_read_alone(adapted):
    batch = pair_batch()
    policy = toy_decoder(seed=0)
    if adapted:
        adapt(policy, AdapterSettings(rank=2), device="cpu", seed=0)
    settings = DPOSettings(kind="dpo", beta=0.3, label_smoothing=0.1)
    objective = DPO(settings, reference=Reference(policy), vocab=WORDS)
    first, _ = objective.loss(policy, batch)
    pairs = objective.counts(batch)["loss/pairs"]
    start = -(0.9 * F.logsigmoid(torch.zeros(())) + 0.1 * F.logsigmoid(torch.zeros(())))
    assert float(first["loss/pairs"]) == pytest.approx(float(start) * pairs)  # nothing was learned
    before = answers_alone(copy.deepcopy(policy), batch).detach()
    with torch.no_grad():
        for parameter in policy.parameters():
            if parameter.requires_grad:
                parameter.add_(0.05 * torch.randn(parameter.shape))
    if adapted:
        with without_adapters(policy):
            torch.testing.assert_close(answers_alone(policy, batch), before)
    sums, _ = objective.loss(policy, batch)
    gained = (answers_alone(policy, batch) - before).view(-1, 2)
    apart = 0.3 * (gained[:, 0] - gained[:, 1])
    expected = (-0.9 * F.logsigmoid(apart) - 0.1 * F.logsigmoid(-apart)).sum()
    assert float(sums["loss/pairs"]) == pytest.approx(float(expected), rel=1e-4)
    assert float(sums["pairs/margin"]) == pytest.approx(float(apart.sum()), rel=1e-3, abs=1e-5)
    assert float(sums["pairs/accuracy"]) == float((apart > 0).sum())
    sums["loss/pairs"].backward()
    assert all(p.grad is not None for p in policy.parameters() if p.requires_grad)
    # nothing of the reference is the objective's to save
    assert not objective.state_dict() and not list(objective.named_parameters())


def test_ipo_is_a_square_on_log_probabilities_per_token():
    batch, policy = pair_batch(), toy_decoder(seed=0)
    reference = Reference(policy)
    with torch.no_grad():
        policy.embed.weight.add_(0.05 * torch.randn(policy.embed.weight.shape))
    objective = DPO(DPOSettings(kind="dpo", beta=0.5, loss="ipo"), reference=reference, vocab=WORDS)
    with reference.of(policy) as before:
        gained = answers_alone(policy, batch) - answers_alone(before, batch)
    sizes = [
        int(((batch["documents"] == n) & (batch["targets"] != -100)).sum())
        for n in range(len(batch["ends"]))
    ]
    per_token = (gained / torch.tensor(sizes)).view(-1, 2)
    expected = ((per_token[:, 0] - per_token[:, 1] - 1) ** 2).sum()
    found, _ = objective.loss(policy, batch)
    assert float(found["loss/pairs"]) == pytest.approx(float(expected), rel=1e-4)


def test_a_reward_model_compares_what_it_reads_at_the_ends():
    batch = pair_batch()
    scorer = Scorer(toy_decoder(seed=0).config)
    scorer.initialise(seed=1)
    sums, _ = BradleyTerry().loss(scorer, batch)
    alone = []
    for number in range(len(batch["ends"])):
        rows, places = (batch["documents"] == number).nonzero(as_tuple=True)
        hidden = scorer(batch["tokens"][rows, places][None])
        alone.append(scorer.scores(hidden)[0, -1])
    better, worse = torch.stack(alone).view(-1, 2).unbind(1)
    expected = -F.logsigmoid(better - worse).sum()
    assert float(sums["loss/pairs"]) == pytest.approx(float(expected), rel=1e-5)
    assert float(sums["pairs/accuracy"]) == float((better > worse).sum())
    sums["loss/pairs"].backward()
    assert all(parameter.grad is not None for parameter in scorer.parameters())


def test_rewards_are_scores_in_deviations_from_the_mean_of_references():
    scorer = Scorer(toy_decoder(seed=0).config)
    scorer.initialise(seed=1)
    hidden = torch.randn(50, scorer.config.width)
    raw = scorer.scores(hidden)
    torch.testing.assert_close(scorer.rewards(hidden), raw)  # of none: as they are
    known = HeldOut(accuracy=0.75, pairs=25, mean=float(raw.mean()), deviation=float(raw.std()))
    scorer.learn_of(known)
    found = scorer.rewards(hidden)
    assert float(found.mean()) == pytest.approx(0, abs=1e-5)
    assert float(found.std()) == pytest.approx(1, abs=1e-5)
    again = Scorer(scorer.config)
    again.load_state_dict(scorer.state_dict())
    assert again.known == known
