"""Only what was measured alike is put beside each other."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.toy_chain import Chain, make_model
from typer.testing import CliRunner

from minna.cli.main import app
from minna.cli.verbs import register
from minna.errors import ArtifactError, UsageError
from minna.evaluate import EvaluateSettings, compare, evaluate, read_report
from minna.evaluate.report import Metric

Program = Callable[..., Any]


@pytest.fixture(scope="session")
def other(chain: Chain) -> Path:
    root = chain.model.parent
    model = make_model(
        root / "other", run=chain.run, tokenizer=chain.tokenizer, family="gpt2", seed=5
    )
    return evaluate(
        model, corpus=chain.corpus, out=root / "other-report", settings=EvaluateSettings()
    )


def width(metric: Metric) -> float:
    assert metric.low is not None and metric.high is not None
    return metric.high - metric.low


def changed(report: Path, out: Path, change: Callable[[dict[str, Any]], object]) -> Path:
    shutil.copytree(report, out)
    content = json.loads((out / "report.json").read_text(encoding="utf-8"))
    change(content)
    (out / "report.json").write_text(json.dumps(content), encoding="utf-8")
    return out


def test_the_difference_is_that_of_the_figures_and_sharper_than_their_intervals(
    report: Path, other: Path
) -> None:
    comparison = compare([report, other])
    (entry,) = comparison.tasks
    first, second = entry.rows
    bits = [row.metrics["bits_per_byte"] for row in (first, second)]
    assert first.difference is None
    difference = second.difference
    assert difference is not None
    assert math.isclose(difference.value, bits[1].value - bits[0].value, abs_tol=1e-6)
    assert width(difference) < width(bits[1]) / 2
    assert set(entry.references) == {"kneser-ney", "xz"}
    table = comparison.table()
    assert f"{bits[0].value:.3f}" in table and f"{bits[1].value:.3f}" in table
    content = json.loads(json.dumps(comparison.as_json()))
    assert content["tasks"][0]["rows"][1]["difference"]["unit"] == "bits/byte"


def set_mode(content: dict[str, Any]) -> None:
    content["mode"] = "other"


def set_version(content: dict[str, Any]) -> None:
    content["tasks"][0]["version"] = "2"


def set_documents(content: dict[str, Any]) -> None:
    content["tasks"][0]["data"]["sha256"] = "0" * 64


@pytest.mark.parametrize(
    ("change", "named"),
    [(set_mode, "mode"), (set_version, "task version"), (set_documents, "scored documents")],
)
def test_a_mixture_is_refused_with_its_name(
    report: Path, tmp_path: Path, change: Callable[[dict[str, Any]], object], named: str
) -> None:
    strange = changed(report, tmp_path / "strange", change)
    with pytest.raises(UsageError, match=named):
        compare([report, strange])


def test_reports_on_other_documents_are_refused(chain: Chain, report: Path, tmp_path: Path) -> None:
    few = evaluate(
        chain.model,
        corpus=chain.corpus,
        out=tmp_path / "few",
        settings=EvaluateSettings(limit=9),
    )
    with pytest.raises(UsageError, match="scored documents"):
        compare([report, few])


def test_items_that_do_not_fit_their_report_are_refused(report: Path, tmp_path: Path) -> None:
    strange = tmp_path / "strange"
    shutil.copytree(report, strange)
    lines = (strange / "items" / "bits_per_byte.jsonl").read_text(encoding="utf-8").splitlines()
    (strange / "items" / "bits_per_byte.jsonl").write_text("\n".join(lines[1:]), encoding="utf-8")
    with pytest.raises(ArtifactError, match="other items"):
        compare([report, strange])
    (strange / "items" / "bits_per_byte.jsonl").write_text("{", encoding="utf-8")
    with pytest.raises(ArtifactError, match="cannot be read"):
        compare([report, strange])


def test_one_report_is_no_comparison(report: Path) -> None:
    with pytest.raises(UsageError, match="at least 2"):
        compare([report])


def test_what_is_no_report_is_refused(chain: Chain, report: Path, tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="a report is needed"):
        read_report(chain.model)
    broken = changed(report, tmp_path / "broken", lambda content: content.pop("mode"))
    with pytest.raises(ArtifactError, match="not a report of schema 2"):
        read_report(broken)


@pytest.fixture(scope="module")
def program() -> Program:
    if not app.registered_commands:
        register(app)
    return lambda *words: CliRunner().invoke(app, [str(word) for word in words])


def test_the_command_line_evaluates_and_compares(
    program: Program, chain: Chain, other: Path, tmp_path: Path
) -> None:
    out = tmp_path / "report"
    done = program(
        "evaluate", chain.model, "--corpus", chain.corpus, "--out", out, "--limit", 20, "--json"
    )
    assert done.exit_code == 0, done.output
    result = json.loads(done.stdout)
    assert result["schema"] == 2 and result["tasks"][0]["n"] == 20
    mixed = program("compare", out, other)
    assert isinstance(mixed.exception, UsageError)
    twice = program("compare", out, out, "--out", tmp_path / "compared")
    assert twice.exit_code == 0
    page = (tmp_path / "compared" / "compare.html").read_text(encoding="utf-8")
    assert "Bits per byte" in page and "no clear difference" in page
    assert "+0.000 (+0.000 to +0.000)" in twice.stdout
    wrong = program("evaluate", chain.model, "--corpus", chain.corpus, "--out", out, "--split", "x")
    assert isinstance(wrong.exception, UsageError)
    assert "--split" in str(wrong.exception)
