"""What is said in a recording, and when: a recogniser's frames decoded into timed words.

A long recording is heard in windows joined frame by frame (`windows.py`) and decoded whole, so a
word that lies across a joint is found once. CTC says a sound in one or two frames and is silent
until the next, so a word's time runs from the first of its sounds to the last one's frame: it
begins about right and ends early.

Names: S samples at 16 kHz.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from minna.console import progress, warn
from minna.corpus.audio import BadClipError
from minna.errors import DataError, UsageError
from minna.models.speech.config import HOP, RATE
from minna.runtime.ctc import BEAM, Reading, beam_search, greedy
from minna.runtime.recordings import Recording, open_recording
from minna.tokenizer.kana import kana_of_phones
from minna.tokenizer.sounds import BOUNDARY_ID, SoundKind, Sounds

if TYPE_CHECKING:
    from minna.runtime.speech import Float32, Recogniser

Beam = int | Literal["greedy"]

_PAUSE: Final = 0.5
"""Seconds without a sound that part kana: no boundaries are told in them."""


@dataclass(frozen=True, slots=True)
class Sound:
    """One phone or kana, from second to second."""

    text: str
    start: float
    end: float


@dataclass(frozen=True, slots=True)
class Word:
    """A word, from second to second: `text` as it is written, `sounds` as they were heard."""

    text: str
    start: float
    end: float
    sounds: tuple[Sound, ...]


@dataclass(frozen=True, kw_only=True)
class Transcript:
    """What is said in a recording.

    Attributes:
        kind: what it is written in.
        text: all of it, words apart by " | " (phones) or a space (kana).
        words: in order.
        seconds: how long the recording is.
        score: natural log of the probability of the sounds, given the recording.
    """

    kind: SoundKind
    text: str
    words: tuple[Word, ...]
    seconds: float
    score: float


def transcribe(
    recogniser: Recogniser,
    samples_S: Float32,
    *,
    beam: Beam = BEAM,
    to: SoundKind | None = None,
) -> Transcript:
    """Say what is said in a recording of any length.

    Args:
        recogniser: the model.
        samples_S: one channel at 16 kHz.
        beam: prefixes kept by the search, or "greedy".
        to: what it is written in; None is what the model writes.

    Raises:
        UsageError: phones are wanted of a model that writes kana, or a beam below 1.
        DataError: the model says what is no number.
    """
    sounds = recogniser.sounds
    to = to or sounds.kind
    refuse_other_kind(sounds, to)
    reading = read_sounds_of(recogniser, samples_S, beam=beam)
    seconds = len(samples_S) / RATE
    words = tuple(_word(one, to, sounds) for one in _words(reading, sounds, seconds))
    return Transcript(
        kind=to,
        text=(" | " if to == "phones" else " ").join(word.text for word in words),
        words=words,
        seconds=seconds,
        score=reading.score,
    )


def transcribe_files(
    recogniser: Recogniser,
    files: Sequence[Recording],
    *,
    beam: Beam = BEAM,
    to: SoundKind | None = None,
    bad: dict[str, str],
) -> Iterator[tuple[Recording, Transcript]]:
    """Say what is said in files, one after the other; what cannot be read is told and left out.

    Args:
        recogniser: the model.
        files: recordings.
        beam: as `transcribe` takes it.
        to: as `transcribe` takes it.
        bad: gets path -> problem of those that cannot be read.

    Raises:
        UsageError, DataError: as `transcribe`.
        DataError: (at the end) none can be read.
    """
    refuse_other_kind(recogniser.sounds, to or recogniser.sounds.kind)
    with progress() as bar:
        task = bar.add_task("transcribe", total=len(files), note="")
        for file in files:
            bar.update(task, note=file.name)
            try:
                samples = open_recording(file.path)
            except BadClipError as error:
                bad[file.path.as_posix()] = error.problem
                warn(f"{file.path}: {error.rule}")
            else:
                yield file, transcribe(recogniser, samples, beam=beam, to=to)
            bar.advance(task)
    if len(bad) == len(files):
        raise DataError(
            f"none of {len(files)} recordings can be read: {', '.join(sorted(set(bad.values())))}",
            remedy="see above for what is wrong with each",
        )


def refuse_other_kind(sounds: Sounds, to: SoundKind) -> None:
    """Refuse what a model cannot be written in.

    Raises:
        UsageError: phones, and it writes kana.
    """
    if to == "phones" and sounds.kind == "kana":
        raise UsageError(
            "this model writes kana, and phones do not follow from them alone",
            remedy="leave --to out, or tune a model to recognise phones",
        )


def read_sounds_of(recogniser: Recogniser, samples_S: Float32, *, beam: Beam = BEAM) -> Reading:
    """Decode a recording into ids of sounds, with their frames.

    Raises:
        UsageError: a beam below 1.
        DataError: the model says what is no number.
    """
    logprobs = recogniser.logprobs(samples_S)
    return greedy(logprobs) if beam == "greedy" else beam_search(logprobs, beam=beam)[0]


def _words(reading: Reading, sounds: Sounds, seconds: float) -> Iterator[list[Sound]]:
    """Timed sounds of each word; kana without boundaries are parted where nothing is said."""
    word: list[Sound] = []
    step = HOP / RATE
    for number, first, behind in zip(reading.ids, reading.starts, reading.ends, strict=True):
        start, end = first * step, min(behind * step, seconds)
        pause = sounds.kind == "kana" and word and start - word[-1].end >= _PAUSE
        if (number == BOUNDARY_ID or pause) and word:
            yield word
            word = []
        if number != BOUNDARY_ID:
            ((text,),) = sounds.words([number])
            word.append(Sound(text, round(start, 3), round(end, 3)))
    if word:
        yield word


def _word(word: Sequence[Sound], to: SoundKind, sounds: Sounds) -> Word:
    told = [sound.text for sound in word]
    text = sounds.told([told]) if to == sounds.kind else kana_of_phones(told)
    return Word(text, word[0].start, word[-1].end, tuple(word))
