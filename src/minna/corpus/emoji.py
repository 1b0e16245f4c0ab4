"""`corpus build emoji`: one thing in four artists' hands, with its Japanese name and keywords.

The default corpus of pictures, because everybody may have it: 35 MB from npm, no account, terms
that allow passing it on. 861 things that can be pointed at, in up to four styles each, make a test
with two axes that few corpora have: a thing never seen, in a hand often seen, and the other way
round (`source` is the hand, `concept` the thing). A name weighs as much as all keywords together.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from minna.artifact import Licence, Parent
from minna.console import warn
from minna.corpus import japanese
from minna.corpus.card_words import LEGAL_NOTES
from minna.corpus.emoji_drawings import drawer, read_drawings
from minna.corpus.emoji_groups import Concept, read_concepts
from minna.corpus.emoji_names import read_names
from minna.corpus.emoji_packages import (
    DERIVED_NAMES,
    NAMES,
    NAMES_LICENCE,
    OPENMOJI,
    RENDERERS,
    Renderer,
)
from minna.corpus.pair_rows import Caption
from minna.corpus.pair_settings import Given, PairSettings, PictureShard, near_bits
from minna.corpus.sources.npm import PinnedPackage, fetch
from minna.errors import UsageError, nearest

NAME_KIND: Final = "name"
KEYWORD_KIND: Final = "keyword"
_VERSION: Final = 1
"""Part of every key: raise it when rows are made differently."""


class Emoji:
    """Drawings of emoji, renderer after renderer, in Unicode's order.

    Raises:
        UsageError: no such renderer, or none.
        MissingExtraError: resvg is not installed.
    """

    def __init__(self, settings: PairSettings) -> None:
        self._settings = settings
        self._renderers = _chosen(settings.renderers)
        self._draw = drawer(pixels=settings.pixels)
        self.parents: list[Parent] = []
        self.legal: list[str] = list(LEGAL_NOTES)
        self.licences: list[Licence] = [
            NAMES_LICENCE,
            *(renderer.licence for renderer in self._renderers.values()),
        ]
        packages = [NAMES, DERIVED_NAMES, OPENMOJI]
        packages += [renderer.package for renderer in self._renderers.values()]
        names = ("limit", "valid", "test", "seed", "renderers", "concepts", "pixels")
        self.decided: dict[str, Any] = {
            "source": "emoji",
            "packages": sorted({f"{one.name}@{one.version} {one.integrity}" for one in packages}),
            "licences": [licence.model_dump() for licence in self.licences],
            "normalisation": japanese.VERSION,
            "version": _VERSION,
            "near": near_bits(settings),
        } | {name: getattr(settings, name) for name in names}

    def shards(self) -> Sequence[PictureShard]:
        """One a renderer; its package is fetched when it is read."""
        for renderer in self._renderers.values():
            if renderer.terms == "asked for":
                warn(
                    f"drawings of {renderer.licence.source}: {renderer.licence.licence} "
                    f"({renderer.licence.attribution}); pass on neither them nor a model that "
                    "redraws them"
                )
        return [
            PictureShard(
                name=name, read=functools.partial(self._read, name, renderer), draw=self._draw
            )
            for name, renderer in self._renderers.items()
        ]

    def _read(self, name: str, renderer: Renderer) -> Iterator[Given]:
        concepts = self._concepts
        archive = self._fetched(renderer.package)
        for key, content in read_drawings(renderer, archive, concepts):
            yield Given(
                content=content,
                captions=_captions(concepts[key]),
                source=name,
                licence=renderer.licence.licence,
                concept=key,
                group=concepts[key].group,
            )

    @functools.cached_property
    def _concepts(self) -> dict[str, Concept]:
        names = read_names(self._fetched(NAMES), self._fetched(DERIVED_NAMES))
        table = self._fetched(OPENMOJI)
        found = read_concepts(table, names, which=self._settings.concepts)
        return {concept.key: concept for concept in found}

    def _fetched(self, package: PinnedPackage) -> Path:
        return fetch(package, folder=self._settings.path)


def _chosen(names: Sequence[str]) -> dict[str, Renderer]:
    for name in names:
        if name not in RENDERERS:
            raise UsageError(
                f"{name!r} is not a renderer{nearest(name, RENDERERS)}",
                remedy=f"known are {', '.join(RENDERERS)}",
            )
    if not names:
        raise UsageError("no renderer is named", remedy=f"name some of {', '.join(RENDERERS)}")
    return {name: RENDERERS[name] for name in names}


def _captions(concept: Concept) -> tuple[Caption, ...]:
    """The name, and the keywords, which together weigh as much."""
    words = concept.name.keywords
    return (
        Caption(concept.name.text, NAME_KIND, 1.0),
        *(Caption(word, KEYWORD_KIND, 1 / len(words)) for word in words),
    )
