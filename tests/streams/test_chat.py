"""A dialogue in ids: what is learned, and that a chat asks with the ids training saw."""

from __future__ import annotations

import dataclasses

import pytest
from tests.prompts.test_prompts import MANY, ONE, TOLD
from tests.tokenizer.tiktoken_folder import tiktoken_folder
from tests.toy_chain import make_corpus

from minna import prompts
from minna.errors import DataError
from minna.prompts import Turn
from minna.streams.chat import ChatCoder
from minna.tokenizer import TokenizerSettings, train_tokenizer
from minna.tokenizer.coder import training_tokenizer
from minna.tokenizer.load import Tokenizer


@pytest.fixture(scope="module", params=["bpe", "prefixed unigram", "tiktoken"])
def words(request, tmp_path_factory):
    root = tmp_path_factory.mktemp("words")
    if request.param == "tiktoken":
        return training_tokenizer(tiktoken_folder(root / "words"))
    settings = TokenizerSettings(vocab_size=420)
    if request.param != "bpe":
        settings = TokenizerSettings(vocab_size=420, kind="unigram", dummy_prefix=True)
    return training_tokenizer(
        train_tokenizer(make_corpus(root, count=300), out=root / "words", settings=settings)
    )


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
