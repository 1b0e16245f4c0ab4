"""What stands on the card is true, and its code runs."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import json
import re
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import ModelCard
from tests.evaluate.made_reports import made_report
from tests.toy_chain import Chain, make_chain, make_corpus, make_model, make_run, run_settings

from minna import artifact
from minna.errors import ArtifactError
from minna.release import ReleaseSettings, release


@pytest.fixture(autouse=True)
def no_check(monkeypatch: pytest.MonkeyPatch) -> None:
    """These tests read the card; test_release.py checks the check."""
    monkeypatch.setattr("minna.release.check.transformers_is_there", lambda: False)


def card_of(folder: Path) -> str:
    return (folder / "README.md").read_text(encoding="utf-8")


def section(text: str, title: str) -> str:
    return text.split(f"\n## {title}\n", 1)[1].split("\n## ", 1)[0]


def test_metadata_is_what_the_hub_reads_and_figures_are_those_of_the_report(
    released: Path, report: Path
) -> None:
    data: Any = ModelCard(card_of(released)).data
    assert data.language == "ja"
    assert data.license == "apache-2.0"
    assert data.library_name == "transformers"
    assert data.pipeline_tag == "text-generation"
    content = json.loads((report / "report.json").read_text(encoding="utf-8"))
    metrics = content["tasks"][0]["metrics"]
    assert data.eval_results is not None
    figures = {result.metric_type: result.metric_value for result in data.eval_results}
    assert figures == {name: metric["value"] for name, metric in metrics.items()}
    assert {result.dataset_split for result in data.eval_results} == {"test"}


def test_the_tables_hold_the_figures_and_the_references_in_both_languages(
    released: Path, report: Path
) -> None:
    task = json.loads((report / "report.json").read_text(encoding="utf-8"))["tasks"][0]
    text = card_of(released)
    for name in ("評価", "Evaluation"):
        part = section(text, name)
        bits = task["metrics"]["bits_per_byte"]
        assert f"| {bits['value']:.4f} | {bits['low']:.4f} – {bits['high']:.4f} |" in part
        for reference in task["references"].values():
            assert f"| {reference['metrics']['bits_per_byte']['value']:.4f} |" in part
    assert "この分割は学習に使っていません" in section(text, "評価")


def test_the_code_of_the_card_runs_in_the_folder(
    released: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("transformers")
    blocks = re.findall(r"```python\n(.*?)```", card_of(released), flags=re.DOTALL)
    assert len(blocks) == 1
    monkeypatch.chdir(released)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        exec(compile(blocks[0], "README.md", "exec"), {})
    assert out.getvalue().startswith("私は")


def test_the_card_says_what_the_model_and_its_data_are(released: Path, chain: Chain) -> None:
    text = card_of(released)
    shape = section(text, "モデルの構成")
    assert "| 層数 | 2 |" in shape and "| 文脈長(トークン) | 64 |" in shape
    parameters = artifact.read_manifest(chain.model).counts["parameters"].value
    assert f"| パラメータ数 | {int(parameters):,} |" in shape
    counts = artifact.read_manifest(chain.corpus).counts
    data = section(text, "学習データ")
    assert "| local | CC0-1.0 | 作り話製作委員会 |" in data
    assert f"| うち学習用 | {int(counts['train'].value):,} |" in data
    training = section(text, "学習手順")
    assert "| 学習トークン数(延べ) | 5,734,400 |" in training
    assert "100.00%" in section(text, "トークナイザ")
    assert text.index("## 概要") < text.index("## Overview")


def test_licence_of_weights_terms_of_data_and_legal_basis_stand_apart(released: Path) -> None:
    text = card_of(released)
    licence = section(text, "ライセンス")
    assert "Apache License 2.0" in licence and "NOTICE" in licence
    assert "CC0" not in licence and "30 条の 4" not in licence
    statement = section(text, "データに関する声明")
    assert "第 30 条の 4" in statement and "ただし書" in statement
    assert "個人情報" in statement and "オプトアウト" in statement
    assert "Apache" not in statement
    assert "確認済み" in statement and "未確認" not in statement


def test_unconfirmed_is_printed_and_warned_about(
    chain: Chain, report: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    release(chain.model, reports=[report], out=tmp_path / "out")
    statement = section(card_of(tmp_path / "out"), "データに関する声明")
    assert statement.count("未確認") == 3
    assert "確認しています" not in statement
    assert card_of(tmp_path / "out").count("NOT CONFIRMED") == 3
    assert "--confirm-legal" in capsys.readouterr().err
    assert "not confirmed" in artifact.read_manifest(tmp_path / "out").legal[-1]


def test_without_a_report_the_card_says_there_is_none(
    chain: Chain, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    release(chain.model, reports=[], out=tmp_path / "out")
    assert "評価の記録はありません" in card_of(tmp_path / "out")
    assert "no report" in capsys.readouterr().err
    assert "model-index" not in card_of(tmp_path / "out")


def test_data_of_unstated_terms_is_shown_and_warned_about(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    chain = make_chain(tmp_path, licence="not stated")
    release(chain.model, reports=[], out=tmp_path / "out")
    assert "| local | 記載なし |" in card_of(tmp_path / "out")
    assert "terms not stated" in (tmp_path / "out" / "NOTICE").read_text(encoding="utf-8")
    assert "'local' are not stated" in capsys.readouterr().err


def test_a_report_on_another_corpus_or_on_training_text_is_called_so(
    chain: Chain, tmp_path: Path
) -> None:
    from minna.evaluate import EvaluateSettings, evaluate

    other = evaluate(
        chain.model,
        corpus=make_corpus(tmp_path / "other", seed=9, count=200),
        out=tmp_path / "report-other",
        settings=EvaluateSettings(resamples=10),
    )
    seen = evaluate(
        chain.model,
        corpus=chain.corpus,
        out=tmp_path / "report-seen",
        settings=EvaluateSettings(split="train", limit=10, resamples=10),
    )
    release(chain.model, reports=[other, seen], out=tmp_path / "out")
    part = section(card_of(tmp_path / "out"), "評価")
    assert "内容の重複は調べていません" in part
    assert "この分割は学習に使ったものです" in part
    assert "この分割は学習に使っていません" not in part


def judged(chain: Chain, out: Path, **values: Any) -> Path:
    parents = [artifact.parent_of(chain.model, role="model")]
    return made_report(out, model="toy", parents=parents, count=30, **values)


def test_scores_of_tasks_stand_in_a_table_in_both_languages_with_their_rules(
    chain: Chain, report: Path, tmp_path: Path
) -> None:
    scores = judged(chain, tmp_path / "tasks")
    release(chain.model, reports=[report, scores], out=tmp_path / "out")
    content = json.loads((scores / "report.json").read_text(encoding="utf-8"))
    text = card_of(tmp_path / "out")
    parts = {"ja": section(text, "評価"), "en": section(text, "Evaluation")}
    for language, part in parts.items():
        for task in content["tasks"]:
            metric = task["metrics"][task["main"]]
            span = f"({metric['low']:.2f} – {metric['high']:.2f})"
            (line,) = [
                x for x in part.splitlines() if x.startswith(f"| {task['title'][language]} |")
            ]
            assert f"| {task['version']}-{task['prompt']} | {task['shots']} | 30 |" in line
            assert line.endswith(f"| {metric['value']:.2f} {span} |")
        assert "compat" in part and f"**{content['average']['value']:.2f} (" in part
        assert "`jp8`" in part and "bits_per_byte" in part
    assert "平均" in parts["ja"] and "average of the 8 tasks" in parts["en"]
    data: Any = ModelCard(text).data
    assert data.eval_results is not None
    names = {result.task_name for result in data.eval_results}
    assert "Language modelling" in names
    assert any("JNLI" in name and "(compat)" in name for name in names)


def test_a_report_of_tasks_alone_needs_no_corpus_and_some_tasks_have_no_average(
    chain: Chain, tmp_path: Path
) -> None:
    scores = judged(chain, tmp_path / "tasks", tasks=["jnli", "mgsm"], mode="fixed")
    release(chain.model, reports=[scores], out=tmp_path / "out")
    part = section(card_of(tmp_path / "out"), "評価")
    assert "fixed" in part and "平均**" not in part.replace("平均再現率", "")
    assert "タスクの平均" not in part and "ビット/バイト" not in part


def test_a_report_of_an_old_schema_is_refused(chain: Chain, tmp_path: Path) -> None:
    parents = [artifact.parent_of(chain.model, role="model")]
    with artifact.writing(tmp_path / "old", kind="report", settings={}, parents=parents) as draft:
        (draft.path / "report.json").write_text('{"schema": 1}', encoding="utf-8")
    with pytest.raises(ArtifactError, match="schema 1, and 2 is read here"):
        release(chain.model, reports=[tmp_path / "old"], out=tmp_path / "out")


def test_a_base_model_is_named_and_its_licence_must_be_given(chain: Chain, tmp_path: Path) -> None:
    run = make_run(
        tmp_path / "run",
        corpus=chain.corpus,
        tokenizer=chain.tokenizer,
        settings=run_settings() | {"init": {"from": str(tmp_path / "secret" / "base")}},
    )
    model = make_model(tmp_path / "m", run=run, tokenizer=chain.tokenizer, family="gpt_neox")
    (tmp_path / "terms.txt").write_text("You may.\n", encoding="utf-8")
    settings = ReleaseSettings(
        licence="Own Terms 1.0", licence_file=tmp_path / "terms.txt", base_model="someone/base"
    )
    release(model, reports=[], out=tmp_path / "out", settings=settings)
    data: Any = ModelCard(card_of(tmp_path / "out")).data
    assert (data.license, data.license_name, data.license_link) == (
        "other",
        "own-terms-1.0",
        "LICENSE",
    )
    assert data.base_model == "someone/base"
    assert "`someone/base` の重みから学習を始めています" in card_of(tmp_path / "out")
    assert (tmp_path / "out" / "LICENSE").read_text(encoding="utf-8") == "You may.\n"
    assert "someone/base" in (tmp_path / "out" / "NOTICE").read_text(encoding="utf-8")
    for file in ("provenance.json", "minna.json", "README.md"):
        assert str(tmp_path) not in (tmp_path / "out" / file).read_text(encoding="utf-8")


def test_terms_of_a_base_model_are_kept_with_their_text(chain: Chain, tmp_path: Path) -> None:
    run = make_run(
        tmp_path / "run",
        corpus=chain.corpus,
        tokenizer=chain.tokenizer,
        settings=run_settings() | {"init": {"from": "Llama-2-7b-hf"}, "licence": "llama2"},
    )
    model = make_model(tmp_path / "m", run=run, tokenizer=chain.tokenizer, family="gpt_neox")
    (tmp_path / "llama2.txt").write_text("The agreement.\n", encoding="utf-8")
    settings = ReleaseSettings(licence_file=tmp_path / "llama2.txt", base_model="meta/llama-2")
    release(model, reports=[], out=tmp_path / "out", settings=settings)
    assert ModelCard(card_of(tmp_path / "out")).data.license == "llama2"
    assert (tmp_path / "out" / "LICENSE").read_text(encoding="utf-8") == "The agreement.\n"


def test_attributions_cannot_break_a_table(tmp_path: Path) -> None:
    chain = make_chain(tmp_path)
    manifest = artifact.read_manifest(chain.model)
    licence = artifact.Licence(source="a|b", licence="CC\nBY", attribution="x | y\n\n# z")
    changed = manifest.model_copy(update={"licences": [licence]})
    artifact.write_manifest(chain.model, changed)
    release(chain.model, reports=[], out=tmp_path / "out")
    assert "| a\\|b | CC BY | x \\| y # z | - |" in card_of(tmp_path / "out")


def test_settings_that_would_break_the_card_are_refused() -> None:
    for name in ("a\nb", "a|b", 'a"b'):
        with pytest.raises(ValueError, match="name"):
            ReleaseSettings(name=name)
    assert dataclasses.asdict(ReleaseSettings(name="みんな 1.0"))["name"] == "みんな 1.0"
