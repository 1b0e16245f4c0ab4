"""Clips in batches of one length: cut to it for pre-training, padded to it for recognition.

A batch is a number of frames, not of clips: clips of about one length (a draw makes neighbours
others in every epoch) are taken until their frames are `row_tokens`, so that a step costs the same
whatever it holds, and hardly any of it is padding. Pre-training cuts every clip of a batch to the
shortest (and to a multiple of 8 frames), as fairseq does, since a norm over time hears padding;
cuts begin at multiples of 320 samples, so that the labels of a clip are those of its frames,
exactly. Recognition needs all of a clip, and pads (to a multiple of 8 frames).

Order, cuts and what is hidden follow from (seed, epoch, clip): batches are numbered through, and
any number of ranks takes them in turn, so that a run goes on exactly.

B clips of a batch, S samples, F frames, T symbols, D features of the encoder, N clips.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Self

import numpy as np
import numpy.typing as npt
import torch
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass
from torch import Tensor
from torch.nn import functional

from minna.corpus.audio import RATE
from minna.corpus.frame_labels import Labels
from minna.errors import DataError
from minna.models.speech.config import FIELD, HOP, frames_of
from minna.models.speech.masks import SpanSettings, clip_number, hidden_of
from minna.streams.sound_rows import SoundRows, frames_of_each

Batch = dict[str, Tensor]
Int64 = npt.NDArray[np.int64]
Counts = Literal["shortest", "longest"]
_ROUND = 8
"""Frames; batches of more than 64 are multiples of it: the machine code that libraries write for a
length serves eight of them, for 0.07 s of a clip that are not heard this time, or of silence."""
_JITTER = 0.05  # lengths of neighbours differ by no more, and are others in every epoch
_CUT = 2  # what a clip's generator is for; hiding has 0 and 1 (models/speech/masks.py)
_ALL_OF_A_KIND = ConfigDict(extra="forbid")


@dataclass(frozen=True, kw_only=True, config=_ALL_OF_A_KIND)
class ClipStreamSettings:
    """What pre-training hears.

    Attributes:
        row_tokens: frames (of 20 ms) of a batch.
        longest: seconds that are heard of a clip at most; another part of it every time.
        shortest: seconds; shorter clips are left out.
        minutes: only a sample of the training split, so long; a larger one holds it. 0: all.
        masks: what is hidden.
        labels: side-car of `label kmeans`, which HuBERT learns; "" for others.
        label_rate: labels a second that are counted on: 100 of MFCC, 50 of a layer.
    """

    kind: Literal["clips"]
    row_tokens: int = Field(ge=1)
    longest: float = Field(default=15.625, gt=0.1)
    shortest: float = Field(default=2.0, ge=FIELD / RATE)
    minutes: float = Field(default=0, ge=0)
    masks: SpanSettings = SpanSettings()
    labels: str = ""
    label_rate: Literal[50, 100] = 100

    @property
    def attended(self) -> int:
        """Frames of the longest clip, which attend to each other."""
        return frames_of(round(self.longest * RATE))


@dataclass(frozen=True, kw_only=True, config=_ALL_OF_A_KIND)
class UtteranceStreamSettings:
    """What recognition hears.

    Attributes:
        row_tokens: frames (of 20 ms) of a batch, padding counted.
        longest, shortest: seconds; other clips are left out, since a transcript cannot be cut.
        minutes: only a sample of the training split, so long; a larger one holds it. 0: all.
        masks: frames that are hidden.
        channels: features that are hidden.
    """

    kind: Literal["utterances"]
    row_tokens: int = Field(ge=1)
    longest: float = Field(default=30.0, gt=0.1)
    shortest: float = Field(default=0.1, ge=FIELD / RATE)
    minutes: float = Field(default=0, ge=0)
    masks: SpanSettings = SpanSettings(start_probability=0.065, least=0)
    channels: SpanSettings = SpanSettings(start_probability=0.5 / 64, span=64, least=0)

    @property
    def attended(self) -> int:
        """Frames of the longest clip, which attend to each other."""
        return frames_of(round(self.longest * RATE))


class Portions:
    """Which clips the batches of this rank hold.

    Args:
        frames_N: what is heard of each clip.
        row_frames: of a batch.
        counts: frames of a batch of clips from the shortest to the longest: cut to the first, or
            padded to the last.
        seed: of the order of every epoch.
        rank, ranks: this rank takes every so many-th batch.
    """

    def __init__(
        self,
        frames_N: Int64,
        *,
        row_frames: int,
        counts: Counts,
        seed: int,
        rank: int = 0,
        ranks: int = 1,
    ) -> None:
        self._frames_N, self._row_frames = frames_N, row_frames
        self._counts: Counts = counts
        self._seed, self._rank, self._ranks = seed, rank, ranks
        self._epoch, self._place = 0, 0  # batches of the epoch that were taken, by all ranks
        self._orders: dict[int, list[Int64]] = {}

    @property
    def epochs(self) -> float:
        """How often each clip was taken."""
        return self._epoch + self._place / len(self._order(self._epoch))

    def state_dict(self) -> dict[str, int]:
        """Where it stands, for all ranks alike."""
        return {"epoch": self._epoch, "place": self._place}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Go to a place."""
        self._epoch, self._place = state["epoch"], state["place"]

    def take(self) -> tuple[int, Int64]:
        """Return the epoch and the clips of the next batch."""
        epoch, place = self._at(self._place + self._rank)
        taken = self._order(epoch)[place]
        self._epoch, self._place = self._at(self._place + self._ranks)
        return epoch, taken

    def _at(self, place: int) -> tuple[int, int]:
        """Return epoch and place of a batch counted from the start of this epoch."""
        epoch = self._epoch
        while place >= (batches := len(self._order(epoch))):
            epoch, place = epoch + 1, place - batches
        return epoch, place

    def _order(self, epoch: int) -> list[Int64]:
        if epoch not in self._orders:
            for old in [one for one in self._orders if one < self._epoch]:
                del self._orders[old]
            self._orders[epoch] = self._shuffled(epoch)
        return self._orders[epoch]

    def _shuffled(self, epoch: int) -> list[Int64]:
        """Deal all clips out into batches of about one length, and shuffle those."""
        generator = np.random.default_rng((self._seed, epoch))
        drawn_N = self._frames_N * (1 + _JITTER * generator.random(len(self._frames_N)))
        order = np.argsort(drawn_N, kind="stable")
        batches = cut(self._frames_N[order], row_frames=self._row_frames, counts=self._counts)
        return [order[batches[k]] for k in generator.permutation(len(batches))]


