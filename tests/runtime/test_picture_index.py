"""The index: nothing is looked at twice, everything on disk is whole, and it is always up to date."""

from __future__ import annotations

import json
import os
import shutil

import numpy as np
import pytest
from filelock import FileLock
from tests.colour_world import COLOURS, ColourTowers, paint, pair, write_folder, write_pairs

from minna.corpus.pictures import open_picture
from minna.errors import ArtifactError, DataError
from minna.runtime import picture_index
from minna.runtime.picture_index import update_index
from minna.runtime.places import open_place


@pytest.fixture(autouse=True)
def _cache(tmp_path, monkeypatch):
    monkeypatch.setenv("MINNA_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(picture_index, "_PART", 5)


@pytest.fixture
def root(tmp_path):
    return write_folder(tmp_path / "in", each=2)


def holds(index, root):
    """Whether every row has the vector of its file."""
    towers = ColourTowers()
    files = sorted(file.relative_to(root).as_posix() for file in root.rglob("*.png"))
    assert sorted([row.path for row in index.rows] + list(index.bad)) == files
    images = [open_picture((root / row.path).read_bytes()) for row in index.rows]
    np.testing.assert_allclose(
        np.asarray(index.vectors, np.float32), towers.images(images), atol=2e-3
    )
    return True


def test_it_holds_every_picture_and_the_second_time_looks_at_none(root):
    towers = ColourTowers()
    first = update_index(open_place(root), towers)
    assert first.added == 16 == sum(towers.batches)
    assert holds(first, root)
    assert first.vectors.dtype == np.float16
    again = update_index(open_place(root), towers)
    assert (again.added, again.removed, sum(towers.batches)) == (0, 0, 16)
    assert again.rows == first.rows
    assert {file.name for file in first.folder.iterdir()} >= {"index.json", ".lock"}
    assert len(list(first.folder.glob("vectors-*.npy"))) == 1


def test_new_changed_moved_touched_and_removed_files_are_told_apart(root):
    towers = ColourTowers()
    update_index(open_place(root), towers)
    looked = sum(towers.batches)
    (root / "赤" / "0.png").unlink()
    (root / "new.png").write_bytes(paint("緑", seed=50))
    (root / "青" / "0.png").write_bytes(paint("赤", seed=51))
    os.replace(root / "緑" / "0.png", root / "moved.png")
    os.utime(root / "緑" / "1.png", ns=(5, 5))
    shutil.copy(root / "紫" / "0.png", root / "copy.png")
    index = update_index(open_place(root), towers)
    assert (index.added, sum(towers.batches) - looked) == (2, 2)
    assert index.removed == 2  # the one that is gone, and the old name of the one that moved
    assert holds(index, root)


def test_a_stopped_update_goes_on_where_it_was(root):
    class Stops(ColourTowers):
        def images(self, pictures):
            if sum(self.batches) >= 10:
                raise KeyboardInterrupt
            return super().images(pictures)

    from minna.runtime import picture_batches

    stops = Stops()
    place = open_place(root)
    kept = picture_batches._PICTURES
    picture_batches._PICTURES = 5
    try:
        with pytest.raises(KeyboardInterrupt):
            update_index(place, stops)
    finally:
        picture_batches._PICTURES = kept
    towers = ColourTowers()
    index = update_index(place, towers)
    assert sum(towers.batches) == index.added == 6
    assert holds(index, root)


def test_bad_files_are_told_once_and_not_tried_again(root, capsys):
    towers = ColourTowers()
    (root / "cut.png").write_bytes(paint("赤")[:50])
    (root / "text.png").write_text("hello", encoding="utf-8")
    index = update_index(open_place(root), towers)
    assert dict(index.new_bad) == {"cut.png": "damaged", "text.png": "not_a_picture"}
    assert "2 of 18 pictures are left out" in capsys.readouterr().err
    again = update_index(open_place(root), towers)
    assert again.new_bad == {}
    assert dict(again.bad) == dict(index.bad)
    assert capsys.readouterr().err == ""
    (root / "cut.png").write_bytes(paint("赤", seed=40))
    mended = update_index(open_place(root), towers)
    assert (mended.added, dict(mended.bad)) == (1, {"text.png": "not_a_picture"})


def test_another_model_or_kind_has_another_folder_and_a_chosen_one_is_refused(root, tmp_path):
    place = open_place(root)
    folder = tmp_path / "index"
    mine = update_index(place, ColourTowers(), folder=folder)
    assert mine.folder == folder
    for other in (
        lambda: update_index(place, ColourTowers("another"), folder=folder),
        lambda: update_index(place, ColourTowers(), folder=folder, kind="float32"),
        lambda: update_index(open_place(root / "赤"), ColourTowers(), folder=folder),
    ):
        with pytest.raises(ArtifactError, match="is an index with (model|kind|pictures)"):
            other()
    folders = {
        update_index(place, ColourTowers(), kind=kind).folder for kind in ("float16", "float32")
    } | {update_index(place, ColourTowers("another")).folder}
    assert len(folders) == 3


def test_nobodys_folder_is_written_into_and_two_do_not_write_one(root, tmp_path):
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "thesis.txt").write_text("years of work", encoding="utf-8")
    with pytest.raises(ArtifactError, match="no index of pictures"):
        update_index(open_place(root), ColourTowers(), folder=mine)
    assert [file.name for file in mine.iterdir()] == ["thesis.txt"]
    index = update_index(open_place(root), ColourTowers())
    with FileLock(index.folder / ".lock"), pytest.raises(ArtifactError, match="another process"):
        update_index(open_place(root), ColourTowers())


