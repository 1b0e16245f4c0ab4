"""Phones as katakana: what Open JTalk reads comes back, and every phone can be written."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minna.corpus.phonemes import kana_of, load_inventory, phones_of, same_reading, to_julius
from minna.tokenizer.kana import kana_of_phones

KANA = set(load_inventory("kana").phones)
PHONES = [*load_inventory("open-jtalk").phones, *load_inventory("julius").phones]


@pytest.mark.parametrize(
    ("phones", "kana"),
    [
        ("t o o ky o o", "トーキョー"),
        ("t o: ky o:", "トーキョー"),
        ("i cl sh o N", "イッション"),
        ("i q sh o N", "イッション"),
        ("ky a ky u ky o", "キャキュキョ"),
        ("f a i r u", "ファイル"),
        ("a o i", "アオイ"),
        ("k a | a m e", "カアメ"),
        ("pau k a pau", "カ"),
        ("t", "ト"),
        ("k t a s", "クタス"),
        ("a i a i", "アイアイ"),
        ("", ""),
        ("a <unk> a", "ア<unk>ア"),
    ],
)
def test_phones_become_kana(phones, kana):
    assert kana_of_phones(phones.split()) == kana


@given(st.lists(st.sampled_from(PHONES), max_size=12))
def test_every_phone_can_be_written_in_kana_of_the_inventory(phones):
    assert set(kana_of_phones(phones)) <= KANA


@pytest.mark.parametrize(
    "text",
    [
        "東京から大阪まで新幹線で二時間半かかります。",
        "音声認識の精度を測るために、同じ文章を何度も読み上げます。",
        "昨日の夜、友達と一緒に映画を見に行きました。",
        "百二十三円のお釣りになります。",
        "ファックスとビデオテープとディスクのチェック。",
        "王様は場合によってお客様にジュースを勧めた。",
    ],
)
def test_what_is_read_comes_back(text):
    pytest.importorskip("pyopenjtalk")
    words = phones_of(text)
    told = "".join(kana_of_phones(word) for word in words)
    assert same_reading(told, kana_of(text))
    assert "".join(kana_of_phones(to_julius(word)) for word in words) == told
