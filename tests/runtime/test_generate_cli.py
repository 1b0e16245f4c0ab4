"""`minna generate` as a user calls it."""

from __future__ import annotations

import json
import subprocess
import sys

from typer.testing import CliRunner

from minna.cli import verbs
from minna.cli.main import app
from minna.runtime import GenerateSettings, generate, stream_text

if not app.registered_commands:
    verbs.register(app)


def call(*arguments, stdin=None):
    return CliRunner().invoke(app, ["generate", *map(str, arguments)], input=stdin)


def test_one_prompt_is_streamed_and_equals_the_library(model_dirs, models):
    done = call(model_dirs["gpt_neox"], "吾輩は", "--max-new-tokens", 12, "--dtype", "fp32")
    assert done.exit_code == 0, done.output
    settings = GenerateSettings(max_new_tokens=12)
    (result,) = generate(models["gpt_neox"], ["吾輩は"], settings=settings)
    assert done.stdout == f"吾輩は{result.text}\n"
    assert "".join(stream_text(models["gpt_neox"], "吾輩は", settings=settings)) == result.text


def test_prompts_from_stdin_samples_and_json(model_dirs):
    options = ["--json", "--samples", 2, "--temperature", 1, "--seed", 3, "--max-new-tokens", 5]
    done = call(model_dirs["gpt2"], "-", *options, stdin="吾輩は\n名前は\n")
    assert done.exit_code == 0, done.output
    answers = json.loads(done.stdout)["answers"]
    assert [(a["prompt"], a["sample"]) for a in answers] == [
        ("吾輩は", 0),
        ("吾輩は", 1),
        ("名前は", 0),
        ("名前は", 1),
    ]
    again = call(model_dirs["gpt2"], "-", *options, stdin="吾輩は\n名前は\n")
    texts = [a["text"] for a in json.loads(again.stdout)["answers"]]
    assert texts == [a["text"] for a in answers]


def test_a_closed_pipe_ends_quietly(model_dirs):
    program = [sys.executable, "-m", "minna.cli.main", "generate", str(model_dirs["gpt_neox"])]
    with subprocess.Popen(
        [*program, "吾輩は", "--max-new-tokens", "80"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as running:
        running.stdout.close()
        errors = running.stderr.read().decode()
        running.wait()
    assert "Traceback" not in errors
    assert "BrokenPipe" not in errors


def test_an_empty_prompt_begins_from_the_end_of_text(models):
    settings = GenerateSettings(max_new_tokens=4)
    assert len(generate(models["gpt2"], [""], settings=settings)) == 1
