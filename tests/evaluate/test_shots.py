"""Which examples stand where: the harness's recipe against a plain second telling of it."""

from __future__ import annotations

import random
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.evaluate.made_requests import make_documents, make_splits, make_task

from minna.errors import DataError, UsageError
from minna.evaluate.records import Document
from minna.evaluate.shots import compat_prompts, fixed_examples, shots_that_fit, spread


def drawn(chosen, splits, *, shots, limit=None, fits=lambda document, count: True):
    """(document id, ids of its examples) in the order of asking."""

    def compose(document, examples):
        if fits(document, len(examples)):
            return document.id, [example.id for example in examples]
        return None

    return list(compat_prompts(chosen, splits, shots=shots, limit=limit, compose=compose))


@settings(max_examples=40, deadline=None)
@given(
    scored=st.integers(1, 40),
    train=st.integers(4, 60),
    shots=st.integers(0, 4),
    limit=st.none() | st.integers(1, 50),
    too_long=st.sets(st.integers(0, 39)),
)
def test_the_draws_are_those_of_the_recipe_told_plainly(scored, train, shots, limit, too_long):
    splits = make_splits(make_documents(scored), make_documents(train, prefix="t"))
    long = {f"d{number}" for number in too_long}  # these have room for one example
    rnd = random.Random(42)
    order = list(range(scored))
    rnd.shuffle(order)
    expected = []
    for number in order if limit is None else order[:limit]:
        k = shots
        examples = rnd.sample(list(range(train)), k)
        while f"d{number}" in long and k > 1:
            k -= 1
            examples = rnd.sample(list(range(train)), k)
        expected.append((f"d{number}", [f"t{example}" for example in examples]))
    found = drawn(
        make_task(),
        splits,
        shots=shots,
        limit=limit,
        fits=lambda document, count: document.id not in long or count <= 1,
    )
    assert found == expected


@settings(max_examples=30, deadline=None)
@given(labels=st.lists(st.integers(0, 2), min_size=12, max_size=40), shots=st.integers(1, 4))
def test_balanced_draws_are_those_of_the_recipe_told_plainly(labels, shots):
    train = tuple(
        Document(id=f"t{n}", fields={}, label=label)
        for n, label in enumerate([0, 1, 2, 0, 1, 2, *labels])
    )
    chosen = make_task(version={"balanced_shots": True})
    scored = make_documents(5)
    rnd = random.Random(42)
    order = [document.id for document in scored]
    rnd.shuffle(order)
    seen = list(dict.fromkeys(document.label for document in train))
    of_label = {label: [d.id for d in train if d.label == label] for label in seen}
    expected = []
    for name in order:
        counts = [int(len(of_label[label]) / len(train) * shots) for label in seen]
        while sum(counts) < shots:
            counts[counts.index(min(counts))] += 1
        picks = []
        for label, count in zip(seen, counts, strict=True):
            picks += rnd.sample(of_label[label], count)
        rnd.shuffle(picks)
        expected.append((name, picks))
    assert drawn(chosen, make_splits(scored, train), shots=shots) == expected


def test_three_balanced_examples_are_one_of_each_label():
    train = tuple(
        Document(id=f"t{n}", fields={}, label=label)
        for n, label in enumerate([2] * 55 + [1] * 30 + [0] * 15)
    )
    labels = {document.id: document.label for document in train}
    splits = make_splits(make_documents(20), train)
    for _, examples in drawn(make_task(version={"balanced_shots": True}), splits, shots=3):
        assert Counter(labels[name] for name in examples) == {0: 1, 1: 1, 2: 1}


def test_a_task_without_a_train_split_draws_one_too_many_and_drops_the_question():
    chosen = make_task(files={"scored": ("valid.json",)})
    scored = make_documents(6)
    rnd = random.Random(42)
    order = [document.id for document in scored]
    rnd.shuffle(order)
    names = [document.id for document in scored]
    expected = []
    for name in order:
        picked = [other for other in rnd.sample(names, 3) if other != name]
        expected.append((name, picked[:2]))
    assert drawn(chosen, make_splits(scored), shots=2) == expected


def test_compat_refuses_without_the_train_split_that_the_task_has_and_says_where_it_is():
    with pytest.raises(UsageError, match=r"train\.json is not in the data directory") as caught:
        drawn(make_task(), make_splits(make_documents(9)), shots=2)
    assert "https://example.org/made" in caught.value.remedy
    assert "--mode fixed" in caught.value.remedy


def test_without_examples_no_train_split_is_needed():
    assert len(drawn(make_task(), make_splits(make_documents(9)), shots=0)) == 9


