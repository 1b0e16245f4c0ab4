"""Rows from (seed, position): deterministic, complete, resumable, split by rank."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tests.toys import EOS, VOCAB, MemoryShards

from minna.errors import DataError
from minna.streams.shards import Shard
from minna.streams.text import TextStream, TextStreamSettings, row_starts


def stream(
    shards=None, *, rows=4, seed=0, row_tokens=16, start="continuous", attention="across", **more
):
    settings = TextStreamSettings(row_tokens=row_tokens, rows=start, attention=attention)
    return TextStream(
        shards or MemoryShards(), settings=settings, rows=rows, eos=EOS, seed=seed, **more
    )


@given(
    st.lists(st.integers(1, 40), min_size=1, max_size=60),
    st.integers(2, 20),
    st.sampled_from(["continuous", "document_start"]),
)
def test_rows_cover_the_ribbon_without_gaps_and_never_leave_it(lengths, row_tokens, rows):
    ends = np.cumsum(lengths)
    starts = row_starts(ends, row_tokens=row_tokens, rows=rows)
    assert all(start + row_tokens + 1 <= ends[-1] for start in starts)
    if len(starts):
        assert starts[0] == 0
        assert all(0 < b - a <= row_tokens + 1 for a, b in itertools.pairwise(starts))
    if rows == "document_start":
        boundaries = {0, *ends.tolist()}
        for before, start in itertools.pairwise(starts):
            if int(start) not in boundaries:
                # only a document longer than the row goes on in the next
                assert not [b for b in boundaries if before < b <= before + row_tokens + 1]


def test_an_epoch_of_continuous_rows_tells_every_target_once():
    shards = MemoryShards()
    given_stream = stream(shards, rows=1)
    count = (shards.tokens - 1) // 16
    seen = []
    for _ in range(count):
        batch = next(given_stream)
        seen.append(batch["targets"][0].numpy())
        assert torch.equal(batch["tokens"][0, 1:], batch["targets"][0, :-1])
    assert given_stream.epoch == 0
    told = np.bincount(np.concatenate(seen), minlength=VOCAB)
    every = np.bincount(shards.shards[0].tokens, minlength=VOCAB)
    # all but the first token of the epoch and the tail that fills no row, and none twice
    assert told.sum() == count * 16
    assert np.all(told <= every)
    assert every.sum() - told.sum() <= 16
    next(given_stream)
    assert given_stream.epoch == 1


def test_the_same_seed_gives_the_same_rows_and_another_seed_others():
    first, second, other = stream(seed=1), stream(seed=1), stream(seed=2)
    a, b, c = next(first)["tokens"], next(second)["tokens"], next(other)["tokens"]
    assert torch.equal(a, b) and not torch.equal(a, c)


def test_epochs_differ_in_order():
    given_stream = stream(rows=1)
    first = next(given_stream)["tokens"]
    while given_stream.epoch == 0:
        batch = next(given_stream)
    assert not torch.equal(first, batch["tokens"])


@pytest.mark.parametrize("start", ["continuous", "document_start"])
def test_resuming_from_the_state_goes_on_exactly_over_an_epoch_end(start):
    straight = stream(start=start)
    taken = []
    for _ in range(120):
        state = straight.state_dict()
        taken.append((state, next(straight)["tokens"]))
    assert straight.epoch > 0
    for state, tokens in taken[::17]:
        resumed = stream(start=start)
        resumed.load_state_dict(state)
        assert torch.equal(next(resumed)["tokens"], tokens)


def test_two_ranks_of_four_rows_read_what_one_rank_of_eight_reads():
    whole = stream(rows=8)
    left, right = (stream(rows=4, rank=rank, ranks=2) for rank in range(2))
    for _ in range(30):
        both = torch.cat([next(left)["tokens"], next(right)["tokens"]])
        assert torch.equal(next(whole)["tokens"], both)


def test_a_run_can_go_on_with_another_number_of_ranks():
    whole = stream(rows=8)
    for _ in range(5):
        next(whole)
    halves = [stream(rows=4, rank=rank, ranks=2) for rank in range(2)]
    for half in halves:
        half.load_state_dict(whole.state_dict())
    expected = next(whole)["tokens"]
    assert torch.equal(torch.cat([next(half)["tokens"] for half in halves]), expected)


def test_segments_start_at_the_end_of_text_and_positions_count_from_it():
    batch = next(stream(attention="within", start="document_start", row_tokens=40))
    for tokens, segments, positions in zip(
        batch["tokens"], batch["segments"], batch["positions"], strict=True
    ):
        for index in range(len(tokens)):
            if tokens[index] == EOS:
                assert positions[index] == 0
                assert index == 0 or segments[index] == segments[index - 1] + 1
            elif index:
                assert segments[index] == segments[index - 1]
                assert positions[index] == positions[index - 1] + 1


def test_several_shards_are_all_read():
    shards = MemoryShards(documents=10)
    shards.shards += MemoryShards(documents=10, seed=5).shards
    shards.tokens = sum(len(shard.tokens) for shard in shards.shards)
    given_stream = stream(shards, rows=1, row_tokens=4)
    seen = set()
    while given_stream.epoch == 0:
        seen |= set(next(given_stream)["tokens"].flatten().tolist())
    everything = {int(t) for shard in shards.shards for t in shard.tokens}
    assert len(everything - seen) <= 4


def test_documents_keep_their_words_together():
    offsets = np.array([0, 5, 9, 15])
    tokens = np.array([10, 11, 12, 13, EOS, 20, 21, 22, EOS, 30, 31, 32, 33, 34, EOS], np.uint16)
    shards = MemoryShards()
    shards.shards = [Shard(tokens=tokens, offsets=offsets, byte_ends=offsets)]
    shards.tokens = len(tokens)
    batch = next(stream(shards, rows=1, row_tokens=14))
    row = [*batch["tokens"][0].tolist(), int(batch["targets"][0, -1])]
    text = " ".join(map(str, row))
    assert all(part in text for part in ("10 11 12 13 2", "20 21 22 2", "30 31 32 33 34 2"))


def test_too_little_text_for_one_row_is_an_error_with_a_remedy():
    with pytest.raises(DataError, match="fewer than one row"):
        stream(MemoryShards(documents=1), row_tokens=500)
