"""Do a model's cosines rise with what people call similar? Files of sentence pairs with a score.

JSTS of JGLUE is a JSON object a line (sentence1, sentence2, label 0 to 5); the same in three
columns is read too. Sentences are encoded once each: JSTS names many of them several times.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from minna.errors import DataError, UsageError
from minna.metrics.correlation import correlation_interval, pearson, spearman
from minna.metrics.interval import Interval
from minna.runtime.zero_shot import unit_rows

if TYPE_CHECKING:
    from minna.runtime.two_towers import TwoTowers

_KEYS: Final = ("sentence1", "sentence2", "label")
_COLUMNS: Final = 3
_REMEDY: Final = (
    'write {"sentence1": ..., "sentence2": ..., "label": 0 to 5} a line, or three columns with tabs'
)


@dataclass(frozen=True, kw_only=True)
class Likened:
    """Two sentences, and how alike people found them."""

    first: str
    second: str
    score: float


@dataclass(frozen=True, kw_only=True)
class Similarity:
    """How a model's cosines go with people's scores.

    Attributes:
        pairs: how many.
        sentences: different ones.
        spearman, pearson: with 95 % intervals over the pairs.
    """

    pairs: int
    sentences: int
    spearman: Interval
    pearson: Interval


def measure_similarity(towers: TwoTowers, pairs: Sequence[Likened]) -> Similarity:
    """Compare cosines with people's scores.

    Raises:
        DataError: fewer than three pairs, or vectors that are no numbers.
    """
    texts = list(dict.fromkeys(text for pair in pairs for text in (pair.first, pair.second)))
    if not texts:
        raise DataError("there is no pair of sentences to compare", remedy=_REMEDY)
    place = {text: number for number, text in enumerate(texts)}
    vectors = unit_rows(towers.texts(texts))
    left = vectors[[place[pair.first] for pair in pairs]]
    right = vectors[[place[pair.second] for pair in pairs]]
    cosines = np.einsum("nd,nd->n", left, right, dtype=np.float64)
    scores = np.array([pair.score for pair in pairs])
    return Similarity(
        pairs=len(pairs),
        sentences=len(texts),
        spearman=correlation_interval(cosines, scores, spearman),
        pearson=correlation_interval(cosines, scores, pearson),
    )


def read_likened(file: Path) -> list[Likened]:
    """Read a file of sentence pairs: JSON a line, or three columns with tabs and maybe a head.

    Raises:
        UsageError: there is no such file.
        DataError: not UTF-8, or a line that is neither.
    """
    try:
        text = file.read_text(encoding="utf-8-sig")
    except FileNotFoundError as error:
        raise UsageError(f"{file} does not exist", remedy="check the path") from error
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{file} cannot be read as UTF-8 text: {error}") from error
    lines = [
        (number, line)
        for number, line in enumerate(text.replace("\r\n", "\n").split("\n"), start=1)
        if line.strip()
    ]
    if not lines:
        raise DataError(f"{file} is empty", remedy=_REMEDY)
    if lines[0][1].lstrip().startswith("{"):
        return [_from_json(line, f"line {number} of {file}") for number, line in lines]
    rows = [(number, line.split("\t")) for number, line in lines]
    if len(rows[0][1]) == _COLUMNS and not _is_number(rows[0][1][-1]):
        rows = rows[1:]  # the names of the columns
    return [_from_row(row, f"line {number} of {file}") for number, row in rows]


def _from_json(line: str, where: str) -> Likened:
    try:
        row: Any = json.loads(line)
    except ValueError as error:
        raise DataError(f"{where} is not JSON: {error}", remedy=_REMEDY) from error
    values: list[Any] = [row.get(key) for key in _KEYS] if isinstance(row, dict) else []
    if len(values) != len(_KEYS) or not all(isinstance(text, str) for text in values[:2]):
        raise DataError(f"{where} has no {', '.join(_KEYS)}: {line[:80]!r}", remedy=_REMEDY)
    return _likened([*values[:2], str(values[2])], where)


def _from_row(row: list[str], where: str) -> Likened:
    if len(row) != _COLUMNS:
        raise DataError(f"{where} has {len(row)} columns, not {_COLUMNS}", remedy=_REMEDY)
    return _likened(row, where)


def _likened(values: Sequence[str], where: str) -> Likened:
    if not _is_number(values[2]):
        raise DataError(f"{where} has the score {values[2]!r}, no number", remedy=_REMEDY)
    if not values[0].strip() or not values[1].strip():
        raise DataError(f"{where} has an empty sentence", remedy=_REMEDY)
    return Likened(first=values[0], second=values[1], score=float(values[2]))


def _is_number(text: str) -> bool:
    try:
        return bool(np.isfinite(float(text)))
    except ValueError:
        return False
