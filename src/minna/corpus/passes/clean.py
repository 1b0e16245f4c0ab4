"""Second pass: unwanted lines out, personal data masked, filters, digests and signatures.

Everything here is decided from one document alone (and from what the first pass counted), so parts
are cleaned in any order on all cores. What is decided between documents comes after (select.py).
"""

from __future__ import annotations

import difflib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, cast

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from minna.corpus import japanese, minhash
from minna.corpus.contamination import load_items
from minna.corpus.filters import judge
from minna.corpus.passes.read import batches, hashes
from minna.corpus.passes.stage import STAGE, Part, parts
from minna.corpus.personal import mask
from minna.corpus.points import UInt64, folded, points
from minna.corpus.profile import Profiles
from minna.corpus.settings import BuildSettings
from minna.corpus.statistics import LENGTH_BINS, SHARE_BINS, Statistics, count
from minna.corpus.take_out import Unwanted, take_out
from minna.corpus.workers import Workers

NAME: Final = "clean"
ITEMS: Final = "items.npz"
_TEXT = pa.string()
READINGS: Final = pa.struct([("start", pa.int32()), ("base", _TEXT), ("reading", _TEXT)])
SCHEMA: Final = pa.schema(
    [(name, _TEXT) for name in ("id", "group", "language", "licence", "meta", "text")]
    + [("readings", pa.list_(READINGS))]
)
DOCUMENT: Final = np.dtype(
    [("digest", "<u8", 2), ("group", "<u8"), ("bytes", "<i8"), ("bins", "u1", 3)]
)

_Rows = list[tuple[Any, ...]]


@dataclass(frozen=True, kw_only=True)
class CleanTask:
    """One part of the first pass, and what its documents are judged by."""

    directory: Path
    number: int
    first_document: int
    settings: BuildSettings


def clean_all(
    directory: Path,
    *,
    read_parts: int,
    settings: BuildSettings,
    workers: Workers,
    tell: Callable[[], None],
) -> list[Part]:
    """Clean every part that is not; return them in order. `tell` is called after each."""
    tasks: list[CleanTask] = []
    before = 0
    for part in parts(directory, "read", read_parts):
        if not Part(directory, NAME, part.number).is_done:
            tasks.append(
                CleanTask(
                    directory=directory,
                    number=part.number,
                    first_document=before,
                    settings=settings,
                )
            )
        before += part.record()["documents"]
    for _ in range(read_parts - len(tasks)):
        tell()
    for _ in workers.in_order(_clean, tasks):
        tell()
    return parts(directory, NAME, read_parts)


def _clean(task: CleanTask) -> None:
    """Clean one part."""
    raw = Part(task.directory, "read", task.number).rows()
    columns = {name: cast("list[Any]", raw.column(name).to_pylist()) for name in raw.schema.names}
    statistics = Statistics(read=len(raw))
    copies = Part(task.directory, "frequent", 0).array("copies")
    ends = task.first_document, task.first_document + len(raw)
    here = copies[slice(*np.searchsorted(copies, ends))] - task.first_document
    reasons = dict.fromkeys(here.tolist(), "duplicate")
    reasons |= {number: problem for number, problem in enumerate(columns["problem"]) if problem}
    for number, reason in sorted(reasons.items()):
        statistics.drop(reason, columns["text"][number])
    usable = [number for number in range(len(raw)) if number not in reasons]
    everywhere, paragraphs = _unwanted(task.directory, task.settings)
    out = _Out()
    for start, stop in batches([len(columns["text"][number]) for number in usable]):
        batch = _Batch(columns, usable[start:stop], task, statistics=statistics)
        batch.clean(everywhere, paragraphs, out)
    part = Part(task.directory, NAME, task.number)
    rows = [list(column) for column in zip(*out.rows, strict=True)]
    part.write_rows(rows or [[] for _ in SCHEMA], schema=SCHEMA)
    dedup = task.settings.dedup
    part.write_array("bands", _joined(out.bands, np.zeros((0, dedup.bands), np.uint64)).T.copy())
    part.write_array("signatures", _joined(out.signatures, np.zeros((0, minhash.BINS), np.uint16)))
    part.write_array("documents", _documents(out))
    part.finish({"documents": len(out.rows), "statistics": statistics.as_json()})


