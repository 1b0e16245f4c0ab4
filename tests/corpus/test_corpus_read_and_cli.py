import itertools
import json
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from minna.cli.corpus import app
from minna.corpus import COLUMNS, BuildSettings, batches, build, text_batches, texts
from minna.corpus.read import file_texts, files
from minna.errors import ArtifactError, UsageError

RUN = CliRunner()


@pytest.fixture
def corpus(tmp_path, sentences):
    settings = BuildSettings(source="sentences", shard_documents=30, valid=0.1, test=0.2)
    return build(sentences([100]), out=tmp_path / "corpus", settings=settings).path


def test_all_ways_of_reading_give_the_same_texts_in_file_order(corpus):
    by_split = {
        name: [d.text for d in texts(corpus, split=name)] for name in ("train", "valid", "test")
    }
    everything = [d.text for d in texts(corpus, split="all")]
    assert sorted(itertools.chain(*by_split.values())) == sorted(everything)
    assert all(by_split.values())
    for split, expected in by_split.items():
        pairs = list(text_batches(corpus, split=split))
        assert [text for batch, _ in pairs for text in batch] == expected
        assert {source for _, batch in pairs for source in batch} == {"sentences"}
        assert [t for f in files(corpus) for b in file_texts(f, split=split) for t in b] == expected
    document = next(texts(corpus, split="all"))
    assert (len(document.id), document.source) == (16, "sentences")


def test_unknown_splits_and_columns_and_damage_are_said(corpus):
    with pytest.raises(UsageError, match="did you mean 'train'"):
        next(texts(corpus, split="trian"))
    with pytest.raises(UsageError, match="did you mean 'text'"):
        next(batches(corpus, split="all", columns=["texts"]))
    file = files(corpus)[0]
    file.write_bytes(file.read_bytes()[:-30])
    with pytest.raises(ArtifactError, match="cannot be read"):
        next(texts(corpus, split="all"))
    with pytest.raises(ArtifactError, match="does not exist"):
        next(texts(corpus.parent / "nothing", split="all"))


def test_build_prints_words_or_json_and_says_when_there_is_nothing_to_do(tmp_path):
    (tmp_path / "text.txt").write_text("これは文です。\nこれも文です。\n", encoding="utf-8")
    call = [
        "build", "local", "--from", str(tmp_path / "text.txt"), "--documents", "line",
        "--out", str(tmp_path / "corpus"), "--licence", "CC0-1.0",
    ]  # fmt: skip
    first = RUN.invoke(app, call)
    assert first.exit_code == 0
    assert "documents 2 of 2" in first.stdout
    again = json.loads(RUN.invoke(app, [*call, "--json"]).stdout)
    assert again["state"] == "unchanged"
    assert again["kept"] == 2
    assert "not built" in RUN.invoke(app, call).stdout


def test_build_refuses_impossible_settings_in_words(tmp_path):
    call = ["build", "local", "--from", str(tmp_path), "--out", str(tmp_path / "c"), "--valid"]
    outcome = RUN.invoke(app, [*call, "0.9", "--test", "0.5"])
    assert isinstance(outcome.exception, UsageError)
    assert "must be under 1" in str(outcome.exception)


def test_cat_prints_rows_as_json_lines(corpus):
    outcome = RUN.invoke(app, ["cat", str(corpus), "--split", "test", "--limit", "3"])
    rows = [json.loads(line) for line in outcome.stdout.splitlines()]
    assert [row["split"] for row in rows] == ["test"] * 3
    assert tuple(rows[0]) == COLUMNS
    assert rows[0]["text"].startswith("これは")


@pytest.mark.skipif(sys.platform == "win32", reason="pipes close differently there")
def test_cat_is_quiet_when_the_reader_closes_the_pipe(tmp_path, sentences):
    settings = BuildSettings(source="sentences")
    path = build(sentences([3000]), out=tmp_path / "large", settings=settings).path
    call = [sys.executable, "-m", "minna.cli.main", "corpus", "cat", str(path)]
    with subprocess.Popen(call, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdout.readline()
        process.stdout.close()
        errors = process.stderr.read()
    assert errors == b""
    assert process.returncode == 0
