"""What cannot be read is said by its name; what is built to take hours does not."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from minna.corpus import BuildSettings
from minna.corpus.sources import open_source
from minna.corpus.sources.aozora_marks import clean
from minna.corpus.sources.debian_text import plain_text
from minna.corpus.sources.files import walk
from minna.corpus.sources.roff import unescape
from minna.corpus.sources.streams import describe_files, open_bytes
from minna.corpus.words import read_words
from minna.errors import DataError, UsageError


def test_a_folder_that_cannot_be_listed_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "shut").mkdir()
    real = os.scandir

    def scandir(path: Any) -> Iterator[os.DirEntry[str]]:
        if os.fspath(path).endswith("shut"):
            raise PermissionError(13, "Permission denied", os.fspath(path))
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    with pytest.raises(DataError, match=r"shut cannot be read: Permission denied"):
        walk(tmp_path)


def test_links_pipes_and_folders_are_no_files_and_are_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("b/dir.txt/z.txt", "b/y.txt", "a.txt", ".hidden/x.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("本文", encoding="utf-8")
    try:
        (tmp_path / "linked").symlink_to(tmp_path / "b", target_is_directory=True)
        (tmp_path / "nothing.txt").symlink_to(tmp_path / "missing")
    except OSError as error:
        pytest.skip(f"links cannot be made here: {error}")
    found = [file.relative_to(tmp_path).as_posix() for file in walk(tmp_path)]
    assert found == ["a.txt", "b/dir.txt/z.txt", "b/y.txt"]
    told = " ".join("".join(capsys.readouterr()).split())
    assert "1 linked folders" in told
    assert "1 pipes, devices or links to nothing" in told
    source = open_source(BuildSettings(source="aozora", path=tmp_path))
    assert source.identity()["files"] == 3


def test_what_the_system_refuses_is_not_called_damaged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "a.txt"
    file.write_text("本文", encoding="utf-8")

    def refuse(self: Path, *_: Any, **__: Any) -> None:
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(DataError, match=r"a\.txt cannot be read: Permission denied"):
        describe_files([("a.txt", file)])
    with pytest.raises(DataError, match=r"a\.txt cannot be read"), open_bytes(file):
        pass


def test_a_name_that_is_not_utf_8_has_an_identity(tmp_path: Path) -> None:
    file = tmp_path / "a.txt"
    file.write_text("本文", encoding="utf-8")
    assert describe_files([("\udcff.txt", file)]) != describe_files([("a.txt", file)])


def test_a_word_list_that_is_a_folder_and_a_word_as_long_as_a_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be read"):
        read_words([tmp_path])
    file = tmp_path / "words.txt"
    file.write_text("あ" * 100_000, encoding="utf-8")
    with pytest.raises(UsageError, match="has 100000") as caught:
        read_words([file])
    assert len(str(caught.value)) < 1000


def test_marks_that_are_never_closed_are_left_or_go_but_take_no_hours() -> None:
    many = 100_000
    assert clean("［＃" * many) == "［＃" * many
    assert clean("※［＃" + "［あ］" * many).endswith("［あ］")
    assert clean("※" * many + "［＃") == "※" * many + "［＃"
    assert unescape("\\[" * many) is not None
    assert plain_text("<p>本文</p>" + "<!-- " * many, kind="html") == "本文"
    assert plain_text("<!-- a --><p>本文</p>", kind="html") == "本文"
