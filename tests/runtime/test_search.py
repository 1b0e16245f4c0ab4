"""A search finds the nearest, all of them compared; its page is safe and stands alone."""

from __future__ import annotations

import re

import numpy as np
import pytest
from tests.colour_world import COLOURS, ColourTowers, paint, pair, write_folder, write_pairs

from minna.errors import DataError, UsageError
from minna.runtime import search as room
from minna.runtime.picture_index import update_index
from minna.runtime.places import open_place
from minna.runtime.search import ask, search
from minna.runtime.search_page import Found, write_search_page


@pytest.fixture(autouse=True)
def _cache(tmp_path, monkeypatch):
    monkeypatch.setenv("MINNA_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def found_in(tmp_path):
    place = open_place(write_folder(tmp_path / "in", each=3))
    return place, update_index(place, ColourTowers())


@pytest.mark.parametrize("block", [1, 5, 65_536])
def test_the_hits_are_those_of_a_full_sort_whatever_the_block(found_in, monkeypatch, block):
    monkeypatch.setattr(room, "_BLOCK", block)
    _, index = found_in
    question = ask(ColourTowers(), "青い絵")
    scores = np.asarray(index.vectors, np.float32) @ question.vector
    order = np.argsort(-scores, kind="stable")[:7]
    hits = search(index, question.vector, top=7)
    assert [hit.path for hit in hits] == [index.rows[k].path for k in order]
    assert [hit.score for hit in hits] == pytest.approx(scores[order].tolist())
    assert {hit.path.split("/")[0] for hit in hits[:3]} == {"青"}
    assert len(search(index, question.vector, top=99)) == 24


def test_a_picture_finds_those_like_it(found_in, tmp_path):
    _, index = found_in
    (tmp_path / "asked.png").write_bytes(paint("紫", seed=77))
    question = ask(ColourTowers(), str(tmp_path / "asked.png"))
    assert {hit.path.split("/")[0] for hit in search(index, question.vector, top=3)} == {"紫"}


def test_a_question_that_means_nothing_is_refused(tmp_path):
    with pytest.raises(UsageError, match="called like a picture"):
        ask(ColourTowers(), "夕日.jpg")
    with pytest.raises(UsageError, match="empty"):
        ask(ColourTowers(), " ")
    (tmp_path / "bad.png").write_bytes(b"no")
    with pytest.raises(DataError, match="no picture"):
        ask(ColourTowers(), str(tmp_path / "bad.png"))


def test_the_page_shows_every_hit_loads_nothing_and_escapes_everything(tmp_path):
    evil = "<script>alert(1)</script>&\"'"
    root = write_folder(tmp_path / "in", each=1)
    (root / "赤" / "<img src=x onerror=y>.png").write_bytes(paint("赤", seed=9))
    (tmp_path / "asked.png").write_bytes(paint("赤", seed=3))
    place, towers = open_place(root), ColourTowers(evil)
    index = update_index(place, towers)
    found = [
        Found(question=(question := ask(towers, query)), hits=search(index, question.vector, top=5))
        for query in (f"赤{evil}", str(tmp_path / "asked.png"))
    ]
    (root / "赤" / "0.png").unlink()  # a hit that is gone by the time the page is made
    write_search_page(tmp_path / "out.html", found, place=place, model=towers.name, pictures=9)
    text = (tmp_path / "out.html").read_text(encoding="utf-8")
    assert "<script" not in text
    assert "<img src=x" not in text
    assert "&lt;img src=x onerror=y&gt;.png" in text
    assert text.count("<li>") == 10
    assert "no longer there" in text
    assert len(
        re.findall(r'<img src="data:image/jpeg;base64,[A-Za-z0-9+/=]+"', text)
    ) == text.count("<img ")
    links = re.findall(r'href="([^"]*)"', text)
    assert links and all(link.startswith("file:///") for link in links)


def test_the_page_of_a_corpus_shows_captions_and_links_nowhere(tmp_path):
    corpus = write_pairs(tmp_path / "pairs", [pair(k, colour) for k, colour in enumerate(COLOURS)])
    place, towers = open_place(corpus), ColourTowers()
    question = ask(towers, "緑")
    hits = search(update_index(place, towers), question.vector, top=3)
    assert hits[0].title == "緑の四角"
    write_search_page(
        tmp_path / "out.html",
        [Found(question=question, hits=hits)],
        place=place,
        model="m",
        pictures=8,
    )
    text = (tmp_path / "out.html").read_text(encoding="utf-8")
    assert "緑の四角" in text
    assert "href=" not in text
