"""Features are what the tower says, computed once, whole after a kill, and never another tower's."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tests.toy_pictures import make_pairs, make_tower

from minna.corpus.pair_corpus import read_pairs
from minna.corpus.pictures import open_picture
from minna.runtime import features
from minna.runtime.features import Which, fill
from minna.runtime.towers import open_tower


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    root = tmp_path_factory.mktemp("features")
    return make_pairs(root), make_tower(root), make_tower(root, seed=1)


def test_they_are_what_the_tower_makes_of_each_picture(world, tmp_path):
    corpus, folder, _ = world
    found = fill(corpus, tower=folder, which=Which(split="train", views=3), cache=tmp_path)
    tower = open_tower(folder)
    pictures = [open_picture(pair.image) for pair in read_pairs(corpus, split="train")]
    with torch.no_grad():
        expected = tower(tower.preprocess.pixels(pictures)).numpy()
    assert (len(found), found.views, found.width) == (len(pictures), 3, 32)
    np.testing.assert_allclose(found.plain(), expected, atol=2e-3)
    np.testing.assert_allclose(found.mean(), expected.mean(0), atol=2e-3)
    numbers = np.asarray([3, 3, 0])
    some = found.of(numbers, np.asarray([0, 1, 2]))
    assert np.array_equal(some[0], found.plain()[3]) and not np.array_equal(some[0], some[1])


def test_they_are_computed_once(world, tmp_path, monkeypatch):
    corpus, folder, _ = world
    which = Which(split="valid")
    first = fill(corpus, tower=folder, which=which, cache=tmp_path)
    monkeypatch.setattr(features, "_compute", lambda *_, **__: pytest.fail("computed again"))
    assert fill(corpus, tower=folder, which=which, cache=tmp_path).path == first.path


def test_another_tower_other_views_or_pictures_are_other_features(world, tmp_path):
    corpus, folder, other = world
    wanted = [
        (folder, Which(split="valid")),
        (other, Which(split="valid")),
        (folder, Which(split="valid", views=2)),
        (folder, Which(split="train", sources=("pictures",))),
    ]
    paths = {fill(corpus, tower=t, which=w, cache=tmp_path).path for t, w in wanted}
    assert len(paths) == 4


def test_a_fill_that_was_killed_goes_on_with_the_next_part(world, tmp_path, monkeypatch):
    corpus, folder, _ = world
    which = Which(split="train", views=2)
    monkeypatch.setattr(features, "_PART", 16)
    whole = fill(corpus, tower=folder, which=which, cache=tmp_path / "whole")
    seen = features._seen
    calls = []

    def dies(*args, **kwargs):
        calls.append(kwargs["start"])
        if len(calls) == 3:
            raise KeyboardInterrupt
        return seen(*args, **kwargs)

    monkeypatch.setattr(features, "_seen", dies)
    with pytest.raises(KeyboardInterrupt):
        fill(corpus, tower=folder, which=which, cache=tmp_path / "killed")
    resumed = fill(corpus, tower=folder, which=which, cache=tmp_path / "killed")
    assert calls[:4] == [0, 16, 32, 32]
    assert np.array_equal(resumed._array, whole._array)
    assert not list(resumed.path.glob("part-*"))
