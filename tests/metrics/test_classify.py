"""Figures of a confusion matrix against counting by hand and against closed forms."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from minna.errors import DataError
from minna.metrics.classify import (
    as_matrix,
    balanced_accuracy,
    confusion_rows,
    macro_f1,
    matthews,
)


def confusion(gold: list[int], taken: list[int], *, classes: int) -> NDArray[np.float64]:
    return as_matrix(confusion_rows(gold, taken, classes=classes).sum(axis=0))


def slow(gold: list[int], taken: list[int]) -> dict[str, float]:
    """The same figures by counting, one class at a time."""
    pairs = list(zip(gold, taken, strict=True))
    recalls = [sum(g == t for g, t in pairs if g == c) / gold.count(c) for c in sorted(set(gold))]
    f1s: list[float] = []
    for c in sorted(set(gold) | set(taken)):
        both = sum(g == t == c for g, t in pairs)
        precision = both / taken.count(c) if c in taken else 0.0
        recall = both / gold.count(c) if c in gold else 0.0
        f1s.append(2 * precision * recall / (precision + recall) if both else 0.0)
    classes = sorted(set(gold) | set(taken))
    # Matthews as the correlation of indicator columns, summed over the classes
    x = np.array([[g == c for c in classes] for g in gold], dtype=float)
    y = np.array([[t == c for c in classes] for t in taken], dtype=float)
    x, y = x - x.mean(axis=0), y - y.mean(axis=0)
    spread = math.sqrt((x * x).sum() * (y * y).sum())
    return {
        "balanced": sum(recalls) / len(recalls),
        "f1": sum(f1s) / len(f1s),
        "mcc": float((x * y).sum() / spread) if spread else 0.0,
    }


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("classes", [2, 3, 5])
def test_all_three_equal_counting_by_hand(seed: int, classes: int):
    generator = np.random.default_rng(seed)
    n = int(generator.integers(2, 60))
    gold = generator.integers(0, classes, n).tolist()
    taken = generator.integers(0, max(1, classes - seed % 2), n).tolist()
    counts = confusion(gold, taken, classes=classes)
    expected = slow(gold, taken)
    assert balanced_accuracy(counts) == pytest.approx(expected["balanced"])
    assert macro_f1(counts) == pytest.approx(expected["f1"])
    assert matthews(counts) == pytest.approx(expected["mcc"])


def test_two_classes_follow_the_textbook():
    tp, fn, fp, tn = 6, 2, 1, 3
    counts = np.array([[tp, fn], [fp, tn]], dtype=float)
    root = math.sqrt((tp + fp) * (tp + fn) * (tn + fp) * (tn + fn))
    assert matthews(counts) == pytest.approx((tp * tn - fp * fn) / root)
    assert balanced_accuracy(counts) == pytest.approx((6 / 8 + 3 / 4) / 2)
    assert macro_f1(counts) == pytest.approx((12 / 15 + 6 / 9) / 2)


def test_the_constant_answer_earns_nothing():
    counts = confusion([0] * 353 + [1] * 734 + [2] * 1347, [2] * 2434, classes=3)  # JNLI's labels
    assert balanced_accuracy(counts) == pytest.approx(1 / 3)
    assert macro_f1(counts) == pytest.approx(0.2375, abs=1e-4)
    assert matthews(counts) == 0


def test_all_right_is_one_and_all_swapped_is_minus_one():
    assert matthews(confusion([0, 1, 1], [0, 1, 1], classes=2)) == pytest.approx(1)
    assert matthews(confusion([0, 1, 0, 1], [1, 0, 1, 0], classes=2)) == pytest.approx(-1)


def test_many_matrices_at_once_are_as_each_alone():
    generator = np.random.default_rng(9)
    many = generator.integers(0, 20, size=(50, 3, 3)).astype(float)
    for figure in (balanced_accuracy, macro_f1, matthews):
        assert figure(many) == pytest.approx([float(figure(one)) for one in many])


def test_rows_sum_to_the_matrix():
    rows = confusion_rows([0, 1, 1], [1, 1, 0], classes=2)
    assert rows.sum(axis=0).reshape(2, 2).tolist() == [[0, 1], [1, 1]]


@pytest.mark.parametrize(
    ("gold", "taken", "said"),
    [([0], [0, 1], "1 labels"), ([3], [0], "label 3"), ([0], [-1], "prediction -1")],
)
def test_what_is_no_class_is_refused(gold: list[int], taken: list[int], said: str):
    with pytest.raises(DataError, match=said):
        confusion(gold, taken, classes=3)
