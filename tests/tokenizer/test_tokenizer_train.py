"""Training: what is written, that it is the same every time, and what is refused."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from pathlib import Path

import pytest
from pydantic import TypeAdapter, ValidationError
from tests.tokenizer.made_up_corpus import sentences, write_corpus

from minna import artifact
from minna.errors import ArtifactError, DataError
from minna.tokenizer import TokenizerSettings, load_tokenizer, train_tokenizer
from minna.tokenizer.proto import read_model


def test_the_directory_is_a_tokenizer_with_its_provenance(bpe: Path, corpus: Path):
    manifest = artifact.read_manifest(bpe, kind="tokenizer")
    assert set(manifest.files) == {
        "tokenizer.model",
        "tokenizer.json",
        "tokenizer_config.json",
        "special_tokens_map.json",
        "match.json",
    }
    assert manifest.parent("corpus").path == corpus.as_posix()
    assert manifest.counts["vocab_size"].value == 500
    assert manifest.counts["match_rate"].value == 1.0
    assert [item.licence for item in manifest.licences] == ["CC0-1.0"]
    assert artifact.inspect(bpe)[1] == []


def test_special_ids_are_the_documented_ones(bpe: Path):
    pieces = [piece.text for piece in read_model(bpe / "tokenizer.model").pieces[:4]]
    assert pieces == ["<unk>", "<s>", "</s>", "<pad>"]


def test_only_the_training_split_is_read(tmp_path: Path):
    made = write_corpus(tmp_path / "c", train=sentences(300, seed=0), valid=["鬱鬱鬱鬱"] * 300)
    out = train_tokenizer(made, out=tmp_path / "t", settings=TokenizerSettings(vocab_size=400))
    assert "鬱" not in {piece.text for piece in load_tokenizer(out).fields.pieces}


@pytest.mark.parametrize("kind", ["bpe", "unigram"])
def test_the_same_corpus_and_settings_give_the_same_bytes(kind: str, corpus: Path, tmp_path: Path):
    settings = TypeAdapter(TokenizerSettings).validate_python(
        {"kind": kind, "vocab_size": 420, "sample_bytes": 20_000}
    )
    found = [
        {
            file.name: hashlib.sha256(file.read_bytes()).hexdigest()
            for file in train_tokenizer(corpus, out=tmp_path / name, settings=settings).iterdir()
            if file.name != artifact.MANIFEST_NAME
        }
        for name in ("a", "b")
    ]
    assert found[0] == found[1]


def test_a_second_call_does_nothing_and_other_settings_do_it_again(corpus: Path, tmp_path: Path):
    settings = TokenizerSettings(vocab_size=400, sample_bytes=20_000)
    out = train_tokenizer(corpus, out=tmp_path / "t", settings=settings)
    before = (out / artifact.MANIFEST_NAME).stat().st_mtime_ns
    train_tokenizer(corpus, out=out, settings=settings)
    assert (out / artifact.MANIFEST_NAME).stat().st_mtime_ns == before
    train_tokenizer(corpus, out=out, settings=dataclasses.replace(settings, vocab_size=410))
    assert load_tokenizer(out).vocab_size == 410


@pytest.mark.parametrize("kind", ["bpe", "unigram"])
def test_a_vocabulary_the_text_cannot_fill_names_the_largest_that_it_can(kind: str, tmp_path: Path):
    made = write_corpus(tmp_path / "c", train=sentences(100, seed=0), valid=[])
    values = {"kind": kind, "vocab_size": 30_000}
    settings = TypeAdapter(TokenizerSettings).validate_python(values)
    with pytest.raises(DataError, match="at most") as caught:
        train_tokenizer(made, out=tmp_path / "t", settings=settings)
    largest = int(caught.value.rule.split("at most ")[1].split()[0])
    assert "30000" in caught.value.rule
    assert f"--vocab-size {largest} " in caught.value.remedy
    assert not (tmp_path / "t").exists()
    settings = dataclasses.replace(settings, vocab_size=largest)
    out = train_tokenizer(made, out=tmp_path / "t", settings=settings)
    assert load_tokenizer(out).vocab_size == largest


def test_a_vocabulary_too_small_for_the_characters_names_what_is_needed(
    corpus: Path, tmp_path: Path
):
    with pytest.raises(DataError, match=r"needs at least \d+ pieces") as caught:
        train_tokenizer(corpus, out=tmp_path / "t", settings=TokenizerSettings(vocab_size=100))
    needed = int(caught.value.remedy.split("--vocab-size ")[1].split()[0])
    train_tokenizer(corpus, out=tmp_path / "t", settings=TokenizerSettings(vocab_size=needed))


def test_an_empty_training_split_is_refused(tmp_path: Path):
    made = write_corpus(tmp_path / "c", train=["", "\n"], valid=["犬"])
    with pytest.raises(DataError, match="holds no text"):
        train_tokenizer(made, out=tmp_path / "t", settings=TokenizerSettings())


def test_something_that_is_not_a_corpus_is_refused(bpe: Path, tmp_path: Path):
    with pytest.raises(ArtifactError, match="is a tokenizer"):
        train_tokenizer(bpe, out=tmp_path / "t", settings=TokenizerSettings())


def test_a_misspelt_setting_is_refused():
    with pytest.raises(ValidationError, match="vocabsize"):
        TypeAdapter(TokenizerSettings).validate_python({"vocabsize": 4000})


def test_rinnas_settings_are_those_of_its_published_model(shared_data: Path, rinna_like: Path):
    theirs = read_model(shared_data / "rinna" / "google_sp.model")
    ours = read_model(rinna_like / "tokenizer.model")
    # not the character map itself: its Unicode version is that of the SentencePiece which trained
    for name in ("kind", "byte_fallback", "normalisation", "dummy_prefix", "fold_spaces"):
        assert getattr(ours, name) == getattr(theirs, name), name


def test_match_json_holds_the_counts_and_the_rate(unigram: Path):
    found = json.loads((unigram / "match.json").read_text(encoding="utf-8"))
    assert found["rate"] == 1.0
    assert (found["lines"], found["lines_equal"]) == (2000, 2000)
    assert found["probes"] == found["probes_equal"] >= 20
