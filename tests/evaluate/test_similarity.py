"""Files of sentence pairs, as JGLUE has them and as tables; and what a cosine is worth against them."""

from __future__ import annotations

import json

import numpy as np
import pytest
from tests.colour_world import ColourTowers

from minna.errors import DataError, UsageError
from minna.evaluate.similarity import Likened, measure_similarity, read_likened

ROWS = [
    ("赤い絵", "赤の絵", 5.0), ("青い絵", "青の絵", 4.6), ("赤い絵", "紫の絵", 2.4), ("赤い絵", "青の絵", 0.4),
    ("緑の絵", "紫の絵", 0.2), ("黄色", "黄色の絵", 4.8), ("黒", "水色", 0.1), ("青い絵", "水色", 2.9),
]  # fmt: skip


def test_both_forms_are_read(tmp_path):
    lines = [
        json.dumps(
            {
                "sentence_pair_id": str(k),
                "yjcaptions_id": "1",
                "sentence1": a,
                "sentence2": b,
                "label": s,
            }
        )
        for k, (a, b, s) in enumerate(ROWS)
    ]
    (tmp_path / "a.json").write_text("\n".join(lines) + "\n", encoding="utf-8")
    table = "\n".join(f"{a}\t{b}\t{s}" for a, b, s in ROWS)
    (tmp_path / "a.tsv").write_text(table, encoding="utf-8")
    (tmp_path / "head.tsv").write_text(
        f"\ufeffsentence1\tsentence2\tlabel\r\n{table}\r\n", encoding="utf-8"
    )
    expected = [Likened(first=a, second=b, score=s) for a, b, s in ROWS]
    for name in ("a.json", "a.tsv", "head.tsv"):
        assert read_likened(tmp_path / name) == expected


def test_a_model_that_knows_colours_agrees_with_people_and_noise_does_not():
    pairs = [Likened(first=a, second=b, score=s) for a, b, s in ROWS]
    towers = ColourTowers()
    found = measure_similarity(towers, pairs)
    assert len(towers.encoded) == found.sentences == len(set(towers.encoded)) == 10
    assert found.spearman.value > 0.85
    assert found.spearman.low <= found.spearman.value <= found.spearman.high
    vectors = dict(zip(towers.encoded, towers.texts(list(towers.encoded)), strict=False))
    cosines = [float(vectors[pair.first] @ vectors[pair.second]) for pair in pairs]
    assert found.pearson.value == pytest.approx(np.corrcoef(cosines, [s for _, _, s in ROWS])[0, 1])
    assert measure_similarity(ColourTowers(noise=1000), pairs).spearman.value < found.spearman.value


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "empty"),
        ('{"sentence1": "a", "sentence2": "b"}', "score 'None'"),
        ('{"sentence1": "a", "label": 1}', "has no sentence1"),
        ('{"sentence1": "a", "sentence2": "b", "label": 1}\n[1]', "line 2"),
        ('{"sentence1": "a", "sentence2": "b", "label": 1}\n{', "line 2 .* not JSON"),
        ("a\tb\t1\na\tb\n", "line 2 .* 2 columns"),
        ("a\tb\t1\na\tb\tnan\n", "line 2 .* 'nan'"),
        ("a\tb\t1\n \tb\t1\n", "line 2 .* empty sentence"),
    ],
)
def test_a_line_that_is_no_pair_is_named(tmp_path, content, message):
    (tmp_path / "a.tsv").write_text(content, encoding="utf-8")
    with pytest.raises(DataError, match=message):
        read_likened(tmp_path / "a.tsv")


def test_too_few_pairs_or_no_file_are_refused(tmp_path):
    with pytest.raises(UsageError):
        read_likened(tmp_path / "none.tsv")
    for pairs in ([], [Likened(first="a", second="b", score=1)] * 2):
        with pytest.raises(DataError):
            measure_similarity(ColourTowers(), pairs)
