"""Captions by a model: drawn as nucleus sampling draws, kept for ever, joined beside what is there."""

from __future__ import annotations

import json
from collections import Counter

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as some
from tests.colour_world import COLOURS, pair, write_pairs
from tests.label import tiny_captioners as tiny
from transformers import TopPLogitsWarper
from typer.testing import CliRunner

from minna import artifact
from minna.cli import verbs
from minna.cli.main import app
from minna.corpus import blob_rows, read_pairs
from minna.corpus.pair_rows import Caption
from minna.corpus.pictures import open_picture
from minna.corpus.sidecar import join
from minna.errors import ArtifactError, DataError, MinnaError, UsageError
from minna.label.caption import caption
from minna.label.captioner import CaptionSettings, HubCaptioner, Nucleus, _stream

RUN = CliRunner()
verbs.register(app)
NAMES = list(COLOURS)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return tiny.encoder_decoder(tmp_path_factory.mktemp("captioner") / "vit-gpt2")


def captioner(model, **said):
    return HubCaptioner(model, settings=CaptionSettings(**said), device="cpu", dtype="fp32")


def rows(count=10, *, broken=()):
    found = [pair(n, NAMES[n % len(NAMES)], split=("train", "test")[n % 2]) for n in range(count)]
    return [row._replace(image=b"?") if n in broken else row for n, row in enumerate(found)]


def table(sidecar):
    files = sorted((sidecar / "data").iterdir())
    return [row for file in files for row in pq.read_table(file).to_pylist()]


@settings(deadline=None, max_examples=40)
@given(seed=some.integers(0, 10**6), top_p=some.sampled_from([0.1, 0.5, 0.9, 1.0]))
def test_words_are_drawn_from_the_nucleus_that_transformers_takes(seed, top_p):
    logits = torch.randn(3, 12, generator=torch.Generator().manual_seed(seed)) * 2
    noisy = Nucleus(top_p, [np.random.default_rng(n) for n in range(3)])(torch.zeros(3, 1), logits)
    expected = TopPLogitsWarper(top_p)(torch.zeros(3, 1, dtype=torch.int64), logits.clone())
    assert torch.equal(noisy.isinf(), expected.isinf())


def test_the_largest_is_a_draw_by_the_chances():
    logits = torch.tensor([[1.0, 0.0, -1.0, -6.0]])
    nucleus = Nucleus(0.95, [np.random.default_rng(0)])
    drawn = Counter(int(nucleus(torch.zeros(1, 1), logits).argmax()) for _ in range(6000))
    chances = logits[0, :3].softmax(0)
    assert set(drawn) == {0, 1, 2}
    for word, chance in enumerate(chances.tolist()):
        assert drawn[word] / 6000 == pytest.approx(chance, abs=0.02)


@pytest.mark.parametrize("sampling", ["nucleus", "beam"])
def test_a_picture_gets_the_same_captions_in_any_batch(model, sampling):
    pictures = [open_picture(row.image) for row in rows(6)]
    digests = [f"{n}" for n in range(6)]
    asked = captioner(model, sampling=sampling, captions=3, max_new_tokens=8)
    together = asked.caption(pictures, digests=digests)
    alone = [asked.caption([p], digests=[d])[0] for p, d in zip(pictures, digests, strict=True)]
    assert together == alone and all(len(said) == 3 for said in together)
    if sampling == "nucleus":
        assert len({text for said in together for text in said}) > 6
        other = captioner(model, captions=3, max_new_tokens=8, seed=1)
        assert other.caption(pictures, digests=digests) != together


def test_beam_search_says_what_transformers_says(model):
    from transformers import AutoModelForImageTextToText, AutoTokenizer

    picture = open_picture(rows(1)[0].image)
    said = captioner(model, sampling="beam", max_new_tokens=6).caption([picture], digests=["0"])
    net = AutoModelForImageTextToText.from_pretrained(model).eval()
    pixels = np.asarray(picture.resize((16, 16), 2), dtype=np.float32) / 127.5 - 1
    ids = net.generate(
        pixel_values=torch.from_numpy(pixels.transpose(2, 0, 1))[None],
        num_beams=3, max_new_tokens=6, do_sample=False,
    )  # fmt: skip
    words = AutoTokenizer.from_pretrained(model)
    assert said == [words.batch_decode(ids, skip_special_tokens=True)]


def test_a_blip_captions_too(tmp_path):
    blip = captioner(tiny.blip(tmp_path / "blip"), captions=2, max_new_tokens=6)
    said = blip.caption([open_picture(row.image) for row in rows(3)], digests=["a", "b", "c"])
    assert [len(one) for one in said] == [2, 2, 2] and any(text for one in said for text in one)


class Saying:
    """A captioner that says how many pictures it has seen."""

    name, licence, at_once = "saying", "MIT", 4

    def __init__(self, *, breaks_after=None, says=None):
        self.asked, self.breaks_after = 0, breaks_after
        self.says = says or (lambda n: [f"picture {n} ", f"picture {n}", "a drawing"])
        self.parent = artifact.manifest.Parent(
            role="captioner", kind="model", sha256="0" * 64, path="saying"
        )
        self.identity = {"kind": "saying"}

    def caption(self, pictures, *, digests):
        if self.breaks_after is not None and self.asked >= self.breaks_after:
            raise KeyboardInterrupt
        found = [self.says(self.asked + n) for n in range(len(pictures))]
        self.asked += len(pictures)
        return found


def run(tmp_path, corpus, who=None, out="said"):
    return caption(corpus, out=tmp_path / out, captioner=who or Saying(), cache=tmp_path / "kept")


