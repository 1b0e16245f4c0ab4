"""Kneser-Ney against a slow reference that is written from the formulas with dictionaries."""

from __future__ import annotations

import itertools
import math
from collections import Counter, defaultdict

import numpy as np
import pytest
from numpy.typing import NDArray

from minna.errors import DataError
from minna.metrics import KneserNey

END = 1
Document = tuple[int, ...]
Gram = tuple[int | str, ...]


class SlowKneserNey:
    """The same model by recursion: one dictionary of adjusted counts for each order."""

    def __init__(self, documents: list[Document], *, order: int, vocab_size: int):
        self.order, self.v = order, vocab_size
        raw: list[Counter[Gram]] = [Counter() for _ in range(order + 1)]
        for document in documents:
            padded: Gram = ("B", *document)
            for n in range(1, order + 1):
                for i in range(len(padded) - n + 1):
                    gram = padded[i : i + n]
                    if gram[-1] != "B":
                        raw[n][gram] += 1
        self.counts: list[Counter[Gram]] = [Counter() for _ in range(order + 1)]
        self.counts[order] = raw[order]
        for n in range(1, order):
            left: defaultdict[Gram, set[int | str]] = defaultdict(set)
            for gram in raw[n + 1]:
                left[gram[1:]].add(gram[0])
            for gram, count in raw[n].items():
                self.counts[n][gram] = count if gram[0] == "B" else len(left[gram])
        self.discounts = [self._discount(c) for c in self.counts]

    @staticmethod
    def _discount(counts: Counter[Gram]) -> list[float]:
        n = Counter(counts.values())
        if not all(n[k] for k in (1, 2, 3, 4)):
            return [0.0, 0.5, 1.0, 1.5]
        y = n[1] / (n[1] + 2 * n[2])
        values = [k - (k + 1) * y * n[k + 1] / n[k] for k in (1, 2, 3)]
        return [0.0] + [min(max(d, 0.0), k) for k, d in zip((1, 2, 3), values, strict=True)]

    def probability(self, word: int | str, context: Gram) -> float:
        context = context[max(0, len(context) - self.order + 1) :]
        n = len(context) + 1
        followers = {g: c for g, c in self.counts[n].items() if g[:-1] == context}
        lower = 1 / self.v if n == 1 else self.probability(word, context[1:])
        total = sum(followers.values())
        if not total:
            return lower
        taken = self.discounts[n]
        count = self.counts[n][(*context, word)]
        rest = sum(taken[min(c, 3)] for c in followers.values())
        return (count - taken[min(count, 3)] + rest * lower) / total

    def nats(self, document: Document) -> float:
        padded: Gram = ("B", *document)
        return -sum(
            math.log(self.probability(padded[i], padded[:i])) for i in range(1, len(padded))
        )


def flat(documents: list[Document]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    offsets = np.cumsum([0, *map(len, documents)])
    return np.array([t for d in documents for t in d], dtype=np.int64), offsets


def random_documents(count: int, *, vocab_size: int, seed: int) -> list[Document]:
    generator = np.random.default_rng(seed)
    weights = 1 / np.arange(1, vocab_size - 1)
    return [
        (
            *(
                2
                + generator.choice(
                    vocab_size - 2, size=generator.integers(0, 9), p=weights / weights.sum()
                )
            ).tolist(),
            END,
        )
        for _ in range(count)
    ]


@pytest.mark.parametrize("order", [1, 2, 3, 5])
@pytest.mark.parametrize("seed", [0, 1])
def test_it_equals_the_slow_reference_on_held_out_documents(order: int, seed: int):
    train = random_documents(60, vocab_size=12, seed=seed)
    held_out = random_documents(20, vocab_size=12, seed=seed + 100)
    model = KneserNey.fit(*flat(train), order=order, vocab_size=14)
    slow = SlowKneserNey(train, order=order, vocab_size=14)
    assert model.nats(*flat(held_out)) == pytest.approx([slow.nats(d) for d in held_out], rel=1e-9)


@pytest.mark.parametrize("order", [1, 2, 4])
def test_probabilities_over_the_whole_vocabulary_sum_to_one_in_every_context(order: int):
    train = random_documents(40, vocab_size=6, seed=3)
    model = KneserNey.fit(*flat(train), order=order, vocab_size=7)
    for length in range(order):
        for context in itertools.product(range(7), repeat=length):
            # P(w | context) is the cost of context + w less the cost of context
            front = model.nats(*flat([context]))[0]
            total = sum(
                math.exp(front - model.nats(*flat([(*context, word)]))[0]) for word in range(7)
            )
            assert total == pytest.approx(1.0, abs=1e-9)


def test_a_token_that_was_never_seen_still_has_a_probability():
    model = KneserNey.fit([2, 3, END], [0, 3], order=3, vocab_size=100)
    assert np.isfinite(model.nats([99, END], [0, 2])).all()


def test_documents_do_not_see_each_other():
    train = random_documents(50, vocab_size=10, seed=5)
    model = KneserNey.fit(*flat(train), order=5, vocab_size=10)
    a, b = random_documents(2, vocab_size=10, seed=6)
    both = model.nats(*flat([a, b]))
    assert both.tolist() == [model.nats(*flat([a]))[0], model.nats(*flat([b]))[0]]


def test_a_longer_context_helps_on_text_with_structure():
    train = [(2, 3, 4, 5, 6, 7, END), (2, 8, 4, 9, 6, 3, END)] * 30
    costs = [
        KneserNey.fit(*flat(train), order=n, vocab_size=10).nats(*flat(train)).sum()
        for n in (1, 2, 3)
    ]
    assert costs[0] > costs[1] > costs[2]


def test_large_ids_and_orders_do_not_overflow_the_keys():
    generator = np.random.default_rng(0)
    tokens = generator.integers(0, 1 << 20, size=5000)
    model = KneserNey.fit(tokens, [0, 5000], order=9, vocab_size=1 << 20)
    assert np.isfinite(model.nats(tokens, [0, 5000])).all()


def test_an_order_above_the_longest_document_changes_nothing():
    train, held_out = [(2, 3, END), (3, END)], [(2, 3, 3, 3, 2, 3, END)]
    short = KneserNey.fit(*flat(train), order=4, vocab_size=4)
    long = KneserNey.fit(*flat(train), order=8, vocab_size=4)
    assert long.nats(*flat(held_out)).tolist() == short.nats(*flat(held_out)).tolist()


def test_an_empty_document_costs_nothing():
    model = KneserNey.fit([2, END], [0, 2], order=3, vocab_size=4)
    assert model.nats([2, END], [0, 0, 2, 2])[[0, 2]].tolist() == [0.0, 0.0]


@pytest.mark.parametrize(
    ("tokens", "offsets", "said"),
    [
        ([], [0], "offsets"),
        ([], [0, 0], "at least one token"),
        ([1, 2], [0, 1], "offsets"),
        ([1, 9], [0, 2], "token id 9"),
        ([1, -1], [0, 2], "token id -1"),
    ],
)
def test_bad_input_is_a_data_error_that_names_it(tokens: list[int], offsets: list[int], said: str):
    with pytest.raises(DataError, match=said):
        KneserNey.fit(tokens, offsets, vocab_size=5)
