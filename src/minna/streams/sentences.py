"""Sentences that say the same, two at a time: what a text embedder learns from.

Any corpus of documents holds them whose groups have several: Tatoeba's translations of one
sentence, lines of a parallel text in two languages. A group is a row, two of its sentences are
drawn each time it comes, and the others of the step are what they are told apart from.

B rows of a batch, S tokens of the longest sentence.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass
from torch import Tensor

from minna.corpus import read
from minna.corpus.pair_corpus import Pair
from minna.corpus.pair_rows import Caption
from minna.errors import DataError
from minna.streams.picture_rows import PictureRows, write_rows
from minna.streams.pictures import Steps, Texts
from minna.tokenizer.coder import AnyTokenizer

_LEAST = 2


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class SentenceStreamSettings:
    """Which sentences are learned from.

    Attributes:
        row_tokens: longest sentence, the token in front of it counted; longer ones are cut.
    """

    kind: Literal["sentences"]
    row_tokens: int = Field(ge=2)


def write_sentences(corpus: Path, *, tokenizer: Path, out: Path) -> Path:
    """Write the groups of a corpus of documents that hold at least two, or do nothing.

    Args:
        corpus: of documents.
        tokenizer: of the model.
        out: the folder.

    Raises:
        DataError: no group of the training split has two different documents.
        ArtifactError: an input is not what it should be.
    """

    def of(split: str) -> Iterator[Pair]:
        return _groups(corpus, split)

    if not write_rows(corpus, of, tokenizer=tokenizer, settings={"content": "sentences"}, out=out):
        raise DataError(
            f"no two documents of the training split of {corpus} are of one group, and a text "
            "embedder learns from texts that say the same",
            remedy="give translations or paraphrases: minna corpus build pairs, or tatoeba",
        )
    return out


def _groups(corpus: Path, split: str) -> Iterator[Pair]:
    """Groups of at least two different documents, in the order of their names."""
    texts: dict[str, list[str]] = {}
    for batch in read.batches(corpus, split=split, columns=("group", "text")):
        for row in batch.to_pylist():
            found = texts.setdefault(row["group"], [])
            if row["text"] not in found:
                found.append(row["text"])
    for group in sorted(texts):
        if len(texts[group]) >= _LEAST:
            captions = tuple(Caption(text, "sentence", 1.0) for text in texts[group])
            yield Pair(
                id=group,
                group=group,
                split=split,
                source="",
                concept="",
                captions=captions,
                image=b"",
            )


class SentenceStream:
    """An endless iterator of batches: `tokens`, `lengths`, `tokens_b`, `lengths_b`, and `same` [B].

    Args:
        rows: groups of the training split.
        words: the tokenizer.
        row_tokens: longest sentence.
        batch_rows: rows of a micro-batch on this rank (B).
        step_rows: groups of one update, over all ranks and micro-batches.
        seed: fixes everything drawn.
        rank, ranks: this rank takes its share of every micro-batch.
    """

    def __init__(
        self,
        rows: PictureRows,
        *,
        words: AnyTokenizer,
        row_tokens: int,
        batch_rows: int,
        step_rows: int,
        seed: int,
        rank: int = 0,
        ranks: int = 1,
    ) -> None:
        if len(rows) < step_rows:
            raise DataError(
                f"a step has {step_rows} groups of sentences, and the training split {len(rows)}",
                remedy="lower train.tokens_per_step (stream.row_tokens x groups), or give a "
                "larger corpus",
            )
        self._rows, self._seed = rows, seed
        self._texts = Texts(words, row_tokens=row_tokens)
        self._steps = Steps(
            np.arange(len(rows)),
            batch_rows=batch_rows,
            step_rows=step_rows,
            seed=seed,
            rank=rank,
            ranks=ranks,
        )

    def state_dict(self) -> dict[str, int]:
        """Where the stream stands, for all ranks alike."""
        return self._steps.state_dict()

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Go to a place."""
        self._steps.load_state_dict(state)

    def figures(self) -> dict[str, float]:
        """Say how often each group came."""
        return {"epochs": self._steps.epochs}

    def __iter__(self) -> Iterator[dict[str, Tensor]]:
        return self

    def __next__(self) -> dict[str, Tensor]:
        epoch, numbers = self._steps.take()
        left: list[str] = []
        right: list[str] = []
        for number, captions in zip(numbers, self._rows.captions_of(numbers), strict=True):
            generator = np.random.default_rng((self._seed, epoch, int(number), 1))
            one, other = generator.permutation(len(captions))[:_LEAST]
            left.append(captions[one].text)
            right.append(captions[other].text)
        other_side: dict[str, Any] = self._texts.batch(right, suffix="_b")
        del other_side["same_b"]
        return self._texts.batch(left) | other_side
