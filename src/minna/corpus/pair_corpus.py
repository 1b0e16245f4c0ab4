"""Corpora of pictures with captions: opened once, grouped and split, and read back in a stream.

Three passes: every picture is opened and described (`pair_measure.py`), copies and groups are told
from the descriptions (`pair_select.py`), and what stays is read again and written, byte for byte as
its source has it. So memory is that of the descriptions (100 bytes a picture), whatever pictures
weigh. A group never straddles a split: all drawings of a thing, nearly equal photographs.
"""

from __future__ import annotations

import hashlib
import itertools
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from minna.artifact import Draft, key_of, read_manifest, unchanged, writing
from minna.artifact.files import write_text_atomically
from minna.console import progress, warn
from minna.corpus import pair_measure
from minna.corpus.building import (
    SPLITS,
    bounded,
    changed,
    named_counts,
    refuse_other,
    refuse_own_place,
)
from minna.corpus.pair_card import CardFacts, card
from minna.corpus.pair_measure import measure, settled
from minna.corpus.pair_rows import PAIR_COLUMNS, Caption, PairRow, Tally, write_rows
from minna.corpus.pair_select import Selection, select
from minna.corpus.pair_settings import Given, PairSettings, PairSource, PictureShard, near_bits
from minna.corpus.pair_sources import open_pairs
from minna.corpus.passes.blobs import parts_of, seen_rows
from minna.corpus.passes.stage import STAGE, Part
from minna.corpus.passes.write import split_of
from minna.corpus.pictures import storable
from minna.corpus.read import batches
from minna.corpus.workers import Workers
from minna.errors import ArtifactError, DataError
from minna.units import format_count

__all__ = [
    "PAIR_COLUMNS",
    "Caption",
    "Pair",
    "PairReport",
    "PairSettings",
    "build_pairs",
    "holds_pairs",
    "read_pairs",
]

_COMPUTE: Any = pc  # its functions are made when it is imported: no checker knows them


class Pair(NamedTuple):
    """A picture and what is said of it; `image` is b"" where pictures are left unread."""

    id: str
    group: str
    split: str
    source: str
    concept: str
    captions: tuple[Caption, ...]
    image: bytes


@dataclass(frozen=True, kw_only=True)
class PairReport:
    """What a build did.

    Attributes:
        path: the corpus.
        state: built, resumed (an interrupted build was gone on with) or unchanged (nothing to do).
        read: pictures the source gave.
        kept: pictures written.
        captions: of them.
        groups: that they form.
        near: pictures that share a group with one they look like.
        dropped: reason -> pictures.
        splits: split -> pictures.
        sources: source -> pictures.
        image_bytes: of all pictures.
        text_bytes: UTF-8 bytes of all captions.
        wall_seconds: how long it took.
    """

    path: Path
    state: Literal["built", "resumed", "unchanged"]
    read: int
    kept: int
    captions: int
    groups: int
    near: int
    dropped: dict[str, int]
    splits: dict[str, int]
    sources: dict[str, int]
    image_bytes: int
    text_bytes: int
    wall_seconds: float


def build_pairs(*, settings: PairSettings, out: Path) -> PairReport:
    """Write a corpus of pictures with captions at `out`, or do nothing when it is there.

    The same call after an interruption goes on behind the last shard that was described.

    Raises:
        UsageError: a setting was given that the source does not read, or `out` is where it reads.
        DataError: the source cannot be read, or nothing of it is left.
        ArtifactError: `out` holds something else, or the disk is full.
    """
    refuse_own_place(settings.path, out)
    source = open_pairs(settings)
    if unchanged(out, key=key_of("corpus", settings=source.decided, parents=source.parents)):
        return _report(out, state="unchanged")
    refuse_other(out, count="pairs", holds="pictures")
    with writing(out, kind="corpus", settings=source.decided, parents=source.parents) as draft:
        resumed = (draft.path / STAGE).is_dir()
        shutil.rmtree(draft.path / "data", ignore_errors=True)  # what an interrupted build left
        read, selection, tally = _passes(source, draft.path, settings)
        _finish(draft, tally, read=read, selection=selection, source=source, settings=settings)
        shutil.rmtree(draft.path / STAGE)
    _warn_of_empty(tally, settings)
    return _report(out, state="resumed" if resumed else "built")


