"""Choices among texts."""

from __future__ import annotations

import pytest

from minna.errors import DataError
from minna.metrics.choose import (
    by_bytes,
    by_characters,
    by_sum,
    sentence_won,
    sentence_won_as_harness,
)


def test_the_three_rules_may_choose_three_texts():
    texts = ["犬", "abcd", "吾輩は猫"]
    logprobs = [-2.0, -4.6, -5.0]  # per character -2, -1.15, -1.25; per byte -0.67, -1.15, -0.42
    assert by_sum(logprobs) == 0
    assert by_characters(logprobs, texts) == 1
    assert by_bytes(logprobs, texts) == 2


def test_the_first_of_equals_wins():
    assert by_sum([-3.0, -1.0, -1.0]) == 1
    assert by_characters([-2.0, -1.0], ["ab", "c"]) == 0


def test_a_half_character_pair_counts_as_python_counts_it():
    assert by_characters([-2.0, -1.5], ["𠮷野", "a"]) == 0  # two characters, not three code units


@pytest.mark.parametrize(
    ("logprobs", "greedy", "won_by"),
    [
        ([-1.0, -2.0], [False, True], "both"),
        ([-2.0, -1.0], [True, False], "neither"),
        ([-1.0, -1.0], [False, False], "neither"),
        ([-1.0, -1.0], [True, False], "harness"),
        ([-1.0, -1.0], [True, True], "neither"),
    ],
)
def test_a_sentence_wins_only_if_it_is_likelier(
    logprobs: list[float], greedy: list[bool], won_by: str
):
    assert sentence_won(logprobs, gold=0) is (won_by == "both")
    assert sentence_won_as_harness(logprobs, greedy, gold=0) is (won_by != "neither")


def test_nothing_to_choose_and_an_empty_choice_are_refused():
    with pytest.raises(DataError, match="nothing to choose"):
        by_sum([])
    with pytest.raises(DataError, match="choice 1 is empty"):
        by_characters([-1.0, -1.0], ["a", ""])
    with pytest.raises(DataError, match="choice 0 is empty"):
        by_bytes([-1.0, -1.0], ["", "a"])
