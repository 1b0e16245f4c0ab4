"""What the filters look at: some thirty numbers of each document, taken of a whole batch at once.

Everything is counted on arrays of code points (`points.py`) in pieces of half a million
characters, so a filter costs a comparison and not another pass over the text, sentences of 18
characters cost what novels do (the first version ran at 4 MB/s on the former), and a document of
15 MB needs no more memory than 25 of 600 kB.

D documents, N characters of a piece, L lines, W words in Latin letters.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from minna.corpus import smell
from minna.corpus.classes import KINDS, Kind, kinds
from minna.corpus.phrases import Phrases
from minna.corpus.points import (
    Int64,
    Points,
    Spans,
    UInt32,
    class_counts,
    line_bounds,
    pieces,
    points,
    table,
)
from minna.corpus.repetition import commonest, repeated_grams, repeated_lines

Shares = npt.NDArray[np.float64]

SHORT_LINE: Final = 10
_LINE_END = 1
_BULLET = 2
_DOTS = 4
_ENDS: Final = "。．.！？!?…‥)）」』】〕〉》］]\"”'’♪〟"
_BULLETS: Final = "・•*-●■◆▪►▶★☆"
"""Without ○ □ △: writers of a hundred years ago put them before paragraphs of prose."""
_STOP_WORDS: Final = (
    "a an and are as at be but by do for from had has have he her his i if in is it me my not of "
    "on or our she so than that the they this to us was we were what when will with you your"
)
_WORD: Final = 4
"""Only function words of up to four letters are looked for: they fit in one number of 32 bits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Profiles:
    """Measures of D documents, arrays [D]. A share is of the characters that are no white space.

    Attributes:
        characters: characters that are no white space.
        hiragana, katakana, kanji, simplified, latin, letters, digits, symbols, replacement: shares
            of the classes of `classes.Kind`; `letters` are those of other scripts.
        one_character: share of the commonest character; where it is under a quarter, a number from
            it to a quarter.
        lines: lines that hold a character.
        mean_line: characters a line, white space included.
        ended_lines: share of lines that end in sentence punctuation or a closing bracket.
        short_lines: share of lines under ten characters.
        bullets: share of lines that begin with a bullet.
        ellipses: share of lines that end in … or ...
        repeated_lines: share of characters in lines that stood in the document before.
        repeated_grams: share of ten-character runs that stood before; 0 under 50 characters.
        top_gram: share of characters that the commonest such run covers; likewise.
        words: words in Latin letters.
        mean_word: their mean length.
        stop_words: share of them that are English function words of up to four letters.
        listed: hits of the user's word lists per 1,000 characters.
        smell: machine translation and template score, 0 to 1 (`smell.py`).
    """

    characters: Int64
    hiragana: Shares
    katakana: Shares
    kanji: Shares
    simplified: Shares
    latin: Shares
    letters: Shares
    digits: Shares
    symbols: Shares
    replacement: Shares
    one_character: Shares
    lines: Int64
    mean_line: Shares
    ended_lines: Shares
    short_lines: Shares
    bullets: Shares
    ellipses: Shares
    repeated_lines: Shares
    repeated_grams: Shares
    top_gram: Shares
    words: Int64
    mean_word: Shares
    stop_words: Shares
    listed: Shares
    smell: Shares

    @property
    def kana(self) -> Shares:
        """Share of hiragana and katakana."""
        return self.hiragana + self.katakana

    @property
    def japanese(self) -> Shares:
        """Share of kana and kanji, without the simplified ones only Chinese has."""
        return self.hiragana + self.katakana + self.kanji

    def __len__(self) -> int:
        """Documents."""
        return len(self.characters)


def profile(texts: Sequence[str], *, listed: Phrases | None = None) -> Profiles:
    """Measure documents (normalised ones: lines end in LF); `listed` is a list of words to count.

    What it says of a document does not depend on the others of the batch. Repetition inside a
    document of more than half a million characters is that inside its pieces.
    """
    batch = points(texts)
    sums = _Sums(len(texts))
    for piece, first in pieces(batch):
        sums.add(piece, first, listed)
    return sums.profiles(class_counts(batch, kinds(), count=KINDS))


_LINE_SUMS = ("lines", "line_characters", "ended", "short", "bullets", "ellipses", "repeated")
_WORD_SUMS = ("words", "word_letters", "stop_words")


