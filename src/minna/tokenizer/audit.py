"""What a tokenizer costs on a text: bytes per token, what falls back to bytes, what gets lost.

Tokenizers are compared on text they were not trained on: the split "valid", or "train" (and it says
so) where a corpus has none. Unknown pieces lose text for good; bytes only cost three times as much.
Every figure is there for all text and for each source and language in it, since a mean over novels
and chat says little about either.
"""

from __future__ import annotations

import dataclasses
import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, cast

import numpy as np

from minna.console import warn
from minna.errors import DataError
from minna.tokenizer.export import TRANSLATED, export_tokenizer
from minna.tokenizer.languages import says_languages
from minna.tokenizer.load import MODEL_NAMES, Tokenizer, load_tokenizer
from minna.tokenizer.match import LINES, Match, measure_match
from minna.tokenizer.probes import Fertility, measure_fertility
from minna.tokenizer.proto import read_model
from minna.tokenizer.vocabulary import VocabularyCheck, check_vocabulary

LIMIT_BYTES = 10_000_000
_TIMED = 3


class Held(NamedTuple):
    """A document to measure on; the language is "" where the corpus does not say."""

    text: str
    source: str
    language: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class Cost:
    """What some text costs. Rates are shares of tokens, 0 to 1.

    `byte_fallback_rate` counts all bytes, of which `line_break_rate` are line breaks: SentencePiece
    learns from single lines, so a line break is a byte in any vocabulary without a piece for it.
    """

    documents: int
    bytes: int
    tokens: int
    bytes_per_token: float
    characters_per_token: float
    byte_fallback_rate: float
    line_break_rate: float
    unknown_rate: float


@dataclasses.dataclass(frozen=True, kw_only=True)
class Audit:
    """One tokenizer on one text.

    Attributes:
        path: where it lies.
        kind: bpe or unigram.
        vocab_size: its pieces.
        pieces_used: how many of them came up.
        total: what all text costs.
        sources: the same of each source.
        languages: the same of each language, where the corpora say it.
        fertility: what names, numbers, code and so on cost.
        round_trip_rate: share of documents that come back as they went in.
        line_round_trip_rate: the same of up to 2,000 lines.
        encode_mb_per_second: wall clock, two threads, the best of three.
        vocabulary: pieces never produced, unreachable, or there twice.
        match_rate: share of strings with equal ids in tokenizer.json, or in the one we would write
            where there is none; None where the kind of model has no such file.
        gguf_match_rate: the same in GGUF; None where it was not measured.
    """

    path: str
    kind: str
    vocab_size: int
    pieces_used: int
    total: Cost
    sources: dict[str, Cost]
    languages: dict[str, Cost]
    fertility: dict[str, Fertility]
    round_trip_rate: float
    line_round_trip_rate: float
    encode_mb_per_second: float
    vocabulary: VocabularyCheck
    match_rate: float | None
    gguf_match_rate: float | None

    def as_json(self) -> dict[str, Any]:
        """The figures as plain values."""
        return dataclasses.asdict(self)


def held_out(corpus: Path, *, limit_bytes: int = LIMIT_BYTES) -> tuple[str, list[Held]]:
    """Documents of the split "valid" (else "train"), up to `limit_bytes` of each source.

    Returns:
        The split, and its documents.

    Raises:
        DataError: the corpus holds no text.
    """
    for split in ("valid", "train"):
        kept: list[Held] = []
        sizes: dict[str, int] = {}
        for document in _documents(corpus, split):
            size = sizes.get(document.source, 0)
            if size < limit_bytes and document.text:
                kept.append(document)
                sizes[document.source] = size + len(document.text.encode())
        if kept:
            if split == "train":
                warn(f'{corpus} has no split "valid"; auditing on "train", which flatters')
            return split, kept
    raise DataError(f"{corpus} holds no text to audit on", remedy="build the corpus again")


def _documents(corpus: Path, split: str) -> Iterator[Held]:
    from minna.corpus.read import batches

    columns = ["text", "source"]
    if says_languages(corpus):
        columns.append("language")
    for batch in batches(corpus, split=split, columns=columns):
        # no column of ours holds a null
        lists = [cast("list[str]", column.to_pylist()) for column in batch.columns]
        texts, sources, *rest = lists
        languages = rest[0] if rest else [""] * len(texts)
        for text, source, language in zip(texts, sources, languages, strict=True):
            yield Held(text, source, language)


