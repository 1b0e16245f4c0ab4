"""Small dialogues, pairs and experience that the tests of several rooms share."""

from __future__ import annotations

import numpy as np

from minna.models import build
from minna.models.family import GptNeoXShape
from minna.streams.chat import ChatStream
from minna.streams.shards import Shard

WORDS = 37


def toy_decoder(*, seed: int):
    """Two layers; three rows of the embedding have no word."""
    shape = GptNeoXShape(
        layers=2, width=32, heads=2, ffn=64, context=64, vocab=WORDS + 3, tied=True, init_std=0.3
    )
    model = build(shape, vocab=WORDS)
    model.initialise(seed=seed)
    return model


class MemoryDialogues:
    """Shards of dialogues in memory: random documents whose second half is learned."""

    def __init__(self, *, documents: int = 40, longest: int = 20, seed: int = 0) -> None:
        generator = np.random.default_rng(seed)
        lengths = generator.integers(4, longest, documents)
        offsets = np.concatenate(([0], np.cumsum(lengths)))
        tokens = generator.integers(1, WORDS, offsets[-1]).astype(np.uint16)
        learned = np.concatenate([np.arange(length) >= length // 2 for length in lengths])
        self.shards = [Shard(tokens=tokens, offsets=offsets, byte_ends=offsets, learned=learned)]
        self.documents = documents


def stream(
    *, side_by_side: int = 1, rows: str = "packed", batch_rows: int = 3, **more
) -> ChatStream:
    """A stream of them."""
    return ChatStream(
        MemoryDialogues(), room=48, rows=rows, batch_rows=batch_rows, fill=0, seed=3,
        side_by_side=side_by_side, **more,
    )  # fmt: skip


def pair_batch():
    """A batch of pairs."""
    return next(stream(side_by_side=2))
