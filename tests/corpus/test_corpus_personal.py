"""Masking on planted data: `pytest -s` prints precision and recall of each kind."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from tests.corpus.personal_cases import NEGATIVE, POSITIVE, cases

from minna.corpus.japanese import normalise
from minna.corpus.personal import KINDS, PLACEHOLDERS, MaskSettings, mask

PLANTED = re.compile("⟦(.*?)⟧")
AWKWARD = st.lists(
    st.sampled_from(
        [
            "03",
            "1234",
            "5678",
            "-",
            "ー",
            "(",
            ")",
            "090",
            "0120",
            "+81",
            " ",
            "〒",
            "100",
            "0005",
            "a",
            "@",
            "example",
            ".",
            "com",
            "東京都",
            "千代田区",
            "丸の内",
            "1",
            "-1",
            "丁目",
            "番",
            "電話",
            "番号",
            "：",
            "郵便",
            "〔電話番号〕",
            "〔郵便番号〕",
            "\n",
            "は",
            "203.0.113.9",
        ]
    ),
    max_size=24,
).map("".join)


@pytest.mark.parametrize("kind", KINDS)
def test_planted_personal_data_is_found_and_look_alikes_are_left(kind):
    hits = planted = 0
    for case in cases(POSITIVE[kind]):
        want = PLANTED.sub(PLACEHOLDERS[kind], case)
        there = len(PLANTED.findall(case))
        got, counts = mask(PLANTED.sub(r"\1", case), kinds=[kind])
        planted += there
        hits += there if got == want and counts == {kind: there} else 0
    false = [case for case in cases(NEGATIVE[kind]) if mask(case, kinds=[kind])[1]]
    assert len(cases(POSITIVE[kind])) >= 40 and len(cases(NEGATIVE[kind])) >= 40
    recall, precision = hits / planted, hits / (hits + len(false))
    print(f"\n{kind}: {planted} planted, recall {recall:.3f}, precision {precision:.3f}")  # noqa: T201
    assert recall >= 0.98 and precision >= 0.98, false


@pytest.mark.parametrize("kind", KINDS)
def test_planted_data_is_gone_with_all_kinds_at_once_and_after_normalisation(kind):
    for case in cases(POSITIVE[kind]):
        for text in (case, normalise(case)):
            masked, counts = mask(PLANTED.sub(r"\1", text))
            assert counts.get(kind), case
            for digits in PLANTED.findall(text):
                assert digits not in masked


def test_each_kind_gets_its_word_and_the_rest_of_the_text_stays():
    text = (
        "一行目です。\n\n山田太郎 〒100-0005 東京都千代田区丸の内1-1-1 丸の内ビル3F\n"
        "TEL 03-1234-5678 / taro@example.com（203.0.113.45）\n2020-12-31 に 3-2 で勝った。"
    )
    masked, counts = mask(text)
    assert masked == (
        "一行目です。\n\n山田太郎 〔郵便番号〕 〔住所〕\n"
        "TEL 〔電話番号〕 / 〔メールアドレス〕（〔IPアドレス〕）\n2020-12-31 に 3-2 で勝った。"
    )
    assert counts == dict.fromkeys(KINDS, 1)


def test_only_the_kinds_asked_for_are_masked():
    text = "03-1234-5678 taro@example.com"
    assert mask(text, kinds=["email"]) == ("03-1234-5678 〔メールアドレス〕", {"email": 1})
    assert mask(text, kinds=MaskSettings(kinds=()).kinds) == (text, {})
    assert MaskSettings().kinds == KINDS
    with pytest.raises(ValidationError):
        MaskSettings(kinds=("name",))


def test_an_address_behind_a_postal_code_needs_no_prefecture():
    assert mask("〒100-0005 千代田区丸の内1-1-1")[0] == "〔郵便番号〕 〔住所〕"
    assert mask("千代田区丸の内1-1-1")[1] == {}


@given(AWKWARD)
@settings(max_examples=400, deadline=None)
def test_masking_twice_changes_nothing_more_and_normalising_after_neither(text):
    once, counts = mask(text)
    assert mask(once) == (once, {})
    assert (once == text) == (not counts)
    assert sum(map(once.count, PLACEHOLDERS.values())) >= sum(counts.values())
    clean = mask(normalise(text))[0]
    assert normalise(clean) == clean


def test_a_text_without_signs_is_returned_as_it_is():
    text = "吾輩は猫である。名前はまだ無い。" * 100
    masked, counts = mask(text)
    assert masked is text and counts == {}


def test_a_long_line_of_digits_takes_no_time_to_speak_of():
    line = "0123456789-" * 20_000 + "@" + "a." * 20_000 + "東京都" + "一丁" * 20_000
    assert mask(line)[1] == {}
