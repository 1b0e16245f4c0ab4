"""`corpus build` for documents: source -> read -> clean -> select -> write, and the card.

Four passes over parts of four megabytes, each on all cores, each going on where a kill left it
(passes/). Memory is that of the parts in work, and 100 bytes a document while copies are sought,
whatever the size of the source. A split is decided by the hash of the group alone, and joined
groups have the name of their first document, so a document stays in its split when the corpus grows
at its end (but for those that a new document links with an earlier group).
"""

from __future__ import annotations

import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np

from minna.artifact import key_of, read_manifest, unchanged, writing
from minna.artifact.atomic import Draft
from minna.artifact.files import write_text_atomically
from minna.console import progress, warn
from minna.corpus import japanese
from minna.corpus.card import LEGAL_NOTES, write_card, write_dropped
from minna.corpus.contamination import Items, collect_items
from minna.corpus.filters import resolved
from minna.corpus.passes.clean import ITEMS, clean_all
from minna.corpus.passes.frequent import count_lines
from minna.corpus.passes.read import read_all
from minna.corpus.passes.select import select
from minna.corpus.passes.stage import STAGE, Part
from minna.corpus.passes.write import SCHEMA, split_of, write_all
from minna.corpus.settings import BuildSettings
from minna.corpus.sources import Source, open_source
from minna.corpus.statistics import SAMPLES, Statistics, parse_statistics
from minna.corpus.workers import Workers
from minna.errors import DataError, UsageError
from minna.units import format_count

__all__ = ["SCHEMA", "SPLITS", "BuildReport", "build", "build_corpus", "split_of"]

SPLITS: Final = ("train", "valid", "test")
CUT: Final = "part_bytes"
"""The file of the stage that says how its parts were cut; without it the stage is of no use."""
_UNUSABLE: Final = {"too_large", "undecodable", "malformed"}
_PASSES_VERSION: Final = 2
"""Part of every corpus key: raise it when a pass decides differently."""


@dataclass(frozen=True, kw_only=True)
class BuildReport:
    """What a build did.

    Attributes:
        path: the corpus.
        state: built, resumed (an interrupted build was gone on with) or unchanged (nothing to do).
        read: documents the source gave.
        kept: documents written.
        dropped: reason -> documents.
        splits: split -> documents.
        lines_removed: reason -> lines taken out of documents.
        masked: kind of personal data -> places.
        readings: readings in the side-car.
        text_bytes: UTF-8 bytes of the kept texts.
        characters: characters of the kept texts.
        wall_seconds: how long it took.
    """

    path: Path
    state: Literal["built", "resumed", "unchanged"]
    read: int
    kept: int
    dropped: dict[str, int]
    splits: dict[str, int]
    lines_removed: dict[str, int]
    masked: dict[str, int]
    readings: int
    text_bytes: int
    characters: int
    wall_seconds: float


def build_corpus(*, settings: BuildSettings, out: Path) -> Path:
    """Build the corpus the settings describe, or do nothing when it is there; return its path.

    Raises:
        MinnaError: see `build` and `open_source`.
    """
    return build(open_source(settings), out=out, settings=settings).path


