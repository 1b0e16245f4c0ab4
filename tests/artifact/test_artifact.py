"""Directories with a manifest: whole or not at all, checked, never mixed up."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest

from minna import artifact
from minna.artifact import atomic, files
from minna.artifact.manifest import Manifest
from minna.artifact.schemas.__main__ import schema_text
from minna.artifact.verify import require_parents, verify
from minna.errors import ArtifactError


def make(out: Path, *, text: str = "みんな", settings=None, parents=None, kind="corpus") -> Path:
    with artifact.writing(out, kind=kind, settings=settings or {"a": 1}, parents=parents) as draft:
        (draft.path / "data").mkdir(exist_ok=True)
        (draft.path / "data" / "x.txt").write_text(text, encoding="utf-8")
        draft.count("documents", 1, "documents")
    return out


def test_a_directory_appears_whole_with_hashes_and_nothing_beside_it(tmp_path):
    out = make(tmp_path / "c")
    manifest, findings = artifact.inspect(out)
    assert findings == []
    assert list(manifest.files) == ["data/x.txt"]
    assert manifest.counts["documents"].unit == "documents"
    assert {path.name for path in tmp_path.iterdir()} <= {"c", ".c.lock"}


def test_the_manifest_follows_its_published_schema(tmp_path):
    folder = Path(artifact.__file__).parent / "schemas"
    text = (folder / "manifest.json").read_text(encoding="utf-8")
    assert text == schema_text(), "run: python -m minna.artifact.schemas"
    content = json.loads((make(tmp_path / "c") / "minna.json").read_text(encoding="utf-8"))
    jsonschema.validate(content, json.loads(text))
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(content | {"kind": "cake"}, json.loads(text))


def test_an_error_while_writing_leaves_the_old_directory_and_the_work_so_far(tmp_path):
    out = make(tmp_path / "c")
    before = (out / "minna.json").read_bytes()
    with (
        pytest.raises(ValueError, match="halt"),
        artifact.writing(out, kind="corpus", settings={"a": 2}) as draft,
    ):
        (draft.path / "half.txt").write_text("half", encoding="utf-8")
        raise ValueError("halt")
    assert (out / "minna.json").read_bytes() == before
    with artifact.writing(out, kind="corpus", settings={"a": 2}) as draft:
        assert draft.resumed and (draft.path / "half.txt").is_file()
    assert artifact.read_manifest(out).settings == {"a": 2}


def test_a_draft_of_other_settings_is_not_gone_on_with(tmp_path):
    out = tmp_path / "c"
    with (
        pytest.raises(ValueError),
        artifact.writing(out, kind="corpus", settings={"a": 1}) as draft,
    ):
        (draft.path / "half.txt").write_text("half", encoding="utf-8")
        raise ValueError
    with artifact.writing(out, kind="corpus", settings={"a": 2}) as draft:
        assert not draft.resumed and not (draft.path / "half.txt").exists()


KILLED = """
import os, sys
from pathlib import Path
from minna import artifact
from minna.artifact import atomic
real = os.replace
count = {"n": int(sys.argv[2])}
def replace(a, b):
    if count["n"] == 0:
        os._exit(9)
    count["n"] -= 1
    real(a, b)
os.replace = replace
with artifact.writing(Path(sys.argv[1]), kind="corpus", settings={"a": 2}) as draft:
    (draft.path / "new.txt").write_text("new")
