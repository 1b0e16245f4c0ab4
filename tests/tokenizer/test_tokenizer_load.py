"""Encoding, decoding, streaming; rinna's own model."""

from __future__ import annotations

import dataclasses
import itertools
import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sentencepiece import SentencePieceProcessor

from minna.artifact.files import sha256_file
from minna.errors import ArtifactError, DataError
from minna.tokenizer import StreamDecoder, load_tokenizer
from minna.tokenizer.match import PROBES
from minna.tokenizer.proto import parse_model, read_model, snap_scores

# U+2581 is how SentencePiece writes a space, so it cannot come back as itself
TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\u2581"), max_size=60)
KINDS = ("bpe", "unigram", "rinna_like")


@pytest.mark.parametrize("kind", ["bpe", "unigram"])
def test_decoding_gives_back_any_text_in_the_default_setting(
    kind: str, request: pytest.FixtureRequest
):
    tokenizer = load_tokenizer(request.getfixturevalue(kind))

    @settings(max_examples=300, deadline=None)
    @given(TEXT)
    def check(text: str) -> None:
        assert tokenizer.decode(tokenizer.encode(text)) == text

    check()


def test_the_one_character_that_changes_is_the_one_documented(bpe: Path):
    tokenizer = load_tokenizer(bpe)
    assert tokenizer.decode(tokenizer.encode("a\u2581b")) == "a b"


@pytest.mark.parametrize("kind", KINDS)
def test_a_batch_gives_the_ids_of_its_texts(kind: str, request: pytest.FixtureRequest):
    tokenizer = load_tokenizer(request.getfixturevalue(kind))
    texts = [*PROBES, "", "\n", "\n\n犬\n", "長い" * 6000, "", *PROBES, ""]
    ids, offsets = tokenizer.encode_batch(texts, threads=2)
    assert ids.dtype == np.int32
    assert offsets[0] == 0
    assert len(offsets) == len(texts) + 1
    for text, start, end in zip(texts, offsets[:-1], offsets[1:], strict=True):
        assert ids[start:end].tolist() == tokenizer.encode(text), text


@settings(max_examples=100, deadline=None)
@given(texts=st.lists(st.text(st.sampled_from("犬は\n 。a"), max_size=12), max_size=12))
def test_newlines_in_a_batch_never_move_a_boundary(bpe: Path, texts: list[str]):
    tokenizer = load_tokenizer(bpe)
    ids, offsets = tokenizer.encode_batch(texts)
    rows = [ids[a:b].tolist() for a, b in itertools.pairwise(offsets)]
    assert rows == [tokenizer.encode(text) for text in texts]


@pytest.mark.parametrize("kind", KINDS)
def test_decoding_is_sentencepieces_own_on_whole_characters(
    kind: str, request: pytest.FixtureRequest
):
    path: Path = request.getfixturevalue(kind)
    tokenizer = load_tokenizer(path)
    theirs = SentencePieceProcessor(model_file=str(path / "tokenizer.model"))
    for text in PROBES:
        ids = theirs.encode(text)
        assert tokenizer.encode(text) == ids
        assert tokenizer.decode(ids) == theirs.decode(ids), text
        assert tokenizer.decode([1, *ids, 2]) == theirs.decode([1, *ids, 2])


def test_a_stream_never_shows_half_a_character_and_adds_up_to_the_text(bpe: Path):
    tokenizer = load_tokenizer(bpe)
    text = "犬と𠮷野家と👨‍👩‍👧。"
    stream = StreamDecoder(tokenizer)
    shown = [stream.feed(number) for number in tokenizer.encode(text)]
    assert "".join(shown) == text
    assert stream.close() == ""
    assert "" in shown
    assert not any("\ufffd" in piece for piece in shown)


def test_a_stream_that_ends_inside_a_character_shows_one_replacement(bpe: Path):
    tokenizer = load_tokenizer(bpe)
    ids = tokenizer.encode("犬👍")[:-1]
    stream = StreamDecoder(tokenizer)
    assert "".join(stream.feed(number) for number in ids) == "犬"
    assert stream.close() == "\ufffd"
    assert tokenizer.decode(ids) == "犬\ufffd"


@pytest.mark.parametrize("kind", KINDS)
def test_streaming_any_ids_gives_what_decoding_gives(kind: str, request: pytest.FixtureRequest):
    tokenizer = load_tokenizer(request.getfixturevalue(kind))

    @settings(max_examples=100, deadline=None)
    @given(st.lists(st.integers(0, tokenizer.vocab_size - 1), max_size=30))
    def check(ids: list[int]) -> None:
        stream = StreamDecoder(tokenizer)
        assert "".join(map(stream.feed, ids)) + stream.close() == tokenizer.decode(ids)

    check()


def test_piece_bytes_join_to_the_text(bpe: Path):
    tokenizer = load_tokenizer(bpe)
    text = " 猫が 𩸽を食べる\n"
    joined = b"".join(tokenizer.piece_bytes(number) for number in tokenizer.encode(text))
    assert joined.decode() == text
    assert tokenizer.piece_bytes(tokenizer.eos_id) == b""
    assert int(tokenizer.byte_ids.sum()) == 256


def test_special_ids_and_hash(bpe: Path):
    tokenizer = load_tokenizer(bpe)
    ids = (tokenizer.unk_id, tokenizer.bos_id, tokenizer.eos_id, tokenizer.pad_id)
    assert ids == (0, 1, 2, 3)
    assert tokenizer.vocab_size == 500
    assert tokenizer.sha256 == sha256_file(bpe / "tokenizer.model")


