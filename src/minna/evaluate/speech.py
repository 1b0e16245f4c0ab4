"""A recogniser is judged: how much of what is said in a corpus of clips does it get wrong?

Figures are sums of edits over sums of what was said, as the paper has them, with intervals over
groups of clips: what belongs together (a speaker's session, one sentence by many voices) is drawn
together. The report is one like any other, so `minna compare` tests two recognisers clip by clip.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from minna import artifact
from minna.artifact.manifest import Parent, canonical
from minna.console import progress, say, warn
from minna.corpus.audio import BadClipError, open_clip
from minna.corpus.clip_read import holds_clips
from minna.corpus.read import batches
from minna.errors import ArtifactError, DataError
from minna.evaluate.items import Item
from minna.evaluate.report import (
    Cost,
    Data,
    Metric,
    Part,
    Report,
    Task,
    write_items,
    write_report,
)
from minna.evaluate.speech_measures import RATES_OF, counts_of
from minna.evaluate.speech_page import write_speech_page
from minna.metrics.edits import ErrorRate, rate_of
from minna.metrics.interval import Interval, mean_interval
from minna.runtime.ctc import BEAM
from minna.runtime.memory import peak_bytes
from minna.runtime.transcribe import Beam, read_sounds_of

if TYPE_CHECKING:
    from minna.runtime.speech import Recogniser

VERSION: Final = "1"
"""Of the rules; figures of two versions do not compare."""
TASK: Final = "speech_recognition"
RIGHT: Final = "clips_right"
_TITLE: Final[dict[Any, str]] = {"en": "Speech recognition", "ja": "音声認識"}
_COLUMNS: Final = (
    *("id", "group", "source", "speaker", "samples", "rate"),
    *("transcript", "kana", "phones", "audio"),
)


@dataclass(frozen=True, kw_only=True)
class RecognitionSettings:
    """Which clips, and how frames become texts.

    Attributes:
        split: train, valid, test or all.
        beam: prefixes that the search keeps, or "greedy".
    """

    split: str = "test"
    beam: Beam = BEAM


@dataclass(frozen=True, kw_only=True)
class Heard:
    """One clip: what is said in it, and what was understood, in words of sounds."""

    id: str
    group: str
    source: str
    speaker: str
    seconds: float
    transcript: str
    said: list[list[str]]
    heard: list[tuple[str, ...]]


@dataclass(kw_only=True)
class Clips:
    """All clips that were heard, and how many were not.

    Attributes:
        heard: that were.
        silent: that do not say what is said in them.
        bad: problem -> clips that cannot be read.
        frames: of those heard.
    """

    heard: list[Heard] = field(default_factory=list[Heard])
    silent: int = 0
    bad: dict[str, int] = field(default_factory=dict[str, int])
    frames: int = 0


def evaluate_recognition(
    recogniser: Recogniser,
    *,
    model: Parent,
    data: Path,
    out: Path,
    settings: RecognitionSettings | None = None,
) -> Path:
    """Hear the clips of a corpus and write a report; one of the same work is left as it is.

    Args:
        recogniser: the model.
        model: its identity, as `subject.open_subject` gives it.
        data: a corpus of clips that says what is said in them.
        out: the report directory.
        settings: which clips, how they are decoded.

    Raises:
        DataError: no clip of the split says what is said in it.
        ArtifactError: no corpus of clips, or `out` holds something else.
    """
    settings = settings or RecognitionSettings()
    start = time.monotonic()
    if not holds_clips(data):
        raise ArtifactError(
            f"{data} holds no clips, and speech is recognised in them",
            remedy="make a corpus of them: minna corpus build clips --from PATH --out DIR",
        )
    parents = [model, artifact.parent_of(data, role="corpus", kind="corpus")]
    values = {"what": TASK, "version": VERSION, **asdict(settings)}
    if artifact.unchanged(out, key=artifact.key_of("report", settings=values, parents=parents)):
        say(f"{out}: this model has heard these clips already")
        return out
    with artifact.writing(out, kind="report", settings=values, parents=parents) as draft:
        clips = hear(recogniser, data, settings=settings)
        task = task_of(recogniser, clips, data=data, settings=settings)
        report = Report(
            mode="fixed",
            model=model.sha256,
            model_name=recogniser.name,
            tasks=[task],
            cost=Cost(seconds=round(time.monotonic() - start, 3), peak_bytes=peak_bytes()),
        )
        write_items(draft.path, TASK, (asdict(item) for item in items_of(recogniser, clips)))
        write_report(draft.path, report)
        write_speech_page(draft.path, report=report, clips=clips.heard)
        draft.count("clips", len(clips.heard), "clips")
        draft.count("seconds", round(sum(one.seconds for one in clips.heard), 3), "seconds")
        draft.licences = list(artifact.read_manifest(data).licences)
    return out


def hear(recogniser: Recogniser, data: Path, *, settings: RecognitionSettings) -> Clips:
    """Decode the clips of a split that say what is said in them.

    Raises:
        DataError: there is none, a clip says what the model has no symbol for, or the model gives
            no numbers.
    """
    clips = Clips()
    sounds = recogniser.sounds
    with progress() as bar:
        task = bar.add_task("recognise", total=None, note="")
        for row in _rows(data, settings.split):
            said = sounds.said_in(_Told(row["phones"], row["kana"]))
            if not any(said):
                clips.silent += 1
                continue
            sounds.encode(said)  # a sound that it can never write is a mistake, and no error of it
            try:
                samples = open_clip(row["audio"])
            except BadClipError as error:
                clips.bad[error.problem] = clips.bad.get(error.problem, 0) + 1
                continue
            reading = read_sounds_of(recogniser, samples, beam=settings.beam)
            clips.heard.append(
                Heard(
                    id=row["id"],
                    group=row["group"],
                    source=row["source"],
                    speaker=row["speaker"],
                    seconds=row["samples"] / row["rate"],
                    transcript=row["transcript"],
                    said=said,
                    heard=sounds.words(reading.ids),
                )
            )
            bar.update(task, completed=len(clips.heard))
    if not clips.heard:
        raise DataError(
            f"the split {settings.split!r} of {data} has no clip that says its {sounds.kind} "
            f"({clips.silent} without, {sum(clips.bad.values())} that cannot be read)",
            remedy="give a corpus with transcripts, or another --split",
        )
    if clips.silent or clips.bad:
        told = "".join(f", {count} are {problem}" for problem, count in clips.bad.items())
        warn(f"left out: {clips.silent} clips do not say their {sounds.kind}{told}")
    return clips


@dataclass(frozen=True)
class _Told:
    phones: str
    kana: str


def _rows(data: Path, split: str) -> Iterator[dict[str, Any]]:
    for batch in batches(data, split=split, columns=_COLUMNS):
        yield from batch.to_pylist()


def task_of(
    recogniser: Recogniser, clips: Clips, *, data: Path, settings: RecognitionSettings
) -> Task:
    """The report's one task."""
    kind = recogniser.sounds.kind
    rates = RATES_OF[kind]
    heard = clips.heard
    counts = {rate: _counts(rate, heard) for rate in rates}
    groups = _groups(heard)
    metrics = {rate: _metric(rate_of(one, groups=groups)) for rate, one in counts.items()}
    right = (counts[rates[-1]][:, :3].sum(axis=1) == 0).astype(np.float64)
    metrics[RIGHT] = _percent(mean_interval(right, groups=groups))
    main = rate_of(counts[rates[0]], resamples=1)
    return Task(
        name=TASK,
        title=_TITLE,
        version=VERSION,
        prompt=kind,
        n=len(heard),
        main=rates[0],
        data=Data(sha256=_hash(recogniser, heard), title=str(data), split=settings.split),
        conditions={
            "sounds": kind,
            "symbols": recogniser.sounds.size,
            "decoding": "best path" if settings.beam == "greedy" else f"beam {settings.beam}",
            "seconds": round(sum(one.seconds for one in heard), 1),
            "groups": len(set(groups)),
            "speakers": len({one.speaker for one in heard if one.speaker}),
            "substitutions": main.substitutions,
            "insertions": main.insertions,
            "deletions": main.deletions,
            "reference_units": main.reference,
            "clips_without_text": clips.silent,
            "clips_bad": sum(clips.bad.values()),
        },
        metrics=metrics,
        sources=_parts(heard, counts),
    )


