"""The dumps, written in exactly their layouts, and what is wrong with real ones."""

from __future__ import annotations

import gzip
import io
import json
import lzma
import random
import re
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from minna.corpus import BuildSettings
from minna.corpus.sources import SOURCES, RawDocument, content_id, open_source, streams
from minna.corpus.sources.language_codes import language_code
from minna.errors import DataError, UsageError


def documents(source: str, path: Path, **settings: Any) -> list[RawDocument]:
    opened = open_source(BuildSettings(source=source, path=path, **settings))
    return [document for shard in opened.shards() for document in shard.documents()]


def zstd(content: bytes) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, "zstd") as stream:
        stream.write(content)
    return sink.getvalue().to_pybytes()


def lines(*rows: dict[str, Any]) -> bytes:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()


def article(number: int) -> dict[str, str]:
    return {
        "id": str(number),
        "url": f"https://ja.wikipedia.org/wiki/{number}",
        "title": f"題{number}",
        "text": f"{number}番目の記事である。",
    }


@pytest.fixture
def wikipedia(tmp_path: Path) -> Path:
    for edition, rows in (("20231101.ja", [1, 2]), ("20231101.en", [3])):
        (tmp_path / edition).mkdir()
        table = pa.Table.from_pylist([article(number) for number in rows])
        pq.write_table(table, tmp_path / edition / "train-00000-of-00001.parquet")
    return tmp_path


def test_wikipedia_has_title_and_url_and_the_language_of_its_folder(wikipedia: Path) -> None:
    found = documents("wikipedia", wikipedia)
    assert [(row.text[:1], row.language) for row in found] == [
        ("3", "en"),
        ("1", "ja"),
        ("2", "ja"),
    ]
    assert found[1].meta == {"title": "題1", "url": "https://ja.wikipedia.org/wiki/1"}
    assert found[1].id == found[1].group == content_id("1番目の記事である。".encode())


def test_wikipedia_takes_one_edition_by_pattern_by_folder_or_by_file(wikipedia: Path) -> None:
    file = wikipedia / "20231101.ja" / "train-00000-of-00001.parquet"
    by_pattern = documents("wikipedia", wikipedia, files="20231101.ja/*")
    assert [row.language for row in by_pattern] == ["ja", "ja"]
    assert documents("wikipedia", file.parent) == documents("wikipedia", file) == by_pattern


def test_the_licences_of_dumps_state_terms_and_whom_to_credit(wikipedia: Path) -> None:
    source = open_source(BuildSettings(source="wikipedia", path=wikipedia))
    (licence,) = source.licences
    assert "CC BY-SA 3.0" in licence.licence
    assert "contributors" in licence.attribution


@pytest.mark.parametrize(
    ("name", "pack"),
    [("ja.txt.xz", lzma.compress), ("ja.txt.gz", gzip.compress), ("ja.txt", bytes)],
)
def test_cc100_is_paragraphs_a_line_and_an_empty_line_between_documents(
    tmp_path: Path, name: str, pack: Callable[[bytes], bytes]
) -> None:
    (tmp_path / name).write_bytes(pack("一。\n二。\n\n三。\n　\n\n四。".encode()))
    found = documents("cc100", tmp_path / name)
    assert [row.text for row in found] == ["一。\n二。\n", "三。\n", "四。"]
    assert all(row.group == row.id and row.language == "" for row in found)


def test_c4_is_json_lines_in_gz_with_url_and_time(tmp_path: Path) -> None:
    row = {"text": "頁。", "timestamp": "2019-04-25T12:57:54Z", "url": "https://example.jp/"}
    (tmp_path / "c4-ja.tfrecord-00000-of-01024.json.gz").write_bytes(gzip.compress(lines(row)))
    (found,) = documents("c4", tmp_path)
    assert found.text == "頁。"
    assert found.meta == {"timestamp": "2019-04-25T12:57:54Z", "url": "https://example.jp/"}


def test_the_pile_tells_its_set_and_english_only_where_a_set_is_english(tmp_path: Path) -> None:
    rows = [
        {"text": "a", "meta": {"pile_set_name": "PubMed Abstracts"}},
        {"text": "b", "meta": {"pile_set_name": "Github"}},
        {"text": "c", "meta": None},
    ]
    (tmp_path / "00.jsonl.zst").write_bytes(zstd(lines(*rows)))
    found = documents("pile", tmp_path)
    assert [row.meta.get("set") for row in found] == ["PubMed Abstracts", "Github", None]
    assert [row.language for row in found] == ["en", "", ""]


