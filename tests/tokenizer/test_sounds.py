"""Symbols of CTC: what is written is read again, what is unknown is told, transformers agrees."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minna.errors import ArtifactError, DataError
from minna.tokenizer.sounds import (
    Sounds,
    read_sounds,
    sounds_of_inventory,
    write_sounds,
)

PHONES = Sounds("phones", ("a", "i", "u", "e", "o", "N", "s", "h", "sh", "ch", "k", "ky", "a:"))
KANA = sounds_of_inventory("kana")
WORDS = st.lists(st.lists(st.sampled_from(PHONES.symbols), max_size=5), max_size=5)


@given(WORDS)
def test_words_of_phones_come_back_from_ids_and_from_text(words):
    kept = [word for word in words if word]
    ids = PHONES.encode(words)
    assert PHONES.words(ids) == [tuple(word) for word in kept]
    assert PHONES.parse(PHONES.decode(ids)) == kept
    assert ids.count(1) == max(0, len(kept) - 1) and 0 not in ids


@given(st.lists(st.text(st.sampled_from(KANA.symbols), max_size=5), max_size=5))
def test_words_of_kana_come_back_from_ids_and_from_text(words):
    sounds = KANA
    ids = sounds.encode(words)
    assert sounds.decode(ids).split() == [word for word in words if word]
    assert ["".join(word) for word in sounds.parse(sounds.decode(ids))] == sounds.decode(
        ids
    ).split()


def test_letters_of_a_phone_are_not_phones():
    assert PHONES.encode([["sh", "a"]]) != PHONES.encode([["s", "h", "a"]])
    assert PHONES.decode(PHONES.encode([["sh", "a:"], ["N"]])) == "sh a: | N"


def test_hiragana_are_read_as_katakana_and_pauses_are_no_words():
    sounds = KANA
    assert (
        sounds.decode(sounds.encode(sounds.parse("こんにちは|せかい ヴー")))
        == "コンニチハ セカイ ヴー"
    )
    assert PHONES.parse("pau | k a | pau | i | pau") == [["k", "a"], ["i"]]
    clip = SimpleNamespace(phones="k a | i", kana="かい")
    assert PHONES.said_in(clip) == [["k", "a"], ["i"]]
    assert sounds.said_in(clip) == [["カ", "イ"]]


def test_unknown_sounds_and_ids_are_told_with_their_neighbour():
    with pytest.raises(DataError, match=r"'kya' is none of the 13 phones.*did you mean 'ky'"):
        PHONES.encode([["a"], ["kya"]])
    with pytest.raises(DataError, match="id 15 is not among the 15"):
        PHONES.decode([3, 15])
    with pytest.raises(DataError, match="id -1"):
        PHONES.words([-1])


@pytest.mark.parametrize(
    ("kind", "symbols", "said"),
    [
        ("phones", (), "0 symbols"),
        ("phones", ("a", "i", "a"), "3 symbols of phones, 2 of them different"),
        ("phones", ("a", "|"), r"'\|' cannot be"),
        ("phones", ("a", "<pad>"), "'<pad>' cannot be"),
        ("phones", ("a b",), "'a b' cannot be"),
        ("phones", ("",), "'' cannot be"),
        ("kana", ("キャ",), "'キャ' cannot be"),
    ],
)
def test_symbols_that_cannot_be_told_apart_are_refused(kind, symbols, said):
    with pytest.raises(DataError, match=said):
        Sounds(kind, symbols)


@pytest.mark.parametrize("sounds", [PHONES, KANA], ids=["phones", "kana"])
def test_a_folder_gives_back_the_same_symbols(tmp_path, sounds):
    write_sounds(tmp_path, sounds)
    assert read_sounds(tmp_path) == sounds
    vocab = json.loads((tmp_path / "vocab.json").read_text(encoding="utf-8"))
    assert (vocab["<pad>"], vocab["|"], vocab[sounds.symbols[0]]) == (0, 1, 2)
    assert len(vocab) == sounds.size


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("[]", "must name each symbol"),
        ("{", "is not JSON"),
        ('{"<pad>": 0, "|": 1, "a": 3}', "must name each symbol"),
        ('{"<pad>": 0, "|": 1, "a": true}', "must name each symbol"),
        ('{"<pad>": 0, "<s>": 1, "|": 2, "a": 3}', r"begins with \['<pad>', '<s>'\]"),
        ('{"<pad>": 0, "|": 1}', "0 symbols"),
        ('{"<pad>": 0, "|": 1, "a b": 2}', "'a b' cannot be"),
    ],
)
def test_a_vocabulary_of_another_form_is_refused(tmp_path, content, said):
    (tmp_path / "vocab.json").write_text(content, encoding="utf-8")
    with pytest.raises(ArtifactError, match=said):
        read_sounds(tmp_path)


def test_a_folder_without_a_vocabulary_is_no_recogniser(tmp_path):
    with pytest.raises(ArtifactError, match=r"no vocab\.json"):
        read_sounds(tmp_path)


def test_transformers_decodes_as_we_do(tmp_path):
    transformers = pytest.importorskip("transformers")
    write_sounds(tmp_path, PHONES)
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path)
    assert isinstance(theirs, transformers.Wav2Vec2CTCTokenizer)
    assert theirs.vocab_size == len(theirs) == PHONES.size and theirs.pad_token_id == 0
    words = [["sh", "i", "N"], ["ky", "a:"], ["a", "i"]]
    ids = PHONES.encode(words)
    frames = [0, *(one for number in ids for one in (number, number, 0))]
    assert theirs.decode(frames) == " ".join("".join(word) for word in words)
    named = theirs.convert_ids_to_tokens(ids)
    assert named == ["sh", "i", "N", "|", "ky", "a:", "|", "a", "i"]


def test_inventories_are_vocabularies_and_julius_reads_what_corpora_tell(tmp_path):
    ours, theirs = sounds_of_inventory("open-jtalk"), sounds_of_inventory("julius")
    assert len(theirs.symbols) == 40 and theirs.size == 42
    assert "pau" not in ours.symbols and {"cl", "N", "sh"} <= set(ours.symbols)
    clip = SimpleNamespace(phones="t o o ky o o | i cl t a", kana="")
    write_sounds(tmp_path, theirs)
    read = read_sounds(tmp_path)
    assert read.said_in(clip) == [["t", "o:", "ky", "o:"], ["i", "q", "t", "a"]]
    assert ours.decode(ours.encode(ours.said_in(clip))) == clip.phones
    assert KANA.said_in(clip) == []
