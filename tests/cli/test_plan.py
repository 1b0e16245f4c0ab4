"""`minna plan` and `minna train --dry-run`: what they print, refuse, and leave alone."""

from __future__ import annotations

import json

from tests.cli.test_cli import run
from tests.conftest import ROOT
from tests.toy_chain import make_chain

from minna import recipe
from minna.tokenizer import load_tokenizer


def test_a_plan_is_printed_for_people_and_for_machines(monkeypatch, capsys):
    call = "minna plan japanese-gpt-neox-3.6b --gpus 8 --device h100 --price 2.5"
    status, told, _ = run(call, monkeypatch, capsys)
    assert status == 0
    for word in (
        "3,607,245,312 parameters",
        "8 x H100",
        "tokens/s",
        "USD at 2.5 an hour",
        "cannot know",
    ):
        assert word in told
    _, printed, _ = run(f"{call} --json", monkeypatch, capsys)
    found = json.loads(printed)
    assert found["recipe"] == "japanese-gpt-neox-3.6b"
    assert found["fits"] and found["anatomy"]["parameters"] == 3_607_245_312
    assert found["usd"] == 8 * 2.5 * found["run_seconds"] / 3600
    assert len(found["ways"]) == 6
    assert found["chosen"]["memory"]["weights"] > 0


def test_settings_change_the_plan(monkeypatch, capsys):
    _, printed, _ = run(
        "minna plan toy-gpt2 train.steps=7 train.precision=fp32 --json", monkeypatch, capsys
    )
    found = json.loads(printed)
    assert found["steps"] == 7 and found["work"]["precision"] == "fp32"


def test_what_does_not_fit_is_an_answer_and_no_error(monkeypatch, capsys):
    status, told, _ = run("minna plan bilingual-gpt-neox-4b --device l4", monkeypatch, capsys)
    assert status == 0 and "no way" in told and "--gpus" in told


def test_wrong_calls_name_the_nearest_right_one(monkeypatch, capsys):
    for call, told in {
        "minna plan toy-gpt2 --device h10": "did you mean 'h100'",
        "minna plan toy-gpt3": "did you mean 'toy-gpt2'",
        "minna plan toy-gpt2 --gpus 0": "at least 1, not 0",
        "minna plan toy-gpt2 --gpus 8 --price -1": "must not be below 0",
        "minna plan toy-gpt2 train.checkpointing=some": "train.checkpointing = 'some'",
        "minna plan": "a plan needs a recipe",
    }.items():
        status, _, error = run(call, monkeypatch, capsys)
        assert status == 2 and told in error, call


def test_the_table_can_renew_a_page(monkeypatch, capsys, tmp_path):
    page = tmp_path / "plan.md"
    source = (ROOT / "docs" / "plan.md").read_text(encoding="utf-8")
    page.write_text(source, encoding="utf-8")
    call = f"minna plan --table --device h100 --into {page.as_posix()}"
    status, printed, _ = run(call, monkeypatch, capsys)
    assert status == 0
    assert page.read_text(encoding="utf-8") == source
    assert printed.strip() in source


def test_a_dry_run_says_what_would_be_trained_and_writes_nothing(monkeypatch, capsys, tmp_path):
    out = tmp_path / "run"
    call = f"minna train toy-gpt-neox --dry-run --out {out.as_posix()} train.device=cpu"
    status, told, _ = run(call, monkeypatch, capsys)
    assert status == 0
    for word in (
        "parameters",
        "this machine's CPU",
        "4,096 words (the recipe says so",
        "none given",
    ):
        assert word in told
    assert list(tmp_path.iterdir()) == []
    _, printed, _ = run(f"{call} --json", monkeypatch, capsys)
    chosen = recipe.load("toy-gpt-neox")
    assert json.loads(printed)["steps"] == chosen.train.steps


def test_a_dry_run_reads_the_tokenizer_and_looks_at_the_corpus(monkeypatch, capsys, tmp_path):
    chain = make_chain(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    status, told, _ = run(
        f"minna train toy-gpt2 --dry-run --tokenizer {chain.tokenizer.as_posix()} "
        f"--corpus {chain.corpus.as_posix()} train.device=cpu",
        monkeypatch,
        capsys,
    )
    vocabulary = load_tokenizer(chain.tokenizer).vocab_size
    assert status == 0 and f"tokenizer {vocabulary:,} words\n" in told
    assert "documents (documents)" in told
    assert sorted(tmp_path.rglob("*")) == before


def test_a_dry_run_refuses_what_a_start_would_refuse(monkeypatch, capsys):
    monkeypatch.setenv("WORLD_SIZE", "3")
    status, _, error = run("minna train toy-gpt-neox --dry-run", monkeypatch, capsys)
    assert status == 2 and "3 ranks" in error
    monkeypatch.delenv("WORLD_SIZE")
    status, _, error = run(
        "minna train toy-gpt-neox --dry-run --tokenizer nowhere", monkeypatch, capsys
    )
    assert status != 0 and "nowhere" in error


def test_training_without_its_directories_says_which_are_missing(monkeypatch, capsys):
    status, _, error = run("minna train toy-gpt-neox --corpus x", monkeypatch, capsys)
    assert status == 2 and "training needs --out" in error