def test_rows_hold_what_was_said_once_each_and_problems_are_counted(tmp_path, capsys):
    corpus = write_pairs(tmp_path / "corpus", rows(9, broken=(4,)))
    who = Saying(says=lambda n: ["", "  "] if n == 2 else [f"picture {n} ", f"picture {n}"])
    report = run(tmp_path, corpus, who)
    assert (report.read, report.captioned, report.captions, report.asked) == (9, 7, 7, 8)
    assert report.problems == {"not_a_picture": 1, "empty": 1}
    said = table(report.path)
    assert [row["id"] for row in said] == [row.id for row in rows(9)]
    assert said[0]["captions"] == ["picture 0"] and said[4]["captions"] == []
    assert "2 of 9 pictures have no caption" in capsys.readouterr().err
    manifest = artifact.read_manifest(report.path)
    assert "written by saying (weights: MIT)" in manifest.legal[-1]
    assert [one.licence for one in manifest.licences] == ["CC0-1.0"]


def test_nothing_is_asked_twice_after_a_stop_or_in_another_corpus(tmp_path, monkeypatch):
    monkeypatch.setattr(blob_rows, "_ROW_GROUP_BYTES", 2000)
    monkeypatch.setattr(blob_rows, "_FILE_BYTES", 4000)
    corpus = write_pairs(tmp_path / "corpus", rows(40))
    assert len(list((corpus / "data").iterdir())) > 2
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, corpus, Saying(breaks_after=20))
    rest = Saying()
    assert run(tmp_path, corpus, rest).captioned == 40
    assert rest.asked <= 20
    again = Saying()
    assert run(tmp_path, corpus, again).state == "unchanged" and again.asked == 0
    larger = write_pairs(tmp_path / "larger", rows(44))
    more = Saying()
    assert run(tmp_path, larger, more, out="more").asked == more.asked == 4


def test_joined_captions_are_generated_ones_beside_those_there(tmp_path):
    made = rows(8)
    corpus = write_pairs(tmp_path / "corpus", made)
    sidecar = run(tmp_path, corpus).path
    report = join(corpus, sidecar=sidecar, out=tmp_path / "joined", weight=0.5)
    assert (report.unit, report.read, report.kept) == ("pictures", 8, 8)
    found = list(read_pairs(tmp_path / "joined", split="all"))
    for n, (row, one) in enumerate(zip(made, found, strict=True)):
        assert (one.id, one.group, one.split, one.image) == (
            row.id,
            row.group,
            row.split,
            row.image,
        )
        generated = (
            Caption(f"picture {n}", "generated", 0.5),
            Caption("a drawing", "generated", 0.5),
        )
        assert one.captions == (*row.captions, *generated)
    manifest = artifact.read_manifest(tmp_path / "joined", kind="corpus")
    assert manifest.counts["captions"].value == 32 and manifest.settings["weight"] == 0.5
    assert "generated" in (tmp_path / "joined" / "card.md").read_text(encoding="utf-8")
    assert join(corpus, sidecar=sidecar, out=tmp_path / "joined", weight=0.5).state == "unchanged"
    assert join(corpus, sidecar=sidecar, out=tmp_path / "joined").state == "built"
    with pytest.raises(UsageError, match="above 0"):
        join(corpus, sidecar=sidecar, out=tmp_path / "none", weight=0)


def test_what_cannot_caption_is_told_apart(tmp_path, model):
    corpus = write_pairs(tmp_path / "corpus", rows(3))
    with pytest.raises(ArtifactError, match="as a model that captions"):
        run(tmp_path, corpus, captioner(tiny.bert(tmp_path / "bert")))
    asked = tiny.bert(tmp_path / "llava")
    (asked / "config.json").write_text(json.dumps({"model_type": "llava", "image_token_index": 5}))
    with pytest.raises(UsageError, match="asked about a picture in words"):
        captioner(asked)
    with pytest.raises(DataError, match="empty: 3"):
        run(tmp_path, corpus, Saying(says=lambda _n: [""]), out="silent")
    with pytest.raises(ValueError, match="3 beams end in 3 captions"):
        CaptionSettings(sampling="beam", captions=4)
    with pytest.raises(ValueError, match="belong to nucleus"):
        CaptionSettings(sampling="beam", top_p=0.5)


def test_the_verbs_caption_and_join(tmp_path, model, monkeypatch):
    monkeypatch.setenv("MINNA_CACHE", str(tmp_path / "home"))
    corpus = write_pairs(tmp_path / "corpus", rows(5))

    def call(*words):
        done = RUN.invoke(app, [str(word) for word in words])
        if done.exception is not None and not isinstance(done.exception, SystemExit | MinnaError):
            raise done.exception
        return done

    told = ["label", "caption", corpus, "--model", model, "--out", tmp_path / "said"]
    done = call(*told, "--captions", 3, "--max-new-tokens", 6, "--device", "cpu")
    assert done.exit_code == 0 and "of 5 captioned" in done.stdout
    words = ["corpus", "join", corpus, "--sidecar", tmp_path / "said", "--out", tmp_path / "all"]
    done = call(*words, "--weight", 0.25)
    assert done.exit_code == 0 and "pictures 5 of 5" in done.stdout
    kinds = Counter(c.kind for p in read_pairs(tmp_path / "all", split="all") for c in p.captions)
    assert kinds["generated"] >= 5 and kinds["name"] == 5
    wrong = call(*told, "--sampling", "beam", "--captions", 9)
    assert isinstance(wrong.exception, UsageError) or wrong.exit_code == 2


def test_each_draw_has_a_stream_of_its_own():
    seen = {
        tuple(_stream(seed, digest, number).integers(0, 2**32, 4).tolist())
        for seed in (0, 1)
        for digest in ("a", "b")
        for number in (0, 1)
    }
    assert len(seen) == 8
