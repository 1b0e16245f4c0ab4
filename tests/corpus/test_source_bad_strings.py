"""Strings that are not UTF-8 where a format promises it, and how far a damaged file was read."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from minna.corpus import BuildSettings
from minna.corpus.sources import RawDocument, open_source
from minna.corpus.sources.streams import open_bytes
from minna.errors import DataError

TEXTS = pa.array(["一".encode(), b"\xff\xfe bad", "三".encode()])
BAD = TEXTS.view(pa.string())


def documents(source: str, path: Path, **settings: Any) -> list[RawDocument]:
    shards = open_source(BuildSettings(source=source, path=path, **settings)).shards()
    return [document for shard in shards for document in shard.documents()]


def test_a_bad_string_of_a_dump_is_counted_and_the_other_rows_are_read(tmp_path: Path) -> None:
    path = tmp_path / "wiki.parquet"
    pq.write_table(pa.table({"text": BAD, "title": BAD}), path)
    found = documents("wikipedia", path)
    assert [document.problem for document in found] == ["", "undecodable", ""]
    assert (found[0].text, found[2].text) == ("一", "三")


def test_a_bad_string_of_one_s_own_file_is_an_error_that_names_the_row(tmp_path: Path) -> None:
    path = tmp_path / "mine.parquet"
    pq.write_table(pa.table({"text": BAD}), path)
    with pytest.raises(DataError, match=r"mine\.parquet, row 2.* is not UTF-8: byte 0xff"):
        documents("local", path)


def test_a_bad_string_in_a_pair_is_counted(tmp_path: Path) -> None:
    path = tmp_path / "pairs.parquet"
    sides = pa.StructArray.from_arrays([pa.array(["a", "b", "c"]), BAD], names=["en", "ja"])
    pq.write_table(pa.table({"translation": sides}), path)
    problems = [document.problem for document in documents("pairs", path)]
    assert problems == ["", "", "undecodable", "undecodable", "", ""]


def test_a_lone_surrogate_in_a_pair_does_not_become_a_question_mark(tmp_path: Path) -> None:
    path = tmp_path / "pairs.jsonl"
    path.write_text(json.dumps({"en": "good \ud800", "ja": "良い"}), encoding="utf-8")
    assert [document.text for document in documents("pairs", path)] == ["good \ufffd", "良い"]


def test_the_bytes_before_the_damage_are_counted_in_a_small_file_too(tmp_path: Path) -> None:
    path = tmp_path / "a.txt.gz"
    path.write_bytes(gzip.compress(b"text\n" * 1000)[:-8])
    with (
        open_bytes(path) as stream,
        pytest.raises(DataError, match="damaged after 5000 readable bytes"),
    ):
        stream.read()
