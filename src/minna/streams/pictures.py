"""Pictures beside their captions: batches in which no picture shows what another shows.

Every other pair of a batch is a negative, so two pictures of one thing, or two equal captions,
teach that what belongs together does not: at 256 of 686 concepts by four artists, four rows in ten
would have such a neighbour. Where the corpus says what a picture shows, a step takes each concept
once (the k-th showings of all concepts are dealt out together, k = 1, 2, ...); equal captions are
numbered alike in `same`, and the objective leaves them out (open_clip's issues 17 and 821, CLIP's
266 are people whose loss stayed at ln N).

What a row is called, and which augmented view of it is shown, follows from (seed, epoch, row), so
that a run goes on exactly, on any number of ranks.

B rows of a batch, S tokens of the longest caption, W features of the image tower.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np
import numpy.typing as npt
import torch
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass
from torch import Tensor

from minna.corpus.pictures import open_picture
from minna.errors import DataError
from minna.streams.captions import Drawer, Drawing
from minna.streams.picture_rows import PictureRows
from minna.tokenizer.coder import AnyTokenizer
from minna.tokenizer.first import first_id

if TYPE_CHECKING:
    from minna.models.pictures.preprocess import Preprocess

Batch = dict[str, Tensor]
_Int64 = npt.NDArray[np.int64]
_WIDTHS = 8  # captions are padded to a multiple: few shapes


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class PictureStreamSettings:
    """Which pictures are shown, and what they are called.

    Attributes:
        row_tokens: longest caption, the token in front of it counted; longer ones are cut.
        features: "cached" computes what the locked image tower makes of every picture once, and
            reads that; "on_line" opens pictures again for every batch, as an image tower that
            learns must.
        views: augmented views of each picture in the cache; 0 keeps the plain one alone.
        sources: names of sources that train (of the emoji, renderers); () is all.
        captions: how names and keywords become captions.
    """

    kind: Literal["pictures"]
    row_tokens: int = Field(ge=2)
    features: Literal["cached", "on_line"] = "cached"
    views: int = Field(default=4, ge=0)
    sources: tuple[str, ...] = ()
    captions: Drawing = Drawing()


class Seen(Protocol):
    """Features that were computed once."""

    views: int

    def of(self, numbers: _Int64, views: _Int64) -> npt.NDArray[np.float32]:
        """Return [B, W] of pictures by number, each in one of its views (0 is the plain one)."""
        ...


class PictureStream:
    """An endless iterator of batches: `tokens` [B, S], `lengths` [B], `features` [B, W] or `pixels`
    [B, 3, H, W], and `same` [B], in which equal captions have equal numbers.

    Args:
        rows: the training split.
        seen: its features, of a locked tower; None opens pictures.
        preprocess: of the tower, where pictures are opened.
        words: the tokenizer.
        drawer: of captions.
        row_tokens: longest caption.
        batch_rows: rows of a micro-batch on this rank (B).
        step_rows: pictures of one update, over all ranks and micro-batches.
        seed: fixes everything drawn.
        rank, ranks: this rank takes its share of every micro-batch.
    """  # noqa: D205 - one sentence

    def __init__(
        self,
        rows: PictureRows,
        *,
        seen: Seen | None,
        preprocess: Preprocess | None = None,
        words: AnyTokenizer,
        drawer: Drawer,
        row_tokens: int,
        batch_rows: int,
        step_rows: int,
        seed: int,
        rank: int = 0,
        ranks: int = 1,
    ) -> None:
        assert (seen is None) != (preprocess is None), "features are read or computed"
        self._rows, self._seen, self._preprocess = rows, seen, preprocess
        self._texts = Texts(words, row_tokens=row_tokens)
        self._drawer, self._seed = drawer, seed
        concepts = things(rows, step_rows=step_rows)
        self._steps = Steps(
            concepts,
            batch_rows=batch_rows,
            step_rows=step_rows,
            seed=seed,
            rank=rank,
            ranks=ranks,
        )

    def state_dict(self) -> dict[str, int]:
        """Where the stream stands, for all ranks alike."""
        return self._steps.state_dict()

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Go to a place."""
        self._steps.load_state_dict(state)

    def figures(self) -> dict[str, float]:
        """Say how often each picture was shown."""
        return {"epochs": self._steps.epochs}

    def __iter__(self) -> Iterator[Batch]:
        return self

    def __next__(self) -> Batch:
        epoch, numbers = self._steps.take()
        generators = [np.random.default_rng((self._seed, epoch, int(n), 1)) for n in numbers]
        captions = self._rows.captions_of(numbers)
        drawn = [
            self._drawer.draw(own, generator=generator)
            for own, generator in zip(captions, generators, strict=True)
        ]
        return self._texts.batch(drawn) | self._pictures(numbers, generators)

    def _pictures(self, numbers: _Int64, generators: list[np.random.Generator]) -> Batch:
        if self._seen is not None:
            views = self._seen.views
            shown = np.asarray([0 if views == 1 else g.integers(1, views) for g in generators])
            return {"features": torch.from_numpy(self._seen.of(numbers, shown))}
        assert self._preprocess is not None, "pictures are opened"
        preprocess = self._preprocess

        def opened(content: bytes, generator: np.random.Generator) -> Any:
            return preprocess.augmented(open_picture(content), generator=generator)

        with ThreadPoolExecutor() as pool:  # decoding lets go of Python's lock
            images = list(pool.map(opened, self._rows.images_of(numbers), generators))
        return {"pixels": preprocess.pixels(images)}