def test_typed_special_tokens_stay_text(bpe: Path):
    tokenizer = load_tokenizer(bpe)
    ids = tokenizer.encode("</s><s><pad><unk>")
    assert not {0, 1, 2, 3} & set(ids)
    assert tokenizer.decode(ids) == "</s><s><pad><unk>"


def test_text_without_utf8_is_refused_with_its_place(bpe: Path):
    tokenizer = load_tokenizer(bpe)
    with pytest.raises(DataError, match="at character 1"):
        tokenizer.encode("犬\ud83d")
    with pytest.raises(DataError, match=r"\\ud83d"):
        tokenizer.encode_batch(["犬", "\ud83d"])


@pytest.mark.parametrize("number", [-1, 500])
def test_an_id_outside_the_vocabulary_is_refused(bpe: Path, number: int):
    with pytest.raises(DataError, match="outside the vocabulary of 500"):
        load_tokenizer(bpe).decode([number])


def test_a_place_without_a_model_is_refused(tmp_path: Path):
    with pytest.raises(ArtifactError, match="does not exist"):
        load_tokenizer(tmp_path / "nowhere")
    with pytest.raises(ArtifactError, match="holds no SentencePiece model"):
        load_tokenizer(tmp_path)


@pytest.mark.parametrize("content", [b"", b"not a model", bytes(range(256))])
def test_a_file_that_is_no_model_is_refused(tmp_path: Path, content: bytes):
    (tmp_path / "tokenizer.model").write_bytes(content)
    with pytest.raises(DataError, match="is not a SentencePiece model"):
        load_tokenizer(tmp_path)


def test_a_truncated_model_is_refused(bpe: Path, tmp_path: Path):
    whole = (bpe / "tokenizer.model").read_bytes()
    (tmp_path / "tokenizer.model").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match="is not a SentencePiece model"):
        load_tokenizer(tmp_path)


# rinna's 32k lower-case tokenizer: ids given by transformers 4.46.3's slow T5Tokenizer
@pytest.mark.parametrize(
    ("text", "case", "ids"),
    [
        ("4年に1度オリンピックは開かれる。", "keep", [1602, 44, 24, 368, 1462, 11, 21583, 8]),
        ("Hello World ABC", "lower", [9, 22848, 463, 7375, 9, 8493]),
        ("Hello World ABC", "keep", [9, 0, 1816, 2172, 9, 0, 2497, 7049, 9, 0, 4167]),
        ("犬", "keep", [9, 1651]),
        ("猫の肖像画 油絵", "keep", [9, 4324, 10, 16655, 9, 2073, 1623]),
        ("ユーザー: こんにちは\nシステム: ", "keep", [9, 3245, 76, 9, 30442, 11, 9, 484, 76]),
    ],
)
def test_rinnas_tokenizer_gives_its_golden_ids(
    shared_data: Path, text: str, case: str, ids: list[int]
):
    model = shared_data / "rinna" / "google_sp.model"
    tokenizer = load_tokenizer(model, case="lower" if case == "lower" else "keep")
    assert tokenizer.encode(text) == ids
    assert tokenizer.encode_batch([text])[0].tolist() == ids


def test_a_rinna_folder_is_lower_cased_as_its_config_asks(shared_data: Path, tmp_path: Path):
    shutil.copy(shared_data / "rinna" / "google_sp.model", tmp_path / "spiece.model")
    (tmp_path / "tokenizer_config.json").write_text('{"do_lower_case": true}', encoding="utf-8")
    tokenizer = load_tokenizer(tmp_path)
    ids = (tokenizer.unk_id, tokenizer.bos_id, tokenizer.eos_id, tokenizer.pad_id)
    assert ids == (0, 1, 2, 3)
    assert tokenizer.vocab_size == 32_000
    assert tokenizer.decode(tokenizer.encode("Hello World ABC")) == "hello world abc"
    assert 0 in load_tokenizer(tmp_path, case="keep").encode("Hello")
    (tmp_path / "tokenizer_config.json").write_text("{", encoding="utf-8")
    with pytest.raises(DataError, match="is not JSON"):
        load_tokenizer(tmp_path)


def test_snapping_changes_the_scores_and_nothing_else(shared_data: Path):
    data = (shared_data / "rinna" / "google_sp.model").read_bytes()
    snapped = snap_scores(data, step=2.0**-6)
    before, after = parse_model(data), parse_model(snapped)
    assert len(snapped) == len(data)
    assert dataclasses.replace(after, pieces=before.pieces) == before
    for old, new in zip(before.pieces, after.pieces, strict=True):
        assert (new.text, new.type) == (old.text, old.type)
        assert new.score * 64 == round(old.score * 64)


def test_the_fields_are_those_protobuf_reads(shared_data: Path):
    protobuf = pytest.importorskip("sentencepiece.sentencepiece_model_pb2")
    model = shared_data / "rinna" / "google_sp.model"
    theirs = protobuf.ModelProto()
    theirs.ParseFromString(model.read_bytes())
    ours = read_model(model)
    assert [(p.text, p.score, p.type) for p in ours.pieces] == [
        (p.piece, p.score, p.type) for p in theirs.pieces
    ]
    assert ours.charsmap == theirs.normalizer_spec.precompiled_charsmap
    assert ours.normalisation == theirs.normalizer_spec.name == "nmt_nfkc"
    assert (ours.dummy_prefix, ours.fold_spaces, ours.escape_spaces) == (True, True, True)
