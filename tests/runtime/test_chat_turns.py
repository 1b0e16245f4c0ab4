"""A dialogue goes on: what is asked, what is read again, what is left out, what is taken back."""

from __future__ import annotations

import dataclasses
import shutil

import pytest
from tests.prompts.test_prompts import dialogues
from tests.runtime.conftest import SHAPES, write_model

from minna import prompts
from minna.errors import DataError, UsageError
from minna.export.chat import write_chat_template
from minna.prompts import Turn
from minna.runtime import Sampling, load_model
from minna.runtime.chat import Chat, _Lines, open_asks
from minna.tokenizer.chat import ChatCoder
from minna.tokenizer.coder import training_tokenizer

CONTEXT = 400


@pytest.fixture(scope="module")
def folder(tmp_path_factory, tokenizer_file):
    shape = dataclasses.replace(SHAPES["gpt_neox"], context=CONTEXT)
    return write_model(tmp_path_factory.mktemp("chat") / "model", shape, tokenizer_file)


@pytest.fixture(scope="module")
def model(folder):
    return load_model(folder, device="cpu", dtype="fp32")


def begin(model, folder, name="minna", **settings):
    settings = {"max_new_tokens": 12, "sampling": Sampling(temperature=0.8, seed=3)} | settings
    chat = Chat(model, open_asks(folder, prompts.load(name)), **settings)
    chat.asked = []
    stream = chat._engine.stream

    def noted(request):
        chat.asked.append(request)
        return stream(request)

    chat._engine.stream = noted
    return chat


def say(chat, question):
    return "".join(chat.ask(question))


@pytest.mark.parametrize("name", prompts.names())
@pytest.mark.parametrize("by", ["format", "template"])
def test_the_ids_asked_are_those_of_training(name, by, model, folder, tmp_path):
    fmt, found = dialogues(name)
    asks = open_asks(folder, fmt)
    if by == "template":
        shutil.copytree(folder, tmp_path / "model", ignore=lambda *_: ["model.safetensors"])
        write_chat_template(tmp_path / "model", fmt)
        asks = open_asks(tmp_path / "model", None)
    trained = ChatCoder(training_tokenizer(folder), fmt)
    assert (asks.newline, asks.turns) == (fmt.newline, fmt.turns)
    for turns in found:
        *before, asked, answer = turns
        system = before.pop(0).text if before and before[0].role == "system" else None
        chat = Chat(model, asks, system=system, max_new_tokens=1)
        chat.turns = before
        row = trained.encode(turns)
        prompt, left_out = chat._prompt(asked)
        assert left_out == 0
        assert prompt == row.ids[: len(prompt)].tolist()
        # what follows is the answer, and all of it is learned
        assert row.learned[len(prompt) :].all()
        assert not row.learned[: len(prompt)].all()


@pytest.mark.parametrize("name", ["minna", "rinna-bilingual-4b"])
def test_the_second_prompt_holds_the_first_turns_and_does_not_read_them_again(name, model, folder):
    chat = begin(model, folder, name)
    first = say(chat, "吾輩は猫である。名前はまだ無い。")
    assert chat.turns == [
        Turn("user", "吾輩は猫である。名前はまだ無い。"),
        Turn("assistant", first),
    ]
    assert chat.last.read_tokens == chat.last.prompt_tokens == len(chat.asked[0].prompt)
    say(chat, "どこで生れた")
    one, two = (request.prompt for request in chat.asked)
    assert two[: len(one)] == one
    assert first in model.tokenizer.decode(two)
    assert chat.last.prompt_tokens == len(two)
    assert chat.last.read_tokens <= len(two) - len(one)
    assert [turn.role for turn in chat.turns] == ["user", "assistant"] * 2


def test_pieces_join_to_the_answer_and_a_dialogue_told_again_is_the_same(model, folder):
    told = []
    for _ in range(2):
        chat = begin(model, folder)
        for question in ("吾輩は", "吾輩は"):
            pieces = list(chat.ask(question))
            assert len(pieces) > 1
            assert "".join(pieces) == chat.last.text == chat.turns[-1].text
        told.append(chat.turns)
    assert told[0] == told[1]
    seeds = [request.sampling.seed for request in chat.asked]
    assert seeds == [3, 4]  # the same question again is not the same answer again


def test_what_is_taken_back_was_never_said(model, folder):
    chat = begin(model, folder)
    assert chat.undo() is None
    say(chat, "吾輩は猫である。")
    kept = list(chat.turns)
    say(chat, "名前は")
    assert chat.undo() == "名前は"
    assert chat.turns == kept
    say(chat, "どこで")
    assert "名前は" not in model.tokenizer.decode(chat.asked[-1].prompt)
    chat.reset()
    assert chat.turns == []
    say(chat, "吾輩は猫である。")
    assert chat.asked[-1].prompt == chat.asked[0].prompt


