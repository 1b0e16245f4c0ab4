"""Dialogues out of sentences: every answer is the best there is, every worse one is worse by rule."""

from __future__ import annotations

import json
import time
from collections import Counter

import pytest
from tests.toy_chain import make_corpus
from typer.testing import CliRunner

from minna import artifact
from minna.cli.corpus import app
from minna.corpus import (
    BuildSettings,
    DialogueSettings,
    batches,
    build_corpus,
    build_dialogues,
    keywords,
    read_dialogues,
    texts,
)
from minna.corpus.keywords import Keywords
from minna.corpus.mixture import mix
from minna.errors import ArtifactError, DataError, UsageError
from minna.metrics.keywords import asked, keyword_score, runs
from minna.metrics.polite import style_of

RUN = CliRunner()
SENTENCES = [
    "海は青いです。", "海は青い。", "海で泳ぎました。", "空は青い。", "山は高いですね。", "犬が好きだ。",
    "犬と猫が好きです。", "猫は寝る。", "トムはコーヒーを飲む。", "コーヒーを飲みましょう。", "母は先生です。",
    "先生は東京に行った。", "東京は大きいですか？", "京都で寺を見た。", "寺は古いです。", "本を読むだろう。",
]  # fmt: skip


def corpus_of(tmp_path, lines, **values):
    path = tmp_path / "text.txt"
    path.write_text("\n".join(lines), encoding="utf-8")
    values = {
        "documents": "line",
        "licence": "CC0-1.0",
        "attribution": "皆",
        "valid": 0,
        "test": 0,
    } | values
    return build_corpus(
        settings=BuildSettings(source="local", path=path, **values), out=tmp_path / "text"
    )


def settings(corpus, **values):
    return DialogueSettings(source="keywords", path=corpus, **values)


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    return make_corpus(tmp_path_factory.mktemp("text"), count=1500)


@pytest.fixture(scope="module")
def built(text, tmp_path_factory):
    return build_dialogues(settings=settings(text), out=tmp_path_factory.mktemp("made") / "corpus")


def test_an_answer_is_the_sentence_and_the_question_asks_for_words_of_it(text, built):
    known = {one.id: one.text for one in texts(text, split="all")}
    found = list(read_dialogues(built.path, split="all"))
    assert len(found) == len(known) == built.kept
    many = Counter()
    for one in found:
        question, answer = one.turns
        assert (question.role, answer.role) == ("user", "assistant") and answer.text == known[
            one.id
        ]
        words, style = asked(question.text)
        assert style == style_of(answer.text)
        places = [answer.text.index(word) for word in words]
        assert places == sorted(places) and set(words) <= set(runs(answer.text))
        assert keyword_score(question.text, answer.text) == 1
        many[len(words)] += 1
    assert set(many) == {1, 2, 3} and min(many.values()) > 300


def test_every_worse_answer_scores_lower_and_all_kinds_of_them_are_there(built):
    assert built.rejected == built.kept
    for one in read_dialogues(built.path, split="all"):
        assert keyword_score(one.turns[0].text, one.rejected) < 1
    counts = artifact.read_manifest(built.path).counts
    worse = [counts[f"worse_{kind}"].value for kind in keywords.KINDS]
    assert sum(worse) == built.rejected and min(worse) > built.rejected / 5


