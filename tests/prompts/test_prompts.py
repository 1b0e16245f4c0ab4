"""Prompt formats: exactly as released, one text from Python and from the exported template."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.toy_chain import make_corpus

from minna import prompts
from minna.errors import DataError, UsageError
from minna.prompts import Turn
from minna.prompts.sandbox import ChatTemplate
from minna.tokenizer import TokenizerSettings, train_tokenizer

GOLDEN = Path(__file__).parents[1] / "golden" / "prompts"
END = "</s>"
ASKED = (Turn("user", "こんにちは。\n元気？"),)
ONE = (*ASKED, Turn("assistant", "はい、元気です。"))
MANY = (*ONE, Turn("user", "  それは\n\nよかった "), Turn("assistant", "ありがとう。\nでは。"))
TOLD = Turn("system", "丁寧に\n答える")


def dialogues(name):
    """The dialogues that a format can hold."""
    fmt = prompts.load(name)
    found = [ONE] if fmt.turns == "one" else [ONE, MANY]
    return fmt, [*found, *([(TOLD, *turns) for turns in found] if fmt.instructed else [])]


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    from transformers import AutoTokenizer

    root = tmp_path_factory.mktemp("words")
    words = train_tokenizer(
        make_corpus(root, count=300), out=root / "words", settings=TokenizerSettings(vocab_size=400)
    )
    found = AutoTokenizer.from_pretrained(words)
    found.split_special_tokens = False
    return found


def text_of(pieces):
    return "".join(piece.text + END * piece.end for piece in pieces)


@pytest.mark.parametrize("name", prompts.names())
def test_a_format_renders_as_its_golden_text(name):
    fmt, found = dialogues(name)
    said = [
        {"prompt": fmt.prompt(turns[:-1], end=END), "whole": text_of(fmt.pieces(turns))}
        for turns in found
    ]
    file = GOLDEN / f"{name}.json"
    assert file.is_file(), f"write it once and read it: {file}"
    assert json.loads(file.read_text(encoding="utf-8")) == said


@pytest.mark.parametrize("name", prompts.names())
def test_transformers_renders_the_same_text_and_masks_the_same_answers(name, tokenizer):
    fmt, found = dialogues(name)
    tokenizer.chat_template = prompts.chat_template(fmt)
    for turns in found:
        messages = [{"role": turn.role, "content": turn.text} for turn in turns]
        asked = tokenizer.apply_chat_template(
            messages[:-1], tokenize=False, add_generation_prompt=True
        )
        assert asked == fmt.prompt(turns[:-1], end=END)
        pieces = fmt.pieces(turns)
        assert tokenizer.apply_chat_template(messages, tokenize=False) == text_of(pieces)
        masked = tokenizer.apply_chat_template(
            messages, return_dict=True, return_assistant_tokens_mask=True
        )
        learned = [
            number
            for number, mark in zip(masked["input_ids"], masked["assistant_masks"], strict=True)
            if mark
        ]
        expected = "".join(p.text + END * p.end for p in pieces if p.learned)
        assert learned and tokenizer.decode(learned).replace(" ", "") == expected.replace(" ", "")


@pytest.mark.parametrize("name", prompts.names())
def test_our_own_sandbox_renders_the_template_too(name):
    fmt, found = dialogues(name)
    template = ChatTemplate(prompts.chat_template(fmt), tokens={"eos_token": END})
    for turns in found:
        asked = template.render([(turn.role, turn.text) for turn in turns[:-1]])
        assert asked == fmt.prompt(turns[:-1], end=END)


@pytest.mark.parametrize("name", prompts.names())
def test_answers_and_their_ends_are_learned_and_nothing_else(name):
    fmt, found = dialogues(name)
    for turns in found:
        pieces = fmt.pieces(turns)
        answers = [t.text.replace("\n", fmt.newline) for t in turns if t.role == "assistant"]
        learned = [piece for piece in pieces if piece.learned]
        assert [p.text for p in learned] == (answers if fmt.learns == "every" else answers[-1:])
        assert all(piece.end for piece in learned)
        before = text_of(pieces[: pieces.index(learned[-1])])
        assert before == fmt.prompt(turns[:-1], end=END)  # what a chat asks is what was learned


@pytest.mark.parametrize(
    ("name", "turns", "said"),
    [
        ("minna", (), "they are none"),
        ("minna", ASKED[:1] * 2, "they are user, user"),
        ("minna", (ONE[1], ONE[0]), "assistant, user"),
        ("minna", (*ONE, TOLD, *ONE), "user, assistant, system"),
        ("minna", ASKED, "end with the assistant"),
        ("minna", (Turn("user", " \n"), ONE[1]), r"turn 0 \(user\) is empty"),
        ("rinna-3.6b", (TOLD, *ONE), "has no system turn"),
        ("alpaca-ja", MANY, "one question and one answer, and there are 4 turns"),
    ],
)
def test_what_a_format_cannot_hold_is_refused_here_and_in_the_template(
    name, turns, said, tokenizer
):
    from jinja2 import TemplateError

    fmt = prompts.load(name)
    with pytest.raises(DataError, match=said):
        fmt.pieces(turns)
    if turns and turns[-1].role == "assistant":
        tokenizer.chat_template = prompts.chat_template(fmt)
        with pytest.raises(TemplateError):
            tokenizer.apply_chat_template(
                [{"role": turn.role, "content": turn.text} for turn in turns], tokenize=False
            )


def test_a_format_of_ones_own_is_read_from_a_file_and_mistakes_are_named(tmp_path):
    file = tmp_path / "mine.toml"
    text = prompts.source("minna")
    file.write_text(text.replace("ユーザー", "問"), encoding="utf-8")
    assert prompts.load(str(file)).prompt(ASKED, end=END).startswith("問: ")
    file.write_text(text.replace("learns =", "lerns ="), encoding="utf-8")
    with pytest.raises(UsageError, match="lerns"):
        prompts.load(str(file))
    file.write_text(text.split("[instructed]")[0] + 'system = { before = "x" }\n', encoding="utf-8")
    with pytest.raises(UsageError, match=r"\[plain\] has none"):
        prompts.load(str(file))
    with pytest.raises(UsageError, match=r"no prompt format 'mina'; did you mean 'minna'"):
        prompts.load("mina")


@pytest.mark.parametrize("name", prompts.names())
def test_the_sandbox_cuts_a_prompt_where_learned_answers_begin_and_end(name):
    fmt, found = dialogues(name)
    template = ChatTemplate(prompts.chat_template(fmt), tokens={"eos_token": END})
    for turns in found:
        asked = [(turn.role, turn.text) for turn in turns[:-1]]
        stretches = template.stretches(asked)
        assert "".join(stretches) == template.render(asked)
        learned = [piece for piece in fmt.pieces(turns) if piece.learned][:-1]
        assert stretches[1::2] == [piece.text + END * piece.end for piece in learned]


def test_no_turn_and_no_recursion_breaks_a_template():
    template = ChatTemplate(
        "{% generation %}{{ messages[0].content }}{% endgeneration %}", tokens={}
    )
    assert template.stretches([("user", "{{ answer_mark }}")]) == ["", "{{ answer_mark }}", ""]
    endless = ChatTemplate("{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}", tokens={})
    with pytest.raises(UsageError, match="refuses the turns user"):
        endless.render([("user", "x")])
