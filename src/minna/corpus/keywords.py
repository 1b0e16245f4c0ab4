"""Dialogues out of a text corpus of single sentences: "write a sentence with these words".

Instruction data that may be given away freely is rare in Japanese (the paper's own was never
released), but a corpus of sentences holds a task by itself: choose words of a sentence, ask for
them, and the sentence is an answer that a person wrote. Nothing is made up: answers and most worse
answers are real sentences of the corpus, and the rest are the right one cut or stuttering, which is
what a small model does. `metrics.keywords` is the rule that tells them apart, and rewards later.

A sentence keeps its split and group, so what is held out of pre-training stays held out here.
Worse answers are looked for among the sentences of the same split, block by block of 200,000.
"""

from __future__ import annotations

import hashlib
import itertools
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, NamedTuple

from minna.corpus.read import batches
from minna.metrics.keywords import END_MARKS, REPEATED, ask, keyword_score, malformed, runs
from minna.metrics.polite import Style, style_of

FEWEST: Final = 5
MOST: Final = 60
"""Characters of a sentence that is used."""
MOST_KEYWORDS: Final = 3
BLOCK: Final = 200_000
"""Sentences in memory at once."""
KINDS: Final = ("other style", "fewer keywords", "malformed")
"""What a worse answer does wrong, in turn."""
_TRIES = 32
_LONGEST_TAIL = 8
_COLUMNS = ("id", "group", "split", "licence", "text")


class KeywordRow(NamedTuple):
    """A question, a sentence that answers it, and one that does so less well ("" for none)."""

    id: str
    group: str
    split: str
    licence: str
    prompt: str
    answer: str
    rejected: str


@dataclass(frozen=True, slots=True)
class _Sentence:
    """A sentence, and what is asked for with it.

    Attributes:
        number: drawn from seed and id; everything that is chosen for the sentence follows from it.
    """

    id: str
    group: str
    split: str
    licence: str
    text: str
    style: Style
    runs: tuple[str, ...]
    keywords: tuple[str, ...]
    number: int


