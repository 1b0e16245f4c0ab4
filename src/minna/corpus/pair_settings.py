"""What a pair corpus is built from and how, and what its sources hand to the passes.

A source says what determines it before a picture is read, gives its pictures in shards that can be
read again, and judges none of them: whether a picture opens, is a copy or has a caption left is
decided in one place for all (`pair_measure.py`, `pair_select.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass as plain_dataclass
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple, Protocol, Self

from pydantic import ConfigDict, Field, model_validator
from pydantic.dataclasses import dataclass

from minna.artifact import Licence, Parent
from minna.corpus.pair_rows import Caption

READS: Final = {
    "emoji": ("renderers", "concepts", "pixels", "seed"),
    "pictures": (
        "licence",
        "attribution",
        "files",
        "revision",
        "images",
        "image",
        "caption",
        "source_name",
    ),
}
"""Settings that one source reads and the other does not."""
_NEAR: Final = 2


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class PairSettings:
    """Settings of `corpus build emoji` and `corpus build pictures`.

    Attributes:
        source: "emoji" (drawings of npm packages with Unicode's Japanese names) or "pictures"
            (what somebody has).
        path: where the pictures, or the table that names them, lie, or hub:OWNER/NAME (pictures);
            a folder of npm archives that were fetched elsewhere (emoji).
        limit: only the first so many pictures are read.
        valid: share of groups held out for looking at while training.
        test: share of groups held out for the final numbers.
        near: pictures whose difference hashes differ in so many bits or fewer are one group; "off"
            does not look. Left out, it is 2, and "off" for emoji: their groups are known, and
            small drawings on white look alike in 64 bits (a ruler and a screwdriver do).
        workers: processes (None: one for each core). The result does not depend on it.
        renderers: whose drawings (emoji).
        concepts: "concrete": animals, food, places, things, activities; "all" (emoji).
        pixels: side of a drawing (emoji).
        seed: which groups are held out (emoji).
        licence: terms of the pictures, where a row does not state its own (pictures).
        attribution: whom to credit (pictures).
        files: which files of a folder or a Hub repository, such as "*.tar" ("": all that the
            layout has) (pictures).
        revision: branch, tag or commit of a Hub repository (pictures).
        images: folder of the pictures that a table names (None: the table's own) (pictures).
        image: column of the picture, or of its file's name ("": by the usual names) (pictures).
        caption: column of the caption or captions ("": by the usual names) (pictures).
        source_name: the word in the column `source` (pictures).
    """

    source: Literal["emoji", "pictures"]
    path: Path | None = None
    limit: int | None = Field(default=None, ge=1)
    valid: float = Field(default=0.1, ge=0, lt=1)
    test: float = Field(default=0.1, ge=0, lt=1)
    near: Literal["off", 0, 1, 2] | None = None
    workers: int | None = Field(default=None, ge=1)
    renderers: tuple[str, ...] = ("noto", "twemoji", "fluent", "openmoji")
    concepts: Literal["concrete", "all"] = "concrete"
    pixels: int = Field(default=128, ge=16, le=2048)
    seed: int = Field(default=0, ge=0)
    licence: str = "not stated"
    attribution: str = ""
    files: str = ""
    revision: str = "main"
    images: Path | None = None
    image: str = ""
    caption: str = ""
    source_name: str = Field(default="pictures", min_length=1)

    @model_validator(mode="after")
    def _leave_something_to_train_on(self) -> Self:
        if self.valid + self.test >= 1:
            raise ValueError(f"valid {self.valid} + test {self.test} must be under 1")
        return self


def near_bits(settings: PairSettings) -> int | None:
    """In how many bits the hashes of nearly equal pictures may differ; None: nobody looks."""
    if settings.near is None:
        return None if settings.source == "emoji" else _NEAR
    return None if settings.near == "off" else settings.near


class Given(NamedTuple):
    """One picture as its source holds it.

    Attributes:
        content: a file's bytes (or a drawing's, where its shard has a `draw`).
        captions: as the source has them, not yet normalised.
        source, licence, concept: of the row.
        group: what must not straddle a split with it, where the source knows; "" where not.
        problem: why it cannot be used, "" where that is still to be seen.
    """

    content: bytes
    captions: tuple[Caption, ...]
    source: str
    licence: str
    concept: str = ""
    group: str = ""
    problem: str = ""


@plain_dataclass(frozen=True, slots=True, kw_only=True)
class PictureShard:
    """A part of a source that can be read again and always reads the same.

    Attributes:
        name: for messages.
        read: yields its pictures.
        draw: turns `content` into the bytes of a picture, in another process (a function of a
            module, or a partial of one); None where it is one. What was drawn is kept, not drawn
            twice.
    """

    name: str
    read: Callable[[], Iterator[Given]]
    draw: Callable[[bytes], bytes] | None = None


class PairSource(Protocol):
    """Where pictures come from.

    Attributes:
        decided: what determines them, known without opening them.
        parents: directories they are made of.
        licences, legal: their terms.
    """

    decided: dict[str, Any]
    parents: list[Parent]
    licences: list[Licence]
    legal: list[str]

    def shards(self) -> Sequence[PictureShard]:
        """The parts, always in the same order."""
        ...
