"""`minna list`: tasks, suites and prompt formats."""

from __future__ import annotations

import json
import tomllib

from tests.cli.test_cli import run

from minna import prompts
from minna.evaluate.task import task_names


def test_every_task_stands_in_a_line_with_what_one_chooses_by(monkeypatch, capsys):
    status, printed, _ = run("minna list tasks", monkeypatch, capsys)
    assert status == 0
    lines = {line.split()[0]: line for line in printed.splitlines()}
    assert list(lines) == task_names()
    facts = "versions 1.1, 1.2, 1.3; prompts 0.2, 0.3, 0.4, 0.5, 0.6; 3 shots; acc; CC BY-SA 4.0"
    assert lines["jnli"].endswith(facts)


def test_one_task_and_one_suite_are_printed_whole(monkeypatch, capsys):
    _, task, _ = run("minna list tasks aio --json", monkeypatch, capsys)
    assert json.loads(task)["source"]["licence"] == "CC BY-SA 4.0"
    assert tomllib.loads(run("minna list tasks aio", monkeypatch, capsys)[1])["name"] == "aio"
    assert "shots" in tomllib.loads(run("minna list suites jp8", monkeypatch, capsys)[1])
    _, suites, _ = run("minna list suites --json", monkeypatch, capsys)
    assert set(json.loads(suites)) == {"jp8", "ja-open"}
    _, suite, _ = run("minna list suites jp8 --json", monkeypatch, capsys)
    assert json.loads(suite)["shots"]["mgsm"] == 5


def test_prompt_formats_stand_in_a_line_each_and_one_is_printed_whole(monkeypatch, capsys):
    status, printed, _ = run("minna list formats", monkeypatch, capsys)
    assert status == 0
    lines = dict(line.split(maxsplit=1) for line in printed.splitlines())
    assert lines == {name: prompts.load(name).description for name in prompts.names()}
    assert run("minna list formats rinna-3.6b", monkeypatch, capsys)[1] == prompts.source(
        "rinna-3.6b"
    )
    _, whole, _ = run("minna list formats minna --json", monkeypatch, capsys)
    assert json.loads(whole)["chat_template"] == prompts.chat_template(prompts.load("minna"))
    status, _, said = run("minna list formats rina-3.6b", monkeypatch, capsys)
    assert status == 2 and "did you mean 'rinna-3.6b'" in said
