"""`minna inspect RUN --mask`: the learned part of dialogues, as text."""

from __future__ import annotations

import json

from tests.cli.test_cli import run as call
from tests.toy_chain import make_corpus

from minna import prompts
from minna.corpus.dialogue_corpus import DialogueSettings, build_dialogues, read_dialogues
from minna.streams import write_dialogues, write_tokens
from minna.tokenizer import TokenizerSettings, train_tokenizer


def test_what_is_learned_stands_in_marks_and_is_the_answer_with_its_end(
    tmp_path, monkeypatch, capsys
):
    corpus = make_corpus(tmp_path, count=200)
    words = train_tokenizer(
        corpus, out=tmp_path / "words", settings=TokenizerSettings(vocab_size=400)
    )
    dialogues = build_dialogues(
        settings=DialogueSettings(source="keywords", path=corpus), out=tmp_path / "dialogues"
    ).path
    fmt = prompts.load("minna")
    tokens = write_dialogues(
        dialogues, tokenizer=words, fmt=fmt, content="answers", room=128, out=tmp_path / "tokens"
    )
    told = [one.turns for one in read_dialogues(dialogues, split="train")][:3]
    status, out, _ = call(f"minna inspect {tokens} --mask --limit 3", monkeypatch, capsys)
    assert status == 0
    for asked, answered in told:
        assert f"ユーザー: {asked.text}\nシステム: ⟦{answered.text}</s>⟧" in out
    status, out, _ = call(f"minna inspect {tokens} --mask --limit 2 --json", monkeypatch, capsys)
    documents = json.loads(out)["documents"]
    assert [[part["learned"] for part in one] for one in documents] == [[False, True]] * 2
    plain = write_tokens(corpus, tokenizer=words, out=tmp_path / "plain")
    status, _, err = call(f"minna inspect {plain} --mask", monkeypatch, capsys)
    assert status == 2 and "every token of it is learned" in err
