"""Where pictures lie: folders, tars and corpora give the same, and nothing else is touched."""

from __future__ import annotations

import os
import tarfile

import pytest
from tests.colour_world import paint, pair, write_folder, write_pairs

from minna.corpus import pictures
from minna.errors import ArtifactError, DataError, UsageError
from minna.runtime import places
from minna.runtime.picture_batches import opened
from minna.runtime.places import find_files, open_place


def paths(place):
    return [entry.path for entry in place.entries()]


def pack(folder, out, mode="w"):
    with tarfile.open(out, mode) as archive:
        archive.add(folder, arcname="val")
    return out


def test_a_folder_gives_its_pictures_by_name_and_leaves_the_rest(tmp_path):
    root = write_folder(tmp_path / "in", each=1, names=("青", "赤"))
    (root / "notes.txt").write_text("no picture", encoding="utf-8")
    (root / ".hidden.png").write_bytes(b"")
    (root / ".thumbs").mkdir()
    (root / ".thumbs" / "0.png").write_bytes(paint("赤"))
    (root / "B.JPG").write_bytes(paint("赤", kind="JPEG"))
    (root / "loop").symlink_to(root)
    if hasattr(os, "mkfifo"):
        os.mkfifo(root / "pipe.png")
    (root / "gone.png").symlink_to(tmp_path / "nowhere.png")
    place = open_place(root)
    assert paths(place) == ["B.JPG", "赤/0.png", "青/0.png"]
    (read,) = place.read(["赤/0.png"])
    assert read.data == paint("赤", seed=0)
    assert place.locate("赤/0.png") == root / "赤" / "0.png"


def test_a_stamp_changes_with_size_or_time(tmp_path):
    root = write_folder(tmp_path / "in", each=1, names=("青", "赤"))
    stamps = [entry.stamp for entry in open_place(root).entries()]
    os.utime(root / "赤" / "0.png", ns=(1, 2))
    changed = [entry.stamp for entry in open_place(root).entries()]
    assert stamps[0] != changed[0]
    assert stamps[1] == changed[1]


def test_a_name_that_is_no_utf8_is_shown_and_still_read(tmp_path):
    name = b"\x90\xd4.png"  # Shift_JIS
    try:
        (tmp_path / os.fsdecode(name)).write_bytes(paint("赤"))
    except OSError:
        pytest.skip("this file system takes only UTF-8 names")
    place = open_place(tmp_path)
    assert paths(place) == ["\\x90\\xd4.png"]
    (read,) = place.read(paths(place))
    assert read.data == paint("赤")


def test_a_tar_is_read_from_front_to_back_compressed_or_not(tmp_path):
    root = write_folder(tmp_path / "in", each=2, names=("青", "赤"))
    for name, mode in (("a.tar", "w"), ("b.tar.gz", "w:gz"), ("c.tar.xz", "w:xz")):
        place = open_place(pack(root, tmp_path / name, mode))
        assert sorted(paths(place)) == [
            "val/赤/0.png",
            "val/赤/1.png",
            "val/青/0.png",
            "val/青/1.png",
        ]
        read = list(place.read({"val/青/1.png", "val/赤/0.png", "val/none.png"}))
        assert {one.path: one.data for one in read} == {
            "val/青/1.png": paint("青", seed=1), "val/赤/0.png": paint("赤", seed=0),
        }  # fmt: skip


def test_a_cut_tar_says_where_it_ends(tmp_path):
    root = write_folder(tmp_path / "in", each=4, names=("青", "赤"))
    whole = pack(root, tmp_path / "a.tar.gz", "w:gz").read_bytes()
    (tmp_path / "cut.tar.gz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match="damaged after [1-7] pictures"):
        paths(open_place(tmp_path / "cut.tar.gz"))


def test_a_corpus_gives_its_pairs_by_id(tmp_path):
    corpus = write_pairs(tmp_path / "pairs", [pair(1, "赤"), pair(2, "青", split="train")])
    place = open_place(corpus)
    assert [(one.path, one.title) for one in place.entries()] == [
        (f"{1:016x}", "赤の四角"), (f"{2:016x}", "青の四角"),
    ]  # fmt: skip
    (read,) = place.read([f"{2:016x}"])
    assert read.data == paint("青", seed=2)
    assert list(place.read([])) == []


def test_what_is_no_place_is_refused(tmp_path):
    (tmp_path / "a.png").write_bytes(paint("赤"))
    for path, message in ((tmp_path / "none", "does not exist"), (tmp_path / "a.png", "neither")):
        with pytest.raises(UsageError, match=message):
            open_place(path)
    from minna import artifact

    with artifact.writing(tmp_path / "text", kind="corpus", settings={}) as draft:
        draft.count("documents", 1, "documents")
    with pytest.raises(ArtifactError, match="without pictures"):
        open_place(tmp_path / "text")


def test_bad_pictures_are_counted_by_what_they_are(tmp_path, monkeypatch):
    monkeypatch.setattr(places, "MOST_BYTES", 3000)
    good = paint("赤")
    files = {
        "a.png": good, "b.png": good[:60], "c.png": b"text", "d.png": b"", "e.png": paint("赤", size=1),
        "f.png": b"\0" * 3001,
    }  # fmt: skip
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    bad: dict[str, str] = {}
    place = open_place(tmp_path)
    contents = place.read([*paths(place), "vanished.png"])
    assert [content.path for content, _ in opened(contents, bad=bad)] == ["a.png"]
    assert bad == {
        "b.png": "damaged", "c.png": "not_a_picture", "d.png": "not_a_picture", "e.png": "too_small",
        "f.png": "too_large", "vanished.png": "unreadable",
    }  # fmt: skip
    assert places.SUFFIXES == pictures.SUFFIXES


def test_files_are_found_by_path_folder_and_pattern_each_once(tmp_path, monkeypatch):
    write_folder(tmp_path / "in", each=2, names=("青", "赤"))
    (tmp_path / "odd.dat").write_bytes(paint("赤"))
    monkeypatch.chdir(tmp_path)
    found = find_files(["in/青", "in/*/0.png", "odd.dat"])
    assert [file.as_posix() for file in found] == [
        "in/青/0.png",
        "in/青/1.png",
        "in/赤/0.png",
        "odd.dat",
    ]
    for nothing in ("none.png", "in/*.gif", "empty"):
        (tmp_path / "empty").mkdir(exist_ok=True)
        with pytest.raises(UsageError, match="no picture at"):
            find_files([nothing])
