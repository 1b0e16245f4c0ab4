"""Reports on recognised speech: the figures are those of the clips, and two models compare."""

from __future__ import annotations

import json
import re

import pytest
from tests.runtime.hearing import TellTale
from tests.runtime.speech_folders import write_recogniser
from tests.toy_speech import make_clips
from typer.testing import CliRunner

from minna import artifact
from minna.cli import transcribe as verb
from minna.cli import verbs
from minna.cli.main import app
from minna.corpus.clip_read import read_clips
from minna.corpus.clip_rows import write_rows
from minna.errors import ArtifactError, DataError
from minna.evaluate.report import read_items, read_report
from minna.evaluate.speech import RecognitionSettings, evaluate_recognition
from minna.evaluate.speech_measures import PHONES, PHONES_AND_BOUNDARIES, WORDS, rows_of
from minna.evaluate.subject import open_subject
from minna.metrics.edits import error_rate, word_units

RUN = CliRunner()
verbs.register(app)
ALL = RecognitionSettings(split="all")


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    return tmp_path_factory.mktemp("heard")


@pytest.fixture(scope="module")
def corpus(home):
    return make_clips(home / "corpus", clips=18)


@pytest.fixture(scope="module")
def model(home):
    return open_subject(write_recogniser(home / "model")).parent


@pytest.fixture(scope="module")
def worse(home, corpus, model):
    """A report of somebody who hears every o as u."""
    recogniser = TellTale(corpus, wrong={"o": "u"}, name="worse")
    return evaluate_recognition(
        recogniser, model=model, data=corpus, out=home / "worse", settings=ALL
    )


def test_figures_are_sums_over_all_clips(corpus, worse):
    (task,) = read_report(worse).tasks
    clips = list(read_clips(corpus, split="all", audio="left"))
    words = [word for clip in clips for word in clip.words]
    phones = [phone for word in words for phone in word]
    wrong = sum("o" in word for word in words)
    found = {name: metric.value for name, metric in task.metrics.items()}
    assert found[WORDS] == pytest.approx(100 * wrong / len(words))
    assert found[PHONES] == pytest.approx(100 * phones.count("o") / len(phones))
    edges = len(words) - len(clips)
    both = 100 * phones.count("o") / (len(phones) + edges)
    assert found[PHONES_AND_BOUNDARIES] == pytest.approx(both)
    right = sum(not any("o" in word for word in clip.words) for clip in clips)
    assert found["clips_right"] == pytest.approx(100 * right / len(clips))
    for metric in task.metrics.values():
        assert metric.low <= metric.value <= metric.high and metric.unit == "percent"
    assert (task.n, task.main, task.prompt) == (18, WORDS, "phones")
    assert task.conditions["substitutions"] == wrong and task.conditions["insertions"] == 0
    assert task.conditions["decoding"] == "beam 20" and task.conditions["speakers"] == 4


def test_parts_are_speakers_and_their_counts_add_up(corpus, worse):
    (task,) = read_report(worse).tasks
    assert [name.split()[0] for name in task.sources] == ["speaker"] * 4
    assert sum(part.n for part in task.sources.values()) == task.n
    clips = [c for c in read_clips(corpus, split="all", audio="left") if c.speaker == "low"]
    words = [word for clip in clips for word in clip.words]
    wrong = sum("o" in word for word in words)
    part = task.sources["speaker low"]
    assert part.metrics[WORDS].value == pytest.approx(100 * wrong / len(words))


def test_items_keep_both_texts_from_which_rates_follow_again(worse):
    (task,) = read_report(worse).tasks
    items = read_items(worse, task.name)
    said, heard = [one["gold"][0] for one in items], [one["text"] for one in items]
    assert [text.replace("o", "u") for text in said] == heard
    rows = rows_of(WORDS, said, heard).sum(axis=0)
    assert 100 * rows[0] / rows[1] == pytest.approx(task.metrics[WORDS].value)
    assert {one["group"] for one in items} == {f"toy-0-{k}" for k in range(18)}
    split = [[word.split() for word in text.split("|")] for text in said]
    again = error_rate([word_units(one) for one in split], [word_units(one) for one in split])
    assert again.rate.value == 0


def test_kana_have_a_rate_of_characters(corpus, model, home):
    recogniser = TellTale(corpus, kind="kana")
    out = evaluate_recognition(
        recogniser, model=model, data=corpus, out=home / "kana", settings=ALL
    )
    (task,) = read_report(out).tasks
    assert set(task.metrics) == {"character_error_rate", "clips_right"}
    assert task.metrics["character_error_rate"].value == 0
    assert task.metrics["clips_right"].value == 100


