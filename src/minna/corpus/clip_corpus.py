"""Corpora of speech: heard once, cut, grouped and split, and read back in a stream.

Three passes: every recording is heard and described (`clip_hear.py`), copies and groups are told
from the descriptions (`clip_select.py`), and what stays is read again and written, byte for byte as
its source has it, or as it was cut. So memory is that of the descriptions and of one recording,
whatever all of them weigh. A group never straddles a split, unless the source states its splits.
"""

from __future__ import annotations

import hashlib
import itertools
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from minna.artifact import Draft, key_of, read_manifest, unchanged, writing
from minna.artifact.files import write_text_atomically
from minna.console import progress, warn
from minna.corpus import clip_hear
from minna.corpus.audio import RATE
from minna.corpus.building import (
    SPLITS,
    bounded,
    changed,
    named_counts,
    refuse_other,
    refuse_own_place,
)
from minna.corpus.clip_card import CardFacts, card
from minna.corpus.clip_hear import measure
from minna.corpus.clip_read import Clip, holds_clips, read_clips
from minna.corpus.clip_rows import CLIP_COLUMNS, ClipRow, Tally, write_rows
from minna.corpus.clip_select import Selection, select
from minna.corpus.clip_settings import ClipSettings, ClipShard, ClipSource, GivenClip
from minna.corpus.clip_sources import open_clips
from minna.corpus.passes.blobs import parts_of, seen_rows
from minna.corpus.passes.stage import STAGE, Part
from minna.corpus.passes.write import split_of
from minna.corpus.workers import Workers
from minna.errors import DataError
from minna.units import format_count, format_seconds

__all__ = [
    "CLIP_COLUMNS",
    "Clip",
    "ClipReport",
    "ClipSettings",
    "build_clips",
    "holds_clips",
    "read_clips",
]

_LEVELS: Final = ("level_low", "level_median", "level_high")


@dataclass(frozen=True, kw_only=True)
class ClipReport:
    """What a build did.

    Attributes:
        path: the corpus.
        state: built, resumed (an interrupted build was gone on with) or unchanged (nothing to do).
        read: recordings the source gave.
        kept: clips written.
        seconds: of them.
        transcribed, phoned, timed: clips with a transcript, with phones, with times of phones.
        groups: that they form.
        speakers: that are named.
        dropped: reason -> clips.
        notes: note -> clips that stay.
        splits: split -> clips.
        sources: source -> clips.
        levels: 5th, 50th and 95th percentile of the clips' levels, in dB under full scale.
        audio_bytes: of all files.
        wall_seconds: how long it took.
    """

    path: Path
    state: Literal["built", "resumed", "unchanged"]
    read: int
    kept: int
    seconds: float
    transcribed: int
    phoned: int
    timed: int
    groups: int
    speakers: int
    dropped: dict[str, int]
    notes: dict[str, int]
    splits: dict[str, int]
    sources: dict[str, int]
    levels: tuple[float, ...]
    audio_bytes: int
    wall_seconds: float


def build_clips(*, settings: ClipSettings, out: Path) -> ClipReport:
    """Write a corpus of clips at `out`, or do nothing when it is there.

    The same call after an interruption goes on behind the last shard that was heard.

    Raises:
        UsageError: a setting was given that the source does not read, or `out` is where it reads.
        DataError: the source cannot be read, or nothing of it is left.
        ArtifactError: `out` holds something else, or the disk is full.
        MissingExtraError: soundfile, soxr or pyopenjtalk-plus is not installed.
    """
    refuse_own_place(settings.path, out)
    source = open_clips(settings)
    if unchanged(out, key=key_of("corpus", settings=source.decided, parents=source.parents)):
        return _report(out, state="unchanged")
    refuse_other(out, count="clips", holds="clips")
    with writing(out, kind="corpus", settings=source.decided, parents=source.parents) as draft:
        resumed = (draft.path / STAGE).is_dir()
        shutil.rmtree(draft.path / "data", ignore_errors=True)  # what an interrupted build left
        read, selection, tally = _passes(source, draft.path, settings)
        _finish(draft, tally, read=read, selection=selection, source=source, settings=settings)
        shutil.rmtree(draft.path / STAGE)
    _warn_of(tally, selection, settings)
    return _report(out, state="resumed" if resumed else "built")


