"""Filtering by scores: what goes is what lies below the cut, and nothing else changes."""

from __future__ import annotations

import json

import pyarrow.parquet as pq
import pytest
from tests.colour_world import COLOURS, ColourTowers, pair, write_model, write_pairs
from typer.testing import CliRunner

from minna import artifact
from minna.cli import verbs
from minna.cli.main import app
from minna.corpus import read_pairs
from minna.corpus.filter_pairs import FilterSettings, filter_pairs
from minna.corpus.pair_rows import Caption
from minna.errors import ArtifactError, DataError, MinnaError, UsageError
from minna.label.clip_score import clip_score

RUN = CliRunner()
verbs.register(app)
NAMES = list(COLOURS)
COUNT, WRONG = 40, (3, 8, 12, 21, 30)  # 3, 21 are held out


def rows():
    found = []
    for n in range(COUNT):
        split = "test" if n % 6 == 3 else "train"
        row = pair(n, NAMES[n % len(NAMES)], split=split, more=(Caption("空", "keyword", 0.25),))
        if n in WRONG:
            other = NAMES[(n + 3) % len(NAMES)]
            row = row._replace(
                captions=(Caption(other, "name"), Caption(f"{other}の丸", "keyword", 2))
            )
        found.append(row)
    return found


@pytest.fixture
def scored(tmp_path):
    """(corpus, side-car)."""
    corpus = write_pairs(tmp_path / "corpus", rows())
    report = clip_score(
        corpus,
        out=tmp_path / "scores",
        towers=ColourTowers(),
        model=write_model(tmp_path / "model"),
    )
    return corpus, report.path


def run(scored, tmp_path, out="fit", **settings):
    corpus, sidecar = scored
    return filter_pairs(
        corpus, sidecar=sidecar, out=tmp_path / out, settings=FilterSettings(**settings)
    )


def kept(path):
    return [one.id for one in read_pairs(path, split="all")]


def ids(numbers):
    return [f"{n:016x}" for n in numbers]


def test_wrong_captions_go_and_what_is_held_out_stays_as_it_was(scored, tmp_path):
    report = run(scored, tmp_path, quantile=0.09)
    assert report.state == "built" and report.judged == 33
    goes = [8, 12, 30]
    assert kept(report.path) == ids(n for n in range(COUNT) if n not in goes)
    assert report.dropped == {"low_score": 3} and report.kept == COUNT - 3
    before = {one.id: one for one in read_pairs(scored[0], split="all")}
    for one in read_pairs(report.path, split="all"):
        assert one == before[one.id]  # picture, captions, group and split
    every = run(scored, tmp_path, out="every", threshold=report.cut, splits="all")
    assert kept(every.path) == ids(n for n in range(COUNT) if n not in WRONG)
    assert every.splits["test"] == report.splits["test"] - 2


def test_a_threshold_is_kept_by_what_reaches_it(scored, tmp_path):
    rows_ = pq.read_table(scored[1] / "data" / "00000.parquet").to_pylist()
    best = sorted(max(row["scores"]) for n, row in enumerate(rows_) if n % 6 != 3)
    report = run(scored, tmp_path, threshold=best[5])
    assert report.judged - report.dropped["low_score"] == len(best) - 5


def test_captions_may_be_judged_each_by_itself_or_by_their_mean(scored, tmp_path):
    each = run(scored, tmp_path, by="each", threshold=0.5, splits="all")
    found = {one.id: one.captions for one in read_pairs(each.path, split="all")}
    assert sorted(found) == sorted(ids(n for n in range(COUNT) if n not in WRONG))
    # "空" names no colour
    assert all("空" not in [one.text for one in captions] for captions in found.values())
    assert {len(captions) for captions in found.values()} == {2}
    assert each.captions == 2 * each.kept
    mean = run(scored, tmp_path, out="mean", by="mean", quantile=0.1)
    scores = pq.read_table(scored[1] / "data" / "00000.parquet").to_pylist()[0]["scores"]
    weighted = (0.5 * scores[0] + 1 * scores[1] + 0.25 * scores[2]) / 1.75
    assert mean.cut < weighted < max(scores)


