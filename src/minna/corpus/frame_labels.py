"""Labels of frames, read beside their corpus: what HuBERT learns to say of hidden frames.

`minna label kmeans` writes them at 100 a second (of MFCC) or 50 (of a layer of a model), and
encoders have 50 frames a second: the label of frame i is number floor(i x rate x 320 / 16000),
which covers the very same samples. The commonest mistakes with such labels run for days before they
show: the rate of the first iteration in the second, the labels of another model or corpus. So rate,
model and corpus are in the side-car, and what does not fit is an error before the first step.

Labels are mapped from disk; an index of 24 bytes a clip is held in memory.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from minna.artifact import read_manifest
from minna.corpus.sidecar_rows import open_sidecar
from minna.errors import ArtifactError, DataError

LABEL: Final = "kmeans"
"""`label` in the settings of such a side-car."""
LABEL_SCHEMA: Final = pa.schema(
    [
        ("id", pa.string()),
        ("start", pa.int64()),
        ("frames", pa.int32()),
        ("distance", pa.float32()),
    ]
)
"""Of data/NNNNN.parquet: where the labels of a clip begin in data/NNNNN.npy, how many they are, and
the mean squared distance of its frames from their centres."""
RATES: Final = (50, 100)
_SAMPLE_RATE, _HOP = 16_000, 320
_VERB: Final = "label kmeans"
_AGAIN: Final = "make it again: minna label kmeans"


class Labels:
    """Labels of a corpus's clips.

    Attributes:
        rate: labels of a second.
        clusters: labels are below it.
        features: what was clustered, in words.
        digest: of the model whose layer was clustered, or of how MFCC are computed.
    """

    def __init__(self, path: Path, settings: dict[str, Any], parts: list[_Part]) -> None:
        self._path = path
        self.rate = int(settings["rate"])
        self.clusters = int(settings["clusters"])
        self.digest = str(settings["digest"])
        self.features = str(settings["by"])
        self._labels = [part.labels for part in parts]
        keys = np.concatenate([np.zeros(0, np.uint64), *(part.keys for part in parts)])
        starts = np.concatenate([np.zeros(0, np.int64), *(part.starts for part in parts)])
        frames = np.concatenate([np.zeros(0, np.int32), *(part.frames for part in parts)])
        where = np.repeat(np.arange(len(parts), dtype=np.int32), [len(part.keys) for part in parts])
        order = np.argsort(keys, kind="stable")
        self._keys, self._starts = keys[order], starts[order]
        self._frames, self._where = frames[order], where[order]

    def __len__(self) -> int:
        """Clips."""
        return len(self._keys)

    def conv_frames(self, id: str) -> int:  # noqa: A002 - what the column is called
        """How many frames of an encoder a clip has labels for.

        Raises:
            ArtifactError: no such clip.
        """
        count = int(self._frames[self._row(id)])
        return (count - 1) * _SAMPLE_RATE // (_HOP * self.rate) + 1 if count else 0

    def of(self, id: str, start_frame: int, frames: int) -> NDArray[np.int64]:  # noqa: A002
        """Return the labels of an encoder's frames.

        Args:
            id: of the clip.
            start_frame: the first, in frames of 20 ms from the start of the clip.
            frames: how many.

        Raises:
            ArtifactError: no such clip.
            DataError: frames that the clip does not have.
        """
        row = self._row(id)
        there = self.conv_frames(id)
        if start_frame < 0 or frames < 0 or start_frame + frames > there:
            raise DataError(
                f"{self._path} has labels for {there} frames of clip {id}, and frames "
                f"{start_frame} to {start_frame + frames} were asked for",
                remedy="count frames of 320 samples, of audio at 16,000 Hz; if the corpus is the "
                f"same, {_AGAIN}",
            )
        places = np.arange(start_frame, start_frame + frames) * (self.rate * _HOP) // _SAMPLE_RATE
        labels = self._labels[self._where[row]]
        return labels[self._starts[row] + places].astype(np.int64)

    def _row(self, id: str) -> int:  # noqa: A002
        key = key_of_id(id)
        row = int(np.searchsorted(self._keys, key))
        if row == len(self._keys) or self._keys[row] != key:
            raise ArtifactError(
                f"{self._path} has no labels of clip {id}",
                remedy="give the corpus it was made of",
            )
        return row


class _Part:
    """The labels of one file of the corpus."""

    def __init__(self, file: Path) -> None:
        try:
            table = pq.read_table(file, columns=["id", "start", "frames"])
            self.labels: NDArray[np.uint16] = np.load(
                file.with_suffix(".npy"), mmap_mode="r", allow_pickle=False
            )
        except (pa.ArrowException, OSError, ValueError, EOFError) as error:
            raise ArtifactError(f"{file} cannot be read: {error}", remedy=_AGAIN) from error
        ids: list[str] = table.column("id").to_pylist()
        self.keys = np.fromiter(map(key_of_id, ids), dtype=np.uint64, count=len(ids))
        self.starts = table.column("start").to_numpy()
        self.frames = table.column("frames").to_numpy()
        total = int(self.frames.sum())
        if self.labels.dtype != np.uint16 or self.labels.shape != (total,):
            raise ArtifactError(
                f"{file} tells of {total} labels, and {file.with_suffix('.npy').name} holds "
                f"{self.labels.dtype} {self.labels.shape}",
                remedy=_AGAIN,
            )


def key_of_id(id: str) -> int:  # noqa: A002
    """64 bits that stand for a clip's id."""
    return int.from_bytes(hashlib.blake2b(id.encode(), digest_size=8).digest(), "big")


def label_files(sidecar: Path) -> list[Path]:
    """Return data/NNNNN.parquet of a side-car, in order.

    Raises:
        ArtifactError: not a side-car.
    """
    names = read_manifest(sidecar, kind="sidecar").files
    found = sorted(name for name in names if name.startswith("data/"))
    return [sidecar / name for name in found if name.endswith(".parquet")]


def open_labels(
    sidecar: Path, corpus: Path, *, rate: int | None = None, digest: str | None = None
) -> Labels:
    """Open the labels of a corpus.

    Args:
        sidecar: what `minna label kmeans` wrote.
        corpus: the corpus that it was made of.
        rate: labels of a second that are counted on; None takes any.
        digest: of the model whose layer must have been clustered; None takes any.

    Raises:
        ArtifactError: of another corpus, rate or model than asked for; or damaged.
        UsageError: a side-car of another kind.
    """
    manifest, _ = open_sidecar(
        corpus, sidecar, labels={LABEL: _VERB}, used="labels of frames are needed"
    )
    settings = manifest.settings
    if rate is not None and settings["rate"] != rate:
        raise ArtifactError(
            f"{sidecar} has {settings['rate']} labels a second (of {settings['by']}), and {rate} "
            "were counted on",
            remedy=f"give labels of {rate} a second: MFCC have 100, layers of models 50",
        )
    if digest is not None and settings["digest"] != digest:
        raise ArtifactError(
            f"{sidecar} holds clusters of {settings['by']} ({settings['digest'][:12]}), and those "
            f"of {digest[:12]} were counted on",
            remedy="clusters belong to one checkpoint: make them again of this one",
        )
    return Labels(sidecar, settings, [_Part(file) for file in label_files(sidecar)])
