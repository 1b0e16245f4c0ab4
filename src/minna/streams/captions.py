"""What a picture is called this time: one caption of several, drawn from the seed and the row.

A picture of a corpus may have a translated caption, a generated one, a name and some keywords. One
is drawn each time the picture is shown, by weight, so that an epoch does not tell a picture with
six captions six times. Names and keywords are words and no sentences: alone they would teach a text
tower only words, so a name is also put into a template, and keywords are joined.
"""

from __future__ import annotations

import numpy as np
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from minna.corpus.pair_rows import Caption

NAME, KEYWORD = "name", "keyword"
_JOINED = "、"


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class Drawing:
    """How names and keywords become captions; others are drawn by weight as they are.

    Attributes:
        templates: a name is put into one of them half of the time: "drawings", "photos", or a file
            of lines with `{}`; "" leaves names alone.
        keywords: at most so many are joined, in any order; 0 tells one at a time, by its weight.
    """

    templates: str = ""
    keywords: int = Field(default=3, ge=0)


class Drawer:
    """Draws captions.

    Args:
        drawing: how.
        templates: the texts that `drawing.templates` names, each with `{}`.
    """

    def __init__(self, drawing: Drawing, *, templates: tuple[str, ...] = ()) -> None:
        self._drawing, self._templates = drawing, templates

    def draw(self, captions: tuple[Caption, ...], *, generator: np.random.Generator) -> str:
        """Return one caption; the same generator gives the same.

        Of a picture with a name and keywords the ways are equally likely: the name (in a template
        or not), keywords, or both. Its sentences, if it has some, are drawn by weight beside the
        name.
        """
        words = [one.text for one in captions if one.kind == KEYWORD]
        if not self._drawing.keywords or not words:
            return self._named(self._by_weight(captions, generator), generator)
        others = tuple(one for one in captions if one.kind != KEYWORD)
        way = int(generator.integers(3)) if others else 1
        told = self._named(self._by_weight(others, generator), generator) if way != 1 else ""
        if way == 0:
            return told
        count = int(generator.integers(1, min(self._drawing.keywords, len(words)) + 1))
        chosen = [words[place] for place in generator.permutation(len(words))[:count]]
        return _JOINED.join([told, *chosen] if told else chosen)

    def _by_weight(self, captions: tuple[Caption, ...], generator: np.random.Generator) -> Caption:
        if len(captions) == 1:
            return captions[0]
        weights = np.asarray([one.weight for one in captions])
        place = np.searchsorted(np.cumsum(weights), generator.random() * weights.sum(), "right")
        return captions[min(int(place), len(captions) - 1)]

    def _named(self, caption: Caption, generator: np.random.Generator) -> str:
        if caption.kind != NAME or not self._templates or generator.random() < 0.5:  # noqa: PLR2004 - a coin
            return caption.text
        return self._templates[int(generator.integers(len(self._templates)))].replace(
            "{}", caption.text
        )