def items_of(recogniser: Recogniser, clips: Clips) -> list[Item]:
    """A line for each clip: what is said, what was understood."""
    sounds = recogniser.sounds
    items: list[Item] = []
    for one in clips.heard:
        said, heard = sounds.told(one.said), sounds.told(one.heard)
        items.append(
            Item(
                id=one.id,
                group=one.group,
                gold=(said,),
                prediction=heard,
                scores={RIGHT: float(said == heard)},
                context=one.transcript,
                text=heard,
            )
        )
    return items


def _counts(rate: str, heard: Sequence[Heard]) -> NDArray[np.int64]:
    return counts_of(rate, [one.said for one in heard], [one.heard for one in heard])


def _groups(heard: Sequence[Heard]) -> list[str]:
    return [one.group or one.id for one in heard]


def _parts(heard: Sequence[Heard], counts: dict[str, NDArray[np.int64]]) -> dict[str, Part]:
    """The same figures of each source and speaker, where there are several."""
    parts: dict[str, Part] = {}
    for what in ("source", "speaker"):
        names = [getattr(one, what) for one in heard]
        if len(set(names)) < 2:  # noqa: PLR2004 - a part that is all is none
            continue
        for name in sorted(set(names)):
            mine = [place for place, one in enumerate(names) if one == name]
            groups = _groups([heard[place] for place in mine])
            said = {rate: one[mine] for rate, one in counts.items() if one[mine, 3].any()}
            if said:
                parts[f"{what} {name or 'not stated'}"] = Part(
                    n=len(mine),
                    metrics={
                        rate: _metric(rate_of(one, groups=groups)) for rate, one in said.items()
                    },
                )
    return parts


def _metric(found: ErrorRate) -> Metric:
    return _percent(found.rate)


def _percent(found: Interval) -> Metric:
    return Metric(
        value=100 * found.value, low=100 * found.low, high=100 * found.high, unit="percent"
    )


def _hash(recogniser: Recogniser, heard: Sequence[Heard]) -> str:
    """Over the ids of the clips and what is said in them."""
    total = hashlib.sha256(recogniser.sounds.kind.encode())
    for one in heard:
        total.update(canonical([one.id, one.group, one.said]).encode() + b"\n")
    return total.hexdigest()
