"""What is asked of a model: four cells of emoji, photographs of 200 kinds, shuffled captions."""

from __future__ import annotations

import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from minna import artifact
from minna.artifact.cache import cache_directory
from minna.corpus.pair_corpus import Pair, read_pairs
from minna.corpus.pair_rows import Caption, PairRow, write_rows
from minna.corpus.pictures import open_picture
from minna.corpus.read import batches
from minna.metrics.interval import Interval
from minna.metrics.retrieval import positive_ranks
from minna.metrics.share import share_interval
from minna.models.dual import DualEncoder
from minna.models.pictures.shapes import seeing
from minna.runtime.class_names import Templates, read_classes, read_templates
from minna.runtime.features import Which
from minna.runtime.features import fill as fill_features
from minna.runtime.own_towers import OwnTowers, open_own
from minna.runtime.towers import open_tower, tower_folder
from minna.runtime.zero_shot import build_classifier, label_ranks

TOWER = "lite0"
CELLS = ("seen, seen", "seen, unseen", "unseen, seen", "unseen, unseen")  # thing, renderer


@dataclass(frozen=True)
class Cell:
    """Pictures of one cell: numbers among all, their names, and what is resampled together."""

    numbers: np.ndarray
    names: list[str]
    groups: list[str]


def name_of(pair: Pair) -> str:
    """What Unicode calls it."""
    return next(one.text for one in pair.captions if one.kind == "name")


def cells(corpus: Path, *, seen: Sequence[str], unseen: Sequence[str]) -> dict[str, Cell]:
    """Cut the corpus into the four cells."""
    pairs = list(read_pairs(corpus, split="all", pictures="left"))
    found = {}
    for cell, split, sources in (
        (CELLS[0], "train", seen),
        (CELLS[1], "train", unseen),
        (CELLS[2], "test", seen),
        (CELLS[3], "test", unseen),
    ):
        chosen = [n for n, p in enumerate(pairs) if p.split == split and p.source in sources]
        found[cell] = Cell(
            np.asarray(chosen),
            [name_of(pairs[n]) for n in chosen],
            [pairs[n].group for n in chosen],
        )
    return found


def emoji_features(corpus: Path, *, pixels: int) -> np.ndarray:
    """What the tower makes of every picture of the corpus as it is, [N, W]."""
    which = Which(split="all", pixels=pixels)
    return fill_features(corpus, tower=tower_folder(TOWER), which=which).plain()


def right_names(model: Path, features: np.ndarray, cell: Cell) -> np.ndarray:
    """Whether the nearest name is the picture's own, and whether it is among five, [N, 2]."""
    towers = open_own(model, device="cpu")
    names = list(dict.fromkeys(cell.names))
    place = {name: number for number, name in enumerate(names)}
    positives = np.asarray([(k, place[name]) for k, name in enumerate(cell.names)])
    images = in_space(towers.model, features[cell.numbers])
    ranks = positive_ranks(images, towers.texts(names), positives)
    return np.stack([ranks <= 1, ranks <= 5], axis=1)


@torch.inference_mode()
def in_space(model: DualEncoder, features: np.ndarray) -> np.ndarray:
    """Features of the tower in the shared space, of length 1."""
    found = model.embed_features(torch.from_numpy(features)).float()
    return functional.normalize(found, dim=1).numpy()


def of_nearest_picture(features: np.ndarray, asked: Cell, known: Cell) -> Interval:
    """Without any text: is the nearest picture of the known renderers one of the same thing?"""
    centre = features[known.numbers].mean(0)
    unit = [functional.normalize(torch.from_numpy(features[c.numbers] - centre), dim=1).numpy()
            for c in (asked, known)]  # fmt: skip
    nearest = (unit[0] @ unit[1].T).argmax(1)
    right = [known.names[n] == name for n, name in zip(nearest, asked.names, strict=True)]
    return share_interval(right, groups=asked.groups)