def test_redpajama_reads_meta_as_object_as_python_and_as_json_in_a_string(tmp_path: Path) -> None:
    rows = [
        {"text": "a", "meta": {"url": "u", "language": "en", "source": "c4"}},
        {"text": "b", "meta": "{'title': 'T', 'language': 'de'}", "red_pajama_subset": "wikipedia"},
        {"text": "c", "meta": '{"timestamp": "t", "language": [{"name": "Python"}]}'},
        {"text": "d", "meta": "not a dictionary at all"},
        {"text": "e", "source": "cc/2019-30/en_head"},
    ]
    (tmp_path / "a.jsonl").write_bytes(lines(*rows))
    found = documents("redpajama", tmp_path)
    assert [row.language for row in found] == ["en", "de", "", "", ""]
    assert [dict(row.meta) for row in found] == [
        {"url": "u", "source": "c4"},
        {"title": "T", "set": "wikipedia"},
        {"timestamp": "t"},
        {},
        {"source": "cc/2019-30/en_head"},
    ]


def test_bad_rows_of_a_dump_are_counted_drops_with_file_and_line(tmp_path: Path) -> None:
    good = lines({"text": "良い。"})
    bad = b'{"text": "half\n' + b'{"text": "\xff\xfe"}\n' + b"[1]\n" + b"[" * 100_000 + b"\n"
    bad += b'{"text": 1' + b"0" * 5000 + b"}\n" + b'{"body": "x"}\n' + b'{"text": 3}\n'
    (tmp_path / "a.json.gz").write_bytes(gzip.compress(good + bad + good))
    found = documents("c4", tmp_path)
    assert [row.problem for row in found] == [
        "", "malformed", "undecodable", "malformed", "malformed", "malformed", "malformed",
        "malformed", "",
    ]  # fmt: skip
    assert found[2].text == "a.json.gz, line 3"
    assert len({row.id for row in found[1:6]}) == 5


def test_undecodable_blocks_of_a_text_dump_are_counted_and_the_rest_is_read(tmp_path: Path) -> None:
    content = "一。\n\n".encode() + "二。".encode("cp932") + "\n\n三。\n".encode()
    (tmp_path / "ja.txt.xz").write_bytes(lzma.compress(content))
    found = documents("cc100", tmp_path)
    assert [row.problem for row in found] == ["", "undecodable", ""]
    assert found[1].text == "ja.txt.xz, line 3"


@pytest.mark.parametrize("source", ["c4", "cc100"])
def test_a_line_of_40_mb_is_skipped_told_and_never_held(tmp_path: Path, source: str) -> None:
    name = {"c4": "a.json.gz", "cc100": "ja.txt.gz"}[source]
    good = {"c4": '{"text": "%s"}\n', "cc100": "%s\n\n"}[source]
    with gzip.GzipFile(tmp_path / name, "wb", compresslevel=1) as file:
        file.write((good % "前。").encode())
        for _ in range(40):
            file.write(b"x" * 1_000_000)
        file.write(b"\n\n" + (good % "後。").encode())
    opened = open_source(BuildSettings(source=source, path=tmp_path))
    tracemalloc.start()
    found = [(row.text.strip(), row.problem) for s in opened.shards() for row in s.documents()]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    place = f"{name}, line {3 if source == 'cc100' else 2}"
    assert found == [("前。", ""), (place, "too_large"), ("後。", "")]
    assert peak < 2.2 * streams.LARGEST  # the piece and its copy, whatever the line has


def test_pieces_are_cut_at_the_limit_and_told_by_the_hash_of_all_their_bytes() -> None:
    def cut(content: bytes, read: Callable[..., Iterator[streams.Piece]]) -> list[Any]:
        return [(p.line, p.content, p.too_large) for p in read(io.BytesIO(content), most=6)]

    long = b"12345678901\n"
    assert cut(b"12345\n" + long + b"z", streams.bounded_lines) == [
        (1, b"12345\n", ""),
        (2, b"", content_id(long)),
        (3, b"z", ""),
    ]
    assert cut(b"1234567", streams.bounded_lines) == [(1, b"", content_id(b"1234567"))]
    blocks = cut(b"a\nb\n\n123\n456\n789\n \n" + long + b"b\n\nc", streams.bounded_blocks)
    assert [(line, content) for line, content, _ in blocks] == [
        (1, b"a\nb\n"), (4, b""), (8, b""), (11, b"c"),
    ]  # fmt: skip
    assert blocks[1][2] == content_id(b"123\n456\n789\n")
    assert blocks[2][2]


