"""Reports on pictures: figures that can be counted by hand, names that are not guessed, safe pages."""

from __future__ import annotations

import json
import re
import tarfile
from collections import Counter

import numpy as np
import pytest
from tests.colour_world import (
    COLOURS,
    ColourTowers,
    paint,
    pair,
    write_folder,
    write_model,
    write_pairs,
)

from minna import artifact
from minna.artifact.verify import verify
from minna.errors import ArtifactError, DataError
from minna.evaluate import compare
from minna.evaluate.pictures import ZeroShotSettings, evaluate_zero_shot, read_class_figures
from minna.evaluate.pictures_data import read_labelled
from minna.evaluate.pictures_retrieval import RetrievalSettings, evaluate_retrieval
from minna.evaluate.report import read_items, read_report
from minna.evaluate.subject import open_subject
from minna.metrics.share import wilson
from minna.runtime.class_names import PictureClass, Templates, classes_of

TEMPLATES = Templates(title="made", texts=("{}の絵", "{}のイラスト", "小さい{}"))


@pytest.fixture(autouse=True)
def _cache(tmp_path, monkeypatch):
    monkeypatch.setenv("MINNA_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def model(tmp_path):
    return open_subject(write_model(tmp_path / "colours"), server=None).parent


def named(*colours):
    return classes_of(list(colours) or list(COLOURS))


def zero_shot(model, data, out, *, classes=None, towers=None, **settings):
    settings = ZeroShotSettings(**{"templates": TEMPLATES, "split": "test", **settings})
    return evaluate_zero_shot(
        towers or ColourTowers(),
        model=model,
        data=data,
        out=out,
        classes=classes,
        settings=settings,
    )


# ---- what a picture is of -------------------------------------------------------------------


def test_folders_are_matched_by_id_then_by_name_and_strangers_are_told(tmp_path, capsys):
    root = write_folder(
        tmp_path / "in", folders={"赤": "n1", "水色": "か\u3099水色", "黒": "stranger"}
    )
    classes = (
        PictureClass(id="n1", names=("赤", "レッド")),
        PictureClass(id="n2", names=("が水色",)),  # composed here, taken apart on disk
        PictureClass(id="n3", names=("青", "ブルー")),
        PictureClass(id="青くない", names=("緑",)),
    )
    found = read_labelled(root, classes=classes)
    assert Counter(one.label for one in found.pictures) == {0: 3, 1: 3, 2: 3, 3: 3}
    assert found.left_out == {"stranger": 3, "黄色": 3, "紫": 3, "茶色": 3}
    assert "12 pictures are left out" in capsys.readouterr().err


def test_a_name_of_two_classes_labels_nothing(tmp_path):
    root = write_folder(tmp_path / "in", names=("赤", "青"))
    classes = [
        PictureClass(id=one, names=(name,)) for one, name in (("a", "赤"), ("b", "赤"), ("c", "青"))
    ]
    assert {one.label for one in read_labelled(root, classes=classes).pictures} == {2}


def test_a_plain_list_of_as_many_names_goes_by_order_and_says_so(tmp_path, capsys):
    folders = {name: f"n{number:02d}" for number, name in enumerate(COLOURS)}
    root = write_folder(tmp_path / "in", folders=folders)
    found = read_labelled(root, classes=named())
    assert {(one.path.split("/")[0], one.label) for one in found.pictures} == {
        (f"n{number:02d}", number) for number in range(8)
    }
    assert "in order of name" in capsys.readouterr().err
    with pytest.raises(DataError, match="no picture .* is of any of the 3 classes"):
        read_labelled(root, classes=named("赤", "青", "緑"))


def test_a_tar_and_a_folder_are_labelled_alike(tmp_path):
    root = write_folder(tmp_path / "val")
    with tarfile.open(tmp_path / "val.tar", "w") as archive:
        archive.add(root, arcname=".")
    of_tar, of_folder = (
        read_labelled(path, classes=named()) for path in (tmp_path / "val.tar", root)
    )
    assert sorted((one.path.removeprefix("./"), one.label) for one in of_tar.pictures) == sorted(
        (one.path, one.label) for one in of_folder.pictures
    )


def test_concepts_of_a_corpus_are_its_classes(tmp_path):
    rows = [pair(k, colour, source=source) for k, (colour, source) in enumerate(
        (colour, source) for source in ("one", "two") for colour in ("赤", "青", "緑")
    )] + [pair(90, "黒", concept=""), pair(91, "紫", split="train")]  # fmt: skip
    found = read_labelled(write_pairs(tmp_path / "pairs", rows), split="test")
    assert [(one.id, one.name) for one in found.classes] == [
        ("赤", "赤"),
        ("青", "青"),
        ("緑", "緑"),
    ]
    assert [(one.source, one.group) for one in found.pictures[:1]] == [("one", "赤")]
    assert found.left_out == {"黒": 1}
    with pytest.raises(DataError, match="no picture of three") as raised:
        read_labelled(tmp_path / "pairs", split="test", sources=("three",))
    assert "one, two" in raised.value.remedy


# ---- zero-shot reports ----------------------------------------------------------------------


@pytest.fixture
def mixed(tmp_path):
    """Folders in which some pictures show another colour: what is wrong is known."""
    root = write_folder(tmp_path / "in", each=4)
    (root / "赤" / "0.png").write_bytes(paint("青", seed=60))
    (root / "赤" / "1.png").write_bytes(paint("青", seed=61))
    (root / "緑" / "0.png").write_bytes(paint("黒", seed=62))
    (root / "紫" / "cut.png").write_bytes(paint("紫")[:40])
    (root / "other").mkdir()
    (root / "other" / "0.png").write_bytes(paint("紫"))
    return root


def test_the_figures_are_those_counted_by_hand(mixed, model, tmp_path):
    done = zero_shot(model, mixed, tmp_path / "report", classes=named())
    report = read_report(done)
    assert [task.name for task in report.tasks] == ["zero_shot_plain", "zero_shot"]
    for task in report.tasks:
        metric = task.metrics["top_1"]
        assert (task.n, task.main, metric.value) == (32, "top_1", pytest.approx(100 * 29 / 32))
        low, high = wilson(29, 32)
        assert (metric.low, metric.high) == pytest.approx((100 * low, 100 * high))
        assert task.metrics["mean_per_class"].value == pytest.approx(100 * (6 + 0.5 + 0.75) / 8)
        assert "top_10" not in task.metrics  # there are 8 classes
        told = task.conditions
        assert (told["classes"], told["chance_top_1"], told["bad_pictures"]) == (8, 12.5, 1)
        assert told["pictures_of_no_class"] == 1
    items = read_items(done, "zero_shot")
    wrong = {
        item["id"]: (item["gold"], item["prediction"])
        for item in items
        if not item["scores"]["top_1"]
    }
    assert wrong == {
        "赤/0.png": (["赤"], "青"), "赤/1.png": (["赤"], "青"), "緑/0.png": (["緑"], "黒"),
    }  # fmt: skip
    figures = read_class_figures(done)
    assert figures["confusions"][0] == {"gold": "0", "guess": "1", "count": 2}
    assert {one["name"]: one["right"] for one in figures["classes"]}["赤"] == 2
    verify(done)


def test_templates_and_name_alone_are_different_classifiers(mixed, model, tmp_path):
    report = read_report(zero_shot(model, mixed, tmp_path / "report", classes=named()))
    plain, filled = report.tasks
    assert (plain.prompt, filled.prompt) == ("", "made")
    assert plain.hashes != filled.hashes
    (only,) = read_report(
        zero_shot(
            model,
            mixed,
            tmp_path / "plain",
            classes=named(),
            templates=Templates(title="none", texts=("{}",)),
        )
    ).tasks
    assert only.hashes == plain.hashes
    assert only.metrics == plain.metrics


def test_the_same_work_is_not_done_twice_and_other_names_cost_no_look(
    mixed, model, tmp_path, capsys
):
    towers = ColourTowers()
    zero_shot(model, mixed, tmp_path / "report", classes=named(), towers=towers)
    looked, before = sum(towers.batches), (tmp_path / "report" / "report.json").read_bytes()
    capsys.readouterr()
    zero_shot(model, mixed, tmp_path / "report", classes=named(), towers=towers)
    assert "already" in capsys.readouterr().err
    assert (tmp_path / "report" / "report.json").read_bytes() == before
    zero_shot(
        model, mixed, tmp_path / "other", classes=named("赤", "青", "緑", "紫"), towers=towers
    )
    assert sum(towers.batches) == looked
    (mixed / "赤" / "2.png").write_bytes(paint("赤", seed=70))
    zero_shot(model, mixed, tmp_path / "report", classes=named(), towers=towers)
    assert sum(towers.batches) == looked + 1
    assert (tmp_path / "report" / "report.json").read_bytes() != before


def test_equal_names_are_a_ceiling_and_are_told(model, tmp_path):
    root = write_folder(
        tmp_path / "in",
        names=("赤", "青", "緑", "紫"),
        folders=dict(zip("赤青緑紫", "abcd", strict=True)),
    )
    classes = [
        PictureClass(id=one, names=(name,)) for one, name in zip("abcd", "赤赤緑紫", strict=True)
    ]
    (root / "b" / "0.png").write_bytes(paint("赤", seed=30))
    done = zero_shot(model, root, tmp_path / "report", classes=classes)
    task = read_report(done).task("zero_shot")
    assert task.conditions["ceiling_top_1"] == 75
    assert task.conditions["such_names"] == "赤 (a, b)"
    assert task.metrics["top_1"].value == 75  # it is reached
    assert (
        "赤"
        in (done / "report.html")
        .read_text(encoding="utf-8")
        .partition("Names of several classes")[2]
    )


def test_sources_and_groups_of_a_corpus_stand_in_the_report(model, tmp_path):
    rows = [
        pair(100 * (source == "two") + k, colour, source=source,
             image=paint("黒" if source == "two" and k < 4 else colour, seed=k + 500))
        for source in ("one", "two") for k, colour in enumerate(COLOURS)
    ]  # fmt: skip
    done = zero_shot(model, write_pairs(tmp_path / "pairs", rows), tmp_path / "report")
    task = read_report(done).task("zero_shot")
    assert (task.n, task.conditions["groups"]) == (16, 8)
    assert task.sources["one"].metrics["top_1"].value == 100
    assert task.sources["two"].metrics["top_1"].value == 50
    assert task.metrics["mean_per_class"].low is None  # pictures of a concept are not independent
    assert artifact.read_manifest(done).licences[0].licence == "CC0-1.0"
    assert {one.role for one in artifact.read_manifest(done).parents} == {"model", "corpus"}
    one = zero_shot(model, tmp_path / "pairs", tmp_path / "one", sources=("one",))
    assert read_report(one).task("zero_shot").n == 8


def test_a_probe_stands_beside_it_where_there_are_pictures_to_train_on(
    mixed, model, tmp_path, capsys
):
    train = tmp_path / "train"
    for number, colour in enumerate(COLOURS):
        (train / colour).mkdir(parents=True)
        for seed in range(5):
            (train / colour / f"{seed}.png").write_bytes(
                paint(colour, seed=200 + 10 * number + seed)
            )
    (train / "赤" / "same.png").write_bytes((mixed / "赤" / "3.png").read_bytes())
    done = zero_shot(model, mixed, tmp_path / "report", classes=named(), probe=train)
    task = read_report(done).task("linear_probe")
    assert task.metrics["top_1"].value == pytest.approx(100 * 29 / 32)
    assert (task.conditions["trained_on"], task.conditions["trained_on_scored_pictures"]) == (41, 1)
    assert "1 of 32 scored pictures are among those" in capsys.readouterr().err
    assert len(read_items(done, "linear_probe")) == 32


def test_two_models_are_compared_picture_by_picture(mixed, tmp_path):
    reports = []
    for name, noise in (("good", 0.05), ("noisy", 6.0)):
        parent = open_subject(write_model(tmp_path / name), server=None).parent
        towers = ColourTowers(name, noise)
        reports.append(
            zero_shot(parent, mixed, tmp_path / f"r-{name}", classes=named(), towers=towers)
        )
    found = compare(reports)
    assert [entry.task.name for entry in found.tasks] == ["zero_shot_plain", "zero_shot"]
    for entry in found.tasks:
        first, second = (row.metrics["top_1"].value for row in entry.rows)
        assert entry.rows[1].difference.value == pytest.approx(second - first)
    assert "Zero-shot" in found.tasks[0].task.title["en"]


def test_the_page_stands_alone_and_nothing_breaks_out_of_it(model, tmp_path):
    evil = "</style><script>alert(1)</script>\"'&"
    root = write_folder(tmp_path / "in", each=30)
    for seed in range(29):
        (root / "赤" / f"{seed}.png").write_bytes(paint("青", seed=100 + seed))
    (root / "赤" / "<b>.png").write_bytes(paint("青", seed=3))
    classes = (PictureClass(id="赤", names=(f"赤{evil}",)), *named("青", "緑", "黄色", "紫"))
    done = zero_shot(model, root, tmp_path / "report", classes=classes, towers=ColourTowers(evil))
    text = (done / "report.html").read_text(encoding="utf-8")
    assert "<script" not in text
    assert text.count("</style>") == 1
    assert not re.search(r'(src|href)="(?!data:image/jpeg;base64,)', text)
    assert "http" not in text.replace("http://www.w3.org", "")
    assert text.count("<img src=") == 30  # every wrong one of so few
    for words in ("What was taken for what", "Confused most often", "Not scored", "Wrong pictures"):
        assert words in text


def test_nothing_to_score_is_refused(model, tmp_path):
    (tmp_path / "in" / "赤").mkdir(parents=True)
    with pytest.raises(DataError):
        zero_shot(model, tmp_path / "in", tmp_path / "report", classes=named())
    (tmp_path / "in" / "赤" / "0.png").write_bytes(b"no")
    with pytest.raises(DataError, match="none of the 1 pictures"):
        zero_shot(model, tmp_path / "in", tmp_path / "report", classes=named())
    assert not (tmp_path / "report").exists()


# ---- retrieval reports ----------------------------------------------------------------------


def looked(model, data, out, towers=None, **settings):
    return evaluate_retrieval(
        towers or ColourTowers(),
        model=model,
        data=data,
        out=out,
        settings=RetrievalSettings(**settings),
    )


@pytest.fixture
def pairs(tmp_path):
    rows = [
        pair(10 * number + k, colour, source=source, split="test" if k < 8 else "valid")
        for number, source in enumerate(("one", "two"))
        for k, colour in enumerate(COLOURS)
    ]
    return write_pairs(tmp_path / "pairs", [*rows, pair(99, "赤", split="train", source="three")])


def test_two_pictures_of_a_concept_are_both_right(pairs, model, tmp_path):
    report = read_report(looked(model, pairs, tmp_path / "report"))
    text, picture = report.task("text_to_image"), report.task("image_to_text")
    assert (text.n, picture.n) == (8, 16)
    assert (text.conditions["candidates"], picture.conditions["candidates"]) == (16, 8)
    assert text.metrics["recall_at_1"].value == picture.metrics["recall_at_1"].value == 100
    assert text.metrics["median_rank"].value == 1
    assert text.conditions["chance_recall_at_1"] == pytest.approx(100 * 2 / 16)
    assert picture.conditions["chance_recall_at_1"] == pytest.approx(100 / 8)
    assert text.conditions["groups"] == 8


def test_a_wrong_picture_costs_what_it_should(model, tmp_path):
    rows = [pair(k, colour) for k, colour in enumerate(COLOURS)]
    rows[0] = pair(0, "赤", image=paint("青", seed=5))  # said to be red, is blue
    done = looked(model, write_pairs(tmp_path / "pairs", rows), tmp_path / "report")
    report = read_report(done)
    assert report.task("image_to_text").metrics["recall_at_1"].value == 100 * 7 / 8
    wrong = [
        item for item in read_items(done, "image_to_text") if not item["scores"]["recall_at_1"]
    ]
    assert [(item["id"], item["gold"], item["prediction"]) for item in wrong] == [
        (f"{0:016x}", ["赤"], "青")
    ]
    ranks = [
        1 / item["scores"]["mean_reciprocal_rank"] for item in read_items(done, "image_to_text")
    ]
    assert report.task("image_to_text").metrics["mean_reciprocal_rank"].value == pytest.approx(
        np.mean([1 / rank for rank in ranks])
    )


def test_cells_are_chosen_by_split_and_source(pairs, model, tmp_path):
    for number, (split, sources, n) in enumerate(
        [("test", ("two",), 8), ("test", (), 16), ("train", (), 1), ("all", ("one", "three"), 9)]
    ):
        done = looked(model, pairs, tmp_path / f"r{number}", split=split, sources=sources)
        assert read_report(done).task("image_to_text").n == n
    with pytest.raises(DataError, match="'valid' .* has no picture"):
        looked(model, pairs, tmp_path / "none", split="valid")


def test_all_captions_are_queries_and_equal_ones_are_one(pairs, model, tmp_path):
    report = read_report(looked(model, pairs, tmp_path / "report", captions="all"))
    assert (
        report.task("text_to_image").n == 16
    )  # eight names, eight sentences, of two pictures each


def test_without_concepts_a_text_belongs_to_its_pictures(model, tmp_path):
    rows = [pair(k, colour, concept="") for k, colour in enumerate(("赤", "青", "赤"))]
    done = looked(model, write_pairs(tmp_path / "pairs", rows), tmp_path / "report")
    items = read_items(done, "text_to_image")
    assert [(item["id"], len(item["gold"])) for item in items] == [("赤", 2), ("青", 1)]


def test_its_page_stands_alone(pairs, model, tmp_path):
    done = looked(model, pairs, tmp_path / "report", towers=ColourTowers("<script>x"))
    text = (done / "report.html").read_text(encoding="utf-8")
    assert "<script" not in text
    assert not re.search(r'(src|href)="(?!data:image/jpeg;base64,)', text)
    assert text.count('<li class="right">') == 16  # both pictures of each of eight texts
    assert json.loads((done / "report.json").read_text(encoding="utf-8"))["mode"] == "fixed"
    verify(done)


def test_a_folder_has_no_captions(model, tmp_path):
    root = write_folder(tmp_path / "in", each=1)
    with pytest.raises(ArtifactError):
        looked(model, root, tmp_path / "report")
