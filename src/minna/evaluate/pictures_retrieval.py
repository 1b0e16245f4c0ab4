"""Texts look for pictures and pictures for texts, in one split and some sources of a pair corpus.

With names for captions this asks, for each picture, which of all the names of the split is its own:
the four cells of the emoji experiment (concepts and renderers, seen and unseen) are four calls.
Everything of one concept belongs together, whoever drew it, and so does a text that stands at
several pictures.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from minna import artifact
from minna.artifact.manifest import Parent, canonical
from minna.console import say
from minna.corpus.pair_corpus import Pair, read_pairs
from minna.errors import ArtifactError
from minna.evaluate.items import Item
from minna.evaluate.pictures_data import concept_name, refuse_no_pairs
from minna.evaluate.pictures_page import write_retrieval_page
from minna.evaluate.pictures_write import VERSION, in_percent, metric_of, write_figures
from minna.evaluate.report import Data, Metric, Task
from minna.metrics.interval import mean_interval
from minna.metrics.retrieval import Direction, Retrieval, nearest, retrieval
from minna.runtime.picture_batches import refuse_all_bad
from minna.runtime.picture_index import PictureIndex, update_index
from minna.runtime.places import Corpus, Place, open_place
from minna.runtime.zero_shot import unit_rows

if TYPE_CHECKING:
    from minna.runtime.two_towers import TwoTowers

TEXT_TASK: Final = "text_to_image"
IMAGE_TASK: Final = "image_to_text"
AT: Final = (1, 5, 10)
KEPT: Final = 5
_GOLDS: Final = 20
_TITLES: Final[dict[str, dict[Any, str]]] = {
    TEXT_TASK: {"en": "Text to picture", "ja": "文から画像"},
    IMAGE_TASK: {"en": "Picture to text", "ja": "画像から文"},
}


@dataclass(frozen=True, kw_only=True)
class RetrievalSettings:
    """Which pairs, and which of their texts.

    Attributes:
        split: train, valid, test or all.
        sources: of the corpus; () is all.
        captions: "name" takes one text of a pair (its caption of kind "name", else the one most
            often drawn), "all" every caption.
        index: folder of the pictures' vectors; None is in the cache.
    """

    split: str = "test"
    sources: tuple[str, ...] = ()
    captions: Literal["name", "all"] = "name"
    index: Path | None = None


@dataclass(frozen=True, kw_only=True)
class Looked:
    """What was found, both ways.

    Attributes:
        place: the corpus.
        ids: of the pictures, N.
        texts: M, each once.
        picture_groups, text_groups: [N], [M] what is resampled together; a text goes with the first
            of its pictures.
        right: of each picture the numbers of its texts.
        found: ranks and figures.
        first_texts, first_pictures: [N, 5] and [M, 5] numbers of the nearest.
        bad: path -> problem of pictures that do not open.
        sha256: of all that was scored.
    """

    place: Place
    ids: list[str]
    texts: list[str]
    picture_groups: list[str]
    text_groups: list[str]
    right: list[list[int]]
    found: Retrieval
    first_texts: NDArray[np.int64]
    first_pictures: NDArray[np.int64]
    bad: dict[str, str]
    sha256: str

    def of_texts(self) -> list[list[int]]:
        """Of each text the numbers of its pictures."""
        made: list[list[int]] = [[] for _ in self.texts]
        for picture, texts in enumerate(self.right):
            for text in texts:
                made[text].append(picture)
        return made


def evaluate_retrieval(
    towers: TwoTowers,
    *,
    model: Parent,
    data: Path,
    out: Path,
    settings: RetrievalSettings | None = None,
) -> Path:
    """Look both ways and write a report; one of the same work is left as it is.

    Args:
        towers: the model.
        model: its identity, as `subject.open_subject` gives it.
        data: a pair corpus.
        out: the report directory.
        settings: which pairs, which texts.

    Raises:
        DataError: no pair with a caption is left.
        ArtifactError: no pair corpus, or `out` or the index holds something else.
    """
    settings = settings or RetrievalSettings()
    start = time.monotonic()
    parents = [model, artifact.parent_of(data, role="corpus", kind="corpus")]
    values = {
        "what": "retrieval",
        "version": VERSION,
        "split": settings.split,
        "sources": list(settings.sources),
        "captions": settings.captions,
    }
    if artifact.unchanged(out, key=artifact.key_of("report", settings=values, parents=parents)):
        say(f"{out}: this model has looked through these pairs already")
        return out
    with artifact.writing(out, kind="report", settings=values, parents=parents) as draft:
        looked = look(towers, data, settings=settings)
        tasks = tasks_of(looked, settings)
        items = {TEXT_TASK: _text_items(looked), IMAGE_TASK: _picture_items(looked)}
        report = write_figures(draft, tasks, items, towers=towers, model=model, start=start)
        write_retrieval_page(draft.path, report=report, looked=looked)
        draft.count("pictures", len(looked.ids), "pictures")
        draft.count("texts", len(looked.texts), "texts")
        draft.licences = list(artifact.read_manifest(data).licences)
    return out


def look(towers: TwoTowers, data: Path, *, settings: RetrievalSettings) -> Looked:
    """Encode the pictures and texts of a pair corpus, and rank them both ways.

    Raises:
        DataError: no pair with a caption is left.
        ArtifactError: no pair corpus, or the index holds something else.
    """
    place = open_place(data)
    if not isinstance(place, Corpus):
        raise ArtifactError(
            f"{data} is no corpus, and its pictures have no captions",
            remedy="make one: minna corpus build pictures --help",
        )
    pairs = [
        pair
        for pair in read_pairs(
            data, split=settings.split, sources=settings.sources, pictures="left"
        )
        if _texts(pair, settings)
    ]
    if not pairs:
        refuse_no_pairs(data, split=settings.split, sources=settings.sources, what="a caption")
    index = update_index(
        place,
        towers,
        folder=settings.index,
        kind="float32",
        wanted={pair.id for pair in pairs},
    )
    return _ranked(towers, place, index, pairs, settings)


def tasks_of(looked: Looked, settings: RetrievalSettings) -> list[Task]:
    """The two tasks of a report."""
    return [
        _task(TEXT_TASK, looked.found.text_to_image, looked, settings),
        _task(IMAGE_TASK, looked.found.image_to_text, looked, settings),
    ]


def _ranked(
    towers: TwoTowers,
    place: Place,
    index: PictureIndex,
    pairs: Sequence[Pair],
    settings: RetrievalSettings,
) -> Looked:
    places = index.places()
    kept = [pair for pair in pairs if pair.id in places]
    bad = {pair.id: index.bad[pair.id] for pair in pairs if pair.id in index.bad}
    if not kept:
        refuse_all_bad(bad, where=place.name)
    own = [_texts(pair, settings) for pair in kept]
    texts = list(dict.fromkeys(text for some in own for text in some))
    right = _right(kept, own, {text: number for number, text in enumerate(texts)})
    picture_groups = [pair.group or pair.id for pair in kept]
    owners = {text: picture for picture, some in reversed(list(enumerate(right))) for text in some}
    text_groups = [picture_groups[owners[number]] for number in range(len(texts))]
    images = np.asarray(index.vectors[[places[pair.id] for pair in kept]], dtype=np.float32)
    words = unit_rows(towers.texts(texts))
    return Looked(
        place=place,
        ids=[pair.id for pair in kept],
        texts=texts,
        picture_groups=picture_groups,
        text_groups=text_groups,
        right=right,
        found=retrieval(
            images,
            words,
            [(picture, text) for picture, some in enumerate(right) for text in some],
            image_groups=picture_groups,
            text_groups=text_groups,
            at=AT,
        ),
        first_texts=nearest(images, words, count=KEPT),
        first_pictures=nearest(words, images, count=KEPT),
        bad=bad,
        sha256=_hash(index, kept, own),
    )


def _right(
    kept: Sequence[Pair], own: Sequence[list[str]], numbers: dict[str, int]
) -> list[list[int]]:
    """Of each picture the numbers of its texts: its own, and those of its concept's others."""
    of_concept: dict[str, list[int]] = {}
    for pair, texts in zip(kept, own, strict=True):
        of_concept.setdefault(pair.concept, []).extend(numbers[text] for text in texts)
    of_concept.pop("", None)
    return [
        list(dict.fromkeys([*(numbers[text] for text in texts), *of_concept.get(pair.concept, ())]))
        for pair, texts in zip(kept, own, strict=True)
    ]


