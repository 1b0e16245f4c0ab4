"""`minna classify`, `search` and `embed` as they are called, right and wrong."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
from tests.cli.test_cli import run as call
from tests.colour_world import (
    COLOURS,
    ColourTowers,
    paint,
    pair,
    write_folder,
    write_model,
    write_pairs,
)

from minna.corpus.pictures import open_picture
from minna.evaluate.report import read_report
from minna.runtime import two_towers


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    """Call `minna ...` in a folder with a model of colours and some pictures."""
    monkeypatch.setenv("MINNA_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    opened = two_towers.open_two_towers

    def open_any(path, **more):
        return ColourTowers(path.name) if path.name == "model" else opened(path, **more)

    monkeypatch.setattr(two_towers, "open_two_towers", open_any)
    write_model(tmp_path / "model")
    write_folder(tmp_path / "in", each=2)
    (tmp_path / "in" / "cut.png").write_bytes(paint("赤")[:60])
    (tmp_path / "names.txt").write_text("\n".join(COLOURS), encoding="utf-8")
    return lambda command: call(command, monkeypatch, capsys)


@pytest.mark.parametrize("verb", ["classify", "search", "embed"])
def test_each_verb_has_help_with_a_real_example(verb, run):
    status, out, _ = run(f"minna {verb} --help")
    assert status == 0
    assert f"minna {verb}" in re.sub(r"\s+", " ", out).partition("Example")[2]


# ---- classify -------------------------------------------------------------------------------


def test_pictures_are_named_and_bad_ones_told(run):
    status, out, err = run(
        "minna classify model in/赤 in/cut.png 'in/青/*.png' --name 赤 --name 青 --name 緑 --top 2"
    )
    assert status == 0
    blocks = re.findall(r"^(\S+)\n((?:  .*\n?)+)", out, re.MULTILINE)
    assert [(path, names.split()[2]) for path, names in blocks] == [
        ("in/赤/0.png", "赤"), ("in/赤/1.png", "赤"), ("in/青/0.png", "青"), ("in/青/1.png", "青"),
    ]  # fmt: skip
    assert "1 of 5 pictures are left out; in/cut.png (damaged)" in err


def test_the_result_for_machines_says_the_same(run):
    status, out, _ = run("minna classify model in --names names.txt --templates drawings --json")
    result = json.loads(out)
    assert status == 0
    assert (result["templates"], result["classes"], len(result["pictures"])) == ("drawings", 8, 16)
    for one in result["pictures"]:
        assert len(one["guesses"]) == 5
        assert one["guesses"][0]["name"] == one["path"].split("/")[1]
    assert result["bad"] == [{"path": "in/cut.png", "problem": "damaged"}]


@pytest.mark.parametrize(
    ("command", "status", "message"),
    [
        ("model in/cut.png --names names.txt", 1, "none of the 1 pictures"),
        ("model in --name 赤", 1, "at least two classes"),
        ("model in", 2, "nobody said"),
        ("model --names names.txt", 2, "no picture to name"),
        ("model in --names names.txt --name 赤", 2, "--names and --name"),
        ("model nowhere.png --names names.txt", 2, "no picture at nowhere.png"),
        ("model in --names none.txt", 2, "does not exist"),
        ("model in --names names.txt --templates draw", 2, "no templates 'draw'"),
        (
            "model in --names names.txt --out r --retrieval",
            2,
            "--out, --retrieval goes with --data",
        ),
        ("model in --data in", 2, "both given"),
        ("model --data in --names names.txt", 2, "becomes a report"),
        ("model --data in --out r --split tests", 2, "did you mean 'test'"),
        ("model --data in --out r --retrieval --name 赤", 2, "own captions"),
        ("model --data nowhere --out r", 2, "does not exist"),
    ],
)
def test_a_wrong_call_says_what_is_wrong(run, command, status, message):
    found, out, err = run(f"minna classify {command}")
    assert (found, out) == (status, "")
    assert message in err


def test_a_measurement_writes_a_report(run, tmp_path):
    status, out, _ = run(
        "minna classify model --data in --names names.txt --templates drawings --probe in --out r"
    )
    assert status == 0
    report = read_report(tmp_path / "r")
    assert [task.name for task in report.tasks] == ["zero_shot_plain", "zero_shot", "linear_probe"]
    assert report.task("zero_shot").metrics["top_1"].value == 100
    assert "top 1" in out
    assert "look at r/report.html" in out
    assert run(
        "minna classify model --data in --names names.txt --templates drawings --out r2 --json"
    )[1].startswith("{")
    status, out, _ = run("minna compare r r2")
    assert status == 0
    assert "no clear difference" in out


def test_a_corpus_is_looked_through_both_ways(run, tmp_path):
    rows = [
        pair(k + 10 * (source == "b"), c, source=source)
        for source in "ab"
        for k, c in enumerate(COLOURS)
    ]
    write_pairs(tmp_path / "pairs", rows)
    status, out, _ = run(
        "minna classify model --data pairs --retrieval --sources a,b --out r --json"
    )
    assert status == 0
    result = json.loads(out)
    assert [task["n"] for task in result["tasks"]] == [8, 16]
    assert {task["metrics"]["recall_at_1"]["value"] for task in result["tasks"]} == {100}


# ---- search ---------------------------------------------------------------------------------


def test_a_search_finds_and_writes_a_page(run, tmp_path):
    command = "minna search in 緑の絵 in/赤/1.png --model model --top 3 --html found.html"
    status, out, err = run(command)
    assert status == 0
    assert out.startswith("16 pictures; 16 added, 1 that do not open")
    green, red = (part.splitlines() for part in out.split("\n\n")[1:3])
    assert green[0] == "緑の絵"
    assert {line.split()[1] for line in green[1:3]} == {"緑/0.png", "緑/1.png"}
    assert {line.split()[1] for line in red[1:3]} == {"赤/0.png", "赤/1.png"}
    assert "cut.png (damaged)" in err
    assert "data:image/jpeg" in (tmp_path / "found.html").read_text(encoding="utf-8")
    status, out, err = run(f"{command} --json")
    result = json.loads(out)
    assert (result["added"], result["bad"], result["new_bad"], err) == (0, 1, [], "")
    assert [len(one["hits"]) for one in result["queries"]] == [3, 3]


def test_a_chosen_index_is_used(run, tmp_path):
    status, out, _ = run("minna search in 赤 --model model --index idx --json")
    assert status == 0
    assert json.loads(out)["index"] == "idx"
    assert (tmp_path / "idx" / "index.json").is_file()
    assert run("minna search in/赤 赤 --model model --index idx")[0] == 1


@pytest.mark.parametrize(
    ("command", "status", "message"),
    [
        ("nowhere 赤 --model model", 2, "does not exist"),
        ("in missing.jpg --model model", 2, "called like a picture"),
        ("in ' ' --model model", 2, "empty text"),
        ("model 赤 --model model", 1, "no picture in model"),
    ],
)
def test_a_wrong_search_says_what_is_wrong(run, command, status, message):
    found, _, err = run(f"minna search {command}")
    assert found == status
    assert message in err


# ---- embed ----------------------------------------------------------------------------------


def test_texts_lines_and_pictures_become_vectors(run, tmp_path):
    (tmp_path / "lines.txt").write_text("赤\n\n青\n緑\n", encoding="utf-8")
    status, out, err = run("minna embed model --file lines.txt --out v.npy --json")
    assert (status, json.loads(out)["rows"]) == (0, 3)
    assert "1 empty lines" in err
    expected = ColourTowers("model").texts(["赤", "青", "緑"])
    np.testing.assert_allclose(np.load(tmp_path / "v.npy"), expected, atol=1e-6)
    assert run("minna embed model 赤 --out v.jsonl")[0] == 0
    (row,) = [json.loads(line) for line in (tmp_path / "v.jsonl").open(encoding="utf-8")]
    assert row["text"] == "赤"
    status, out, err = run("minna embed model --pictures in --out v.parquet --json")
    assert (status, json.loads(out)["rows"]) == (0, 16)
    assert "cut.png (damaged)" in err


def test_a_few_texts_are_compared_without_a_file(run):
    status, out, _ = run("minna embed model 赤 赤い 青 --json")
    cosines = np.array(json.loads(out)["cosines"])
    assert status == 0
    assert np.allclose(np.diag(cosines), 1)
    assert cosines[0, 1] > cosines[0, 2]


def test_sentence_pairs_are_measured(run, tmp_path):
    rows = [("赤い", "赤", 5), ("赤い", "青", 0), ("青い", "青", 5), ("青い", "水色", 3)]
    lines = [json.dumps({"sentence1": a, "sentence2": b, "label": s}) for a, b, s in rows]
    (tmp_path / "jsts.json").write_text("\n".join(lines), encoding="utf-8")
    status, out, _ = run("minna embed model --sts jsts.json --json")
    assert (status, json.loads(out)["pairs"]) == (0, 4)
    assert json.loads(out)["spearman"]["value"] > 0.7
    assert "Spearman" in run("minna embed model --sts jsts.json")[1]


@pytest.mark.parametrize(
    ("command", "status", "message"),
    [
        ("model", 2, "nothing was given"),
        ("model 赤 --file lines.txt --out v.npy", 2, "texts and --file was given"),
        ("model 赤 --out v.txt", 2, "does not say what"),
        ("model --file none.txt --out v.npy", 2, "does not exist"),
        ("model --pictures in", 2, "need a place"),
        ("model --sts names.txt --out v.npy", 2, "writes no vectors"),
        ("model --sts names.txt", 1, "1 columns"),
        ("model 赤 '' --out v.npy", 2, "empty text"),
        ("model --pictures model --out v.npy", 1, "no picture in model"),
    ],
)
def test_a_wrong_embedding_says_what_is_wrong(run, tmp_path, command, status, message):
    found, _, err = run(f"minna embed {command}")
    assert found == status
    assert message in err
    assert not (tmp_path / "v.npy").exists()


# ---- a real checkpoint ----------------------------------------------------------------------


def test_a_folder_of_rinnas_layout_serves_all_verbs(run, tmp_path):
    pytest.importorskip("transformers")
    from tests.runtime.tower_folders import write_rinna

    (tmp_path / "rinna").mkdir()
    write_rinna(tmp_path / "rinna", scores="cloob")
    towers = two_towers.open_two_towers(tmp_path / "rinna", device="cpu")
    status, out, _ = run(
        "minna classify rinna in --name 猫 --name 名前 --templates none --device cpu --json"
    )
    assert status == 0
    shown = {one["path"]: one["guesses"] for one in json.loads(out)["pictures"]}
    files = [tmp_path / path for path in shown]
    cosines = (
        towers.images([open_picture(file.read_bytes()) for file in files])
        @ towers.texts(["猫", "名前"]).T
    )
    for guesses, row in zip(shown.values(), cosines, strict=True):
        found = {guess["name"]: guess["cosine"] for guess in guesses}
        assert [found["猫"], found["名前"]] == pytest.approx(row.tolist(), abs=2e-5)
    status, out, _ = run("minna search in 猫 --model rinna --top 3 --json")
    (answer,) = json.loads(out)["queries"]
    best = sorted(
        ((round(score, 2), path) for path, (score, _) in zip(shown, cosines.tolist(), strict=True))
    )[-3:]
    assert [round(hit["score"], 2) for hit in answer["hits"]] == [score for score, _ in best[::-1]]
    assert run("minna classify rinna --data in --names names.txt --out r")[0] == 0
    assert read_report(tmp_path / "r").task("zero_shot").n == 16
    assert run("minna embed rinna 猫 --out v.npy")[0] == 0
    np.testing.assert_allclose(np.load(tmp_path / "v.npy"), towers.texts(["猫"]), atol=1e-6)