def _passes(
    source: ClipSource, directory: Path, settings: ClipSettings
) -> tuple[int, Selection, Tally]:
    """Hear, decide, write; return recordings read, what was decided, what was written."""
    shards = source.shards()
    with progress() as bar, Workers(settings.workers) as workers:
        task = bar.add_task(f"corpus {settings.source}", total=None, note="")
        heard = 0

        def tell(clips: int) -> None:
            nonlocal heard
            heard += clips
            bar.update(task, completed=heard, note=f"{format_count(heard)} clips heard")

        count = measure(shards, directory=directory, settings=settings, workers=workers, tell=tell)
        parts = parts_of(directory, clip_hear.NAME, count)
        read = sum(int(part.record()["read"]) for part in parts)
        bar.update(task, note="looking for copies")
        selection = select(parts, rate=RATE)
        bar.update(task, total=int(selection.stays.sum()), completed=0, note="writing")

        def told() -> Iterator[ClipRow]:
            for row in _rows(shards, parts, selection, settings):
                yield row
                bar.advance(task)

        tally = write_rows(told(), data=directory / "data")
    return read, selection, tally


def _rows(
    shards: Sequence[ClipShard],
    parts: Sequence[Part],
    selection: Selection,
    settings: ClipSettings,
) -> Iterator[ClipRow]:
    """The rows of the corpus: what stays, read once more."""
    place = itertools.count()
    for shard, part in zip(shards, parts, strict=False):  # --limit leaves shards over
        given = itertools.islice(shard.read(), int(part.record()["read"]))
        clips = itertools.groupby(seen_rows(part), key=lambda seen: seen["given"])
        for one, pair in itertools.zip_longest(given, clips):
            if one is None or pair is None:
                raise changed(shard.name)
            for number, seen in enumerate(pair[1]):
                if number == 0:
                    _refuse_changed(one, seen, shard)
                where = next(place)
                if selection.stays[where]:
                    group = selection.told.get(int(selection.names[where])) or seen["group"]
                    yield _row(one, seen, group=group, settings=settings)


def _row(one: GivenClip, seen: dict[str, Any], *, group: str, settings: ClipSettings) -> ClipRow:
    split = seen["split"]
    if not split:
        name = f"{group} {settings.seed}" if settings.seed else group
        drawn = split_of(name, valid=settings.valid, test=settings.test)
        split = "train" if settings.splits == "stated" else drawn
    return ClipRow(
        id=seen["digest"].hex()[:16],
        group=group,
        split=split,
        source=one.source,
        licence=one.licence,
        speaker=seen["speaker"],
        audio=seen["stored"] or one.content,
        samples=seen["samples"],
        rate=seen["rate"],
        transcript=seen["transcript"],
        kana=seen["kana"],
        phones=seen["phones"],
        times=tuple(seen["times"]),
    )


def _refuse_changed(one: GivenClip, seen: dict[str, Any], shard: ClipShard) -> None:
    """A clip is written under what was heard of it, so it must still be the same one."""
    if hashlib.sha256(one.content).digest()[:16] != seen["content"]:
        raise changed(shard.name)