def _texts(pair: Pair, settings: RetrievalSettings) -> list[str]:
    if settings.captions == "all":
        return [text for caption in pair.captions if (text := caption.text)]
    name = concept_name(pair)
    return [name] if name else []


def _hash(index: PictureIndex, kept: Sequence[Pair], own: Sequence[list[str]]) -> str:
    places = index.places()
    total = hashlib.sha256()
    for pair, texts in zip(kept, own, strict=True):
        row = [pair.id, index.rows[places[pair.id]].sha256, pair.concept, texts]
        total.update(canonical(row).encode() + b"\n")
    return total.hexdigest()


def _task(name: str, way: Direction, looked: Looked, settings: RetrievalSettings) -> Task:
    every = looked.text_groups if name == TEXT_TASK else looked.picture_groups
    groups = [every[query] for query in way.queries.tolist()]
    metrics: dict[str, Metric] = {
        f"recall_at_{k}": in_percent(found) for k, found in way.recall.items()
    }
    metrics["median_rank"] = metric_of(way.median, unit="rank")
    metrics["mean_reciprocal_rank"] = metric_of(
        mean_interval(1 / way.ranks, groups=groups), unit="coefficient"
    )
    conditions: dict[str, int | float | str] = {
        "candidates": way.candidates,
        "captions": settings.captions,
        "sources": ", ".join(settings.sources) or "all",
        "bad_pictures": len(looked.bad),
        "groups": len(set(groups)),
    }
    conditions |= {f"chance_recall_at_{k}": round(100 * way.chance[k], 4) for k in AT}
    prompts = hashlib.sha256(settings.captions.encode()).hexdigest()
    return Task(
        name=name,
        title=_TITLES[name],
        version=VERSION,
        prompt=settings.captions,
        n=len(way.queries),
        main="recall_at_1",
        data=Data(sha256=looked.sha256, title=looked.place.name, split=settings.split),
        hashes={"prompts": prompts, "requests": looked.sha256},
        conditions=conditions,
        metrics=metrics,
    )


