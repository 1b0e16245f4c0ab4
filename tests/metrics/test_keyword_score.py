"""The keyword task: what is asked can be read back, and an answer has the score its rule says."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minna.errors import DataError
from minna.metrics.keywords import ask, asked, keyword_score, malformed, runs

POLITE = "「海」「青」で丁寧な文"
PLAIN = "「海」「青」で普通の文"


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("海は青い。", ("海", "青")),
        ("トムはコーヒーを飲む。", ("トム", "コーヒー", "飲")),
        ("らーめんとアとーーを食べる。", ("食",)),  # a lone katakana, a ー that lengthens nothing
        ("人々は二〇〇〇年に来た。", ("人々", "二〇〇〇年", "来")),
        ("海と海岸と海。", ("海岸",)),  # what uses the one uses the other
        ("東京都千代田区と海。", ("海",)),  # seven kanji in a row
        ("ジョン・スミスさん", ("ジョン", "スミス")),
        ("𠮷野家で食う。", ("𠮷野家", "食")),
        ("ひらがな abc 123", ()),
        ("", ()),
    ],
)
def test_runs_are_whole_words_of_kanji_or_katakana(text, found):
    assert runs(text) == found


def test_what_is_asked_reads_as_written():
    assert ask(("海", "青"), style="polite") == POLITE
    assert ask(("海", "青"), style="plain") == PLAIN
    assert asked(POLITE) == (("海", "青"), "polite")


@given(
    st.lists(st.text("海青空コーヒー々", min_size=1, max_size=6), min_size=1, max_size=3),
    st.sampled_from(["polite", "plain"]),
)
def test_asked_inverts_ask(keywords, style):
    assert asked(ask(keywords, style=style)) == (tuple(keywords), style)


@pytest.mark.parametrize(
    "turn",
    [
        "",
        "海で丁寧な文",
        "「海」で文",
        "「」で丁寧な文",
        POLITE + "。",
        "x" + POLITE,
        "「海」「「青」で普通の文",
    ],
)
def test_other_questions_are_refused(turn):
    with pytest.raises(DataError, match="a keyword prompt must be"):
        asked(turn)
    with pytest.raises(DataError, match="a keyword prompt must be"):
        keyword_score(turn, "海は青い。")


@pytest.mark.parametrize(
    ("answer", "score"),
    [
        ("海は青いです。", 1.0),
        (" 海は青いです。\n", 1.0),
        ("青い海ですか？", 1.0),
        ("海岸の青年です！", 1.0),  # inside a longer word is used
        ("海は広いです。", 0.5),
        ("空は広いです。", 0.0),
        ("海は青い。", 0.0),  # all words, the wrong style
        ("海は広い。", -0.5),
        ("海は青いです", 0.0),  # no end
        ("「海」「青」です。", 0.0),  # copies the question
        ("海は青いです青いです青いです。", 0.0),
        ("海は青いですから", 0.0),
        ("空は広い", -2.0),
        ("", -2.0),
        (" \n", -2.0),
    ],
)
def test_the_score_is_the_share_less_one_for_each_fault(answer, score):
    assert keyword_score(POLITE, answer) == score


def test_a_plain_sentence_is_scored_the_other_way_round():
    assert keyword_score(PLAIN, "海は青い。") == 1.0
    assert keyword_score(PLAIN, "海は青いです。") == 0.0
    assert keyword_score("「海」で普通の文", "海だ。") == 1.0


@given(st.text("海青はいです。「", max_size=20))
def test_the_score_lies_between_its_ends_and_1_is_all_of_it(answer):
    score = keyword_score(POLITE, answer)
    assert -2 <= score <= 1
    whole = "海" in answer and "青" in answer and not malformed(answer)
    assert (score == 1) == (whole and answer.rstrip("。「").endswith("です"))


def test_a_run_counts_three_times_overlapping_or_not_and_a_short_one_never_does():
    assert malformed("ははははは。") == ""
    assert malformed("はははははは。") == "a run of four characters three times"
    assert malformed("いいよいいよいいよいいよ。")
    assert malformed("山と山と山だ。") == ""
    assert malformed("。") == "" and malformed("") == "empty"
