"""Pictures with the right answer beside them: folders per class, tars of them, pair corpora.

What a picture shows is said by the folder it lies in (n02084071/a.jpg, 犬/a.jpg) or by a corpus's
concept. A folder that no class is called like is left out and told, never taken for some class: a
list of names in another order would otherwise score at chance and look like a bad model.
"""

from __future__ import annotations

import hashlib
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import NoReturn

from minna import artifact
from minna.artifact.manifest import Licence, Parent, canonical
from minna.console import say, warn
from minna.corpus.pair_corpus import Pair, read_pairs
from minna.errors import DataError
from minna.runtime.class_names import PictureClass, checked_classes
from minna.runtime.picture_index import PictureIndex
from minna.runtime.places import Corpus, Place, open_place

_NAMED = 5


@dataclass(frozen=True, kw_only=True)
class Labelled:
    """A picture and its class, by number; `group` is what is resampled together, "" by itself."""

    path: str
    label: int
    group: str = ""
    source: str = ""


@dataclass(frozen=True, kw_only=True)
class LabelledPictures:
    """Pictures of known classes.

    Attributes:
        place: where they lie.
        split: of a corpus; "all" of a folder.
        classes: in their order.
        pictures: in the order of the place.
        left_out: folder or concept -> pictures of no class.
        parents: the corpus, where it is one.
        licences: of the data, where they are known.
    """

    place: Place
    split: str
    classes: tuple[PictureClass, ...]
    pictures: tuple[Labelled, ...]
    left_out: Mapping[str, int]
    parents: tuple[Parent, ...] = ()
    licences: tuple[Licence, ...] = ()


def read_labelled(
    data: Path,
    *,
    classes: Sequence[PictureClass] | None = None,
    split: str = "all",
    sources: Sequence[str] = (),
) -> LabelledPictures:
    """Read what there is, and match it with the classes.

    Args:
        data: a folder with a folder per class, a tar of such, or a pair corpus.
        classes: their ids or names are looked for; None takes the folders' own names, of a corpus
            the names of its concepts.
        split: of a corpus.
        sources: of a corpus; () is all.

    Raises:
        UsageError: there is no such place.
        DataError: no picture is of any class, or there are fewer than two classes.
        ArtifactError: a corpus that holds no pairs.
    """
    place = open_place(data)
    if isinstance(place, Corpus):
        return _of_corpus(place, data, classes, split=split, sources=sources)
    labels = {
        entry.path: PurePosixPath(entry.path).parent.name or "(no folder)"
        for entry in place.entries()
    }
    folders = Counter(labels.values())
    if classes is None:
        own = sorted(folders)
        say(f"no names were given: the folders' own are asked with ({', '.join(own[:_NAMED])} ...)")
        classes = checked_classes(
            [PictureClass(id=name, names=(name,)) for name in own], where=str(data)
        )
    numbers = _numbers_of(list(folders), classes)
    pictures = [
        Labelled(path=path, label=numbers[name]) for path, name in labels.items() if name in numbers
    ]
    left_out = {name: count for name, count in folders.items() if name not in numbers}
    return _checked(
        LabelledPictures(
            place=place,
            split="all",
            classes=tuple(classes),
            pictures=tuple(pictures),
            left_out=left_out,
        )
    )


def data_hash(pictures: Sequence[Labelled], index: PictureIndex, classes: Sequence[str]) -> str:
    """Hash of what was scored: every picture's path, content and class."""
    places = index.places()
    total = hashlib.sha256()
    for one in pictures:
        digest = index.rows[places[one.path]].sha256
        total.update(canonical([one.path, digest, classes[one.label]]).encode() + b"\n")
    return total.hexdigest()


def concept_name(pair: Pair) -> str:
    """A concept's name: the caption of kind "name", else the one most often drawn."""
    named = [caption.text for caption in pair.captions if caption.kind == "name"]
    if named:
        return named[0]
    return max(pair.captions, key=lambda caption: caption.weight).text if pair.captions else ""


