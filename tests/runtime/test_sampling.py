"""The distribution we draw from is the one transformers' processors leave."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from minna.errors import UsageError
from minna.runtime.sampling import Sampling, candidates, draw, penalise


def theirs(logits, sampling, seen):
    """transformers' processors in the order of its generate."""
    from transformers import (
        RepetitionPenaltyLogitsProcessor,
        TemperatureLogitsWarper,
        TopKLogitsWarper,
        TopPLogitsWarper,
    )

    scores = logits[None]
    steps = [RepetitionPenaltyLogitsProcessor(sampling.repetition_penalty)]
    steps.append(TemperatureLogitsWarper(sampling.temperature))
    if sampling.top_k is not None:
        steps.append(TopKLogitsWarper(sampling.top_k))
    if sampling.top_p < 1:
        steps.append(TopPLogitsWarper(sampling.top_p))
    for step in steps:
        scores = step(seen[None], scores)
    return scores[0].log_softmax(-1)


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    vocab=st.sampled_from([5, 64, 3000]),
    spread=st.sampled_from([0.1, 2.0, 8.0]),
    temperature=st.sampled_from([0.3, 1.0, 1.7]),
    top_k=st.sampled_from([None, 1, 3, 50, 10_000]),
    top_p=st.sampled_from([0.01, 0.5, 0.9, 0.999, 1.0]),
    penalty=st.sampled_from([1.0, 1.3, 0.8]),
)
def test_candidates_equal_transformers_processors(
    seed, vocab, spread, temperature, top_k, top_p, penalty
):
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(vocab, generator=generator) * spread
    seen = torch.randint(0, vocab, (12,), generator=generator)
    sampling = Sampling(
        temperature=temperature, top_k=top_k, top_p=top_p, repetition_penalty=penalty
    )
    ids, logprobs = candidates(penalise(logits, seen=seen, penalty=penalty), sampling)
    ours = torch.full((vocab,), float("-inf")).scatter(0, ids, logprobs)
    expected = theirs(logits, sampling, seen)
    differ = ours.isfinite() != expected.isfinite()
    if differ.any():
        # sums taken in another order: the one token at which they reach top-p, to 1e-5, may stay
        assert differ.sum() == 1
        whole = theirs(logits, dataclasses.replace(sampling, top_p=1.0), seen).exp().double()
        before = float(whole[whole > whole[differ]].sum())
        assert before == pytest.approx(top_p, abs=1e-5)
        ours, expected = (
            part.masked_fill(differ, float("-inf")).log_softmax(-1) for part in (ours, expected)
        )
    torch.testing.assert_close(ours, expected, rtol=1e-4, atol=1e-4)


def test_ties_at_the_k_th_place_stay_as_in_transformers():
    logits = torch.tensor([1.0, 3.0, 3.0, 3.0, 0.0])
    ids, _ = candidates(logits, Sampling(temperature=1.0, top_k=2))
    assert sorted(ids.tolist()) == [1, 2, 3]


def test_draws_follow_the_distribution_and_report_its_logprob():
    logits = torch.tensor([2.0, 1.0, 0.0, -1.0])
    sampling = Sampling(temperature=1.0, seed=4)
    generator = sampling.generator(0)
    counts = torch.zeros(4)
    for _ in range(4000):
        token, logprob = draw(logits, sampling=sampling, generator=generator)
        assert logprob == pytest.approx(float(logits.log_softmax(0)[token]), abs=1e-5)
        counts[token] += 1
    expected = logits.softmax(0)
    spread = (expected * (1 - expected) / 4000).sqrt()
    assert ((counts / 4000 - expected).abs() < 4 * spread).all()


def test_settings_that_mean_nothing_are_refused():
    for wrong in ({"temperature": -1.0}, {"top_p": 0.0}, {"top_k": 0}, {"repetition_penalty": 0.0}):
        with pytest.raises(UsageError, match=next(iter(wrong))):
            Sampling(**wrong)
