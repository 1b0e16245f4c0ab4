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


def draw_sample(batches: Iterable[list[str]], *, limit_bytes: int, seed: int) -> Sample:
    """Draw whole lines up to `limit_bytes` from batches of documents."""
    kept: list[tuple[float, int, str, int]] = []
    keys = _uniform(seed)
    threshold = 1.0
    held = seen = documents = number = 0
    for batch in batches:
        documents += len(batch)
        for text in batch:
            for line in cut_lines(text):
                key = next(keys)
                size = len(line.encode())
                seen += size
                number += 1
                if key >= threshold:
                    continue
                heapq.heappush(kept, (-key, number, line, size))
                held += size
                while held > limit_bytes:
                    largest = heapq.heappop(kept)
                    held -= largest[3]
                    threshold = -largest[0]
    kept.sort(key=lambda entry: entry[1])
    return Sample(
        lines=[entry[2] for entry in kept],
        sampled_bytes=held,
        corpus_bytes=seen,
        documents=documents,
    )


def _uniform(seed: int) -> Iterator[float]:
    generator = np.random.default_rng(seed)
    while True:
        yield from generator.random(_DRAW).tolist()