class _Out:
    """What the batches of a part leave, to be written together."""

    def __init__(self) -> None:
        self.rows: _Rows = []
        self.bins: list[tuple[int, int, int]] = []
        self.bands: list[UInt64] = []
        self.signatures: list[minhash.UInt16] = []


class _Batch:
    """Some usable documents of a part, about 512k characters of them."""

    def __init__(
        self,
        columns: dict[str, list[Any]],
        numbers: list[int],
        task: CleanTask,
        *,
        statistics: Statistics,
    ) -> None:
        self._raw = [columns["text"][number] for number in numbers]
        self._columns = columns
        self._numbers = numbers
        self._task = task
        self._statistics = statistics

    def clean(self, everywhere: Unwanted, paragraphs: Unwanted, out: _Out) -> None:
        """Clean the documents; what stays goes to `out`."""
        settings, statistics = self._task.settings, self._statistics
        statistics.read_bytes += sum(len(text.encode()) for text in self._raw)
        documents = np.asarray(self._numbers) + self._task.first_document
        texts, emptied = take_out(
            self._raw, documents=documents, unwanted=everywhere, statistics=statistics
        )
        signed = texts  # a copy is known by its paragraphs, so before these are taken out
        texts, emptied_later = take_out(
            texts, documents=documents, unwanted=paragraphs, statistics=statistics
        )
        texts = [_masked(text, settings, statistics) for text in texts]
        known = [self._columns["language"][number] for number in self._numbers]
        reasons, languages, profiles = judge(
            texts, known, wanted=settings.language, settings=settings.filters
        )
        for place, reason in (emptied_later | emptied).items():
            reasons[place] = reason
        bins = _bins(texts, profiles)
        _histogram(statistics, bins)
        stays: list[str] = []
        for place, reason in enumerate(reasons):
            if reason is not None:
                statistics.drop(reason, texts[place] or self._raw[place])
                continue
            stays.append(signed[place])
            out.bins.append(bins[place])
            out.rows.append(self._row(place, languages[place], texts[place]))
        _sign(stays, settings, out)

    def _row(self, place: int, language: str, text: str) -> tuple[Any, ...]:
        """A row of SCHEMA."""
        column, number = self._columns, self._numbers[place]
        readings = column["readings"][number]
        placed = _moved(_placed(readings, self._raw[place]), self._raw[place], text)
        self._statistics.readings_lost += len(readings) - len(placed)
        given = column["id"][number], column["group"][number]
        terms = column["licence"][number], column["meta"][number]
        return (*given, language, *terms, text, placed)


def _masked(text: str, settings: BuildSettings, statistics: Statistics) -> str:
    text, found = mask(text, kinds=settings.mask.kinds)
    if found:
        statistics.masked_documents += 1
        for kind, number in found.items():
            count(statistics.masked, kind, number)
    return text


def _sign(texts: list[str], settings: BuildSettings, out: _Out) -> None:
    """Signatures and bands; those of short documents are 0, which matches nothing."""
    if not texts or settings.dedup.near == "off":
        size = len(texts)
        out.bands.append(np.zeros((size, settings.dedup.bands), np.uint64))
        out.signatures.append(np.full((size, minhash.BINS), minhash.EMPTY))
        return
    compared = folded(points(texts))
    signature = minhash.signatures(compared, n=settings.dedup.ngram)
    signature[compared.lengths < settings.dedup.letters] = minhash.NOTHING
    out.bands.append(
        minhash.band_hashes(signature, bands=settings.dedup.bands, rows=settings.dedup.rows)
    )
    out.signatures.append(minhash.stored(signature))


