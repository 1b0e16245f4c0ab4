"""Clips of a corpus where a stream can cut them anywhere: plain samples, mapped from disk.

Pre-training takes 15 s out of a recording, another 15 s every time. From a compressed file that
costs decoding all of it, so every clip is decoded once, when the run begins: 16 bits a sample at
16 kHz, one after the other in one file a split (115 MB an hour). A crop is then a slice of a mapped
file, and what a step reads costs no time beside what it computes. Beside it stands an Arrow table:
where each clip begins, and, for recognition, the symbols that are said in it.

N clips.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from minna import artifact
from minna.artifact import replace_file
from minna.artifact.manifest import Parent
from minna.console import progress, warn
from minna.corpus.audio import RATE
from minna.corpus.clip_read import Clip, read_clips
from minna.errors import DataError
from minna.models.speech.config import FIELD, HOP, frames_of
from minna.tokenizer.sounds import Sounds
from minna.units import format_count, format_seconds

Float32 = npt.NDArray[np.float32]
Int64 = npt.NDArray[np.int64]

SPLITS = ("train", "valid")
_SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("start", pa.int64()),
        ("samples", pa.int64()),
        ("targets", pa.list_(pa.int16())),
        ("needs", pa.int32()),
    ]
)
_BATCH = 1000
_FULL = 32768
_STEP = np.float32(1 / _FULL)
UNTOLD, UNKNOWN, CROWDED = "nothing_told", "unknown_sound", "too_many_sounds"
"""Why a clip cannot teach recognition: nobody says what is spoken, in a symbol that the vocabulary
has not, or more of it than the clip has frames."""


class SoundRows:
    """One split of what `write_sounds_of` wrote.

    Attributes:
        samples_N: of each clip, at 16 kHz.
        needs_N: frames that CTC needs for what is said in each; 0 where nothing is told.
    """

    def __init__(self, path: Path, *, split: str) -> None:
        self.path, self.split = path, split
        manifest = artifact.read_manifest(path, kind="tokens")
        self.corpus = Path(manifest.parent("corpus").path)
        prefix = f"{split}_left_out_"
        self.left_out = {
            name.removeprefix(prefix): int(one.value)
            for name, one in manifest.counts.items()
            if name.startswith(prefix)
        }
        table: Any = pa.ipc.open_file(pa.memory_map(str(path / f"{split}.arrow"))).read_all()
        self._ids, self._targets = table["id"], table["targets"]
        self._starts_N: Int64 = table["start"].to_numpy()
        self.samples_N: Int64 = table["samples"].to_numpy()
        self.needs_N: Int64 = table["needs"].to_numpy().astype(np.int64)
        file = path / f"{split}.pcm"
        self._pcm: npt.NDArray[np.int16] = (
            np.memmap(file, dtype="<i2", mode="r") if len(table) else np.zeros(0, np.int16)
        )

    def __len__(self) -> int:
        """Number of clips."""
        return len(self.samples_N)

    @property
    def seconds(self) -> float:
        """Of all clips."""
        return float(self.samples_N.sum()) / RATE

    def words(self) -> str:
        """What there is, for the lines before step 0."""
        left = ", ".join(f"{count} {why}" for why, count in self.left_out.items())
        kept = f"{len(self)} clips, {format_seconds(self.seconds)}"
        return kept + (f" (left out: {left})" if left else "")

    def epochs(self, *, tokens: float, row_tokens: int) -> float:  # noqa: ARG002 - as others tell it
        """How often `tokens` frames of training hear all of it."""
        return tokens / max(1, int(frames_of_each(self.samples_N).sum()))

    def id_of(self, number: int) -> str:
        """Return the id of a clip in its corpus."""
        return self._ids[number].as_py()

    def audio_of(self, number: int, *, start: int = 0, samples: int | None = None) -> Float32:
        """Return samples of a clip in [-1, 1): from `start` on, all or so many."""
        there = int(self.samples_N[number])
        end = there if samples is None else min(there, start + samples)
        begin = int(self._starts_N[number])
        return self._pcm[begin + start : begin + end].astype(np.float32) * _STEP

    def targets_of(self, number: int) -> Int64:
        """Return the symbols that are said in a clip."""
        return np.asarray(self._targets[number].as_py(), np.int64)


def frames_of_each(samples_N: Int64) -> Int64:
    """Return how many frames clips of so many samples have."""
    return np.maximum(0, (samples_N - FIELD) // HOP + 1)


def write_sounds_of(corpus: Path, *, sounds: Sounds | None, vocabulary: Path, out: Path) -> Path:
    """Write the clips of a corpus as a stream reads them, or do nothing when they are there.

    Args:
        corpus: of clips.
        sounds: symbols of recognition: clips whose words they cannot write are left out, counted.
            None: pre-training, every clip stays.
        vocabulary: the folder of the run that says so.
        out: the folder.

    Raises:
        DataError: nothing is left to train on.
        ArtifactError: not a corpus of clips; the disk is full.
    """
    parents = [
        artifact.parent_of(corpus, role="corpus", kind="corpus"),
        artifact.parent_of(vocabulary, role="tokenizer"),
    ]
    settings = {"content": "sounds", "symbols": sounds.symbols if sounds else None}
    if artifact.unchanged(out, key=artifact.key_of("tokens", settings=settings, parents=parents)):
        return out
    _write_all(corpus, sounds=sounds, settings=settings, parents=parents, out=out)
    return out


def _write_all(
    corpus: Path,
    *,
    sounds: Sounds | None,
    settings: dict[str, Any],
    parents: list[Parent],
    out: Path,
) -> None:
    with (
        artifact.writing(out, kind="tokens", settings=settings, parents=parents) as draft,
        progress() as bar,
    ):
        task = bar.add_task("samples", total=None, note="")
        for split in SPLITS:
            left: Counter[str] = Counter()
            clips = samples = 0
            with (
                replace_file(draft.path / f"{split}.pcm") as pcm,
                replace_file(draft.path / f"{split}.arrow") as index,
                pa.ipc.new_file(index, _SCHEMA) as writer,
            ):
                for rows in _rows(corpus, split, sounds, pcm, left):
                    writer.write_batch(_record(rows))
                    clips, samples = clips + len(rows), samples + sum(r["samples"] for r in rows)
                    bar.update(task, note=f"{format_count(clips)} clips of {split}")
            if split == "train" and not clips:
                raise _nothing(corpus, left)
            draft.count(f"{split}_clips", clips, "clips")
            draft.count(f"{split}_seconds", round(samples / RATE, 3), "seconds")
            for why, count in sorted(left.items()):
                draft.count(f"{split}_left_out_{why}", count, "clips")
            _warn_of(left, split)


def _rows(
    corpus: Path, split: str, sounds: Sounds | None, pcm: BinaryIO, left: Counter[str]
) -> Iterator[list[dict[str, Any]]]:
    """Write samples, return rows of the index in batches; count what is left out."""
    batch: list[dict[str, Any]] = []
    start = 0
    for clip in read_clips(corpus, split=split):
        targets, needs = ([], 0) if sounds is None else _told(clip, sounds, left)
        if targets is None:
            continue
        content = _sixteen_bits(clip.audio)
        pcm.write(content.tobytes())
        batch.append(
            {
                "id": clip.id,
                "start": start,
                "samples": len(content),
                "targets": targets,
                "needs": needs,
            }
        )
        start += len(content)
        if len(batch) == _BATCH:
            yield batch
            batch = []
    if batch:
        yield batch


def _told(clip: Clip, sounds: Sounds, left: Counter[str]) -> tuple[list[int] | None, int]:
    """Return what is said in a clip, and the frames that this needs; None where it cannot teach."""
    try:
        targets = sounds.encode(sounds.said_in(clip))
    except DataError:
        left[UNKNOWN] += 1
        return None, 0
    if not targets:
        left[UNTOLD] += 1
        return None, 0
    needs = len(targets) + sum(a == b for a, b in itertools.pairwise(targets))
    if needs > frames_of(len(clip.audio)):
        left[CROWDED] += 1
        return None, 0
    return targets, needs


def _sixteen_bits(audio: Float32) -> npt.NDArray[np.int16]:
    """Round samples to 16 bits; those of 16-bit files stay what they were."""
    return np.clip(np.rint(audio * _FULL), -_FULL, _FULL - 1).astype("<i2")


def _record(rows: list[dict[str, Any]]) -> pa.RecordBatch:
    return pa.RecordBatch.from_pylist(rows, schema=_SCHEMA)


def _warn_of(left: Counter[str], split: str) -> None:
    for why, count in left.items():
        warn(f"{count} clips of {split} are left out: {why.replace('_', ' ')}")


def _nothing(corpus: Path, left: Counter[str]) -> DataError:
    if not left:
        return DataError(
            f"the corpus {corpus} has no clip to train on", remedy="give another corpus"
        )
    reasons = ", ".join(f"{count} {why}" for why, count in left.items())
    return DataError(
        f"the corpus {corpus} has no clip whose words can be learned ({reasons})",
        remedy="give transcripts (reading=open-jtalk makes phones of them), or a vocabulary "
        "([tokenizer] inventory) that has these sounds",
    )
