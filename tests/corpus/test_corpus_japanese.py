import re
import sys
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minna.corpus import japanese
from minna.corpus.japanese import normalise

AWKWARD = st.text(
    alphabet="aｱカﾊﾞﾟかが\u3099\u309a゛゜！!？…‥～〜~〰①²½㎏㍻ﬁｰー　 \t\n\r\u2028\x00\x0b\u200b\u200d\ufe0f\ufeff"
    "\u0301\u0308\u0323¨´\u1ffd\u0344\u1e9b\u0345神\ufa19\U0002f800😀\ud800\U000e0100２Ａ（）：｡｢｣",
    max_size=30,
)


@given(st.one_of(AWKWARD, st.text(max_size=40)))
@settings(max_examples=500, deadline=None)
def test_normalising_twice_changes_nothing_more_and_the_result_can_be_stored(text):
    once = normalise(text)
    assert normalise(once) == once
    once.encode()
    assert not re.search(r"  |\n\n\n|\r|\t|\u3000| \n|\n ", once)


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ("ﾃｷｽﾄﾊﾞｯｸ", "テキストバック"),
        ("か\u3099っこう", "がっこう"),
        ("ＡＢＣ１２３", "ABC123"),
        ("本当！？（はい）：；", "本当！？（はい）：；"),
        ("です，ます．", "です，ます．"),
        ("５～６時", "5〜6時"),
        ("そう…‥", "そう…‥"),
        ("①10²と1½", "①10²と1½"),
        ("㎏㍻㈱Ⅲ", "kg平成(株)III"),
        ("あ゛あ\u3099ん\u309a", "あ゛あ゛ん゜"),
        ("｢ｱ｣､｡", "「ア」、。"),
        ("　字下げ　　です　", "字下げ です"),
        ("一\r\n二\r三\u2028四", "一\n二\n三\n四"),
        ("一\n\n\n\n\n二\n\n", "一\n\n二"),
        ("ゼロ\u200b幅\ufeff字\ufe0f\x00", "ゼロ幅字"),
        ("壊\ud800れ", "壊\ufffdれ"),
        ("\ufa19\u2f00", "神一"),
        ("", ""),
    ],
)
def test_what_each_rule_does(raw, expected):
    assert normalise(raw) == expected


def test_the_kept_characters_are_exactly_those_the_documented_rule_names():
    kept = re.compile(f"[{japanese.KEPT}]")
    for number in range(sys.maxunicode + 1):
        character = chr(number)
        mapped = unicodedata.normalize("NFKC", character)
        tag = unicodedata.decomposition(character).partition(">")[0].removeprefix("<")
        named = mapped != character and (
            character in "！？（）：；，．‥…"
            or tag in {"super", "sub", "circle", "fraction"}
            or (mapped[0] == " " and len(mapped) > 1)
        )
        is_kept = kept.fullmatch(character) is not None
        # a newer Unicode than this Python's may have characters of the kind
        assert is_kept == named or unicodedata.category(character) == "Cn", hex(number)


def test_characters_the_fast_path_lets_through_are_what_the_full_path_would_return():
    plain = [chr(n) for n in range(0x110000) if japanese._PLAIN.fullmatch(chr(n))]
    assert len(plain) > 20_000
    kept = re.compile(f"[{japanese.KEPT}]")
    for character in plain:
        assert kept.fullmatch(character) or unicodedata.is_normalized("NFKC", character)
        assert not japanese._INVISIBLE.search(character)
        assert unicodedata.combining(character) == 0
