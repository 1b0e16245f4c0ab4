"""What a mixture is made of, and which documents of a component one epoch holds.

Repeats need not be whole: of 2.5, every document comes twice and half of them once more. Which half
changes from epoch to epoch, so that after two of them each document has come five times: seeing all
of a source half as often teaches more than seeing one half of it twice (Muennighoff et al. 2023,
arXiv:2305.16264: data repeated up to about 4 times is nearly as good as new, and less so beyond).

Documents of one file lie in a shuffled order on a circle of their bytes, and an epoch takes the
next arc of it: so a share is met within one document, which drawing lots by hash would miss by some
1 % in a file of 10,000 documents.
"""

from __future__ import annotations

import math
from pathlib import Path, PurePosixPath
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from minna.artifact import MANIFEST_NAME, read_manifest
from minna.artifact.files import sha256_file
from minna.errors import ArtifactError

MIXTURE_NAME: Final = "mixture.json"
_DIGITS: Final = 16
_NO_DIGIT: Final = 255
_VALUES: Final = np.full(256, _NO_DIGIT, dtype=np.uint8)
_VALUES[np.frombuffer(b"0123456789abcdef", dtype=np.uint8)] = np.arange(16)
GOOD_REPEATS: Final = 4
"""Epochs of one source beyond which more of the same pays less and less."""


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Component(_Record):
    """One corpus of a mixture.

    Attributes:
        path: from the mixture's directory, with slashes.
        sha256: of its minna.json.
        repeats: how often an epoch of the mixture tells each of its training documents.
        documents, bytes: of its training split, without what `left_out` counts.
        asked: the weight that was asked for.
        share: what it gets of an epoch's bytes.
        left_out: copies not read, because another component holds the same document out.
    """

    path: str
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    repeats: float = Field(gt=0)
    documents: int = Field(ge=1)
    bytes: int = Field(ge=1)
    asked: float = Field(gt=0)
    share: float = Field(gt=0, le=1)
    left_out: int = Field(default=0, ge=0)

    @property
    def name(self) -> str:
        """The name of its directory."""
        return PurePosixPath(self.path).name


class Mixture(_Record):
    """The content of mixture.json.

    Attributes:
        by: whether the weights were repeats or shares.
        seed: fixes which documents a fraction of a repeat takes.
        shared: documents that are in more than one component.
    """

    by: Literal["repeats", "share"]
    seed: int = Field(ge=0)
    components: list[Component] = Field(min_length=1)
    shared: int = Field(default=0, ge=0)

    @property
    def documents(self) -> float:
        """Training documents of an epoch, repeats counted (on average over epochs)."""
        return sum(part.documents * part.repeats for part in self.components)

    @property
    def bytes(self) -> float:
        """Bytes of an epoch, repeats counted (on average over epochs)."""
        return sum(part.bytes * part.repeats for part in self.components)


def left_out_name(index: int) -> str:
    """Name of the file with the ids of a component that are not read."""
    return f"left-out-{index:05d}.npy"


def read_mixture(path: Path) -> Mixture | None:
    """Return what the corpus at `path` mixes, or None for one with documents of its own.

    Raises:
        ArtifactError: mixture.json cannot be read, or a component is not the one that was mixed.
    """
    file = path / MIXTURE_NAME
    if not file.is_file():
        return None
    try:
        mixture = Mixture.model_validate_json(file.read_text(encoding="utf-8"))
    except (ValidationError, UnicodeDecodeError) as error:
        raise ArtifactError(
            f"{file} is not a mixture: {error}", remedy=f"make {path} again: minna corpus mix"
        ) from error
    for part in mixture.components:
        _refuse_changed(path / part.path, part, mixture=path)
    return mixture


def _refuse_changed(place: Path, part: Component, *, mixture: Path) -> None:
    remedy = f"put it back, or make {mixture} again with minna corpus mix"
    if not (place / MANIFEST_NAME).is_file():
        raise ArtifactError(
            f"the mixture {mixture} reads the corpus {part.path}, and {place} is not there",
            remedy=remedy,
        )
    read_manifest(place, kind="corpus")
    if sha256_file(place / MANIFEST_NAME) != part.sha256:
        raise ArtifactError(
            f"the corpus {place} has been made again since {mixture} was mixed from it",
            remedy=remedy,
        )


def whole_and_rest(repeats: float) -> tuple[int, float]:
    """Split 2.5 into 2 and 0.5."""
    whole = math.floor(repeats)
    return whole, repeats - whole


def told_again(
    sizes: npt.NDArray[np.int64], *, rest: float, epoch: int, seed: int, number: int
) -> npt.NDArray[np.bool_]:
    """Tell which documents of a file an epoch takes for a fraction of a repeat.

    Args:
        sizes: bytes of each document of the file, at least one.
        rest: the fraction, over 0 and under 1.
        epoch: from 0.
        seed: of the mixture.
        number: of the file in the mixture; every file has its own order.
    """
    if not len(sizes):
        return np.zeros(0, dtype=np.bool_)
    order = np.random.default_rng((seed, number)).permutation(len(sizes))
    ends = np.cumsum(sizes[order])
    place = (ends - sizes[order] / 2) / ends[-1]
    # how often the arcs of length `rest` up to this epoch, and up to the one before, passed here
    now = np.floor((epoch + 1) * rest + place)
    before = np.floor(epoch * rest + place)
    taken = np.empty(len(sizes), dtype=np.bool_)
    taken[order] = now > before
    return taken


def id_numbers(column: pa.Array[Any], *, file: Path) -> npt.NDArray[np.uint64]:
    """Turn a column of ids into numbers, without a Python string for each.

    Args:
        column: ids of 16 hex digits.
        file: where they are from, for the error.

    Raises:
        ArtifactError: an id is not 16 hex digits.
    """
    try:
        packed = column.cast(pa.binary()).cast(pa.binary(_DIGITS))
    except pa.ArrowInvalid as error:
        raise _no_id(file) from error
    if packed.null_count:
        raise _no_id(file)
    content: Any = packed.buffers()[1]
    letters = np.frombuffer(content, dtype=np.uint8)
    letters = letters[packed.offset * _DIGITS :][: len(packed) * _DIGITS]
    values = _VALUES[letters]
    if (values == _NO_DIGIT).any():
        raise _no_id(file)
    return ((values[0::2] << 4) | values[1::2]).view(">u8").astype(np.uint64)


def _no_id(file: Path) -> ArtifactError:
    return ArtifactError(
        f"{file} has an id that is not {_DIGITS} hex digits", remedy="build that corpus again"
    )
