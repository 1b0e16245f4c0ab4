"""Hidden words follow from the seed and the place of a row, on any number of ranks."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from tests.toys import EOS, VOCAB, MemoryShards

from minna.errors import UsageError
from minna.streams import MaskedStream, MaskedStreamSettings, MaskIds
from minna.tokenizer.proto import PieceType

CLS, MASK = 3, 1  # MemoryShards tells ids from 4 on


def words(names=("<unk>", "[MASK]", "</s>", "[CLS]")):
    pieces = [SimpleNamespace(text=name, type=PieceType.CONTROL) for name in names]
    rest = [
        SimpleNamespace(text=f"w{n}", type=PieceType.NORMAL) for n in range(VOCAB - len(pieces))
    ]
    return SimpleNamespace(fields=SimpleNamespace(pieces=[*pieces, *rest]), eos_id=EOS)


def stream(*, rows=8, rank=0, ranks=1, seed=0, **settings):
    return MaskedStream(
        MemoryShards(),
        settings=MaskedStreamSettings(kind="masked", row_tokens=32, **settings),
        rows=rows,
        words=words(),
        seed=seed,
        rank=rank,
        ranks=ranks,
    )


def test_rows_begin_with_cls_and_only_hidden_words_are_asked():
    reader = stream()
    hidden = total = 0
    for _ in range(20):
        batch = next(reader)
        tokens, targets = batch["tokens"], batch["targets"]
        assert tokens.shape == targets.shape == (8, 32)
        asked = targets != -100
        assert (tokens[:, 0] == CLS).all() and not asked[:, 0].any()
        assert asked.any(dim=1).all()
        assert (tokens[asked] == MASK).all() and (tokens[~asked] != MASK).all()
        assert not torch.isin(targets[asked], torch.tensor([0, EOS, CLS, MASK])).any()
        hidden += int(asked.sum())
        total += int((~torch.isin(tokens, torch.tensor([EOS, CLS]))).sum())
    assert hidden / total == pytest.approx(0.15, abs=0.02)


def test_bert_puts_masks_words_and_the_word_itself():
    reader = stream(replace="bert", rate=0.5)
    batches = [next(reader) for _ in range(40)]
    tokens = torch.cat([b["tokens"] for b in batches])
    targets = torch.cat([b["targets"] for b in batches])
    asked = targets != -100
    masked = (tokens[asked] == MASK).float().mean()
    same = (tokens[asked] == targets[asked]).float().mean()
    assert float(masked) == pytest.approx(0.8, abs=0.02)
    assert float(same) == pytest.approx(0.1 + 0.1 / 57, abs=0.02)


def test_another_epoch_hides_other_words():
    ids = MaskIds.of(words())
    row = np.concatenate(([CLS], np.arange(5, 45)))
    found = [
        ids.hide(row, rate=0.15, replace="all_mask", generator=np.random.default_rng((0, e, 0, 0)))
        for e in range(2)
    ]
    assert not np.array_equal(found[0][0], found[1][0])


def test_resuming_and_splitting_among_ranks_hide_the_same_words():
    whole = stream(rows=8)
    first, second = next(whole), next(whole)
    resumed = stream(rows=8)
    next(resumed)
    place = resumed.state_dict()
    later = stream(rows=8)
    later.load_state_dict(place)
    again = next(later)
    assert all(torch.equal(second[name], again[name]) for name in second)
    for ranks in (2, 4):
        parts = [stream(rows=8 // ranks, rank=rank, ranks=ranks) for rank in range(ranks)]
        for expected in (first, second):
            found = [next(part) for part in parts]
            for name in expected:
                assert torch.equal(torch.cat([one[name] for one in found]), expected[name])


def test_a_row_without_words_asks_nothing_and_a_tokenizer_without_mask_is_refused():
    ids = MaskIds.of(words())
    row = np.array([CLS, EOS, EOS])
    tokens, targets = ids.hide(
        row, rate=0.5, replace="all_mask", generator=np.random.default_rng(0)
    )
    assert np.array_equal(tokens, row) and (targets == -100).all()
    with pytest.raises(UsageError, match=r"\[MASK\]"):
        MaskIds.of(words(names=("<unk>", "[CLS]")))
