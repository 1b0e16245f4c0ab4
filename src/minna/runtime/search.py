"""The pictures nearest to a question: every vector is compared, nothing is approximate.

10^5 pictures of 512 numbers are 100 MB in float16 and 0.1 s of one core; an approximate index would
save most of that and lose some of the answers.

Names: N pictures, D width.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from minna.corpus.pictures import open_picture
from minna.errors import UsageError
from minna.runtime.picture_index import PictureIndex
from minna.runtime.places import is_picture_name, read_file
from minna.runtime.zero_shot import unit_rows

if TYPE_CHECKING:
    from minna.runtime.two_towers import TwoTowers

_BLOCK: Final = 65_536


@dataclass(frozen=True, kw_only=True)
class Hit:
    """One picture that was found: its path, what it is said to show, and its cosine."""

    path: str
    title: str
    score: float


@dataclass(frozen=True, kw_only=True)
class Question:
    """What is looked for.

    Attributes:
        text: as typed.
        picture: the file, where the question is a picture.
        vector: [D] of length one.
    """

    text: str
    picture: Path | None
    vector: NDArray[np.float32]


def ask(towers: TwoTowers, query: str) -> Question:
    """Encode a question: a text, or the path of a picture.

    Raises:
        UsageError: nothing asked, or a name like a picture's that is no file.
        BadPictureError: the picture does not open.
        DataError: the model gives a vector that is no number.
    """
    if not query.strip():
        raise UsageError("an empty text asks for nothing", remedy="describe what you look for")
    file = Path(query)
    if not is_picture_name(query):
        vector = unit_rows(towers.texts([query]))[0]
        return Question(text=query, picture=None, vector=vector)
    if not file.is_file():
        raise UsageError(
            f"{query} is called like a picture and is no file",
            remedy="check the path, or ask in words",
        )
    image = open_picture(read_file(file, path=query).data)
    return Question(text=query, picture=file, vector=unit_rows(towers.images([image]))[0])


def search(index: PictureIndex, vector: NDArray[np.float32], *, top: int = 20) -> list[Hit]:
    """Return the nearest pictures, the nearest first; of equals the first by path.

    Args:
        index: of the pictures.
        vector: [D] of length one.
        top: how many at most.
    """
    kept_scores = np.empty(0, dtype=np.float32)
    kept = np.empty(0, dtype=np.int64)
    for start in range(0, len(index.rows), _BLOCK):
        block = np.asarray(index.vectors[start : start + _BLOCK], dtype=np.float32) @ vector
        scores = np.concatenate([kept_scores, block])
        numbers = np.concatenate([kept, np.arange(start, start + len(block))])
        order = np.argsort(-scores, kind="stable")[:top]
        kept_scores, kept = scores[order], numbers[order]
    return [
        Hit(path=index.rows[number].path, title=index.rows[number].title, score=float(score))
        for number, score in zip(kept.tolist(), kept_scores.tolist(), strict=True)
    ]
