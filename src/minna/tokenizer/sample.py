"""Lines to learn a vocabulary from: a fair sample of a corpus of any size in bounded memory.

SentencePiece silently drops lines over 4,192 bytes, and a document of Aozora Bunko has 100 kB: so
documents are cut into lines, long lines into sentences. Every line draws a number, and those with
the smallest numbers stay as long as they fit: one pass, the same sample every time.
"""

from __future__ import annotations

import dataclasses
import heapq
import re
from collections.abc import Iterable, Iterator

import numpy as np

MAX_LINE_BYTES = 4096
_HARD_CUT = 1000  # characters: at most 4,000 bytes
_UTF8_MAX = 4
_SENTENCE_END = re.compile(r"(?<=[。！？])")
_DRAW = 4096


@dataclasses.dataclass(frozen=True, kw_only=True)
class Sample:
    """The lines drawn, in the corpus's order, and how much was there to draw from."""

    lines: list[str]
    sampled_bytes: int
    corpus_bytes: int
    documents: int


def cut_lines(text: str) -> Iterator[str]:
    """Cut a document into non-empty lines of at most MAX_LINE_BYTES bytes."""
    for line in text.split("\n"):
        if len(line) * _UTF8_MAX <= MAX_LINE_BYTES or len(line.encode()) <= MAX_LINE_BYTES:
            if line:
                yield line
            continue
        for sentence in _SENTENCE_END.split(line):
            for start in range(0, len(sentence), _HARD_CUT):
                yield sentence[start : start + _HARD_CUT]


class Reservoir:
    """The lines with the smallest draws that fit in `limit_bytes`, of those shown so far."""

    def __init__(self, *, limit_bytes: int, seed: int) -> None:
        self.limit_bytes = limit_bytes
        self.documents = self.seen_bytes = 0
        self._kept: list[tuple[float, int, str, int]] = []
        self._draws = _uniform(seed)
        self._threshold = 1.0
        self._held = self._number = 0

    def show(self, texts: Iterable[str]) -> None:
        """Draw for every line of these documents."""
        for text in texts:
            self.documents += 1
            for line in cut_lines(text):
                draw = next(self._draws)
                size = len(line.encode())
                self.seen_bytes += size
                self._number += 1
                if draw >= self._threshold:
                    continue
                heapq.heappush(self._kept, (-draw, self._number, line, size))
                self._held += size
                self.shrink(self.limit_bytes)

    def shrink(self, limit_bytes: int) -> None:
        """Let lines go, largest draws first, until the rest fits in `limit_bytes`."""
        while self._held > limit_bytes:
            largest = heapq.heappop(self._kept)
            self._held -= largest[3]
            self._threshold = -largest[0]

    def sample(self) -> Sample:
        """What is held now."""
        lines = [entry[2] for entry in sorted(self._kept, key=lambda entry: entry[1])]
        return Sample(
            lines=lines,
            sampled_bytes=self._held,
            corpus_bytes=self.seen_bytes,
            documents=self.documents,
        )


def draw_sample(batches: Iterable[list[str]], *, limit_bytes: int, seed: int) -> Sample:
    """Draw whole lines up to `limit_bytes` from batches of documents."""
    reservoir = Reservoir(limit_bytes=limit_bytes, seed=seed)
    for texts in batches:
        reservoir.show(texts)
    return reservoir.sample()


def _uniform(seed: int) -> Iterator[float]:
    generator = np.random.default_rng(seed)
    while True:
        yield from generator.random(_DRAW).tolist()
