"""A small corpus and one tokenizer of each kind, made once."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from tests.tokenizer.made_up_corpus import sentences, write_corpus

from minna.tokenizer import PRESETS, TokenizerSettings, train_tokenizer


@pytest.fixture(scope="session")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_corpus(
        tmp_path_factory.mktemp("tokenizer") / "corpus",
        train=sentences(3000, seed=0),
        valid=sentences(200, seed=1),
    )


@pytest.fixture(scope="session")
def bpe(corpus: Path) -> Path:
    return train_tokenizer(
        corpus, out=corpus.parent / "bpe", settings=TokenizerSettings(vocab_size=500)
    )


@pytest.fixture(scope="session")
def unigram(corpus: Path) -> Path:
    settings = TokenizerSettings(kind="unigram", vocab_size=450)
    return train_tokenizer(corpus, out=corpus.parent / "unigram", settings=settings)


@pytest.fixture(scope="session")
def rinna_like(corpus: Path) -> Path:
    settings = dataclasses.replace(PRESETS["rinna"], vocab_size=200)
    return train_tokenizer(corpus, out=corpus.parent / "rinna", settings=settings)
