"""First pass over a clip corpus: every recording is heard once, on all cores, and described.

A long recording becomes several clips here; what is cut, or made by a program, is kept beside its
description, since it costs a hundred times what reading a file again does. A transcript is read
aloud in the same breath (`phonemes.py`): its phones stand in the row, so no training needs a
dictionary.
"""

from __future__ import annotations

import functools
import hashlib
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import pyarrow as pa

from minna.corpus import japanese
from minna.corpus.audio import (
    RATE,
    ROUGH,
    BadClipError,
    Float32,
    Head,
    head_of,
    loudness,
    open_clip,
    store_clip,
)
from minna.corpus.clip_cut import speech_spans
from minna.corpus.clip_rows import BOUNDARY, PAUSE, phones_told
from minna.corpus.clip_settings import ClipSettings, ClipShard, GivenClip, Make, Section
from minna.corpus.passes.blobs import BlobShard, in_chunks, measure_shards, write_seen
from minna.corpus.passes.stage import Part
from minna.corpus.phonemes import (
    OPEN_JTALK,
    load_inventory,
    read_aloud,
    same_reading,
    spoken_kana,
)
from minna.corpus.workers import Workers
from minna.errors import DataError

NAME: Final = "clips"
NOTES: Final = ("unread", "reading_differs", "not_japanese")
"""What may be noted of a clip that stays: no phones could be made of its transcript."""
SEEN: Final = pa.schema(
    [
        ("given", pa.int64()),
        ("problem", pa.string()),
        ("note", pa.string()),
        ("digest", pa.binary(16)),
        ("sound", pa.binary(16)),
        ("content", pa.binary(16)),
        ("samples", pa.int64()),
        ("rate", pa.int32()),
        ("level", pa.float32()),
        ("group", pa.string()),
        ("speaker", pa.string()),
        ("split", pa.string()),
        ("transcript", pa.string()),
        ("kana", pa.string()),
        ("phones", pa.string()),
        ("times", pa.list_(pa.float32())),
        ("stored", pa.binary()),
    ]
)
_NO_DIGEST: Final = bytes(16)
_CHUNK_BYTES: Final = 8_000_000
_CHUNK_CLIPS: Final = 64
_SILENT: Final = 1e-3  # of full scale: nobody speaks under -60 dB
_SLACK: Final = 0.1  # seconds that a section may end behind its recording
_KEPT_FORMATS: Final = frozenset({"WAV", "WAVEX", "FLAC", "OGG", "MP3", "MPEG"})
_SPACE = re.compile(r"\s+")
_JAPANESE = re.compile("[\u3041-\u3096\u30a1-\u30fa\u3400-\u9fff\uff66-\uff9d]")


class Look(NamedTuple):
    """What is known of one clip of a recording; `stored` is empty where the file is kept."""

    problem: str = ""
    note: str = ""
    digest: bytes = _NO_DIGEST
    sound: bytes = _NO_DIGEST
    content: bytes = _NO_DIGEST
    samples: int = 0
    rate: int = 0
    level: float = 0.0
    group: str = ""
    speaker: str = ""
    split: str = ""
    transcript: str = ""
    kana: str = ""
    phones: str = ""
    times: tuple[float, ...] = ()
    stored: bytes = b""


def measure(
    shards: Iterable[ClipShard],
    *,
    directory: Path,
    settings: ClipSettings,
    workers: Workers,
    tell: Callable[[int], None],
) -> int:
    """Describe all recordings in parts of the stage, one a shard; return the number of parts.

    Args:
        shards: of the source.
        directory: the draft of the corpus.
        settings: what a clip must be.
        workers: who listens.
        tell: is given the number of clips just described.

    Raises:
        DataError: the source cannot be read, or a process was killed.
    """

    def write(part: Part, shard: BlobShard[GivenClip], given: Iterator[GivenClip]) -> int:
        assert isinstance(shard, ClipShard)  # that is what `shards` are
        counted = _Counted(given)
        described = _described(counted, make=shard.make, settings=settings, workers=workers)
        write_seen(part, described, schema=SEEN, tell=tell)
        return counted.count

    return measure_shards(
        shards, directory=directory, name=NAME, limit=settings.limit, write=write, tell=tell
    )


class _Counted:
    """What passes, counted."""

    def __init__(self, items: Iterable[GivenClip]) -> None:
        self._items = items
        self.count = 0

    def __iter__(self) -> Iterator[GivenClip]:
        for item in self._items:
            self.count += 1
            yield item


def _described(
    given: Iterable[GivenClip], *, make: Make | None, settings: ClipSettings, workers: Workers
) -> Iterator[dict[str, Any]]:
    """The clips of each recording, in order."""
    chunks = in_chunks(given, size=_bytes, most_bytes=_CHUNK_BYTES, most=_CHUNK_CLIPS)
    listen = functools.partial(_hear_all, make=make, settings=settings)
    number = 0
    for heard in workers.in_order(listen, chunks):
        for clips in heard:
            for clip in clips:
                yield clip._asdict() | {"given": number}
            number += 1


def _bytes(one: GivenClip) -> int:
    return len(one.content)


def _hear_all(
    given: list[GivenClip], *, make: Make | None, settings: ClipSettings
) -> list[list[Look]]:
    return [hear(one, make=make, settings=settings) for one in given]


