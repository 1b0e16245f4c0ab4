"""Shares of languages in the sample, and a character coverage for each."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest
from tests.tokenizer.made_up_corpus import sentences, write_corpus

from minna import artifact
from minna.errors import DataError
from minna.tokenizer import TokenizerSettings, load_tokenizer, train_tokenizer
from minna.tokenizer.languages import (
    covered_characters,
    cut_at_uncovered,
    draw_by_language,
)

WORDS = [
    "the",
    "cat",
    "sat",
    "on",
    "a",
    "mat",
    "and",
    "read",
    "of",
    "history",
    "while",
    "rain",
    "fell",
    "over",
    "quiet",
    "green",
    "hills",
]


def english(count: int, *, seed: int) -> list[str]:
    generator = random.Random(seed)
    return [" ".join(generator.choice(WORDS) for _ in range(12)) + "." for _ in range(count)]


@pytest.fixture(scope="module")
def bilingual(tmp_path_factory: pytest.TempPathFactory) -> Path:
    japanese = sentences(1000, seed=0)
    # a kanji that is common enough in the Japanese text, and rare beside ten times as much English
    japanese[::40] = [f"{text}鬱" for text in japanese[::40]]
    train = japanese + english(8000, seed=1)
    valid = sentences(20, seed=2) + english(20, seed=3)
    languages = ["ja"] * 1000 + ["en"] * 8000 + ["ja"] * 20 + ["en"] * 20
    path = tmp_path_factory.mktemp("languages") / "corpus"
    return write_corpus(path, train=train, valid=valid, languages=languages)


def test_the_sample_keeps_the_shares_and_each_language_its_rare_characters(
    bilingual: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    shared = TokenizerSettings(vocab_size=420, languages={"ja": 0.5, "en": 0.5})
    plain = TokenizerSettings(vocab_size=420)
    found = train_tokenizer(bilingual, out=tmp_path / "shared", settings=shared)
    counts = artifact.read_manifest(found).counts
    japanese, other = counts["sampled_bytes_ja"].value, counts["sampled_bytes_en"].value
    assert japanese == pytest.approx(other, rel=0.01)
    assert "'ja' has only" in capsys.readouterr().err
    drawn = train_tokenizer(bilingual, out=tmp_path / "plain", settings=plain)

    def has(path: Path) -> bool:
        return "鬱" in {piece.text for piece in load_tokenizer(path).fields.pieces}

    assert has(found) and not has(drawn)


def test_shares_need_the_column_and_the_language(bilingual: Path, corpus: Path, tmp_path: Path):
    with pytest.raises(DataError, match="column `language`"):
        train_tokenizer(
            corpus, out=tmp_path / "a", settings=TokenizerSettings(languages={"ja": 1.0})
        )
    settings = TokenizerSettings(vocab_size=420, languages={"ja": 0.5, "zh": 0.5})
    with pytest.raises(DataError, match=r"'zh', and no document .*en: 8000, ja: 1000"):
        train_tokenizer(bilingual, out=tmp_path / "b", settings=settings)
    assert not (tmp_path / "b").exists()


def test_draws_keep_shares_within_a_line_and_are_the_same_every_time():
    texts = [*sentences(2000, seed=0), *english(2000, seed=0)]
    languages = ["ja"] * 2000 + ["en"] * 2000
    found = [
        draw_by_language(
            [(texts, languages)], shares={"ja": 0.75, "en": 0.25}, limit_bytes=40_000, seed=3
        )
        for _ in range(2)
    ]
    assert found[0] == found[1]
    assert found[0]["ja"].sampled_bytes == pytest.approx(30_000, abs=200)
    assert found[0]["en"].sampled_bytes == pytest.approx(10_000, abs=200)
    assert found[0]["ja"].documents == found[0]["en"].documents == 2000


def test_coverage_takes_the_frequent_characters_until_it_is_reached():
    lines = ["あ" * 90, "い" * 9, "う"]
    assert covered_characters(lines, coverage=0.9) == {"あ"}
    assert covered_characters(lines, coverage=0.91) == {"あ", "い"}
    assert covered_characters(lines, coverage=1.0) == {"あ", "い", "う"}
    assert cut_at_uncovered(["あうい"], covered={"あ", "い"}) == ["あ", "い"]
    assert cut_at_uncovered(lines, covered={"あ", "い", "う"}) is lines


def test_every_covered_character_gets_a_piece_and_no_other_does(tmp_path: Path):
    train = ["犬と猫。"] * 50 + ["犬と鳥。"]
    corpus = write_corpus(tmp_path / "c", train=train, valid=[], languages=["ja"] * 51)
    settings = TokenizerSettings(
        vocab_size=266, languages={"ja": 1.0}, character_coverage=0.99, sample_bytes=10_000
    )
    pieces = load_tokenizer(
        train_tokenizer(corpus, out=tmp_path / "t", settings=settings)
    ).fields.pieces
    texts = {piece.text for piece in pieces}
    assert texts >= {"犬", "と", "猫", "。"}
    assert not any("鳥" in text for text in texts)


def test_the_audit_speaks_of_languages_where_the_corpus_does(bilingual: Path, bpe: Path):
    from typer.testing import CliRunner

    from minna.cli.tokenizer import app

    found = CliRunner().invoke(app, ["audit", str(bpe), "--on", str(bilingual), "--json"])
    languages = json.loads(found.stdout)["tokenizers"][0]["languages"]
    assert set(languages) == {"ja", "en"}
    assert languages["ja"]["documents"] == languages["en"]["documents"] == 20
    # learnt from Japanese alone, it spells English out in bytes
    assert languages["en"]["byte_fallback_rate"] > 0.5 > languages["ja"]["byte_fallback_rate"]
    table = CliRunner().invoke(app, ["audit", str(bpe), "--on", str(bilingual)]).stdout
    assert " en " in table and " ja " in table


def test_the_command_line_takes_shares_and_refuses_what_is_none(bilingual: Path, tmp_path: Path):
    from typer.testing import CliRunner

    from minna.cli.tokenizer import app
    from minna.errors import UsageError

    def call(*words: str) -> None:
        line = ["train", str(bilingual), "--out", str(tmp_path / "t"), "--vocab-size", "420"]
        CliRunner().invoke(app, [*line, *words], catch_exceptions=False)

    call("--language", "ja=0.5", "--language", "en=0.5")
    assert artifact.read_manifest(tmp_path / "t").settings["languages"] == {"ja": 0.5, "en": 0.5}
    for words in (["--language", "ja"], ["--language", "ja=0.4"], ["--preset", "rina"]):
        with pytest.raises(UsageError):
            call(*words)
