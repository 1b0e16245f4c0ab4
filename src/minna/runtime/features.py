"""What a locked image tower makes of every picture, computed once and read for ever after.

A tower that does not learn says the same of a picture in every epoch. On two cores EfficientNet-
Lite0 sees 20 pictures a second and a text tower learns from 5,000 captions in that time, so nothing
else decides how long training takes. Augmented views are enumerated: view 0 is the plain picture,
the others are crops drawn from (seed, picture, view), and an epoch shows one of them.

Features lie in the cache, under a key made of the corpus's content, the tower's weights, its
preprocessing, the rows and the views: three losses times three seeds read the same file, and
another tower never reads it. They are fp16, [rows, views, W], memory-mapped: 2.6 kB a view of
Lite0.

A fill that is stopped goes on where it was: every part of 256 pictures is a file until all are
there.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch
from filelock import FileLock

from minna.artifact import read_manifest, replace_file
from minna.artifact.cache import cache_directory
from minna.artifact.manifest import canonical
from minna.console import progress, say
from minna.corpus.pair_corpus import Pair, read_pairs
from minna.corpus.pictures import open_picture
from minna.errors import ArtifactError
from minna.models.pictures.shapes import seeing
from minna.models.pictures.towers import ImageTower
from minna.runtime.towers import open_tower, tower_digest
from minna.units import format_bytes

if TYPE_CHECKING:
    from PIL.Image import Image

_PART = 256  # pictures of a part: what a kill can lose
_ONCE = 32  # pictures of a forward pass
_FILE = "features.npy"


@dataclass(frozen=True, kw_only=True)
class Which:
    """Which pictures, and how they are shown.

    Attributes:
        split: train, valid, test or all.
        sources: of the corpus; () is all.
        views: of each picture: 1 is the plain one alone.
        seed: of the crops.
        pixels: side of the pictures the tower sees; 0 is its own.
    """

    split: str
    sources: tuple[str, ...] = ()
    views: int = 1
    seed: int = 0
    pixels: int = 0


class Features:
    """Features of pictures, read from the file they were written to.

    Attributes:
        path: the folder.
        views: of each picture.
        width: W.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._array: npt.NDArray[np.float16] = np.load(path / _FILE, mmap_mode="r")
        _, self.views, self.width = self._array.shape

    def __len__(self) -> int:
        """Number of pictures."""
        return len(self._array)

    def of(
        self, numbers: npt.NDArray[np.int64], views: npt.NDArray[np.int64]
    ) -> npt.NDArray[np.float32]:
        """Return [B, W] of pictures by number, each in one of its views."""
        return self._array[numbers, views].astype(np.float32)

    def plain(self) -> npt.NDArray[np.float32]:
        """Return [rows, W] of all pictures as they are."""
        return self._array[:, 0].astype(np.float32)

    def mean(self) -> npt.NDArray[np.float32]:
        """Return the mean [W] of the plain pictures, a part at a time."""
        total = np.zeros(self.width, np.float64)
        for start in range(0, len(self), _PART):
            total += self._array[start : start + _PART, 0].astype(np.float64).sum(0)
        return (total / max(1, len(self))).astype(np.float32)


def fill(
    corpus: Path, *, tower: Path, which: Which, device: str = "cpu", cache: Path | None = None
) -> Features:
    """Return what a tower makes of the pictures of a corpus, computed if nobody has yet.

    Args:
        corpus: a pair corpus.
        tower: an image tower's folder.
        which: pictures, in the order that `read_pairs` gives them.
        device: where the tower computes.
        cache: where features are kept; None is `features` in the cache directory.

    Raises:
        ArtifactError: the corpus or the tower cannot be read, or the disk is full.
    """
    out = (cache or cache_directory() / "features") / _key(corpus, tower, which)[:24]
    if not (out / _FILE).is_file():
        out.mkdir(parents=True, exist_ok=True)
        with FileLock(out / ".lock"):
            if not (out / _FILE).is_file():
                _compute(corpus, tower=tower, which=which, device=device, out=out)
    return Features(out)


