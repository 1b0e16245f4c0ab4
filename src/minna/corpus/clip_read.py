"""Reading a corpus of clips back: in file order, one row group (8 MB) in memory at once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

import numpy as np

from minna.artifact import read_manifest
from minna.corpus.audio import Float32, open_clip
from minna.corpus.clip_rows import CLIP_COLUMNS, timed_phones, words_of
from minna.corpus.read import batches
from minna.errors import ArtifactError

_NO_SOUND: Final[Float32] = np.zeros(0, np.float32)


@dataclass(frozen=True, slots=True, kw_only=True)
class Clip:
    """A recording and what is said in it.

    Attributes:
        id, group, split, source, speaker: of the row; speaker "" where none is stated.
        samples: in its file, at `rate`.
        rate: of its file.
        transcript, kana, phones: "" where unknown.
        times: ends of the phones in seconds; none where unknown.
        audio: one channel at 16,000 Hz in [-1, 1]; no samples where audio is left unread.
    """

    id: str
    group: str
    split: str
    source: str
    speaker: str
    samples: int
    rate: int
    transcript: str
    kana: str
    phones: str
    times: tuple[float, ...]
    audio: Float32

    @property
    def seconds(self) -> float:
        """How long it is."""
        return self.samples / self.rate

    @property
    def words(self) -> list[list[str]]:
        """Words of phones, silences left out."""
        return words_of(self.phones)

    @property
    def timed(self) -> list[tuple[str, float, float]]:
        """(phone, start, end) in seconds, silences among them; none where times are unknown."""
        return timed_phones(self.phones, self.times)


def holds_clips(corpus: Path) -> bool:
    """Whether a corpus is one of clips.

    Raises:
        ArtifactError: not a corpus.
    """
    return "clips" in read_manifest(corpus, kind="corpus").counts


def read_clips(
    corpus: Path, *, split: str, audio: Literal["read", "left"] = "read"
) -> Iterator[Clip]:
    """Return the clips of a split in file order, one row group (8 MB) in memory at a time.

    Args:
        corpus: a corpus of clips.
        split: train, valid, test or all.
        audio: "left" decodes nothing (`audio` has no samples): for transcripts and lengths alone.

    Raises:
        ArtifactError: not a corpus of clips, or (while reading) a file is missing or damaged.
        UsageError: (while reading) no such split.
        BadClipError: (while reading) a clip of it cannot be decoded any more.
        MissingExtraError: (while reading) soundfile or soxr is not installed.
    """
    if not holds_clips(corpus):
        raise ArtifactError(
            f"{corpus} holds no clips",
            remedy="make a corpus of them: minna corpus build clips --from PATH --out DIR",
        )
    return _read(corpus, split, audio)


def _read(corpus: Path, split: str, audio: Literal["read", "left"]) -> Iterator[Clip]:
    columns = tuple(
        name for name in CLIP_COLUMNS if name != "licence" and (name != "audio" or audio == "read")
    )
    for batch in batches(corpus, split=split, columns=columns):
        for row in batch.to_pylist():
            content = row.pop("audio", b"")
            sound = open_clip(content) if audio == "read" else _NO_SOUND
            yield Clip(**row | {"times": tuple(row["times"]), "audio": sound})
