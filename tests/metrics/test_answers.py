"""Answers against what the harness's scripts do, and against its published MGSM log."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from minna.errors import DataError, MissingExtraError
from minna.metrics import answers, words
from minna.metrics.answers import (
    INVALID,
    PUNCTUATION,
    character_f1,
    exact_match,
    extract_number,
    number_match,
    overlap_f1,
    token_f1,
)
from minna.metrics.words import normalise, normalised_words, word_source


@pytest.mark.parametrize(
    ("text", "normal"),
    [
        ("ＡＢＣ１２３", "ABC123"),
        ("ﾊﾝｶｸ", "ハンカク"),
        ("  東京　都  ", "東京都"),
        ("東京\n\n都", "東京 都"),
        ("New  York\tCity", "New York City"),
        ("すごい😀🚀✂", "すごい"),
        ("Tokyo。", "Tokyo。"),
        ("tokyo", "tokyo"),
        ("", ""),
    ],
)
def test_an_answer_is_normalised_but_keeps_case_and_punctuation(text: str, normal: str):
    assert normalise(text) == normal


def test_exact_match_takes_the_best_of_the_golds():
    assert exact_match("ＧＨＱ", ["連合国", "GHQ"])
    assert not exact_match("ghq", ["GHQ"])
    assert not exact_match("GHQ。", ["GHQ"])
    assert exact_match(" 東京　都\n", ["東京 都"])


def test_f1_counts_words_and_drops_punctuation():
    assert normalised_words("麩菓子は、麩を") == ("麩", "菓子", "は", "、", "麩", "を")
    # 4 words of 6 that count on the one side, 1 on the other, 1 common
    assert token_f1("麩菓子は、麩を", ["菓子。"]) == pytest.approx(2 * 1 / (5 + 1))
    assert token_f1("麩菓子は、麩を", ["何か", "麩 菓子 は 麩 を!"]) == pytest.approx(1)
    assert token_f1("犬", ["猫"]) == 0
    assert token_f1("", ["猫"]) == 0
    assert token_f1("。", ["。"]) == 0  # as the harness: nothing is left that could be common


def test_a_word_counts_as_often_as_it_stands_on_both_sides():
    assert overlap_f1(["a", "a", "b"], ["a", "c"]) == pytest.approx(2 * 1 / 5)
    assert overlap_f1(["a", "a"], ["a", "a", "a"]) == pytest.approx(4 / 5)


def test_f1_of_characters_forgives_half_an_answer():
    assert character_f1("東京都", ["東京"]) == pytest.approx(4 / 5)
    assert character_f1("東 京", ["東京"]) == 1
    assert character_f1("", [""]) == 0


def test_the_punctuation_is_the_harness_s_own_list():
    assert len(PUNCTUATION) == 106
    for mark in '。、「」！？（）〜…‧﹏｡｢～!"#.~【】《'[:-1]:
        assert mark in PUNCTUATION
    for kept in "・〈〉《．･ー々":
        assert kept not in PUNCTUATION


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("答えは18です。", 18),
        ("答えは18.", 18),
        ("合計1,234円", 1234),
        ("答えは-5", -5),
        ("3-2は1", 1),
        ("答えは3.0", 3),
        ("答えは3.5ポンド", None),
        ("19.50", None),
        ("答えは十八", None),
        ("１８", None),
        ("", None),
        ("1.2.3", None),
        ("18、", 18),
        ("18 , ", None),
        ("9" * 400, None),
    ],
)
def test_the_last_number_counts_if_it_is_whole(text: str, number: int | None):
    assert extract_number(text) == number


def test_a_number_is_compared_with_that_of_the_gold_answer():
    assert number_match("2+2=4なので答えは4です。", ["4"])
    assert number_match("1,000", ["答えは1000です。"])
    assert not number_match("なし", ["なし"])


def test_the_published_mgsm_log_is_judged_the_same_item_by_item(shared_data: Path):
    log = shared_data / "jp-harness" / "rinna-japanese-gpt-neox-3.6b.mgsm.json"
    task = json.loads(log.read_text(encoding="utf-8"))["results"]["mgsm-1.0-0.4"]
    details = task["details"]
    assert len(details) == 250
    for row in details:
        found = extract_number(row["completion"])
        assert (INVALID if found is None else found) == row["extracted_answer"]
        assert number_match(row["completion"], [str(row["answer"])]) is row["acc"]
    right = sum(number_match(row["completion"], [str(row["answer"])]) for row in details)
    assert right / 250 == task["acc"] == 0.008


def test_a_question_without_an_answer_is_refused():
    with pytest.raises(DataError, match="no right answer"):
        exact_match("犬", [])


def test_texts_are_cut_into_words_once(monkeypatch: pytest.MonkeyPatch):
    class Counting:
        calls = 0

        def parse(self, text: str) -> str:
            self.calls += 1
            return text

    tagger = Counting()
    monkeypatch.setattr(words, "_tagger", lambda: tagger)
    words.words.cache_clear()
    for _ in range(5):
        answers.token_f1("いちどだけ", ["かぞえる"])
    words.words.cache_clear()
    assert tagger.calls == 2


def test_the_dictionary_is_named():
    assert "unidic-lite 1." in word_source()


@pytest.mark.parametrize(("module", "call"), [("neologdn", normalise), ("fugashi", words.words)])
def test_a_missing_extra_is_named(
    monkeypatch: pytest.MonkeyPatch, module: str, call: Callable[[str], object]
):
    monkeypatch.setitem(sys.modules, module, None)
    for cache in (words.normalise, words.words, words._tagger):  # pyright: ignore[reportPrivateUsage]
        cache.cache_clear()
    with pytest.raises(MissingExtraError, match=r"minna\[evaluate\]"):
        call("まだ見たことのない文")
