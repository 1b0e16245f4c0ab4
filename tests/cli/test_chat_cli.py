"""`minna chat` as a user calls it: once, from a pipe, and at a terminal."""

from __future__ import annotations

import io
import json
import os
import select
import shutil
import signal
import sys

import pytest
from tests.cli.test_cli import run
from tests.toy_chain import make_chain

from minna import prompts
from minna.cli.talk import COMMANDS, Talk
from minna.export.chat import write_chat_template
from minna.runtime import Sampling, load_model
from minna.runtime.chat import Chat, open_asks

OPTIONS = "--max-new-tokens 6 --dtype fp32 --threads 1"


@pytest.fixture(scope="module")
def bare(tmp_path_factory):
    """A model dir without a template."""
    return make_chain(tmp_path_factory.mktemp("chat")).model


@pytest.fixture(scope="module")
def folder(bare, tmp_path_factory):
    found = shutil.copytree(bare, tmp_path_factory.mktemp("chat") / "model")
    write_chat_template(found, prompts.load("minna"))
    return found


@pytest.fixture
def call(monkeypatch, capsys):
    """Call `minna chat ...`, with bytes on stdin or none."""

    def called(command, stdin=b""):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin), encoding="utf-8"))
        return run(f"minna chat {command}", monkeypatch, capsys)

    return called


@pytest.fixture
def talk(folder):
    """A dialogue at a terminal that is not there."""
    model = load_model(folder, device="cpu", dtype="fp32")
    sampling = Sampling(temperature=1.0, seed=1)
    chat = Chat(model, open_asks(folder, None), max_new_tokens=12, sampling=sampling)
    return Talk(chat, place="terminal")


def lines(*told):
    return "\n".join(told).encode() + b"\n"


def test_one_question_is_answered_the_same_once_in_a_pipe_and_as_json(folder, call):
    status, once, _ = call(f"{folder} --once 東京 {OPTIONS}")
    assert status == 0 and len(once) > 1
    assert call(f"{folder} {OPTIONS}", lines("東京"))[:2] == (0, once)
    status, printed, _ = call(f"{folder} --once 東京 {OPTIONS} --json")
    result = json.loads(printed)
    assert result["answers"][0]["text"] + "\n" == once
    assert result["turns"] == [
        {"role": "user", "text": "東京"},
        {"role": "assistant", "text": once[:-1]},
    ]
    assert result["answers"][0]["tokens"] == 6
    assert call(f"{folder} --once 東京 {OPTIONS} --seed 9")[1] != once


def test_a_pipe_is_a_dialogue_of_a_question_a_line(folder, call):
    told = lines("海", "", "  ", "/undo", "//山", "/system 短く", "/reset", "駅", "/quit", "後")
    status, printed, said = call(f"{folder} {OPTIONS} --json", told)
    assert status == 0
    result = json.loads(printed)
    assert [turn["text"] for turn in result["turns"]][:2] == ["短く", "駅"]
    assert [turn["role"] for turn in result["turns"]] == ["system", "user", "assistant"]
    assert len(result["answers"]) == 3  # also those taken back
    for words in ("taken back: 海", "system turn set", "the dialogue begins anew"):
        assert words in said
    two = json.loads(call(f"{folder} {OPTIONS} --json", lines("海", "山"))[1])["answers"]
    assert two[1]["prompt_tokens"] > two[0]["prompt_tokens"] + 6
    assert [turn["role"] for turn in result["turns"][1:]] == ["user", "assistant"]


def test_a_line_may_begin_with_a_stroke(talk):
    talk.run(iter(["//undo"]))
    assert talk.chat.turns[0].text == "/undo"


def test_a_full_context_is_said_once(folder, call):
    status, printed, said = call(f"{folder} {OPTIONS}", lines(*["東京の駅"] * 6))
    assert status == 0 and said.count("no longer fits the context of 64 tokens") == 1
    status, _, said = call(f"{folder} {OPTIONS} --once {'東京' * 60}")
    assert status == 2 and "do not fit the model's context of 64" in said


def test_bytes_that_are_no_text_end_it_and_nothing_said_before_is_lost(folder, call):
    told = lines("海") + b"\xff\xfe\n" + lines("山")
    status, printed, said = call(f"{folder} {OPTIONS}", told)
    assert status == 1 and "line 2 of stdin is not UTF-8" in said
    first = call(f"{folder} {OPTIONS} --once 海")[1]
    assert printed == first
    status, printed, _ = call(f"{folder} {OPTIONS} --json", told)
    assert status == 1 and json.loads(printed)["answers"][0]["text"] + "\n" == first


