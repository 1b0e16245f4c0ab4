"""How many nats a model needs for documents: the figure behind bits per byte.

Convention: a document is its tokens and the end-of-text token after them, and every one of them is
paid for, the first from a context of one end-of-text token, as in training rows, where documents
are joined by it. A document alone is scored without its neighbours.

A document longer than the context is read in windows that advance by half a context: past the first
window every token is paid for with at least half a context before it (Baevski & Auli 2019, section
5.3).

Logits are the largest tensor ([tokens, 32,000] in fp32 is 128 MB per thousand), so the head sees at
most `HEAD_TOKENS` positions at a time. The softmax is fp32 over all rows of the head: padded rows
of a vocabulary cost probability, as they do in transformers.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from minna.errors import DataError, UsageError
from minna.runtime.load import LoadedModel

HEAD_TOKENS = 512


@dataclass(frozen=True, kw_only=True)
class _Window:
    """Tokens [start, end) of a document are read; those from `paid` on are paid for."""

    document: int
    start: int
    paid: int
    end: int


def score(
    model: LoadedModel, texts: Sequence[str], *, batch_tokens: int = 4096
) -> NDArray[np.float64]:
    """Return the nats of each text, its end-of-text token included.

    Raises:
        DataError: a text is not valid Unicode.
    """
    end = _end_of_text(model)
    ids = [np.array([*model.tokenizer.encode(text), end], dtype=np.int64) for text in texts]
    offsets = np.cumsum([0, *[len(document) for document in ids]], dtype=np.int64)
    flat = np.concatenate(ids) if ids else np.zeros(0, dtype=np.int64)
    return score_documents(model, flat, offsets, batch_tokens=batch_tokens)


@torch.no_grad()
def score_documents(
    model: LoadedModel,
    ids: NDArray[np.integer],
    offsets: NDArray[np.integer],
    *,
    batch_tokens: int = 4096,
    stride: int | None = None,
) -> NDArray[np.float64]:
    """Return the summed nats of documents laid end to end.

    Args:
        model: from `load_model`.
        ids: [total] token ids; each document ends in the end-of-text token.
        offsets: [documents + 1] where each begins.
        batch_tokens: tokens (padding included) read in one call.
        stride: how far windows of long documents advance; half a context when None.

    Raises:
        DataError: an id outside the model's vocabulary.
        UsageError: a stride that is not between 1 and the context.
    """
    context = model.decoder.config.context
    stride = context // 2 if stride is None else stride
    if not 1 <= stride <= context:
        raise UsageError(
            f"stride must be between 1 and the context {context}, not {stride}",
            remedy="leave it out",
        )
    _check_ids(ids, model)
    before = np.concatenate(([_end_of_text(model)], ids[:-1])) if len(ids) else ids
    before = np.array(before, dtype=np.int64)
    before[offsets[:-1][np.diff(offsets) > 0]] = _end_of_text(model)
    windows = [
        window
        for document in range(len(offsets) - 1)
        for window in _windows(
            document, int(offsets[document]), int(offsets[document + 1]), context, stride
        )
    ]
    nats = np.zeros(len(offsets) - 1, dtype=np.float64)
    for batch in _batches(windows, batch_tokens):
        for window, value in zip(batch, _score_batch(model, batch, before, ids), strict=True):
            nats[window.document] += value
    return nats


def _windows(document: int, first: int, last: int, context: int, stride: int) -> Iterator[_Window]:
    end = min(first + context, last)
    if first < last:
        yield _Window(document=document, start=first, paid=first, end=end)
    while end < last:
        paid, end = end, min(end + stride, last)
        yield _Window(document=document, start=max(first, end - context), paid=paid, end=end)


def _batches(windows: list[_Window], batch_tokens: int) -> Iterator[list[_Window]]:
    """Longest first, so that what does not fit in memory fails at once; padded to the longest."""
    batch: list[_Window] = []
    for window in sorted(windows, key=lambda w: w.start - w.end):
        if batch and (batch[0].end - batch[0].start) * (len(batch) + 1) > batch_tokens:
            yield batch
            batch = []
        batch.append(window)
    if batch:
        yield batch


def _score_batch(
    model: LoadedModel,
    batch: list[_Window],
    before: NDArray[np.int64],
    ids: NDArray[np.integer],
) -> list[float]:
    longest = max(window.end - window.start for window in batch)
    inputs = np.zeros((len(batch), longest), dtype=np.int64)
    asked = np.zeros((len(batch), longest), dtype=bool)
    for row, window in enumerate(batch):
        inputs[row, : window.end - window.start] = before[window.start : window.end]
        asked[row, window.paid - window.start : window.end - window.start] = True
    hidden_BSD = model.decoder(torch.from_numpy(inputs).to(model.device))
    hidden_ND = hidden_BSD[torch.from_numpy(asked).to(model.device)]
    wanted = np.concatenate([ids[window.paid : window.end] for window in batch]).astype(np.int64)
    nats_N = _nats(model, hidden_ND, torch.from_numpy(wanted).to(model.device))
    sizes = [window.end - window.paid for window in batch]
    return [float(part.sum()) for part in nats_N.cpu().double().split(sizes)]


def _nats(model: LoadedModel, hidden_ND: Tensor, wanted_N: Tensor) -> Tensor:
    """-log p of each wanted token, the head applied to a bounded number of positions at a time."""
    parts: list[Tensor] = []
    for hidden, wanted in zip(
        hidden_ND.split(HEAD_TOKENS), wanted_N.split(HEAD_TOKENS), strict=True
    ):
        logits = model.decoder.logits(hidden).float()
        parts.append(logits.logsumexp(-1) - logits.gather(1, wanted[:, None])[:, 0])
    return torch.cat(parts)


def _end_of_text(model: LoadedModel) -> int:
    if not model.eos_ids:
        raise DataError(
            "the model names no end-of-text token, so a document's first token has no context",
            remedy="name eos_token_id in its generation_config.json",
        )
    return model.eos_ids[0]


def _check_ids(ids: NDArray[np.integer], model: LoadedModel) -> None:
    vocab = model.decoder.config.vocab
    if len(ids) and not 0 <= int(ids.min()) <= int(ids.max()) < vocab:
        raise DataError(
            f"token ids lie between {ids.min()} and {ids.max()}, outside the vocabulary of {vocab}",
            remedy="use tokens made with the model's own tokenizer",
        )
