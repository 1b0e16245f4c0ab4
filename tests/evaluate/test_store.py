"""Answers survive a kill, in the middle of a line too."""

from __future__ import annotations

import math

import pytest

from minna.evaluate.records import Candidate, Encoded
from minna.evaluate.store import Store, key_of


def test_answers_are_there_again_after_the_run_was_stopped(tmp_path):
    file = tmp_path / "answers.jsonl"
    with Store(file) as store:
        store.put("a", {"logprobs": [-1.5, -2.0], "greedy": [True, False], "lengths": [1, 2]})
        store.put("b", {"ids": [5, 6], "finish": "stop", "text": "絵本\n"})
    with Store(file) as store:
        assert store["a"]["logprobs"] == [-1.5, -2.0]
        assert store["b"] == {"ids": [5, 6], "finish": "stop", "text": "絵本\n"}
        assert "c" not in store


@pytest.mark.parametrize("cut", range(1, 40, 3))
def test_a_line_cut_by_a_kill_is_dropped_and_written_over(tmp_path, cut):
    file = tmp_path / "answers.jsonl"
    with Store(file) as store:
        store.put("a", {"ids": [1], "finish": "stop", "text": ""})
        store.put("b", {"ids": [2], "finish": "stop", "text": ""})
    file.write_bytes(file.read_bytes()[:-cut])
    with Store(file) as store:
        assert "a" in store and "b" not in store
        store.put("c", {"ids": [3], "finish": "stop", "text": ""})
    with Store(file) as store:
        assert "a" in store and "c" in store and "b" not in store


def test_what_is_not_a_number_is_asked_again(tmp_path):
    file = tmp_path / "answers.jsonl"
    with Store(file) as store:
        store.put("a", {"logprobs": [math.nan], "greedy": [False], "lengths": [1]})
        assert math.isnan(store["a"]["logprobs"][0])
    with Store(file) as store:
        assert "a" not in store


def test_remove_leaves_nothing(tmp_path):
    file = tmp_path / "answers.jsonl"
    with Store(file) as store:
        store.put("a", {"ids": [1], "finish": "stop", "text": ""})
    store.remove()
    assert not file.exists()


def test_every_part_of_a_request_is_in_its_key():
    def key(*, asked="m", text="", **parts):
        return key_of(Encoded(**parts), asked=asked, text=text)

    scored = (Candidate(ids=(1, 2, 3), start=1),)
    keys = [
        key(candidates=scored),
        key(candidates=scored, asked="n"),
        key(candidates=scored, text="x"),
        key(candidates=(Candidate(ids=(1, 2, 3), start=2),)),
        key(candidates=(Candidate(ids=(1, 2, 4), start=1),)),
        key(candidates=(*scored, *scored)),
        key(candidates=(Candidate(ids=(1, 2), start=1), Candidate(ids=(3, 4), start=1))),
        key(candidates=(Candidate(ids=(1, 2, 3), start=1), Candidate(ids=(4,), start=1))),
        key(prompt=(1, 2, 3)),
        key(prompt=(1, 2, 3), max_new_tokens=5),
        key(prompt=(1, 2, 3), stop_ids=(4,)),
        key(prompt=(1, 2, 3), stop_texts=("\n",)),
    ]
    assert len(set(keys)) == len(keys)
    assert key(candidates=scored) == keys[0]


def test_a_damaged_line_costs_one_answer(tmp_path):
    file = tmp_path / "answers.jsonl"
    with Store(file) as store:
        for key in "abc":
            store.put(key, {"ids": [1], "finish": "stop", "text": ""})
    lines = file.read_bytes().splitlines(keepends=True)
    file.write_bytes(lines[0] + b"\x00" * 20 + b"\n" + b"[1]\n" + lines[2])
    with Store(file) as store:
        assert "a" in store and "b" not in store and "c" in store


def test_nothing_is_written_without_an_answer(tmp_path):
    with Store(tmp_path / "folder" / "answers.jsonl"):
        pass
    assert list(tmp_path.iterdir()) == []
