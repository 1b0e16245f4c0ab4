"""The classifier: the rule of the papers, each text encoded once, and the first of equals wins."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.colour_world import COLOURS, ColourTowers, paint

from minna.corpus.pictures import open_picture
from minna.errors import DataError
from minna.runtime import zero_shot
from minna.runtime.class_names import PictureClass, Templates, classes_of, fill
from minna.runtime.zero_shot import best, build_classifier, label_ranks, shares

TEMPLATES = Templates(title="made", texts=("{}の絵", "小さい{}", "{c}"))


@pytest.fixture(autouse=True)
def _cache(tmp_path, monkeypatch):
    monkeypatch.setenv("MINNA_CACHE", str(tmp_path / "cache"))


def unit(vector):
    return vector / np.linalg.norm(vector)


@pytest.mark.parametrize("held", [1, 7, 50_000])
def test_a_class_is_the_mean_of_its_sentences_whatever_the_block(monkeypatch, held):
    monkeypatch.setattr(zero_shot, "_SENTENCES", held)
    towers = ColourTowers(noise=0.5)
    classes = classes_of(["赤,深い赤", "青", "緑", "青"])
    found = build_classifier(towers, classes, templates=TEMPLATES)
    for number, one in enumerate(classes):
        texts = [fill(text, name) for text in TEMPLATES.texts for name in one.names]
        expected = unit(np.stack([unit(row) for row in towers.texts(texts)]).mean(axis=0))
        np.testing.assert_allclose(found.weights[found.columns[number]], expected, atol=1e-6)


def test_each_different_text_is_encoded_once_and_the_second_call_encodes_none(tmp_path):
    towers = ColourTowers()
    classes = classes_of(["赤", "青", "赤", "青,赤"])
    first = build_classifier(towers, classes, templates=TEMPLATES)
    assert sorted(towers.encoded) == sorted(set(towers.encoded))
    assert len(towers.encoded) == 6
    again = build_classifier(towers, classes, templates=TEMPLATES)
    assert len(towers.encoded) == 6
    np.testing.assert_array_equal(first.weights, again.weights)
    (file,) = (tmp_path / "cache" / "zero-shot").iterdir()
    file.write_bytes(file.read_bytes()[:100])  # what was cut is computed again
    build_classifier(towers, classes, templates=TEMPLATES)
    assert len(towers.encoded) == 12


def test_another_model_other_names_or_other_templates_are_another_classifier(tmp_path):
    classes = classes_of(["赤", "青"])
    build_classifier(ColourTowers(), classes)
    build_classifier(ColourTowers("another"), classes)
    build_classifier(ColourTowers(), classes, templates=TEMPLATES)
    build_classifier(ColourTowers(), classes_of(["赤", "緑"]))
    build_classifier(ColourTowers(), [PictureClass(id="other", names=one.names) for one in classes])
    assert len(list((tmp_path / "cache" / "zero-shot").iterdir())) == 4  # ids are no texts


def test_it_names_pictures_rightly():
    towers = ColourTowers()
    classifier = build_classifier(towers, classes_of(list(COLOURS)), templates=TEMPLATES)
    vectors = towers.images([open_picture(paint(name, seed=7)) for name in COLOURS])
    scores = classifier.scores(vectors)
    assert best(scores, 1)[:, 0].tolist() == list(range(len(COLOURS)))
    np.testing.assert_allclose(scores, 20 * vectors @ classifier.weights.T, rtol=1e-5)
    np.testing.assert_allclose(shares(scores).sum(axis=1), 1)


def test_of_classes_with_equal_names_the_first_wins_always():
    towers = ColourTowers()
    classifier = build_classifier(towers, classes_of(["緑", "赤", "青", "赤", "赤"]))
    assert classifier.weights.shape[0] == 3
    vectors = towers.images([open_picture(paint("赤", seed=k)) for k in range(20)])
    scores = classifier.scores(vectors)
    assert set(best(scores, 5)[:, 0].tolist()) == {1}
    assert set(label_ranks(scores, np.full(20, 1)).tolist()) == {1}
    assert set(label_ranks(scores, np.full(20, 4)).tolist()) == {3}


@given(st.integers(1, 5), st.integers(2, 6), st.integers(0, 999))
def test_the_rank_is_the_place_in_the_order(n, c, seed):
    generator = np.random.default_rng(seed)
    scores = generator.integers(0, 4, (n, c)).astype(np.float32)
    labels = generator.integers(0, c, n)
    order = best(scores, c)
    expected = [1 + order[row].tolist().index(label) for row, label in enumerate(labels.tolist())]
    assert label_ranks(scores, labels).tolist() == expected


def test_a_model_that_gives_no_numbers_is_refused():
    class Broken(ColourTowers):
        def texts(self, texts):
            return super().texts(texts) * np.nan

    with pytest.raises(DataError, match="no numbers"):
        build_classifier(Broken(), classes_of(["赤", "青"]))
