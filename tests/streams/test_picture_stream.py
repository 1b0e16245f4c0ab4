"""A step shows each thing once, a picture is called by all its names, and a run that goes on is the same run."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tests.toy_pictures import CONCEPTS, make_pairs

from minna.corpus.pair_rows import Caption
from minna.streams.captions import Drawer, Drawing
from minna.streams.picture_rows import PictureRows, write_pictures
from minna.streams.pictures import PictureStream, Texts, different, number_of, numbered
from minna.tokenizer import TokenizerSettings, load_tokenizer, train_tokenizer

CAPTIONS = (
    Caption("犬", "name", 1.0),
    Caption("動物", "keyword", 1.0),
    Caption("ペット", "keyword", 1.0),
    Caption("犬が走っている。", "caption", 3.0),
)


class Numbered:
    """Features that say which picture and view they are of."""

    views = 3

    def of(self, numbers, views):
        return np.stack([numbers, views], axis=1).astype(np.float32)


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    root = tmp_path_factory.mktemp("rows")
    pairs = make_pairs(root)
    tokenizer = train_tokenizer(
        pairs, out=root / "tokenizer", settings=TokenizerSettings(vocab_size=350)
    )
    out = write_pictures(
        pairs, tokenizer=tokenizer, sources=(), pictures="left", out=root / "tokens"
    )
    return PictureRows(out, split="train"), load_tokenizer(tokenizer)


def stream_of(rows, **more):
    pictures, words = rows
    settings = {
        "seen": Numbered(),
        "words": words,
        "drawer": Drawer(Drawing()),
        "row_tokens": 12,
        "batch_rows": 16,
        "step_rows": 16,
        "seed": 3,
    }
    return PictureStream(pictures, **(settings | more))


@given(
    st.lists(st.integers(0, 12), min_size=1, max_size=80),
    st.integers(1, 6),
    st.integers(0, 5),
)
def test_a_step_shows_no_thing_twice_and_an_epoch_no_picture_twice(concepts, step_rows, seed):
    concepts = np.asarray(concepts)
    step_rows = min(step_rows, len(np.unique(concepts)))
    dealt = different(concepts, step_rows=step_rows, generator=np.random.default_rng(seed))
    assert len(dealt) % step_rows == 0 and len(dealt)
    assert len(set(dealt.tolist())) == len(dealt)
    for step in concepts[dealt].reshape(-1, step_rows):
        assert len(set(step.tolist())) == step_rows


def test_over_many_epochs_every_picture_comes():
    concepts = np.asarray([0] * 7 + [1, 2, 3])
    seen = Counter()
    for epoch in range(200):
        dealt = different(concepts, step_rows=3, generator=np.random.default_rng(epoch))
        seen.update(dealt.tolist())
    assert len(seen) == 10


def test_the_nameless_are_things_of_their_own():
    numbers = numbered(["犬", "", "犬", "", "猫"])
    assert numbers[0] == numbers[2] and len(set(numbers.tolist())) == 4


def test_every_way_of_calling_a_picture_comes():
    drawer = Drawer(Drawing(templates="own", keywords=2), templates=("{}の絵",))
    told = Counter(
        drawer.draw(CAPTIONS, generator=np.random.default_rng(seed)) for seed in range(600)
    )
    for text in ("犬", "犬の絵", "動物", "ペット、動物", "犬が走っている。", "犬の絵、動物"):
        assert told[text], text
    assert told["犬が走っている。"] > told["犬"]  # by weight


def test_without_keywords_captions_are_drawn_by_weight():
    drawer = Drawer(Drawing(keywords=0))
    told = Counter(
        drawer.draw(CAPTIONS, generator=np.random.default_rng(seed)) for seed in range(900)
    )
    assert set(told) == {one.text for one in CAPTIONS}
    assert told["犬が走っている。"] == pytest.approx(450, abs=60)  # 3 of 6


def test_one_caption_is_drawn_as_it_is():
    only = (Caption("犬", "name", 0.0),)
    assert Drawer(Drawing()).draw(only, generator=np.random.default_rng(0)) == "犬"


def test_texts_have_a_token_in_front_are_cut_and_padded(rows):
    _, words = rows
    batch = Texts(words, row_tokens=6).batch(["赤い丸", "北海道の図書館", "赤い丸"])
    tokens, lengths = batch["tokens"], batch["lengths"].tolist()
    assert tokens.shape == (3, 6) and max(lengths) == 6
    assert set(tokens[:, 0].tolist()) == {words.bos_id}
    ids = words.encode("赤い丸")
    assert tokens[0, 1 : lengths[0]].tolist() == list(ids)[: lengths[0] - 1]
    assert set(tokens[0, lengths[0] :].tolist()) <= {words.pad_id}
    assert batch["same"][0] == batch["same"][2] != batch["same"][1]
    assert number_of("赤い丸") == batch["same"][0]


def test_a_batch_holds_different_things_and_features_of_augmented_views(rows):
    stream = stream_of(rows)
    concepts = rows[0].concepts()
    for _ in range(6):
        batch = next(stream)
        numbers, views = batch["features"].to(torch.int64).unbind(1)
        assert len({concepts[n] for n in numbers.tolist()}) == 16
        assert set(views.tolist()) <= {1, 2}


def test_two_ranks_see_what_one_does(rows):
    one, left, right = (
        stream_of(rows),
        stream_of(rows, batch_rows=8, rank=0, ranks=2),
        stream_of(rows, batch_rows=8, rank=1, ranks=2),
    )
    for _ in range(5):
        whole, parts = next(one), (next(left), next(right))
        features = torch.cat([part["features"] for part in parts])
        assert torch.equal(whole["features"], features)
        assert torch.equal(whole["same"], torch.cat([part["same"] for part in parts]))


def test_a_stream_goes_on_where_it_stood_also_in_other_micro_batches(rows):
    stream = stream_of(rows, batch_rows=4)
    for _ in range(9):
        next(stream)
    state = stream.state_dict()
    following = [next(stream) for _ in range(3)]
    other = stream_of(rows, batch_rows=4)
    other.load_state_dict(state)
    assert all(torch.equal(a["same"], next(other)["same"]) for a in following)
    wide = stream_of(rows, batch_rows=12, step_rows=12)
    wide.load_state_dict({"epoch": 0, "place": 0})
    assert next(wide)["features"].shape == (12, 2)


def test_rows_say_what_there_is(rows):
    pictures, _ = rows
    assert len(pictures) == len(pictures.concepts()) == len(pictures.sources())
    assert f"{len(pictures)} pictures" in pictures.words()
    assert pictures.epochs(tokens=12.0 * len(pictures), row_tokens=12) == pytest.approx(1.0)
    (captions,) = pictures.captions_of([5])
    assert [one.text for one in captions] == [captions[0].text, f"{captions[0].text}の絵"]
    assert captions[0].text in CONCEPTS
    assert pictures.images_of([0]) == [b""]
