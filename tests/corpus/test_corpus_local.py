from __future__ import annotations

import gzip
import json
import lzma
import pickle
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from minna.corpus import BuildSettings
from minna.corpus.sources import content_id, open_source, rows
from minna.errors import DataError, UsageError

TEXT = "一行目です。\n二行目です。\n\n\n三行目です。\n"


def read(path: Path, **settings: Any) -> list[str]:
    source = open_source(BuildSettings(source="local", path=path, **settings))
    return [document.text for shard in source.shards() for document in shard.documents()]


def zstd(content: bytes) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, "zstd") as stream:
        stream.write(content)
    return sink.getvalue().to_pybytes()


PACKERS = {"": bytes, ".gz": gzip.compress, ".xz": lzma.compress, ".zst": zstd}


@pytest.mark.parametrize("suffix", PACKERS)
@pytest.mark.parametrize(
    ("documents", "expected"),
    [
        ("file", [TEXT]),
        ("line", ["一行目です。\n", "二行目です。\n", "三行目です。\n"]),
        ("blank-line", ["一行目です。\n二行目です。\n", "三行目です。\n"]),
    ],
)
def test_plain_text_in_every_packing_and_every_meaning_of_document(
    tmp_path: Path, suffix: str, documents: str, expected: list[str]
) -> None:
    path = tmp_path / f"text.txt{suffix}"
    path.write_bytes(PACKERS[suffix](TEXT.encode()))
    assert read(path, documents=documents) == expected


def test_a_folder_is_read_in_the_order_of_names_and_other_files_are_warned_about(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "b.jsonl").write_text(
        '{"text": "二"}\n\n{"text": null, "n": 1}\n', encoding="utf-8"
    )
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "x.txt").write_text("\ufeff一", encoding="utf-8")
    (tmp_path / "notes.doc").write_bytes(b"x")
    pq.write_table(pa.table({"text": ["三", "四"]}), tmp_path / "c.parquet")
    assert read(tmp_path) == ["一", "二", "", "三", "四"]
    assert "1 files" in capsys.readouterr().err


def test_the_field_of_json_lines_and_the_column_of_parquet_can_be_named(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text(json.dumps({"body": "本文"}), encoding="utf-8")
    assert read(tmp_path / "a.jsonl", field="body") == ["本文"]
    pq.write_table(pa.table({"body": ["本文"]}), tmp_path / "a.parquet")
    assert read(tmp_path / "a.parquet", field="body") == ["本文"]
    with pytest.raises(DataError, match=r"line 1 has no field 'boby' .*did you mean 'body'"):
        read(tmp_path / "a.jsonl", field="boby")
    with pytest.raises(DataError, match=r"no column 'boby' .*did you mean 'body'"):
        read(tmp_path / "a.parquet", field="boby")


def test_only_files_that_match_are_read_and_a_pattern_that_matches_none_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "b.txt").write_text("二", encoding="utf-8")
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "x.txt").write_text("一", encoding="utf-8")
    assert read(tmp_path, files="a/*") == ["一"]
    assert read(tmp_path, files="*.txt") == ["一", "二"]
    assert capsys.readouterr().err == ""
    with pytest.raises(
        DataError, match=r"no file of .* matches files='\*.jsonl' \(2 files, such as a/x"
    ):
        read(tmp_path, files="*.jsonl")


def test_facts_beside_the_text_go_into_meta_and_a_language_code_is_taken(tmp_path: Path) -> None:
    row = {"text": "本文", "title": "題", "url": "u", "language": "JA-jp", "score": 1, "date": None}
    (tmp_path / "a.jsonl").write_text(json.dumps(row), encoding="utf-8")
    pq.write_table(pa.table({name: [value] for name, value in row.items()}), tmp_path / "b.parquet")
    source = open_source(BuildSettings(source="local", path=tmp_path))
    documents = [document for shard in source.shards() for document in shard.documents()]
    assert [document.meta for document in documents] == [{"title": "題", "url": "u"}] * 2
    assert [document.language for document in documents] == ["ja", "ja"]
    assert documents[0].id == documents[1].id  # the same text is the same document


@pytest.mark.parametrize("documents", ["line", "blank-line"])
def test_the_id_of_a_line_or_block_does_not_hold_its_line_end(
    tmp_path: Path, documents: Literal["line", "blank-line"]
) -> None:
    gap = "\n" if documents == "line" else "\n\n"
    text = gap.join(["一。", "二。", "一。"])  # no line end behind the last
    (tmp_path / "a.txt").write_bytes(text.encode())
    (tmp_path / "b.txt").write_bytes(text.replace("\n", "\r\n").encode())
    (tmp_path / "c.jsonl").write_text('{"text": "一。"}\n', encoding="utf-8")
    source = open_source(BuildSettings(source="local", path=tmp_path, documents=documents))
    ids = [document.id for shard in source.shards() for document in shard.documents()]
    one, two = (content_id(word.encode()) for word in ("一。", "二。"))
    assert ids == [one, two, one] * 2 + [one]


