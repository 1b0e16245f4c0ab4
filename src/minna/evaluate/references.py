"""What a figure is put beside: an n-gram model and a compressor that saw the same training text.

A number such as 1.14 bits per byte says nothing alone. On Tatoeba a modified Kneser-Ney 5-gram over
the same tokens needs 1.154 and xz with the training text in front 1.544: a model that does not beat
the first has learnt less than a table of counts.

Both see whole documents at even distances over the training split when it is larger than their cap,
so that no corpus of several sources is represented by its first; the report says what they saw.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from minna.console import say
from minna.corpus import text_batches
from minna.errors import DataError
from minna.evaluate.documents import HeldOut, Tokens, encode
from minna.evaluate.settings import EvaluateSettings
from minna.metrics import KneserNey, xz_bits_per_byte
from minna.runtime.load import LoadedModel


@dataclass(frozen=True, kw_only=True)
class Measured:
    """What a reference reached: nats per document where it can tell, else only bits per byte."""

    nats: NDArray[np.float64] | None
    bits_per_byte: float
    conditions: dict[str, int | float | str]


@dataclass(frozen=True, kw_only=True)
class TrainingText:
    """The training split of a corpus, and how much there is of it."""

    corpus: Path
    documents: int
    bytes: int

    def every_nth(self, nth: int) -> Iterator[list[str]]:
        """Batches of the documents number 0, nth, 2 nth ..."""
        seen = 0
        for texts, _ in text_batches(self.corpus, split="train"):
            yield texts[-seen % nth :: nth]
            seen += len(texts)

    def stride(self, *, cap: float) -> int:
        """Every how manieth document to take for at most about `cap` bytes."""
        return max(1, math.ceil(self.bytes / cap))


def measure_references(
    corpus: Path, *, held: HeldOut, model: LoadedModel, settings: EvaluateSettings
) -> dict[str, Measured]:
    """Measure the references the settings name, on the held-out documents.

    Raises:
        DataError: Kneser-Ney has nothing to count.
    """
    if not settings.references:
        return {}
    training = _training_text(corpus)
    found: dict[str, Measured] = {}
    for name in settings.references:
        say(f"measuring the reference {name} on {len(held.documents)} documents")
        if name == "kneser-ney":
            found[name] = _kneser_ney(training, held, model, settings)
        else:
            found[name] = _xz(training, held, settings)
    return found


def _training_text(corpus: Path) -> TrainingText:
    documents = size = 0
    for texts, _ in text_batches(corpus, split="train"):
        documents += len(texts)
        size += sum(len(text.encode()) + 1 for text in texts)
    return TrainingText(corpus=corpus, documents=documents, bytes=size)


def _kneser_ney(
    training: TrainingText, held: HeldOut, model: LoadedModel, settings: EvaluateSettings
) -> Measured:
    cap = settings.kneser_ney_tokens
    bytes_per_token = float(held.bytes.sum() / len(held.tokens.ids))
    known = _tokens(training, nth=training.stride(cap=cap * bytes_per_token), cap=cap, model=model)
    ngrams = KneserNey.fit(
        known.ids,
        known.offsets,
        order=settings.kneser_ney_order,
        vocab_size=model.vocab,
    )
    nats = ngrams.nats(held.tokens.ids, held.tokens.offsets)
    return Measured(
        nats=nats,
        bits_per_byte=float(nats.sum() / held.bytes.sum() / math.log(2)),
        conditions={
            "order": settings.kneser_ney_order,
            "training_documents": len(known.lengths),
            "training_split_documents": training.documents,
            "training_tokens": len(known.ids),
            "training_tokens_cap": cap,
        },
    )


def _xz(training: TrainingText, held: HeldOut, settings: EvaluateSettings) -> Measured:
    nth = training.stride(cap=settings.xz_bytes)
    done = xz_bits_per_byte(
        itertools.chain.from_iterable(training.every_nth(nth)),
        held_out=[document.text for document in held.documents],
        max_training_bytes=settings.xz_bytes,
    )
    return Measured(
        nats=None,
        bits_per_byte=done.bits_per_byte,
        conditions={
            "training_bytes": done.training_bytes,
            "training_split_bytes": training.bytes,
            "training_bytes_cap": settings.xz_bytes,
        },
    )


def _tokens(training: TrainingText, *, nth: int, cap: int, model: LoadedModel) -> Tokens:
    """Every nth training document, whole, up to the cap.

    Raises:
        DataError: not even the first fits.
    """
    ids: list[NDArray[np.int64]] = [np.zeros(0, dtype=np.int64)]
    lengths: list[NDArray[np.int64]] = [np.zeros(0, dtype=np.int64)]
    room = cap
    for strings in training.every_nth(nth):
        tokens = encode(strings, model=model)
        fitting = int(np.searchsorted(tokens.offsets, room, side="right")) - 1
        end = int(tokens.offsets[fitting])
        ids.append(tokens.ids[:end])
        lengths.append(tokens.lengths[:fitting])
        room -= end
        if fitting < len(strings):
            break
    flat = np.concatenate(ids)
    if len(flat) == 0:
        raise DataError(
            f"the training split of {training.corpus} gives Kneser-Ney no document within the cap "
            f"of {cap} tokens ({training.documents} documents)",
            remedy="leave --references out, or evaluate on a corpus with training documents",
        )
    offsets = np.concatenate([[0], np.cumsum(np.concatenate(lengths))]).astype(np.int64)
    return Tokens(ids=flat, offsets=offsets)
