"""From a corpus to a side-car: whole or not at all, nothing asked twice, nothing lost in silence."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys

import pyarrow.parquet as pq
import pytest
from tests.label.made_up import (
    KanaTranslator,
    RefusingTranslator,
    dialogue_corpus,
    serving,
    to_kana,
)
from tests.toy_chain import make_corpus

from minna import artifact
from minna.corpus import BuildSettings, batches, build_corpus
from minna.corpus.dialogue_corpus import read_dialogues
from minna.corpus.mixture import mix
from minna.errors import ArtifactError, UsageError
from minna.label import (
    CheckSettings,
    Server,
    TranslateSettings,
    TranslatorSettings,
    open_server,
    translate,
)
from minna.runtime.http import HttpSettings, ServerError

DIALOGUES = [
    (["What is the capital of France?", "It is Paris, of course."], "I do not know that."),
    (["How many days has May?", "May has 31 days."], ""),
    (["Which letter comes first?", "A"], "B"),
    (["Say hello.", "Hello there, my friend!", "And once more?", "Hello there, my friend!"], ""),
    (["What is 6 times 7?", "42"], ""),
]


@pytest.fixture
def corpus(tmp_path):
    return dialogue_corpus(tmp_path, DIALOGUES)


def rows(sidecar):
    return pq.read_table(sidecar / "data" / "00000.parquet").to_pylist()


def run(corpus, tmp_path, translator=None, *, out="ja", back=None, **settings):
    return translate(
        corpus,
        out=tmp_path / out,
        translator=translator or KanaTranslator(),
        back=back,
        settings=TranslateSettings(round_trip="off" if back is None else "on", **settings),
        cache=tmp_path / "cache.sqlite",
    )


def test_every_turn_and_the_worse_answer_are_translated(corpus, tmp_path):
    translator = KanaTranslator()
    report = run(corpus, tmp_path, translator)
    assert (report.state, report.read, report.kept, report.dropped) == ("made", 5, 5, {})
    for dialogue, row in zip(read_dialogues(corpus, split="all"), rows(report.path), strict=True):
        expected = [
            (turn.role, turn.text if turn.text in ("A", "42") else to_kana(turn.text))
            for turn in dialogue.turns
        ]
        assert row["id"] == dialogue.id and (row["kept"], row["reason"], row["detail"]) == (
            True,
            "",
            "",
        )
        assert [(turn["role"], turn["text"]) for turn in row["turns"]] == expected
        rejected = dialogue.rejected
        assert row["rejected"] == (rejected if rejected in ("", "B") else to_kana(rejected))
    # one and the same answer stands twice; "A", "B" and "42" need no translator
    assert sorted(translator.asked) == sorted(
        {t for turns, worse in DIALOGUES for t in [*turns, worse]} - {"", "A", "B", "42"}
    )
    assert report.asked == len(translator.asked) == 10 and report.texts == 14


def test_the_manifest_says_of_what_by_whom_and_how(corpus, tmp_path):
    report = run(corpus, tmp_path)
    manifest = artifact.read_manifest(report.path, kind="sidecar")
    assert manifest.parent("corpus").sha256 == artifact.parent_of(corpus, role="corpus").sha256
    assert manifest.parent("translator").path == "kana"
    settings = manifest.settings
    assert (settings["label"], settings["by"], settings["source"], settings["target"]) == (
        "translate",
        "kana",
        "en",
        "ja",
    )
    assert settings["translator"] == {"kind": "kana", "direction": "en-ja"} and settings[
        "ratio"
    ] == [0.25, 1.75]
    assert manifest.licences == artifact.read_manifest(corpus).licences
    assert any(
        "Machine-translated from English into Japanese by kana" in note for note in manifest.legal
    )
    assert manifest.wall_seconds > 0 and manifest.counts["kept"].unit == "dialogues"
    assert artifact.inspect(report.path)[1][0].level == "warning"  # the translator is no folder


def test_a_finished_side_car_asks_nothing_and_another_one_only_what_is_new(corpus, tmp_path):
    run(corpus, tmp_path)
    before = (tmp_path / "ja" / "minna.json").read_bytes()
    again = KanaTranslator()
    assert run(corpus, tmp_path, again).state == "unchanged" and again.asked == []
    assert (tmp_path / "ja" / "minna.json").read_bytes() == before
    # other checks: the texts are known
    report = run(corpus, tmp_path, again, checks=CheckSettings(ratio=(0.1, 0.2), slack=0))
    assert report.state == "made" and again.asked == [] and set(report.dropped) == {"length"}
    more = dialogue_corpus(
        tmp_path, [*DIALOGUES, ["A new one, please?", "Here you are."]], name="more"
    )
    assert run(more, tmp_path, again, out="more-ja").kept == 6
    assert sorted(again.asked) == ["A new one, please?", "Here you are."]


@pytest.mark.parametrize(
    "error", [KeyboardInterrupt, RuntimeError, ServerError("gone", status=0, remedy="")]
)
@pytest.mark.parametrize("after", [0, 1, 4, 9])
def test_a_run_that_is_stopped_leaves_no_side_car_and_goes_on(corpus, tmp_path, error, after):
    def breaks(translator, _):
        if len(translator.asked) >= after:
            raise error

    stopped = KanaTranslator(breaks=breaks)
    with pytest.raises(error if isinstance(error, type) else ServerError):
        run(corpus, tmp_path, stopped)
    assert not (tmp_path / "ja").exists() and len(stopped.asked) == after
    rest = KanaTranslator()
    report = run(corpus, tmp_path, rest)
    assert report.kept == 5 and sorted(stopped.asked + rest.asked) == sorted(
        set(stopped.asked + rest.asked)
    )
    whole = run(corpus, tmp_path / "alone")
    assert rows(whole.path) == rows(report.path)


def test_a_kill_loses_at_most_what_was_in_flight(tmp_path):
    """kill -9 of the program while it asks, then the same command again."""
    questions = [[f"What is thing number {n}?", f"Thing number {n} is a thing."] for n in range(60)]
    corpus = dialogue_corpus(tmp_path, questions)
    with serving() as server:
        command = [
            sys.executable, "-m", "minna.cli.main", "label", "translate", str(corpus), "--endpoint", server.url,
            "--translator", "toy", "--fetch-workers", "2", "--cache", str(tmp_path / "cache"), "--out", str(tmp_path / "ja"),
        ]  # fmt: skip
        process = None

        def kill(running, _):
            if len(running.bodies) == 50:
                os.kill(process.pid, signal.SIGKILL)

        server.always = kill
        environment = {**os.environ, "MINNA_ALLOCATOR": "system"}
        process = subprocess.Popen(
            command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        process.communicate(timeout=60)
        assert process.returncode == -signal.SIGKILL and not (tmp_path / "ja").exists()
        server.always = None
        before = len(server.bodies)
        place = Server(url=server.url, model="toy", http=HttpSettings(concurrency=2))
        toy = open_server(
            place, direction=TranslateSettings().direction, settings=TranslatorSettings()
        )
        report = translate(corpus, out=tmp_path / "ja", translator=toy, cache=tmp_path / "cache")
        assert report.kept == 60 and len(set(server.texts)) == 120
        assert report.asked == len(server.texts) - before
        # two requests at once, and two more answers that were on their way to the file
        assert len(server.texts) - 120 <= 4


def test_a_bad_text_drops_its_dialogue_with_the_reason_and_stays_to_be_seen(
    corpus, tmp_path, capsys
):
    answers = {
        "May has 31 days.": "五月は三十日あります。",
        "How many days has May?": "五月は何日ありますか？",
        "It is Paris, of course.": "It is Paris, of course.",
        "I do not know that.": "知りません。",
    }
    translator = RefusingTranslator("hello", answers=answers)
    report = run(corpus, tmp_path, translator)
    assert report.dropped == {"copy": 1, "numbers": 1, "failed": 1} and report.kept == 2
    assert report.read == report.kept + sum(report.dropped.values()) and report.failed == 1
    table = rows(report.path)
    assert [(row["kept"], row["reason"]) for row in table[:4]] == [
        (False, "copy"),
        (False, "numbers"),
        (True, ""),
        (False, "failed"),
    ]
    assert (
        table[0]["detail"] == "turn 2: the translation is the source"
        and table[0]["rejected"] == "知りません。"
    )
    assert (
        table[1]["detail"] == "turn 2: without 31"
        and table[1]["turns"][1]["text"] == answers["May has 31 days."]
    )
    assert table[3]["detail"] == "turn 1: no" and table[3]["turns"][0]["text"] == ""
    assert "1 texts have no translation (most often: no)" in capsys.readouterr().err


def test_a_worse_answer_is_checked_and_must_stay_another_answer(tmp_path):
    corpus = dialogue_corpus(tmp_path, [
        (["Is it cold outside?", "Yes, it is."], "It is cold, yes."),
        (["Where is the cat?", "The cat sleeps."], "The dog of 1999 sleeps."),
    ])  # fmt: skip
    same = {
        "Yes, it is.": "はい、寒いです。",
        "It is cold, yes.": "はい、寒いです。",
        "The dog of 1999 sleeps.": "犬は寝ています。",
    }
    report = run(corpus, tmp_path, KanaTranslator(answers=same))
    assert [(row["reason"], row["detail"]) for row in rows(report.path)] == [
        ("same_answers", "both answers became the same"),
        ("numbers", "rejected: without 1999"),
    ]


def test_translations_are_normalised_once(tmp_path):
    corpus = dialogue_corpus(tmp_path, [["Please say it.", "It is said."]])
    report = run(
        corpus, tmp_path, KanaTranslator(answers={"It is said.": "  ﾊﾛｰ　ﾜｰﾙﾄﾞ  \r\nです。 "})
    )
    assert rows(report.path)[0]["turns"][1]["text"] == "ハロー ワールド\nです。"


def test_documents_are_translated_too(tmp_path):
    source = tmp_path / "texts"
    source.mkdir()
    lines = [
        f"The old man number {n} walks to the sea and looks at the ships there." for n in range(30)
    ]
    (source / "a.txt").write_text("\n".join([*lines, "12345 67890 12345"]), encoding="utf-8")
    settings = BuildSettings(
        source="local", path=source / "a.txt", documents="line", language="en", licence="CC0-1.0", dedup={"near": "off"}
    )  # fmt: skip
    corpus = build_corpus(settings=settings, out=tmp_path / "corpus")
    report = run(corpus, tmp_path, KanaTranslator(at_once=7))
    texts = [
        text
        for batch in batches(corpus, split="all", columns=["text"])
        for text in batch.column(0).to_pylist()
    ]
    assert report.unit == "documents" and report.kept == len(texts) >= 30
    assert [row["text"] for row in rows(report.path)] == [to_kana(text) for text in texts]
    assert set(rows(report.path)[0]) == {"id", "text", "kept", "reason", "detail"}


def test_the_way_back_finds_what_reads_well_and_means_something_else(corpus, tmp_path):
    there = KanaTranslator(answers={"It is Paris, of course.": "もちろん、ロンドンです。"})
    known = {to_kana(t): t for turns, worse in DIALOGUES for t in [*turns, worse] if t}
    back = KanaTranslator(
        answers=known | {"もちろん、ロンドンです。": "London, naturally."}, direction="ja-en"
    )
    report = run(corpus, tmp_path, there, back=back)
    assert report.dropped == {"round_trip": 1} and rows(report.path)[0]["detail"].startswith(
        "turn 2: chrF "
    )
    # short texts, and those that failed before, are not sent back
    assert to_kana("Say hello.") not in back.asked and "もちろん、ロンドンです。" in back.asked
    manifest = artifact.read_manifest(report.path)
    assert (
        manifest.parent("back_translator").path == "kana"
        and manifest.settings["round_trip"] == "on"
    )
    assert 60 < manifest.counts["mean_chrf"].value < 100
    assert run(corpus, tmp_path, there, back=back).state == "unchanged"
    refusing = RefusingTranslator("い", direction="other", answers=known)
    report = run(corpus, tmp_path, there, back=refusing)
    assert any(row["detail"].endswith("it did not come back: no") for row in rows(report.path))


def test_a_side_car_that_keeps_nothing_says_so(corpus, tmp_path, capsys):
    report = run(corpus, tmp_path, checks=CheckSettings(ratio=(3, 4), slack=0))
    assert report.kept == 0 and report.dropped == {"length": 5}
    assert "none of the 5 dialogues is kept" in capsys.readouterr().err


def test_what_cannot_be_translated_is_refused_before_anything_is_asked(corpus, tmp_path):
    japanese = make_corpus(tmp_path / "a", count=60)
    mix(
        [(japanese, 1.0), (make_corpus(tmp_path / "b", count=50, seed=1), 1.0)],
        out=tmp_path / "mix",
    )
    translator = KanaTranslator()
    with pytest.raises(UsageError, match="mixture"):
        run(tmp_path / "mix", tmp_path, translator)
    with pytest.raises(ArtifactError):
        run(tmp_path, tmp_path, translator)
    with pytest.raises(UsageError, match="round trip"):
        translate(
            corpus,
            out=tmp_path / "x",
            translator=translator,
            settings=TranslateSettings(round_trip="on"),
        )
    with pytest.raises(UsageError, match="itself"):
        run(corpus, tmp_path, translator, source="ja")
    with pytest.raises(ArtifactError, match="is a corpus"):
        run(corpus, tmp_path, translator, out="corpus")
    assert translator.asked == []


def test_real_dialogues_with_the_translations_they_were_published_with(shared_data, tmp_path):
    """Anthropic HH in English, through a server that answers as a machine did."""
    lines = (shared_data / "instruction_ja" / "data.jsonl").read_text(encoding="utf-8").splitlines()
    published, dialogues = {}, []
    for line in lines[:150]:
        told = json.loads(line)["original_info"]["utterances"]
        turns = [turn["text"] for turn in told["en"]]
        if len(turns) % 2 == 0 and all(turn.strip() for turn in turns):
            dialogues.append(turns)
            texts = [turn["text"] for turn in told["machine_translated_ja"]]
            published |= {" ".join(t.split()): j for t, j in zip(turns, texts, strict=True)}
    corpus = dialogue_corpus(tmp_path, dialogues)
    answers = {
        turn.text: published[" ".join(turn.text.split())]
        for dialogue in read_dialogues(corpus, split="all")
        for turn in dialogue.turns
    }
    report = run(corpus, tmp_path, KanaTranslator(answers=answers, workers=3))
    assert report.read > 140 and report.kept >= 0.98 * report.read
