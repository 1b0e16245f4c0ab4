"""A model dir with a prompt format: transformers renders, encodes and masks as training did."""

from __future__ import annotations

import json
import shutil

import pytest
from tests.prompts.test_prompts import END, dialogues
from tests.tokenizer.tiktoken_folder import tiktoken_folder
from tests.toy_chain import make_corpus

from minna import prompts
from minna.errors import ArtifactError, DataError
from minna.export.chat import write_chat_template
from minna.tokenizer import TokenizerSettings, train_tokenizer
from minna.tokenizer.chat import ChatCoder
from minna.tokenizer.coder import load_coder, training_tokenizer


@pytest.fixture(scope="module")
def words(tmp_path_factory):
    root = tmp_path_factory.mktemp("words")
    return train_tokenizer(
        make_corpus(root, count=300), out=root / "words", settings=TokenizerSettings(vocab_size=420)
    )


@pytest.fixture
def folder(words, tmp_path):
    return shutil.copytree(words, tmp_path / "model")


@pytest.mark.parametrize("name", prompts.names())
def test_transformers_asks_and_masks_what_was_trained(name, folder):
    from transformers import AutoTokenizer

    fmt, found = dialogues(name)
    write_chat_template(folder, fmt)
    theirs = AutoTokenizer.from_pretrained(folder)
    ours = ChatCoder(training_tokenizer(folder), fmt)
    for turns in found:
        messages = [{"role": turn.role, "content": turn.text} for turn in turns]
        asked = theirs.apply_chat_template(
            messages[:-1], tokenize=False, add_generation_prompt=True
        )
        assert asked == fmt.prompt(turns[:-1], end=END)
        done = theirs.apply_chat_template(
            messages, return_dict=True, return_assistant_tokens_mask=True
        )
        row = ours.encode(turns)
        learned = [i for i, m in zip(done["input_ids"], done["assistant_masks"], strict=True) if m]
        assert theirs.decode(learned) == theirs.decode(row.ids[row.learned].tolist())
        # the end is the id that training learned, as often, and not the four characters of it
        ends = int((row.ids == theirs.eos_token_id).sum())
        assert done["input_ids"].count(theirs.eos_token_id) == ends > 0
        assert learned[-1] == theirs.eos_token_id


def test_a_template_that_was_there_is_replaced_wherever_it_stood(folder):
    config = folder / "tokenizer_config.json"
    values = json.loads(config.read_text(encoding="utf-8"))
    config.write_text(json.dumps(values | {"chat_template": "of the base"}), encoding="utf-8")
    (folder / "chat_template.json").write_text('{"chat_template": "older"}', encoding="utf-8")
    fmt = prompts.load("minna")
    write_chat_template(folder, fmt)
    assert load_coder(folder).chat_template == prompts.chat_template(fmt)
    for file in folder.glob("*.json"):
        assert "chat_template" not in file.read_text(encoding="utf-8")


def test_an_end_that_only_the_vocabulary_names_is_written_down(folder):
    for name in ("tokenizer_config.json", "special_tokens_map.json"):
        (folder / name).unlink()
    write_chat_template(folder, prompts.load("minna"))
    written = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8"))
    assert written["eos_token"] == load_coder(folder).eos_text == END


def test_an_end_that_only_the_family_names_is_written_down_too(tmp_path):
    made = tiktoken_folder(tmp_path / "qwen")
    write_chat_template(made, prompts.load("minna"))
    assert json.loads((made / "tokenizer_config.json").read_text())["eos_token"] == "<|endoftext|>"


def test_a_folder_without_a_tokenizer_is_refused(tmp_path):
    with pytest.raises(ArtifactError, match="no tokenizer"):
        write_chat_template(tmp_path, prompts.load("minna"))
    assert not list(tmp_path.iterdir())


def test_a_tokenizer_without_an_end_is_refused(tmp_path):
    from tokenizers import Tokenizer, decoders, models

    made = Tokenizer(models.BPE(vocab={"a": 0}, merges=[]))
    made.decoder = decoders.ByteLevel()
    made.save(str(tmp_path / "tokenizer.json"))
    with pytest.raises(DataError, match="names no token that ends a text"):
        write_chat_template(tmp_path, prompts.load("minna"))
    assert [file.name for file in tmp_path.iterdir()] == ["tokenizer.json"]