def test_more_examples_than_the_train_split_holds_are_refused():
    splits = make_splits(make_documents(3), make_documents(2, prefix="t"))
    with pytest.raises(UsageError, match="3 examples are asked for, and there are 2"):
        drawn(make_task(), splits, shots=3)


def test_a_question_that_fits_with_no_example_is_an_error_that_names_it():
    splits = make_splits(make_documents(3), make_documents(5, prefix="t"))
    with pytest.raises(DataError, match=r"made-1\.0-1: document 'd2' does not fit"):
        drawn(make_task(), splits, shots=1, fits=lambda document, count: document.id != "d2")


def test_fixed_draws_once_from_train_and_scores_everything():
    splits = make_splits(make_documents(8), make_documents(30, prefix="t"))
    examples, scored = fixed_examples(make_task(), splits, shots=4)
    assert [e.id for e in examples] == [f"t{n}" for n in random.Random(42).sample(range(30), 4)]
    assert scored == list(splits.scored)


def test_fixed_holds_examples_and_their_groups_apart_where_there_is_no_train_split():
    documents = tuple(
        Document(id=f"d{n}", fields={}, answers=("a",), group=f"paragraph{n // 3}")
        for n in range(30)
    )
    examples, scored = fixed_examples(make_task(), make_splits(documents), shots=2)
    held = {example.group for example in examples}
    assert [d.id for d in scored] == [d.id for d in documents if d.group not in held]
    assert len(scored) == 30 - 3 * len(held)


def test_documents_without_a_group_hold_only_themselves_apart():
    examples, scored = fixed_examples(make_task(), make_splits(make_documents(10)), shots=3)
    assert sorted(d.id for d in [*examples, *scored]) == sorted(f"d{n}" for n in range(10))


def test_fixed_shows_no_example_whose_question_is_scored():
    train = make_documents(6)  # the first four of them are the scored ones
    for seen in (make_splits(train[:4], train), make_splits(train[:4], train[::-1])):
        examples, scored = fixed_examples(make_task(), seen, shots=2)
        assert {example.id for example in examples} == {"d4", "d5"}
        assert len(scored) == 4
        with pytest.raises(UsageError, match="2 of 6 documents of the train split are not among"):
            fixed_examples(make_task(), seen, shots=3)


def test_fixed_scores_no_question_that_stands_in_the_examples_under_another_id():
    twice = [
        Document(id=f"d{n}", fields={"question": f"{n // 2}番"}, answers=("a",)) for n in range(20)
    ]
    examples, scored = fixed_examples(make_task(), make_splits(tuple(twice)), shots=3)
    shown = {example.fields["question"] for example in examples}
    assert not shown & {document.fields["question"] for document in scored}
    assert len(scored) == 20 - 2 * len(shown)


def test_fixed_balances_labels_that_have_words():
    train = tuple(
        Document(id=f"t{n}", fields={}, label=label) for n, label in enumerate([0] * 90 + [1] * 9)
    )
    chosen = make_task(kind="choice", prompt={"choices": ("はい", "いいえ")})
    examples, _ = fixed_examples(chosen, make_splits(make_documents(4), train), shots=2)
    assert {example.label for example in examples} == {0, 1}


def test_fixed_refuses_when_nothing_is_left_to_score():
    documents = make_documents(4, group="one")
    with pytest.raises(UsageError, match="none of 4 documents is left"):
        fixed_examples(make_task(), make_splits(documents), shots=2)


def test_the_task_gets_the_examples_that_95_percent_of_its_questions_have_room_for():
    questions = [10] * 95 + [1000] * 5
    assert shots_that_fit([5, 20, 40, 80], questions, room=60) == 2
    assert shots_that_fit([5, 20, 40, 80], [10] * 94 + [1000] * 6, room=60) == 0
    assert shots_that_fit([5, 20], questions, room=9) == 0


def test_a_limit_takes_documents_evenly_from_first_to_last():
    assert spread(list(range(10)), 4) == [0, 2, 5, 7]
    assert spread(list(range(3)), 9) == [0, 1, 2]
    assert spread(list(range(3)), None) == [0, 1, 2]


def test_a_label_with_too_few_examples_is_named():
    train = tuple(
        Document(id=f"t{n}", fields={}, label=label)
        for n, label in enumerate([0, *[1] * 7, *[2] * 7])
    )
    chosen = make_task(version={"balanced_shots": True})
    with pytest.raises(UsageError, match="2 examples of label 0 are needed, and there are 1"):
        drawn(chosen, make_splits(make_documents(2), train), shots=4)
