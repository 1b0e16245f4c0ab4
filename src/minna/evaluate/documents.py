"""The held-out documents of an evaluation, and what a model pays for each.

Every document is read alone, after one `</s>`, and pays for its own end: the figure must not depend
on which sentence happened to stand in front (reading across lines flatters a model of novels).
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from minna.console import progress
from minna.corpus import Document, batches, texts
from minna.errors import ArtifactError, DataError, UsageError
from minna.metrics import document_bytes
from minna.runtime.load import LoadedModel
from minna.runtime.score import score_documents

_CHUNK = 2048  # documents scored between two looks at the progress bar


@dataclass(frozen=True, kw_only=True)
class Tokens:
    """Documents as ids: flat, every document with its `</s>`, and where each begins."""

    ids: NDArray[np.int64]
    offsets: NDArray[np.int64]

    @property
    def lengths(self) -> NDArray[np.int64]:
        """[N] tokens of each document."""
        return np.diff(self.offsets)


@dataclass(frozen=True, kw_only=True)
class HeldOut:
    """The documents to score, with what they count for.

    Attributes:
        documents: [N] in corpus order.
        bytes: [N] UTF-8 bytes, and one for the end.
        characters: [N] characters, and one for the end.
        tokens: their ids under the model's tokenizer.
    """

    documents: list[Document]
    bytes: NDArray[np.int64]
    characters: NDArray[np.int64]
    tokens: Tokens

    @property
    def groups(self) -> NDArray[np.str_]:
        """[N] what is resampled together."""
        return np.array([document.group for document in self.documents])

    @property
    def sources(self) -> NDArray[np.str_]:
        """[N] where each is from."""
        return np.array([document.source for document in self.documents])

    def sha256(self) -> str:
        """Hash of the ids and texts: two evaluations with the same one scored the same text."""
        digest = hashlib.sha256()
        for document in self.documents:
            digest.update(f"{document.id}\0{document.text}\0".encode())
        return digest.hexdigest()


def held_out(corpus: Path, *, split: str, limit: int | None, model: LoadedModel) -> HeldOut:
    """Read the documents of a split, or `limit` of them at even distances.

    Raises:
        DataError: the split is empty.
    """
    documents = list(_chosen(corpus, split=split, limit=limit))
    if not documents:
        raise DataError(
            f"the split {split!r} of {corpus} has no documents",
            remedy="choose another --split, or build the corpus with a larger share for it",
        )
    strings = [document.text for document in documents]
    return HeldOut(
        documents=documents,
        bytes=document_bytes(strings),
        characters=np.array([len(text) + 1 for text in strings], dtype=np.int64),
        tokens=encode(strings, model=model),
    )


def _chosen(corpus: Path, *, split: str, limit: int | None) -> Iterator[Document]:
    every = texts(corpus, split=split)
    if limit is None:
        return every
    total = count_documents(corpus, split=split)
    if total <= limit:
        return every
    wanted = {number * total // limit for number in range(limit)}
    return (document for number, document in enumerate(every) if number in wanted)


def count_documents(corpus: Path, *, split: str) -> int:
    """How many documents a split has."""
    return sum(batch.num_rows for batch in batches(corpus, split=split, columns=["id"]))


def encode(strings: list[str], *, model: LoadedModel) -> Tokens:
    """Tokenise documents and end each in `</s>`.

    Raises:
        UsageError: the model has no end of text.
    """
    if not model.eos_ids:
        raise UsageError(
            f"{model.path} names no end-of-text token, and a document must pay for its end",
            remedy="name eos_token_id in its generation_config.json",
        )
    flat, offsets = model.tokenizer.encode_batch(strings)
    ended = np.insert(flat.astype(np.int64), offsets[1:], model.eos_ids[0])
    return Tokens(ids=ended, offsets=offsets + np.arange(len(offsets)))


def nats_of(model: LoadedModel, tokens: Tokens) -> NDArray[np.float64]:
    """[N] negative log-likelihood of each document in nats, its `</s>` included.

    Raises:
        ArtifactError: the model gives something that is not a number.
    """
    count = len(tokens.offsets) - 1
    found: list[NDArray[np.float64]] = []
    with progress() as bar:
        task = bar.add_task("scoring", total=count, note="documents")
        for first, last in itertools.pairwise([*range(0, count, _CHUNK), count]):
            begin, end = tokens.offsets[first], tokens.offsets[last]
            offsets = tokens.offsets[first : last + 1] - begin
            found.append(score_documents(model, tokens.ids[begin:end], offsets))
            bar.advance(task, last - first)
    nats = np.concatenate(found)
    broken = int((~np.isfinite(nats)).sum())
    if broken:
        raise ArtifactError(
            f"the model gives no finite likelihood for {broken} of {count} documents",
            remedy="evaluate with --dtype fp32; if it stays, the weights hold a NaN: train again",
        )
    return nats