def audit_tokenizer(path: Path, *, documents: Sequence[Held]) -> Audit:
    """Measure a tokenizer (a folder, a model dir or a bare `.model` file) on documents."""
    tokenizer = load_tokenizer(path)
    texts = [document.text for document in documents]
    tokens, offsets = tokenizer.encode_batch(texts)
    seconds = min(_seconds(tokenizer, texts) for _ in range(_TIMED))
    used = np.bincount(tokens, minlength=tokenizer.vocab_size)
    back = sum(
        tokenizer.decode(tokens[start:end].tolist()) == text
        for text, start, end in zip(texts, offsets[:-1], offsets[1:], strict=True)
    )
    lines = [line for text in texts for line in text.split("\n") if line]
    lines = [lines[i * len(lines) // LINES] for i in range(LINES)] if len(lines) > LINES else lines
    match = _match(path, tokenizer.model_file, lines)
    costs = _Costs(tokenizer, tokens, offsets, documents)
    return Audit(
        path=path.as_posix(),
        kind=tokenizer.fields.kind,
        vocab_size=tokenizer.vocab_size,
        pieces_used=int((used > 0).sum()),
        total=costs.of(range(len(texts))),
        sources=costs.by([document.source for document in documents]),
        languages=costs.by([document.language for document in documents]),
        fertility=measure_fertility(tokenizer),
        round_trip_rate=back / len(texts),
        line_round_trip_rate=(
            sum(tokenizer.decode(tokenizer.encode(line)) == line for line in lines)
            / max(len(lines), 1)
        ),
        encode_mb_per_second=sum(len(text.encode()) for text in texts) / seconds / 1e6,
        vocabulary=check_vocabulary(tokenizer, used=used),
        match_rate=None if match is None else match.rate,
        gguf_match_rate=None if match is None else match.gguf_rate,
    )


def _match(path: Path, model: Path, lines: list[str]) -> Match | None:
    """Compare with the folder's tokenizer.json, or with the one that we would write."""
    if path.is_dir() and (path / "tokenizer.json").is_file():
        return measure_match(path, lines=lines)
    if read_model(model).kind not in TRANSLATED:
        return None
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        shutil.copyfile(model, folder / MODEL_NAMES[0])
        export_tokenizer(model, out=folder)
        return measure_match(folder, lines=lines)


def _seconds(tokenizer: Tokenizer, texts: list[str]) -> float:
    start = time.perf_counter()
    tokenizer.encode_batch(texts)
    return time.perf_counter() - start


def _line_break(tokenizer: Tokenizer) -> int:
    pieces = tokenizer.fields.pieces
    return next((number for number, piece in enumerate(pieces) if piece.text == "<0x0A>"), -1)


class _Costs:
    """Sums over documents, made once and asked for any part of them."""

    def __init__(
        self, tokenizer: Tokenizer, tokens: Any, offsets: Any, documents: Sequence[Held]
    ) -> None:
        def per_document(marked: Any) -> Any:
            return np.diff(np.concatenate(([0], np.cumsum(marked)))[offsets])

        self._tokens = np.diff(offsets)
        self._fallen = per_document(tokenizer.byte_ids[tokens])
        self._broken = per_document(tokenizer.byte_ids[tokens] & (tokens == _line_break(tokenizer)))
        self._unknown = per_document(tokens == tokenizer.unk_id)
        self._bytes = np.array([len(document.text.encode()) for document in documents])
        self._characters = np.array([len(document.text) for document in documents])

    def of(self, which: Sequence[int]) -> Cost:
        """The cost of the documents with these numbers."""
        rows = np.asarray(which)
        tokens = int(self._tokens[rows].sum())
        size = int(self._bytes[rows].sum())
        share = max(tokens, 1)  # text that a normaliser takes away altogether costs nothing
        return Cost(
            documents=len(rows),
            bytes=size,
            tokens=tokens,
            bytes_per_token=size / share,
            characters_per_token=float(self._characters[rows].sum()) / share,
            byte_fallback_rate=float(self._fallen[rows].sum()) / share,
            line_break_rate=float(self._broken[rows].sum()) / share,
            unknown_rate=float(self._unknown[rows].sum()) / share,
        )

    def by(self, labels: list[str]) -> dict[str, Cost]:
        """The cost of the documents under each label but the empty one."""
        return {
            label: self.of([n for n, other in enumerate(labels) if other == label])
            for label in sorted(set(labels) - {""})
        }