def refuse_no_pairs(data: Path, *, split: str, sources: Sequence[str], what: str) -> NoReturn:
    """Raise that a split has nothing to ask about, and say which sources there are.

    Raises:
        DataError: always.
    """
    there = sorted({pair.source for pair in read_pairs(data, split=split, pictures="left")})
    chosen = f" of {', '.join(sources)}" if sources else ""
    raise DataError(
        f"the split {split!r} of {data} has no picture{chosen} with {what}",
        remedy=f"it has pictures of {', '.join(there)}" if there else "name another split",
    )


def _of_corpus(
    place: Corpus,
    data: Path,
    classes: Sequence[PictureClass] | None,
    *,
    split: str,
    sources: Sequence[str],
) -> LabelledPictures:
    pairs = [
        (pair, concept_name(pair))
        for pair in read_pairs(data, split=split, sources=sources, pictures="left")
    ]
    if not pairs:
        refuse_no_pairs(data, split=split, sources=sources, what="a name")
    if classes is None:
        names: dict[str, str] = {}
        for pair, name in pairs:
            if pair.concept and name:
                names.setdefault(pair.concept, name)
        made = [PictureClass(id=concept, names=(name,)) for concept, name in names.items()]
        classes = checked_classes(made, where=f"the split {split!r} of {data}")
    concepts = _matching(classes)
    pictures: list[Labelled] = []
    left_out: Counter[str] = Counter()
    for pair, name in pairs:
        number = concepts.get(pair.concept, concepts.get(_plain(name)))
        if number is None:
            left_out[name or pair.concept or "(no concept)"] += 1
            continue
        pictures.append(Labelled(path=pair.id, label=number, group=pair.group, source=pair.source))
    manifest = artifact.read_manifest(data)
    return _checked(
        LabelledPictures(
            place=place,
            split=split,
            classes=tuple(classes),
            pictures=tuple(pictures),
            left_out=dict(left_out),
            parents=(artifact.parent_of(data, role="corpus", kind="corpus"),),
            licences=tuple(manifest.licences),
        )
    )


def _numbers_of(folders: Sequence[str], classes: Sequence[PictureClass]) -> dict[str, int]:
    """Folder -> number of its class: by id, by name, or all of them in order."""
    known = _matching(classes)
    numbers = {folder: known[_plain(folder)] for folder in folders if _plain(folder) in known}
    in_order = all(one.id == str(place) for place, one in enumerate(classes))
    if not numbers and in_order and len(folders) == len(classes):
        say(
            f"the {len(folders)} folders, in order of name, are taken for the {len(classes)} names "
            "in theirs"
        )
        return {folder: number for number, folder in enumerate(sorted(folders))}
    return numbers


def _matching(classes: Sequence[PictureClass]) -> dict[str, int]:
    """Id or name -> class; an id goes before a name, and a name of two classes is nobody's."""
    owners: dict[str, set[int]] = {}
    for number, one in enumerate(classes):
        for name in one.names:
            owners.setdefault(_plain(name), set()).add(number)
    known = {name: next(iter(numbers)) for name, numbers in owners.items() if len(numbers) == 1}
    return known | {_plain(one.id): number for number, one in enumerate(classes)}


def _plain(name: str) -> str:
    """A name as it is compared: some file systems take が apart into か and a mark."""
    return unicodedata.normalize("NFC", name)


def _checked(found: LabelledPictures) -> LabelledPictures:
    if not found.pictures:
        told = ", ".join(list(found.left_out)[:_NAMED]) or "none"
        names = ", ".join(one.name for one in found.classes[:_NAMED])
        raise DataError(
            f"no picture of {found.place.name} is of any of the {len(found.classes)} classes "
            f"({names} ...); it has {told} ...",
            remedy="folders must be called as the ids or the names of the classes are",
        )
    if found.left_out:
        named = ", ".join(f"{name} ({n})" for name, n in list(found.left_out.items())[:_NAMED])
        more = " ..." if len(found.left_out) > _NAMED else ""
        warn(
            f"{sum(found.left_out.values())} pictures are left out, for no class is called like "
            f"{named}{more}"
        )
    return found