def test_a_worse_answer_is_a_sentence_of_the_same_split_or_the_right_one_spoiled(text, built):
    held = {
        split: {one.text for one in texts(text, split=split)}
        for split in ("train", "valid", "test")
    }
    spoiled = 0
    for split, known in held.items():
        found = list(read_dialogues(built.path, split=split))
        assert len(found) == len(known) > 20
        for one in found:
            answer = one.turns[-1].text
            if one.rejected not in known:
                spoiled += 1
                assert (
                    answer.startswith(one.rejected[: len(answer) // 2 - 1])
                    and len(one.rejected) > 2
                )
    assert spoiled == artifact.read_manifest(built.path).counts["worse_malformed"].value


def test_split_group_id_licence_and_legal_notes_are_those_of_the_text(text, built):
    columns = ["id", "group", "split", "licence"]
    rows = [
        [row for batch in batches(path, split="all", columns=columns) for row in batch.to_pylist()]
        for path in (text, built.path)
    ]
    assert rows[0] == rows[1]
    ours, theirs = artifact.read_manifest(built.path), artifact.read_manifest(text)
    assert (ours.licences, ours.legal) == (theirs.licences, theirs.legal)
    assert ours.parent("corpus").sha256 == artifact.parent_of(text, role="corpus").sha256
    assert "作り話製作委員会" in (built.path / "card.md").read_text(encoding="utf-8")


def test_the_same_seed_makes_the_same_corpus_and_another_one_another(text, built, tmp_path):
    def made(**values):
        report = build_dialogues(settings=settings(text, **values), out=tmp_path / "again")
        return report, list(read_dialogues(report.path, split="all"))

    report, same = made()
    assert report.state == "built" and same == list(read_dialogues(built.path, split="all"))
    assert made()[0].state == "unchanged"
    _, other = made(seed=1)
    differs = sum(a.turns != b.turns for a, b in zip(same, other, strict=True))
    assert differs > len(same) / 3


def test_a_worse_answer_does_what_its_kind_says(tmp_path):
    corpus = corpus_of(tmp_path, SENTENCES)
    for seed in range(20):
        source = Keywords(corpus, seed=seed)
        for one in source:
            words, style = asked(one.prompt)
            share = sum(word in one.rejected for word in words) / len(words)
            if one.rejected not in SENTENCES:
                assert keyword_score(one.prompt, one.rejected) <= 0  # malformed
            elif style_of(one.rejected) != style:
                assert share > 0
            else:
                assert share < 1
        assert source.worse.total() == len(SENTENCES) and set(source.worse) == set(keywords.KINDS)


def test_sentences_with_fewer_of_the_words_hold_one_where_there_is_such(tmp_path):
    lines = [f"{a}と{b}が好きだ。" for a in "海山川空" for b in "犬猫鳥魚"]
    for one in Keywords(corpus_of(tmp_path, lines)):
        words, _ = asked(one.prompt)
        if one.rejected in lines and len(words) > 1:
            assert any(word in one.rejected for word in words)


def test_compared_is_a_share_and_none_of_it_leaves_the_worse_answer_empty(text, tmp_path):
    half = Keywords(text, compared=0.5)
    found = [bool(one.rejected) for one in half]
    assert 0.42 < sum(found) / len(found) < 0.58 and half.worse.total() == sum(found)
    report = build_dialogues(settings=settings(text, compared=0.0), out=tmp_path / "none")
    assert report.rejected == 0 and report.kept == len(found)


def test_documents_that_are_no_such_sentence_are_counted_by_their_reason(tmp_path):
    lines = [
        *SENTENCES,
        "海だ。",  # under five
        "、".join(line[:-1] for line in SENTENCES[:12]) + "。",  # over sixty
        "これはそれです。",
        "彼は「海」と言った。",
        "海は青い、とても",
        "青い青い青い青い。",
    ]
    source = Keywords(corpus_of(tmp_path, lines), limit=None)
    assert len(list(source)) == len(SENTENCES)
    assert source.dropped == {
        "under 5 characters": 1,
        "over 60 characters": 1,
        "no keyword in it": 1,
        "a quotation": 1,
        "no end of a sentence": 1,
        "a run of four characters three times": 1,
    }
    assert source.read == len(lines)
    first = Keywords(source.corpus, limit=3)
    assert [one.answer for one in first] == SENTENCES[:3] and first.read == 3


def test_a_text_of_several_lines_is_no_sentence(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("海は青い。\n空も青い。", encoding="utf-8")
    corpus = build_corpus(
        settings=BuildSettings(source="local", path=path, valid=0, test=0), out=tmp_path / "text"
    )
    with pytest.raises(DataError, match=r"0 kept \(more than one line: 1\)[^$]*single sentences"):
        build_dialogues(settings=settings(corpus), out=tmp_path / "out")


def test_blocks_bound_memory_and_change_nothing_but_the_worse_answers(text, monkeypatch):
    whole = list(Keywords(text))
    monkeypatch.setattr(keywords, "BLOCK", 100)
    cut = list(Keywords(text))
    assert [one[:-1] for one in cut] == [one[:-1] for one in whole]
    assert all(keyword_score(one.prompt, one.rejected) < 1 for one in cut)


def test_a_mixture_is_read_once_and_copies_go(tmp_path):
    one, two = tmp_path / "one", tmp_path / "two"
    one.mkdir(), two.mkdir()
    pair = [corpus_of(one, SENTENCES[:10]), corpus_of(two, [SENTENCES[0], *SENTENCES[10:]])]
    mix([(path, 2.0) for path in pair], out=tmp_path / "mix")
    source = Keywords(tmp_path / "mix")
    assert sorted(row.answer for row in source) == sorted(SENTENCES)
    assert source.dropped == {"duplicate": 1}


def test_dialogues_and_other_directories_are_no_text(built, tmp_path):
    with pytest.raises(ArtifactError, match="holds dialogues, not documents"):
        build_dialogues(settings=settings(built.path), out=tmp_path / "out")
    with pytest.raises(ArtifactError, match="does not exist"):
        build_dialogues(settings=settings(tmp_path / "nothing"), out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_the_text_is_never_replaced_by_what_is_made_of_it(text):
    with pytest.raises(UsageError, match="is where the source"):
        build_dialogues(settings=settings(text), out=text)
    assert next(texts(text, split="train")).text


def test_the_command_builds_and_refuses_what_the_text_has_decided(text, tmp_path):
    call = ["build", "keywords", "--from", str(text), "--out", str(tmp_path / "c")]
    told = json.loads(
        RUN.invoke(app, [*call, "--limit", "50", "compared=0.5", "seed=3", "--json"]).stdout
    )
    assert told["read"] == 50 and 0 < told["rejected"] < told["kept"]
    for words, said in (
        (
            ["--valid", "0.02"],
            "--valid does not apply to the source keywords (it takes --from, --limit",
        ),
        (["--licence", "MIT"], "--licence does not apply"),
        (["licence=MIT"], "does not read licence, and licence='MIT' was given (splits, licences"),
        (["unanswered=keep"], "does not read unanswered"),
    ):
        outcome = RUN.invoke(app, [*call, *words])
        assert isinstance(outcome.exception, UsageError) and said in str(outcome.exception)


def test_ten_thousand_sentences_take_a_second_or_two(tmp_path):
    corpus = make_corpus(tmp_path, count=10_000)
    start = time.monotonic()
    report = build_dialogues(settings=settings(corpus), out=tmp_path / "out")
    assert report.kept > 8_000 and time.monotonic() - start < 8
