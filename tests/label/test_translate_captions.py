"""Captions in another language: each is checked by itself, and joined back beside its picture."""

from __future__ import annotations

import pyarrow.parquet as pq
import pytest
from tests.colour_world import COLOURS, pair, write_pairs
from tests.label.made_up import KanaTranslator, RefusingTranslator, to_kana

from minna import artifact
from minna.corpus import read_pairs
from minna.corpus.pair_rows import Caption
from minna.corpus.sidecar import join
from minna.errors import DataError, UsageError
from minna.label import translate

NAMES = list(COLOURS)


def rows():
    found = []
    for n in range(6):
        row = pair(n, NAMES[n], split=("train", "test")[n % 2])
        captions = (
            Caption(f"A small square number {n} on a table.", "caption", 1.0),
            Caption("a thing of one colour", "generated", 0.5),
            Caption("square", "keyword", 0.25),
        )
        found.append(row._replace(captions=captions))
    found[4] = found[4]._replace(captions=found[4].captions[:1])
    return found


@pytest.fixture
def corpus(tmp_path):
    return write_pairs(tmp_path / "corpus", rows())


def run(corpus, tmp_path, translator=None, out="ja"):
    return translate(
        corpus,
        out=tmp_path / out,
        translator=translator or KanaTranslator(),
        cache=tmp_path / f"{out}.cache",
    )


def table(sidecar):
    return pq.read_table(sidecar / "data" / "00000.parquet").to_pylist()


def test_every_caption_is_translated_once_and_keeps_its_weight_and_kind(corpus, tmp_path):
    translator = KanaTranslator()
    report = run(corpus, tmp_path, translator)
    assert (report.unit, report.read, report.kept, report.texts) == ("pictures", 6, 6, 16)
    assert sorted(translator.asked) == sorted({c.text for row in rows() for c in row.captions})
    done = join(corpus, sidecar=report.path, out=tmp_path / "joined")
    assert (done.unit, done.kept) == ("pictures", 6)
    kinds = {"caption": "translation"}
    for row, one in zip(rows(), read_pairs(tmp_path / "joined", split="all"), strict=True):
        assert (one.id, one.group, one.split, one.image) == (
            row.id,
            row.group,
            row.split,
            row.image,
        )
        assert one.captions == tuple(
            Caption(to_kana(c.text), kinds.get(c.kind, c.kind), c.weight) for c in row.captions
        )
    legal = artifact.read_manifest(tmp_path / "joined").legal
    assert any("Machine-translated from English into Japanese by kana" in note for note in legal)


def test_a_bad_caption_goes_alone_and_a_picture_with_none_left_goes(corpus, tmp_path):
    lost = {
        f"A small square number {n} on a table.": "つくえのうえのちいさなしかく" for n in (1, 4)
    }
    report = run(corpus, tmp_path, KanaTranslator(answers=lost))
    assert report.kept == 5 and report.dropped == {"numbers": 1}
    said = table(report.path)
    assert [one["reason"] for one in said[1]["captions"]] == ["numbers", "", ""]
    assert said[1]["kept"] and not said[4]["kept"] and said[4]["reason"] == "numbers"
    assert artifact.read_manifest(report.path).counts["captions_dropped_numbers"].value == 2
    done = join(corpus, sidecar=report.path, out=tmp_path / "joined")
    assert done.dropped == {"numbers": 1}
    found = {one.id: one for one in read_pairs(tmp_path / "joined", split="all")}
    assert f"{4:016x}" not in found
    assert [one.kind for one in found[f"{1:016x}"].captions] == ["generated", "keyword"]


def test_nothing_kept_is_an_error_and_weights_are_not_for_translations(corpus, tmp_path):
    refused = run(corpus, tmp_path, RefusingTranslator("A small", "thing", "square"), out="refused")
    assert refused.kept == 0 and refused.dropped == {"failed": 6}
    with pytest.raises(DataError, match="none of 6 pictures is kept"):
        join(corpus, sidecar=refused.path, out=tmp_path / "none")
    good = run(corpus, tmp_path)
    with pytest.raises(UsageError, match="holds translations"):
        join(corpus, sidecar=good.path, out=tmp_path / "joined", weight=0.5)
