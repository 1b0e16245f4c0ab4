"""Labels of frames: what was clustered, one for each frame, refused where they do not belong."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tests.runtime.speech_folders import write_encoder
from tests.toy_speech import make_clips
from typer.testing import CliRunner

from minna import artifact
from minna.cli import verbs
from minna.cli.main import app
from minna.corpus.audio import open_clip
from minna.corpus.clip_read import read_clips
from minna.corpus.clip_rows import PAUSE
from minna.corpus.frame_labels import open_labels
from minna.errors import ArtifactError, DataError, UsageError
from minna.label import kmeans as room
from minna.label.clustering import assign
from minna.label.frame_features import LayerFeatures, Mfcc
from minna.label.frame_sample import FrameSample
from minna.label.kmeans import KmeansSettings, label_kmeans
from minna.label.mfcc import mfcc, mfcc_frames
from minna.models.speech.config import frames_of
from minna.runtime.speech import open_encoder

RUN = CliRunner()
verbs.register(app)
FEW = KmeansSettings(clusters=12)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return make_clips(tmp_path_factory.mktemp("kmeans") / "corpus")


@pytest.fixture(scope="module")
def labelled(corpus):
    return label_kmeans(corpus, out=corpus.parent / "labels", features=Mfcc(), settings=FEW)


class Tired(Mfcc):
    """Counts what it hears, and stops in the middle."""

    def __init__(self, strength=1000):
        self.strength, self.heard = strength, 0

    def of(self, samples_S):
        self.heard += 1
        if self.heard > self.strength:
            raise KeyboardInterrupt
        return super().of(samples_S)


def labels_of(path):
    return np.concatenate([np.load(file) for file in sorted((path / "data").glob("*.npy"))])


def test_every_frame_has_the_label_of_the_nearest_centre(corpus, labelled):
    from safetensors.torch import load_file

    centres = load_file(labelled.path / "centres.safetensors")["centres"]
    rows = pq.read_table(labelled.path / "data" / "00000.parquet").to_pylist()
    told = labels_of(labelled.path)
    assert told.dtype == np.uint16 and len(told) == labelled.frames
    for clip, row in zip(read_clips(corpus, split="all"), rows, strict=True):
        assert row["id"] == clip.id and row["frames"] == mfcc_frames(len(clip.audio))
        frames = torch.from_numpy(mfcc(clip.audio))
        label, squared = assign(frames, centres)
        own = told[row["start"] : row["start"] + row["frames"]]
        assert own.tolist() == label.tolist()
        assert row["distance"] == pytest.approx(float(squared.mean()), rel=1e-4)
    assert labelled.clips == 24 and labelled.rate == 100 and labelled.used == 12


def test_labels_know_phones_and_the_report_says_so(corpus, labelled):
    told = labelled.agreement
    assert told.frames > 0.95 * labelled.frames and told.phones >= 10
    assert told.pnmi > 0.6 and told.phone_purity > 0.6
    # by hand: the phone in whose span the middle of a frame lies
    from collections import Counter

    pairs = Counter()
    labels = open_labels(labelled.path, corpus)
    for clip in read_clips(corpus, split="all"):
        all_ = labels._labels[0][labels._starts[labels._row(clip.id)] :]
        for frame in range(mfcc_frames(len(clip.audio))):
            middle = frame / 100 + 0.0125
            for phone, start, end in clip.timed:
                if start <= middle < end:
                    pairs[phone, int(all_[frame])] += 1
    assert sum(pairs.values()) == told.frames
    best = Counter()
    for (_, cluster), count in pairs.items():
        best[cluster] = max(best[cluster], count)
    assert sum(best.values()) / told.frames == pytest.approx(told.phone_purity, abs=1e-6)
    assert any(phone == PAUSE for phone, _ in pairs)


def test_frames_of_the_encoder_find_the_labels_of_the_same_samples(corpus, labelled):
    labels = open_labels(labelled.path, corpus, rate=100)
    assert len(labels) == 24 and (labels.clusters, labels.features) == (12, "mfcc")
    told = labels_of(labelled.path)
    rows = pq.read_table(labelled.path / "data" / "00000.parquet").to_pylist()
    for clip, row in zip(read_clips(corpus, split="all"), rows, strict=True):
        frames = frames_of(len(clip.audio))
        assert labels.conv_frames(clip.id) == frames
        own = told[row["start"] : row["start"] + row["frames"]]
        found = labels.of(clip.id, 0, frames)
        assert found.dtype == np.int64 and found.tolist() == own[2 * np.arange(frames)].tolist()
        assert labels.of(clip.id, 3, 5).tolist() == found[3:8].tolist()
        assert labels.of(clip.id, frames, 0).tolist() == []
        for start, count in ((0, frames + 1), (-1, 2), (frames, 1)):
            with pytest.raises(DataError, match=rf"has labels for {frames} frames"):
                labels.of(clip.id, start, count)
    with pytest.raises(ArtifactError, match="no labels of clip nobody"):
        labels.of("nobody", 0, 1)


def test_labels_of_a_layer_have_half_the_rate_and_the_digest_of_the_model(corpus, tmp_path):
    encoder = open_encoder(write_encoder(tmp_path / "model"), device="cpu")
    features = LayerFeatures(encoder, layer=1)
    report = label_kmeans(corpus, out=tmp_path / "labels", features=features, layer=1, settings=FEW)
    assert report.rate == 50 and report.features == "layer 1 of model"
    labels = open_labels(tmp_path / "labels", corpus, rate=50, digest=encoder.digest)
    for clip in read_clips(corpus, split="valid"):
        frames = frames_of(len(clip.audio))
        assert labels.conv_frames(clip.id) == frames
        assert len(labels.of(clip.id, 0, frames)) == frames
    with pytest.raises(ArtifactError, match=r"50 labels a second .* and 100 were counted on"):
        open_labels(tmp_path / "labels", corpus, rate=100)
    with pytest.raises(ArtifactError, match="clusters belong to one checkpoint"):
        open_labels(tmp_path / "labels", corpus, digest="0" * 64)
    with pytest.raises(UsageError, match="has 2 layers, and --layer 3"):
        LayerFeatures(encoder, layer=3)


def test_labels_of_another_corpus_or_kind_are_refused(corpus, labelled, tmp_path):
    other = make_clips(tmp_path / "other", clips=6, seed=5)
    with pytest.raises(ArtifactError, match="was made of another corpus"):
        open_labels(labelled.path, other)
    with artifact.writing(tmp_path / "words", kind="sidecar", settings={"label": "translate"}):
        pass
    with pytest.raises(UsageError, match="labels of kind 'translate'"):
        open_labels(tmp_path / "words", corpus)


def test_damaged_labels_are_told(corpus, labelled, tmp_path):
    import shutil

    shutil.copytree(labelled.path, tmp_path / "labels")
    file = tmp_path / "labels" / "data" / "00000.npy"
    content = file.read_bytes()
    np.save(file, np.zeros(7, np.uint16))
    with pytest.raises(ArtifactError, match=r"holds uint16 \(7,\)"):
        open_labels(tmp_path / "labels", corpus)
    file.write_bytes(content[:60])
    with pytest.raises(ArtifactError, match="cannot be read"):
        open_labels(tmp_path / "labels", corpus)


def test_it_is_done_once_and_every_time_the_same(corpus, labelled, tmp_path):
    class Deaf(Mfcc):
        def of(self, samples_S):
            raise AssertionError("nothing is to be heard")

    again = label_kmeans(corpus, out=labelled.path, features=Deaf(), settings=FEW)
    assert again == replace(labelled, state="unchanged")
    other = label_kmeans(corpus, out=tmp_path / "labels", features=Mfcc(), settings=FEW)
    assert np.array_equal(labels_of(other.path), labels_of(labelled.path))
    seeded = label_kmeans(
        corpus, out=tmp_path / "seeded", features=Mfcc(), settings=replace(FEW, seed=1)
    )
    assert not np.array_equal(labels_of(seeded.path), labels_of(labelled.path))
    findings = artifact.inspect(labelled.path)[1]
    assert not [one for one in findings if one.level == "error"]
    assert artifact.read_manifest(labelled.path).licences[0].licence == "CC0-1.0"


def test_a_stopped_run_goes_on_with_its_centres_behind_the_last_whole_file(tmp_path, monkeypatch):
    from minna.corpus import blob_rows

    monkeypatch.setattr(blob_rows, "_ROW_GROUP_BYTES", 30_000)
    monkeypatch.setattr(blob_rows, "_FILE_BYTES", 100_000)
    corpus = make_clips(tmp_path / "corpus", clips=18)
    count = len(list((corpus / "data").iterdir()))
    assert count >= 3
    whole = label_kmeans(corpus, out=tmp_path / "whole", features=Mfcc(), settings=FEW)

    with pytest.raises(KeyboardInterrupt):  # 12 clips of train are heard for the centres
        label_kmeans(corpus, out=tmp_path / "labels", features=Tired(15), settings=FEW)
    kept = list((tmp_path / ".labels.partial" / "data").glob("*.parquet"))
    assert 0 < len(kept) < count
    fresh = Tired()
    report = label_kmeans(corpus, out=tmp_path / "labels", features=fresh, settings=FEW)
    assert fresh.heard < 18
    assert np.array_equal(labels_of(report.path), labels_of(whole.path))
    assert report.inertia == whole.inertia


def test_what_has_no_room_in_memory_is_heard_twice_and_says_the_same(
    corpus, labelled, tmp_path, monkeypatch
):
    for room_there, times in ((1 << 30, 24), (0, 16 + 24), (60_000, 16 + 24 - 4)):
        monkeypatch.setattr(room, "_KEPT_BYTES", room_there)
        ears = Tired()
        out = tmp_path / str(room_there)
        report = label_kmeans(corpus, out=out, features=ears, settings=FEW)
        assert ears.heard == times if room_there != 60_000 else times - 3 <= ears.heard < 40
        assert np.array_equal(labels_of(report.path), labels_of(labelled.path))


def test_centres_are_lent_to_the_same_features_only(corpus, labelled, tmp_path):
    other = make_clips(tmp_path / "other", clips=6, seed=5)
    lent = label_kmeans(other, out=tmp_path / "lent", features=Mfcc(), centres=labelled.path)
    assert (lent.clusters, lent.clips, lent.inertia) == (12, 6, labelled.inertia)
    manifest = artifact.read_manifest(lent.path)
    assert manifest.parent("centres").path == labelled.path.as_posix()
    for layer in (1, 2):
        encoder = open_encoder(write_encoder(tmp_path / "model"), device="cpu")
        features = LayerFeatures(encoder, layer=layer)
        with pytest.raises(ArtifactError, match=r"found in mfcc .* layer . of model"):
            label_kmeans(
                other, out=tmp_path / "x", features=features, layer=layer, centres=labelled.path
            )
    with artifact.writing(tmp_path / "words", kind="sidecar", settings={"label": "caption"}):
        pass
    with pytest.raises(UsageError, match="which have no centres"):
        label_kmeans(other, out=tmp_path / "x", features=Mfcc(), centres=tmp_path / "words")


@given(st.permutations(range(12)), st.integers(1, 40), st.integers(0, 5))
def test_a_sample_does_not_depend_on_the_order_of_clips_and_is_bounded(order, size, seed):
    frames = {f"{k}": torch.arange(10.0 * k, 10.0 * k + k)[:, None] for k in range(12)}

    def drawn(names):
        sample = FrameSample(size, total=1.0, seed=seed)
        for name in names:
            assert sample.wants(name)
            sample.add(name, frames[name])
            assert sample._held < 2 * size + 12
        return sample.frames()[:, 0].tolist()

    found = drawn([str(k) for k in order])
    assert found == drawn([str(k) for k in range(12)])
    assert len(found) == len(set(found)) == min(size, 66)


def test_of_a_large_corpus_only_a_part_is_heard_and_every_frame_may_be_drawn():
    sample = FrameSample(10, total=1000.0, seed=0)
    wanted = [sample.wants(str(k)) for k in range(4000)]
    assert 0.03 < np.mean(wanted) < 0.05
    counts = np.zeros(40)
    for seed in range(300):
        sample = FrameSample(10, total=40.0, seed=seed)
        for clip in range(4):
            sample.add(str(clip), torch.arange(10.0 * clip, 10.0 * clip + 10)[:, None])
        counts[sample.frames()[:, 0].long()] += 1
    assert counts.sum() == 3000 and counts.min() > 45 and counts.max() < 110


def test_numbers_and_corpora_that_cannot_be_are_refused(corpus, tmp_path):
    out = tmp_path / "x"
    for settings, said in (
        (replace(FEW, clusters=1), "1 clusters cannot be"),
        (replace(FEW, clusters=1 << 17), "131072 clusters cannot be"),
        (replace(FEW, sample=5), "cannot be found on 5 frames"),
    ):
        with pytest.raises(UsageError, match=said):
            label_kmeans(corpus, out=out, features=Mfcc(), settings=settings)
    with artifact.writing(tmp_path / "text", kind="corpus", settings={}) as draft:
        draft.count("documents", 1, "documents")
    with pytest.raises(ArtifactError, match="holds no clips"):
        label_kmeans(tmp_path / "text", out=out, features=Mfcc())
    with pytest.raises(DataError, match="5000 clusters need"):
        label_kmeans(corpus, out=out, features=Mfcc(), settings=replace(FEW, clusters=5000))
    two = make_clips(tmp_path / "two", clips=2)
    with pytest.raises(DataError, match="the split 'test'"):
        label_kmeans(two, out=out, features=Mfcc(), settings=replace(FEW, split="test"))


def test_the_verb_says_what_came_of_it_and_refuses_what_does_not_go_together(corpus, tmp_path):
    model = write_encoder(tmp_path / "model")
    told = ["label", "kmeans", corpus, "--out", tmp_path / "labels", "--clusters", "8"]
    layer = ["--features", model, "--layer", "2", "--device", "cpu"]
    done = RUN.invoke(app, [*map(str, [*told, *layer]), "--json"])
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout.strip().splitlines()[-1])
    assert (found["clusters"], found["rate"], found["clips"]) == (8, 50, 24)
    assert 0 <= found["agreement"]["pnmi"] <= 1
    words = RUN.invoke(app, [*map(str, [*told, *layer])]).stdout
    assert "already there" in words and "PNMI" in words and "of 8 used" in words
    manifest = artifact.read_manifest(tmp_path / "labels")
    assert manifest.parent("encoder").path == model.as_posix()
    for more, said in (
        (["--features", "mfcc", "--layer", "2"], "cepstra have none"),
        (["--features", model], "has several layers"),
        (["--features", "mfcc", "--split", "tset"], "did you mean 'test'"),
        (["--features", "mfcc", "--centres", tmp_path], "--clusters say how"),
    ):
        refused = RUN.invoke(app, list(map(str, [*told, *more])))
        assert said in str(refused.exception)
    assert room.LABEL == "kmeans" and len(open_clip(next(_contents(corpus)))) > 400


def _contents(corpus):
    for file in sorted((corpus / "data").iterdir()):
        yield from pq.read_table(file, columns=["audio"]).column(0).to_pylist()
