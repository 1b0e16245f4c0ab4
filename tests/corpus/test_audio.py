"""Opening recordings: what comes out is one channel at 16,000 Hz, or an error with its word."""

from __future__ import annotations

import struct

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.corpus.made_clips import saved, tone

from minna.corpus import audio
from minna.corpus.audio import (
    BadClipError,
    head_of,
    loudness,
    open_clip,
    store_clip,
)


def problem(content):
    with pytest.raises(BadClipError) as caught:
        open_clip(content)
    assert caught.value.remedy
    return caught.value.problem


def alike(one, other, *, within):
    """Equal but for a share of the power, ends left out: filters ring there."""
    shortest = min(len(one), len(other)) - 400
    one, other = one[400:shortest], other[400:shortest]
    return np.mean((one - other) ** 2) < within**2 * np.mean(other**2)


@pytest.mark.parametrize(
    ("kind", "subtype", "within"),
    [
        ("WAV", "PCM_16", 1e-3), ("WAV", "FLOAT", 1e-6), ("FLAC", "PCM_24", 1e-4),
        ("OGG", "VORBIS", 0.3), ("OGG", "OPUS", 0.3), ("MP3", None, 0.4), ("AIFF", None, 1e-3),
    ],
)  # fmt: skip
def test_every_form_is_opened_whatever_a_name_claims(kind, subtype, within):
    samples = tone(1.0, seed=3)
    content = saved(samples, kind, subtype=subtype)
    opened = open_clip(content)
    assert opened.dtype == np.float32 and opened.ndim == 1
    assert abs(len(opened) - 16_000) < 1700  # MP3 pads
    if kind != "MP3":
        assert len(opened) == 16_000 == head_of(content).frames
        assert alike(opened, samples, within=within)


@pytest.mark.parametrize("rate", [8_000, 11_025, 44_100, 48_000])
def test_other_rates_are_resampled_to_the_same_sound(rate):
    content = saved(tone(1.0, rate=rate, seed=2, loud=0.5), "WAV", rate=rate)
    opened = open_clip(content)
    assert len(opened) == 16_000
    strongest = np.abs(np.fft.rfft(opened * np.hanning(len(opened)))).argmax()
    assert abs(strongest - (180 + 74)) <= 1  # Hz
    assert head_of(content)[1:3] == (rate, 1)
    assert head_of(content).seconds == 1.0


def test_a_recording_read_in_pieces_is_the_recording(monkeypatch):
    content = saved(tone(2.0, rate=44_100, seed=1), "WAV", rate=44_100, channels=2)
    whole = open_clip(content)
    monkeypatch.setattr(audio, "_BLOCK", 4096)
    pieces = open_clip(content)
    assert len(whole) == len(pieces) == 32_000
    np.testing.assert_allclose(whole, pieces, atol=2e-4)


def test_channels_are_averaged_and_loudness_is_left():
    samples = tone(0.5, loud=0.8)
    opened = open_clip(saved(samples, "WAV", subtype="FLOAT", channels=5))
    np.testing.assert_allclose(opened, samples * np.mean([1, 0.5, 0.25, 0.125, 0.0625]), atol=1e-6)


