"""Cutting recordings: speech is found, silence is left out, and nothing is longer than asked."""

from __future__ import annotations

import itertools

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.corpus.made_clips import talk, tone

from minna.corpus.clip_cut import FRAME, speech_spans

RATE = 16_000


def seconds(spans):
    return [(start / RATE, end / RATE) for start, end in spans]


def test_stretches_of_speech_become_spans_with_a_margin():
    samples = talk((1.0, 2.0), (3.0, 1.0), (2.0, 1.5))
    spans = seconds(speech_spans(samples, longest=3))
    wanted = [(1.0, 3.0), (6.0, 7.0), (9.0, 10.5)]
    assert len(spans) == 3
    for (start, end), (first, last) in zip(spans, wanted, strict=True):
        assert first - 0.25 < start < first and last < end < last + 0.25


def test_neighbours_are_joined_while_they_fit_and_short_gaps_close():
    samples = talk((0.5, 1.0), (0.15, 1.0), (0.8, 1.0), (4.0, 1.0))
    spans = seconds(speech_spans(samples, longest=6))
    assert len(spans) == 2  # three of them fit into 6 s, the fourth does not
    assert spans[0][0] < 0.5 < 4.45 < spans[0][1] < 4.8 and spans[1][0] > 8
    assert len(speech_spans(samples, longest=2.5)) == 3


def test_speech_without_a_gap_is_cut_at_its_quietest_place():
    samples = tone(10.0, loud=0.5)
    samples[int(3.4 * RATE) : int(3.5 * RATE)] *= 0.3
    spans = speech_spans(samples, longest=4)
    assert 3.4 * RATE - FRAME < spans[0][1] < 3.5 * RATE + 2 * FRAME
    assert all(end - start <= 4 * RATE for start, end in spans)


def test_a_click_is_no_speech_and_even_noise_is_one_stretch():
    samples = talk((2.0, 2.0), (4.0, 0.02))
    spans = seconds(speech_spans(samples, longest=3))
    assert len(spans) == 1 and spans[0][1] < 4.5
    noise = np.random.default_rng(0).normal(0, 0.1, 5 * RATE).astype(np.float32)
    assert speech_spans(noise, longest=10) == [(0, 5 * RATE)]
    assert speech_spans(noise[:100], longest=10) == []


@settings(max_examples=30, deadline=None)
@given(
    bursts=st.lists(st.tuples(st.floats(0.02, 2), st.floats(0.02, 4)), min_size=1, max_size=6),
    longest=st.floats(1, 8),
    floor=st.sampled_from([0.0, 1e-4, 5e-3]),
)
def test_spans_are_in_order_apart_and_never_too_long(bursts, longest, floor):
    samples = talk(*bursts, floor=floor)
    spans = speech_spans(samples, longest=longest)
    assert all(0 <= start < end <= len(samples) for start, end in spans)
    assert all(end - start <= longest * RATE for start, end in spans)
    assert all(one[1] <= other[0] for one, other in itertools.pairwise(spans))


def test_an_hour_is_cut_and_most_of_its_silence_left_out():
    quarter = talk(*[(1.5, 2.5)] * 25)  # 100 s, of which 62.5 are speech
    samples = np.tile(quarter, 36)
    spans = speech_spans(samples, longest=15)
    kept = sum(end - start for start, end in spans) / RATE
    assert 36 * 62.5 < kept < 0.95 * len(samples) / RATE
    assert max(end - start for start, end in spans) <= 15 * RATE