@pytest.mark.parametrize("seed", range(30))
def test_blocks_do_not_depend_on_where_a_read_ends(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    letters = random.Random(seed)
    pool = ["\n", "\n", "　", " ", "あ", "い\n", "う", "\r\n", "\u2028"]
    text = "".join(letters.choice(pool) for _ in range(letters.randrange(60)))
    text = re.sub("[　 \u2028]+", "　", text)  # blank within the limit below
    expected: list[tuple[int, bytes]] = []
    open_block = False
    for number, line in enumerate(_lines(text)):
        if not line.decode().strip():
            open_block = False
        elif open_block:
            expected[-1] = (expected[-1][0], expected[-1][1] + line)
        else:
            expected.append((number + 1, line))
            open_block = True
    for size in (1, 2, 3, 7, 1000):
        monkeypatch.setattr(streams, "_BLOCK", size)
        pieces = list(streams.bounded_blocks(io.BytesIO(text.encode())))
        assert [(piece.line, piece.content) for piece in pieces] == expected
        assert all(text.encode()[p.offset :].startswith(p.content) for p in pieces)
        told = [
            (p.line, p.too_large or content_id(p.content))
            for p in streams.bounded_blocks(io.BytesIO(text.encode()), most=4)
        ]
        assert told == [(line, content_id(content)) for line, content in expected]


def _lines(text: str) -> list[bytes]:
    return io.BytesIO(text.encode()).readlines()


def test_a_dump_of_another_layout_is_refused_with_its_fields_and_the_nearest(
    tmp_path: Path,
) -> None:
    (tmp_path / "a.jsonl").write_bytes(lines({"texts": "x", "id": 1}))
    with pytest.raises(DataError, match=r"no field 'text' \(it has .*did you mean 'texts'"):
        documents("c4", tmp_path)
    (tmp_path / "a.jsonl").write_bytes(b"[{}, {}]")
    with pytest.raises(DataError, match="JSON list, not an object"):
        documents("c4", tmp_path)
    pq.write_table(pa.table({"body": ["x"], "tekst": ["y"]}), tmp_path / "a.parquet")
    with pytest.raises(DataError, match=r"no column 'text'.*\['body', 'tekst'\].*'tekst'"):
        documents("wikipedia", tmp_path / "a.parquet")


@pytest.mark.parametrize("share", [0.3, 0.99])
@pytest.mark.parametrize(
    ("source", "name", "pack"),
    [
        ("cc100", "ja.txt.xz", lzma.compress),
        ("c4", "a.json.gz", gzip.compress),
        ("pile", "00.jsonl.zst", zstd),
        ("pile", "two-frames.jsonl.zst", lambda content: zstd(content) + zstd(content)),
    ],
)
def test_a_truncated_dump_says_how_far_it_was_readable(
    tmp_path: Path, source: str, name: str, pack: Callable[[bytes], bytes], share: float
) -> None:
    letters = random.Random(3)
    text = "".join(chr(letters.randrange(0x4E00, 0x9000)) for _ in range(200_000))
    packed = pack(
        "".join(f'{{"text": "{text[n : n + 99]}"}}\n' for n in range(0, 200_000, 99)).encode()
    )
    (tmp_path / name).write_bytes(packed[: int(share * len(packed))])
    with pytest.raises(DataError, match=r"truncated or damaged after \d+ readable bytes"):
        documents(source, tmp_path)


def test_a_parquet_file_damaged_inside_says_after_how_many_rows(tmp_path: Path) -> None:
    file = tmp_path / "a.parquet"
    letters = random.Random(4)
    texts = [
        "".join(chr(letters.randrange(0x4E00, 0x9000)) for _ in range(300)) for _ in range(400)
    ]
    table = pa.table({"text": texts})
    pq.write_table(table, file, row_group_size=100, use_dictionary=False, compression="zstd")
    content = bytearray(file.read_bytes())
    content[len(content) // 2 : len(content) // 2 + 4000] = bytes(4000)
    file.write_bytes(content)
    with pytest.raises(DataError, match=r"damaged after [1-9]\d* readable rows"):
        documents("wikipedia", file)
    file.write_bytes(content[:-100])
    with pytest.raises(DataError, match=r"damaged after 0 readable rows"):
        documents("wikipedia", file)


def test_a_file_of_over_1_gb_is_told_by_size_time_and_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams, "_WHOLE_HASH", 100)
    monkeypatch.setattr(streams, "_END", 16)
    file = tmp_path / "ja.txt"
    file.write_bytes(b"a" * 200)

    def identity() -> dict[str, Any]:
        return open_source(BuildSettings(source="cc100", path=file)).identity()

    first = identity()
    assert identity() == first
    for place in (0, 199):
        file.write_bytes(b"a" * place + b"b" + b"a" * (199 - place))
        changed = identity()
        assert changed != first
        first = changed


@pytest.mark.parametrize("source", [name for name in SOURCES if name != "tatoeba"])
def test_every_source_refuses_an_empty_folder_a_missing_path_and_none(
    tmp_path: Path, source: str
) -> None:
    with pytest.raises(DataError, match="holds no"):
        open_source(BuildSettings(source=source, path=tmp_path))
    with pytest.raises(DataError, match="does not exist"):
        open_source(BuildSettings(source=source, path=tmp_path / "nothing"))
    with pytest.raises(UsageError, match="needs the place of its data"):
        open_source(BuildSettings(source=source))


def test_an_unknown_source_names_the_nearest() -> None:
    with pytest.raises(UsageError, match="did you mean 'wikipedia'"):
        open_source(BuildSettings(source="wikipdia"))


@pytest.mark.parametrize("source", ["wikipedia", "cc100", "c4", "pile", "redpajama"])
def test_a_single_file_of_another_format_is_refused(tmp_path: Path, source: str) -> None:
    (tmp_path / "a.pdf").write_bytes(b"x")
    with pytest.raises(UsageError, match=r"format of a\.pdf"):
        open_source(BuildSettings(source=source, path=tmp_path / "a.pdf"))


@pytest.mark.parametrize(
    ("words", "language"),
    [
        (("ja", "jpn", "jpn_Jpan", "ja_JP", "ja-JP", " JA ", "Japanese"), "ja"),
        (("en", "eng", "en_US", "en-GB", "eng_Latn", "simple", "English"), "en"),
        (("de", "de-AT"), "de"),
        (("zh", "zh-min-nan", "zh_Hant_TW"), "zh"),
        (("deu", "deu_Latn"), "deu"),
        (("cmn", "cmn_Hani"), "cmn"),
        (("bvr_Latn",), "bvr"),  # one of the rare ones, told by the script behind it
        (("jp", "xx", "und", "und_Latn", "mul", "php", "C++", "n/a", "unknown", ""), ""),
        ((None, 3, ["ja"], "日本語", "ja, en"), ""),
    ],
)
def test_words_for_a_language_are_understood_or_left_to_the_text(
    words: tuple[object, ...], language: str
) -> None:
    assert {language_code(word) for word in words} == {language}


def test_the_simple_english_wikipedia_is_english(tmp_path: Path) -> None:
    (tmp_path / "20231101.simple").mkdir()
    table = pa.Table.from_pylist([article(1)])
    pq.write_table(table, tmp_path / "20231101.simple" / "train-00000-of-00001.parquet")
    assert [row.language for row in documents("wikipedia", tmp_path)] == ["en"]


def test_the_identity_holds_the_language_that_a_folder_gives_its_files(tmp_path: Path) -> None:
    def identity(*editions: str) -> dict[str, Any]:
        for number, edition in enumerate(editions):
            (tmp_path / str(number)).mkdir(exist_ok=True)
            (tmp_path / str(number) / edition).mkdir()
            file = tmp_path / str(number) / edition / "a.parquet"
            pq.write_table(pa.Table.from_pylist([article(1)]), file)
        path = tmp_path / "0" / editions[0]
        return open_source(BuildSettings(source="wikipedia", path=path)).identity()

    assert identity("20231101.ja") != identity("20231101.en") != identity("20231101")


def test_eight_megabytes_of_spaces_between_two_lines_cost_no_more_than_themselves(
    tmp_path: Path,
) -> None:
    size = 8_000_000
    blanks = (" ", "　", "\t\u2028 ")
    for number, blank in enumerate(blanks):
        spaces = blank * (size // len(blank.encode()))
        text = f"前。\n{spaces}\n後。\n"
        (tmp_path / f"{number}.txt").write_text(text, encoding="utf-8")
    opened = open_source(BuildSettings(source="cc100", path=tmp_path))
    tracemalloc.start()
    found = [row.text.strip() for shard in opened.shards() for row in shard.documents()]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert found == ["前。", "後。"] * len(blanks)
    assert peak < 2 * size  # the buffer, and what a resize copies of it: it was over 900 MB
