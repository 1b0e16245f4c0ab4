"""Figures of a classifier, all from its confusion matrix, for one matrix or for 100,000 at once.

Accuracy alone flatters whoever always says the same: on JNLI, where 55 % are neutral, the constant
answer gets 55. Balanced accuracy and macro F1 give it 33 and 24, the Matthews coefficient 0.

Names: C classes, counts_CC [gold, predicted]; any number of dimensions in front.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from minna.errors import DataError

Floats = NDArray[np.float64]


def confusion_rows(gold: Sequence[int], predicted: Sequence[int], *, classes: int) -> Floats:
    """[N, C * C] one 1 per item, in the cell of its gold and predicted class.

    Their sum is the confusion matrix; as rows they can be resampled.

    Raises:
        DataError: lengths that differ, or a class outside 0..classes-1.
    """
    gold_N = np.asarray(gold, dtype=np.int64)
    predicted_N = np.asarray(predicted, dtype=np.int64)
    if gold_N.shape != predicted_N.shape or gold_N.ndim != 1:
        raise DataError(f"{gold_N.size} labels were given for {predicted_N.size} predictions")
    for name, found in (("label", gold_N), ("prediction", predicted_N)):
        outside = found[(found < 0) | (found >= classes)]
        if len(outside) > 0:
            raise DataError(f"{name} {outside[0]} is none of the {classes} classes from 0")
    rows = np.zeros((len(gold_N), classes * classes))
    rows[np.arange(len(gold_N)), gold_N * classes + predicted_N] = 1
    return rows


def as_matrix(cells: Floats) -> Floats:
    """[..., C, C] from [..., C * C]."""
    classes = round(cells.shape[-1] ** 0.5)
    return cells.reshape(*cells.shape[:-1], classes, classes)


def balanced_accuracy(counts_CC: Floats) -> Floats:
    """[...] mean over the classes that occur of the share of each that was found."""
    of_class = counts_CC.sum(axis=-1)
    return _ratio(_diagonal(counts_CC), of_class).sum(axis=-1) / (of_class > 0).sum(axis=-1)


def macro_f1(counts_CC: Floats) -> Floats:
    """[...] mean of F1 = 2 right / (gold + predicted) over classes that occur or are predicted."""
    both = counts_CC.sum(axis=-1) + counts_CC.sum(axis=-2)
    return _ratio(2 * _diagonal(counts_CC), both).sum(axis=-1) / (both > 0).sum(axis=-1)


def matthews(counts_CC: Floats) -> Floats:
    """[...] Matthews correlation of any number of classes, -1..1; 0 where one side is constant.

    Gorodkin 2004, "Comparing two K-category assignments by a K-category correlation coefficient":
    (n trace - gold . predicted) / sqrt((n^2 - |predicted|^2) (n^2 - |gold|^2)).
    """
    gold, predicted = counts_CC.sum(axis=-1), counts_CC.sum(axis=-2)
    n = counts_CC.sum(axis=(-2, -1))
    covariance = n * _diagonal(counts_CC).sum(axis=-1) - (gold * predicted).sum(axis=-1)
    spread = (n**2 - (predicted**2).sum(axis=-1)) * (n**2 - (gold**2).sum(axis=-1))
    return _ratio(covariance, np.sqrt(spread))


def _diagonal(counts_CC: Floats) -> Floats:
    return np.diagonal(counts_CC, axis1=-2, axis2=-1)


def _ratio(upper: Floats, lower: Floats) -> Floats:
    """`upper / lower`, 0 where there is nothing to divide by."""
    return np.divide(upper, lower, out=np.zeros_like(upper, dtype=np.float64), where=lower > 0)