def _text_items(looked: Looked) -> list[Item]:
    way, of_texts = looked.found.text_to_image, looked.of_texts()
    return [
        _item(
            looked.texts[query],
            looked.text_groups[query],
            rank,
            [looked.ids[picture] for picture in of_texts[query]],
            [looked.ids[picture] for picture in looked.first_pictures[query].tolist()],
        )
        for query, rank in zip(way.queries.tolist(), way.ranks.tolist(), strict=True)
    ]


def _picture_items(looked: Looked) -> list[Item]:
    way = looked.found.image_to_text
    return [
        _item(
            looked.ids[query],
            looked.picture_groups[query],
            rank,
            [looked.texts[text] for text in looked.right[query]],
            [looked.texts[text] for text in looked.first_texts[query].tolist()],
        )
        for query, rank in zip(way.queries.tolist(), way.ranks.tolist(), strict=True)
    ]


def _item(identity: str, group: str, rank: int, right: Sequence[str], first: Sequence[str]) -> Item:
    """One query; of many right answers the first 20 are named."""
    scores = {f"recall_at_{k}": float(rank <= k) for k in AT}
    return Item(
        id=identity,
        group=group,
        gold=tuple(right[:_GOLDS]),
        prediction=first[0],
        scores=scores | {"mean_reciprocal_rank": 1 / rank},
        context="",
        continuations=tuple(first),
        text=first[0],
    )