def _bins(texts: list[str], profiles: Profiles) -> list[tuple[int, int, int]]:
    """Bin of each document in the histograms of length, kana and smell."""
    shares = [
        np.clip((share * SHARE_BINS).astype(np.int64), 0, SHARE_BINS - 1).tolist()
        for share in (profiles.kana, profiles.smell)
    ]
    lengths = [min(LENGTH_BINS, max(1, len(text)).bit_length()) - 1 for text in texts]
    return list(zip(lengths, *shares, strict=True))


def _histogram(statistics: Statistics, bins: list[tuple[int, int, int]]) -> None:
    sizes = (LENGTH_BINS, SHARE_BINS, SHARE_BINS)
    for place, name in enumerate(("lengths", "kana", "smell")):
        counts = np.bincount([row[place] for row in bins], minlength=sizes[place]).tolist()
        statistics.add_histogram(name, "read", counts)


def _placed(readings: list[dict[str, str]], text: str) -> list[dict[str, Any]]:
    """Find each reading's base in a normalised text, in order."""
    placed: list[dict[str, Any]] = []
    at = 0
    for item in readings:
        base = japanese.normalise(item["base"])
        key = japanese.normalise(item["before"] + item["base"])
        if len(key) == len(base) and at:
            key = f"\n{key}"  # nothing stands in front of it: it begins its line
        # what stands in front may reach back into the base that was placed last
        found = text.find(key, max(0, at - len(key) + len(base)))
        if found < 0 or not base:
            continue
        start = found + len(key) - len(base)
        at = start + len(base)
        reading = japanese.normalise(item["reading"])
        placed.append({"start": start, "base": base, "reading": reading})
    return placed


def _moved(placed: list[dict[str, Any]], before: str, after: str) -> list[dict[str, Any]]:
    """Readings of a text that lost or changed lines: those of the lines that are still there."""
    if before == after or not placed:
        return placed
    old, new = before.split("\n"), after.split("\n")
    starts = [np.cumsum([0] + [len(line) + 1 for line in lines]) for lines in (old, new)]
    target = np.full(len(old), -1)
    for block in difflib.SequenceMatcher(None, old, new).get_matching_blocks():
        target[block.a : block.a + block.size] = np.arange(block.b, block.b + block.size)
    moved: list[dict[str, Any]] = []
    for item in placed:
        line = int(np.searchsorted(starts[0], item["start"], side="right")) - 1
        if target[line] >= 0:
            shift = int(starts[1][target[line]] - starts[0][line])
            moved.append(item | {"start": item["start"] + shift})
    return moved


def _unwanted(directory: Path, settings: BuildSettings) -> tuple[Unwanted, Unwanted]:
    """What leaves before documents are signed, and the repeated paragraphs that leave after."""
    frequent = Part(directory, "frequent", 0)
    items = directory / STAGE / ITEMS
    everywhere = Unwanted(
        boilerplate=np.asarray(frequent.array("boilerplate")),
        boilerplate_characters=settings.dedup.boilerplate_characters,
        items=load_items(items) if items.is_file() else None,
        contamination=settings.contamination,
    )
    repeated = np.asarray(frequent.array("repeated"))
    return everywhere, Unwanted(repeated=repeated, first=np.asarray(frequent.array("first")))


def _documents(out: _Out) -> npt.NDArray[Any]:
    """What the later passes ask about each document, beside its text.

    128 bits of digest: two of 100 million different texts collide with probability 10^-23.
    """
    result = np.zeros(len(out.rows), dtype=DOCUMENT)
    texts = [row[-2].encode() for row in out.rows]
    groups = [row[1].encode() for row in out.rows]
    result["digest"] = hashes(texts, size=16).reshape(-1, 2)
    result["group"] = hashes(groups, size=8)
    result["bytes"] = [len(text) for text in texts]
    result["bins"] = np.asarray(out.bins).reshape(-1, 3)
    return result


def _joined(arrays: list[Any], empty: Any) -> Any:
    return np.concatenate(arrays) if arrays else empty
