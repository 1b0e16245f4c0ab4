"""Documents cost what a straightforward forward pass says."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from minna.errors import DataError
from minna.runtime import score, score_documents


def reference(model, ids):
    """One document, one forward, all logits at once."""
    tokens = torch.tensor([[2, *ids[:-1]]])
    logprobs = model.decoder.logits(model.decoder(tokens)).float().log_softmax(-1)[0]
    return -float(logprobs.gather(1, torch.tensor(ids)[:, None]).sum())


def documents(lengths, *, seed=0):
    chance = np.random.default_rng(seed)
    return [[*chance.integers(4, 380, n - 1).tolist(), 2] for n in lengths]


def flat(docs):
    offsets = np.cumsum([0, *map(len, docs)])
    return np.array([i for doc in docs for i in doc], dtype=np.uint16), offsets


@pytest.mark.parametrize("batch_tokens", [1, 200, 100_000])
def test_every_token_is_paid_for_once_whatever_the_batch(model, batch_tokens):
    docs = documents([1, 30, 2, 96, 17, 55])
    got = score_documents(model, *flat(docs), batch_tokens=batch_tokens)
    assert got.dtype == np.float64
    assert got == pytest.approx([reference(model, doc) for doc in docs], rel=1e-4)


def test_documents_longer_than_the_context_slide_by_half_of_it(model):
    context = model.decoder.config.context
    (doc,) = documents([context * 2 + 11], seed=1)
    before = [2, *doc[:-1]]
    expected, start, paid = 0.0, 0, 0
    while paid < len(doc):
        end = min(len(doc), context if paid == 0 else paid + context // 2)
        start = max(0, end - context)
        logits = model.decoder.logits(model.decoder(torch.tensor([before[start:end]])))[0]
        logprobs = logits.float().log_softmax(-1)
        expected -= sum(float(logprobs[i - start, doc[i]]) for i in range(paid, end))
        paid = end
    assert score_documents(model, *flat([doc]))[0] == pytest.approx(expected, rel=1e-4)


def test_texts_are_scored_with_their_end_and_nothing_is_zero_for_nothing(model):
    texts = ["吾輩は猫である。", "", "名前はまだ無い。" * 4]
    ids = [[*model.tokenizer.encode(text), 2] for text in texts]
    assert score(model, texts) == pytest.approx([reference(model, i) for i in ids], rel=1e-4)
    assert score(model, []).shape == (0,)
    empty = score_documents(model, np.zeros(0, dtype=np.int64), np.array([0, 0]))
    assert empty.tolist() == [0.0]


def test_ids_outside_the_vocabulary_are_refused(model):
    with pytest.raises(DataError, match="outside the vocabulary"):
        score_documents(model, np.array([5, 4000]), np.array([0, 2]))
