"""Pictures that somebody brings, and what they show: the names a model bets on, with how much."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from minna.console import progress
from minna.runtime.picture_batches import refuse_all_bad, seen, tell_bad
from minna.runtime.places import Content, read_file
from minna.runtime.zero_shot import Classifier, best, shares

if TYPE_CHECKING:
    from minna.runtime.two_towers import TwoTowers


@dataclass(frozen=True, kw_only=True)
class Guess:
    """One name for a picture.

    Attributes:
        id, name: of the class.
        share: of the bet among all classes, 0 to 1.
        cosine: between picture and name, which does not depend on the other classes.
    """

    id: str
    name: str
    share: float
    cosine: float


@dataclass(frozen=True, kw_only=True)
class Named:
    """A picture and its likeliest names, the likeliest first."""

    path: str
    guesses: tuple[Guess, ...]


def name_pictures(
    towers: TwoTowers, classifier: Classifier, files: Sequence[Path], *, top: int = 5
) -> tuple[list[Named], dict[str, str]]:
    """Name pictures.

    Args:
        towers: the model.
        classifier: of its texts.
        files: the pictures, see `places.find_files`.
        top: how many names each gets.

    Returns:
        What was named, in order, and path -> problem of what does not open.

    Raises:
        DataError: none of them opens.
    """
    bad: dict[str, str] = {}
    named: list[Named] = []
    with progress() as bar:
        task = bar.add_task("pictures", total=len(files), note="")

        def contents() -> Iterator[Content]:
            for file in files:
                yield read_file(file, path=str(file))
                bar.advance(task)

        for batch, vectors in seen(towers, contents(), bad=bad):
            for content, guesses in zip(batch, _guesses(classifier, vectors, top), strict=True):
                named.append(Named(path=content.path, guesses=guesses))
    if not named:
        refuse_all_bad(bad, where="those given")
    tell_bad(bad, among=len(files))
    return named, bad


def _guesses(
    classifier: Classifier, vectors: NDArray[np.float32], top: int
) -> list[tuple[Guess, ...]]:
    cosines_NC = classifier.cosines(vectors)
    scores_NC: Any = np.float32(classifier.scale) * cosines_NC
    sure_NC = shares(scores_NC)
    return [
        tuple(
            Guess(
                id=classifier.classes[number].id,
                name=classifier.classes[number].name,
                share=float(sure_NC[row, number]),
                cosine=float(cosines_NC[row, number]),
            )
            for number in numbers
        )
        for row, numbers in enumerate(best(scores_NC, top).tolist())
    ]
