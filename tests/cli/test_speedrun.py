"""`minna speedrun`: runs, records, tables, and what is refused."""

from __future__ import annotations

import json
import tomllib
from dataclasses import replace
from xml.etree import ElementTree as ET

import pytest
import torch
from tests.cli.test_cli import run
from tests.cli.toy_track import write_track

from minna import artifact, speedrun
from minna import recipe as recipes
from minna.errors import TrainingError, UsageError
from minna.evaluate import EvaluateSettings, evaluate, read_report
from minna.export import export_run
from minna.speedrun import machine as machines
from minna.speedrun import run as runs
from minna.speedrun.chart import line_chart
from minna.speedrun.record import Point
from minna.speedrun.table import Standing, _refuse_unlike
from minna.speedrun.track import recipe_of as speedrun_recipe


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Two records of one track: the plain recipe, and one with a change."""
    folder = tmp_path_factory.mktemp("speedrun")
    track = speedrun.load(str(write_track(folder)))
    work = folder / "work"
    speedrun.run_track(track, call=speedrun.Call(work=work), out=folder / "plain")
    changed = speedrun.Call(
        recipe="toy-gpt-neox", overrides=("train.steps=6",), work=work, what="half | the steps"
    )
    speedrun.run_track(track, call=changed, out=folder / "half")
    return folder


def test_a_record_says_what_was_reached_in_what_time_on_what(place):
    record = speedrun.read_record(place / "plain")
    assert (record.steps, record.tokens) == (12, 12 * 512)
    assert 0 < record.seconds < 300
    assert record.what == "toy-gpt-neox"
    assert record.recipe["train"]["minutes"] == 5
    assert len(record.curve) == 11
    assert (record.curve[0].tokens, record.curve[-1].tokens) == (0, 12 * 512)
    assert record.curve[-1].minutes == pytest.approx(record.seconds / 60, abs=1e-4)
    assert record.machine.threads == torch.get_num_threads()
    assert record.numerics["kernels"] in ("native", "torch")
    assert record.numerics["device"] == "cpu"
    assert record.outside_class == []
    manifest = artifact.read_manifest(place / "plain", kind="record")
    assert {parent.role for parent in manifest.parents} == {"run", "corpus", "tokenizer"}
    assert artifact.inspect(place / "plain")[1] == []
    assert manifest.licences[0].licence == "CC0-1.0"


def test_the_figure_is_that_of_evaluate_over_the_whole_held_out_split(place, tmp_path):
    corpus = next((place / "work").glob("corpus-*"))
    model = export_run(place / "plain" / "run", out=tmp_path / "model")
    evaluate(model, corpus=corpus, out=tmp_path / "report", settings=EvaluateSettings())
    task = read_report(tmp_path / "report").tasks[0]
    record = speedrun.read_record(place / "plain")
    assert record.bits_per_byte == pytest.approx(task.metrics[task.main].value, rel=1e-5)
    assert record.held_out.documents == task.n
    assert record.held_out.sha256 == task.data.sha256


def test_runs_of_one_work_folder_share_text_and_tokenizer(place):
    assert len(list((place / "work").glob("corpus-*"))) == 1
    assert len(list((place / "work").glob("tokenizer-*"))) == 1


def test_a_finished_record_is_left_as_it_is(place, capsys):
    track = speedrun.load(str(place / "toy-track.toml"))
    before = (place / "plain" / "minna.json").read_bytes()
    again = speedrun.run_track(track, call=speedrun.Call(work=place / "work"), out=place / "plain")
    assert (place / "plain" / "minna.json").read_bytes() == before
    assert again == speedrun.read_record(place / "plain")
    assert "made already" in capsys.readouterr().err


def test_compare_prints_the_table_and_draws_every_curve(place, tmp_path, monkeypatch, capsys):
    command = f"minna speedrun --compare {place / 'half'} {place / 'plain'} --out {tmp_path}"
    status, out, _ = run(command, monkeypatch, capsys)
    assert status == 0
    head, _, *rows = [line for line in out.splitlines() if line.startswith("|")]
    assert head.startswith("| rank | what | bits per byte |")
    figures = [float(row.split(" | ")[2]) for row in (r.replace(r"\|", "/") for r in rows)]
    assert figures == sorted(figures)
    assert [row.split(" | ")[0] for row in rows] == ["| 1", "| 2"]
    assert r"half \| the steps" in out
    drawn = ET.fromstring((tmp_path / "toy-track.svg").read_text(encoding="utf-8"))
    assert len(drawn.findall("{http://www.w3.org/2000/svg}polyline")) == 2


def test_the_verb_runs_prints_the_row_and_gives_json(place, monkeypatch, capsys):
    call = (
        f"minna speedrun train.steps=6 --track {place / 'toy-track.toml'} --work {place / 'work'}"
    )
    status, out, err = run(f"{call} --out {place / 'verb'} --what new", monkeypatch, capsys)
    assert status == 0, err
    assert "| 1 | new |" in out
    status, out, _ = run(f"{call} --out {place / 'verb'} --what new --json", monkeypatch, capsys)
    assert json.loads(out)["schema"] == 1


def test_a_machine_outside_the_class_has_no_rank(place, tmp_path, monkeypatch, capsys):
    one = speedrun.read_record(place / "plain")
    other = one.model_copy(update={"outside_class": ["1 threads of 2"], "bits_per_byte": 0.1})
    table = Standing(track="t", description="", records=(one, other)).table().splitlines()
    assert table[2].startswith("| 1 |")
    assert table[3].startswith("| – |") and "1 threads of 2" in table[3]
    large = speedrun.load(str(write_track(tmp_path, name="large", cores=4096)))
    assert machines.fit(large) == [f"{torch.get_num_threads()} threads of 4096"]
    assert "it gets no rank" in capsys.readouterr().err


def test_more_cores_than_the_class_has_are_left_alone(tmp_path, monkeypatch, capsys):
    track = speedrun.load(str(write_track(tmp_path, cores=2)))
    threads = [64]
    monkeypatch.setattr(machines.torch, "get_num_threads", lambda: threads[-1])
    monkeypatch.setattr(machines.torch, "set_num_threads", threads.append)
    assert machines.fit(track) == []
    assert threads == [64, 2]
    assert "limited to them" in capsys.readouterr().err


def test_a_kill_before_the_score_costs_only_the_score(tmp_path, monkeypatch):
    track = speedrun.load(str(write_track(tmp_path, more=("train.steps=2",))))
    score = runs._score

    def killed(*_args, **_kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(runs, "_score", killed)
    with pytest.raises(KeyboardInterrupt):
        speedrun.run_track(track, call=speedrun.Call(), out=tmp_path / "out")
    made = (tmp_path / "out" / "run" / "minna.json").read_bytes()
    assert not (tmp_path / "out" / "record.json").exists()
    monkeypatch.setattr(runs, "_score", score)
    assert speedrun.run_track(track, call=speedrun.Call(), out=tmp_path / "out").steps == 2
    assert (tmp_path / "out" / "run" / "minna.json").read_bytes() == made


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        ("--track cpu-10min-tatoba --out x", 2, "did you mean 'cpu-10min-tatoeba'"),
        ("--track cpu-10min-aozora --out x", 2, "give it with --aozora"),
        ("--track cpu-10min-aozora --aozora nosuch.tar.xz --out x", 1, "does not exist"),
        ("--track cpu-10min-tatoeba --aozora a.tar.xz --out x", 2, "leave --aozora out"),
        ("nosuch --out x", 2, "no recipe 'nosuch'"),
        ("train.minutes=20 --out x", 2, "belongs to track cpu-10min-tatoeba"),
        ("train.device=cuda --out x", 2, "belongs to track cpu-10min-tatoeba"),
        ("model.context=32 --out x", 2, "exceeds model.context 32"),
        ("optim.lrr=1 --out x", 2, "did you mean"),
        ("toy-gpt-neox toy-gpt2 --out x", 2, "section.key=value"),
        ("toy-gpt-neox", 2, "give --out DIR"),
        ("--compare", 2, "needs the directories of records"),
        ("--compare nosuch", 1, "does not exist"),
    ],
)
def test_a_wrong_call_is_refused_and_leaves_nothing(
    words, status, said, monkeypatch, capsys, tmp_path
):
    monkeypatch.chdir(tmp_path)
    code, out, err = run(f"minna speedrun {words}", monkeypatch, capsys)
    assert (code, said in err) == (status, True), err
    assert "Traceback" not in out + err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("minutes = 5", "minutes = 0", "minutes is 0"),
        ("minutes = 5", "minutes = 5\nminits = 6", "did you mean 'minutes'"),
        ("minutes = 5", "minutes = inf", "minutes is inf"),
        ("cores = 1", "cores = 0", "machine.cores is 0"),
        ('device = "cpu"', 'device = "tpu"', "machine.device is 'tpu'"),
        ('documents = "line"', 'documets = "line"', "did you mean 'documents'"),
        ('recipe = "toy-gpt-neox"', 'recipe = "toy-gtp"', "no recipe"),
        ("[machine]", "[machine", "is not TOML"),
    ],
)
def test_a_track_of_ones_own_is_checked_whole(old, new, said, monkeypatch, capsys, tmp_path):
    file = write_track(tmp_path)
    text = file.read_text(encoding="utf-8")
    assert old in text
    file.write_text(text.replace(old, new), encoding="utf-8")
    status, _, err = run(
        f"minna speedrun --track {file} --out {tmp_path / 'x'}", monkeypatch, capsys
    )
    assert (status, said in err) == (2, True), err
    assert not (tmp_path / "x").exists()


def test_a_gpu_track_without_a_gpu_is_refused(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(machines.torch.cuda, "is_available", lambda: False)
    (tmp_path / "a.tar.xz").write_bytes(b"")
    command = f"minna speedrun --track h100-10min-aozora --aozora {tmp_path / 'a.tar.xz'}"
    status, _, err = run(f"{command} --out {tmp_path / 'x'}", monkeypatch, capsys)
    assert (status, "torch sees none" in err) == (2, True)
    assert not (tmp_path / "x").exists()


def test_a_directory_of_something_else_or_of_another_track_is_refused(
    place, monkeypatch, capsys, tmp_path
):
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "letter.txt").write_text("dear", encoding="utf-8")
    same = write_track(tmp_path, minutes=6)
    other = write_track(tmp_path, name="other")
    cases = [
        (place / "toy-track.toml", "", mine, "is no speed run (it holds letter.txt)"),
        (same, "", place / "plain", "of track 'toy-track' with other rules"),
        (other, "", place / "plain", "of track 'toy-track', not 'other'"),
        (place / "toy-track.toml", "optim.lr=1e-3", place / "plain", "optim.lr was 0.008"),
    ]
    for track, words, out, said in cases:
        work = f"--work {place / 'work'}"
        status, _, err = run(
            f"minna speedrun {words} --track {track} {work} --out {out}", monkeypatch, capsys
        )
        assert (status, said in err) == (1, True), err
    assert (mine / "letter.txt").read_text(encoding="utf-8") == "dear"
    corpus = next((place / "work").glob("corpus-*"))
    status, _, err = run(f"minna speedrun --compare {corpus}", monkeypatch, capsys)
    assert (status, "is a corpus" in err) == (1, True)


def test_records_of_other_rules_or_other_text_are_not_compared(place):
    one = speedrun.read_record(place / "plain")
    longer = one.model_copy(update={"track": one.track | {"minutes": 9.0}})
    text = one.held_out.model_copy(update={"sha256": "0" * 64})
    elsewhere = one.model_copy(update={"held_out": text})
    with pytest.raises(UsageError, match=r"other rules \(minutes\)"):
        _refuse_unlike([(place, one), (place, longer)])
    with pytest.raises(UsageError, match="another held-out text"):
        _refuse_unlike([(place, one), (place, elsewhere)])


def test_a_run_is_prolonged_by_minutes_and_never_cut_short(place, tmp_path):
    track = speedrun.load(str(place / "toy-track.toml"))
    words = ("train.steps=2", "train.save_every=1", "train.evaluate_every=2")
    of = {"corpus": "corpus-*", "tokenizer": "tokenizer-*"}
    inputs = {role: next((place / "work").glob(name)) for role, name in of.items()}

    def recipe(minutes, *more):
        changed = replace(track, minutes=minutes)
        return speedrun_recipe(changed, name=None, overrides=(*words, *more))

    recipes.run_recipe(recipe(1.0), **inputs, out=tmp_path / "run")
    with pytest.raises(TrainingError, match=r"has had .* and train\.minutes is 1e-09"):
        recipes.run_recipe(recipe(1e-9), **inputs, out=tmp_path / "run")
    recipes.run_recipe(recipe(2.0, "train.steps=3"), **inputs, out=tmp_path / "run")
    assert artifact.read_manifest(tmp_path / "run").counts["steps"].value == 3


def test_tracks_are_listed_and_printed_whole(monkeypatch, capsys):
    _, out, _ = run("minna list tracks --json", monkeypatch, capsys)
    assert set(json.loads(out)) == set(speedrun.names())
    for name in speedrun.names():
        assert tomllib.loads(speedrun.source(name))["name"] == name
    _, out, _ = run("minna list tracks cpu-10min-aozora", monkeypatch, capsys)
    assert out.rstrip() == speedrun.source("cpu-10min-aozora").rstrip()


def test_a_chart_holds_its_curves_and_their_labels():
    fall = [Point(minutes=m, tokens=m, bits_per_byte=3 / (m + 1)) for m in range(11)]
    flat = [Point(minutes=m, tokens=m, bits_per_byte=1.0) for m in range(11)]
    many = {f"run <{number}>": fall for number in range(7)} | {"flat": flat}
    drawn = line_chart(many, title="十分 & more")
    parsed = ET.fromstring(drawn)
    assert len(parsed.findall("{http://www.w3.org/2000/svg}polyline")) == 8
    assert "run &lt;6&gt;" in drawn and "十分 &amp; more" in drawn
    assert "no looks" in line_chart({"empty": []}, title="")
    assert ET.fromstring(line_chart({"one": fall[:1]}, title="")) is not None
