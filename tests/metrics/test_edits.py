"""Edits: as counted by hand, as found by the plainest way, as jiwer sums them."""

from __future__ import annotations

import functools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minna.errors import DataError
from minna.metrics import edits as room
from minna.metrics.edits import aligned, edit_counts, error_rate, rate_of, sound_units, word_units

TEXTS = st.lists(st.sampled_from("aiueo"), max_size=8)
PAIRS = st.lists(st.tuples(TEXTS, TEXTS), min_size=1, max_size=6)


def plainly(said, heard):
    """(edits, of them no substitutions) of the best way, by looking at every way."""

    @functools.cache
    def best(i, j):
        if not i or not j:
            return (i + j, i + j)
        edits, gaps = best(i - 1, j - 1)
        ways = [(edits + (said[i - 1] != heard[j - 1]), gaps)]
        ways += [tuple(np.add(best(*one), 1)) for one in ((i - 1, j), (i, j - 1))]
        return min(ways)

    return tuple(map(int, best(len(said), len(heard))))


@given(PAIRS, st.sampled_from([4, 20, 1 << 16]))
@settings(max_examples=80, deadline=None)
def test_counts_are_those_of_the_plainest_way_whatever_the_block(pairs, cells):
    said, heard = zip(*pairs, strict=True)
    kept, room._CELLS = room._CELLS, cells
    try:
        counts = edit_counts(said, heard)
    finally:
        room._CELLS = kept
    for (ours, theirs), row in zip(pairs, counts.tolist(), strict=True):
        edits, gaps = plainly(ours, theirs)
        substitutions, insertions, deletions, reference = row
        assert (sum(row[:3]), insertions + deletions) == (edits, gaps)
        assert insertions - deletions == len(theirs) - len(ours)
        assert min(row) >= 0 and reference == len(ours)


@given(TEXTS, TEXTS)
@settings(max_examples=80, deadline=None)
def test_an_alignment_reads_both_texts_and_has_the_edits_that_are_counted(said, heard):
    pairs = aligned(said, heard)
    assert [a for a, _ in pairs if a is not None] == said
    assert [b for _, b in pairs if b is not None] == heard
    found = [
        sum(a is not None and b is not None and a != b for a, b in pairs),
        sum(a is None for a, _ in pairs),
        sum(b is None for _, b in pairs),
    ]
    assert edit_counts([said], [heard])[0, :3].tolist() == found


def test_one_wrong_phone_or_boundary_makes_words_wrong():
    said = [["k", "o", "N"], ["n", "i"], ["ch", "i", "w", "a"]]
    phone = [["k", "o", "N"], ["n", "e"], ["ch", "i", "w", "a"]]
    joined = [["k", "o", "N", "n", "i"], ["ch", "i", "w", "a"]]
    wer = error_rate([word_units(said)] * 2, [word_units(phone), word_units(joined)])
    assert (wer.substitutions, wer.insertions, wer.deletions, wer.reference) == (2, 0, 1, 6)
    assert wer.rate.value == pytest.approx(3 / 6) and wer.items == 2

    def phones(words, boundaries):
        return sound_units(words, boundaries=boundaries)

    counted = error_rate([phones(said, "counted")], [phones(joined, "counted")])
    left = error_rate([phones(said, "left")], [phones(joined, "left")])
    assert counted.rate.value == pytest.approx(1 / 11) and counted.deletions == 1
    assert left.rate.value == 0 and left.reference == 9


def test_empty_words_are_no_words_and_never_a_boundary():
    words = [[], ["a"], [], [], ["i"], []]
    assert word_units(words) == [("a",), ("i",)]
    assert sound_units(words, boundaries="counted") == ["a", "|", "i"]
    assert sound_units([[], []], boundaries="counted") == []


def test_a_rate_is_a_ratio_of_sums_and_groups_widen_its_interval():
    generator = np.random.default_rng(0)
    wrong = np.repeat(generator.integers(0, 5, 20), 10)
    said = [["a"] * 5 for _ in wrong]
    heard = [["b"] * int(k) + ["a"] * (5 - int(k)) for k in wrong]
    heard[0] += ["c"] * 20
    alone = error_rate(said, heard)
    grouped = error_rate(said, heard, groups=np.repeat(np.arange(20), 10))
    assert alone.rate.value == grouped.rate.value == (wrong.sum() + 20) / (5 * len(wrong))
    assert alone.rate.low < alone.rate.value < alone.rate.high
    assert grouped.rate.units == 20 and alone.rate.units == 200
    assert grouped.rate.high - grouped.rate.low > alone.rate.high - alone.rate.low
    assert rate_of(edit_counts(said, heard)).rate == alone.rate


def test_nothing_said_is_told_and_what_is_said_into_silence_counts():
    found = error_rate([[], ["a", "i"]], [["a", "b", "c"], []])
    assert (found.insertions, found.deletions) == (3, 2) and found.rate.value == 5 / 2
    with pytest.raises(DataError, match="none of 2 references says"):
        error_rate([[], []], [["a"], []])
    with pytest.raises(DataError, match="2 texts were understood, and 1 were said"):
        edit_counts([["a"]], [["a"], ["b"]])
    assert edit_counts([], []).shape == (0, 4)


def test_a_text_too_long_to_count_is_refused(monkeypatch):
    monkeypatch.setattr(room, "_LONGEST", 5)
    with pytest.raises(DataError, match="6 units is too long"):
        edit_counts([["a"] * 6], [[]])


@given(PAIRS)
@settings(max_examples=40, deadline=None)
def test_rates_are_those_of_jiwer(pairs):
    jiwer = pytest.importorskip("jiwer")
    pairs = [(said or ["a"], heard) for said, heard in pairs]
    said, heard = (list(one) for one in zip(*pairs, strict=True))
    theirs = jiwer.process_words([" ".join(one) for one in said], [" ".join(one) for one in heard])
    ours = error_rate(said, heard, resamples=2)
    assert ours.rate.value == pytest.approx(theirs.wer)
    edits = theirs.substitutions + theirs.insertions + theirs.deletions
    assert ours.substitutions + ours.insertions + ours.deletions == edits
    assert ours.insertions - ours.deletions == theirs.insertions - theirs.deletions
