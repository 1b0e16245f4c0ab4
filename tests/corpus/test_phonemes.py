"""Phones: closed inventories, maps that lose only what they say, and Japanese read aloud."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minna.corpus.clip_rows import phones_told, timed_phones, words_of
from minna.corpus.phonemes import (
    JULIUS,
    KANA,
    OPEN_JTALK,
    kana_of,
    label_phones,
    load_inventory,
    phones_of,
    read_aloud,
    same_reading,
    spoken_kana,
    to_julius,
    to_open_jtalk,
    version,
    without_ruby,
)
from minna.errors import DataError, MissingExtraError, UsageError

ROHAN = Path("../shared/data/speech/rohan4600.txt")
OURS = load_inventory(OPEN_JTALK).phones
THEIRS = load_inventory(JULIUS).phones
LOST = {"v": "b", "fy": "hy", "ty": "t", "kw": "k", "gw": "g"}
VOWELS = "aiueo"


def told(text):
    return [" ".join(word) for word in phones_of(text)]


# ---- inventories and maps


def test_both_inventories_have_40_phones_each_once():
    for name in (OPEN_JTALK, JULIUS):
        phones = load_inventory(name).phones
        assert len(phones) == len(set(phones)) == 40 and load_inventory(name).name == name
    assert not {"sil", "pau", "|", "sp"} & {*OURS, *THEIRS}
    kana = load_inventory(KANA).phones
    assert len(set(kana)) == len(kana) and {"ー", "ッ", "ン", "ヴ"} <= set(kana)
    assert all(len(one) == 1 for one in kana) and not {"ヲ", "ヂ", "ヅ"} & set(kana)
    with pytest.raises(UsageError, match="did you mean 'julius'"):
        load_inventory("julius40")


def test_devoiced_vowels_are_vowels_and_strangers_are_named():
    assert load_inventory(OPEN_JTALK).folded(["k", "U", "sh", "I", "A", "E", "O"]) == [
        "k",
        "u",
        "sh",
        "i",
        "a",
        "e",
        "o",
    ]
    with pytest.raises(DataError, match="'q' is not a phone of Open JTalk"):
        to_julius(["q"])
    with pytest.raises(DataError, match="'cl' is not a phone of Julius"):
        to_open_jtalk(["cl"])


def test_long_vowels_long_consonants_and_boundaries_are_mapped():
    assert to_julius(["t", "o", "o", "ky", "o", "o"]) == ["t", "o:", "ky", "o:"]
    assert to_julius(["i", "cl", "t", "a"]) == ["i", "q", "t", "a"]
    assert to_julius(["k", "e", "e", "e", "e"]) == ["k", "e:", "e:"]
    assert to_julius(["o", "o", "o", "k", "a"]) == ["o:", "o", "k", "a"]
    assert to_julius(["k", "a", "|", "a", "k", "a", "pau", "a"]) == [
        "k",
        "a",
        "|",
        "a",
        "k",
        "a",
        "pau",
        "a",
    ]
    assert to_julius(["N", "N", "n", "n"]) == ["N", "N", "n", "n"]
    assert to_open_jtalk(["o:", "s", "a", "m", "a", "|", "w", "a"]) == [
        "o",
        "o",
        "s",
        "a",
        "m",
        "a",
        "|",
        "w",
        "a",
    ]
    assert to_julius(["ty", "u", "r", "u", "v", "i", "fy", "u", "kw", "a", "gw", "e"]) == [
        "t",
        "u",
        "r",
        "u",
        "b",
        "i",
        "hy",
        "u",
        "k",
        "a",
        "g",
        "e",
    ]


@given(st.lists(st.sampled_from([*OURS, "|", "pau"]), max_size=30))
def test_from_open_jtalk_and_back_only_five_sounds_change(phones):
    back = to_open_jtalk(to_julius(phones))
    assert back == [LOST.get(phone, phone) for phone in phones]
    assert set(to_julius(phones)) <= {*THEIRS, "|", "pau"}


@given(st.lists(st.sampled_from([*THEIRS, "|"]), max_size=30))
def test_from_julius_and_back_nothing_changes_but_vowels_that_meet(phones):
    meet = any(one[0] == other[0] and one[0] in VOWELS for one, other in itertools.pairwise(phones))
    assert set(to_open_jtalk(phones)) <= {*OURS, "|"}
    if not meet:
        assert to_julius(to_open_jtalk(phones)) == phones


# ---- reading


def test_long_vowels_come_from_the_surface_and_not_from_its_kana():
    assert told("王様は東京へ行った。") == [
        "o o s a m a",
        "w a",
        "t o o ky o o",
        "e",
        "i cl",
        "t a",
    ]
    assert kana_of("王様は東京へ行った。") == "オーサマワトーキョーエイッタ"
    assert told("オウサマ") == ["o u s a m a"]  # the trap: nobody can know
    assert told("子牛を追う") == ["k o", "u sh i", "o", "o u"]
    assert told("お父さん") == ["o t o o s a N"] and told("経営") == ["k e e e e"]


def test_devoiced_vowels_numbers_letters_and_loanwords_are_read():
    assert told("です") == ["d e s u"]
    assert told("何度も来たABC") == ["n a N", "d o", "m o", "k i", "t a", "e i b i i sh i i"]
    assert told("ヴァイオリン") == ["v a i o r i N"]
    assert told("フュージョン、テュルリー、クヮ") == ["fy u u j o N", "ty u r u r i i", "kw a"]
    assert kana_of("フュージョン！") == "フュージョン"


def test_what_nobody_can_read_is_told():
    assert read_aloud("한국어だ").unread == ("한국어",)
    assert read_aloud("👍いいね！").unread == () and told("👍いいね！") == ["i i n e"]
    for empty in ("", " ", "…！"):
        assert phones_of(empty) == [] and kana_of(empty) == ""
    with pytest.raises(DataError, match="1001 characters is no utterance"):
        phones_of("あ" * 1001)


def test_pauses_stand_where_the_labels_have_them():
    reading = read_aloud("はい、そうです。")
    assert reading.with_pauses == [
        ["pau"],
        ["h", "a", "i"],
        ["pau"],
        ["s", "o", "o"],
        ["d", "e", "s", "u"],
        ["pau"],
    ]
    assert [phone for word in reading.with_pauses for phone in word] == label_phones(reading.labels)
    assert words_of(phones_told(reading.with_pauses)) == reading.words
    with pytest.raises(DataError, match="not a full-context label"):
        label_phones(["a"])


def test_without_its_dictionary_the_extra_is_named(monkeypatch):
    from minna.corpus import phonemes

    def missing(name):
        raise phonemes.metadata.PackageNotFoundError(name)

    assert "pyopenjtalk-plus" in version()
    monkeypatch.setattr(phonemes.metadata, "version", missing)
    with pytest.raises(MissingExtraError, match="pyopenjtalk-plus") as caught:
        phones_of("王様")
    assert "minna[speech]" in caught.value.remedy


def test_4600_balanced_sentences_stay_within_the_inventories():
    if not ROHAN.is_file():
        pytest.skip("the balanced sentences are not beside this checkout")
    phones, kana, same = set(), set(), 0
    lines = ROHAN.read_text(encoding="utf-8").splitlines()
    for line in lines[::4]:  # all of them take 8 s, and were within too
        text, reading = line.partition(":")[2].rsplit(",", 1)
        read = read_aloud(without_ruby(text))
        assert not read.unread and read.words
        phones.update(phone for word in read.words for phone in word)
        kana.update(read.kana)
        same += same_reading(read.kana, reading)
    assert phones == set(OURS)  # they were made to have every sound
    assert kana <= set(load_inventory(KANA).phones)
    assert set(to_julius(sorted(phones))) <= set(THEIRS)
    assert same / len(lines[::4]) > 0.85  # the gold readings; names and rare kanji differ


# ---- kana and rows


def test_readings_in_brackets_go_and_other_brackets_stay():
    assert without_ruby("流(なが)し斬(ぎ)りが入(はい)る") == "流し斬りが入る"
    assert without_ruby("GPU（じーぴーゆー）と彼(カレ)") == "GPUと彼"
    kept = "はい(そう)です（笑）、f(x)と数（かず3）"
    assert without_ruby(kept) == kept


def test_kana_is_katakana_one_letter_a_sound():
    assert spoken_kana("おうさまを、ヂヅ ABCヵゑ!") == "オウサマオジズカエ"


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("おうさま", "オーサマ", True), ("ケイエイ", "けーえー", True), ("おおきい", "オーキー", True),
        ("つづく", "ツズク", True), ("か", "カー", False), ("オモウ", "オモ", False), ("キョウ", "キヨウ", False),
        ("", "", True), ("ー", "", False), ("クウキ", "クーキ", True), ("カイ", "カー", False),
    ],
)  # fmt: skip
def test_readings_are_compared_however_long_vowels_are_spelled(one, other, same):
    assert same_reading(one, other) is same is same_reading(other, one)


def test_rows_tell_words_and_times_with_and_without_silences():
    phones = "pau | k a | pau | a o | pau"
    assert words_of(phones) == [["k", "a"], ["a", "o"]] and words_of("") == []
    assert phones_told([["pau"], ["k", "a"], ["pau"], ["a", "o"], [], ["pau"]]) == phones
    ends = (0.1, 0.2, 0.3, 0.35, 0.5, 0.6, 0.7)
    found = timed_phones(phones, ends)
    assert found[:3] == [("pau", 0.0, 0.1), ("k", 0.1, 0.2), ("a", 0.2, 0.3)] and len(found) == 7
    assert timed_phones("k a", ()) == []