def build(source: Source, *, out: Path, settings: BuildSettings) -> BuildReport:
    """Write a corpus of documents at `out`.

    The same call after an interruption goes on where it stopped, and one after success does
    nothing. A source of more than one part is worked on by several processes; its `parse` must then
    be a function of a module, not of the script that runs.

    Raises:
        DataError: the source cannot be read, or nothing of it is left.
        ArtifactError: `out` holds something else, or the disk is full.
    """
    _refuse_own_place(settings, out)
    items, contamination = None, None
    if settings.contamination.against:
        items, contamination = collect_items(
            settings.contamination.against, n=settings.contamination.ngram
        )
        if not contamination["items"]:
            raise DataError(
                f"{', '.join(map(str, settings.contamination.against))}: "
                f"{contamination['files']} files without any text to look for",
                remedy="check contamination.against; nothing would be kept out",
            )
        if contamination["too_short"]:
            warn(
                f"{contamination['too_short']} evaluation texts have under "
                f"{settings.contamination.ngram} letters and are not looked for"
            )
    decided = _decided(source, settings, contamination)
    if unchanged(out, key=key_of("corpus", settings=decided, parents=[])):
        return _report(out, state="unchanged")
    with writing(out, kind="corpus", settings=decided) as draft:
        resumed = (draft.path / STAGE).is_dir()
        statistics = _passes(source, draft.path, settings=settings, items=items)
        _finish(draft, statistics, source=source, settings=settings)
    for split in _empty_splits(statistics, settings):
        warn(
            f"the split {split!r} got no document: the groups of {statistics.kept} documents are "
            "too few for it"
        )
    return _report(out, state="resumed" if resumed else "built")


def _refuse_own_place(settings: BuildSettings, out: Path) -> None:
    place = settings.path
    if place is not None and place.is_dir() and out.resolve().is_relative_to(place.resolve()):
        raise UsageError(
            f"--out {out} lies inside {place}, where the source is read: the corpus would be read "
            "as a source the next time",
            remedy="choose an --out outside of it",
        )


def _decided(
    source: Source, settings: BuildSettings, contamination: dict[str, Any] | None
) -> dict[str, Any]:
    """What determines the corpus: the content of the source, not the place where it lies."""
    return {
        "source": source.name,
        "identity": source.identity(),
        "licences": [licence.model_dump() for licence in source.licences],
        "normalisation": japanese.VERSION,
        "passes": _PASSES_VERSION,
        "language": settings.language,
        "limit": settings.limit,
        "valid": settings.valid,
        "test": settings.test,
        "shard_documents": settings.shard_documents,
        "filters": resolved(settings.filters),
        "mask": asdict(settings.mask),
        "dedup": asdict(settings.dedup),
        "contamination": None
        if contamination is None
        else contamination
        | {"ngram": settings.contamination.ngram, "overlap": settings.contamination.overlap},
    }


def _passes(
    source: Source, directory: Path, *, settings: BuildSettings, items: Items | None
) -> Statistics:
    """Run what is missing of the passes; return what they counted."""
    stage = directory / STAGE
    _open_stage(stage, settings)
    if items is not None and not (stage / ITEMS).is_file():
        items.save(stage / ITEMS)
    with progress() as bar, Workers(settings.workers) as workers:
        task = bar.add_task(f"corpus {source.name}", total=None, note="")
        read = 0

        def tell(documents: int) -> None:
            nonlocal read
            read += documents
            bar.update(task, completed=read, note=f"{format_count(read)} documents read")

        read_parts = read_all(
            source, directory=directory, settings=settings, workers=workers, tell=tell
        )
        bar.update(task, note="counting lines")
        frequent = count_lines(directory, read_parts=read_parts, dedup=settings.dedup)
        bar.update(task, total=read_parts, completed=0, note="cleaning")
        clean = clean_all(
            directory,
            read_parts=read_parts,
            settings=settings,
            workers=workers,
            tell=lambda: bar.advance(task),
        )
        statistics = Statistics()
        for part in clean:
            statistics.add(parse_statistics(part.record()["statistics"]))
        _refuse_empty(statistics, source, settings, left=_documents(clean))
        bar.update(task, note="looking for copies")
        selection = select(
            directory,
            clean,
            dedup=settings.dedup,
            early=np.asarray(frequent.array("links")),
            workers=workers,
        )
        bar.update(task, note="writing")
        written = write_all(
            selection,
            directory=directory,
            settings=settings,
            workers=workers,
            source=source.name,
            licence=source.licences[0].licence,
        )
    statistics.add(written)
    lost = statistics.read - statistics.kept - sum(statistics.dropped.values())
    assert lost == 0, f"{lost} documents are neither kept nor dropped"
    chosen = np.linspace(0, len(statistics.samples) - 1, num=SAMPLES).astype(int)
    statistics.samples = [statistics.samples[place] for place in sorted(set(chosen.tolist()))]
    return statistics