def _finish(
    draft: Draft,
    tally: Tally,
    *,
    read: int,
    selection: Selection,
    source: ClipSource,
    settings: ClipSettings,
) -> None:
    """Put counts, terms and the card beside the rows.

    Raises:
        DataError: there are no rows.
    """
    dropped = bounded(selection.dropped)
    lost = len(selection.stays) - tally.kept - sum(dropped.values())
    assert lost == 0, f"{lost} clips are neither kept nor dropped"
    if not tally.kept:
        raise _nothing_left(settings, read, dropped)
    groups = len({int(name) for name in selection.names[selection.stays]})
    numbers: dict[str, tuple[float, str]] = {
        "read": (read, "recordings"),
        "clips": (tally.kept, "clips"),
        "seconds": (round(tally.seconds, 3), "seconds"),
        "transcribed": (tally.transcribed, "clips"),
        "phoned": (tally.phoned, "clips"),
        "timed": (tally.timed, "clips"),
        "groups": (groups, "groups"),
        "speakers": (len([name for name in tally.speakers if name]), "speakers"),
        "audio_bytes": (tally.audio_bytes, "bytes"),
        "characters": (tally.characters, "characters"),
        **{split: (tally.splits[split], "clips") for split in SPLITS},
        **{
            f"seconds_{split}": (round(tally.split_seconds.get(split, 0.0), 3), "seconds")
            for split in SPLITS
        },
        **{
            name: (round(level, 2), "dBFS")
            for name, level in zip(_LEVELS, selection.levels, strict=True)
        },
        **{f"source_{name}": (count, "clips") for name, count in tally.sources.items()},
        **{f"dropped_{reason}": (count, "clips") for reason, count in dropped.items()},
        **{f"note_{note}": (count, "clips") for note, count in selection.notes.items()},
    }
    for name, (value, unit) in numbers.items():
        draft.count(name, value, unit)
    draft.licences, draft.legal = source.licences, source.legal
    facts = CardFacts(
        name=settings.source,
        read=read,
        groups=groups,
        tally=tally,
        dropped=dropped,
        notes=selection.notes,
        levels=selection.levels,
        licences=source.licences,
        legal=source.legal,
        remarks=source.remarks,
    )
    write_text_atomically(draft.path / "card.md", card(facts))


def _nothing_left(settings: ClipSettings, read: int, dropped: dict[str, int]) -> DataError:
    reasons = ", ".join(f"{name}: {count}" for name, count in dropped.items())
    return DataError(
        f"no clip is left of {settings.path or settings.source}: {read} recordings read, 0 kept"
        + (f" ({reasons})" if reasons else ""),
        remedy="see docs/speech.md for what each reason means and which layouts are read",
    )


def _warn_of(tally: Tally, selection: Selection, settings: ClipSettings) -> None:
    shares = {"train": 1.0, "valid": settings.valid, "test": settings.test}
    for split, share in shares.items():
        if share and not tally.splits[split] and settings.splits == "drawn":
            warn(f"the split {split!r} got no clip: {tally.kept} clips are too few for it")
    if selection.low_rate:
        warn(
            f"{selection.low_rate} clips have fewer than {RATE} samples a second: they are brought "
            "up to it when they are read, and nothing is in them above half their own rate"
        )
    cut = selection.dropped["too_long"]
    if cut:
        warn(
            f"{cut} recordings have a transcript and over {format_seconds(settings.longest)}, and "
            "were left out: a transcript cannot be cut (longest=SECONDS allows longer ones)"
        )


def _report(path: Path, *, state: Literal["built", "resumed", "unchanged"]) -> ClipReport:
    manifest = read_manifest(path, kind="corpus")
    value = {name: item.value for name, item in manifest.counts.items()}
    count = {name: int(number) for name, number in value.items()}

    return ClipReport(
        path=path,
        state=state,
        read=count["read"],
        kept=count["clips"],
        seconds=value["seconds"],
        transcribed=count["transcribed"],
        phoned=count["phoned"],
        timed=count["timed"],
        groups=count["groups"],
        speakers=count["speakers"],
        dropped=named_counts(count, "dropped_"),
        notes=named_counts(count, "note_"),
        splits={split: count[split] for split in SPLITS},
        sources=named_counts(count, "source_"),
        levels=tuple(value[name] for name in _LEVELS),
        audio_bytes=count["audio_bytes"],
        wall_seconds=manifest.wall_seconds,
    )
