"""How a masked language model is looked at: hidden words of held-out text, and prompts filled.

The words hidden are the same at every look (a seed of their own), so that only the model changes.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import cast

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from minna.models.encoder import Encoder
from minna.recipe.schema import Recipe
from minna.runtime.fill import fill
from minna.streams import MaskedStreamSettings, MaskIds, TokenShards
from minna.streams.masked import IGNORE
from minna.tokenizer.coder import AnyTokenizer
from minna.tokenizer.load import Tokenizer
from minna.tokenizer.masks import MASK, with_masks
from minna.train.protocols import Evaluation, Evaluator

_SEED = 20_210_825  # of the hidden words of held-out text; any number


def looks(recipe: Recipe, tokens: Path, words: AnyTokenizer) -> list[Evaluator]:
    """Return the looks a recipe asks for."""
    valid = TokenShards(tokens, split="valid")
    pieces = with_masks(words)
    settings = cast("MaskedStreamSettings", recipe.stream)
    found: list[Evaluator] = []
    if recipe.evaluate.valid_documents and valid.documents:
        limit = recipe.evaluate.valid_documents
        found.append(hidden_words(valid, settings=settings, words=pieces, limit=limit))
    if prompts := [prompt for prompt in recipe.evaluate.prompts if MASK in prompt]:
        found.append(filled(prompts, words=pieces))
    return found


def hidden_words(
    valid: TokenShards, *, settings: MaskedStreamSettings, words: Tokenizer, limit: int
) -> Evaluator:
    """Perplexity and accuracy on hidden words of up to `limit` documents, each cut to one row."""
    ids = MaskIds.of(words)
    generator = np.random.default_rng(_SEED)
    rows: list[tuple[Tensor, Tensor]] = []
    stride = max(1, math.ceil(valid.documents / limit))
    number = 0
    for shard in valid.shards:
        for document in range(shard.documents):
            number += 1
            if (number - 1) % stride:
                continue
            begin, end = shard.offsets[document], shard.offsets[document + 1]
            text = np.asarray(shard.tokens[begin:end], dtype=np.int64)[: settings.row_tokens - 1]
            row, asked = ids.hide(
                np.concatenate(([ids.cls], text)),
                rate=settings.rate,
                replace=settings.replace,
                generator=generator,
            )
            rows.append((torch.from_numpy(row), torch.from_numpy(asked)))

    def look(model: nn.Module) -> Evaluation:
        encoder = cast("Encoder", model)
        device = encoder.embed.weight.device
        nats, right, count = 0.0, 0, 0
        with torch.no_grad():
            for row, asked in rows:
                where = asked != IGNORE
                if not bool(where.any()):
                    continue
                hidden_SD = encoder(row.unsqueeze(0).to(device))[0]
                logits_NV = encoder.logits(hidden_SD[where.to(device)]).float()
                targets_N = asked[where].to(device)
                nats += float(F.cross_entropy(logits_NV, targets_N, reduction="sum"))
                right += int((logits_NV.argmax(-1) == targets_N).sum())
                count += len(targets_N)
        count = max(count, 1)
        return Evaluation(
            figures={"perplexity": math.exp(min(nats / count, 50)), "accuracy": right / count}
        )

    return look


def filled(prompts: list[str], *, words: Tokenizer) -> Evaluator:
    """Fill the [MASK]s of prompts, for the report."""

    def look(model: nn.Module) -> Evaluation:
        found = fill(cast("Encoder", model), words, prompts)
        return Evaluation(
            samples=[
                {
                    "prompt": one.prompt,
                    "text": "  ".join(
                        "/".join(f"{c.text} {c.probability:.2f}" for c in place)
                        for place in one.places
                    ),
                }
                for one in found
            ]
        )

    return look