def photo_features(archive: Path, *, pixels: int) -> tuple[np.ndarray, list[str]]:
    """What the tower makes of the photographs of a tar of CLASS/FILE, and their classes; kept."""
    kept = cache_directory() / "experiments-clip" / f"photos-{pixels}.npz"
    if kept.is_file():
        with np.load(kept, allow_pickle=False) as found:
            return found["features"], found["classes"].tolist()
    tower = seeing(open_tower(tower_folder(TOWER)), pixels=pixels).fused()
    rows: list[np.ndarray] = []
    classes: list[str] = []
    with tarfile.open(archive) as tar, torch.inference_mode():
        members = [one for one in tar if one.isfile()]
        for start in range(0, len(members), 32):
            some = members[start : start + 32]
            pictures = [open_picture(tar.extractfile(one).read()) for one in some]  # type: ignore[union-attr]
            rows.append(tower(tower.preprocess.pixels(pictures)).numpy())
            classes += [one.name.split("/")[-2] for one in some]
    features = np.concatenate(rows)
    kept.parent.mkdir(parents=True, exist_ok=True)
    with artifact.replace_file(kept) as file:
        np.savez(file, features=features, classes=np.asarray(classes))
    return features, classes


def right_photos(
    towers: OwnTowers, features: np.ndarray, labels: list[str], *, names: Path, templates: Templates
) -> np.ndarray:
    """Whether each photograph is given its class, by the classes' Japanese names, [N]."""
    classes = read_classes(names)
    place = {one.id: number for number, one in enumerate(classes)}
    classifier = build_classifier(towers, classes, templates=templates)
    scores = classifier.cosines(in_space(towers.model, features))
    return label_ranks(scores, np.asarray([place[label] for label in labels])) <= 1


def templates_named(name: str, *, data: Path) -> Templates:
    """Ours by name, "paper" from its file."""
    paper = data / "imagenet-ja" / "jp_zeroshot_classification_templates.json"
    return read_templates(str(paper) if name == "paper" else name)


def shuffled(
    corpus: Path, *, sources: Sequence[str], share: float, seed: int, out: Path
) -> tuple[Path, set[str]]:
    """The corpus with some training captions on pictures of other things; return it and their ids.

    Of the training split it has the sources that train alone.
    """
    rows = [
        PairRow(**row)
        for batch in batches(corpus, split="all", columns=PairRow._fields)
        for row in _with_captions(batch.to_pylist())
    ]
    rows = [row for row in rows if row.split != "train" or row.source in sources]
    train = [number for number, row in enumerate(rows) if row.split == "train"]
    generator = np.random.default_rng(seed)
    chosen = generator.permutation(train)[: round(share * len(train))]
    wrong = dict(zip(chosen.tolist(), np.roll(chosen, 1).tolist(), strict=True))
    for number, other in list(wrong.items()):
        if rows[number].concept == rows[other].concept:
            wrong.pop(number)
    changed = [
        row._replace(captions=rows[wrong[number]].captions) if number in wrong else row
        for number, row in enumerate(rows)
    ]
    settings: dict[str, Any] = {"source": "shuffled", "share": share, "seed": seed}
    parents = [artifact.parent_of(corpus, role="corpus", kind="corpus")]
    if not artifact.unchanged(
        out, key=artifact.key_of("corpus", settings=settings, parents=parents)
    ):
        with artifact.writing(out, kind="corpus", settings=settings, parents=parents) as draft:
            tally = write_rows(changed, data=draft.path / "data")
            draft.count("pairs", tally.kept, "pairs")
            draft.count("captions", tally.captions, "captions")
            for split in ("train", "valid", "test"):
                draft.count(split, tally.splits[split], "pairs")
            draft.licences = list(artifact.read_manifest(corpus).licences)
    return out, {rows[number].id for number in wrong}


def _with_captions(rows: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for row in rows:
        yield row | {"captions": tuple(Caption(**one) for one in row["captions"])}