def test_what_is_no_recording_has_a_word_for_it():
    flac, wav = saved(tone(2.0)), saved(tone(2.0), "WAV")
    assert problem(b"") == "empty"
    assert problem(b"just text, called x.wav") == "not_audio"
    assert problem(saved(tone(0.0), "WAV")) == "empty"
    assert problem(saved(tone(1 / 16_000), "WAV")) == "too_short"
    assert problem(wav[:20]) == "not_audio"
    spoilt = tone(0.5)
    spoilt[1000] = np.nan
    assert problem(saved(spoilt, "WAV", subtype="FLOAT")) == "not_finite"
    spoilt[1000] = np.inf
    assert problem(saved(spoilt, "WAV", subtype="FLOAT")) == "not_finite"
    assert problem(flac[: len(flac) // 2]) in ("truncated", "damaged")


@pytest.mark.parametrize(
    ("kind", "subtype"), [("WAV", None), ("OGG", "OPUS"), ("OGG", "VORBIS"), ("FLAC", None)]
)
@settings(max_examples=15, deadline=None)
@given(share=st.floats(0.02, 0.98))
def test_a_file_that_was_cut_is_never_a_short_one(kind, subtype, share):
    content = saved(tone(1.5, seed=4), kind, subtype=subtype)
    with pytest.raises(BadClipError) as caught:
        open_clip(content[: int(share * len(content))])
    assert caught.value.problem in ("truncated", "damaged", "not_audio", "empty")


def test_a_wave_out_of_a_pipe_states_no_length_and_is_read():
    content = bytearray(saved(tone(0.5), "WAV"))
    place = content.index(b"data") + 4
    content[4:8] = content[place : place + 4] = struct.pack("<I", 0xFFFFFFFF)
    assert len(open_clip(bytes(content))) == 8000


def test_lengths_and_rates_are_judged_before_a_sample_is_decoded(monkeypatch):
    monkeypatch.setattr(audio, "MOST_SECONDS", 1)
    monkeypatch.setattr(audio, "_pieces", None)  # nobody decodes
    assert problem(saved(tone(1.5))) == "too_long"
    assert problem(saved(tone(0.5), "WAV", rate=1_000)) == "odd_rate"
    monkeypatch.setattr(audio, "_MOST_CHANNELS", 4)
    assert problem(saved(tone(0.5), "WAV", channels=5)) == "too_many_channels"
    monkeypatch.setattr(audio, "MOST_BYTES", 100)
    assert problem(saved(tone(0.5))) == "too_large"


@pytest.mark.parametrize("form", ["flac", "wav", "opus"])
def test_what_is_stored_is_opened_again(form):
    samples = tone(1.0, seed=5)
    content = store_clip(samples, form=form)
    assert head_of(content)[1:] == (16_000, 1, 16_000)
    assert alike(open_clip(content), samples, within=0.3 if form == "opus" else 1e-3)
    assert (
        store_clip(samples, form=form)[:4]
        == {"flac": b"fLaC", "wav": b"RIFF", "opus": b"OggS"}[form]
    )


def test_flac_and_wave_are_the_same_bytes_each_time():
    assert store_clip(tone(), form="flac") == store_clip(tone(), form="flac")


def test_samples_over_full_scale_are_cut_not_turned_over():
    opened = open_clip(store_clip(np.full(1600, 1.7, np.float32)))
    assert opened.min() > 0.99 and opened.max() <= 1


def test_what_cannot_be_stored_says_why():
    with pytest.raises(BadClipError, match="NaN"):
        store_clip(np.array([0.0, np.nan], np.float32))
    with pytest.raises(BadClipError, match="Opus has no rate of 11025"):
        store_clip(tone(), rate=11_025, form="opus")


def test_loudness_is_in_decibels_under_full_scale():
    square = np.tile(np.array([0.1, -0.1], np.float32), 800)
    loud = loudness(square)
    assert loud.level == pytest.approx(-20, abs=1e-4) and loud.peak == pytest.approx(0.1)
    assert loud.clipped == 0 and loudness(np.sign(square)).clipped == 1
    assert loudness(np.zeros(10, np.float32)).level == -np.inf
    assert loudness(np.zeros(0, np.float32)) == (-np.inf, 0, 0)


def test_an_mp3_cut_short_is_read_as_far_as_it_goes():
    content = saved(tone(3.0), "MP3")  # it tells no length that could be missed
    assert 16_000 < len(open_clip(content[: len(content) // 2])) < 2 * 16_000


def test_the_libraries_know_every_suffix_that_is_listed():
    known = {f".{name.lower()}" for name in soundfile.available_formats()}
    assert set(audio.SUFFIXES) - known <= {".opus", ".oga", ".aif"}
