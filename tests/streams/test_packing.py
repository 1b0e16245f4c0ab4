"""Rows of whole documents: nothing lost, nothing cut, nearly nothing empty; the same after a stop."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as some
from tests.tuning import MemoryDialogues, stream, toy_decoder

from minna.errors import DataError
from minna.objectives import CausalLM
from minna.streams.chat import ChatStream, Documents
from minna.streams.packing import EpochRows, pack


@given(some.lists(some.integers(1, 20), max_size=60))
def test_every_document_lies_in_one_row_that_holds_it(lengths):
    rows = pack(lengths, room=20)
    assert sorted(int(n) for row in rows for n in row) == list(range(len(lengths)))
    assert all(sum(lengths[n] for n in row) <= 20 for row in rows)
    # of two rows that are at most half full one was not needed
    assert sum(2 * sum(lengths[n] for n in row) <= 20 for row in rows) <= 1


def test_rows_of_random_documents_are_full():
    lengths = np.random.default_rng(0).integers(10, 300, 5000)
    rows = EpochRows(lengths, room=1024, rows="packed", seed=0)
    count, filled = rows.filled()
    assert filled > 0.98 and count == pytest.approx(lengths.sum() / 1024, rel=0.03)


@pytest.mark.parametrize("rows", ["packed", "single"])
def test_an_epoch_tells_every_document_once_and_the_next_in_another_order(rows):
    lengths = np.random.default_rng(0).integers(1, 30, 100)
    order = EpochRows(lengths, room=40, rows=rows, seed=1)
    epochs = []
    for _ in range(2):
        told = []
        while len(told) < 100:
            told += order.take().tolist()
        epochs.append(told)
    assert sorted(epochs[0]) == sorted(epochs[1]) == list(range(100)) and epochs[0] != epochs[1]


def test_a_stream_goes_on_where_it_stood_and_ranks_share_its_batches():
    alone = stream(batch_rows=4)
    wanted = [next(alone) for _ in range(9)]
    again = stream(batch_rows=4)
    for _ in range(4):
        next(again)
    state = again.state_dict()
    fresh = stream(batch_rows=4)
    fresh.load_state_dict(state)
    for batch in wanted[4:]:
        assert all(torch.equal(batch[name], found) for name, found in next(fresh).items())
    ranks = [stream(batch_rows=2, rank=rank, ranks=2) for rank in range(2)]
    for batch in wanted:
        parts = [next(rank) for rank in ranks]
        for name in batch:
            assert torch.equal(batch[name], torch.cat([part[name] for part in parts]))


def test_packed_answers_cost_what_they_cost_alone():
    model, objective = toy_decoder(seed=0), CausalLM()
    packed, single = stream(), stream(rows="single", batch_rows=1)
    documents = Documents(MemoryDialogues())
    rows, _ = packed.filled()
    packed = stream(batch_rows=rows)
    batch = next(packed)
    loss = objective.loss(model, batch)[0]["next_token"]
    loss.backward()
    gradients = {name: p.grad.clone() for name, p in model.named_parameters()}
    model.zero_grad()
    alone, count = 0.0, 0
    for _ in range(documents.count):
        one = next(single)
        own = objective.loss(model, one)[0]["next_token"]
        own.backward()
        alone, count = alone + float(own), count + objective.counts(one)["next_token"]
    assert count == objective.counts(batch)["next_token"]
    assert float(loss) == pytest.approx(alone, rel=1e-5)
    for name, p in model.named_parameters():
        torch.testing.assert_close(p.grad, gradients[name], rtol=1e-3, atol=1e-4, msg=name)


def test_targets_are_the_learned_words_and_each_follows_the_word_before():
    documents = Documents(MemoryDialogues())
    told = stream(rows="single", batch_rows=1)
    for _ in range(5):
        batch = next(told)
        ids = batch["tokens"][0].tolist()
        asked = [(i, t) for i, t in enumerate(batch["targets"][0].tolist()) if t != -100]
        found = [
            n
            for n in range(documents.count)
            if documents[n][0][:-1].tolist() == ids[: len(documents[n][0]) - 1]
        ]
        ((words, learned),) = [documents[n] for n in found]
        assert asked == [(i - 1, int(words[i])) for i in np.flatnonzero(learned)]


def test_pairs_lie_side_by_side_and_say_where_they_end():
    batch = next(stream(side_by_side=2))
    documents = Documents(MemoryDialogues())
    known = {tuple(documents[n][0].tolist()): n for n in range(documents.count)}
    flat = batch["tokens"].flatten()
    told = []
    for number, end in enumerate(batch["ends"].tolist()):
        places = (batch["documents"].flatten() == number).nonzero()[:, 0]
        assert int(places[-1]) == end  # the last token is read
        told.append(known[tuple(flat[places].tolist())])
    assert len(told) % 2 == 0
    assert all(number % 2 == 0 for number in told[::2])
    assert [number + 1 for number in told[::2]] == told[1::2]


def test_nothing_to_learn_from_is_said():
    nothing = SimpleNamespace(shards=[])
    with pytest.raises(DataError, match="holds no dialogue"):
        ChatStream(nothing, room=8, rows="packed", batch_rows=1, fill=0, seed=0)
