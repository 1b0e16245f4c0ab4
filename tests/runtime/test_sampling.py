"""The distribution we draw from is the one transformers' processors leave."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from minna.errors import UsageError
from minna.runtime.sampling import Sampling, candidates, choose, draw, penalise


class Row:
    """A row that waits for its next token."""

    def __init__(self, sampling, seen=()):
        self.sampling = sampling
        self.generator = sampling.generator(0)
        self.seen = np.array(seen, np.int64)


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
    (penalised,) = penalise(
        logits[None], rows=torch.zeros_like(seen), seen=seen, penalty=torch.full((12,), penalty)
    )
    ids, logprobs = candidates(penalised, sampling)
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


@pytest.mark.parametrize("way", ["sorted", "whole"])
def test_draws_follow_the_distribution_and_report_its_logprob(way):
    logits = torch.tensor([2.0, 1.0, 0.0, -1.0])
    row = Row(Sampling(temperature=1.0, seed=4))
    counts = torch.zeros(4)
    for _ in range(4000):
        if way == "whole":
            (token,), (logprob,) = choose(logits[None], [row])
        else:
            token, logprob = draw(logits, sampling=row.sampling, generator=row.generator)
        assert logprob == pytest.approx(float(logits.log_softmax(0)[token]), abs=1e-5)
        counts[token] += 1
    expected = logits.softmax(0)
    spread = (expected * (1 - expected) / 4000).sqrt()
    assert ((counts / 4000 - expected).abs() < 4 * spread).all()


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    vocab=st.sampled_from([1, 5, 64, 3000]),
    kinds=st.lists(
        st.sampled_from(
            [
                {},
                {"temperature": 1.0},
                {"temperature": 0.7, "repetition_penalty": 1.3},
                {"temperature": 1.0, "top_k": 3},
                {"temperature": 1.7, "top_p": 0.5, "repetition_penalty": 0.8},
                {"repetition_penalty": 1.1},
            ]
        ),
        min_size=1,
        max_size=7,
    ),
)
def test_a_row_is_drawn_alone_as_in_any_company_bit_for_bit(seed, vocab, kinds):
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(len(kinds), vocab, generator=generator) * 4
    seen = torch.randint(0, vocab, (len(kinds), 9), generator=generator).tolist()

    def rows():
        return [
            Row(Sampling(seed=number, **kind), seen[number][: 1 + number])
            for number, kind in enumerate(kinds)
        ]

    together = list(zip(*choose(logits, rows()), strict=True))
    alone = [choose(logits[place : place + 1], [row]) for place, row in enumerate(rows())]
    assert together == [(ids[0], logprobs[0]) for ids, logprobs in alone]


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_a_whole_draw_is_the_inverse_of_its_distribution(temperature):
    logits = torch.randn(3, 1000, generator=torch.Generator().manual_seed(1)) * 3
    rows = [Row(Sampling(temperature=temperature, seed=n)) for n in range(3)]
    ids, logprobs = choose(logits, rows)
    expected = (logits.double() / temperature).log_softmax(-1)
    for place, (token, logprob) in enumerate(zip(ids, logprobs, strict=True)):
        assert logprob == pytest.approx(float(expected[place, token]), abs=1e-12)
        point = torch.rand((), generator=Sampling(seed=place).generator(0), dtype=torch.float64)
        below = float(expected[place, :token].exp().sum())
        assert below - 1e-12 <= float(point) <= below + float(expected[place, token].exp()) + 1e-12


def test_what_cannot_happen_is_never_drawn():
    logits = torch.tensor([[float("-inf"), 0.0, float("-inf"), 0.0, float("-inf")]])
    row = Row(Sampling(temperature=1.0))
    drawn = [choose(logits, [row]) for _ in range(50)]
    assert {ids[0] for ids, _ in drawn} == {1, 3}
    assert {round(logprobs[0], 6) for _, logprobs in drawn} == {-0.693147}


def test_fp64_is_only_made_on_the_host(only_fp64_on_the_host):
    logits = torch.randn(2, 50, generator=torch.Generator().manual_seed(2))
    rows = [Row(Sampling(temperature=1.0)), Row(Sampling(temperature=1.0, top_k=4))]
    choose(logits, rows)
    assert len(only_fp64_on_the_host) == 2


def test_settings_that_mean_nothing_are_refused():
    for wrong in ({"temperature": -1.0}, {"top_p": 0.0}, {"top_k": 0}, {"repetition_penalty": 0.0}):
        with pytest.raises(UsageError, match=next(iter(wrong))):
            Sampling(**wrong)