def _open_stage(stage: Path, settings: BuildSettings) -> None:
    """Make the stage; parts cut at other places than these would be are of no use and go."""
    cut = stage / CUT
    wanted = str(settings.part_bytes)
    if stage.is_dir() and (not cut.is_file() or cut.read_text(encoding="utf-8") != wanted):
        shutil.rmtree(stage)
    if not stage.is_dir():
        stage.mkdir()
        write_text_atomically(cut, wanted)


def _documents(clean: list[Part]) -> int:
    return sum(part.record()["documents"] for part in clean)


def _refuse_empty(
    statistics: Statistics, source: Source, settings: BuildSettings, *, left: int
) -> None:
    if left:
        return
    reasons = ", ".join(f"{name}: {count}" for name, count in sorted(statistics.dropped.items()))
    remedy = "give data with Japanese text in it, or loosen the filters that dropped it"
    if set(statistics.dropped) <= _UNUSABLE:
        remedy = "give files in the form this source reads: see `minna list sources`"
    if statistics.dropped.get("language"):
        remedy = f"the language asked for is {settings.language!r}: set language=any, or ja, or en"
    raise DataError(
        f"nothing is left of {source.name}: {statistics.read} documents read, 0 kept"
        + (f" ({reasons})" if reasons else ""),
        remedy=remedy,
    )


def _empty_splits(statistics: Statistics, settings: BuildSettings) -> list[str]:
    asked = {"train": 1.0, "valid": settings.valid, "test": settings.test}
    return [name for name, share in asked.items() if share and not statistics.splits.get(name)]


def _finish(
    draft: Draft, statistics: Statistics, *, source: Source, settings: BuildSettings
) -> None:
    """Write the words beside the rows, and the counts into the manifest."""
    draft.count("read", statistics.read, "documents")
    draft.count("documents", statistics.kept, "documents")
    draft.count("text_bytes", statistics.text_bytes, "bytes")
    draft.count("characters", statistics.characters, "characters")
    for split in SPLITS:
        draft.count(split, statistics.splits.get(split, 0), "documents")
    counted: dict[str, tuple[dict[str, int], str]] = {
        "dropped": (statistics.dropped, "documents"),
        "language": (statistics.languages, "documents"),
        "lines_removed": (statistics.lines_removed, "lines"),
        "masked": (statistics.masked, "places"),
    }
    for name, (counts, unit) in counted.items():
        for key, number in sorted(counts.items()):
            draft.count(f"{name}_{key}", number, unit)
    if statistics.readings:
        draft.count("readings", statistics.readings, "readings")
    draft.licences = list(source.licences)
    draft.legal = list(LEGAL_NOTES)
    write_dropped(draft.path, statistics)
    write_card(
        draft.path,
        statistics,
        name=source.name,
        licences=source.licences,
        settings=settings,
    )
    (draft.path / STAGE / CUT).unlink()  # first: half a stage must not be gone on with
    shutil.rmtree(draft.path / STAGE)


def _report(path: Path, *, state: Literal["built", "resumed", "unchanged"]) -> BuildReport:
    manifest = read_manifest(path, kind="corpus")
    count = {name: int(item.value) for name, item in manifest.counts.items()}

    def named(prefix: str) -> dict[str, int]:
        return {
            name.removeprefix(prefix): value
            for name, value in count.items()
            if name.startswith(prefix)
        }

    return BuildReport(
        path=path,
        state=state,
        read=count["read"],
        kept=count["documents"],
        dropped=named("dropped_"),
        splits={split: count[split] for split in SPLITS},
        lines_removed=named("lines_removed_"),
        masked=named("masked_"),
        readings=count.get("readings", 0),
        text_bytes=count["text_bytes"],
        characters=count["characters"],
        wall_seconds=manifest.wall_seconds,
    )
