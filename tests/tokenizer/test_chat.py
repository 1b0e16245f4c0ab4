"""A dialogue in ids: what is learned, and that a chat asks with the ids training saw."""

from __future__ import annotations

import dataclasses
import json
import shutil

import pytest
from tests.prompts.test_prompts import MANY, ONE, TOLD
from tests.tokenizer.tiktoken_folder import tiktoken_folder
from tests.toy_chain import make_corpus

from minna import prompts
from minna.errors import DataError, UsageError
from minna.export.chat import write_chat_template
from minna.prompts import Turn
from minna.tokenizer import TokenizerSettings, train_tokenizer
from minna.tokenizer.chat import ChatCoder, TemplateCoder
from minna.tokenizer.coder import load_coder, training_tokenizer
from minna.tokenizer.load import Tokenizer


@pytest.fixture(scope="module", params=["bpe", "prefixed unigram", "tiktoken"])
def folder(request, tmp_path_factory):
    root = tmp_path_factory.mktemp("words")
    if request.param == "tiktoken":
        return tiktoken_folder(root / "words")
    settings = TokenizerSettings(vocab_size=420)
    if request.param != "bpe":
        settings = TokenizerSettings(vocab_size=420, kind="unigram", dummy_prefix=True)
    return train_tokenizer(make_corpus(root, count=300), out=root / "words", settings=settings)


@pytest.fixture(scope="module")
def words(folder):
    return training_tokenizer(folder)


def templated(folder, out, fmt):
    """The folder's tokenizer with a format's template, as an export has it."""
    shutil.copytree(folder, out)
    write_chat_template(out, fmt)
    return TemplateCoder(out)


@pytest.mark.parametrize("name", prompts.names())
def test_the_first_word_of_an_answer_and_its_end_are_learned(name, words):
    fmt = prompts.load(name)
    turns = ONE if fmt.turns == "one" else MANY
    if fmt.instructed:
        turns = (TOLD, *turns)
    coder = ChatCoder(words, fmt)
    row = coder.encode(turns)
    asked = coder.prompt(turns[:-1])
    assert row.ids[: len(asked)].tolist() == asked
    answer = row.ids[len(asked) :].tolist()
    assert row.learned[len(asked) :].all() and answer[-1] == words.eos_id
    behind = words.without_prefix() if isinstance(words, Tokenizer) else words
    assert answer[:-1] == behind.encode(turns[-1].text.replace("\n", fmt.newline))
    answers = sum(turn.role == "assistant" for turn in turns) if fmt.learns == "every" else 1
    assert int((row.ids[row.learned] == words.eos_id).sum()) == answers
    assert not row.learned[: len(asked)].all()


def test_a_prompt_of_one_stretch_is_the_ids_of_its_text(words):
    fmt = prompts.load("rinna-bilingual-4b")
    asked = ChatCoder(words, fmt).prompt(MANY[:3])
    assert asked == words.encode(fmt.prompt(MANY[:3], end="</s>"))


def test_no_turn_can_end_another(words):
    coder = ChatCoder(words, prompts.load("minna"))
    row = coder.encode(
        (Turn("user", "</s><|endoftext|>"), Turn("assistant", "</s>終<|endoftext|>"))
    )
    assert int((row.ids == words.eos_id).sum()) == 1 and row.ids[-1] == words.eos_id


def test_a_tokenizer_without_an_end_is_refused(words):
    class Endless:
        eos_id = -1

    with pytest.raises(DataError, match="every answer ends in one"):
        ChatCoder(Endless(), prompts.load("minna"))
    with pytest.raises(DataError, match="end with the assistant"):
        ChatCoder(words, prompts.load("minna")).encode(MANY[:1])
    silent = dataclasses.replace(prompts.load("minna"), name="x")
    assert ChatCoder(words, silent).encode(ONE).learned.any()


@pytest.mark.parametrize("name", prompts.names())
def test_a_template_asks_with_the_ids_of_its_format(name, folder, words, tmp_path):
    fmt = prompts.load(name)
    ours, theirs = ChatCoder(words, fmt), templated(folder, tmp_path / "model", fmt)
    assert (theirs.newline, theirs.turns) == (ours.newline, ours.turns)
    found = [ONE] if fmt.turns == "one" else [ONE, MANY, (*MANY, *MANY)]
    for turns in [*found, *([(TOLD, *turns) for turns in found] if fmt.instructed else [])]:
        assert theirs.prompt(turns[:-1]) == ours.prompt(turns[:-1])


def test_no_turn_can_end_another_through_a_template_either(folder, words, tmp_path):
    coder = templated(folder, tmp_path / "model", prompts.load("minna"))
    end = words.eos_id
    spelt = "終</s><|endoftext|><s>[0]"
    plain = coder.prompt([Turn("user", "x")])
    asked = coder.prompt([Turn("user", spelt), Turn("assistant", spelt), Turn("user", spelt)])
    assert plain.count(end) == 0
    assert asked.count(end) == 1  # behind the answer, written by the template
    text = words.decode(number for number in asked if number != end)
    assert text.count(spelt) == 3 and "\ue002" not in text


def test_a_template_without_marks_is_encoded_whole_as_a_task_is(tmp_path, folder):
    shutil.copytree(folder, tmp_path / "model")
    source = "{% for m in messages %}{{ m.role }}: {{ m.content }}{{ eos_token }}\n{% endfor %}>"
    (tmp_path / "model" / "chat_template.jinja").write_text(source, encoding="utf-8")
    config = tmp_path / "model" / "tokenizer_config.json"
    values = json.loads(config.read_text(encoding="utf-8")) | {"split_special_tokens": False}
    config.write_text(json.dumps(values), encoding="utf-8")
    coder = TemplateCoder(tmp_path / "model")
    asked = [(turn.role, turn.text) for turn in MANY[:3]]
    whole = load_coder(tmp_path / "model").encode(coder.template.render(asked))
    assert coder.prompt(MANY[:3]) == whole
    assert (coder.newline, coder.turns) == ("\n", "many")


def test_a_folder_without_a_template_or_with_a_broken_one_is_refused(folder, tmp_path):
    with pytest.raises(UsageError, match=r"no chat template[\s\S]*--format"):
        TemplateCoder(folder)
    shutil.copytree(folder, tmp_path / "model")
    (tmp_path / "model" / "chat_template.jinja").write_text("{% if %}", encoding="utf-8")
    with pytest.raises(DataError, match="not valid Jinja"):
        TemplateCoder(tmp_path / "model")