def test_the_oldest_pairs_are_left_out_when_the_context_is_full(model, folder):
    chat = begin(model, folder, system="短く答える", max_new_tokens=30)
    counts = []
    for number in range(12):
        say(chat, f"問い{number}: 何でも薄暗いじめじめした所で泣いていた")
        request = chat.asked[-1]
        assert len(request.prompt) + request.max_new_tokens <= CONTEXT
        counts.append(chat.last.left_out)
    assert counts[0] == 0 < counts[-1] < 11 and counts == sorted(counts)
    text = model.tokenizer.decode(chat.asked[-1].prompt)
    assert text.startswith("設定: 短く答える\nユーザー: 問い")
    # whole pairs: what is left begins with a question, and the pair before it is gone
    assert f"問い{counts[-1]}:" in text and f"問い{counts[-1] - 1}:" not in text
    assert len(chat.turns) == 24  # nothing of it is forgotten
    for _ in range(11):
        chat.undo()
    say(chat, "まだあるか")
    assert chat.last.left_out == 0
    assert "問い0:" in model.tokenizer.decode(chat.asked[-1].prompt)


def test_a_question_that_cannot_be_asked_changes_nothing(model, folder):
    chat = begin(model, folder)
    say(chat, "吾輩は")
    kept = list(chat.turns)
    with pytest.raises(UsageError, match=r"a question of \d+ tokens .* context of 400"):
        chat.ask("猫" * 900)
    with pytest.raises(UsageError, match="must not be empty"):
        chat.ask(" \n")
    with pytest.raises(DataError, match="valid Unicode"):
        chat.ask("猫\udce3")
    assert chat.turns == kept
    assert say(chat, "名前は") == chat.turns[-1].text
    for wrong in (0, CONTEXT):
        with pytest.raises(UsageError, match=f"context of 400, and is {wrong}"):
            begin(model, folder, max_new_tokens=wrong)


def test_a_stopped_answer_stays_as_far_as_it_came(model, folder):
    chat = begin(model, folder, max_new_tokens=200)
    pieces = chat.ask("吾輩は猫である。")
    said = next(pieces) + next(pieces)
    pieces.close()
    assert chat.turns[-1] == Turn("assistant", said)
    assert (chat.last.finish, chat.last.text) == ("stopped", said)
    assert not chat._engine.busy
    again = begin(model, folder)
    again.turns, again._asked = list(chat.turns), 1
    chat._max_new_tokens = 12
    assert say(chat, "名前は") == say(again, "名前は")


def test_an_answer_of_nothing_is_no_turn(model, folder):
    chat = begin(model, folder)
    chat._stop_ids = tuple(range(380))
    assert say(chat, "吾輩は") == ""
    assert (chat.turns, chat.last.finish, chat.last.tokens) == ([], "stop", 1)


def test_the_length_of_an_answer_follows_the_context_where_nobody_gave_one(model, folder):
    chat = begin(model, folder, max_new_tokens=None)
    chat.ask("吾輩は").close()
    say(chat, "吾輩は")
    (request,) = chat.asked
    assert request.max_new_tokens == CONTEXT - len(request.prompt)
    assert model.tokenizer.eos_id in request.stop_ids


def test_a_system_turn_is_tried_before_it_is_taken(model, folder, tmp_path):
    with pytest.raises(DataError, match="rinna-3.6b has no system turn"):
        begin(model, folder, "rinna-3.6b", system="丁寧に")
    chat = begin(model, folder, system="丁寧に")
    with pytest.raises(DataError, match="is empty"):
        chat.system = " "
    assert chat.system == "丁寧に"
    say(chat, "吾輩は")
    assert "設定: 丁寧に" in model.tokenizer.decode(chat.asked[-1].prompt)
    chat.system = None
    say(chat, "名前は")
    text = model.tokenizer.decode(chat.asked[-1].prompt)
    assert "設定" not in text and "吾輩は" in text
    shutil.copytree(folder, tmp_path / "model", ignore=lambda *_: ["model.safetensors"])
    write_chat_template(tmp_path / "model", prompts.load("rinna-3.6b"))
    with pytest.raises(UsageError, match="refuses the turns system, user"):
        Chat(model, open_asks(tmp_path / "model", None), system="丁寧に")


def test_a_format_of_one_question_asks_each_alone(model, folder):
    chat = begin(model, folder, "alpaca-ja", system="訳しなさい")
    say(chat, "吾輩は")
    say(chat, "名前は")
    assert chat.last.left_out == 1
    assert "吾輩は" not in model.tokenizer.decode(chat.asked[-1].prompt)
    assert "each question is asked without" in chat.why_left_out
    assert "context of 400" in begin(model, folder).why_left_out


@pytest.mark.parametrize("cut", range(1, 9))
def test_a_mark_of_a_line_break_is_one_however_it_comes(cut):
    text = "一<NL>二<N三<NL"
    lines = _Lines("<NL>")
    pieces = [lines.feed(text[n : n + cut]) for n in range(0, len(text), cut)]
    assert "".join(pieces) + lines.close() == "一\n二<N三<NL"


def test_line_breaks_go_and_come_as_the_format_writes_them(model, folder):
    chat = begin(model, folder, "rinna-3.6b")
    marked = iter(["一<", "NL>二", ""])
    stream = chat._engine.stream

    def answering(request):
        for event in stream(request):
            yield dataclasses.replace(event, piece=next(marked, ""))

    chat._engine.stream = answering
    assert say(chat, "改\n行") == "一\n二"
    say(chat, "次")
    assert model.tokenizer.decode(chat.asked[-1].prompt) == (
        "ユーザー: 改<NL>行<NL>システム: 一<NL>二<NL>ユーザー: 次<NL>システム: "
    )


def test_a_model_without_template_needs_a_format(folder):
    with pytest.raises(UsageError, match=r"no chat template[\s\S]*minna list formats"):
        open_asks(folder, None)