def _passes(
    source: PairSource, directory: Path, settings: PairSettings
) -> tuple[int, Selection, Tally]:
    """Describe, decide, write; return pictures read, what was decided, what was written."""
    shards = source.shards()
    with progress() as bar, Workers(settings.workers) as workers:
        task = bar.add_task(f"corpus {settings.source}", total=None, note="")
        read = 0

        def tell(pictures: int) -> None:
            nonlocal read
            read += pictures
            bar.update(task, completed=read, note=f"{format_count(read)} pictures opened")

        count = measure(
            shards, directory=directory, limit=settings.limit, workers=workers, tell=tell
        )
        parts = parts_of(directory, pair_measure.NAME, count)
        bar.update(task, note="looking for copies")
        selection = select(parts, near=near_bits(settings))
        bar.update(task, total=int(selection.stays.sum()), completed=0, note="writing")

        def told() -> Iterator[PairRow]:
            for row in _rows(shards, parts, selection, settings):
                yield row
                bar.advance(task)

        tally = write_rows(told(), data=directory / "data")
    return read, selection, tally


def _rows(
    shards: Sequence[PictureShard],
    parts: Sequence[Part],
    selection: Selection,
    settings: PairSettings,
) -> Iterator[PairRow]:
    """The rows of the corpus: what stays, read once more."""
    number = itertools.count()
    for shard, part in zip(shards, parts, strict=False):  # --limit leaves shards over
        given = itertools.islice(shard.read(), int(part.record()["read"]))
        for one, seen in itertools.zip_longest(given, seen_rows(part)):
            place = next(number)
            _refuse_changed(one, seen, shard)
            if not selection.stays[place]:
                continue
            identity = seen["digest"].hex()[:16]
            own = one.group or identity
            group = selection.told.get(int(selection.names[place]), own)
            captions = [Caption(**caption) for caption in seen["captions"]]
            yield PairRow(
                id=identity,
                group=group,
                split=_split(group, settings),
                source=one.source,
                licence=one.licence,
                concept=one.concept,
                image=seen["drawn"] or storable(one.content),
                width=seen["width"],
                height=seen["height"],
                captions=settled([*captions, *selection.further.get(place, [])]),
            )


def _refuse_changed(one: Given | None, seen: Any, shard: PictureShard) -> None:
    """A picture is written under what was seen of it, so it must still be the same one."""
    if one and seen and (seen["problem"] or seen["drawn"]):
        return
    if one and seen and hashlib.sha256(one.content).digest().startswith(seen["digest"]):
        return
    raise changed(shard.name)


def _split(group: str, settings: PairSettings) -> str:
    name = f"{group} {settings.seed}" if settings.seed else group
    return split_of(name, valid=settings.valid, test=settings.test)


def _finish(
    draft: Draft,
    tally: Tally,
    *,
    read: int,
    selection: Selection,
    source: PairSource,
    settings: PairSettings,
) -> None:
    """Put counts, terms and the card beside the rows.

    Raises:
        DataError: there are no rows.
    """
    dropped = bounded(selection.dropped)
    lost = read - tally.kept - sum(dropped.values())
    assert lost == 0, f"{lost} pictures are neither kept nor dropped"
    if not tally.kept:
        raise _nothing_left(settings, read, dropped)
    groups = len({int(name) for name in selection.names[selection.stays]})
    numbers = {
        "read": (read, "pictures"),
        "pairs": (tally.kept, "pictures"),
        "captions": (tally.captions, "captions"),
        "groups": (groups, "groups"),
        "near": (selection.near, "pictures"),
        "image_bytes": (tally.image_bytes, "bytes"),
        "text_bytes": (tally.text_bytes, "bytes"),
        "characters": (tally.characters, "characters"),
        **{split: (tally.splits[split], "pictures") for split in SPLITS},
        **{f"source_{name}": (count, "pictures") for name, count in tally.sources.items()},
        **{f"dropped_{reason}": (count, "pictures") for reason, count in dropped.items()},
    }
    for name, (value, unit) in numbers.items():
        draft.count(name, value, unit)
    draft.licences, draft.legal = source.licences, source.legal
    facts = CardFacts(
        name=settings.source,
        read=read,
        groups=groups,
        near=selection.near,
        tally=tally,
        dropped=dropped,
        licences=source.licences,
        legal=source.legal,
    )
    write_text_atomically(draft.path / "card.md", card(facts))


