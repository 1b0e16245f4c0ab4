"""A model of pictures and words is judged: does it name pictures it was never taught to name?

`evaluate_zero_shot` asks with the name alone and with templates, and where there are labelled
pictures to train on, a linear probe stands beside it. The report is one like any other, so `minna
compare` tests two models picture by picture. Vectors of pictures are kept in an index (float32):
other names, other templates or another split cost no second look.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from minna import artifact
from minna.artifact.files import write_text_atomically
from minna.artifact.manifest import Licence, Parent, canonical
from minna.console import say, warn
from minna.evaluate.pictures_data import Labelled, LabelledPictures, data_hash, read_labelled
from minna.evaluate.pictures_page import ZeroShotPage, write_zero_shot_page
from minna.evaluate.pictures_write import VERSION, write_figures
from minna.evaluate.pictures_zero_shot import (
    MAIN,
    Judged,
    Scorer,
    by_class,
    conditions_of,
    confusions,
    groups_of,
    items_of,
    judge_pictures,
    metrics_of,
    parts_of,
)
from minna.evaluate.report import Data, Task
from minna.runtime.class_names import WITHOUT, PictureClass, Templates
from minna.runtime.linear_probe import fit_probe
from minna.runtime.picture_batches import refuse_all_bad
from minna.runtime.picture_index import PictureIndex, update_index
from minna.runtime.zero_shot import build_classifier

if TYPE_CHECKING:
    from minna.runtime.two_towers import TwoTowers

CLASSES_NAME: Final = "classes.json"
PLAIN_TASK: Final = "zero_shot_plain"
TASK: Final = "zero_shot"
PROBE_TASK: Final = "linear_probe"
_TITLES: Final[dict[str, dict[Any, str]]] = {
    PLAIN_TASK: {"en": "Zero-shot, name alone", "ja": "ゼロショット分類：名前だけ"},
    TASK: {"en": "Zero-shot, templates", "ja": "ゼロショット分類：テンプレート"},
    PROBE_TASK: {"en": "Linear probe", "ja": "線形分類器"},
}


@dataclass(frozen=True, kw_only=True)
class ZeroShotSettings:
    """What is asked about labelled pictures.

    Attributes:
        templates: sentences with a slot; the name alone is always asked with too.
        split, sources: of a corpus.
        probe: labelled pictures that a linear probe is trained on; None trains none.
        probe_split: of those, where they are a corpus.
        index: folder of the vectors; None is in the cache.
    """

    templates: Templates = WITHOUT
    split: str = "test"
    sources: tuple[str, ...] = ()
    probe: Path | None = None
    probe_split: str = "train"
    index: Path | None = None


@dataclass(frozen=True, kw_only=True)
class Seen:
    """Labelled pictures that opened, with their vectors.

    Attributes:
        found: all that were labelled.
        index: of the vectors.
        pictures: those that opened, N.
        rows: [N] numbers of their vectors.
        labels: [N] their classes.
        bad: path -> problem of the others.
        sha256: over paths, contents and classes.
    """

    found: LabelledPictures
    index: PictureIndex
    pictures: list[Labelled]
    rows: NDArray[np.int64]
    labels: NDArray[np.int64]
    bad: dict[str, str]
    sha256: str


def evaluate_zero_shot(
    towers: TwoTowers,
    *,
    model: Parent,
    data: Path,
    out: Path,
    classes: Sequence[PictureClass] | None = None,
    settings: ZeroShotSettings | None = None,
) -> Path:
    """Name labelled pictures and write a report; one of the same work is left as it is.

    Args:
        towers: the model.
        model: its identity, as `subject.open_subject` gives it.
        data: a folder per class, a tar of such, or a pair corpus.
        out: the report directory.
        classes: ids and names; None takes the folders' or the concepts' own.
        settings: see there.

    Raises:
        DataError: nothing to score, or fewer than two classes.
        UsageError: there is no such data.
        ArtifactError: `out` or the index holds something else, or the disk is full.
    """
    settings = settings or ZeroShotSettings()
    start = time.monotonic()
    found = read_labelled(data, classes=classes, split=settings.split, sources=settings.sources)
    seen = _seen(towers, found, index=settings.index)
    trained = _training(towers, settings, seen)
    values = _values(seen, trained, settings)
    parents = [model, *found.parents]
    if artifact.unchanged(out, key=artifact.key_of("report", settings=values, parents=parents)):
        say(f"{out}: this model has named these pictures already")
        return out
    with artifact.writing(out, kind="report", settings=values, parents=parents) as draft:
        judged = _judge(towers, seen, trained, settings)
        tasks = [_task(name, one, seen, trained, settings) for name, one in judged.items()]
        items = {name: items_of(one, seen.pictures, found.classes) for name, one in judged.items()}
        report = write_figures(draft, tasks, items, towers=towers, model=model, start=start)
        main = TASK if TASK in judged else PLAIN_TASK
        _write_classes(draft.path / CLASSES_NAME, judged[main], found.classes)
        page = ZeroShotPage(
            task=report.task(main),
            judged=judged[main],
            pictures=seen.pictures,
            found=found,
            bad=seen.bad,
            templates=settings.templates,
        )
        write_zero_shot_page(draft.path, report=report, page=page)
        draft.count("pictures", len(seen.pictures), "pictures")
        draft.count("classes", len(found.classes), "classes")
        draft.licences = _licences(found)
    return out


def read_class_figures(path: Path) -> dict[str, Any]:
    """Return what classes.json of a report says: figures by class, and what was confused.

    Raises:
        ArtifactError: not a report.
    """
    artifact.read_manifest(path, kind="report")
    return json.loads((path / CLASSES_NAME).read_text(encoding="utf-8"))


def _seen(towers: TwoTowers, found: LabelledPictures, *, index: Path | None) -> Seen:
    wanted = {one.path for one in found.pictures}
    opened = update_index(found.place, towers, folder=index, kind="float32", wanted=wanted)
    places = opened.places()
    pictures = [one for one in found.pictures if one.path in places]
    bad = {path: why for path, why in opened.bad.items() if path in wanted}
    if not pictures:
        refuse_all_bad(bad, where=found.place.name)
    return Seen(
        found=found,
        index=opened,
        pictures=pictures,
        rows=np.array([places[one.path] for one in pictures], dtype=np.int64),
        labels=np.array([one.label for one in pictures], dtype=np.int64),
        bad=bad,
        sha256=data_hash(pictures, opened, [one.id for one in found.classes]),
    )


def _training(towers: TwoTowers, settings: ZeroShotSettings, seen: Seen) -> Seen | None:
    """The pictures a probe is trained on, of the same classes."""
    if settings.probe is None:
        return None
    training = read_labelled(
        settings.probe,
        classes=seen.found.classes,
        split=settings.probe_split,
        sources=settings.sources,
    )
    trained = _seen(towers, training, index=None)
    shared = _shared(seen, trained)
    if shared:
        warn(
            f"{shared} of {len(seen.pictures)} scored pictures are among those the probe is "
            "trained on: its figure says too much"
        )
    return trained


def _shared(seen: Seen, trained: Seen) -> int:
    """Scored pictures whose very content the probe was trained on."""
    known = {trained.index.rows[row].sha256 for row in trained.rows.tolist()}
    return sum(seen.index.rows[row].sha256 in known for row in seen.rows.tolist())


def _judge(
    towers: TwoTowers, seen: Seen, trained: Seen | None, settings: ZeroShotSettings
) -> dict[str, Judged]:
    """Task -> what was said."""
    classes = seen.found.classes
    scorers: dict[str, Scorer] = {PLAIN_TASK: build_classifier(towers, classes)}
    if settings.templates.texts != WITHOUT.texts:
        scorers[TASK] = build_classifier(towers, classes, templates=settings.templates)
    if trained is not None:
        vectors = np.asarray(trained.index.vectors[trained.rows], dtype=np.float32)
        scorers[PROBE_TASK] = fit_probe(vectors, trained.labels, classes=len(classes))
    return {
        name: judge_pictures(scorer, seen.index.vectors, seen.rows, seen.labels)
        for name, scorer in scorers.items()
    }


def _task(
    name: str, judged: Judged, seen: Seen, trained: Seen | None, settings: ZeroShotSettings
) -> Task:
    found = seen.found
    groups = groups_of(seen.pictures)
    conditions = conditions_of(
        judged, found.classes, bad=len(seen.bad), left_out=sum(found.left_out.values())
    )
    if groups is not None:
        conditions["groups"] = len(set(groups))
    if name == TASK:
        conditions["templates"] = len(settings.templates.texts)
    if name == PROBE_TASK:
        assert trained is not None, "a probe is trained on something"
        conditions["trained_on"] = len(trained.pictures)
        conditions["training_data"] = trained.found.place.name
        conditions["trained_on_scored_pictures"] = _shared(seen, trained)
        prompts = trained.sha256
    else:
        prompts = _names_hash(found.classes, settings.templates if name == TASK else WITHOUT)
    return Task(
        name=name,
        title=_TITLES[name],
        version=VERSION,
        prompt=settings.templates.title if name == TASK else "",
        n=len(seen.pictures),
        main=MAIN,
        data=Data(sha256=seen.sha256, title=found.place.name, split=found.split),
        hashes={"prompts": prompts, "requests": prompts},
        conditions=conditions,
        metrics=metrics_of(judged, classes=len(found.classes), groups=groups),
        sources=parts_of(judged, seen.pictures),
    )


def _names_hash(classes: Sequence[PictureClass], templates: Templates) -> str:
    content = canonical([[[one.id, one.names] for one in classes], templates.texts])
    return hashlib.sha256(content.encode()).hexdigest()


def _values(seen: Seen, trained: Seen | None, settings: ZeroShotSettings) -> dict[str, Any]:
    """What decides the report, as plain data."""
    return {
        "what": "zero-shot",
        "version": VERSION,
        "data": seen.sha256,
        "bad": len(seen.bad),
        "left_out": sum(seen.found.left_out.values()),
        "names": _names_hash(seen.found.classes, settings.templates),
        "templates": settings.templates.title,
        "split": seen.found.split,
        "sources": list(settings.sources),
        "probe": trained.sha256 if trained else None,
    }


def _write_classes(file: Path, judged: Judged, classes: Sequence[PictureClass]) -> None:
    """Every class's figures and every confusion."""
    content = {
        "classes": [asdict(one) for one in by_class(judged, classes)],
        "confusions": [
            {"gold": classes[one.gold].id, "guess": classes[one.guess].id, "count": one.count}
            for one in confusions(judged)
        ],
    }
    write_text_atomically(file, json.dumps(content, ensure_ascii=False, indent=1) + "\n")


def _licences(found: LabelledPictures) -> list[Licence]:
    """The corpus's own; of a stranger's folder nobody knows them."""
    return list(found.licences) or [
        Licence(
            source=found.place.name,
            licence="unknown; some of its pictures stand in report.html in small",
        )
    ]
