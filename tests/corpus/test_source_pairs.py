"""Parallel text in its three layouts, and what makes it not parallel."""

from __future__ import annotations

import gzip
import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from minna.corpus import BuildSettings
from minna.corpus.sources import (
    RawDocument,
    content_id,
    open_source,
    pairs,
    spaces,
    streams,
)
from minna.errors import DataError

EN = ["I like cats.", "A dog runs.", ""]
JA = ["猫が好きです。", "犬が走る。", "空。"]


def documents(path: Path, **settings: Any) -> list[RawDocument]:
    source = open_source(BuildSettings(source="pairs", path=path, **settings))
    return [document for shard in source.shards() for document in shard.documents()]


def sides(path: Path, **settings: Any) -> list[tuple[str, str]]:
    return [(document.language, document.text) for document in documents(path, **settings)]


BOTH = [both for pair in zip(EN, JA, strict=True) for both in (("en", pair[0]), ("ja", pair[1]))]


def write(
    folder: Path, stem: str, english: Sequence[str] = EN, japanese: Sequence[str] = JA
) -> None:
    (folder / f"{stem}.en").write_text("".join(f"{line}\n" for line in english), encoding="utf-8")
    (folder / f"{stem}.ja").write_text("".join(f"{line}\n" for line in japanese), encoding="utf-8")


def test_two_files_give_two_documents_a_pair_side_by_side_in_one_group(tmp_path: Path) -> None:
    write(tmp_path, "train")
    found = documents(tmp_path)
    assert [(document.language, document.text) for document in found] == BOTH
    assert found[0].group == found[1].group != found[2].group == found[3].group
    assert found[0].meta == found[1].meta == {"pair": "train:1"}
    assert documents(tmp_path / "train.en") == documents(tmp_path / "train.ja") == found


def test_a_folder_of_several_stems_is_read_in_their_order_and_can_be_cut_by_name(
    tmp_path: Path,
) -> None:
    write(tmp_path, "b", ["two"], ["二"])
    write(tmp_path, "a", ["one"], ["一"])
    (tmp_path / "readme.md").write_text("x", encoding="utf-8")
    assert [text for _, text in sides(tmp_path)] == ["one", "一", "two", "二"]
    assert [text for _, text in sides(tmp_path, files="b.*")] == ["two", "二"]


@pytest.mark.parametrize("suffix", ["", ".gz"])
@pytest.mark.parametrize("order", [0, 1])
def test_a_table_may_have_its_columns_in_either_order(
    tmp_path: Path, suffix: str, order: int
) -> None:
    rows = [(e, j)[:: -1 if order else 1] for e, j in zip(EN, JA, strict=True)]
    content = "".join("\t".join((*row, "CC BY")) + "\n" for row in rows).encode()
    (tmp_path / f"a.tsv{suffix}").write_bytes(gzip.compress(content) if suffix else content)
    assert sides(tmp_path) == BOTH


@pytest.mark.parametrize("shape", ["nested", "flat"])
def test_the_hub_s_shape_in_json_lines_and_in_parquet(tmp_path: Path, shape: str) -> None:
    rows = [{"en": e, "ja": j} for e, j in zip(EN, JA, strict=True)]
    shaped = [{"translation": row} for row in rows] if shape == "nested" else rows
    text = "".join(json.dumps(row) + "\n" for row in shaped)
    (tmp_path / "a.jsonl").write_text(text, encoding="utf-8")
    assert sides(tmp_path) == BOTH
    if shape == "nested":
        (tmp_path / "a.jsonl").unlink()
        pq.write_table(pa.Table.from_pylist(shaped), tmp_path / "a.parquet")
        assert sides(tmp_path) == BOTH


def test_translations_of_one_english_sentence_share_a_group(tmp_path: Path) -> None:
    write(tmp_path, "a", ["Hello!", "hello", "", ""], ["やあ。", "こんにちは。", "ね。", "よ。"])
    groups = [document.group for document in documents(tmp_path)]
    assert groups[0] == groups[1] == groups[2] == groups[3]
    assert len(set(groups)) == 3


def test_a_sentence_has_one_id_and_one_group_whatever_line_end_or_file_it_stands_in(
    tmp_path: Path,
) -> None:
    for name, ends in (("unix", "\n"), ("dos", "\r\n")):
        for side, rows in (("en", ["Hello.", "", ""]), ("ja", ["やあ。", "ね。"])):
            (tmp_path / f"{name}.{side}").write_bytes(ends.join(rows).encode())
    (tmp_path / "table.tsv").write_text("Hello.\tやあ。\n\tね。\n", encoding="utf-8")
    found = documents(tmp_path)
    assert len(found) == 12
    assert len({(row.id, row.group) for row in found if row.text != ""}) == 3
    assert found[1].id == content_id("やあ。".encode())


