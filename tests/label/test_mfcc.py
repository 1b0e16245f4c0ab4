"""Cepstra are Kaldi's, frame for frame, and stand where the encoders' frames do."""

from __future__ import annotations

import numpy as np
import pytest

from minna.label import mfcc as room
from minna.label.mfcc import deltas, mfcc, mfcc_frames


def speechlike(samples, seed=0):
    """Gliding harmonics with pauses and noise."""
    generator = np.random.default_rng(seed)
    t = np.arange(samples) / 16_000
    pitch = 120 + 40 * np.sin(2 * np.pi * 1.3 * t + seed)
    phase = 2 * np.pi * np.cumsum(pitch) / 16_000
    voice = sum(np.sin(k * phase) / k for k in range(1, 20))
    loud = np.maximum(0, np.sin(2 * np.pi * 2.1 * t))
    return (0.1 * voice * loud + 0.002 * generator.normal(size=samples)).astype(np.float32)


def kaldis(samples):
    library = pytest.importorskip("kaldi_native_fbank")
    options = library.MfccOptions()
    options.frame_opts.samp_freq = 16_000
    options.frame_opts.dither = 0
    options.use_energy = False
    computer = library.OnlineMfcc(options)
    computer.accept_waveform(16_000, samples.tolist())
    computer.input_finished()
    frames = [computer.get_frame(k) for k in range(computer.num_frames_ready)]
    return np.array(frames).reshape(-1, 13)


@pytest.mark.parametrize("samples", [400, 401, 559, 560, 16_000, 16_080, 60_000])
def test_cepstra_are_kaldis(samples, monkeypatch):
    monkeypatch.setattr(room, "_BLOCK", 100)  # several blocks
    clip = speechlike(samples, seed=samples)
    theirs = kaldis(clip)
    ours = mfcc(clip)
    assert ours.dtype == np.float32 and len(ours) == len(theirs) == mfcc_frames(samples)
    np.testing.assert_allclose(ours[:, :13], theirs, atol=2e-3)


def test_silence_and_clipping_are_finite():
    for clip in (np.zeros(800, np.float32), np.ones(800, np.float32)):
        found = mfcc(clip)
        assert np.isfinite(found).all()
        np.testing.assert_allclose(found[:, :13], kaldis(clip), atol=2e-3)


def test_frame_counts_for_every_length_and_twice_the_encoders():
    for samples in range(61_000):
        expected = 0 if samples < 400 else (samples - 400) // 160 + 1
        assert mfcc_frames(samples) == expected
        encoders = 0 if samples < 400 else (samples - 400) // 320 + 1
        # twice i is always there, and one more at most is left over
        assert 2 * encoders - 1 <= expected <= 2 * encoders or not encoders


def test_short_clips_have_no_frames():
    for samples in (0, 1, 399):
        assert mfcc(np.zeros(samples, np.float32)).shape == (0, 39)


def test_a_frame_hears_its_own_400_samples_and_no_others():
    clip = speechlike(4000)
    frame = mfcc(clip)[6, :13]
    np.testing.assert_allclose(mfcc(clip[960:1360])[0, :13], frame, atol=1e-4)


def test_differences_are_slopes_over_five_frames():
    ramp = (3.0 * np.arange(20, dtype=np.float32))[:, None]
    found = deltas(ramp)
    np.testing.assert_allclose(found[2:-2], 3.0, rtol=1e-6)
    # ends repeat themselves: (1 * (3 - 0) + 2 * (6 - 0)) / 10
    assert found[0, 0] == pytest.approx(1.5)
    clip = mfcc(speechlike(8000))
    np.testing.assert_array_equal(clip[:, 13:26], deltas(clip[:, :13]))
    np.testing.assert_array_equal(clip[:, 26:], deltas(clip[:, 13:26]))
