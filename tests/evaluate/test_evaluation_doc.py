"""docs/evaluation.md is followed by people who cannot see the code: what it shows must be so."""

from __future__ import annotations

import re
import sys
import tomllib
from typing import Any

import pytest
from tests.conftest import ROOT
from tests.evaluate.test_suites import AVERAGES

from minna.cli.main import main
from minna.evaluate.published import published
from minna.evaluate.task import Prompt, task_names

PAGE = ROOT / "docs" / "evaluation.md"
EXAMPLES = ROOT / "examples" / "tasks"


@pytest.fixture(scope="module")
def page() -> str:
    return PAGE.read_text(encoding="utf-8")


def shown(page: str) -> list[dict[str, Any]]:
    return [tomllib.loads(block) for block in re.findall(r"```toml\n(.*?)```", page, re.DOTALL)]


def example(name: str) -> dict[str, Any]:
    return tomllib.loads((EXAMPLES / name).read_text(encoding="utf-8"))


def test_the_task_files_on_the_page_are_the_examples(page: str):
    choice, answer, chat = shown(page)
    assert choice == example("jmmlu-like.toml")
    written = example("llm-jp-eval-like.toml")
    assert {key: written[key] for key in answer} == answer
    (prompt,) = chat["prompts"]
    assert prompt in written["prompts"]
    assert Prompt.model_validate(prompt).style == "chat"


def test_the_averages_on_the_page_are_those_of_the_files_and_of_the_paper(page: str):
    paper = {
        row.name.removeprefix("rinna/"): row.average
        for row in published()
        if row.source.startswith("Sawada")
    }
    for model, average in AVERAGES.items():
        cells = re.search(rf"^\| {re.escape(model)} \|(.*)\|$", page, re.MULTILINE)
        assert cells is not None, model
        _, ours, theirs, difference = (cell.strip() for cell in cells[1].split("|"))
        assert float(ours) == average
        if model in paper:
            assert float(theirs) == paper[model]
            assert float(difference) == pytest.approx(paper[model] - average, abs=1e-9)
        else:
            assert difference == ""


def test_every_task_stands_on_the_page_and_every_link_leads_somewhere(page: str):
    assert all(f"`{name}`" in page for name in task_names())
    for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", page):
        assert (PAGE.parent / target).exists(), target
    for file in re.findall(r"`((?:tests|src)/[\w/.]+)`", page):
        assert (ROOT / file).exists(), file


@pytest.mark.parametrize("verb", ["evaluate", "requests", "compare"])
def test_every_option_on_the_page_is_there(
    page: str,
    verb: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    joined = page.replace("\\\n", " ")
    used = {
        option
        for line in re.findall(rf"^    minna {verb} .*$", joined, re.MULTILINE)
        for option in re.findall(r"--[a-z-]+", line)
    }
    monkeypatch.setattr(sys, "argv", ["minna", verb, "--help"])
    with pytest.raises(SystemExit):
        main()
    told = capsys.readouterr().out
    assert used
    assert all(option in told for option in used)
    if verb == "evaluate":
        others = {"--task-version", "--prompt-version", "--max-length", "--nproc-per-node"}
        named = set(re.findall(r"`(--[a-z-]+)", page)) - others - {"--no-python"}
        assert all(option in told for option in named), named
