"""From files to vectors: opened one by one, looked at in batches, what is broken counted.

A batch holds at most 64 pictures and about 50 million pixels (150 MB), so a folder of photographs
from telephones needs no more memory than one of icons.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Final, NoReturn

import numpy as np
from numpy.typing import NDArray

from minna.console import warn
from minna.corpus.pictures import BadPictureError, open_picture
from minna.errors import DataError
from minna.runtime.places import Content
from minna.runtime.zero_shot import unit_rows

if TYPE_CHECKING:
    from PIL.Image import Image

    from minna.runtime.two_towers import TwoTowers

_PICTURES: Final = 64
_PIXELS: Final = 50_000_000
_NAMED: Final = 5
PROBLEMS: Final = {
    "not_a_picture": "not a picture",
    "damaged": "damaged",
    "too_large": "too large",
    "too_small": "too small",
    "unreadable": "cannot be read",
}


def seen(
    towers: TwoTowers, contents: Iterable[Content], *, bad: dict[str, str]
) -> Iterator[tuple[list[Content], NDArray[np.float32]]]:
    """Return the pictures that open, in batches, with their normalised vectors [B, D].

    Args:
        towers: the model.
        contents: read pictures; those with a problem are counted.
        bad: path -> problem, filled as pictures turn out to be none.

    Raises:
        DataError: the model gives vectors that are no numbers.
    """
    for batch in _batches(opened(contents, bad=bad)):
        vectors = towers.images([image for _, image in batch])
        assert len(vectors) == len(batch), "a vector for each picture"
        yield [content for content, _ in batch], unit_rows(vectors)


def opened(contents: Iterable[Content], *, bad: dict[str, str]) -> Iterator[tuple[Content, Image]]:
    """Return what opens, as RGB; the rest goes into `bad`."""
    for content in contents:
        if content.problem:
            bad[content.path] = content.problem
            continue
        try:
            yield content, open_picture(content.data)
        except BadPictureError as error:
            bad[content.path] = error.problem


def tell_bad(bad: Mapping[str, str], *, among: int) -> None:
    """Warn of files that are no pictures: the first by name, all by count."""
    if not bad:
        return
    named = [f"{path} ({PROBLEMS.get(why, why)})" for path, why in list(bad.items())[:_NAMED]]
    more = f", and {len(bad) - _NAMED} more" if len(bad) > _NAMED else ""
    counts = Counter(PROBLEMS.get(why, why) for why in bad.values())
    told = f": {', '.join(f'{count} {why}' for why, count in counts.most_common())}" if more else ""
    warn(f"{len(bad)} of {among} pictures are left out{told}; {', '.join(named)}{more}")


def refuse_all_bad(bad: Mapping[str, str], *, where: str) -> NoReturn:
    """Raise that there is not one picture left.

    Raises:
        DataError: always.
    """
    counts = Counter(PROBLEMS.get(why, why) for why in bad.values())
    raise DataError(
        f"none of the {len(bad)} pictures of {where} can be used: "
        f"{', '.join(f'{count} {why}' for why, count in counts.most_common())}",
        remedy="give PNG, JPEG, WebP, GIF or BMP files that a viewer shows",
    )


def _batches(pictures: Iterable[tuple[Content, Image]]) -> Iterator[list[tuple[Content, Image]]]:
    batch: list[tuple[Content, Image]] = []
    pixels = 0
    for content, image in pictures:
        size = image.width * image.height
        if batch and (len(batch) == _PICTURES or pixels + size > _PIXELS):
            yield batch
            batch, pixels = [], 0
        batch.append((content, image))
        pixels += size
    if batch:
        yield batch
