"""Interpolated modified Kneser-Ney: the n-gram model a neural one has to beat.

Chen & Goodman 1999, "An empirical study of smoothing techniques for language modeling" (Computer
Speech and Language 13, 359-394), section 3, with one discount triple per order from counts of
counts. In the quickstart (BPE 4k, order 5) it reaches 1.154 bits per byte, the model 1.141: unlike
xz (1.544), it is a bar that a broken model does not clear (docs/benchmarks.md).

All of it is sorting. An m-gram is named by its rank among the sorted m-grams, and the key of an
(m+1)-gram is (rank of its first m tokens) x (V + 1) + (its last token): 64 bits suffice for any
order and vocabulary, and every table is a sorted array that held-out text is looked up in.

Names: T positions (each document behind one boundary mark), G distinct grams of one order,
C distinct contexts (ranks of grams of the order below), V vocabulary. Rank -1 means never seen.
"""

# ruff: noqa: N802, N815 - tensors carry shape letters

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import ArrayLike, NDArray

from minna.errors import DataError

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

_FALLBACK = (0.5, 1.0, 1.5)
"""Discounts where the counts of counts do not give any (texts of a few words)."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Order:
    """The table of one order above 1: P(w|c) = direct[gram] + rest[c] x P(w|shorter c)."""

    keys_G: Ints
    direct_G: Floats
    rest_C: Floats  # 1 for a context that was never followed by anything


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Positions:
    """Documents laid out behind boundary marks: V, w1 ... wn, V, w1 ..."""

    ids_T: Ints
    depth_T: Ints  # tokens back to the boundary mark, which has depth 0

    @property
    def predicted_T(self) -> NDArray[np.bool_]:
        """Everything but the marks."""
        return self.depth_T > 0


class KneserNey:
    """An n-gram model over token ids. Make one with `fit`."""

    def __init__(self, *, vocab_size: int, unigram_V: Floats, orders: list[_Order]) -> None:
        self.vocab_size = vocab_size
        self.order = len(orders) + 1
        self._unigram_V = unigram_V
        self._orders = orders

    @classmethod
    def fit(
        cls, tokens: ArrayLike, offsets: ArrayLike, *, order: int = 5, vocab_size: int
    ) -> KneserNey:
        """Estimate a model.

        Each document is read behind one boundary mark, which is context but never predicted. Below
        the highest order a gram counts by how many different tokens stand to its left, and one that
        begins at the mark, where nothing can, by how often it occurs.

        Args:
            tokens: [total] ids, every document with its `</s>`.
            offsets: [documents + 1] where each begins.
            order: n, at least 1.
            vocab_size: V; every id in 0..V-1 gets a probability above zero.

        Raises:
            DataError: no tokens, an id outside the vocabulary, offsets that do not fit.
        """
        if order < 1:
            raise DataError(f"the order of an n-gram model must be at least 1, not {order}")
        laid = _lay_out(tokens, offsets, vocab_size=vocab_size)
        if not laid.predicted_T.any():
            raise DataError("an n-gram model needs at least one token, and there is none")
        base = vocab_size + 1
        levels: list[tuple[Ints, Ints]] = []  # per order above 1: its keys, and its suffixes' ranks
        counts: list[Ints] = []
        ranks_T = laid.ids_T
        raw = np.bincount(ranks_T[laid.predicted_T], minlength=base)
        for n in range(2, order + 1):
            inside_T = laid.depth_T >= n - 1
            keys_T = _keys(ranks_T, laid.ids_T, base=base)
            keys_G, first_G, inverse, found_G = np.unique(
                keys_T[inside_T], return_index=True, return_inverse=True, return_counts=True
            )
            suffix_G = ranks_T[inside_T][first_G]
            # the order below is not the highest: it counts left neighbours, or at the mark itself
            counts.append(_continuations(suffix_G, raw=raw))
            levels.append((keys_G, suffix_G))
            raw = found_G
            ranks_T = np.full(len(ranks_T), -1, dtype=np.int64)
            ranks_T[inside_T] = inverse
        counts.append(raw)
        unigram_V = _unigram(counts[0][:vocab_size], vocab_size=vocab_size)
        contexts = [base, *(len(keys_G) for keys_G, _ in levels)]
        orders = [
            _table(keys_G, counts_G, base=base, contexts=contexts[i])
            for i, ((keys_G, _), counts_G) in enumerate(zip(levels, counts[1:], strict=True))
        ]
        return cls(vocab_size=vocab_size, unigram_V=unigram_V, orders=orders)

    def nats(self, tokens: ArrayLike, offsets: ArrayLike) -> Floats:
        """[documents] negative log-likelihood in nats of each document.

        Args:
            tokens: [total] ids, every document with its `</s>`.
            offsets: [documents + 1] where each begins.

        Raises:
            DataError: an id outside the vocabulary, or offsets that do not fit.
        """
        laid = _lay_out(tokens, offsets, vocab_size=self.vocab_size)
        probability_T = self._probabilities(laid)
        cost_T = np.zeros(len(laid.ids_T))
        np.log(probability_T, out=cost_T, where=laid.predicted_T)
        document_T = np.cumsum(~laid.predicted_T) - 1
        summed = np.bincount(document_T, weights=cost_T, minlength=np.size(offsets) - 1)
        return -summed.astype(np.float64)

    def _probabilities(self, laid: _Positions) -> Floats:
        """[T] probability of each token, from the shortest context to the longest."""
        base = self.vocab_size + 1
        probability_T = np.append(self._unigram_V, 1.0)[laid.ids_T]
        ranks_T = laid.ids_T
        for n, table in enumerate(self._orders, start=2):
            if len(table.keys_G) == 0:
                break  # every training document was shorter than this order
            context_T = np.roll(ranks_T, 1)
            usable_T = (laid.depth_T >= n - 1) & (context_T >= 0)
            keys = _keys(ranks_T, laid.ids_T, base=base)[usable_T]
            at = np.minimum(np.searchsorted(table.keys_G, keys), len(table.keys_G) - 1)
            seen = table.keys_G[at] == keys
            rest = table.rest_C[context_T[usable_T]]
            probability_T[usable_T] *= rest
            probability_T[usable_T] += np.where(seen, table.direct_G[at], 0.0)
            ranks_T = np.full(len(ranks_T), -1, dtype=np.int64)
            ranks_T[usable_T] = np.where(seen, at, -1)
        return probability_T


def _lay_out(tokens: ArrayLike, offsets: ArrayLike, *, vocab_size: int) -> _Positions:
    ids = np.asarray(tokens, dtype=np.int64)
    starts = np.asarray(offsets, dtype=np.int64)
    lengths = np.diff(starts)
    if len(lengths) == 0 or starts[0] != 0 or starts[-1] != len(ids) or (lengths < 0).any():
        raise DataError(
            f"offsets must rise from 0 to the {len(ids)} tokens, one more than there are documents",
            remedy="pass the offsets that came with these tokens",
        )
    outside = ids[(ids < 0) | (ids >= vocab_size)]
    if len(outside) > 0:
        raise DataError(
            f"token id {outside[0]} is outside the vocabulary of {vocab_size}",
            remedy="pass the vocab_size of the tokenizer that made these ids",
        )
    ids_T = np.insert(ids, starts[:-1], vocab_size)
    marks = starts[:-1] + np.arange(len(lengths))
    depth_T = np.arange(len(ids_T)) - np.repeat(marks, lengths + 1)
    return _Positions(ids_T=ids_T, depth_T=depth_T)


def _keys(ranks_T: Ints, ids_T: Ints, *, base: int) -> Ints:
    """[T] keys of the grams one longer than `ranks_T`'s, ending at each position."""
    return np.roll(ranks_T, 1) * base + ids_T