def test_pictures_without_a_score_go_by_their_problem(tmp_path):
    broken = [row._replace(image=b"?") if n in (1, 3) else row for n, row in enumerate(rows())]
    corpus = write_pairs(tmp_path / "corpus", broken)
    model = write_model(tmp_path / "model")
    sidecar = clip_score(corpus, out=tmp_path / "s", towers=ColourTowers(), model=model).path
    report = run((corpus, sidecar), tmp_path, threshold=-1.0)
    assert report.dropped == {"not_a_picture": 1}  # 3 is held out
    assert kept(report.path) == ids(n for n in range(COUNT) if n != 1)


def test_it_is_done_once_and_says_where_it_comes_from(scored, tmp_path):
    assert run(scored, tmp_path, quantile=0.3).state == "built"
    again = run(scored, tmp_path, quantile=0.3)
    assert again.state == "unchanged" and again.cut > 0
    manifest = artifact.read_manifest(tmp_path / "fit", kind="corpus")
    assert manifest.parent("sidecar").sha256 == artifact.parent_of(scored[1], role="sidecar").sha256
    count = {name: item.value for name, item in manifest.counts.items()}
    assert count["read"] == COUNT == count["pairs"] + count["dropped_low_score"]
    assert [one.licence for one in manifest.licences] == ["CC0-1.0"]
    card = (tmp_path / "fit" / "card.md").read_text(encoding="utf-8")
    assert "スコアによる選別" in card and f"{again.cut:.4f}" in card and "colours" in card
    assert run(scored, tmp_path, quantile=0.4).state == "built"


def test_a_sidecar_of_another_corpus_or_label_is_refused(scored, tmp_path):
    other = write_pairs(tmp_path / "other", rows()[:-1])
    with pytest.raises(ArtifactError, match="made of another corpus"):
        run((other, scored[1]), tmp_path, quantile=0.1)
    with pytest.raises(UsageError, match="which is read"):
        run(scored, tmp_path, out="corpus", quantile=0.1)
    with artifact.writing(
        tmp_path / "words", kind="sidecar", settings={"label": "translate"},
        parents=[artifact.parent_of(scored[0], role="corpus")],
    ):  # fmt: skip
        pass
    with pytest.raises(UsageError, match="by scores of their captions"):
        run((scored[0], tmp_path / "words"), tmp_path, quantile=0.1)
    file = scored[1] / "data" / "00000.parquet"
    pq.write_table(pq.read_table(file).slice(1), file)
    with pytest.raises(ArtifactError):
        run(scored, tmp_path, quantile=0.1)


def test_one_cut_is_asked_for_and_something_stays(scored, tmp_path):
    for wrong in ({}, {"quantile": 0.1, "threshold": 0.2}):
        with pytest.raises(ValueError, match="quantile or a threshold"):
            FilterSettings(**wrong)
    corpus = write_pairs(tmp_path / "train", [pair(n, NAMES[n], split="train") for n in range(4)])
    model = write_model(tmp_path / "model2")
    sidecar = clip_score(corpus, out=tmp_path / "s", towers=ColourTowers(), model=model).path
    with pytest.raises(DataError, match=r"none of 4 pictures is kept \(low_score: 4\)"):
        run((corpus, sidecar), tmp_path, threshold=1.0)
    held = write_pairs(tmp_path / "held", [pair(n, NAMES[n]) for n in range(4)])
    sidecar = clip_score(held, out=tmp_path / "t", towers=ColourTowers(), model=model).path
    with pytest.raises(DataError, match="in split train has a score"):
        run((held, sidecar), tmp_path, quantile=0.5)


def test_the_verb_says_how_many_are_left(scored, tmp_path):
    corpus, sidecar = scored
    told = ["corpus", "filter", corpus, "--sidecar", sidecar, "--out", tmp_path / "fit"]
    done = RUN.invoke(app, [*map(str, told), "--quantile", "0.09"])
    assert done.exit_code == 0 and "pictures  37 of 40" in done.stdout
    again = RUN.invoke(app, [*map(str, told), "--quantile", "0.09", "--json"])
    assert json.loads(again.stdout.strip().splitlines()[-1])["state"] == "unchanged"
    none = RUN.invoke(app, [*map(str, told)])
    assert isinstance(none.exception, MinnaError)
    assert "a quantile or a threshold" in str(none.exception)
