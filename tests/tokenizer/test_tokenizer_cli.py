"""`minna tokenizer` as a user calls it."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from tests.tokenizer.made_up_corpus import sentences, write_corpus
from typer.testing import CliRunner

from minna.cli.tokenizer import app
from minna.errors import DataError, UsageError
from minna.tokenizer import Held, audit_tokenizer, load_tokenizer


def call(*words: str | Path) -> str:
    found = CliRunner().invoke(app, [str(word) for word in words], catch_exceptions=False)
    assert found.exit_code == 0, found.output
    return found.stdout


def test_train_writes_a_tokenizer_and_prints_json(corpus: Path, tmp_path: Path):
    out = tmp_path / "t"
    printed = call(
        "train", corpus, "--vocab-size", "0.4k", "--kind", "unigram", "--out", out, "--json"
    )
    result = json.loads(printed)
    assert result["kind"] == "tokenizer"
    assert result["settings"]["kind"] == "unigram"
    assert load_tokenizer(out).vocab_size == 400
    assert "400 pieces, ids equal in tokenizer.json for 100.00%" in call(
        "train", corpus, "--vocab-size", "400", "--kind", "unigram", "--out", out
    )


def test_the_rinna_preset_keeps_rinnas_settings(corpus: Path, tmp_path: Path):
    call(
        "train", corpus, "--preset", "rinna", "--vocab-size", "200",
        "--out", tmp_path / "t",
    )  # fmt: skip
    fields = load_tokenizer(tmp_path / "t").fields
    assert (fields.normalisation, fields.dummy_prefix, fields.byte_fallback) == (
        "nmt_nfkc",
        True,
        False,
    )


@pytest.mark.parametrize("size", ["3", "9G", "many"])
def test_an_impossible_size_is_a_usage_error(corpus: Path, tmp_path: Path, size: str):
    with pytest.raises(UsageError):
        call("train", corpus, "--vocab-size", size, "--out", tmp_path / "t")


def test_audit_compares_tokenizers_on_held_out_text(
    corpus: Path, bpe: Path, unigram: Path, rinna_like: Path
):
    table = call("audit", bpe, unigram, rinna_like, "--on", corpus)
    assert 'of the split "valid"' in table
    rows = json.loads(call("audit", bpe, unigram, rinna_like, "--on", corpus, "--json"))
    assert rows["corpora"][0]["documents"] == 200
    first, _, third = rows["tokenizers"]
    assert first["vocab_size"] == 500
    assert first["match_rate"] == first["round_trip_rate"] == 1.0
    total = first["total"]
    assert total["unknown_rate"] == 0.0
    # sentences of two lines cost one byte piece; rinna's kind loses the line break
    assert 0 < total["byte_fallback_rate"] == total["line_break_rate"] < 0.1
    assert 0 < third["round_trip_rate"] < 1
    assert third["line_round_trip_rate"] == 1.0
    assert total["bytes_per_token"] > 2 * total["characters_per_token"]
    assert first["sources"] == {"made-up": total}
    assert first["languages"] == {}


def test_audit_figures_are_those_of_a_hand_count(bpe: Path):
    tokenizer = load_tokenizer(bpe)
    texts = ["昨日、私は鬱だ。", "公園で寝ていた。"]
    ids = [tokenizer.encode(text) for text in texts]
    tokens = sum(map(len, ids))
    found = audit_tokenizer(bpe, documents=[Held(text, "made-up", "") for text in texts])
    assert found.total.tokens == tokens
    assert found.total.bytes_per_token == sum(len(text.encode()) for text in texts) / tokens
    assert found.total.byte_fallback_rate == pytest.approx(
        sum(bool(tokenizer.byte_ids[i]) for row in ids for i in row) / tokens
    )
    assert found.pieces_used == len({i for row in ids for i in row})


def test_audit_without_a_valid_split_says_that_it_flatters(
    bpe: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    made = write_corpus(tmp_path / "c", train=sentences(20, seed=4), valid=[])
    call("audit", bpe, "--on", made)
    empty = write_corpus(tmp_path / "e", train=[""], valid=[])
    with pytest.raises(DataError, match="no text to audit on"):
        call("audit", bpe, "--on", empty)


def test_help_does_not_import_what_is_heavy():
    import subprocess

    code = (
        "import sys, minna.cli.tokenizer;"
        "print(sorted({'torch','numpy','sentencepiece','pyarrow','tokenizers'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