"""


@pytest.mark.parametrize("renames", [0, 1, 2])
def test_killed_between_any_two_renames_one_whole_version_is_there(tmp_path, renames):
    out = make(tmp_path / "c")
    killed = subprocess.run([sys.executable, "-c", KILLED, str(out), str(renames)], check=False)
    assert killed.returncode == 9
    atomic.recover(out)
    _, findings = artifact.inspect(out)
    assert findings == []
    make(out, settings={"a": 3})
    assert artifact.read_manifest(out).settings == {"a": 3}
    assert not (tmp_path / ".c.old").exists()


def test_a_full_disk_is_said_so_and_loses_nothing(tmp_path, monkeypatch):
    out = make(tmp_path / "c")

    def full(_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(files.os, "fsync", full)
    with pytest.raises(ArtifactError, match="disk is full"):
        make(out, settings={"a": 2})
    monkeypatch.undo()
    assert artifact.read_manifest(out).settings == {"a": 1}
    file = tmp_path / "note.txt"
    file.write_text("old", encoding="utf-8")
    monkeypatch.setattr(files.os, "fsync", full)
    with pytest.raises(ArtifactError, match="disk is full"):
        files.write_text_atomically(file, "new")
    assert file.read_text(encoding="utf-8") == "old"
    assert [path.name for path in tmp_path.iterdir() if path.name.endswith(".tmp")] == []


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda f: f.unlink(), "is missing"),
        (lambda f: f.write_bytes(f.read_bytes()[:-1]), "bytes, not"),
        (lambda f: f.write_bytes(f.read_bytes()[:-1] + b"!"), "has changed"),
    ],
)
def test_every_kind_of_damage_is_found_and_refused(tmp_path, damage, words):
    out = make(tmp_path / "c")
    damage(out / "data" / "x.txt")
    _, findings = artifact.inspect(out)
    assert len(findings) == 1 and words in findings[0].what and findings[0].level == "error"
    with pytest.raises(ArtifactError, match="is damaged"):
        verify(out)


def test_a_parent_that_is_gone_or_made_again_is_reported(tmp_path):
    parent = make(tmp_path / "p")
    parents = [artifact.parent_of(parent, role="corpus", kind="corpus")]
    child = make(tmp_path / "c", parents=parents)
    manifest, findings = artifact.inspect(child)
    assert findings == []
    make(parent, settings={"a": 9})
    assert "made again" in artifact.inspect(child)[1][0].what
    parent.rename(tmp_path / "elsewhere")
    assert "is gone" in artifact.inspect(child)[1][0].what
    with pytest.raises(ArtifactError, match="provenance"):
        require_parents(child, manifest)


def test_a_slip_in_out_cannot_delete_somebodys_work(tmp_path):
    mine = tmp_path / "thesis"
    mine.mkdir()
    (mine / "chapter1.txt").write_text("years of work", encoding="utf-8")
    with pytest.raises(ArtifactError, match="not made by minna"):
        make(mine)
    other = make(tmp_path / "c", kind="corpus")
    with pytest.raises(ArtifactError, match="is a corpus"):
        make(other, kind="model")


def test_two_writers_of_one_directory_are_refused(tmp_path):
    with (
        artifact.atomic.writing(tmp_path / "c", kind="corpus", settings={}),
        pytest.raises(ArtifactError, match="another process"),
        artifact.atomic.writing(tmp_path / "c", kind="corpus", settings={}),
    ):
        pass


def test_the_key_follows_settings_and_parents_but_not_paths(tmp_path):
    one = artifact.parent_of(make(tmp_path / "p"), role="corpus")
    moved = one.model_copy(update={"path": "/elsewhere"})
    key = artifact.key_of("run", settings={"a": 1, "b": 2}, parents=[one])
    assert key == artifact.key_of("run", settings={"b": 2, "a": 1}, parents=[moved])
    assert key != artifact.key_of("run", settings={"a": 1, "b": 3}, parents=[one])
    assert key != artifact.key_of("model", settings={"a": 1, "b": 2}, parents=[one])


@pytest.mark.parametrize(
    "text", ["", "{", '{"kind": "corpus"}', json.dumps({"kind": "corpus", "schema_version": 2})]
)
def test_a_broken_manifest_is_an_error_with_a_remedy(tmp_path, text):
    (tmp_path / "minna.json").write_text(text, encoding="utf-8")
    with pytest.raises(ArtifactError, match="remedy"):
        artifact.read_manifest(tmp_path)


def test_another_kind_than_asked_is_named(tmp_path):
    out = make(tmp_path / "c")
    with pytest.raises(ArtifactError, match="is a corpus .* and a model is needed"):
        artifact.read_manifest(out, kind="model")


def test_a_missing_directory_is_an_error():
    with pytest.raises(ArtifactError, match="does not exist"):
        artifact.read_manifest(Path("nowhere"))


def test_versions_and_commit_are_recorded(tmp_path):
    manifest: Manifest = artifact.read_manifest(make(tmp_path / "c"))
    assert {"python", "minna", "torch", "sentencepiece"} <= set(manifest.versions)
    assert manifest.commit is None or len(manifest.commit) == 40
    assert os.sep not in "".join(manifest.files) or os.sep == "/"


@pytest.mark.skipif(sys.platform == "win32", reason="links need rights there")
def test_an_out_that_is_a_link_is_followed_and_stays(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    for content in ("one", "two"):
        with atomic.writing(
            tmp_path / "link", kind="corpus", settings={"content": content}
        ) as draft:
            (draft.path / "a.txt").write_text(content, encoding="utf-8")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real" / "a.txt").read_text(encoding="utf-8") == "two"
    assert sorted(path.name for path in tmp_path.iterdir() if path.suffix != ".lock") == [
        "link",
        "real",
    ]


@pytest.mark.parametrize("out", ["", ".", "/"])
def test_an_out_without_a_name_is_refused(out):
    with (
        pytest.raises(ArtifactError, match="no name"),
        atomic.writing(Path(out), kind="corpus", settings={}),
    ):
        pass


def test_something_else_where_the_work_is_done_is_left_alone(tmp_path):
    (tmp_path / ".c.partial").mkdir()
    (tmp_path / ".c.partial" / "mine.txt").write_text("mine", encoding="utf-8")
    with (
        pytest.raises(ArtifactError, match="something else lies there"),
        atomic.writing(tmp_path / "c", kind="corpus", settings={}),
    ):
        pass
    assert (tmp_path / ".c.partial" / "mine.txt").read_text(encoding="utf-8") == "mine"
