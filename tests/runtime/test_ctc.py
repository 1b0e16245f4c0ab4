"""Decoding of CTC: equal to looking at every alignment, in C++ as in numpy."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.machine import needs_kernels

from minna.errors import DataError, UsageError
from minna.native import beam as native
from minna.runtime import ctc
from minna.runtime.ctc import Search, beam_search, greedy

ENGINES = [
    "numpy",
    pytest.param("C++", marks=needs_kernels),
]


@pytest.fixture
def engine(request, monkeypatch):
    if request.param == "numpy":
        monkeypatch.setattr(native, "ready", lambda: False)
    else:
        assert native.ready()
    return request.param


def frames(T, V, seed, *, sharp=1.0):
    logits = sharp * np.random.default_rng(seed).normal(size=(T, V))
    return logits - np.logaddexp.reduce(logits, axis=1, keepdims=True)


def collapsed(path):
    return tuple(k for k, _ in itertools.groupby(path) if k)


def every_alignment(logprobs):
    """text -> (probability of all its alignments, of its best one, that one)."""
    T, V = logprobs.shape
    found = {}
    for path in itertools.product(range(V), repeat=T):
        p = math.exp(sum(row[k] for row, k in zip(logprobs, path, strict=True)))
        text = collapsed(path)
        total, best, at = found.get(text, (0.0, -1.0, ()))
        found[text] = (total + p, *((p, path) if p > best else (best, at)))
    return found


def spans(path):
    """(first frame, frame behind the last) of each symbol of an alignment."""
    at, out = 0, []
    for k, run in itertools.groupby(path):
        n = len(list(run))
        out += [(at, at + n)] if k else []
        at += n
    return out


def numpys(logprobs, *, beam, best):
    search = Search(logprobs.shape[1], beam=beam)
    for t, row in enumerate(logprobs):
        search.step(row, t)
    return search.finish(best)


@pytest.mark.parametrize("engine", ENGINES, indirect=True)
def test_a_beam_that_holds_everything_is_exact(engine):
    @given(st.integers(0, 5), st.integers(2, 4), st.integers(0, 10_000))
    @settings(max_examples=25, deadline=None)
    def check(T, V, seed):
        logprobs = frames(T, V, seed, sharp=2.0)
        expected = every_alignment(logprobs)
        rows = beam_search(logprobs, beam=2000, best=2000)
        assert {row.ids for row in rows} == set(expected)
        scores = [row.score for row in rows]
        assert scores == sorted(scores, reverse=True)
        for row in rows:
            total, _, path = expected[row.ids]
            assert row.score == pytest.approx(math.log(total), abs=1e-9)
            assert list(zip(row.starts, row.ends, strict=True)) == spans(path)

    check()


@needs_kernels
@given(
    st.integers(0, 40),
    st.integers(2, 12),
    st.integers(1, 25),
    st.integers(0, 10_000),
    st.sampled_from([0.3, 2.0, 8.0]),
)
@settings(max_examples=60, deadline=None)
def test_both_engines_find_the_same_texts_scores_and_times(T, V, beam, seed, sharp):
    logprobs = frames(T, V, seed, sharp=sharp)
    assert native.ready()
    ours = beam_search(logprobs, beam=beam, best=5)
    twins = numpys(logprobs, beam=beam, best=min(5, beam))
    assert [(r.ids, r.starts, r.ends) for r in ours] == [(r.ids, r.starts, r.ends) for r in twins]
    np.testing.assert_allclose([r.score for r in ours], [r.score for r in twins], atol=1e-9)


@pytest.mark.parametrize("engine", ENGINES, indirect=True)
def test_a_prefix_that_left_the_beam_and_came_back_is_not_counted_twice(engine):
    for seed in range(30):
        rows = beam_search(frames(30, 3, seed, sharp=0.5), beam=6, best=6)
        assert len({row.ids for row in rows}) == len(rows)


@pytest.mark.parametrize("engine", ENGINES, indirect=True)
def test_the_sum_over_alignments_beats_the_best_path(engine):
    # blank, blank is the best single path (0.36), but "1" has three of 0.24 + 0.24 + 0.16
    logprobs = np.log([[0.6, 0.4], [0.6, 0.4]])
    assert greedy(logprobs).ids == ()
    best = beam_search(logprobs)[0]
    assert best.ids == (1,) and math.exp(best.score) == pytest.approx(0.64)


@pytest.mark.parametrize("engine", ENGINES, indirect=True)
def test_impossible_symbols_never_come_and_nothing_is_a_text_too(engine):
    sure = np.full((5, 4), -np.inf)
    sure[np.arange(5), [2, 2, 0, 2, 3]] = 0.0
    for row in (beam_search(sure, best=3)[0], greedy(sure)):
        assert row.ids == (2, 2, 3) and row.score == 0
        assert (row.starts, row.ends) == ((0, 3, 4), (2, 4, 5))
    assert len(beam_search(sure, best=3)) == 1
    for row in (beam_search(np.zeros((0, 3)))[0], greedy(np.zeros((0, 3)))):
        assert row == ctc.Reading(ids=(), starts=(), ends=(), score=0.0)


def test_the_best_path_is_read_off_with_its_times():
    logprobs = frames(6, 5, 0)
    path = [1, 1, 0, 1, 4, 4]
    logprobs[np.arange(6), path] = 1.0
    found = greedy(logprobs)
    assert found.ids == (1, 1, 4)
    assert (found.starts, found.ends) == ((0, 3, 4), (2, 4, 6))
    assert found.score == 6.0


@pytest.mark.parametrize("decode", [greedy, beam_search])
@pytest.mark.parametrize(
    ("given_", "said"),
    [
        (np.zeros(4), r"not \(4,\)"),
        (np.zeros((4, 1)), r"not \(4, 1\)"),
        (np.array([[0.0, np.nan]]), "are no numbers"),
        (np.array([[0.0, np.inf]]), "are no numbers"),
    ],
)
def test_what_is_no_frame_of_logprobs_is_refused(decode, given_, said):
    with pytest.raises(DataError, match=said):
        decode(given_)


def test_a_beam_of_nothing_is_refused():
    with pytest.raises(UsageError, match="a beam of 0"):
        beam_search(np.zeros((2, 2)), beam=0)
    with pytest.raises(UsageError, match="the best 0"):
        beam_search(np.zeros((2, 2)), best=0)


@needs_kernels
def test_wrong_texts_of_a_kernel_are_noticed(monkeypatch, capsys):
    native.ready.cache_clear()
    monkeypatch.setattr(native, "beam_search", lambda *_, **__: [])
    assert not native.ready()
    assert "gives wrong texts here" in capsys.readouterr().err
    native.ready.cache_clear()
