"""Choices as branches of one row give what each gives alone."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.runtime.conftest import SHAPES, write_model

from minna.errors import UsageError
from minna.runtime import branches, load_model, rows, score
from minna.runtime.branches import Reading, likelihoods, plain
from minna.runtime.tree import lay, mask_of, plant


@dataclass(frozen=True)
class C:
    ids: tuple[int, ...]
    start: int


@pytest.fixture(scope="module", params=sorted(SHAPES))
def model(request, tmp_path_factory, tokenizer_file):
    path = tmp_path_factory.mktemp("model") / request.param
    write_model(path, SHAPES[request.param], tokenizer_file)
    return load_model(path, device="cpu", dtype="fp32")


def by_place(found):
    pairs = list(found)
    assert len({place for place, _ in pairs}) == len(pairs)
    return [likelihood for _, likelihood in sorted(pairs, key=lambda pair: pair[0])]


def assert_same(given_, expected, tolerance=1e-4):
    assert len(given_) == len(expected)
    for mine, theirs in zip(given_, expected, strict=True):
        assert [m.tokens for m in mine] == [t.tokens for t in theirs]
        assert [m.greedy for m in mine] == [t.greedy for t in theirs]
        assert np.allclose(
            [m.logprob for m in mine], [t.logprob for t in theirs], atol=tolerance, rtol=0
        )


def questions(generator, *, count, shared, longest=30, choices=5):
    front = tuple(generator.integers(4, 300, shared).tolist())
    groups = []
    for _ in range(count):
        context = front + tuple(generator.integers(4, 300, generator.integers(1, longest)).tolist())
        groups.append(
            [
                C(
                    context + tuple(generator.integers(4, 12, generator.integers(1, 5)).tolist()),
                    len(context),
                )
                for _ in range(choices)
            ]
        )
    return groups


@pytest.mark.parametrize("shared", [0, 3, 20, 50])
@pytest.mark.parametrize("batch_tokens", [1, 100, 4096])
def test_shared_equals_plain_whatever_is_shared_and_however_large_the_batch(
    model, shared, batch_tokens
):
    groups = questions(np.random.default_rng(shared), count=9, shared=shared)
    found = by_place(likelihoods(model, groups, batch_tokens=batch_tokens))
    assert_same(found, by_place(plain(model, groups)))


def test_order_of_groups_and_choices_changes_nothing(model):
    groups = questions(np.random.default_rng(1), count=8, shared=30)
    straight = by_place(likelihoods(model, groups))
    turned = by_place(likelihoods(model, [group[::-1] for group in groups[::-1]]))
    assert_same([group[::-1] for group in turned[::-1]], straight, tolerance=1e-5)


def test_contexts_cut_from_the_left_are_read_alone_beside_others_that_share(model):
    generator = np.random.default_rng(2)
    groups = questions(generator, count=4, shared=30)
    whole = tuple(generator.integers(4, 300, 140).tolist())
    groups.insert(
        2, [C((whole + (5,) * n)[-97:], 97 - n) for n in (1, 2, 3)]
    )  # each window begins elsewhere
    reading = Reading()
    assert_same(
        by_place(likelihoods(model, groups, reading=reading)), by_place(plain(model, groups))
    )
    assert reading.tokens >= 3 * 90


@given(data=st.data())
@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_any_small_sequences_equal_plain(model, data):
    ids = st.lists(st.integers(4, 6), min_size=2, max_size=22).map(tuple)
    group = st.lists(ids, min_size=1, max_size=5)
    groups = [
        [C(sequence, data.draw(st.integers(1, len(sequence) - 1))) for sequence in chosen]
        for chosen in data.draw(st.lists(group, min_size=1, max_size=5))
    ]
    assert_same(
        by_place(likelihoods(model, groups, batch_tokens=64)), by_place(plain(model, groups))
    )


def test_what_is_read_is_counted_and_is_less(model):
    groups = questions(np.random.default_rng(3), count=20, shared=60)
    reading, naive = Reading(), Reading()
    list(likelihoods(model, groups, reading=reading))
    list(plain(model, groups, reading=naive))
    assert naive.spared == 0
    assert reading.tokens + reading.spared == naive.tokens
    assert naive.tokens > 10 * reading.tokens


def test_a_tree_holds_every_common_beginning_once():
    group = [C((1, 2, 3, 4, 9), 3), C((1, 2, 3, 5, 9), 3), C((1, 2, 3, 4, 7, 9), 3)]
    tree = plant(group)
    assert tree.size == len([1, 2, 3, 4, 5, 7])
    row = lay([tree])
    assert row.ids.tolist()[:3] == [1, 2, 3]
    mask = mask_of([row], known=0)[0, 0]
    by_id = {int(number): place for place, number in enumerate(row.ids)}
    assert (
        mask[by_id[7], by_id[4]] and not mask[by_id[5], by_id[4]] and not mask[by_id[4], by_id[5]]
    )
    assert mask[by_id[5], [by_id[1], by_id[2], by_id[3], by_id[5]]].all()


def test_log_softmax_is_fp32_under_bf16_weights(tmp_path, tokenizer_file):
    write_model(tmp_path, SHAPES["gpt_neox"], tokenizer_file)
    model = load_model(tmp_path, device="cpu", dtype="bf16")
    groups = questions(np.random.default_rng(4), count=6, shared=20)
    values = [m.logprob for group in by_place(likelihoods(model, groups)) for m in group]
    rounded = torch.tensor(values).bfloat16().float().numpy()
    assert (np.abs(rounded - values) > 1e-3).mean() > 0.5  # a bf16 sum would be on its grid


@pytest.mark.parametrize(
    ("candidate", "word"),
    [(C((5, 6), 2), "scored"), (C((5, 6), 0), "before"), (C((5,) * 99, 3), "context is 96")],
)
def test_what_cannot_be_scored_is_refused(model, candidate, word):
    with pytest.raises(UsageError, match=word):
        list(likelihoods(model, [[candidate]]))


def test_nan_weights_come_out_as_nan(model):
    weight = model.decoder.final_norm.weight
    kept = weight.clone()
    weight.fill_(float("nan"))
    try:
        found = by_place(likelihoods(model, [[C((5, 6, 7), 1)]]))
    finally:
        weight.copy_(kept)
    assert np.isnan(found[0][0].logprob)


def cut_on_the_left(*, choices, context=96, seed=5):
    """Choices of different lengths whose windows fill the context and begin at different ids."""
    whole = tuple(np.random.default_rng(seed).integers(4, 300, 2 * context).tolist())
    return [C((whole + (5,) * n)[-context - 1 :], context + 1 - n) for n in range(1, choices + 1)]


def watch_rows(monkeypatch):
    """(rows, tokens per row) of every call."""
    shapes = []

    def read(model, rows, **more):
        shapes.append((len(rows), max(len(row.ids) for row in rows)))
        return original(model, rows, **more)

    original = branches._read
    monkeypatch.setattr(branches, "_read", read)
    return shapes


@pytest.mark.parametrize("batch_tokens", [1, 200, 4096])
def test_choices_that_share_nothing_stand_in_rows_of_their_own(model, monkeypatch, batch_tokens):
    groups = [cut_on_the_left(choices=12), *questions(np.random.default_rng(6), count=3, shared=0)]
    shapes, reading, naive = watch_rows(monkeypatch), Reading(), Reading()
    found = by_place(likelihoods(model, groups, batch_tokens=batch_tokens, reading=reading))
    assert_same(found, by_place(plain(model, groups, reading=naive)))
    assert max(size for _, size in shapes) == 96
    assert reading.tokens + reading.spared == naive.tokens
    assert max(rows * size for rows, size in shapes) <= max(96, batch_tokens)


def test_no_row_grows_beyond_the_budget_even_where_all_is_shared(model, monkeypatch):
    question = tuple(range(4, 34))
    group = [C((*question, *[100 + n] * 20), 30) for n in range(9)]
    shapes, reading = watch_rows(monkeypatch), Reading()
    found = by_place(likelihoods(model, [group], batch_tokens=110, reading=reading))
    assert_same(found, by_place(plain(model, [group])))
    assert max(size for _, size in shapes) <= 110
    assert reading.tokens + reading.spared == 9 * 49


def test_trees_are_planted_when_it_is_their_turn(model, monkeypatch):
    groups = questions(np.random.default_rng(8), count=40, shared=0)
    planted = []

    def noted(group, **more):
        planted.append(len(group))
        return plant(group, **more)

    monkeypatch.setattr(rows, "plant", noted)
    next(likelihoods(model, groups, batch_tokens=100))
    assert 0 < sum(planted) <= 10


def test_a_group_without_candidates_comes_back_empty(model):
    assert dict(likelihoods(model, [[], [C((5, 6), 1)]]))[0] == []


def out_of_memory_above(monkeypatch, tokens):
    """A device that holds calls of so many tokens."""
    sizes = []

    def read(model, rows, **more):
        sizes.append(len(rows) * max(len(row.ids) for row in rows))
        if sizes[-1] > tokens:
            raise torch.OutOfMemoryError("no room")
        return original(model, rows, **more)

    original = branches._read
    monkeypatch.setattr(branches, "_read", read)
    return sizes


@pytest.mark.parametrize("shared", [0, 30])
def test_what_does_not_fit_into_memory_is_read_in_smaller_calls(model, monkeypatch, shared):
    groups = questions(np.random.default_rng(9), count=30, shared=shared)
    expected = by_place(plain(model, groups))
    sizes, reading = out_of_memory_above(monkeypatch, 70), Reading()
    assert_same(by_place(likelihoods(model, groups, reading=reading)), expected)
    assert sum(size > 70 for size in sizes) < 12  # what failed once is not tried for every batch
    naive = sum(len(candidate.ids) - 1 for group in groups for candidate in group)
    assert reading.tokens + reading.spared == naive


def test_a_row_too_large_for_memory_is_cut_into_its_choices_and_one_alone_is_an_error(
    model, monkeypatch
):
    question = tuple(range(4, 34))
    group = [C((*question, *[100 + n] * 20), 30) for n in range(4)]
    expected = by_place(plain(model, [group]))
    with monkeypatch.context() as patch:
        out_of_memory_above(patch, 50)
        assert_same(by_place(likelihoods(model, [group])), expected)
    out_of_memory_above(monkeypatch, 48)
    with pytest.raises(UsageError, match=r"of 49 tokens[\s\S]*--batch-tokens[\s\S]*--dtype"):
        list(likelihoods(model, [group]))


def test_fp64_is_only_made_on_the_host(model, only_fp64_on_the_host):
    groups = questions(np.random.default_rng(10), count=2, shared=0)
    assert_same(by_place(likelihoods(model, groups)), by_place(plain(model, groups)))
    assert score(model, ["吾輩は猫である。"]).shape == (1,)
    assert only_fp64_on_the_host