def _key(corpus: Path, tower: Path, which: Which) -> str:
    files = read_manifest(corpus, kind="corpus").files
    content = {name: one.sha256 for name, one in files.items() if name.startswith("data/")}
    known = {
        "pictures": content,
        "tower": tower_digest(tower),
        "which": [which.split, sorted(which.sources), which.views, which.seed, which.pixels],
        "version": 1,
    }
    return hashlib.sha256(canonical(known).encode()).hexdigest()


def _compute(corpus: Path, *, tower: Path, which: Which, device: str, out: Path) -> None:
    model = seeing(open_tower(tower), pixels=which.pixels).fused().to(device)
    pairs = read_pairs(corpus, split=which.split, sources=which.sources)
    parts: list[Path] = []
    with progress() as bar, torch.inference_mode():
        total = _expected(corpus, which)
        task = bar.add_task(f"pictures ({which.views} views)", total=total, note="")
        for number, part in enumerate(_parts(pairs)):
            file = out / f"part-{number:06d}.npy"
            parts.append(file)
            if not file.is_file():
                _save(file, _seen(model, part, start=number * _PART, which=which, device=device))
            bar.advance(task, len(part))
    _join(parts, out=out, views=which.views, width=model.width)
    size = (out / _FILE).stat().st_size
    say(f"features of {corpus} ({which.split}) are computed: {format_bytes(size)} in {out}")


def _expected(corpus: Path, which: Which) -> int | None:
    """Pictures that there will be, where the corpus counted them."""
    counts = read_manifest(corpus, kind="corpus").counts
    name = "pairs" if which.split == "all" else which.split
    return None if which.sources or name not in counts else int(counts[name].value)


def _parts(pairs: Iterator[Pair]) -> Iterator[list[Pair]]:
    part: list[Pair] = []
    for pair in pairs:
        part.append(pair)
        if len(part) == _PART:
            yield part
            part = []
    if part:
        yield part


def _seen(
    model: ImageTower, part: Sequence[Pair], *, start: int, which: Which, device: str
) -> npt.NDArray[np.float16]:
    """Return [pictures, views, W] of a part; `start` is the number of its first picture."""

    def shown(number: int) -> list[Image]:
        image = open_picture(part[number].image)
        crops = [
            model.preprocess.augmented(
                image, generator=np.random.default_rng((which.seed, start + number, view))
            )
            for view in range(1, which.views)
        ]
        return [image, *crops]

    found: list[npt.NDArray[np.float16]] = []
    with ThreadPoolExecutor(max_workers=2) as pool:
        for first in range(0, len(part), _ONCE):
            numbers = range(first, min(first + _ONCE, len(part)))
            images = [image for views in pool.map(shown, numbers) for image in views]
            for place in range(0, len(images), _ONCE):
                pixels = model.preprocess.pixels(images[place : place + _ONCE]).to(device)
                found.append(model(pixels).float().cpu().numpy().astype(np.float16))
    return np.concatenate(found).reshape(len(part), which.views, -1)


def _save(file: Path, array: npt.NDArray[Any]) -> None:
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    with replace_file(file) as out:
        out.write(buffer.getvalue())


def _join(parts: Sequence[Path], *, out: Path, views: int, width: int) -> None:
    """Write all parts as one array, a part in memory at a time, and remove them.

    Raises:
        ArtifactError: the disk is full.
    """
    rows = [len(np.load(part, mmap_mode="r")) for part in parts]
    header = io.BytesIO()
    layout = {"descr": "<f2", "fortran_order": False, "shape": (sum(rows), views, width)}
    np.lib.format.write_array_header_1_0(header, layout)
    with replace_file(out / _FILE) as file:
        file.write(header.getvalue())
        for part in parts:
            array = np.load(part, allow_pickle=False)
            if not np.isfinite(array).all():
                raise ArtifactError(
                    "the image tower gives features that are not finite in fp16",
                    remedy=f"is its preprocessing right? remove {out} to begin again",
                )
            file.write(array.tobytes())
    for part in parts:
        part.unlink()
