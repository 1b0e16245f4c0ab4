"""Scores of captions: what fits is told from what was shuffled, and nothing disappears."""

from __future__ import annotations

import json
import re

import numpy as np
import pyarrow.parquet as pq
import pytest
from tests.colour_world import COLOURS, ColourTowers, pair, write_model, write_pairs
from typer.testing import CliRunner

from minna import artifact
from minna.cli import classify, verbs
from minna.cli.main import app
from minna.corpus import blob_rows
from minna.corpus.pair_rows import Caption
from minna.errors import ArtifactError, DataError
from minna.label import clip_score as verb
from minna.label.clip_figures import read_figures
from minna.label.clip_score import clip_score

RUN = CliRunner()
verbs.register(app)
NAMES = list(COLOURS)


def rows(count=24, *, wrong=(), broken=(), **more):
    found = [pair(n, NAMES[n % len(NAMES)], split="train", **more) for n in range(count)]
    for n in wrong:  # what is said is of another colour
        other = NAMES[(n + 3) % len(NAMES)]
        found[n] = found[n]._replace(captions=(Caption(other, "name"), Caption(f"{other}の丸")))
    for n in broken:
        found[n] = found[n]._replace(image=b"no picture")
    return found


@pytest.fixture
def model(tmp_path):
    return write_model(tmp_path / "model")


def score(tmp_path, corpus, model, *, towers=None, out="scores", **more):
    return clip_score(
        corpus, out=tmp_path / out, towers=towers or ColourTowers(), model=model, **more
    )


def table(sidecar):
    files = sorted((sidecar / "data").iterdir())
    return [row for file in files for row in pq.read_table(file).to_pylist()]


def test_every_caption_has_its_cosine_and_the_best_is_named(tmp_path, model):
    made = rows(12, wrong=(4,), more=(Caption("空", "keyword"),))
    corpus = write_pairs(tmp_path / "corpus", made)
    towers = ColourTowers()
    report = score(tmp_path, corpus, model, towers=towers)
    assert (report.state, report.read, report.scored, report.captions) == ("made", 12, 12, 35)
    for row, said in zip(made, table(report.path), strict=True):
        assert said["id"] == row.id and said["problem"] == ""
        texts = towers.texts([one.text for one in row.captions])
        expected = texts @ towers.images([_opened(row.image)])[0]
        np.testing.assert_allclose(said["scores"], expected, rtol=1e-5, atol=1e-6)
        assert said["best"] == int(np.argmax(expected))
    assert table(report.path)[4]["scores"][0] < 0.9 < table(report.path)[5]["scores"][1]


def _opened(content):
    from minna.corpus.pictures import open_picture

    return open_picture(content)


def test_shuffled_captions_are_of_another_group_and_the_area_counts_them(tmp_path, model):
    corpus = write_pairs(tmp_path / "corpus", rows(40))
    report = score(tmp_path, corpus, model)
    figures = read_figures(report.path)
    assert len(figures.best) == len(figures.shuffled_best) == 40
    # eight colours: what is not the own one is further away
    assert float(figures.shuffled_best.max()) < float(figures.best.min())
    assert report.auc_best == 1.0 and report.auc == 1.0
    noisy = write_pairs(tmp_path / "noisy", rows(40, wrong=range(0, 40, 3)))
    assert 0.6 < score(tmp_path, noisy, model, out="noisy-scores").auc_best < 0.9
    again = score(tmp_path, noisy, model, out="again", seed=1)
    assert table(again.path) != table(tmp_path / "noisy-scores")


def test_cuts_are_quantiles_and_stand_on_the_page_with_pictures(tmp_path, model):
    corpus = write_pairs(tmp_path / "corpus", rows(40, wrong=(1, 7)))
    report = score(tmp_path, corpus, model)
    figures = read_figures(report.path)
    assert list(report.cuts) == [f"{share}%" for share in range(10, 100, 10)]
    assert report.cuts["30%"] == pytest.approx(np.quantile(figures.best, 0.3), abs=1e-5)
    page = (report.path / "report.html").read_text(encoding="utf-8")
    assert page.count("data:image/jpeg;base64,") == 5 * 8
    assert f"{report.cuts['30%']:.4f}" in page and "<polyline" in page
    lowest = page.split("The lowest")[1].split("Around the cut")[0]
    first_two = "".join(lowest.split("</li>")[:2])
    assert NAMES[4] in first_two and NAMES[2] in first_two  # said of pictures 1 and 7
    assert "http" not in re.sub(r"xmlns=\S+", "", page)  # nothing is fetched


