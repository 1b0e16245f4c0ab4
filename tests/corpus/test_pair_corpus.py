"""A corpus of pictures: each layout, what is kept, what goes and why, and what stays together."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from tests.corpus.fake_hub import FakeHub, Repository
from tests.corpus.made_pictures import picture, saved, scene, tar
from typer.testing import CliRunner

from minna import artifact
from minna.cli.corpus import app
from minna.corpus import (
    PAIR_COLUMNS,
    Caption,
    PairSettings,
    build_pairs,
    holds_dialogues,
    holds_pairs,
    pair_corpus,
    read_pairs,
    texts,
)
from minna.corpus.pair_measure import settled
from minna.corpus.pair_select import near_pairs
from minna.corpus.settings import BuildSettings
from minna.corpus.sources import DESCRIPTIONS, open_source
from minna.errors import ArtifactError, DataError, UsageError
from minna.tokenizer.settings import PRESETS
from minna.tokenizer.train import train_tokenizer
from minna.units import format_bytes

RUN = CliRunner()


def write(folder, files):
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return folder


def lines(*rows):
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def build(tmp_path, path, **values):
    settings = PairSettings(
        source="pictures", path=path, workers=1, **{"licence": "CC0-1.0", **values}
    )
    return build_pairs(settings=settings, out=tmp_path / "corpus")


def told(corpus, split="all"):
    """Caption texts of each picture."""
    return [[one.text for one in pair.captions] for pair in read_pairs(corpus, split=split)]


# ---- layouts


def test_a_table_and_its_pictures_become_a_corpus_with_columns_terms_and_counts(tmp_path):
    files = {
        "a/1.png": picture(1),
        "2.jpg": picture(2, "JPEG"),
        "list.tsv": "a/1.png\t赤い　花\n2.jpg\t海\n",
    }
    report = build(tmp_path, write(tmp_path / "data", files), valid=0, test=0, attribution="me")
    assert (report.state, report.read, report.kept, report.captions) == ("built", 2, 2, 2)
    assert report.splits == {"train": 2, "valid": 0, "test": 0} and report.groups == 2
    table = pq.read_table(report.path / "data" / "00000.parquet")
    first, second = table.to_pylist()
    assert tuple(first) == PAIR_COLUMNS
    assert first["image"] == files["a/1.png"] and second["image"] == files["2.jpg"]
    assert (first["width"], first["height"]) == (48, 32)
    assert (first["source"], first["licence"], first["concept"]) == ("pictures", "CC0-1.0", "")
    assert first["captions"] == [{"text": "赤い 花", "kind": "caption", "weight": 1.0}]
    assert first["group"] == first["id"] and len(first["id"]) == 16
    manifest = artifact.read_manifest(report.path, kind="corpus")
    assert [(one.licence, one.attribution) for one in manifest.licences] == [("CC0-1.0", "me")]
    assert any("portrait" in note for note in manifest.legal)
    card = (report.path / "card.md").read_text(encoding="utf-8")
    for words in ("2 枚の画像", "2 kept", "赤い 花", "CC0-1.0", "48 x 32"):
        assert words in card
    assert artifact.inspect(report.path)[1] == []
    assert not (report.path / "stage").exists()
    assert holds_pairs(report.path) and not holds_dialogues(report.path)


def test_pairs_come_back_in_order_by_split_source_and_without_pictures(tmp_path):
    rows = [{"file": f"{n}.png", "caption": f"{n}番"} for n in range(60)]
    files = {f"{n}.png": picture(n) for n in range(60)} | {"a.jsonl": lines(*rows)}
    report = build(tmp_path, write(tmp_path / "data", files), valid=0.3, test=0.3)
    every = list(read_pairs(report.path, split="all"))
    assert [pair.captions for pair in every] == [(Caption(f"{n}番"),) for n in range(60)]
    assert [pair.image for pair in every] == [files[f"{n}.png"] for n in range(60)]
    parts = {name: list(read_pairs(report.path, split=name)) for name in report.splits}
    assert {name: len(found) for name, found in parts.items()} == report.splits
    assert all(len(found) > 8 for found in parts.values())
    assert all(pair.split == name for name, found in parts.items() for pair in found)
    left = list(read_pairs(report.path, split="test", pictures="left"))
    assert [one._replace(image=b"") for one in parts["test"]] == left
    assert list(read_pairs(report.path, split="all", sources=["pictures"])) == every
    assert list(read_pairs(report.path, split="all", sources=["other"])) == []
    with pytest.raises(UsageError, match="did you mean 'train'"):
        list(read_pairs(report.path, split="trian"))


def test_json_lines_have_captions_of_any_kind_and_terms_of_their_own(tmp_path):
    rows = [
        {
            "file_name": "1.png",
            "captions": ["犬", {"text": "Dog", "kind": "english", "weight": 0.5}],
        },
        {
            "file_name": "2.png",
            "text": "猫",
            "license": "CC BY 4.0",
            "group": "pets",
            "concept": "cat",
        },
    ]
    files = {"1.png": picture(1), "2.png": picture(2), "metadata.jsonl": lines(*rows)}
    with pytest.raises(DataError, match="no column for the caption"):
        build(
            tmp_path, write(tmp_path / "odd", {**files, "metadata.jsonl": lines({"file": "1.png"})})
        )
    first, second = rows
    files["metadata.jsonl"] = lines(first, {"file_name": "2.png", "captions": None} | second)
    build(tmp_path, write(tmp_path / "data", files), caption="captions")
    files["metadata.jsonl"] = lines(first, {**second, "captions": second["text"]})
    report = build(tmp_path, write(tmp_path / "data", files))
    one, two = read_pairs(report.path, split="all")
    assert one.captions == (Caption("犬"), Caption("Dog", "english", 0.5))
    assert (two.captions, two.group, two.concept) == ((Caption("猫"),), "pets", "cat")
    licences = pq.read_table(report.path / "data").column("licence").to_pylist()
    assert licences == ["CC0-1.0", "CC BY 4.0"]


def test_rows_of_one_file_are_one_picture_with_all_their_captions(tmp_path):
    table = (
        "image\tlang\tcaption\na.png\tja\t犬\na.png\tja\t白い犬\nb.png\tja\t猫\na.png\tja\t子犬\n"
    )
    files = {"a.png": picture(1), "b.png": picture(2), "t.tsv": table}
    report = build(tmp_path, write(tmp_path / "data", files))
    assert told(report.path) == [["犬", "白い犬", "子犬"], ["猫"]]
    assert (report.read, report.dropped) == (3, {"duplicate": 1})


@pytest.mark.parametrize("form", ["bytes", "struct", "path"])
def test_parquet_holds_pictures_or_names_them(tmp_path, form):
    contents = [picture(1), picture(2, "WEBP"), None]
    files = {"p/1.png": contents[0], "p/2.webp": contents[1]}
    column = {
        "bytes": contents,
        "struct": [{"bytes": c, "path": None} for c in contents],
        "path": ["p/1.png", "p/2.webp", None],
    }[form]
    folder = write(tmp_path / "data", files if form == "path" else {"read.me": b"x"})
    pq.write_table(
        pa.table({"image": column, "captions": [["山", "高い山"], ["川"], ["海"]]}),
        folder / "train-00000.parquet",
    )
    report = build(tmp_path, folder, files="*.parquet" if form == "path" else "")
    assert told(report.path) == [["山", "高い山"], ["川"]]
    assert [pair.image for pair in read_pairs(report.path, split="all")] == contents[:2]
    assert report.dropped == {"no_picture": 1}


def test_a_folder_has_the_texts_beside_its_pictures(tmp_path):
    files = {
        "00000/000000000.jpg": picture(1, "JPEG"),
        "00000/000000000.txt": "赤い車\n",
        "00000/000000001.png": picture(2),
        "00000/000000001.json": json.dumps({"caption": "青い車", "license": "MIT"}),
        "00000/000000002.png": picture(3),
        "00000/000000003.png": picture(4),
        "00000/000000003.json": "{",
        "00000/000000004.png": picture(5),
        "00000/000000004.txt": b"\xff\xfe\xff",
        "00000_stats.json": "{}",
    }
    report = build(tmp_path, write(tmp_path / "data", files))
    assert told(report.path) == [["赤い車"], ["青い車"]]
    assert report.dropped == {"malformed": 2, "no_caption": 1}
    licences = pq.read_table(report.path / "data").column("licence").to_pylist()
    assert licences == ["CC0-1.0", "MIT"]


def test_webdataset_shards_are_read_member_by_member(tmp_path):
    folder = write(tmp_path / "data", {"00000_stats.json": "{}"})
    tar(
        folder / "00000.tar",
        {
            "000.jpg": picture(1, "JPEG"),
            "000.txt": "一".encode(),
            "000.json": b'{"caption": "\\u58f1", "url": "u"}',
            "001.json": b"{}",
            "002.x.txt": b"no picture",
            "d/003.png": picture(3),
            "d/003.json": b'{"captions": ["\\u4e09", "\\u53c2"]}',
        },
    )
    tar(folder / "00001.tar", {"004.txt": "四".encode(), "004.png": picture(4), "005.png": b""})
    report = build(tmp_path, folder)
    assert told(report.path) == [["壱"], ["三", "参"], ["四"]]
    assert report.dropped == {"empty": 1, "no_picture": 2}


def test_a_damaged_shard_is_an_error_and_not_a_short_one(tmp_path):
    path = tar(tmp_path / "a.tar", {f"{n}.png": picture(n) for n in range(4)})
    content = bytearray(path.read_bytes())
    second = content.index(b"1.png")  # the header of the second member
    content[second + 148 : second + 156] = b"x" * 8  # where its checksum stands
    for broken in (bytes(content), path.read_bytes()[:2500]):
        path.write_bytes(broken)
        with pytest.raises(DataError, match="truncated or damaged"):
            build(tmp_path, path)


def test_addresses_are_joined_with_what_img2dataset_fetched(tmp_path):
    meta = "http://a/1\t富士山\nhttp://a/2\t東京\nhttp://a/1\t山\nhttp://a/9\t無い\n"
    fetched = {
        "00000/0.jpg": picture(1, "JPEG"),
        "00000/0.json": json.dumps({"url": "http://a/1", "caption": "Mount Fuji"}),
        "00000/1.jpg": picture(2, "JPEG"),
        "00000/1.json": json.dumps({"url": "http://a/3", "caption": "other"}),
        "00000/2.jpg": picture(3, "JPEG"),
        "00000/2.json": json.dumps({"url": "http://a/2"}),
        "00000/2.txt": "Tokyo",
    }
    folder = write(tmp_path / "fetched", fetched)
    table = write(tmp_path / "meta", {"cc12m.tsv": meta}) / "cc12m.tsv"
    with pytest.raises(DataError, match="address on the web") as caught:
        build(tmp_path, table)
    assert "img2dataset" in caught.value.remedy
    report = build(tmp_path, table, images=folder)
    assert told(report.path) == [["富士山", "山"], ["東京"]]
    assert report.dropped == {"not_listed": 1}
    # the same as LAION has it, and from tars
    pq.write_table(
        pa.table({"URL": ["http://a/1", "http://a/2"], "TEXT": ["富士", None], "WIDTH": [1, 2]}),
        tmp_path / "laion.parquet",
    )
    tars = tmp_path / "tars"
    tars.mkdir()
    tar(
        tars / "00000.tar",
        {
            name.split("/")[1]: c if isinstance(c, bytes) else c.encode()
            for name, c in fetched.items()
        },
    )
    report = build(tmp_path, tmp_path / "laion.parquet", images=tars)
    assert told(report.path) == [["富士"]]
    assert report.dropped == {"not_listed": 2}


def test_a_data_set_of_the_hub_is_read_at_one_commit_with_its_own_terms(tmp_path, monkeypatch):
    def shard(*numbers):
        sink = pa.BufferOutputStream()
        images = [{"bytes": picture(n), "path": f"{n}.png"} for n in numbers]
        pq.write_table(pa.table({"image": images, "text": [f"{n}番" for n in numbers]}), sink)
        return sink.getvalue().to_pybytes()

    served = FakeHub()
    monkeypatch.setenv("HF_ENDPOINT", served.endpoint)
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "cache"))
    repository = served.repositories["lab/pictures"] = Repository(card={"license": "cc-by-4.0"})
    commit = repository.commit(
        {"README.md": b"#", "data/a.parquet": shard(1, 2), "data/b.parquet": shard(3)}
    )
    report = build(tmp_path, Path("hub:lab/pictures"), licence="not stated")
    assert told(report.path) == [["1番"], ["2番"], ["3番"]]
    assert report.sources == {"hub:lab/pictures": 3}
    (licence,) = artifact.read_manifest(report.path).licences
    assert licence.licence == "cc-by-4.0" and commit in licence.url
    assert set(pq.read_table(report.path / "data").column("licence").to_pylist()) == {"cc-by-4.0"}
    asked = len(served.requests)
    assert build(tmp_path, Path("hub:lab/pictures"), licence="not stated").state == "unchanged"
    assert len(served.requests) == asked + 1  # for the commit alone
    with pytest.raises(DataError, match="no file of hub:lab/pictures matches"):
        build(tmp_path, Path("hub:lab/pictures"), licence="not stated", files="x/*")
    with pytest.raises(UsageError, match="images="):
        build(tmp_path, Path("hub:lab/pictures"), images=tmp_path)
    served.close()


# ---- what goes, and why


def test_what_is_left_out_is_counted_by_its_reason(tmp_path):
    rows = [
        ("ok.png", "良い"),
        ("same.png", "同じ"),
        ("gone.png", "無い"),
        ("../secret.png", "外"),
        ("/etc/hostname", "外"),
        ("text.png", "文"),
        ("cut.jpg", "切れ"),
        ("dot.gif", "点"),
        ("empty.png", "空"),
        ("ok2.png", "　\u200b"),
        ("", "名無し"),
    ]
    files = {
        "ok.png": picture(1),
        "same.png": picture(1),
        "../secret.png": picture(9),
        "text.png": "no picture",
        "cut.jpg": picture(2, "JPEG")[:300],
        "dot.gif": saved(Image.new("RGB", (1, 1)), "GIF"),
        "empty.png": b"",
        "ok2.png": picture(3),
        "t.tsv": "file\tcaption\n" + "".join(f"{a}\t{b}\n" for a, b in rows),
    }
    report = build(tmp_path, write(tmp_path / "data", files))
    assert told(report.path) == [["良い", "同じ"]]
    assert (report.read, report.kept) == (11, 1)
    assert report.dropped == {
        "outside": 2,
        "damaged": 1,
        "duplicate": 1,
        "empty": 1,
        "missing": 1,
        "no_caption": 1,
        "no_picture": 1,
        "not_a_picture": 1,
        "too_small": 1,
    }
    card = (report.path / "card.md").read_text(encoding="utf-8")
    assert "同じファイルが先に現れている / the same file came before" in card


def test_nothing_left_is_an_error_that_says_why(tmp_path):
    folder = write(tmp_path / "data", {"a.tsv": "x.png\tイ\n"})
    with pytest.raises(DataError, match=r"1 read, 0 kept \(missing: 1\)"):
        build(tmp_path, folder)
    assert not (tmp_path / "corpus").exists()
    with pytest.raises(DataError, match="holds no pictures"):
        build(tmp_path, write(tmp_path / "other", {"a.doc": "x"}))


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.tsv", "x.png\t一\nx.png\n", "line 2: 1 tab-separated"),
        ("a.jsonl", '{"file": "x.png", "caption": "一"}\n{"file"\n', "line 2 is not JSON"),
        ("a.jsonl", "", "has no rows"),
        ("a.tsv", "x.png\t\xff".encode("latin-1"), "is not UTF-8"),
    ],
)
def test_a_broken_line_of_a_table_is_named(tmp_path, name, content, words):
    folder = write(tmp_path / "data", {name: content, "x.png": picture(1)})
    with pytest.raises(DataError, match=words):
        build(tmp_path, folder)


@pytest.mark.parametrize(
    "captions",
    [
        3,
        {"text": 3},
        [["犬"]],
        [{"text": "犬", "weight": -1}],
        [{"text": "犬", "weight": 1e999}],
        [{"kind": "a"}],
    ],
)
def test_a_caption_that_is_no_text_is_malformed(tmp_path, captions):
    rows = [
        {"file": "1.png", "captions": captions},
        {"file": "2.png", "captions": "\ud800猫", "group": "\udfff"},
    ]
    files = {
        "1.png": picture(1),
        "2.png": picture(2),
        "t.jsonl": "".join(json.dumps(row) + "\n" for row in rows),
    }
    report = build(tmp_path, write(tmp_path / "data", files))
    assert report.dropped == {"malformed": 1}
    (pair,) = read_pairs(report.path, split="all")
    assert pair.captions == (Caption("\ufffd猫"),) and pair.group == "?"


def test_a_tar_of_nothing_is_nothing(tmp_path):
    with pytest.raises(DataError, match="0 read, 0 kept"):
        build(tmp_path, tar(tmp_path / "a.tar", {}))


def test_a_column_can_be_named_and_a_wrong_name_is_told(tmp_path):
    files = {"1.png": picture(1), "t.tsv": "bild\tja\ten\n1.png\t犬\tdog\n"}
    folder = write(tmp_path / "data", files)
    with pytest.raises(DataError, match=r"no column 'jp'.*did you mean 'ja'"):
        build(tmp_path, folder, image="bild", caption="jp")
    assert told(build(tmp_path, folder, image="bild", caption="ja").path) == [["犬"]]


def test_captions_are_normalised_into_one_line_and_said_once():
    given = [
        Caption("ﾃｽﾄ　です\r\n二行目"),
        Caption("テスト です 二行目"),
        Caption(" "),
        Caption("無", weight=0),
    ]
    assert settled(given) == (Caption("テスト です 二行目"),)


# ---- what stays together


def test_nearly_equal_pictures_share_a_group_and_never_straddle_a_split(tmp_path):
    files, rows = {}, []
    for n in range(30):
        image = scene(n, size=(200, 150))
        files |= {
            f"{n}.png": saved(image),
            f"{n}-copy.jpg": saved(image.resize((160, 120)), "JPEG", quality=90),
        }
    # all originals first: copies lie far behind them
    rows = [
        {"file": name, "caption": name} for name in sorted(files, key=lambda n: ("copy" in n, n))
    ]
    folder = write(tmp_path / "data", files | {"t.jsonl": lines(*rows)})
    report = build(tmp_path, folder, valid=0.3, test=0.3)
    groups = {}
    for pair in read_pairs(report.path, split="all"):
        groups.setdefault(pair.captions[0].text.split("-")[0].split(".")[0], set()).add(
            (pair.group, pair.split)
        )
    found = sum(len({group for group, _ in copies}) == 1 for copies in groups.values())
    assert report.kept == 60 and found >= 28  # a hash of 64 bits misses one now and then
    assert report.groups == 60 - found and report.near == 2 * found
    splits = {group: split for copies in groups.values() for group, split in copies}
    assert all(
        (group, splits[group]) in copies for copies in groups.values() for group, _ in copies
    )
    assert min(report.splits.values()) > 8
    assert build(tmp_path, folder, near="off").groups == 60


def test_a_group_is_named_by_its_first_picture_through_chains(tmp_path):
    image = scene(3, size=(120, 90))
    rows = [
        {"file": "a.png", "caption": "a", "group": "one"},
        {"file": "b.png", "caption": "b", "group": "two"},
        {"file": "c.png", "caption": "c", "group": "one"},
        {"file": "d.png", "caption": "d"},
    ]
    files = {
        "a.png": picture(1),
        "b.png": saved(image),
        "c.png": saved(image.point(lambda value: min(255, value + 3))),
        "d.png": picture(4),
        "t.jsonl": lines(*rows),
    }
    report = build(tmp_path, write(tmp_path / "data", files))
    names = {pair.captions[0].text: pair.group for pair in read_pairs(report.path, split="all")}
    assert names["a"] == names["b"] == names["c"] == "one"
    assert names["d"] not in ("one", "two") and report.groups == 2


@given(
    base=st.lists(st.integers(0, 2**64 - 1), min_size=1, max_size=12, unique=True),
    flips=st.lists(st.tuples(st.integers(0, 63), st.integers(0, 63)), min_size=1, max_size=12),
    bits=st.integers(0, 2),
)
def test_near_hashes_are_found_as_comparing_all_with_all_does(base, flips, bits):
    hashes = np.asarray(
        [*base, *(b ^ (1 << i) ^ (1 << j) for b, (i, j) in zip(base, flips, strict=False))],
        np.uint64,
    )
    sure = [n for n, h in enumerate(hashes) if 4 <= int(h).bit_count() <= 60]
    expected = {
        (one, other)
        for one in sure
        for other in sure
        if one < other and (int(hashes[one]) ^ int(hashes[other])).bit_count() <= bits
    }

    def groups(pairs):
        parent = list(range(len(hashes)))
        for one, other in pairs:
            a, b = parent[one], parent[other]
            parent = [min(a, b) if p in (a, b) else p for p in parent]
        return parent

    found = {tuple(pair) for pair in near_pairs(hashes, bits=bits).tolist()}
    assert found <= expected
    assert groups(found) == groups(expected)


# ---- building


def test_the_same_corpus_comes_of_many_processes_and_of_one(tmp_path):
    rows = [{"file": f"{n}.png", "caption": f"{n}"} for n in range(150)]
    files = {f"{n}.png": picture(n) for n in range(150)} | {"a.jsonl": lines(*rows)}
    folder = write(tmp_path / "data", files)
    one = build(tmp_path, folder)
    settings = PairSettings(source="pictures", path=folder, licence="CC0-1.0", workers=2)
    two = build_pairs(settings=settings, out=tmp_path / "two")
    assert (two.path / "data/00000.parquet").read_bytes() == (
        one.path / "data/00000.parquet"
    ).read_bytes()


def test_an_unchanged_source_is_not_built_again_and_a_changed_one_is(tmp_path):
    folder = write(tmp_path / "data", {"1.png": picture(1), "t.tsv": "1.png\t犬\n"})
    assert build(tmp_path, folder).state == "built"
    assert build(tmp_path, folder).state == "unchanged"
    assert build(tmp_path, folder, licence="MIT").state == "built"
    (folder / "1.png").write_bytes(picture(2))
    os.utime(folder / "1.png", (1, 1))
    assert build(tmp_path, folder, licence="MIT").state == "built"


def test_a_killed_build_goes_on_behind_the_last_shard(tmp_path, monkeypatch):
    folder = tmp_path / "data"
    folder.mkdir()
    for n in range(3):
        tar(
            folder / f"{n}.tar",
            {
                f"{k}.{x}": picture(10 * n + k) if x == "png" else b"c"
                for k in range(4)
                for x in ("png", "txt")
            },
        )
    seen = []
    real = pair_corpus.pair_measure._look

    def look(content, draw):
        seen.append(content)
        if len(seen) == 7:
            raise KeyboardInterrupt
        return real(content, draw)

    monkeypatch.setattr(pair_corpus.pair_measure, "_look", look)
    with pytest.raises(KeyboardInterrupt):
        build(tmp_path, folder)
    report = build(tmp_path, folder)
    assert report.state == "resumed" and report.kept == 12
    assert len(seen) == 7 + 8  # the first shard was not opened again
    whole = build_pairs(
        settings=PairSettings(source="pictures", path=folder, workers=1, licence="CC0-1.0"),
        out=tmp_path / "whole",
    )
    assert list(read_pairs(whole.path, split="all")) == list(read_pairs(report.path, split="all"))


def test_a_picture_that_changes_between_two_looks_is_refused(tmp_path, monkeypatch):
    folder = write(tmp_path / "data", {"1.png": picture(1), "t.tsv": "1.png\t犬\n"})
    real = pair_corpus.select

    def then_changed(*args, **kwargs):
        (folder / "1.png").write_bytes(picture(2))
        return real(*args, **kwargs)

    monkeypatch.setattr(pair_corpus, "select", then_changed)
    with pytest.raises(DataError, match="has changed while"):
        build(tmp_path, folder)


def test_a_sample_is_the_first_pictures(tmp_path):
    folder = tmp_path / "data"
    folder.mkdir()
    for n in range(3):
        tar(
            folder / f"{n}.tar",
            {
                f"{k}.{x}": picture(10 * n + k) if x == "png" else f"{n}{k}".encode()
                for k in range(4)
                for x in ("png", "txt")
            },
        )
    report = build(tmp_path, folder, limit=6)
    assert report.read == 6
    assert told(report.path) == [["00"], ["01"], ["02"], ["03"], ["10"], ["11"]]


def test_gif_and_bmp_are_stored_as_png(tmp_path):
    files = {
        "1.gif": picture(1, "GIF"),
        "2.bmp": picture(2, "BMP"),
        "t.tsv": "1.gif\ta\n2.bmp\tb\n",
    }
    report = build(tmp_path, write(tmp_path / "data", files))
    assert all(pair.image.startswith(b"\x89PNG") for pair in read_pairs(report.path, split="all"))


# ---- what is refused


def test_settings_of_the_other_source_are_refused(tmp_path):
    with pytest.raises(UsageError, match="does not read renderers"):
        build(tmp_path, tmp_path / "data", renderers=("noto",))
    with pytest.raises(UsageError, match="does not read licence"):
        build_pairs(settings=PairSettings(source="emoji", licence="x"), out=tmp_path / "c")
    with pytest.raises(UsageError, match="needs the place"):
        build_pairs(settings=PairSettings(source="pictures"), out=tmp_path / "c")
    folder = write(tmp_path / "data", {"1.png": picture(1), "1.txt": "a"})
    with pytest.raises(UsageError, match="images="):
        build(tmp_path, folder, images=folder)


def test_a_corpus_does_not_replace_its_source_or_one_of_text(tmp_path):
    folder = write(tmp_path / "data", {"1.png": picture(1), "1.txt": "犬"})
    with pytest.raises(UsageError, match="is where the source"):
        build_pairs(settings=PairSettings(source="pictures", path=folder), out=folder / "c")
    text = BuildSettings(
        source="local", path=write(tmp_path / "t", {"a.txt": "今日は良い天気です。"})
    )
    from minna.corpus import build as build_documents

    build_documents(open_source(text), out=tmp_path / "corpus", settings=text)
    with pytest.raises(ArtifactError, match="without pictures"):
        build(tmp_path, folder)
    with pytest.raises(ArtifactError, match="holds no pictures"):
        read_pairs(tmp_path / "corpus", split="all")
    with pytest.raises(UsageError, match="gives pictures, and documents are needed"):
        open_source(BuildSettings(source="emoji"))
    assert "emoji" in DESCRIPTIONS and "pictures" in DESCRIPTIONS


# ---- verbs that meet such a corpus


def test_the_command_line_builds_prints_and_refuses(tmp_path):
    files = {"1.png": picture(1), "t.tsv": "1.png\t犬\n"}
    folder, out = write(tmp_path / "data", files), tmp_path / "corpus"
    words = ["build", "pictures", "--from", str(folder), "--out", str(out), "--licence", "MIT"]
    done = RUN.invoke(app, [*words, "near=off", "workers=1", "--json"])
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["kept"] == 1
    assert "  pictures  1 of 1" in RUN.invoke(app, [*words, "near=off", "workers=1"]).stdout
    row = json.loads(RUN.invoke(app, ["cat", str(out)]).stdout)
    assert row["image"] == format_bytes(len(files["1.png"])) and row["captions"][0]["text"] == "犬"
    wrong = RUN.invoke(app, [*words, "--field", "x"])
    assert isinstance(wrong.exception, UsageError) and "--field does not apply" in str(
        wrong.exception
    )
    missing = RUN.invoke(app, ["build", "pictures", "--out", str(out)])
    assert isinstance(missing.exception, UsageError)


def test_text_verbs_read_captions_as_lines(tmp_path):
    words = [
        "赤い花",
        "青い海",
        "白い雲",
        "黒い猫",
        "高い山",
        "長い川",
        "丸い月",
        "古い家",
        "新しい本",
        "小さい犬",
    ]
    rows = [
        {"file": f"{n}.png", "captions": [words[n % 10], f"{words[n % 7]}の絵"]} for n in range(40)
    ]
    files = {f"{n}.png": picture(n) for n in range(40)} | {"a.jsonl": lines(*rows)}
    report = build(tmp_path, write(tmp_path / "data", files), valid=0.2, test=0)
    for split in ("all", "valid"):
        documents = list(texts(report.path, split=split))
        assert [one.text.split("\n") for one in documents] == told(report.path, split)
    import dataclasses

    settings = dataclasses.replace(PRESETS["minna"], vocab_size=330)
    tokenizer = train_tokenizer(report.path, out=tmp_path / "tokenizer", settings=settings)
    assert artifact.read_manifest(tokenizer).licences[0].licence == "CC0-1.0"
