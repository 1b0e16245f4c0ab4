"""Token shards and rows of a mixture: repeats exact, fractions in turn, resumable, one tokenising."""

from __future__ import annotations

import hashlib
from collections import Counter

import numpy as np
import pytest
import torch
from tests.corpus.made_corpora import english, japanese, write_corpus
from tests.toys import EOS, MemoryShards

from minna.corpus import read
from minna.corpus.mixture import mix
from minna.errors import DataError
from minna.streams import TextStream, TextStreamSettings, TokenShards, write_tokens
from minna.streams.shards import Shard
from minna.tokenizer.load import load_tokenizer
from minna.tokenizer.train import TokenizerSettings, train_tokenizer


class Repeated:
    """Shards in memory, each told so often; document n is its number told over and over."""

    def __init__(self, *repeats: float, documents: int = 40) -> None:
        self.shards = []
        for number, times in enumerate(repeats):
            lengths = np.random.default_rng(number).integers(2, 12, documents)
            names = 10 + number * documents + np.arange(documents)
            tokens = np.concatenate(
                [[*[n] * (k - 1), EOS] for n, k in zip(names, lengths, strict=True)]
            )
            ends = np.concatenate(([0], np.cumsum(lengths)))
            shard = Shard(
                tokens=tokens.astype(np.uint16),
                offsets=ends,
                byte_ends=3 * ends,
                repeats=times,
                number=number,
            )
            self.shards.append(shard)
        self.tokens = sum(len(shard.tokens) for shard in self.shards)


def stream(shards, *, seed=0, rows="continuous"):
    settings = TextStreamSettings(row_tokens=16, rows=rows, attention="across")
    return TextStream(shards, settings=settings, rows=2, eos=EOS, seed=seed)


def epoch_counts(shards, *, epoch, seed=0):
    """How often each document is on the ribbons of an epoch."""
    told = stream(shards, seed=seed)
    found = Counter()
    told.load_state_dict({"epoch": epoch, "pool": 0, "row": 0})
    for pool in range(len(told._pools(epoch))):
        told.pool = pool
        ribbon = told._open()
        found.update(
            int(ribbon.shards[owner].tokens[begin])
            for owner, begin in zip(ribbon.owner, ribbon.begin, strict=True)
        )
    return found


def test_the_order_of_a_plain_corpus_is_what_it_was_before_there_were_mixtures():
    digest = hashlib.sha256()
    for rows in ("continuous", "document_start"):
        told = stream(MemoryShards(), seed=5, rows=rows)
        for _ in range(300):
            digest.update(next(told)["tokens"].numpy().astype("<i4").tobytes())
        assert told.epoch > 0
    assert digest.hexdigest()[:16] == "dd9e3bfe842fa9af"


def test_whole_repeats_tell_each_document_so_often_in_every_epoch():
    for epoch in range(3):
        counts = epoch_counts(Repeated(3, 1), epoch=epoch)
        assert counts == {10 + n: 3 if n < 40 else 1 for n in range(80)}


@pytest.mark.parametrize(("repeats", "epochs", "times"), [(2.5, 2, 5), (0.25, 4, 1), (1.75, 4, 7)])
def test_a_fraction_of_a_repeat_takes_others_in_the_next_epoch(repeats, epochs, times):
    shards = Repeated(repeats, 1)
    each = [epoch_counts(shards, epoch=epoch) for epoch in range(epochs)]
    assert len({tuple(sorted(counts.items())) for counts in each}) == epochs
    total = sum(each, Counter())
    assert {total[10 + n] for n in range(40)} == {times}
    shard = shards.shards[0]
    largest = int(np.diff(shard.offsets).max())
    lengths = dict(zip(range(10, 50), np.diff(shard.offsets), strict=True))
    for counts in each:
        tokens = sum(lengths[name] * count for name, count in counts.items() if name < 50)
        assert abs(tokens - repeats * len(shard.tokens)) <= 2 * largest


def test_the_seed_of_a_run_shuffles_a_mixture_but_does_not_choose_its_documents():
    shards = Repeated(0.5, 2.5)
    assert epoch_counts(shards, epoch=0, seed=1) == epoch_counts(shards, epoch=0, seed=2)
    first, other = next(stream(shards, seed=1))["tokens"], next(stream(shards, seed=2))["tokens"]
    assert not torch.equal(first, other)


