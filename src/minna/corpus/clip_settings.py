"""What a clip corpus is built from and how, and what its sources hand to the passes.

A source says what determines it before a second is heard, gives its recordings in shards that can
be read again, and judges none of them: whether a recording opens, is silent, a copy or too long is
decided in one place for all (`clip_hear.py`, `clip_select.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass as plain_dataclass
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple, Protocol, Self

from pydantic import ConfigDict, Field, model_validator
from pydantic.dataclasses import dataclass

from minna.artifact import Licence, Parent
from minna.corpus.synth_speakers import VARIANTS

_COLUMNS: Final = ("file", "text", "kana", "speaker")
_SPOKEN: Final = ("speakers", "takes", "surroundings", "field", "licence", "attribution")
READS: Final = {
    "clips": (
        "licence", "attribution", "files", "revision", "audio", "source_name", "longest",
        "shortest", "clipped", "store", "group_by", "splits", "reading", *_COLUMNS,
    ),
    "synth": (*_SPOKEN, "engine", "voice_files", "voice_licence", "voice_attribution"),
    "synth-en": (*_SPOKEN, "voices"),
}  # fmt: skip
"""Settings that one source reads and another may not."""


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class ClipSettings:
    """Settings of `corpus build clips`, `synth` and `synth-en`.

    Attributes:
        source: "clips" (recordings that somebody has), "synth" (Japanese text, spoken by a
            program), "synth-en" (English text, spoken by another one).
        path: where the recordings, or the table that names them, lie, or hub:OWNER/NAME (clips);
            the text that is spoken: lines, or a corpus of text (synth, synth-en).
        limit: only the first so many recordings are read, or made.
        valid: share of groups (synth: of sentences and of speakers) held out while training.
        test: the same for the final numbers.
        seed: which groups are held out; who says what, how and where (synth).
        workers: processes (None: one for each core). The result does not depend on it.
        licence: terms of the recordings, where a row does not state its own (clips); of the text
            (synth, synth-en).
        attribution: whom to credit.
        files: which files of a folder or a Hub repository, such as "*.tar" ("": all that the
            layout has) (clips).
        revision: branch, tag or commit of a Hub repository (clips).
        audio: folder of the recordings that a table names (None: the table's own) (clips).
        source_name: the word in the column `source` (clips).
        longest: seconds. Longer recordings are cut where nobody speaks; with a transcript, which
            cannot be cut, they are left out (clips).
        shortest: seconds; what is shorter is left out (clips).
        clipped: share of samples at full scale from which a recording is left out (clips).
        store: "own": the file's own bytes where it is FLAC, WAV, Ogg or MP3; "flac" or "opus": one
            channel at 16,000 Hz in that form (clips).
        group_by: what must not straddle a split: a recording, a speaker (where one is stated), or a
            text (where one is) (clips).
        splits: "drawn": by group; "stated": as the column `split`, or the name of a folder or a
            file, says (train, dev or valid, test or eval), the rest "train" (clips).
        reading: "open-jtalk": phones and kana of transcripts that state none, read from their
            surface; "none": only what is stated (clips).
        file: column of the recording, or of its file's name ("": by the usual names) (clips).
        text: column of the transcript (the same).
        kana: column of its reading (the same).
        speaker: column of who speaks (the same).
        speakers: how many (synth, synth-en).
        takes: by how many speakers each sentence is said (synth, synth-en).
        surroundings: "mixed": rooms, noise and loudness differ; "none": all are dry (synth,
            synth-en).
        field: .jsonl, .parquet: name of the text (synth, synth-en).
        engine: "hts_engine" (a program; tells when each phone is said), "pyopenjtalk" (does not),
            or "auto": the first that is there (synth).
        voice_files: an .htsvoice file, or a folder of them, that speakers are made of in turn
            (None: the one that pyopenjtalk-plus brings) (synth).
        voice_licence: their terms (synth).
        voice_attribution: whom to credit for them (synth).
        voices: of espeak-ng, that speakers are made of in turn (synth-en).
    """

    source: Literal["clips", "synth", "synth-en"]
    path: Path | None = None
    limit: int | None = Field(default=None, ge=1)
    valid: float = Field(default=0.05, ge=0, lt=1)
    test: float = Field(default=0.05, ge=0, lt=1)
    seed: int = Field(default=0, ge=0)
    workers: int | None = Field(default=None, ge=1)
    licence: str = "not stated"
    attribution: str = ""
    files: str = ""
    revision: str = "main"
    audio: Path | None = None
    source_name: str = Field(default="clips", min_length=1)
    longest: float = Field(default=30.0, ge=1)
    shortest: float = Field(default=0.1, ge=0.025)
    clipped: float = Field(default=0.01, gt=0, le=1)
    store: Literal["own", "flac", "opus"] = "own"
    group_by: Literal["recording", "speaker", "text"] = "recording"
    splits: Literal["drawn", "stated"] = "drawn"
    reading: Literal["open-jtalk", "none"] = "open-jtalk"
    file: str = ""
    text: str = ""
    kana: str = ""
    speaker: str = ""
    speakers: int = Field(default=30, ge=1, le=10_000)
    takes: int = Field(default=1, ge=1)
    surroundings: Literal["mixed", "none"] = "mixed"
    field: str = "text"
    engine: Literal["auto", "hts_engine", "pyopenjtalk"] = "auto"
    voice_files: Path | None = None
    voice_licence: str = "not stated"
    voice_attribution: str = ""
    voices: int = Field(default=len(VARIANTS), ge=1, le=len(VARIANTS))

    @model_validator(mode="after")
    def _leave_something(self) -> Self:
        if self.valid + self.test >= 1:
            raise ValueError(f"valid {self.valid} + test {self.test} must be under 1")
        if self.shortest >= self.longest:
            raise ValueError(f"shortest {self.shortest} must be under longest {self.longest}")
        told = self.voice_attribution or self.voice_licence != "not stated"
        if told and self.voice_files is None:
            raise ValueError(
                "voice_licence and voice_attribution are of voice_files: give them too"
            )
        return self


class Section(NamedTuple):
    """A stretch of a recording of which something is said.

    Attributes:
        start, end: in seconds; no end: that of the recording.
        transcript, kana, phones: as the source states them, "" where it does not.
        times: ends of the phones in seconds from the start of the section.
        speaker: "" where it is the recording's.
        problem: why it cannot be used, "" where that is still to be seen.
    """

    start: float = 0.0
    end: float | None = None
    transcript: str = ""
    kana: str = ""
    phones: str = ""
    times: tuple[float, ...] = ()
    speaker: str = ""
    problem: str = ""


class GivenClip(NamedTuple):
    """One recording as its source holds it.

    Attributes:
        content: a file's bytes (or what its shard's `make` turns into one).
        sections: what is said of it; one without an end is the whole.
        source, licence: of the row.
        speaker: "" unknown.
        group: what must not straddle a split with it, where the source knows; "" where not.
        split: where the source states one.
        problem: why it cannot be used, "" where that is still to be seen.
    """

    content: bytes
    sections: tuple[Section, ...]
    source: str
    licence: str
    speaker: str = ""
    group: str = ""
    split: str = ""
    problem: str = ""


Make = Callable[[GivenClip], GivenClip]
"""Turns what a source gives into a recording, in another process."""


@plain_dataclass(frozen=True, slots=True, kw_only=True)
class ClipShard:
    """A part of a source that can be read again and always reads the same.

    Attributes:
        name: for messages.
        read: yields its recordings.
        make: a function of a module, or a partial of one; None where `content` is a recording.
            What was made is kept, not made twice.
    """

    name: str
    read: Callable[[], Iterator[GivenClip]]
    make: Make | None = None


class ClipSource(Protocol):
    """Where recordings come from.

    Attributes:
        decided: what determines them, known without opening them.
        parents: directories they are made of.
        licences, legal: their terms.
        remarks: what the card says of them besides, (Japanese, English).
    """

    decided: dict[str, Any]
    parents: list[Parent]
    licences: list[Licence]
    legal: list[str]
    remarks: list[tuple[str, str]]

    def shards(self) -> Sequence[ClipShard]:
        """The parts, always in the same order."""
        ...