def test_pictures_that_do_not_open_are_counted_and_have_no_score(tmp_path, model, capsys):
    corpus = write_pairs(tmp_path / "corpus", rows(16, broken=(3, 5)))
    report = score(tmp_path, corpus, model)
    assert report.problems == {"not_a_picture": 2} and report.scored == 14
    said = table(report.path)[3]
    assert (said["scores"], said["best"], said["problem"]) == ([], -1, "not_a_picture")
    assert "2 of 16 pictures have no score" in capsys.readouterr().err
    none = write_pairs(tmp_path / "none", rows(2, broken=(0, 1)))
    with pytest.raises(DataError, match=r"not_a_picture: 2"):
        score(tmp_path, none, model, out="none-scores")


def test_one_group_has_nothing_to_shuffle_and_no_area(tmp_path, model, capsys):
    corpus = write_pairs(tmp_path / "corpus", [pair(n, "赤") for n in range(5)])
    report = score(tmp_path, corpus, model)
    assert report.auc is None and report.auc_best is None
    assert "no captions could be shuffled" in capsys.readouterr().err
    assert "<polyline" not in (report.path / "report.html").read_text(encoding="utf-8")


def test_a_stopped_run_goes_on_behind_the_last_whole_file(tmp_path, model, monkeypatch):
    monkeypatch.setattr(blob_rows, "_ROW_GROUP_BYTES", 2000)
    monkeypatch.setattr(blob_rows, "_FILE_BYTES", 4000)
    corpus = write_pairs(tmp_path / "corpus", rows(60))
    count = len(list((corpus / "data").iterdir()))
    assert count >= 3
    whole = score(tmp_path, corpus, model, out="whole")

    class Tired(ColourTowers):
        def images(self, pictures):
            if len(self.batches) == 4:
                raise KeyboardInterrupt
            return super().images(pictures)

    with pytest.raises(KeyboardInterrupt):
        score(tmp_path, corpus, model, towers=Tired())
    kept = [file.name for file in (tmp_path / ".scores.partial" / "data").iterdir()]
    assert 0 < len(kept) < count
    fresh = ColourTowers()
    report = score(tmp_path, corpus, model, towers=fresh)
    assert sum(fresh.batches) < 60
    assert table(report.path) == table(whole.path)


def test_it_is_done_once_and_the_manifest_names_corpus_and_model(tmp_path, model):
    corpus = write_pairs(tmp_path / "corpus", rows())
    assert score(tmp_path, corpus, model).state == "made"
    manifest = artifact.read_manifest(tmp_path / "scores", kind="sidecar")
    assert manifest.parent("corpus").sha256 == artifact.parent_of(corpus, role="corpus").sha256
    assert manifest.settings["digest"] == ColourTowers().digest
    assert manifest.parent("scorer").path == model.as_posix()
    assert [one.licence for one in manifest.licences] == ["CC0-1.0"]
    towers = ColourTowers()
    again = score(tmp_path, corpus, model, towers=towers)
    assert again.state == "unchanged" and not towers.batches
    assert again.cuts == score(tmp_path, corpus, model).cuts
    other = score(tmp_path, corpus, model, towers=ColourTowers(noise=0.2))
    assert other.state == "made"
    findings = artifact.inspect(tmp_path / "scores")[1]
    assert not [one for one in findings if one.level == "error"]


def test_a_corpus_of_text_is_refused(tmp_path, model):
    with artifact.writing(tmp_path / "text", kind="corpus", settings={}) as draft:
        draft.count("documents", 1, "documents")
    with pytest.raises(ArtifactError, match="holds no pictures"):
        score(tmp_path, tmp_path / "text", model)


def test_the_verb_says_what_came_of_it(tmp_path, model, monkeypatch):
    monkeypatch.setattr(classify, "open_model", lambda _model, _device: ColourTowers())
    corpus = write_pairs(tmp_path / "corpus", rows(16, broken=(2,)))
    told = ["label", "clip-score", corpus, "--model", model, "--out", tmp_path / "scores"]
    done = RUN.invoke(app, [*map(str, told), "--json"])
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout.strip().splitlines()[-1])
    assert found["scored"] == 15 and found["problems"] == {"not_a_picture": 1}
    words = RUN.invoke(app, [*map(str, told)]).stdout
    assert "already there" in words and "ROC AUC" in words and "report.html" in words
    assert verb.LABEL == "clip-score"
