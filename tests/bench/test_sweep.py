"""A sweep compares at equal tokens, tells the baseline from a try, and does not train twice."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest
from tests.toy_chain import make_corpus

from minna.tokenizer import TokenizerSettings, train_tokenizer

ROOT = Path(__file__).resolve().parents[2]
SMALL = """
extends = "modern-toy"
name = "small"
[tokenizer]
vocab_size = 420
[model]
layers = 1
width = 32
heads = 2
ffn = 48
[train]
steps = 8
tokens_per_step = 512
micro_batch_rows = 8
compile = "off"
device = "cpu"
precision = "fp32"
[schedule]
warmup = 4
"""


@pytest.fixture(scope="module")
def sweep():
    spec = importlib.util.spec_from_file_location("sweep", ROOT / "bench" / "sweep.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules["sweep"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def test_a_sweep_prints_each_change_at_equal_tokens_and_finds_its_runs_again(
    sweep, tmp_path, monkeypatch, capsys
):
    corpus = make_corpus(tmp_path / "c", count=400)
    words = train_tokenizer(
        corpus, out=tmp_path / "tokenizer", settings=TokenizerSettings(vocab_size=420)
    )
    recipe = tmp_path / "small.toml"
    recipe.write_text(SMALL, encoding="utf-8")
    (tmp_path / "tries.toml").write_text('try = ["model.tied=false"]\n', encoding="utf-8")
    halved = "train.tokens_per_step=256 train.micro_batch_rows=4"
    arguments = ["sweep", str(recipe), "--corpus", str(corpus), "--tokenizer", str(words)]
    arguments += ["--out", str(tmp_path / "runs"), "--steps", "4", "--try", halved]
    monkeypatch.setattr(sys, "argv", [*arguments, "--file", str(tmp_path / "tries.toml")])
    sweep.main()
    first = capsys.readouterr().out
    rows = [line.split(" | ") for line in first.splitlines() if line.startswith("| ")]
    assert [row[0].removeprefix("| ") for row in rows[1:]] == ["none", halved, "model.tied=false"]
    assert rows[1][4] == "+0.0000"
    runs = sorted((tmp_path / "runs").iterdir())
    tokens = {(run / "recipe.toml").read_text("utf-8").count("steps = 8") for run in runs}
    assert len(runs) == 3 and tokens == {0, 1}  # half the batch: 8 steps instead of 4
    before = {run: (run / "log.jsonl").stat().st_mtime_ns for run in runs}
    sweep.main()
    assert capsys.readouterr().out == first
    assert before == {run: (run / "log.jsonl").stat().st_mtime_ns for run in runs}