def test_it_is_done_once_and_the_manifest_names_model_and_corpus(corpus, model, worse):
    manifest = artifact.read_manifest(worse, kind="report")
    assert manifest.parent("corpus").sha256 == artifact.parent_of(corpus, role="corpus").sha256
    assert manifest.parent("model").sha256 == model.sha256
    deaf = TellTale(corpus)
    again = evaluate_recognition(deaf, model=model, data=corpus, out=worse, settings=ALL)
    assert again == worse and deaf.heard == 0
    findings = artifact.inspect(worse)[1]
    assert not [one for one in findings if one.level == "error"]
    assert [one.licence for one in manifest.licences] == ["CC0-1.0"]


def test_the_page_shows_mistakes_and_fetches_nothing(worse):
    page = (worse / "report.html").read_text(encoding="utf-8")
    assert re.search(r'<td lang="ja">o</td><td lang="ja">u</td>', page)
    assert 'class="wrong">o<small>u</small>' in page and "speaker low" in page
    assert page.count('<li>\n<p class="facts') == 18
    assert "<script" not in page and "http" not in re.sub(r"xmlns=\S+", "", page)


def test_two_models_are_compared_clip_by_clip(corpus, model, worse, home):
    better = evaluate_recognition(
        TellTale(corpus, name="better"),
        model=open_subject(write_recogniser(home / "better-model", seed=1)).parent,
        data=corpus,
        out=home / "better",
        settings=ALL,
    )
    told = ["compare", str(worse), str(better), "--json"]
    done = RUN.invoke(app, told)
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout.strip().splitlines()[-1])
    row = found["tasks"][0]["rows"][1]
    (task,) = read_report(worse).tasks
    assert row["difference"]["value"] == pytest.approx(-task.metrics[WORDS].value)
    assert row["p"] < 0.01


def test_clips_without_words_or_sound_are_counted_and_none_at_all_is_told(
    corpus, model, home, capsys
):
    rows = _rows(corpus)
    rows[0] = rows[0]._replace(phones="", times=())
    rows[1] = rows[1]._replace(audio=b"damaged")
    spoilt = _write(home / "spoilt", rows)
    out = home / "spoilt-report"
    recogniser = TellTale(corpus)
    evaluate_recognition(recogniser, model=model, data=spoilt, out=out, settings=ALL)
    (task,) = read_report(out).tasks
    assert (task.n, task.conditions["clips_without_text"], task.conditions["clips_bad"]) == (
        *(16, 1, 1),
    )
    assert "1 clips do not say their phones, 1 are not_audio" in capsys.readouterr().err
    mute = _write(home / "mute", [row._replace(phones="", times=()) for row in rows])
    with pytest.raises(DataError, match="has no clip that says its phones"):
        evaluate_recognition(recogniser, model=model, data=mute, out=home / "x", settings=ALL)
    odd = _write(home / "odd", [row._replace(phones="xx a", times=()) for row in rows])
    with pytest.raises(DataError, match="'xx' is none of the"):
        evaluate_recognition(recogniser, model=model, data=odd, out=home / "x", settings=ALL)
    with artifact.writing(home / "text", kind="corpus", settings={}) as draft:
        draft.count("documents", 1, "documents")
    with pytest.raises(ArtifactError, match="holds no clips"):
        evaluate_recognition(recogniser, model=model, data=home / "text", out=home / "x")


@pytest.mark.usefixtures("model")
def test_the_verb_measures(corpus, home, monkeypatch):
    monkeypatch.setattr(verb, "_opened", lambda *_: TellTale(corpus, wrong={"a": "e"}))
    told = ["transcribe", home / "model", "--data", corpus, "--report", home / "measured"]
    done = RUN.invoke(app, [*map(str, told), "--beam", "greedy"])
    assert done.exit_code == 0, done.output
    assert "word error rate" in done.stdout and "3 clips" in done.stdout
    (task,) = read_report(home / "measured").tasks
    assert task.conditions["decoding"] == "best path" and task.data.split == "test"


def _rows(corpus):
    import pyarrow.parquet as pq

    from minna.corpus.clip_rows import ClipRow

    table = pq.read_table(corpus / "data" / "00000.parquet")
    return [ClipRow(**row) for row in table.to_pylist()]


def _write(out, rows):
    with artifact.writing(out, kind="corpus", settings={"out": out.name}) as draft:
        tally = write_rows(rows, data=draft.path / "data")
        draft.count("clips", tally.kept, "clips")
        draft.count("seconds", tally.seconds, "seconds")
    return out