def cut(frames_N: Int64, *, row_frames: int, counts: Counts) -> list[slice]:
    """Cut a row of clips into batches of at most `row_frames`, at least one clip each."""
    pick = min if counts == "shortest" else max
    found: list[slice] = []
    start, each = 0, 0
    for place, frames in enumerate(frames_N.tolist()):
        together = pick(each, frames) if place > start else frames
        if place > start and (place - start + 1) * together > row_frames:
            found.append(slice(start, place))
            start, together = place, frames
        each = together
    if len(frames_N):
        found.append(slice(start, len(frames_N)))
    return found


def chosen(
    rows: SoundRows, *, shortest: float, longest: float | None, minutes: float
) -> tuple[Int64, dict[str, int]]:
    """Choose clips by length, and a sample of them by a hash of their ids.

    Args:
        rows: the clips.
        shortest: seconds.
        longest: seconds; None: however long.
        minutes: of the sample; 0: all.

    Returns:
        Their numbers, and how many were left out, by reason.

    Raises:
        DataError: none is left.
    """
    seconds_N = rows.samples_N / RATE
    fits_N = seconds_N >= shortest
    left = {f"shorter than {shortest:g} s": int((~fits_N).sum())}
    if longest is not None:
        long_N = seconds_N > longest
        left[f"longer than {longest:g} s"] = int(long_N.sum())
        fits_N &= ~long_N
    numbers = np.flatnonzero(fits_N)
    if not len(numbers):
        raise DataError(
            f"none of {len(rows)} clips of {rows.split} is between {shortest:g} and "
            f"{'any' if longest is None else f'{longest:g}'} seconds long",
            remedy="change stream.shortest or stream.longest, or give another corpus",
        )
    if minutes:
        hashes = np.asarray([clip_number(rows.id_of(int(n))) for n in numbers])
        numbers = numbers[np.argsort(hashes, kind="stable")]
        reached = np.cumsum(seconds_N[numbers])
        if reached[-1] < 60 * minutes:
            raise DataError(
                f"stream.minutes is {minutes:g}, and {rows.split} has {reached[-1] / 60:.1f}",
                remedy="give fewer minutes, 0 for all, or a larger corpus",
            )
        numbers = np.sort(numbers[: int(np.searchsorted(reached, 60 * minutes)) + 1])
    return numbers, {why: count for why, count in left.items() if count}


