"""The pipeline of speech at toy size: recordings -> k-means -> HuBERT -> k-means -> HuBERT -> CTC."""

from __future__ import annotations

import json

import pytest

from minna import artifact, pipeline
from minna.corpus import batches
from minna.corpus.audio import open_clip
from minna.errors import UsageError
from minna.evaluate.report import read_report
from minna.pipeline import EvaluateStage, LabelStage, TranscribeStage
from minna.recipe import run
from minna.runtime.speech import open_encoder, open_recogniser
from minna.runtime.transcribe import transcribe
from minna.train import precision
from tests.toy_speech import make_clips

NAME = "laptop-hubert"
RUNS = ("hubert-1-run", "hubert-run", "recogniser-run")
MODELS = ("hubert-1", "hubert", "recogniser")
SMALL = (
    *("model.layers=2", "model.width=32", "model.heads=2", "model.ffn=48"),
    *("model.conv_widths=[12, 12, 12, 12, 12, 12, 12]", "model.position_groups=4"),
    *("stream.row_tokens=300", "stream.longest=2.5", "stream.shortest=0.3"),
    *("train.steps=6", "train.tokens_per_step=300", "train.log_every=1"),
    *("train.save_every=2", "train.evaluate_every=6"),
    *("train.compile=off", "train.device=cpu", "train.precision=fp32"),
)


def write_recordings(folder, clips=24):
    """Recordings as people keep them: x.flac, and x.json that says who says what, and when."""
    folder.mkdir()
    made = make_clips(folder.parent / "made", clips=clips)
    columns = ("id", "audio", "split", "speaker", "transcript", "kana", "phones", "times")
    for batch in batches(made, split="all", columns=columns):
        for row in batch.to_pylist():
            (folder / f"{row['id']}.flac").write_bytes(row.pop("audio"))
            facts = row | {"text": row.pop("transcript")}
            name = folder / f"{row.pop('id')}.json"
            name.write_text(json.dumps(facts, ensure_ascii=False), encoding="utf-8")
    return folder


def words(recordings):
    """What is changed in the pipeline that is shipped: own recordings, and all of it tiny."""
    runs = [f"{stage}.{setting}" for stage in RUNS for setting in SMALL]
    return [
        *("corpus.source=clips", f"corpus.path={recordings.as_posix()}", "corpus.workers=1"),
        *("corpus.splits=stated", "corpus.reading=none", "corpus.licence=CC0-1.0"),
        *("labels-1.clusters=8", "labels-1.sample=2000"),
        *("labels-2.layer=1", "labels-2.clusters=12", "labels-2.sample=1000"),
        *("hubert-1-run.objective.clusters=8", "hubert-run.objective.clusters=12"),
        *("hubert-1-run.schedule.warmup=1", "hubert-run.schedule.warmup=1"),
        *(
            "recogniser-run.objective.frozen_steps=2",
            "recogniser-run.optim.lr=3e-3",
            "report.beam=4",
        ),
        *runs,
    ]


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    folder = tmp_path_factory.mktemp("speech")
    chosen = pipeline.load(NAME, overrides=words(write_recordings(folder / "talks")))
    with pytest.MonkeyPatch.context() as patch:  # seconds a run, and looked at by other tests
        patch.setattr(precision, "matrix_peak", lambda *_: 1e11)
        patch.setattr(run, "write_report", lambda out, **_: (out / "report.html").touch())
        seconds = pipeline.run(chosen, out=folder / "out")
    return chosen, folder / "out", seconds


def roles(out, stage):
    """Whose child a stage's directory is: role -> name of the other directory."""
    parents = artifact.read_manifest(out / stage).parents
    return {parent.role: parent.path.rsplit("/", 1)[-1] for parent in parents}


def test_every_stage_is_there_intact_and_names_what_it_was_made_of(done):
    chosen, out, seconds = done
    assert list(seconds) == [stage.out for stage in chosen.stage]
    for stage in chosen.stage:
        assert artifact.inspect(out / stage.out)[1] == [], stage.out
    assert roles(out, "labels-1") == {"corpus": "corpus"}
    assert roles(out, "labels-2") == {"corpus": "corpus", "encoder": "hubert-1"}
    assert roles(out, "hubert-run").items() >= {"corpus": "corpus", "labels": "labels-2"}.items()
    assert "init" not in roles(out, "hubert-run")  # only the labels are handed on
    assert roles(out, "recogniser-run")["init"] == "hubert"
    assert roles(out, "report") == {"model": "recogniser", "corpus": "corpus"}


def test_the_recogniser_that_comes_out_transcribes(done):
    _, out, _ = done
    recogniser = open_recogniser(out / "recogniser")
    (batch,) = batches(out / "corpus", split="test", columns=("audio",))
    heard = [transcribe(recogniser, open_clip(row["audio"])) for row in batch.to_pylist()]
    known = set(recogniser.sounds.symbols)
    assert {sound for one in heard for sound in one.text.split()} <= known | {"|"}
    (task,) = read_report(out / "report").tasks
    assert task.n == len(heard) and task.data.split == "test"


