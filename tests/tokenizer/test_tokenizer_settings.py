"""Presets: rinna's are compared with its own file field by field, and special pieces by id."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from minna.tokenizer import PRESETS, TokenizerSettings, load_tokenizer, train_tokenizer
from minna.tokenizer.proto import PieceType, read_model
from minna.tokenizer.settings import RUN, SPACE

# What differs between google_sp.model and what the preset `rinna` writes, and why.
DIFFERENCES = {
    "input": "they read files, we hand over lines",
    "model_prefix": "they wrote files",
    "vocab_size": "the test's is small",
    "max_sentence_length": "our lines are cut before",
    "num_threads": "ours is a constant, so that the bytes are the same everywhere",
    "precompiled_charsmap": "its Unicode version is that of the SentencePiece which trained",
}


def specs(file: Path) -> dict[str, Any]:
    """Every field of the trainer's and the normaliser's settings in a model file."""
    pytest.importorskip("google.protobuf", exc_type=ImportError)
    from sentencepiece import sentencepiece_model_pb2

    model = sentencepiece_model_pb2.ModelProto.FromString(file.read_bytes())
    found: dict[str, Any] = {}
    for part in (model.trainer_spec, model.normalizer_spec):
        for field in part.DESCRIPTOR.fields:
            value = getattr(part, field.name)
            found[field.name] = value
    return found


@pytest.fixture(scope="module")
def separate(corpus: Path) -> Path:
    settings = dataclasses.replace(PRESETS["rinna-bilingual"], vocab_size=520, languages={})
    return train_tokenizer(corpus, out=corpus.parent / "separate", settings=settings)


def test_the_preset_rinna_writes_google_sp_models_settings(shared_data: Path, rinna_like: Path):
    theirs = specs(shared_data / "rinna" / "google_sp.model")
    ours = specs(rinna_like / "tokenizer.model")
    assert set(theirs) == set(ours)
    differing = {name for name in theirs if theirs[name] != ours[name]}
    assert differing == set(DIFFERENCES)
    assert PRESETS["rinna"].vocab_size == theirs["vocab_size"] == 32_000


def test_the_special_pieces_of_the_preset_rinna_have_its_ids(shared_data: Path, rinna_like: Path):
    theirs = load_tokenizer(shared_data / "rinna" / "google_sp.model")
    ours = load_tokenizer(rinna_like)
    for number in range(7):
        one, other = theirs.fields.pieces[number], ours.fields.pieces[number]
        assert (one.text, one.type) == (other.text, other.type)
    for name in ("unk_id", "bos_id", "eos_id", "pad_id"):
        assert getattr(ours, name) == getattr(theirs, name), name


@pytest.mark.parametrize(
    ("specials", "texts"),
    [
        ("minna", "<unk> <s> </s> <pad>"),
        ("rinna-32k", "<unk> <s> </s> [PAD] [CLS] [SEP] [MASK]"),
        ("rinna-44k", "[CLS] <unk> <s> </s> [PAD] [SEP] [MASK]"),
        ("rinna-neox", "[PAD] [UNK] <s> </s> [CLS] [SEP] [MASK]"),
    ],
)
@pytest.mark.parametrize("kind", ["bpe", "unigram"])
def test_every_layout_of_special_pieces_travels_to_transformers(
    specials: str, texts: str, kind: str, corpus: Path, tmp_path: Path
):
    transformers = pytest.importorskip("transformers")
    settings = TypeAdapter(TokenizerSettings).validate_python(
        {"kind": kind, "vocab_size": 420, "specials": specials, "sample_bytes": 20_000}
    )
    ours = load_tokenizer(train_tokenizer(corpus, out=tmp_path / "t", settings=settings))
    expected = texts.split()
    pieces = ours.fields.pieces
    assert [piece.text for piece in pieces[: len(expected)]] == expected
    special = {PieceType.CONTROL, PieceType.UNKNOWN}
    assert [n for n, p in enumerate(pieces) if p.type in special] == list(range(len(expected)))
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path / "t")
    assert theirs.convert_tokens_to_ids(expected) == list(range(len(expected)))
    for name in ("unk", "bos", "eos", "pad"):
        assert getattr(theirs, f"{name}_token_id") == getattr(ours, f"{name}_id") >= 0, name
    if "[MASK]" in expected:
        assert theirs.mask_token_id == expected.index("[MASK]")
    typed = "[PAD][MASK]</s>と<unk>[UNK]"
    assert theirs(typed).input_ids == ours.encode(typed)
    assert not set(ours.encode(typed)) & {ours.eos_id, ours.pad_id, ours.bos_id}


def test_white_space_is_pieces_of_its_own_where_asked(separate: Path):
    tokenizer = load_tokenizer(separate)

    def pieces(text: str) -> list[str]:
        return [tokenizer.fields.pieces[number].text for number in tokenizer.encode(text)]

    normal = [p.text for p in tokenizer.fields.pieces if p.type == PieceType.NORMAL]
    assert not any(set(text) & set(f"{SPACE}\n\t") for text in normal)
    expected = ["駅", SPACE * 2, "駅", "\n", "\n", "\t", SPACE, "駅"]
    assert pieces("駅  駅\n\n\t 駅") == expected
    assert pieces(" " * RUN) == [SPACE * RUN]
    assert len(pieces(" " * (RUN + 9))) == 2
    for text in ("  東京 \n\n", " " * 99, "\t\t"):
        assert tokenizer.decode(tokenizer.encode(text)) == text


def test_white_space_pieces_keep_their_ids_in_transformers(separate: Path):
    transformers = pytest.importorskip("transformers")
    theirs, ours = transformers.AutoTokenizer.from_pretrained(separate), load_tokenizer(separate)
    for length in range(RUN + 1):
        text = f"東京{' ' * length}\n{' ' * length}京都\t"
        assert theirs(text).input_ids == ours.encode(text), length
        assert theirs.decode(theirs(text).input_ids) == text
    assert len(theirs) == ours.vocab_size


@pytest.mark.parametrize("kind", ["bpe", "unigram"])
def test_a_batch_gives_the_ids_of_its_texts_with_white_space_pieces(
    kind: str, corpus: Path, tmp_path: Path
):
    settings = TypeAdapter(TokenizerSettings).validate_python(
        {"kind": kind, "vocab_size": 480, "whitespace": "separate", "sample_bytes": 20_000}
    )
    tokenizer = load_tokenizer(train_tokenizer(corpus, out=tmp_path / "t", settings=settings))
    texts = ["", "東京\n", "\n\n  京都へ", "\t", "行く。" * 3000 + "\n" + "駅 " * 3000, "終"]
    ids, offsets = tokenizer.encode_batch(texts)
    for text, start, end in zip(texts, offsets[:-1], offsets[1:], strict=True):
        assert ids[start:end].tolist() == tokenizer.encode(text)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"languages": {"ja": 0.5, "en": 0.4}}, "sum to 1"),
        ({"languages": {"ja": 1.0, "en": 0.0}}, "above 0"),
        ({"languages": {"ja": 1.0}, "normalisation": "nfkc"}, "normalisation = 'identity'"),
        ({"whitespace": "separate", "fold_spaces": True}, "fold_spaces = false"),
        ({"whitespace": "separate", "dummy_prefix": True}, "dummy_prefix = false"),
        ({"specials": "rinna-33k"}, "rinna-32k"),
    ],
)
def test_settings_that_do_not_fit_together_are_refused(values: dict[str, Any], message: str):
    with pytest.raises(ValidationError, match=message):
        TypeAdapter(TokenizerSettings).validate_python(values)


def test_the_presets_are_valid_settings_with_what_the_cards_say():
    for settings in PRESETS.values():
        TypeAdapter(TokenizerSettings).validate_python(dataclasses.asdict(settings))
    assert PRESETS["minna"] == TokenizerSettings()
    neox = PRESETS["rinna-3.6b"]
    assert (neox.vocab_size, neox.byte_fallback, neox.dummy_prefix) == (32_000, True, False)
    assert (neox.fold_spaces, neox.specials) == (False, "rinna-neox")
    bilingual = PRESETS["rinna-bilingual"]
    assert (bilingual.vocab_size, bilingual.byte_fallback, bilingual.separate) == (
        65_536,
        True,
        True,
    )


def test_the_default_pieces_have_not_moved(bpe: Path):
    assert [piece.text for piece in read_model(bpe / "tokenizer.model").pieces[:5]] == [
        "<unk>", "<s>", "</s>", "<pad>", "<0x00>",
    ]  # fmt: skip
