"""Texts and pictures in batches, for whatever embeds them.

Published code pads every text to the model's 77 places, of which a class name in a template fills a
dozen: six times the work. Here texts are sorted by length and padded to the longest of their batch.

Shape letters: N texts or pictures, B of them in a batch, S tokens, E width of the shared space.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

T = TypeVar("T")
Embeddings = npt.NDArray[np.float32]

BATCH_TOKENS = 4096
BATCH_PICTURES = 32


def by_length(lengths: Sequence[int], *, tokens: int = BATCH_TOKENS) -> Iterator[list[int]]:
    """Return places in batches of like lengths, the longest first, of at most `tokens` padded."""
    order = sorted(range(len(lengths)), key=lambda place: -lengths[place])
    batch: list[int] = []
    for place in order:
        if batch and lengths[batch[0]] * (len(batch) + 1) > tokens:
            yield batch
            batch = []
        batch.append(place)
    if batch:
        yield batch


def padded(rows: Sequence[Sequence[int]], *, fill: int) -> tuple[Tensor, Tensor]:
    """Return rows padded behind to the longest [B, S], and their lengths [B], int64."""
    lengths = [len(row) for row in rows]
    tokens = np.full((len(rows), max(lengths)), fill, np.int64)
    for line, row in enumerate(rows):
        tokens[line, : len(row)] = row
    return torch.from_numpy(tokens), torch.tensor(lengths)


def groups(items: Iterable[T], *, of: int = BATCH_PICTURES) -> Iterator[list[T]]:
    """Return items some at a time, in their order."""
    rest = iter(items)
    while group := list(itertools.islice(rest, of)):
        yield group


def unit(rows_BE: Tensor) -> Embeddings:
    """Return rows of length 1, float32; a row of zeros stays one."""
    return torch.nn.functional.normalize(rows_BE.float(), dim=-1).cpu().numpy()


def stacked(parts: Sequence[Embeddings], *, width: int) -> Embeddings:
    """Return all batches as one array [N, E]."""
    return np.concatenate(parts) if parts else np.zeros((0, width), np.float32)
