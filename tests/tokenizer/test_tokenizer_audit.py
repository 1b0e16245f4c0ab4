"""The checks of a vocabulary on planted faults, probe sets, bare model files, and the tables."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
from sentencepiece import SentencePieceTrainer
from tests.tokenizer.made_up_corpus import sentences, write_corpus
from typer.testing import CliRunner

from minna.cli.tokenizer import app
from minna.errors import ArtifactError
from minna.tokenizer import Held, audit_tokenizer, held_out, load_tokenizer
from minna.tokenizer.probes import FERTILITY, measure_fertility
from minna.tokenizer.proto import PieceType
from minna.tokenizer.vocabulary import check_vocabulary


@pytest.fixture
def faulty(tmp_path: Path) -> Path:
    """A model with two pieces that decode to the same bytes, one of which nothing produces."""
    written = io.BytesIO()
    SentencePieceTrainer.train(
        sentence_iterator=iter(sentences(200, seed=0)),
        model_writer=written,
        model_type="unigram",
        vocab_size=120,
        # both "駅 " and "駅\u2581" decode to the same bytes; no text is ever escaped to the first
        user_defined_symbols=["駅 ", "駅\u2581"],
        minloglevel=2,
    )
    file = tmp_path / "faulty.model"
    file.write_bytes(written.getvalue())
    return file


def test_planted_duplicates_and_unreachable_pieces_are_found(faulty: Path):
    tokenizer = load_tokenizer(faulty)
    used = np.zeros(tokenizer.vocab_size, dtype=np.int64)
    used[5:20] = 1
    found = check_vocabulary(tokenizer, used=used)
    assert found.duplicates.examples == ("駅\u2581",)
    assert found.unreachable.count >= 1
    assert set(found.unreachable.examples) & {"駅 ", "駅\u2581"}
    text_pieces = sum(
        p.type in (PieceType.NORMAL, PieceType.USER_DEFINED) for p in tokenizer.fields.pieces
    )
    assert found.never_produced.of == text_pieces == tokenizer.vocab_size - 3
    assert found.never_produced.count == text_pieces - 15


@pytest.mark.parametrize("kind", ["bpe", "unigram", "rinna_like"])
def test_no_piece_called_unreachable_ever_comes_up(kind: str, request: pytest.FixtureRequest):
    tokenizer = load_tokenizer(request.getfixturevalue(kind))
    ids, _ = tokenizer.encode_batch([*sentences(3000, seed=0), *sentences(2000, seed=5)])
    used = np.bincount(ids, minlength=tokenizer.vocab_size)
    found = check_vocabulary(tokenizer, used=np.zeros_like(used))
    pieces = {piece.text: number for number, piece in enumerate(tokenizer.fields.pieces)}
    assert found.duplicates.count == 0
    assert not any(used[pieces[text]] for text in found.unreachable.examples)
    assert found.never_produced.count == found.never_produced.of


def test_fertility_is_a_hand_count_and_says_what_is_lost(bpe: Path, rinna_like: Path):
    tokenizer = load_tokenizer(bpe)
    found = measure_fertility(tokenizer)
    assert set(found) == set(FERTILITY)
    for name, items in FERTILITY.items():
        tokens = sum(len(tokenizer.encode(item)) for item in items)
        assert found[name].tokens_per_item == pytest.approx(tokens / len(items))
        assert found[name].items_with_unknown == 0.0
    lost = measure_fertility(load_tokenizer(rinna_like))
    assert lost["emoji"].items_with_unknown > 0.5


def test_probe_items_stand_once_and_hold_what_their_set_is_named_for():
    for name, items in FERTILITY.items():
        assert len(set(items)) == len(items) >= 9, name
    assert all(item.isascii() for item in FERTILITY["english"])
    assert any("\t" in item for item in FERTILITY["code"])


def test_a_bare_model_file_stands_beside_folders(corpus: Path, bpe: Path, tmp_path: Path):
    bare = tmp_path / "bare.model"
    bare.write_bytes((bpe / "tokenizer.model").read_bytes())
    _, documents = held_out(corpus)
    folder, file = (audit_tokenizer(path, documents=documents) for path in (bpe, bare))
    assert folder.total == file.total
    assert folder.vocabulary == file.vocabulary
    assert (folder.match_rate, file.match_rate) == (1.0, 1.0)


def test_rinnas_model_is_audited_as_the_facts_say(shared_data: Path):
    documents = [Held("犬とHello\n猫", "one", "ja"), Held("ABC", "two", "en")]
    found = audit_tokenizer(shared_data / "rinna" / "google_sp.model", documents=documents)
    assert found.vocab_size == 32_000
    # it knows no capital letter but C, and a line break becomes a space
    assert found.languages["en"].unknown_rate > 0
    assert found.round_trip_rate == 0.0
    assert found.sources["one"].tokens + found.sources["two"].tokens == found.total.tokens
    assert found.vocabulary.duplicates.count == 0
    assert found.encode_mb_per_second > 0


def test_held_out_text_is_capped_by_source_so_that_none_is_missing(tmp_path: Path):
    made = write_corpus(tmp_path / "c", train=["a"], valid=["あ" * 100] * 50)
    split, documents = held_out(made, limit_bytes=1000)
    assert split == "valid"
    assert len(documents) == 4  # 300 bytes each: the fourth goes over the limit
    assert {document.source for document in documents} == {"made-up"}


def test_a_damaged_corpus_is_an_error_with_its_name(corpus: Path, tmp_path: Path):
    made = write_corpus(tmp_path / "c", train=["犬"], valid=["猫"])
    file = made / "data" / "00000.parquet"
    file.write_bytes(file.read_bytes()[:50])
    with pytest.raises(ArtifactError, match="cannot be read"):
        held_out(made)


def test_the_tables_are_aligned_or_markdown(
    corpus: Path, bpe: Path, rinna_like: Path, tmp_path: Path
):
    other = write_corpus(tmp_path / "c", train=["犬"], valid=["猫\n犬"])
    call = ["audit", str(bpe), str(rinna_like), "--on", str(corpus), "--on", str(other)]
    plain = CliRunner().invoke(app, call, catch_exceptions=False).stdout
    head, first, second = plain.splitlines()[:3]
    assert len(first) == len(second) >= len(head)
    assert head.index("pieces") + len("pieces") == first.index("500") + 3
    assert f'200 documents of the split "valid" of {corpus}' in plain.replace("\n", " ")
    assert '1 documents of the split "valid" of' in plain
    marked = CliRunner().invoke(app, [*call, "--markdown"], catch_exceptions=False).stdout
    rows = [line for line in marked.splitlines() if line.startswith("|")]
    assert len(rows) == 3 * 4
    assert rows[1] == "|" + "---|" * (rows[0].count("|") - 1)
    assert "| bpe | bpe | 500 |" in rows[2]
    result = json.loads(CliRunner().invoke(app, [*call, "--json"], catch_exceptions=False).stdout)
    assert [item["documents"] for item in result["corpora"]] == [200, 1]
    assert set(result["tokenizers"][1]["fertility"]) == set(FERTILITY)