class _Dealt:
    """A stream that stands where its portions stand."""

    _portions: Portions

    def state_dict(self) -> dict[str, int]:
        """Where the stream stands, for all ranks alike."""
        return self._portions.state_dict()

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Go to a place."""
        self._portions.load_state_dict(state)

    def figures(self) -> dict[str, float]:
        """Say how often each clip was heard."""
        return {"epochs": self._portions.epochs}

    def __iter__(self) -> Self:
        return self


class ClipStream(_Dealt):
    """An endless iterator of `samples` [B, S] of one length, `masked` [B, F], `clip` [B], and with
    labels `labels` [B, F].

    Args:
        rows: the clips.
        settings: of the recipe.
        labels: what HuBERT learns; None for others.
        seed: fixes everything drawn.
        rank, ranks: this rank takes its share of all batches.
    """  # noqa: D205 - one sentence

    def __init__(
        self,
        rows: SoundRows,
        *,
        settings: ClipStreamSettings,
        labels: Labels | None,
        seed: int,
        rank: int = 0,
        ranks: int = 1,
    ) -> None:
        self._rows, self._settings, self._labels, self._seed = rows, settings, labels, seed
        self.numbers, self.left_out = chosen(
            rows, shortest=settings.shortest, longest=None, minutes=settings.minutes
        )
        self._frames_N = frames_of_each(rows.samples_N)
        self._portions = Portions(
            np.minimum(self._frames_N[self.numbers], settings.attended),
            row_frames=settings.row_tokens,
            counts="shortest",
            seed=seed,
            rank=rank,
            ranks=ranks,
        )

    def __next__(self) -> Batch:
        epoch, places = self._portions.take()
        return self.batch(self.numbers[places], epoch=epoch)

    def batch(self, numbers: Int64, *, epoch: int) -> Batch:
        """Return clips by number, as they are heard in an epoch."""
        shortest = int(min(self._settings.attended, self._frames_N[numbers].min()))
        F = shortest if shortest <= 8 * _ROUND else shortest // _ROUND * _ROUND
        ids = [self._rows.id_of(int(number)) for number in numbers]
        clips = [clip_number(one) for one in ids]
        starts = [
            int(np.random.default_rng((self._seed, epoch, clip, _CUT)).integers(spare + 1))
            for clip, spare in zip(clips, self._frames_N[numbers] - F, strict=True)
        ]
        samples = HOP * (F - 1) + FIELD
        heard = [
            self._rows.audio_of(int(number), start=HOP * start, samples=samples)
            for number, start in zip(numbers, starts, strict=True)
        ]
        found = {
            "samples": torch.from_numpy(np.stack(heard)),
            "masked": hidden_of(
                clips,
                [F] * len(clips),
                settings=self._settings.masks,
                seed=self._seed,
                epoch=epoch,
            ),
            "clip": torch.tensor(clips),
        }
        if self._labels is not None:
            labels = [
                self._labels.of(one, start, F) for one, start in zip(ids, starts, strict=True)
            ]
            found["labels"] = torch.from_numpy(np.stack(labels))
        return found


class UtteranceStream(_Dealt):
    """An endless iterator of `samples` [B, S] and `lengths` [B], `targets` [B, T] and
    `target_lengths` [B], `masked` [B, F] and `channels` [B, D].

    Args:
        rows: the clips, with what is said in them.
        settings: of the recipe.
        width: features of the encoder, D.
        seed: fixes everything drawn.
        rank, ranks: this rank takes its share of all batches.
    """  # noqa: D205 - one sentence

    def __init__(
        self,
        rows: SoundRows,
        *,
        settings: UtteranceStreamSettings,
        width: int,
        seed: int,
        rank: int = 0,
        ranks: int = 1,
    ) -> None:
        self._rows, self._settings, self._width, self._seed = rows, settings, width, seed
        self.numbers, self.left_out = chosen(
            rows, shortest=settings.shortest, longest=settings.longest, minutes=settings.minutes
        )
        self._frames_N = frames_of_each(rows.samples_N)
        self._portions = Portions(
            padded_frames(self._frames_N[self.numbers]),
            row_frames=settings.row_tokens,
            counts="longest",
            seed=seed,
            rank=rank,
            ranks=ranks,
        )

    def __next__(self) -> Batch:
        epoch, places = self._portions.take()
        numbers = self.numbers[places]
        clips = [clip_number(self._rows.id_of(int(number))) for number in numbers]
        seed = self._seed
        frames = self._frames_N[numbers].tolist()
        masks, channels = self._settings.masks, self._settings.channels
        widths = [self._width] * len(clips)
        masked_BF = hidden_of(clips, frames, settings=masks, seed=seed, epoch=epoch)
        behind = int(padded_frames(max(frames))) - max(frames)
        return utterances(self._rows, numbers) | {
            "masked": functional.pad(masked_BF, (0, behind)),
            "channels": hidden_of(
                clips, widths, settings=channels, seed=seed, epoch=epoch, what="channels"
            ),
        }


def padded_frames(frames: Int64 | int) -> Int64:
    """Return how many frames batches have whose longest clip has so many."""
    found_N = np.asarray(frames)
    return np.where(found_N <= 8 * _ROUND, found_N, -(-found_N // _ROUND) * _ROUND)


def utterances(rows: SoundRows, numbers: Int64 | Sequence[int]) -> Batch:
    """Return clips by number, padded, and what is said in them."""
    audio = [rows.audio_of(int(number)) for number in numbers]
    targets = [rows.targets_of(int(number)) for number in numbers]
    frames = padded_frames(frames_of(max(len(one) for one in audio)))
    return {
        "samples": _padded(audio, HOP * int(frames) + FIELD - 1),  # as many as have so many frames
        "lengths": torch.tensor([len(one) for one in audio]),
        "targets": _padded(targets, max(len(one) for one in targets)),
        "target_lengths": torch.tensor([len(one) for one in targets]),
    }


def _padded(rows: Sequence[npt.NDArray[np.float32] | Int64], length: int) -> Tensor:
    out = np.zeros((len(rows), length), rows[0].dtype)
    for place, one in enumerate(rows):
        out[place, : len(one)] = one
    return torch.from_numpy(out)
