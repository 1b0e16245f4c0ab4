"""Transcripts as files: plain text, JSON, and subtitles for players (SubRip, WebVTT).

Words become cues: what is said without a long pause, in pieces that can be read at a glance. A cue
stays a little behind its last sound, which CTC says early, unless the next one begins.
"""

from __future__ import annotations

import html
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final, Literal

from minna.runtime.transcribe import Transcript, Word

Form = Literal["text", "srt", "vtt", "json"]

SUFFIXES: Final[dict[Form, str]] = {
    "text": ".txt",
    "srt": ".srt",
    "vtt": ".vtt",
    "json": ".json",
}
_PAUSE: Final = 0.7
_MOST_SECONDS: Final = 6.0
_STAYS: Final = 0.3


@dataclass(frozen=True)
class Cue:
    """A piece of a transcript, from second to second."""

    text: str
    start: float
    end: float


def cues_of(transcript: Transcript) -> list[Cue]:
    """Cut a transcript into cues: at pauses, and before a piece has more than six seconds."""
    pieces = list(_pieces(transcript.words))
    between = " | " if transcript.kind == "phones" else " "
    next_starts = [*(piece[0].start for piece in pieces[1:]), transcript.seconds]
    return [
        Cue(
            text=between.join(word.text for word in piece),
            start=piece[0].start,
            end=round(max(piece[-1].end, min(piece[-1].end + _STAYS, following)), 3),
        )
        for piece, following in zip(pieces, next_starts, strict=False)
    ]


def _pieces(words: Sequence[Word]) -> Iterator[list[Word]]:
    piece: list[Word] = []
    for word in words:
        pause = piece and word.start - piece[-1].end >= _PAUSE
        if piece and (pause or word.end - piece[0].start > _MOST_SECONDS):
            yield piece
            piece = []
        piece.append(word)
    if piece:
        yield piece


def written(transcript: Transcript, form: Form) -> str:
    """A transcript as the text of a file, with a line end."""
    if form == "json":
        return json.dumps(plain(transcript), ensure_ascii=False, indent=1) + "\n"
    cues = cues_of(transcript)
    if form == "text":
        return "".join(f"{cue.text}\n" for cue in cues)
    if form == "srt":
        blocks = [
            f"{number}\n{_time(cue.start, ',')} --> {_time(cue.end, ',')}\n{cue.text}\n"
            for number, cue in enumerate(cues, start=1)
        ]
        return "\n".join(blocks)
    blocks = [
        f"{_time(cue.start, '.')} --> {_time(cue.end, '.')}\n{html.escape(cue.text, quote=False)}\n"
        for cue in cues
    ]
    return "\n".join(["WEBVTT\n", *blocks])


def plain(transcript: Transcript) -> dict[str, Any]:
    """A transcript as plain data, times in seconds."""
    return asdict(transcript) | {
        "seconds": round(transcript.seconds, 3),
        "score": round(transcript.score, 4),
    }


def _time(seconds: float, point: str) -> str:
    thousandths = round(1000 * seconds)
    minutes, rest = divmod(thousandths, 60_000)
    return f"{minutes // 60:02d}:{minutes % 60:02d}:{rest // 1000:02d}{point}{rest % 1000:03d}"