def _continuations(suffix_G: Ints, *, raw: Ints) -> Ints:
    """Distinct left neighbours of each gram of the order below; its raw count where it has none."""
    left = np.bincount(suffix_G, minlength=len(raw))
    return np.where(left > 0, left, raw)


def _discounts(counts: Ints) -> Floats:
    """[4] what is taken from a count of 0, 1, 2 and 3 or more (section 3, D1, D2, D3+).

    Y = n1 / (n1 + 2 n2), and Dk = k - (k + 1) Y n(k+1) / nk, each within [0, k].
    """
    n = [int((counts == k).sum()) for k in range(5)]
    if min(n[1:]) == 0:
        return np.array([0.0, *_FALLBACK])
    y = n[1] / (n[1] + 2 * n[2])
    found = [k - (k + 1) * y * n[k + 1] / n[k] for k in (1, 2, 3)]
    return np.array([0.0, *(min(max(d, 0.0), float(k)) for k, d in enumerate(found, start=1))])


def _unigram(counts_V: Ints, *, vocab_size: int) -> Floats:
    """[V] the lowest order, interpolated with the uniform distribution over the vocabulary."""
    taken_V = _discounts(counts_V[counts_V > 0])[np.minimum(counts_V, 3)]
    total = counts_V.sum()
    return (counts_V - taken_V) / total + taken_V.sum() / total / vocab_size


def _table(keys_G: Ints, counts_G: Ints, *, base: int, contexts: int) -> _Order:
    """Discounted probabilities of one order, and the mass each context leaves to shorter ones."""
    taken_G = _discounts(counts_G)[np.minimum(counts_G, 3)]
    context_G = keys_G // base
    total_C = np.bincount(context_G, weights=counts_G, minlength=contexts)
    rest_C = np.ones(contexts)
    left_C = np.bincount(context_G, weights=taken_G, minlength=contexts)
    np.divide(left_C, total_C, out=rest_C, where=total_C > 0)
    return _Order(keys_G=keys_G, direct_G=(counts_G - taken_G) / total_C[context_G], rest_C=rest_C)
