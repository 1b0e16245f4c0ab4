"""The results of a search as one HTML file: pictures to look at, in the order they were found.

A score says little by itself (cosines of one model live between 0.1 and 0.4, of another between 0.6
and 0.9), so the page draws each as its place between the best and the worst shown.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from jinja2 import Environment, PackageLoader, StrictUndefined

from minna.artifact.files import write_text_atomically
from minna.errors import DataError
from minna.runtime.picture_batches import opened
from minna.runtime.places import Place, read_file
from minna.runtime.search import Hit, Question
from minna.runtime.thumbnails import data_uri

_SIDE: Final = 320


@dataclass(frozen=True, kw_only=True)
class Found:
    """A question and what was found."""

    question: Question
    hits: Sequence[Hit]


def write_search_page(
    file: Path, found: Sequence[Found], *, place: Place, model: str, pictures: int
) -> None:
    """Write the page.

    Args:
        file: to write.
        found: the questions.
        place: where the pictures lie; those shown are read again.
        model: its name.
        pictures: how many were looked through.

    Raises:
        ArtifactError: the disk is full.
    """
    wanted = dict.fromkeys(hit.path for one in found for hit in one.hits)
    small = {
        content.path: data_uri(image, side=_SIDE)
        for content, image in opened(place.read(wanted), bad={})
    }
    environment = Environment(
        loader=PackageLoader("minna.runtime"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    page = environment.get_template("search.html").render(
        questions=[_shown(one, small, place) for one in found],
        place=place.name,
        model=model,
        pictures=pictures,
    )
    write_text_atomically(file, page)


def _shown(found: Found, small: dict[str, str], place: Place) -> dict[str, Any]:
    scores = [hit.score for hit in found.hits]
    low, high = min(scores, default=0.0), max(scores, default=1.0)
    cards: list[dict[str, Any]] = []
    for number, hit in enumerate(found.hits, start=1):
        file = place.locate(hit.path)
        cards.append(
            {
                "number": number,
                "path": hit.path,
                "title": hit.title,
                "score": f"{hit.score:.3f}",
                "share": round(100 * (hit.score - low) / (high - low)) if high > low else 100,
                "image": small.get(hit.path, ""),
                "link": file.as_uri() if file is not None else "",
            }
        )
    return {"text": found.question.text, "image": _asked(found.question), "cards": cards}


def _asked(question: Question) -> str:
    """The picture that was asked with; "" for words."""
    if question.picture is None:
        return ""
    content = read_file(question.picture, path=question.text)
    for _, image in opened([content], bad={}):
        return data_uri(image, side=_SIDE)
    raise DataError(f"{question.picture} changed while it was looked for", remedy="search again")