class _Shelf:
    """The sentences of one split and style, and which of them hold a run."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.holding: defaultdict[str, list[int]] = defaultdict(list)

    def add(self, sentence: _Sentence) -> None:
        for run in sentence.runs:
            self.holding[run].append(len(self.texts))
        self.texts.append(sentence.text)

    def with_any(self, keywords: tuple[str, ...], *, start: int) -> Iterator[str]:
        """A bounded number of sentences that hold one of the keywords."""
        first = start % len(keywords)
        for keyword in keywords[first:] + keywords[:first]:
            places = self.holding.get(keyword, [])
            for step in range(min(_TRIES, len(places))):
                yield self.texts[places[(start + step) % len(places)]]

    def any(self, *, start: int) -> Iterator[str]:
        """A bounded number of sentences."""
        for step in range(min(_TRIES, len(self.texts))):
            yield self.texts[(start + step) % len(self.texts)]


@dataclass
class Keywords:
    """The keyword dialogues of a text corpus, made anew each time it is gone through.

    Attributes:
        corpus: of text; a document is a sentence.
        seed: fixes which words are asked for and which worse answers are taken.
        compared: share of the dialogues that get a worse answer.
        limit: only the first so many documents are read.
        read: documents read, of the last time.
        dropped: reason -> documents left out.
        worse: what a worse answer does wrong -> dialogues.
    """

    corpus: Path
    seed: int = 0
    compared: float = 1.0
    limit: int | None = None
    read: int = 0
    dropped: Counter[str] = field(default_factory=Counter[str])
    worse: Counter[str] = field(default_factory=Counter[str])

    def __iter__(self) -> Iterator[KeywordRow]:
        """Go through the corpus, in its order.

        Raises:
            ArtifactError: not a corpus of text, or a file is missing or damaged.
        """
        self.read = 0
        self.dropped.clear()
        self.worse.clear()
        sentences = self._sentences()
        while block := list(itertools.islice(sentences, BLOCK)):
            yield from self._block(block)

    def _sentences(self) -> Iterator[_Sentence]:
        seen: set[bytes] = set()
        rows = (
            row
            for batch in batches(self.corpus, split="all", columns=_COLUMNS)
            for row in zip(*(column.to_pylist() for column in batch.columns), strict=True)
        )
        for identity, group, split, licence, text in itertools.islice(rows, self.limit):
            self.read += 1
            found = tuple(map(sys.intern, runs(text)))  # the same ones come again and again
            reason = _reason(text, found)
            key = hashlib.blake2b(text.encode(), digest_size=16).digest()
            if reason or key in seen:
                self.dropped[reason or "duplicate"] += 1
                continue
            seen.add(key)
            keywords, number = _choose(found, seed=self.seed, identity=identity)
            yield _Sentence(
                id=identity,
                group=group,
                split=sys.intern(split),
                licence=sys.intern(licence),
                text=text,
                style=style_of(text),
                runs=found,
                keywords=keywords,
                number=number,
            )

    def _block(self, block: list[_Sentence]) -> Iterator[KeywordRow]:
        shelves: defaultdict[tuple[str, Style], _Shelf] = defaultdict(_Shelf)
        for sentence in block:
            shelves[sentence.split, sentence.style].add(sentence)
        for one in block:
            prompt = ask(one.keywords, style=one.style)
            rejected = ""
            if one.number % 10**6 < self.compared * 10**6:
                kind, rejected = _worse(one, shelves, prompt)
                self.worse[kind] += bool(rejected)
            yield KeywordRow(one.id, one.group, one.split, one.licence, prompt, one.text, rejected)


def _reason(text: str, found: tuple[str, ...]) -> str:
    """Why a document cannot be an answer, or ""."""
    if len(text) < FEWEST:
        return f"under {FEWEST} characters"
    if len(text) > MOST:
        return f"over {MOST} characters"
    if "\n" in text:
        return "more than one line"
    if not found:
        return "no keyword in it"
    return malformed(text)


def _choose(found: tuple[str, ...], *, seed: int, identity: str) -> tuple[tuple[str, ...], int]:
    """One to three of the runs, in order of appearance, and the number that the rest follows from.

    A digest and not `random`, whose choices may differ between versions of Python.
    """
    digest = hashlib.blake2b(f"{seed}:{identity}".encode(), digest_size=64).digest()
    many = 1 + digest[0] % min(MOST_KEYWORDS, len(found))
    drawn = sorted(range(len(found)), key=lambda place: (digest[9 + place], place))[:many]
    return tuple(found[place] for place in sorted(drawn)), int.from_bytes(digest[1:9], "big")


def _worse(
    one: _Sentence, shelves: defaultdict[tuple[str, Style], _Shelf], prompt: str
) -> tuple[str, str]:
    """What is wrong, and the answer: of the three kinds in turn, the first that there is."""
    other: Style = "plain" if one.style == "polite" else "polite"
    best = keyword_score(prompt, one.text)
    first = one.number // 10**6
    for turn in range(len(KINDS)):
        kind = KINDS[(first + turn) % len(KINDS)]
        start = first // len(KINDS)
        if kind == "other style":
            found = next(shelves[one.split, other].with_any(one.keywords, start=start), "")
        elif kind == "fewer keywords":
            found = _with_fewer(one, shelves[one.split, one.style], start=start)
        else:
            found = _spoiled(one.text, start=start)
        if found and keyword_score(prompt, found) < best:
            return kind, found
    return KINDS[-1], ""


def _with_fewer(one: _Sentence, shelf: _Shelf, *, start: int) -> str:
    """A sentence of the same style with fewer of the keywords; with none where it must be."""
    if len(one.keywords) > 1:
        for text in shelf.with_any(one.keywords, start=start):
            if not all(keyword in text for keyword in one.keywords):
                return text
    for text in shelf.any(start=start):
        if not any(keyword in text for keyword in one.keywords):
            return text
    return ""


def _spoiled(text: str, *, start: int) -> str:
    """The sentence without its end, or with its tail said three times."""
    body = text.rstrip(END_MARKS)
    half = len(text) // 2
    cut = text[: half + start // 2 % (len(text) - half)].rstrip(END_MARKS + " ")
    if start % 2 and len(body) >= REPEATED:
        tail = body[-min(len(body), REPEATED + start // 2 % (_LONGEST_TAIL - REPEATED + 1)) :]
        return body + 2 * tail + text[len(body) :]
    return cut