@pytest.mark.parametrize(
    ("stage", "figure"), [*((run, "loss") for run in RUNS[:2]), (RUNS[2], "ctc/nats_per_symbol")]
)
def test_every_run_learns(done, stage, figure):
    lines = (done[1] / stage / "log.jsonl").read_text(encoding="utf-8").splitlines()
    found = [one[figure] for one in map(json.loads, lines) if one["event"] == "train"]
    assert len(found) == 6 and found[-1] < found[0]


def test_only_the_last_model_is_a_recogniser_and_all_can_be_asked_for_layers(done):
    _, out, _ = done
    shapes = [(open_encoder(out / name).layers, open_encoder(out / name).width) for name in MODELS]
    assert shapes == [(2, 32)] * 3


def test_the_second_run_changes_nothing(done):
    chosen, out, _ = done
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*") if path.is_file()}
    pipeline.run(chosen, out=out)
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*") if path.is_file()} == before


def test_the_command_line_takes_words_and_tells_the_errors(done, monkeypatch, capsys):
    from minna.cli.main import main

    chosen, out, _ = done
    given = words(out.parent / "talks")
    monkeypatch.setenv("MINNA_ALLOCATOR", "system")
    monkeypatch.setattr("sys.argv", ["minna", "pipeline", NAME, *given, "--out", str(out)])
    with pytest.raises(SystemExit) as ended:
        main()
    printed = capsys.readouterr().out
    assert ended.value.code in (0, None)
    assert "word error rate" in printed and f"minna transcribe {out / 'recogniser'}" in printed
    assert "generate" not in printed


def test_what_only_the_caller_knows_is_asked_for_before_anything_runs(tmp_path):
    chosen = pipeline.load(NAME)
    with pytest.raises(UsageError, match=r"has to be told corpus\.path: the text") as told:
        pipeline.run(chosen, out=tmp_path / "out")
    assert "minna pipeline laptop-hubert --out DIR corpus.path=..." in str(told.value)
    assert list(tmp_path.iterdir()) == []


def test_a_part_needs_only_what_its_stages_need(tmp_path):
    whole = pipeline.load("japanese-hubert-base")
    part = pipeline.until(whole, "encoder")
    with pytest.raises(UsageError) as told:
        pipeline.run(part, out=tmp_path)
    assert "unlabelled.path" in str(told.value) and " labelled.path" not in str(told.value)


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("corpas.path=x", "names no stage of this pipeline; did you mean 'corpus'"),
        ("path=x", "write STAGE.key=value"),
        ("corpus.path", "an override must be"),
        ("corpus.path=nosuch.txt", "reads nosuch.txt, which does not exist"),
        ("corpus.pathh=x", "did you mean 'path'"),
        ("labels-1.clusterss=3", "did you mean 'clusters'"),
        ("labels-1.fit.startss=3", "fit.startss is not a setting; did you mean 'starts'"),
        ("labels-2.layer=0", "layer is 0"),
        ("labels-2.layer=4", "asks for layer 4 of hubert-1, and hubert-1-run trains 3"),
        ("labels-2.clusters=50", "counts on 200 clusters, and 'labels-2' gives 50"),
        (
            "hubert-run.stream.label_rate=100",
            "counts on 100 labels a second, and 'labels-2' gives 50",
        ),
        ("labels-1.layer=2", "has model None, layer 2"),
        ("hubert-run.train.stepss=3", "did you mean 'steps'"),
        ("report.split=tset", "did you mean 'test'"),
        ("report.beam=0", "a beam of 0 keeps nothing"),
    ],
)
def test_a_wrong_word_is_refused_by_name(word, said):
    with pytest.raises(UsageError) as told:
        pipeline.load(NAME, overrides=[word])
    assert said in str(told.value)


def test_words_change_what_they_name_and_nothing_else():
    plain, changed = (
        pipeline.load(NAME, overrides=given)
        for given in ((), ("hubert-run.train.steps=7", "labels-2.layer=1"))
    )
    stages = {
        stage.out: (stage, other) for stage, other in zip(plain.stage, changed.stage, strict=True)
    }
    differ = [out for out, (one, other) in stages.items() if one != other]
    assert differ == ["labels-2", "hubert-run"]
    label, train = stages["labels-2"][1], stages["hubert-run"][1]
    assert isinstance(label, LabelStage) and label.layer == 1
    assert train.overrides == ("train.steps=7",)
    assert not any(isinstance(stage, EvaluateStage) for stage in plain.stage)
    assert isinstance(plain.stage[-1], TranscribeStage)
