"""What the loop looks at along the way, handed to it as plain callables."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
from torch import nn

from minna.models import Decoder
from minna.recipe.schema import EvaluateSettings, Recipe
from minna.runtime.generate import GenerateSettings, generate
from minna.runtime.load import LoadedModel
from minna.runtime.sampling import Sampling
from minna.runtime.score import score_documents
from minna.streams import TokenShards
from minna.tokenizer.coder import AnyTokenizer
from minna.train.protocols import Evaluation, Evaluator


def looks(recipe: Recipe, tokens: Path, words: AnyTokenizer) -> list[Evaluator]:
    """Return the looks a recipe asks for."""
    valid = TokenShards(tokens, split="valid")
    found: list[Evaluator] = []
    if recipe.evaluate.valid_documents and valid.documents:
        found.append(bits_per_byte(valid, words=words, limit=recipe.evaluate.valid_documents))
    if recipe.evaluate.prompts:
        found.append(samples(recipe.evaluate, words=words, seed=recipe.train.seed))
    return found


def bits_per_byte(valid: TokenShards, *, words: AnyTokenizer, limit: int) -> Evaluator:
    """Bits per byte of up to `limit` documents spread evenly over the valid split.

    Each document is read alone, after one `</s>`, and pays for its end, which counts as one byte.
    """
    ids, offsets, size = _spread(valid, limit=limit)

    def look(model: nn.Module) -> Evaluation:
        nats = score_documents(_as_loaded(model, words), ids, offsets)
        return Evaluation(figures={"bits_per_byte": float(nats.sum()) / math.log(2) / size})

    return look


def samples(settings: EvaluateSettings, *, words: AnyTokenizer, seed: int) -> Evaluator:
    """Continue the recipe's prompts; the same seed every time, so that only the model changes."""
    sampling = Sampling(temperature=settings.temperature, top_p=settings.top_p, seed=seed)
    how = GenerateSettings(max_new_tokens=settings.sample_tokens, sampling=sampling)

    def look(model: nn.Module) -> Evaluation:
        prompts = list(settings.prompts)
        results = generate(_as_loaded(model, words), prompts, settings=how)
        texts = [
            {"prompt": prompt, "text": result.text}
            for prompt, result in zip(prompts, results, strict=True)
        ]
        return Evaluation(samples=texts)

    return look


def _as_loaded(model: nn.Module, words: AnyTokenizer) -> LoadedModel:
    assert isinstance(model, Decoder), "these looks are for decoders"
    return LoadedModel(decoder=model, tokenizer=words, config={}, generation={})


def _spread(shards: TokenShards, *, limit: int) -> tuple[np.ndarray, np.ndarray, int]:
    """Up to `limit` documents at equal distances: (ids, offsets, bytes)."""
    stride = max(1, math.ceil(shards.documents / limit))
    pieces: list[np.ndarray] = []
    size = 0
    skipped = 0
    for shard in shards.shards:
        first = -skipped % stride
        skipped += shard.documents
        for document in range(first, shard.documents, stride):
            begin, end = shard.offsets[document], shard.offsets[document + 1]
            pieces.append(np.asarray(shard.tokens[begin:end], dtype=np.int64))
            size += int(shard.byte_ends[document + 1] - shard.byte_ends[document])
    offsets = np.concatenate(([0], np.cumsum([len(piece) for piece in pieces])))
    return np.concatenate(pieces), offsets, size
