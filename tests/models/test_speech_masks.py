"""Spans that hide: as many as published, the same for a clip whatever is beside it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from minna.models.speech.masks import CHANNELS, SpanSettings, clip_number, hidden_of, spans


@pytest.mark.parametrize(
    ("start", "share"), [(0.08, 0.566), (0.075, 0.542), (0.065, 0.492), (0.05, 0.403)]
)
def test_the_share_that_is_hidden_is_the_published_one(start, share):
    settings = SpanSettings(start_probability=start)
    hidden = hidden_of(range(800), [780] * 800, settings=settings, seed=0, epoch=0)
    assert hidden.float().mean() == pytest.approx(share, abs=0.006)


@given(
    st.integers(0, 400),
    st.builds(
        SpanSettings,
        start_probability=st.floats(0, 0.9),
        span=st.integers(1, 64),
        least=st.integers(1, 3),
    ),
    st.integers(0, 2**32),
)
def test_something_is_hidden_and_something_seen(places, settings, seed):
    hidden = spans(places, settings=settings, generator=np.random.default_rng(seed))
    assert hidden.shape == (places,) and hidden.dtype == np.bool_
    if places >= 2:
        assert 0 < hidden.sum() < places and not hidden[-1]
        runs = np.flatnonzero(np.diff(np.concatenate(([0], hidden, [0])).astype(np.int8)))
        lengths = runs[1::2] - runs[::2]
        assert (lengths >= (settings.span if settings.span < places else places // 2)).all()
    else:
        assert not hidden.any()


def test_a_clip_is_hidden_alike_whatever_is_beside_it():
    settings = SpanSettings()
    clips, frames = [clip_number(f"clip-{n}") for n in range(6)], [50, 200, 90, 124, 60, 99]
    together = hidden_of(clips, frames, settings=settings, seed=4, epoch=2)
    assert together.dtype == torch.bool and together.shape == (6, 200)
    for row in range(6):
        alone = hidden_of([clips[row]], [frames[row]], settings=settings, seed=4, epoch=2)
        assert torch.equal(alone[0], together[row, : frames[row]])
        assert not together[row, frames[row] :].any()
    for other in ({"seed": 5, "epoch": 2}, {"seed": 4, "epoch": 3}):
        assert not torch.equal(hidden_of(clips, frames, settings=settings, **other), together)
    channels = hidden_of(clips, frames, settings=settings, seed=4, epoch=2, what="channels")
    assert not torch.equal(channels, together)


def test_global_random_states_are_neither_asked_nor_moved():
    first = hidden_of([1, 2], [100, 100], settings=SpanSettings(), seed=0, epoch=0)
    np.random.seed(1)  # noqa: NPY002 - it is what must not matter
    before, torch_before = np.random.get_state()[2], torch.get_rng_state()  # noqa: NPY002
    again = hidden_of([1, 2], [100, 100], settings=SpanSettings(), seed=0, epoch=0)
    assert torch.equal(first, again)
    assert np.random.get_state()[2] == before  # noqa: NPY002
    assert torch.equal(torch.get_rng_state(), torch_before)


def test_channels_are_hidden_in_spans_of_64_of_768():
    hidden = hidden_of(range(400), [768] * 400, settings=CHANNELS, seed=0, epoch=0, what="channels")
    counts = hidden.sum(1)
    assert (counts >= 64).all() and counts.max() <= 7 * 64
    assert hidden.float().mean() == pytest.approx(0.41, abs=0.03)


def test_numbers_of_clips_are_their_own_and_stay():
    numbers = [clip_number(f"a/{n}.wav") for n in range(2_000)]
    assert len(set(numbers)) == 2_000 and all(0 <= one < 2**63 for one in numbers)
    assert clip_number("日本") == clip_number("日本") == 8365888103783222685