@pytest.mark.parametrize(("english", "japanese"), [(3, 5), (5, 3)])
def test_different_numbers_of_lines_name_both(tmp_path: Path, english: int, japanese: int) -> None:
    write(tmp_path, "a", ["x"] * english, ["字"] * japanese)
    with pytest.raises(DataError, match=rf"a\.en has {english} lines and .*a\.ja has {japanese}:"):
        documents(tmp_path)


def test_a_side_without_the_other_a_folder_without_both_and_a_table_without_japanese(
    tmp_path: Path,
) -> None:
    (tmp_path / "a.en").write_text("x", encoding="utf-8")
    with pytest.raises(DataError, match=r"a\.ja is missing beside it"):
        documents(tmp_path)
    with pytest.raises(DataError, match=r"a\.ja is missing beside it"):
        documents(tmp_path / "a.en")
    (tmp_path / "b.tsv").write_text("a\tb\n", encoding="utf-8")
    with pytest.raises(DataError, match="which of the first two columns is Japanese"):
        documents(tmp_path / "b.tsv")
    (tmp_path / "c.pdf").write_text("x", encoding="utf-8")
    with pytest.raises(DataError, match="no parallel text"):
        documents(tmp_path / "c.pdf")


def test_broken_rows_are_counted_once_for_each_side(tmp_path: Path) -> None:
    content = b'{"translation": {"en": "a", "ja": "b"}}\n{"translation": {"en": "a"}}\nx\n"\xff"\n'
    (tmp_path / "a.jsonl").write_bytes(content)
    found = documents(tmp_path)
    assert [row.problem for row in found] == ["", ""] + ["malformed"] * 4 + ["undecodable"] * 2
    assert found[2].text == "a.jsonl, line 2 (en)"
    assert len({row.id for row in found}) == 8


def test_an_undecodable_side_is_counted_and_its_partner_stays(tmp_path: Path) -> None:
    (tmp_path / "a.en").write_bytes(b"fine\ncaf\xe9\n")
    (tmp_path / "a.ja").write_text("良\n店\n", encoding="utf-8")
    assert [row.problem for row in documents(tmp_path)] == ["", "", "undecodable", ""]


def test_a_pair_with_a_line_too_large_is_dropped_whole_in_every_layout(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pairs, "bounded_lines", partial(streams.bounded_lines, most=60))
    write(tmp_path, "a", ["x" * 80, "y"], ["字", "良"])
    (tmp_path / "b.tsv").write_text(f"Hi.\tやあ。\n{'x' * 80}\t字\n", encoding="utf-8")
    rows = [{"en": "Hi.", "ja": "ね"}, {"en": "x" * 80, "ja": "字"}]
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    (tmp_path / "c.jsonl").write_text(text, encoding="utf-8")
    large = "too_large"
    assert [row.problem for row in documents(tmp_path)] == [
        large, large, "", "",
        "", "", large, large,
        "", "", large, large,
    ]  # fmt: skip


def test_a_table_row_without_a_second_column_is_malformed(tmp_path: Path) -> None:
    (tmp_path / "a.tsv").write_text("Hi.\tやあ。\nalone\n", encoding="utf-8")
    assert [row.problem for row in documents(tmp_path)] == ["", "", "malformed", "malformed"]


def test_spaces_between_words_are_taken_out_only_where_a_tokeniser_put_them() -> None:
    assert spaces.join_japanese("私 は GNU Emacs を 使 う 。") == "私はGNU Emacsを使う。"
    assert spaces.join_english("i can 't ( really ) do n't , it 's so .") == (
        "i can't (really) don't, it's so."
    )
    assert spaces.join_lines("日本\n語の GNU\nEmacs\nです。") == "日本語の GNU Emacs です。"
    assert spaces.japanese_state(["猫 が 好き", "犬 だ"]) == "tokenised"
    assert spaces.japanese_state(["猫が GNU を", "犬だ"]) == "plain"
    assert spaces.english_state(["I like it.", "So be it."]) == "plain"
    assert spaces.english_state([]) == "plain"


def test_small_parallel_enja_is_read_whole_and_without_its_spaces(shared_data: Path) -> None:
    found = sides(shared_data / "enja", files="dev.*")
    assert len(found) == 1000
    japanese = [text for language, text in found if language == "ja"]
    assert found[1][1] == japanese[0]
    assert not any(
        " " in text
        for text in japanese
        if text.isascii() is False
        and not any(letter.isascii() and letter.isalnum() for letter in text)
    )
    english = [text for language, text in found if language == "en"]
    assert not any(text.endswith(" .") for text in english)
    assert not any(" 's" in text or " 't" in text for text in english)