@pytest.mark.parametrize(
    ("command", "stdin", "status", "words"),
    [
        ("", "/undoo\n", 2, "no command '/undoo'; did you mean '/undo'?"),
        ("--once ''", "", 2, "a question must not be empty"),
        ("--format nosuch", "", 2, "no prompt format 'nosuch'"),
        ("--format rinna-3.6b --system 丁寧に", "", 1, "rinna-3.6b has no system turn"),
        ("--max-new-tokens 64 --once 海", "", 2, "leave room for a question"),
        ("--temperature -1 --once 海", "", 2, "temperature must be 0 or more"),
        ("--dtype fp33", "", 2, "no dtype 'fp33'"),
    ],
)
def test_a_wrong_call_is_told_what_is_wrong(folder, call, command, stdin, status, words):
    found, printed, said = call(f"{folder} {command}", stdin.encode())
    assert (found, printed) == (status, "")
    assert words in said and "remedy" in said


def test_a_model_without_template_is_asked_in_a_format_or_not_at_all(bare, call, tmp_path):
    status, _, said = call(f"{bare} --once 海")
    assert status == 2 and "no chat template" in said and "minna list formats" in said
    own = tmp_path / "mine.toml"
    own.write_text(prompts.source("rinna-3.6b"), encoding="utf-8")
    by_name, by_file = (
        call(f"{bare} --once 海 {OPTIONS} --format {name}") for name in ("rinna-3.6b", own)
    )
    assert by_name[0] == 0 and by_name[:2] == by_file[:2]
    assert call("nosuch --once 海")[0] == 1


def test_a_template_that_refuses_a_system_turn_is_an_error_at_the_start(bare, call, tmp_path):
    model = shutil.copytree(bare, tmp_path / "model")
    write_chat_template(model, prompts.load("rinna-3.6b"))
    status, printed, said = call(f"{model} --system 丁寧に", lines("海"))
    assert (status, printed) == (2, "")
    assert "refuses the turns system, user" in said and "has no system turn" in said


def test_a_terminal_goes_on_after_a_mistake(talk, capsys):
    talk.run(iter(["/foo", "海" * 90, "", "山", "/help", "/system", "/undo", "/undo", "駅"]))
    captured = capsys.readouterr()
    assert captured.out == f"{talk.replies[0].text}\n{talk.replies[1].text}\n"
    assert talk.chat.turns[0].text == "駅"
    for words in ("no command '/foo'", "do not fit", "taken back: 山", "nothing to take back"):
        assert words in captured.err
    assert all(name in captured.err for name in COMMANDS)


def test_json_has_no_end_at_a_terminal(folder, call, monkeypatch):
    class Terminal(io.TextIOWrapper):
        def isatty(self):
            return True

    monkeypatch.setattr(io, "TextIOWrapper", Terminal)
    status, _, said = call(f"{folder} --json")
    assert status == 2 and "a terminal has no end" in said


def test_ctrl_c_stops_the_answer_and_keeps_the_dialogue(talk, capsys):
    step = talk.chat._engine.step
    steps = []

    def interrupted():
        steps.append(step())
        if len(steps) == 4:
            os.kill(os.getpid(), signal.SIGINT)
        return steps[-1]

    talk.chat._engine.step = interrupted
    before = signal.getsignal(signal.SIGINT)
    talk.run(iter(["海", "山"]))
    assert [reply.finish for reply in talk.replies] == ["stopped", "length"]
    assert talk.replies[0].tokens == sum(map(len, steps[:4]))
    assert [turn.role for turn in talk.chat.turns] == ["user", "assistant"] * 2
    assert "(stopped)" in capsys.readouterr().err
    assert signal.getsignal(signal.SIGINT) is before


def test_a_second_ctrl_c_is_not_held_back(talk):
    step = talk.chat._engine.step

    def interrupted():
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)
        return step()

    talk.chat._engine.step = interrupted
    with pytest.raises(KeyboardInterrupt):
        talk.run(iter(["海"]))


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no pty")
def test_a_real_terminal(folder):
    """Prompt, a question, Ctrl-C at the prompt, an answer of the next line, Ctrl-D."""
    import pty

    process, screen = pty.fork()
    if process == 0:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # tests in the background ignore it
        arguments = ["-m", "minna", "chat", str(folder), *OPTIONS.split()]
        os.execv(sys.executable, [sys.executable, *arguments])
    shown = b""

    def wait(ending, count=1):
        nonlocal shown
        while shown.count(ending) < count:
            ready, _, _ = select.select([screen], [], [], 60)
            assert ready, shown.decode(errors="replace")
            shown += os.read(screen, 4096)

    wait(b"> ")
    os.write(screen, "海\n".encode())
    wait(b"> ", 2)
    for _ in range(30):  # one that comes between the prompt and the wait for keys goes unseen
        os.write(screen, b"\x03")
        if select.select([screen], [], [], 2)[0]:
            break
    wait(b"Ctrl-D ends")
    wait(b"> ", 3)
    os.write(screen, b"/undo\n")
    wait("taken back: 海".encode())
    wait(b"> ", 4)
    os.write(screen, b"\x04")
    assert os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) == 0
