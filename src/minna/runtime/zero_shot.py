"""Names into a classifier: no picture of any class is needed, only what it is called.

Each class is written into every template, each sentence becomes a vector of length one, and their
mean, brought to length one again, is what pictures are compared with (the rule of CLIP, LiT and the
paper's models alike). 1,000 names in 37 templates are 37,000 sentences; equal ones are encoded
once, and the result lies in the cache under the hash of model, names and templates.

Of classes with equal names the first wins, everywhere, so their columns are computed once: products
of two equal columns may differ in the last bit, and a tie would then be broken by chance.

Names: N pictures, C classes, K classes with different names, T sentences of a class, D width.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from minna.artifact import replace_file
from minna.artifact.cache import cache_directory
from minna.artifact.manifest import canonical
from minna.console import progress
from minna.errors import DataError
from minna.runtime.class_names import WITHOUT, PictureClass, Templates, fill

if TYPE_CHECKING:
    from minna.runtime.two_towers import TwoTowers

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]

_VERSION: Final = 1
_SENTENCES: Final = 50_000
"""Sentences whose vectors are held at once: 100 MB of 512 numbers each."""


@dataclass(frozen=True, kw_only=True)
class Classifier:
    """What pictures are compared with.

    Attributes:
        classes: C.
        weights: [K, D] one vector of length one for each different set of names.
        columns: [C] which of them is a class's.
        scale: what a cosine is multiplied with.
    """

    classes: tuple[PictureClass, ...]
    weights: Floats
    columns: Ints
    scale: float

    def cosines(self, pictures: Floats) -> Floats:
        """[N, C] of normalised picture vectors [N, D]."""
        return (np.asarray(pictures, np.float32) @ self.weights.T)[:, self.columns]

    def scores(self, pictures: Floats) -> Floats:
        """[N, C] cosine times scale: what a softmax is taken of."""
        return np.float32(self.scale) * self.cosines(pictures)


def build_classifier(
    towers: TwoTowers,
    classes: Sequence[PictureClass],
    *,
    templates: Templates = WITHOUT,
    cache: Path | None = None,
) -> Classifier:
    """Write the names into the templates and encode them, or take the result from the cache.

    Args:
        towers: the model.
        classes: at least two, see `class_names`.
        templates: sentences with a slot.
        cache: folder of classifiers; None is `zero-shot` in the cache directory.

    Raises:
        DataError: the model gives vectors that are no numbers.
        ArtifactError: the disk is full.
    """
    sets = list(dict.fromkeys(one.names for one in classes))
    place = {names: number for number, names in enumerate(sets)}
    key = canonical([_VERSION, towers.digest, towers.width, sets, templates.texts])
    folder = cache_directory() / "zero-shot" if cache is None else cache
    file = folder / f"{hashlib.sha256(key.encode()).hexdigest()[:32]}.npy"
    weights = _cached(file, shape=(len(sets), towers.width))
    if weights is None:
        weights = _encoded(towers, sets, templates.texts)
        buffer = io.BytesIO()
        np.save(buffer, weights, allow_pickle=False)
        with replace_file(file) as out:
            out.write(buffer.getvalue())
    return Classifier(
        classes=tuple(classes),
        weights=weights,
        columns=np.array([place[one.names] for one in classes], dtype=np.int64),
        scale=towers.scale,
    )


def label_ranks(scores: Floats, labels: Ints) -> Ints:
    """[N] where the right class stands, from 1; of equal scores the first class is ahead."""
    own_N1 = np.take_along_axis(scores, labels[:, None], axis=1)
    before_NC = np.arange(scores.shape[1])[None, :] < labels[:, None]
    ahead_NC = (scores > own_N1) | ((scores == own_N1) & before_NC)
    return 1 + ahead_NC.sum(axis=1)


def best(scores: Floats, count: int) -> Ints:
    """[N, count] classes with the highest scores, the highest first; of equals the first."""
    return np.argsort(-scores, axis=1, kind="stable")[:, :count]


def shares(scores: Floats) -> NDArray[np.float64]:
    """[N, C] softmax of the scores: how the model would bet, among these classes alone."""
    scores_NC = scores.astype(np.float64)
    weights_NC = np.exp(scores_NC - scores_NC.max(axis=1, keepdims=True))
    return weights_NC / weights_NC.sum(axis=1, keepdims=True)


def _cached(file: Path, *, shape: tuple[int, int]) -> Floats | None:
    """What an earlier call wrote; None where there is nothing of use."""
    try:
        found: Floats = np.load(file, allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    fits = found.shape == shape and found.dtype == np.float32 and bool(np.isfinite(found).all())
    return found if fits else None


def _encoded(
    towers: TwoTowers, sets: Sequence[tuple[str, ...]], templates: Sequence[str]
) -> Floats:
    """[K, D] the mean sentence of each set of names."""
    weights_KD = np.empty((len(sets), towers.width), dtype=np.float32)
    with progress() as bar:
        task = bar.add_task("names", total=len(sets), note=f"{len(templates)} templates")
        start = 0
        while start < len(sets):
            texts_CT: list[list[str]] = []
            held = 0
            while start + len(texts_CT) < len(sets) and (not texts_CT or held < _SENTENCES):
                names = sets[start + len(texts_CT)]
                texts_CT.append([fill(text, name) for text in templates for name in names])
                held += len(texts_CT[-1])
            weights_KD[start : start + len(texts_CT)] = _means(towers, texts_CT)
            start += len(texts_CT)
            bar.update(task, completed=start)
    return weights_KD


def _means(towers: TwoTowers, texts_CT: Sequence[Sequence[str]]) -> Floats:
    """[C, D] normalised means of the vectors of sentences, each different one encoded once."""
    place: dict[str, int] = {}
    for texts in texts_CT:
        for text in texts:
            place.setdefault(text, len(place))
    vectors = unit_rows(towers.texts(list(place)))
    rows = [vectors[[place[text] for text in texts]].mean(axis=0) for texts in texts_CT]
    return unit_rows(np.stack(rows))


def unit_rows(vectors: NDArray[np.floating]) -> Floats:
    """Rows of length one; a row of zeros stays.

    Raises:
        DataError: a vector is no number.
    """
    if not np.isfinite(vectors).all():
        raise DataError(
            "the model gives vectors that are no numbers", remedy="are its weights damaged?"
        )
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return (vectors / np.maximum(lengths, 1e-12)).astype(np.float32)