def hear(given: GivenClip, *, make: Make | None, settings: ClipSettings) -> list[Look]:
    """The clips of one recording, at least one: a problem is described too."""
    content = hashlib.sha256(given.content).digest()[:16]
    common = Look(content=content, group=given.group or content.hex()[:16], split=given.split)
    if given.problem:
        return [common._replace(problem=given.problem)]
    try:
        made = make(given) if make is not None else given
        head = head_of(made.content)
        samples = open_clip(made.content)
    except BadClipError as error:
        return [common._replace(problem=error.problem)]
    sections = list(_sections(made, samples, settings))
    if not sections:
        return [common._replace(problem="silent")]
    kept = head.format in _KEPT_FORMATS and settings.store == "own"
    whole = len(sections) == 1 and sections[0].start == 0 and sections[0].end is None
    found: list[Look] = []
    for section in sections:
        look = _told(common, section, speaker=section.speaker or made.speaker, settings=settings)
        start = round(section.start * RATE)
        end = len(samples) if section.end is None else round(section.end * RATE)
        problem = section.problem or _span_problem(start, end, len(samples), settings)
        problem = problem or look.problem
        piece = samples[start:end]
        if not problem:
            look, problem = _sounding(look, piece, settings)
        if problem:
            found.append(look._replace(problem=problem))
        elif whole and kept:
            found.append(_as_it_is(look, made.content, head, len(samples), made=make is not None))
        else:
            found.append(_encoded(look, piece, settings))
    return found


def _sections(made: GivenClip, samples: Float32, settings: ClipSettings) -> Iterator[Section]:
    """What the source states; or where somebody speaks, in a recording that is too long."""
    alone = made.sections[0] if len(made.sections) == 1 else None
    seconds = len(samples) / RATE
    if alone is None or alone.end is not None or alone.start or seconds <= settings.longest:
        yield from made.sections
    elif alone.transcript or alone.phones:
        yield alone  # it cannot be cut, and is too long
    else:
        for start, end in speech_spans(samples, longest=settings.longest):
            yield alone._replace(start=start / RATE, end=end / RATE)


def _span_problem(start: int, end: int, samples: int, settings: ClipSettings) -> str:
    if start < 0 or start >= end or end > samples + _SLACK * RATE or start >= samples:
        return "outside_recording"
    seconds = (min(end, samples) - start) / RATE
    if seconds > settings.longest:
        return "too_long"
    return "too_short" if seconds < settings.shortest else ""


def _sounding(look: Look, piece: Float32, settings: ClipSettings) -> tuple[Look, str]:
    """How loud a clip is, and what is wrong with it."""
    loud = loudness(piece)
    sound = np.round(piece * 32767).astype("<i2")
    look = look._replace(level=loud.level, sound=hashlib.sha256(sound.tobytes()).digest()[:16])
    if loud.peak < _SILENT:
        return look, "silent"
    return look, "clipped" if loud.clipped >= settings.clipped else ""


def _as_it_is(look: Look, content: bytes, head: Head, samples: int, *, made: bool) -> Look:
    """A whole file, kept as it is; what was made is kept beside its description."""
    rough = head.format in ROUGH
    return look._replace(
        digest=hashlib.sha256(content).digest()[:16],
        samples=round(samples * head.rate / RATE) if rough else head.frames,
        rate=head.rate,
        stored=content if made else b"",
    )


def _encoded(look: Look, piece: Float32, settings: ClipSettings) -> Look:
    """A piece of a recording, or one in another form than its file's."""
    stored = store_clip(piece, form="opus" if settings.store == "opus" else "flac")
    return look._replace(
        digest=hashlib.sha256(stored).digest()[:16],
        samples=len(piece),
        rate=RATE,
        stored=stored,
    )


# ---- what is said


def one_line(text: str) -> str:
    """A transcript as it stands in a row: normalised, in one line."""
    return _SPACE.sub(" ", japanese.normalise(text)).strip()


def _told(common: Look, section: Section, *, speaker: str, settings: ClipSettings) -> Look:
    """The clip with its transcript, kana, phones and times."""
    look = common._replace(
        speaker=one_line(speaker),
        transcript=one_line(section.transcript),
        kana=spoken_kana(japanese.normalise(section.kana)),
    )
    look = look._replace(group=_group(look, settings))
    if section.phones:
        return _stated(look, section)
    if not look.transcript or settings.reading == "none" or settings.source != "clips":
        return look
    if not _JAPANESE.search(look.transcript):
        return look._replace(note="not_japanese")
    try:
        reading = read_aloud(look.transcript)
    except DataError:
        return look._replace(note="unread")
    if reading.unread or not reading.words:
        return look._replace(note="unread")
    if look.kana and not same_reading(look.kana, reading.kana):
        return look._replace(note="reading_differs")
    return look._replace(kana=reading.kana, phones=phones_told(reading.words))


def _group(look: Look, settings: ClipSettings) -> str:
    """What must not straddle a split with this clip."""
    if settings.group_by == "speaker" and look.speaker:
        return f"speaker {look.speaker}"
    if settings.group_by == "text" and look.transcript:
        return f"text {hashlib.sha256(look.transcript.encode()).hexdigest()[:16]}"
    return look.group


def _stated(look: Look, section: Section) -> Look:
    """A clip whose phones the source states."""
    names = section.phones.replace("sil", PAUSE).split()
    try:
        phones = load_inventory(OPEN_JTALK).folded(names)
    except DataError:
        return look._replace(problem="unknown_phone")
    times = section.times
    if times:
        spoken = sum(phone != BOUNDARY for phone in phones)
        grows = all(a <= b for a, b in zip((0.0, *times[:-1]), times, strict=True))
        if len(times) != spoken or not grows:
            return look._replace(problem="bad_times")
    words = [word.split() for word in " ".join(phones).split(BOUNDARY)]
    return look._replace(phones=phones_told(words), times=tuple(times))
