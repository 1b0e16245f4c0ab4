"""Speech models in use: any length, the frames that are due, what does not fit is told."""

from __future__ import annotations

import itertools
import json

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.runtime.speech_folders import shape, write_encoder, write_recogniser

from minna.errors import ArtifactError, UsageError
from minna.models.speech.config import frames_of
from minna.runtime import windows as room
from minna.runtime.speech import open_encoder, open_recogniser
from minna.runtime.windows import by_windows, windows_of
from minna.tokenizer.sounds import Sounds, write_sounds


def noise(samples, seed=0):
    return np.random.default_rng(seed).normal(0, 0.1, samples).astype(np.float32)


@given(st.integers(0, 300), st.integers(1, 60), st.integers(0, 59))
@settings(max_examples=150)
def test_windows_keep_every_frame_once_from_its_middle(frames, window, overlap):
    overlap %= window
    found = windows_of(frames, window=window, overlap=overlap)
    kept = [frame for one in found for frame in range(one.kept_from, one.kept_to)]
    assert kept == list(range(frames))
    for one in found:
        assert one.start <= one.kept_from <= one.kept_to <= one.stop
        assert one.stop - one.start == min(window, frames)
        edges = one.kept_from == 0 or one.kept_from - one.start >= overlap // 2
        assert edges and (one.kept_to == frames or one.stop - one.kept_to >= overlap // 2)
    assert all(a.stop - b.start >= overlap for a, b in itertools.pairwise(found))


@pytest.mark.parametrize("overlap", [-1, 10, 11])
def test_windows_must_get_on(overlap):
    with pytest.raises(UsageError, match="windows of 10 frames cannot overlap"):
        windows_of(100, window=10, overlap=overlap)


@pytest.mark.parametrize("together", [1, 3])
def test_what_needs_no_context_is_the_same_in_windows(together):
    def loudness(samples_BS):
        return samples_BS.unfold(1, 400, 320).square().mean(2)

    for samples in (400, 719, 720, 320 * 40 + 79, 320 * 40 + 80, 33_333):
        clip = noise(samples)
        whole = loudness(torch.from_numpy(clip)[None])[0]
        cut = by_windows(clip, loudness, together=together, window=20, overlap=6)
        assert len(whole) == frames_of(samples)
        torch.testing.assert_close(cut, whole)


@pytest.mark.parametrize("family", ["hubert", "wav2vec2", "data2vec-audio"])
def test_hidden_states_are_transformers(tmp_path, family):
    import transformers

    folder = write_encoder(tmp_path / family, family=family)
    opened = open_encoder(folder, device="cpu")
    clip = noise(8_123)
    theirs = transformers.AutoModel.from_pretrained(folder).eval()
    heard = torch.from_numpy(clip)[None]
    if family == "data2vec-audio":  # their feature extractor does it
        heard = (heard - heard.mean()) / (heard.var(correction=0) + 1e-7).sqrt()
    with torch.no_grad():
        states = theirs(heard, output_hidden_states=True).hidden_states
    for layer in (1, 2):
        found = opened.hidden(clip, layer=layer)
        assert found.shape == (frames_of(8_123), 32)
        torch.testing.assert_close(found, states[layer][0], atol=1e-4, rtol=1e-3)
    assert (opened.layers, opened.width, opened.name) == (2, 32, family)


def test_a_long_recording_has_the_frames_of_a_whole_one_and_nearly_the_same_states(
    tmp_path, monkeypatch
):
    opened = open_encoder(write_encoder(tmp_path / "model"), device="cpu")
    clip = noise(40_000)
    whole = opened.hidden(clip, layer=2)
    monkeypatch.setitem(by_windows.__kwdefaults__, "window", 60)
    monkeypatch.setitem(by_windows.__kwdefaults__, "overlap", 30)
    cut = opened.hidden(clip, layer=2)
    assert cut.shape == whole.shape == (frames_of(40_000), 32)
    alike = torch.cosine_similarity(cut, whole, dim=1)
    assert alike.min() > 0.9 and alike.mean() > 0.97
    assert room.WINDOW == 1500


def test_a_recogniser_gives_log_probabilities_of_its_symbols(tmp_path):
    folder = write_recogniser(tmp_path / "model")
    opened = open_recogniser(folder, device="cpu")
    found = opened.logprobs(noise(5_000))
    assert found.shape == (frames_of(5_000), opened.sounds.size) and found.dtype == np.float32
    np.testing.assert_allclose(np.exp(found).sum(1), 1, rtol=1e-5)
    assert opened.logprobs(noise(399)).shape == (0, opened.sounds.size)
    encoder = open_encoder(folder, device="cpu")  # a recogniser is an encoder too
    assert encoder.hidden(noise(5_000), layer=1).shape == (frames_of(5_000), 32)
    assert encoder.hidden(noise(399), layer=1).shape == (0, 32)


def test_digests_follow_weights_and_symbols_and_nothing_else(tmp_path):
    one = write_encoder(tmp_path / "one")
    first = open_encoder(one, device="cpu").digest
    (one / "pretraining.safetensors").unlink()
    (one / "README.md").write_text("other", encoding="utf-8")
    assert open_encoder(one, device="cpu").digest == first
    other = write_encoder(tmp_path / "other", seed=1)
    assert open_encoder(other, device="cpu").digest != first
    reads = write_recogniser(tmp_path / "reads")
    before = open_recogniser(reads, device="cpu").digest
    symbols = open_recogniser(reads, device="cpu").sounds.symbols
    write_sounds(reads, Sounds("phones", symbols[::-1]))
    assert open_recogniser(reads, device="cpu").digest != before


def test_a_layer_that_is_not_there_is_refused(tmp_path):
    opened = open_encoder(write_encoder(tmp_path / "model"), device="cpu")
    for layer in (0, 3, -1):
        with pytest.raises(UsageError, match=rf"has 2 layers, and layer {layer}"):
            opened.hidden(noise(800), layer=layer)


def test_folders_that_do_not_fit_are_told(tmp_path):
    with pytest.raises(ArtifactError, match=r"no config\.json"):
        open_encoder(tmp_path)
    encoder = write_encoder(tmp_path / "encoder")
    with pytest.raises(ArtifactError, match="has no head"):
        open_recogniser(encoder)
    config = json.loads((encoder / "config.json").read_text(encoding="utf-8"))
    for key, value, said in (
        ("hidden_size", 64, "has shape"),
        ("num_hidden_layers", 3, r"encoder\.layers\.2"),
        ("model_type", "gpt2", "no encoder of speech"),
    ):
        text = json.dumps(config | {key: value})
        (encoder / "config.json").write_text(text, encoding="utf-8")
        with pytest.raises(ArtifactError, match=said):
            open_encoder(encoder, device="cpu")
    reads = write_recogniser(tmp_path / "reads")
    write_sounds(reads, Sounds("phones", ("a", "i")))
    with pytest.raises(ArtifactError, match="has 4 symbols, and config.json"):
        open_recogniser(reads, device="cpu")
    assert shape().layers == 2
