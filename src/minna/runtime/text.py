"""Text as it comes: whole characters only, and nothing after a stop text.

A token may be a third of a character, and a stop text may be spread over several tokens. So text is
given out only when it is certain: bytes wait for their character, and an end that could still
become a stop text waits for the next token.

Many answers begin with an empty line, and a line break is the usual stop text: an answer would be
over before it began. So stop texts can be told to count only from the first character on that is
not white space.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from minna.tokenizer.coder import Streams

StopsAfter = Literal["any", "text"]


class TextStream:
    """The text of one answer.

    Args:
        tokenizer: whose ids are fed.
        stop_texts: what ends the answer.
        stops_after: where they count: "any" where they stand, or only after white space, that is
            from the first character of "text" on.

    Attributes:
        text: everything given out so far; the whole answer after `close`.
        stopped: whether a stop text was met (it is not part of the text).
    """

    def __init__(
        self, tokenizer: Streams, *, stop_texts: Sequence[str], stops_after: StopsAfter = "any"
    ) -> None:
        self._decoder = tokenizer.stream()
        self._stops = tuple(stop for stop in stop_texts if stop)
        self._held = ""
        self._counts = stops_after == "any"
        self.text = ""
        self.stopped = False

    def feed(self, number: int) -> str:
        """Take one id; return the text that is certain now."""
        return self._take(self._decoder.feed(number))

    def close(self) -> str:
        """Return what was held back; the answer is complete."""
        if self.stopped:
            return ""
        last = self._take(self._decoder.close())
        rest, self._held = self._held, ""
        self.text += rest
        return last + rest

    def _take(self, piece: str) -> str:
        if not self._stops:
            self.text += piece
            return piece
        if not self._counts:
            body = piece.lstrip()
            self._counts = body != ""
            before = piece[: len(piece) - len(body)]
            self.text += before
            return before + (self._take(body) if body else "")
        pending = self._held + piece
        places = [place for stop in self._stops if (place := pending.find(stop)) >= 0]
        if places:
            self.stopped = True
            given, self._held = pending[: min(places)], ""
        else:
            keep = max(overlap(pending, stop) for stop in self._stops)
            given, self._held = pending[: len(pending) - keep], pending[len(pending) - keep :]
        self.text += given
        return given


def cut(
    text: str, *, stop_texts: Sequence[str], stops_after: StopsAfter = "any"
) -> tuple[str, bool]:
    """Cut a whole text as `TextStream` does; also return whether there was anything to cut."""
    start = 0 if stops_after == "any" else len(text) - len(text.lstrip())
    places = [place for stop in stop_texts if stop and (place := text.find(stop, start)) >= 0]
    return (text[: min(places)], True) if places else (text, False)


def overlap(text: str, stop: str) -> int:
    """Length of the longest end of `text` that is a beginning of `stop`."""
    for size in range(min(len(text), len(stop) - 1), 0, -1):
        if stop.startswith(text[-size:]):
            return size
    return 0
