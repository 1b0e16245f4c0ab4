"""Bits per byte and its interval."""

from __future__ import annotations

import math

import numpy as np
import pytest

from minna.errors import DataError
from minna.metrics import bits_per_byte, document_bytes, ratio_interval


def test_a_document_counts_its_utf8_bytes_and_one_for_its_end():
    assert document_bytes(["犬", "", "ab"]).tolist() == [4, 1, 3]


def test_the_value_is_the_ratio_of_sums_in_bits():
    found = bits_per_byte([2 * math.log(2), 6 * math.log(2)], [1, 3])
    assert found.value == pytest.approx(2.0)
    assert found.low == pytest.approx(2.0)
    assert found.high == pytest.approx(2.0)
    assert found.units == 2


def test_a_uniform_guess_over_256_bytes_costs_eight_bits_a_byte():
    sizes = np.array([10, 20, 5])
    assert bits_per_byte(sizes * math.log(256), sizes).value == pytest.approx(8.0)


def test_the_interval_agrees_with_the_known_error_of_a_mean():
    values = np.random.default_rng(0).normal(3.0, 1.0, size=2000)
    found = ratio_interval(values, np.ones(2000), resamples=2000)
    half = 1.96 * values.std() / math.sqrt(2000)
    assert (found.high - found.low) / 2 == pytest.approx(half, rel=0.1)
    assert found.low < values.mean() < found.high


def test_the_same_seed_gives_the_same_interval_and_another_seed_another():
    data = np.random.default_rng(1).random(50)
    first, again, other = (ratio_interval(data, np.ones(50), seed=s) for s in (3, 3, 4))
    assert first == again
    assert first != other


def test_copies_of_a_document_in_one_group_do_not_narrow_the_interval():
    data = np.random.default_rng(2).random(40)
    alone = ratio_interval(data, np.ones(40))
    copied = ratio_interval(np.repeat(data, 9), np.ones(360), groups=np.repeat(np.arange(40), 9))
    blind = ratio_interval(np.repeat(data, 9), np.ones(360))
    assert copied.units == 40
    assert (copied.low, copied.high) == pytest.approx((alone.low, alone.high))
    assert blind.high - blind.low < 0.5 * (alone.high - alone.low)


def test_groups_may_be_names_in_any_order():
    found = ratio_interval([1.0, 5.0, 1.0], [1, 1, 1], groups=["b", "a", "b"])
    assert found.units == 2
    assert (found.low, found.value, found.high) == (1.0, 7 / 3, 5.0)


@pytest.mark.parametrize(
    ("upper", "lower", "groups"),
    [([], [], None), ([1.0], [1.0, 2.0], None), ([1.0], [0.0], None), ([1.0], [1.0], ["a", "b"])],
)
def test_unusable_input_is_a_data_error(
    upper: list[float], lower: list[float], groups: list[str] | None
):
    with pytest.raises(DataError):
        ratio_interval(upper, lower, groups=groups)
