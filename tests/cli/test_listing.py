"""`minna list`: tasks and suites."""

from __future__ import annotations

import json

from typer.testing import CliRunner

from minna.cli.main import app
from minna.evaluate.task import task_names


def test_every_task_stands_in_a_line_with_versions_prompts_shots_metric_and_licence():
    result = CliRunner().invoke(app, ["list", "tasks"])
    assert result.exit_code == 0
    lines = {line.split()[0]: line for line in result.stdout.splitlines()}
    assert list(lines) == task_names()
    assert (
        "versions 1.1, 1.2, 1.3; prompts 0.2, 0.3, 0.4, 0.5, 0.6; 3 shots; acc; CC BY-SA 4.0"
        in (lines["jnli"])
    )


def test_one_task_and_one_suite_are_printed_whole():
    task = CliRunner().invoke(app, ["list", "tasks", "aio", "--json"])
    assert json.loads(task.stdout)["source"]["licence"] == "CC BY-SA 4.0"
    suites = CliRunner().invoke(app, ["list", "suites", "--json"])
    assert set(json.loads(suites.stdout)) == {"jp8", "ja-open"}
    suite = CliRunner().invoke(app, ["list", "suites", "jp8", "--json"])
    assert json.loads(suite.stdout)["shots"]["mgsm"] == 5