@pytest.mark.parametrize("name", ["files-*.parquet", "vectors-*.npy", "index.json"])
def test_a_damaged_index_is_refused_with_what_to_do(root, name):
    index = update_index(open_place(root), ColourTowers())
    (file,) = index.folder.glob(name)
    file.write_bytes(file.read_bytes()[:40])
    with pytest.raises(ArtifactError, match="cannot be read") as raised:
        update_index(open_place(root), ColourTowers())
    assert "remove that folder" in raised.value.remedy


def test_only_what_is_wanted_is_looked_at_and_more_can_follow(root):
    towers = ColourTowers()
    place = open_place(root)
    some = update_index(place, towers, wanted={"赤/0.png", "青/1.png"})
    assert [row.path for row in some.rows] == ["赤/0.png", "青/1.png"]
    every = update_index(place, towers)
    assert (every.added, len(every.rows)) == (14, 16)
    assert len(update_index(place, towers, wanted={"赤/0.png"}).rows) == 16
    assert holds(every, root)


def test_a_corpus_that_grew_costs_only_what_is_new(tmp_path):
    towers = ColourTowers()
    rows = [pair(k, colour) for k, colour in enumerate(COLOURS)]
    corpus = write_pairs(tmp_path / "pairs", rows)
    assert update_index(open_place(corpus), towers).added == 8
    write_pairs(corpus, [*rows[2:], pair(99, "赤", image=paint("赤", seed=99))])
    index = update_index(open_place(corpus), towers)
    assert (index.added, index.removed, len(index.rows)) == (1, 2, 7)
    assert index.rows[0].title == "緑の四角"


def test_nothing_at_all_is_refused(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="no picture in"):
        update_index(open_place(tmp_path / "empty"), ColourTowers())
    (tmp_path / "empty" / "a.png").write_bytes(b"no")
    for _ in range(2):
        with pytest.raises(DataError, match="none of the 1 pictures.*1 not a picture"):
            update_index(open_place(tmp_path / "empty"), ColourTowers())


def test_its_head_says_whose_it_is(root):
    towers = ColourTowers()
    index = update_index(open_place(root), towers)
    head = json.loads((index.folder / "index.json").read_text(encoding="utf-8"))
    assert (head["model"], head["model_name"], head["width"]) == (towers.digest, "colours", 8)
    assert head["pictures"] == root.as_posix()