class Steps:
    """Which rows the micro-batches of this rank take: whole steps of different things.

    Args:
        concepts_N: what each row shows or says; at least `step_rows` different ones.
        batch_rows: rows of a micro-batch on this rank.
        step_rows: rows of one update, over all ranks and micro-batches.
        seed: of the shuffle of every epoch.
        rank, ranks: this rank takes its share of every micro-batch.
    """

    def __init__(
        self,
        concepts_N: _Int64,
        *,
        batch_rows: int,
        step_rows: int,
        seed: int,
        rank: int,
        ranks: int,
    ) -> None:
        self._concepts_N, self._seed = concepts_N, seed
        self._batch_rows, self._step_rows = batch_rows, step_rows
        self._rank, self._ranks = rank, ranks
        self._epoch, self._place = 0, 0  # rows of the epoch that were taken
        self._order: _Int64 | None = None

    @property
    def epochs(self) -> float:
        """How often each row was taken."""
        return self._epoch + self._place / len(self._concepts_N)

    def state_dict(self) -> dict[str, int]:
        """Where it stands, for all ranks alike."""
        return {"epoch": self._epoch, "place": self._place}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Go to a place."""
        self._epoch, self._place = state["epoch"], state["place"]
        self._order = None

    def take(self) -> tuple[int, _Int64]:
        """Return the epoch, and the rows of the next micro-batch."""
        if self._order is not None and self._place >= len(self._order):
            self._epoch, self._place, self._order = self._epoch + 1, 0, None
        if self._order is None:
            generator = np.random.default_rng((self._seed, self._epoch))
            self._order = different(
                self._concepts_N, step_rows=self._step_rows, generator=generator
            )
            if self._place >= len(self._order):  # stood at the end of an epoch
                return self.take()
        start = self._place + self._rank * self._batch_rows
        self._place += self._batch_rows * self._ranks
        return self._epoch, self._order[start : start + self._batch_rows]


class Texts:
    """Captions as a text tower reads them: one token in front, cut, padded on the right.

    Args:
        words: the tokenizer.
        row_tokens: longest row.
    """

    def __init__(self, words: AnyTokenizer, *, row_tokens: int) -> None:
        self._words, self._row_tokens = words, row_tokens
        self._first = first_id(words)
        self._fill = words.pad_id if words.pad_id >= 0 else self._first

    def batch(self, texts: Sequence[str], *, suffix: str = "") -> Batch:
        """Return `tokens`, `lengths` and `same`, their names ended by `suffix`."""
        flat, offsets = self._words.encode_batch(list(texts))
        lengths = np.minimum(np.diff(offsets) + 1, self._row_tokens).astype(np.int64)
        width = min(-(-int(lengths.max()) // _WIDTHS) * _WIDTHS, self._row_tokens)
        tokens = np.full((len(texts), width), self._fill, np.int64)
        tokens[:, 0] = self._first
        for row, (start, length) in enumerate(zip(offsets, lengths, strict=False)):
            tokens[row, 1:length] = flat[start : start + length - 1]
        return {
            f"tokens{suffix}": torch.from_numpy(tokens),
            f"lengths{suffix}": torch.from_numpy(lengths),
            f"same{suffix}": torch.tensor([number_of(text) for text in texts]),
        }


def number_of(text: str) -> int:
    """63 bits of a hash: equal texts have equal numbers."""
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") >> 1


def things(rows: PictureRows, *, step_rows: int) -> _Int64:
    """Number what each picture shows.

    Raises:
        DataError: there are fewer different things than a step shows.
    """
    concepts_N = numbered(rows.concepts())
    count = len(np.unique(concepts_N))
    if count < step_rows:
        raise DataError(
            f"a step shows {step_rows} different things, and the training split has {count} in "
            f"{len(rows)} pictures",
            remedy="lower train.tokens_per_step (stream.row_tokens x pictures), or give a larger "
            "corpus",
        )
    return concepts_N


def numbered(concepts: Sequence[str]) -> _Int64:
    """Number concepts; of the nameless each is one of its own."""
    names = [name or f"\0{place}" for place, name in enumerate(concepts)]
    return np.unique(np.asarray(names, dtype=object).astype(str), return_inverse=True)[1]


def different(concepts_N: _Int64, *, step_rows: int, generator: np.random.Generator) -> _Int64:
    """Deal pictures out into whole steps, each of different concepts.

    All first showings of a shuffled epoch come before all second ones, and so on; what is left over
    of each is not shown in this epoch, and by another shuffle is another in the next.

    Args:
        concepts_N: what each picture shows; at least `step_rows` different ones.
        step_rows: pictures of a step.
        generator: shuffles.

    Returns:
        Numbers of pictures, a multiple of `step_rows`.
    """
    order = generator.permutation(len(concepts_N))
    showing = _earlier(concepts_N[order])
    dealt = order[np.argsort(showing, kind="stable")]
    sizes = np.bincount(showing)
    starts = np.cumsum(sizes) - sizes
    return np.concatenate(
        [
            dealt[start : start + size // step_rows * step_rows]
            for start, size in zip(starts, sizes, strict=True)
        ]
    )


def _earlier(values_N: _Int64) -> _Int64:
    """How many equal values stand before each."""
    by_value = np.argsort(values_N, kind="stable")
    run = values_N[by_value]
    first = np.flatnonzero(np.r_[True, run[1:] != run[:-1]])
    lengths = np.diff(np.r_[first, len(run)])
    out = np.empty(len(run), np.int64)
    out[by_value] = np.arange(len(run)) - np.repeat(first, lengths)
    return out
