"""Qwen's tiktoken file read here gives what the tiktoken library gives."""

from __future__ import annotations

import json
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.tokenizer.tiktoken_folder import PIECES, TEXT, tiktoken_folder

from minna.errors import DataError
from minna.tokenizer import tiktoken as ours
from minna.tokenizer.adopt import adopt_tokenizer
from minna.tokenizer.coder import load_coder, training_tokenizer

PARTS = [*TEXT, "が", "ﾊﾟ", "👨‍👩‍👧", "\r\n", "  ", "を", "isn't"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tiktoken_folder(tmp_path_factory.mktemp("qwen"))


@pytest.fixture(scope="module")
def theirs():
    import tiktoken

    return tiktoken.Encoding(
        "qwen",
        pat_str=ours._PATTERN,
        mergeable_ranks={piece: rank for rank, piece in enumerate(PIECES)},
        special_tokens={text: len(PIECES) + n for n, text in enumerate(ours.SPECIALS)},
    )


@pytest.fixture(scope="module")
def words(folder):
    return training_tokenizer(folder)


@settings(max_examples=300)
@given(st.one_of(st.text(max_size=60), st.lists(st.sampled_from(PARTS), max_size=40).map("".join)))
def test_ids_are_those_of_tiktoken(words, theirs, text):
    expected = theirs.encode_ordinary(unicodedata.normalize("NFC", text))
    assert words.encode(text) == expected
    assert words.decode(expected) == theirs.decode(expected)


def test_special_tokens_are_numbered_behind_and_stay_text_in_training(folder, words):
    end = len(PIECES)
    assert (words.eos_id, words.vocab_size) == (end, end + 208)
    assert end not in words.encode("終わり<|endoftext|>次")
    assert words.decode(words.encode("終わり<|endoftext|>次")) == "終わり<|endoftext|>次"
    coder = load_coder(folder)  # a chat prompt of evaluation writes it as text and means it
    assert coder.encode("終わり<|endoftext|>").count(end) == 1
    assert coder.encode("<|im_start|>")[0] == end + 1
    flat, offsets = words.encode_batch(["吾輩は", "", "猫"])
    assert flat[: offsets[1]].tolist() == words.encode("吾輩は")
    assert offsets[1] == offsets[2] and flat[offsets[2] :].tolist() == words.encode("猫")


def test_an_adopted_one_opens_in_transformers_without_code_of_a_hub(folder, words, tmp_path):
    from transformers import AutoTokenizer

    out = adopt_tokenizer(folder, out=tmp_path / "words")
    assert adopt_tokenizer(folder, out=out) == out
    config = json.loads((out / "tokenizer_config.json").read_text(encoding="utf-8"))
    assert "auto_map" not in config and config["model_max_length"] == 8192
    theirs = AutoTokenizer.from_pretrained(out)
    assert theirs.eos_token == "<|endoftext|>" and theirs.eos_token_id == words.eos_id
    for text in (TEXT, "が=が", " 空白 \n\n 改行"):
        ids = words.encode(text)
        assert theirs(text)["input_ids"] == ids == training_tokenizer(out).encode(text)


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda lines: [*lines[:300], b"@@@ 300"], r'qwen.tiktoken:301 must be "base64 rank"'),
        (lambda lines: [*lines[:10], *lines[11:]], "must have rank 10"),
        (lambda lines: [*lines[:300], lines[299].split()[0] + b" 300"], "lists a piece twice"),
        (lambda lines: lines[:255], r"lacks 1 of the 256 bytes, such as b'\\xff'"),
    ],
)
def test_damaged_files_are_named(damage, said, tmp_path):
    folder = tiktoken_folder(tmp_path / "qwen")
    file = folder / "qwen.tiktoken"
    file.write_bytes(b"\n".join(damage(file.read_bytes().splitlines())))
    with pytest.raises(DataError, match=said):
        training_tokenizer(folder)