def test_parsing_is_a_picklable_function_and_gives_the_same_in_another_process(
    tmp_path: Path,
) -> None:
    (tmp_path / "a.jsonl").write_text('{"text": "一"}\n{"text": "二"}\n', encoding="utf-8")
    (tmp_path / "b.txt").write_text("三", encoding="utf-8")
    pq.write_table(pa.table({"text": ["四"]}), tmp_path / "c.parquet")
    source = open_source(BuildSettings(source="local", path=tmp_path))
    texts = []
    for shard in source.shards():
        parse = pickle.loads(pickle.dumps(shard.parse))
        texts += [parse(pickle.loads(pickle.dumps(payload))).text for payload in shard.read()]
    assert texts == ["一", "二", "三", "四"]


def test_an_error_of_a_worker_survives_the_way_back(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text("no json", encoding="utf-8")
    source = open_source(BuildSettings(source="local", path=tmp_path))
    with pytest.raises(DataError) as caught:
        list(source.shards()[0].documents())
    again = pickle.loads(pickle.dumps(caught.value))
    assert (again.rule, again.remedy) == (caught.value.rule, caught.value.remedy)
    assert str(again) == str(caught.value)


def test_the_identity_follows_content_names_and_meaning_of_document(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("一", encoding="utf-8")

    def identity(**settings: Any) -> dict[str, Any]:
        return open_source(BuildSettings(source="local", path=tmp_path, **settings)).identity()

    first = identity()
    assert identity() == first
    assert identity(documents="line") != first
    (tmp_path / "a.txt").write_text("二", encoding="utf-8")
    assert identity() != first


def test_broken_utf8_names_the_file_and_the_byte_also_behind_a_decompressor(tmp_path: Path) -> None:
    content = "一行目\n".encode() + b"\xff\n"
    for name, packed in (("a.txt", content), ("a.txt.gz", gzip.compress(content))):
        (tmp_path / name).write_bytes(packed)
        with pytest.raises(DataError, match=rf"{name} is not UTF-8: byte 0xff at offset 10") as e:
            read(tmp_path / name, documents="line")
        assert "iconv" in e.value.remedy


def test_a_binary_file_is_called_binary(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"\x7fELF\x00\x01\x02\xff")
    with pytest.raises(DataError, match="binary file"):
        read(tmp_path / "a.txt")
    (tmp_path / "b.txt").write_text("日本語", encoding="utf-16")
    with pytest.raises(DataError, match=r"not UTF-8|binary"):
        read(tmp_path / "b.txt")


@pytest.mark.parametrize("suffix", [".gz", ".xz", ".zst"])
def test_a_truncated_or_damaged_compressed_file_does_not_pass_for_a_short_one(
    tmp_path: Path, suffix: str
) -> None:
    import random

    letters = random.Random(1)
    text = "".join(chr(letters.randrange(0x4E00, 0x9000)) for _ in range(50_000))
    packed = PACKERS[suffix](text.encode())
    path = tmp_path / f"a.txt{suffix}"
    path.write_bytes(packed[: len(packed) // 2])
    with pytest.raises(DataError, match="truncated or damaged"):
        read(path)
    path.write_bytes(b"not compressed at all, but long enough to be looked at")
    with pytest.raises(DataError, match="truncated or damaged"):
        read(path)


@pytest.mark.parametrize("suffix", [".gz", ".xz", ".zst"])
def test_a_compressed_file_of_no_bytes_does_not_pass_for_an_empty_one(
    tmp_path: Path, suffix: str
) -> None:
    (tmp_path / f"a.txt{suffix}").touch()
    with pytest.raises(DataError, match="truncated or damaged after 0 readable bytes"):
        read(tmp_path / f"a.txt{suffix}")


def test_a_text_too_large_for_one_document_asks_what_a_document_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rows, "LARGEST", 10)
    (tmp_path / "a.txt").write_text("一行目。\n" * 3, encoding="utf-8")
    with pytest.raises(DataError, match="too large for one document") as caught:
        read(tmp_path / "a.txt")
    assert "--documents line" in caught.value.remedy


def test_a_truncated_parquet_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"text": ["三", "四"]}), path)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(DataError, match="truncated or damaged"):
        read(path)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"text": "a"', "line 2 is not JSON"),
        ('["a"]', "line 2 is a JSON list"),
        ('{"text": 3}', "'text' is a int"),
    ],
)
def test_wrong_json_lines_name_the_line(tmp_path: Path, line: str, message: str) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"text": "一"}\n' + line + "\n", encoding="utf-8")
    with pytest.raises(DataError, match=message):
        read(path)


def test_what_is_not_there_or_of_no_known_format_is_said(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="does not exist"):
        read(tmp_path / "nothing.txt")
    with pytest.raises(DataError, match="holds no text file"):
        read(tmp_path)
    (tmp_path / "a.docx").write_bytes(b"x")
    with pytest.raises(UsageError, match=r"format of a\.docx"):
        read(tmp_path / "a.docx")