@pytest.mark.parametrize("rows", ["continuous", "document_start"])
@pytest.mark.parametrize("pool", [1, 1 << 22])
def test_a_mixture_resumed_is_the_mixture_uninterrupted(rows, pool, monkeypatch):
    monkeypatch.setattr("minna.streams.text.POOL_DOCUMENTS", pool)
    shards = Repeated(2.5, 0.3, 1)
    straight = stream(shards, rows=rows)
    taken = []
    for _ in range(150):
        state = straight.state_dict()
        taken.append((state, next(straight)["tokens"]))
    assert straight.epoch > 1
    for state, tokens in taken[::13]:
        resumed = stream(shards, rows=rows)
        resumed.load_state_dict(state)
        assert torch.equal(next(resumed)["tokens"], tokens)


def test_a_fraction_that_takes_nothing_of_a_pool_goes_on_with_the_next(monkeypatch):
    monkeypatch.setattr("minna.streams.text.POOL_DOCUMENTS", 1)
    told = stream(Repeated(0.001, 1))
    for _ in range(60):
        next(told)
    assert told.epoch > 1


def test_too_little_left_of_a_corpus_for_one_row_is_an_error():
    with pytest.raises(DataError, match="fewer than one row of 16"):
        stream(Repeated(0.01))


@pytest.fixture(scope="module")
def bilingual(tmp_path_factory):
    """A Japanese and an English corpus, mixed, and a tokenizer trained on the mixture."""
    folder = tmp_path_factory.mktemp("bilingual")
    held = japanese(5, first=900, split="valid"), english(5, first=900, split="valid")
    wiki = write_corpus(folder / "wiki", japanese(100) + held[0])
    pile = write_corpus(folder / "pile", english(200) + held[1], file_rows=100)
    mix([(wiki, 2.5), (pile, 0.5)], out=folder / "mix")
    settings = TokenizerSettings(vocab_size=340)
    train_tokenizer(folder / "mix", out=folder / "tokenizer", settings=settings)
    return folder


def test_a_mixture_is_tokenised_once_and_told_as_often_as_asked(bilingual, tmp_path):
    mixed = bilingual / "mix"
    out = write_tokens(mixed, tokenizer=bilingual / "tokenizer", out=tmp_path / "tokens")
    shards = TokenShards(out, split="train")
    assert [shard.repeats for shard in shards.shards] == [2.5, 2.5, 2.5, 0.5, 0.5]
    assert shards.documents == 300
    weights = [2.5 * sum(len(s.tokens) for s in shards.shards[:3])]
    weights.append(0.5 * sum(len(s.tokens) for s in shards.shards[3:]))
    assert shards.epoch_tokens == pytest.approx(sum(weights))
    assert all(shard.repeats == 1 for shard in TokenShards(out, split="valid").shards)
    assert TokenShards(out, split="valid").documents == 10
    words = load_tokenizer(bilingual / "tokenizer")
    told = stream(shards)
    ribbon = told._open()
    counts = Counter(
        words.decode(ribbon.shards[owner].tokens[begin : begin + size - 1].tolist())
        for owner, begin, size in zip(
            ribbon.owner, ribbon.begin, np.diff(np.concatenate(([0], ribbon.ends))), strict=True
        )
    )
    # the first epoch is the one that a tokenizer is trained on, document for document
    assert counts == Counter(document.text for document in read.texts(mixed, split="train"))
    languages = Counter("日" if "番目" in text else "英" for text in counts.elements())
    assert languages["日"] == pytest.approx(250, abs=6)
    assert languages["英"] == pytest.approx(100, abs=8)


def test_a_plain_corpus_has_no_repeats_on_disk(bilingual, tmp_path):
    out = write_tokens(
        bilingual / "wiki", tokenizer=bilingual / "tokenizer", out=tmp_path / "tokens"
    )
    assert not (out / "repeats.json").exists()
    shards = TokenShards(out, split="train")
    assert shards.epoch_tokens == shards.tokens and shards.epoch_bytes == shards.bytes
