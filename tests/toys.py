"""Tiny but real parts that several rooms' tests train."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

from minna.models import build
from minna.models.family import (
    Gpt2Shape,
    GptNeoXShape,
    LlamaShape,
    Qwen2Shape,
    Qwen3Shape,
    QwenShape,
    find_family,
)
from minna.objectives import CausalLM
from minna.streams.shards import Shard
from minna.streams.text import TextStream, TextStreamSettings
from minna.train.optim import AdamWSettings, make_optimisers
from minna.train.parallel import Sharding, place
from minna.train.protocols import Parts
from minna.train.quality import bits_per_byte
from minna.train.ranks import ALONE, Ranks
from minna.train.schedule import Cosine

EOS = 2
VOCAB = 61


class MemoryShards:
    """Token shards that live in memory: documents of random lengths, each ended by EOS."""

    def __init__(self, *, documents: int = 300, longest: int = 30, seed: int = 0) -> None:
        generator = np.random.default_rng(seed)
        lengths = generator.integers(2, longest, documents)
        pieces = []
        for length in lengths:
            # every document is a short pattern told again and again, so that there is something to learn
            pattern = generator.integers(4, VOCAB, 3)
            pieces.append(np.append(np.resize(pattern, length - 1), EOS))
        offsets = np.concatenate(([0], np.cumsum(lengths)))
        flat = np.concatenate(pieces).astype(np.uint16)
        self.shards = [Shard(tokens=flat, offsets=offsets, byte_ends=offsets)]
        self.tokens = len(flat)


def toy_parts(
    *,
    rows: int = 8,
    accumulation: int = 1,
    attention: str = "within",
    row_tokens: int = 16,
    optim=None,
    family: str = "gpt_neox",
    dropout: float = 0.0,
    seed: int = 0,
    ranks: Ranks = ALONE,
    sharding: Sharding = "auto",
    precision: str = "fp32",
) -> Parts:
    """A 2-layer model with everything around it."""
    size = {"layers": 2, "width": 32, "heads": 2, "ffn": 64, "context": 64}
    shape = {
        "gpt_neox": lambda: GptNeoXShape(**size, dropout=dropout),
        "gpt2": lambda: Gpt2Shape(**size, dropout=dropout),
        "llama": lambda: LlamaShape(**size, kv_heads=1),
        "qwen": lambda: QwenShape(**size),
        "qwen2": lambda: Qwen2Shape(**size, kv_heads=1),
        "qwen3": lambda: Qwen3Shape(**size, kv_heads=1),
    }[family]()
    model = build(shape, vocab=VOCAB)
    model.initialise(seed=seed)
    settings = TextStreamSettings(row_tokens=row_tokens, rows="document_start", attention=attention)
    optim = optim or AdamWSettings(lr=3e-3)
    objective = CausalLM()
    placement = place(
        model,
        objective,
        device="cpu",
        sharding=sharding,
        units=find_family(family).shard_units,
        ranks=ranks,
        precision=precision,
    )
    return Parts(
        model=model,
        objective=objective,
        placement=placement,
        stream=TextStream(
            MemoryShards(),
            settings=settings,
            rows=rows,
            eos=EOS,
            seed=seed,
            rank=ranks.rank,
            ranks=ranks.count,
        ),
        optimisers=make_optimisers(model, settings=optim),
        schedule=Cosine(warmup=2),
        clip=1.0,
        evaluators=[],
        weights={"next_token": 1.0},
        micro_batch_tokens=rows * row_tokens * ranks.count,
        accumulation=accumulation,
        flops_per_token=model.flops_per_token(row_tokens=row_tokens),
        quality=bits_per_byte(0.25),
    )


def weights(parts: Parts) -> dict[str, torch.Tensor]:
    """A copy of the model's weights."""
    return {name: tensor.clone() for name, tensor in parts.model.state_dict().items()}


def same_bits(left: dict[str, torch.Tensor], right: dict[str, torch.Tensor]) -> bool:
    """Whether two state dicts are equal bit for bit."""
    return left.keys() == right.keys() and all(torch.equal(left[k], right[k]) for k in left)


def assert_packed_is_alone(parts):
    """Documents packed in rows give the losses and gradients of each document by itself."""
    batch = next(parts.stream)
    packed = parts.objective.loss(parts.model, batch)[0]["next_token"]
    packed.backward()
    gradients = {name: p.grad.clone() for name, p in parts.model.named_parameters()}
    parts.model.zero_grad()
    alone = 0.0
    for tokens, targets in zip(batch["tokens"], batch["targets"], strict=True):
        # a document alone: from one </s> (or the row's start) to the next </s> as its last target
        starts = [0, *[i for i in range(1, len(tokens)) if tokens[i] == EOS], len(tokens)]
        for begin, end in itertools.pairwise(starts):
            piece = {"tokens": tokens[None, begin:end], "targets": targets[None, begin:end]}
            loss = parts.objective.loss(parts.model, piece)[0]["next_token"]
            loss.backward()
            alone += loss.item()
    assert float(packed) == pytest.approx(alone, rel=1e-5)
    for name, p in parts.model.named_parameters():
        torch.testing.assert_close(p.grad, gradients[name], rtol=1e-3, atol=1e-4, msg=name)