def _nothing_left(settings: PairSettings, read: int, dropped: dict[str, int]) -> DataError:
    reasons = ", ".join(f"{name}: {count}" for name, count in dropped.items())
    return DataError(
        f"no picture is left of {settings.path or settings.source}: {read} read, 0 kept"
        + (f" ({reasons})" if reasons else ""),
        remedy="see docs/pictures.md for what each reason means and which layouts are read",
    )


def _warn_of_empty(tally: Tally, settings: PairSettings) -> None:
    asked = {"train": 1.0, "valid": settings.valid, "test": settings.test}
    for split, share in asked.items():
        if share and not tally.splits[split]:
            warn(f"the split {split!r} got no picture: {tally.kept} pictures are too few for it")


def _report(path: Path, *, state: Literal["built", "resumed", "unchanged"]) -> PairReport:
    manifest = read_manifest(path, kind="corpus")
    count = {name: int(item.value) for name, item in manifest.counts.items()}

    return PairReport(
        path=path,
        state=state,
        read=count["read"],
        kept=count["pairs"],
        captions=count["captions"],
        groups=count["groups"],
        near=count["near"],
        dropped=named_counts(count, "dropped_"),
        splits={split: count[split] for split in SPLITS},
        sources=named_counts(count, "source_"),
        image_bytes=count["image_bytes"],
        text_bytes=count["text_bytes"],
        wall_seconds=manifest.wall_seconds,
    )


def holds_pairs(corpus: Path) -> bool:
    """Whether a corpus is one of pictures with captions.

    Raises:
        ArtifactError: not a corpus.
    """
    return "pairs" in read_manifest(corpus, kind="corpus").counts


def read_pairs(
    corpus: Path,
    *,
    split: str,
    sources: Sequence[str] = (),
    pictures: Literal["read", "left"] = "read",
) -> Iterator[Pair]:
    """Return the pictures of a split in file order, one row group (8 MB) in memory at a time.

    Args:
        corpus: a corpus of pictures.
        split: train, valid, test or all.
        sources: only rows of these sources; none named: all.
        pictures: "left" reads no picture's bytes (`image` is b""): for captions alone.

    Raises:
        ArtifactError: not a corpus of pictures, or (while reading) a file is missing or damaged.
        UsageError: (while reading) no such split.
    """
    if not holds_pairs(corpus):
        raise ArtifactError(
            f"{corpus} holds no pictures",
            remedy="make a corpus of them: minna corpus build emoji --out DIR; or of your own: "
            "minna corpus build pictures --from PATH --out DIR",
        )
    return _read(corpus, split, tuple(sources), pictures)


def _read(
    corpus: Path, split: str, sources: tuple[str, ...], pictures: Literal["read", "left"]
) -> Iterator[Pair]:
    columns = tuple(name for name in Pair._fields if name != "image" or pictures == "read")
    for batch in batches(corpus, split=split, columns=columns):
        chosen = batch
        if sources:
            chosen = batch.filter(_COMPUTE.is_in(batch.column("source"), pa.array(sources)))
        for row in chosen.to_pylist():
            captions = tuple(Caption(**caption) for caption in row.pop("captions"))
            yield Pair(**{"image": b""} | row, captions=captions)
