"""What a tokenizer costs on a text: bytes per token, what falls back to bytes, what gets lost.

Tokenizers are compared on text they were not trained on: the split "valid", or "train" (and it says
so) where a corpus has none. Unknown pieces lose text for good; bytes only cost three times as much.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from minna.console import warn
from minna.errors import DataError
from minna.tokenizer.load import load_tokenizer
from minna.tokenizer.match import LINES, measure_match

_LIMIT_BYTES = 10_000_000


@dataclasses.dataclass(frozen=True, kw_only=True)
class Audit:
    """One tokenizer on one text. Rates are shares of tokens or of documents, 0 to 1."""

    path: str
    vocab_size: int
    tokens: int
    bytes_per_token: float
    characters_per_token: float
    byte_fallback_rate: float
    unknown_rate: float
    pieces_used: int
    round_trip_rate: float
    match_rate: float | None

    def as_json(self) -> dict[str, Any]:
        """The figures as plain values."""
        return dataclasses.asdict(self)


def held_out_texts(corpus: Path, *, limit_bytes: int = _LIMIT_BYTES) -> tuple[str, list[str]]:
    """Documents of the split "valid" (else "train"), up to `limit_bytes`: (split, texts).

    Raises:
        DataError: the corpus holds no text.
    """
    from minna.corpus.read import text_batches  # brings pyarrow

    for split in ("valid", "train"):
        texts: list[str] = []
        size = 0
        for batch, _ in text_batches(corpus, split=split):
            for text in batch:
                if size < limit_bytes and text:
                    texts.append(text)
                    size += len(text.encode())
            if size >= limit_bytes:
                break
        if texts:
            if split == "train":
                warn(f'{corpus} has no split "valid"; auditing on "train", which flatters')
            return split, texts
    raise DataError(f"{corpus} holds no text to audit on", remedy="build the corpus again")


def audit_tokenizer(path: Path, *, texts: Sequence[str]) -> Audit:
    """Measure the tokenizer in `path` on `texts` (at least one of them not empty)."""
    tokenizer = load_tokenizer(path)
    tokens, offsets = tokenizer.encode_batch(texts)
    used = np.bincount(tokens, minlength=tokenizer.vocab_size)
    back = sum(
        tokenizer.decode(tokens[start:end].tolist()) == text
        for text, start, end in zip(texts, offsets[:-1], offsets[1:], strict=True)
    )
    match = None
    if (path / "tokenizer.json").is_file():
        lines = [line for text in texts for line in text.split("\n") if line]
        match = measure_match(path, lines=lines[:LINES]).rate
    return Audit(
        path=path.as_posix(),
        vocab_size=tokenizer.vocab_size,
        tokens=len(tokens),
        bytes_per_token=sum(len(text.encode()) for text in texts) / len(tokens),
        characters_per_token=sum(map(len, texts)) / len(tokens),
        byte_fallback_rate=float(used[tokenizer.byte_ids].sum() / len(tokens)),
        unknown_rate=float(used[tokenizer.unk_id] / len(tokens)),
        pieces_used=int((used > 0).sum()),
        round_trip_rate=back / len(texts),
        match_rate=match,
    )