class _Sums:
    """Counts of D documents, added up piece by piece."""

    def __init__(self, documents: int) -> None:
        self.lines = np.zeros((documents, len(_LINE_SUMS)), dtype=np.int64)
        self.words = np.zeros((documents, len(_WORD_SUMS)), dtype=np.int64)
        self.grams = np.zeros((documents, 3), dtype=np.int64)
        self.commonest = np.zeros(documents, dtype=np.int64)
        self.listed = np.zeros(documents, dtype=np.int64)
        self.smell = np.zeros((documents, smell.COUNTS), dtype=np.int64)

    def add(self, piece: Points, first: int, listed: Phrases | None) -> None:
        if not len(piece.codes):
            return
        here = slice(first, first + len(piece.ends))
        lower = _lower()[piece.codes]
        kind = kinds()[piece.codes]
        spans = Spans(lower)
        lines = line_bounds(piece)
        self.lines[here] += _line_sums(piece, spans, lines)
        self.words[here] += _word_sums(piece, lower, kind)
        self.grams[here] += repeated_grams(piece)
        seen = np.where(kind == Kind.SPACE, np.uint32(0), piece.codes)
        self.commonest[here] += commonest(Points(seen, piece.ends))
        if listed is not None:
            self.listed[here] += listed.counts(piece, lower, spans)[:, 0]
        self.smell[here] += smell.count(piece, lower, spans, lines)

    def profiles(self, counts: Int64) -> Profiles:
        characters = counts.sum(axis=1) - counts[:, Kind.SPACE]
        share = counts / np.maximum(1, characters)[:, None]
        line = dict(zip(_LINE_SUMS, self.lines.T, strict=True))
        word = dict(zip(_WORD_SUMS, self.words.T, strict=True))
        grams, again, most = self.grams.T
        return Profiles(
            characters=characters,
            hiragana=share[:, Kind.HIRAGANA],
            katakana=share[:, Kind.KATAKANA],
            kanji=share[:, Kind.KANJI],
            simplified=share[:, Kind.SIMPLIFIED],
            latin=share[:, Kind.LATIN],
            letters=share[:, Kind.LETTER],
            digits=share[:, Kind.DIGIT],
            symbols=share[:, Kind.SYMBOL],
            replacement=share[:, Kind.REPLACEMENT],
            one_character=_ratio(self.commonest, characters),
            lines=line["lines"],
            mean_line=_ratio(line["line_characters"], line["lines"]),
            ended_lines=_ratio(line["ended"], line["lines"]),
            short_lines=_ratio(line["short"], line["lines"]),
            bullets=_ratio(line["bullets"], line["lines"]),
            ellipses=_ratio(line["ellipses"], line["lines"]),
            repeated_lines=_ratio(line["repeated"], line["line_characters"]),
            repeated_grams=_ratio(again, grams),
            top_gram=np.minimum(1.0, _ratio(most * 10 * (most > 1), grams)),
            words=word["words"],
            mean_word=_ratio(word["word_letters"], word["words"]),
            stop_words=_ratio(word["stop_words"], word["words"]),
            listed=1000 * _ratio(self.listed, characters),
            smell=smell.score(self.smell, characters=characters),
        )


def _ratio(part: Int64, whole: Int64) -> Shares:
    return part / np.maximum(1, whole)


@functools.cache
def _lower() -> UInt32:
    """Code point -> lower case, where that is one character."""

    def lower(character: str) -> int:
        small = character.lower()
        return ord(small) if len(small) == 1 else ord(character)

    folds = table(lower, dtype=np.uint32)
    folds[0x20000:] = np.arange(0x20000, len(folds))
    return folds


@functools.cache
def _line_marks() -> npt.NDArray[np.uint8]:
    marks = np.zeros(0x110000, dtype=np.uint8)
    for characters, mark in ((_ENDS, _LINE_END), (_BULLETS, _BULLET), ("…‥", _DOTS)):
        marks[[ord(character) for character in characters]] |= np.uint8(mark)
    return marks


def _line_sums(piece: Points, spans: Spans, lines: tuple[Int64, Int64]) -> Int64:
    """The columns _LINE_SUMS of each document: [D, 7]."""
    starts, stops = lines
    owners = np.searchsorted(piece.ends, starts, side="right")
    marks = _line_marks()
    lengths = stops - starts
    begins = marks[piece.codes[starts]]
    ends = marks[piece.codes[stops - 1]]
    dots = np.ones(len(stops), dtype=bool)
    for back in (1, 2, 3):
        dots &= piece.codes[np.maximum(starts, stops - back)] == ord(".")
    dots &= lengths >= len("...")
    columns: tuple[npt.NDArray[Any], ...] = (
        np.ones(len(starts), dtype=np.int64),
        lengths,
        (ends & _LINE_END) > 0,
        lengths < SHORT_LINE,
        (begins & _BULLET) > 0,
        ((ends & _DOTS) > 0) | dots,
        repeated_lines(spans, starts, stops, owners),
    )
    return _by_document(owners, columns, len(piece.ends))


@functools.cache
def _stop_words() -> UInt32:
    packed = [int.from_bytes(word.encode(), "little") for word in _STOP_WORDS.split()]
    return np.array(sorted(packed), dtype=np.uint32)


def _word_sums(piece: Points, lower: UInt32, kind: npt.NDArray[np.uint8]) -> Int64:
    """The columns _WORD_SUMS of each document: [D, 3]; a document's end also ends a word."""
    latin = kind == Kind.LATIN
    goes_on = latin[1:] & latin[:-1]
    borders = piece.ends[(piece.ends > 0) & (piece.ends < len(latin))]
    goes_on[borders - 1] = False
    starts = np.flatnonzero(latin & ~np.concatenate(([False], goes_on)))
    stops = np.flatnonzero(latin & ~np.concatenate((goes_on, [False]))) + 1
    owners = np.searchsorted(piece.ends, starts, side="right")
    lengths = stops - starts
    packed = np.zeros(len(starts), dtype=np.uint32)
    for place in range(_WORD):
        inside = lengths > place
        packed[inside] |= (lower[starts[inside] + place] & np.uint32(255)) << np.uint32(8 * place)
    stop_words = _stop_words()
    at = np.minimum(np.searchsorted(stop_words, packed), len(stop_words) - 1)
    stops_here = (lengths <= _WORD) & (stop_words[at] == packed)
    columns = (np.ones(len(starts), dtype=np.int64), lengths, stops_here)
    return _by_document(owners, columns, len(piece.ends))


def _by_document(owners: Int64, columns: Sequence[npt.NDArray[Any]], documents: int) -> Int64:
    sums = [np.bincount(owners, weights=column, minlength=documents) for column in columns]
    return np.stack(sums, axis=1).astype(np.int64)
