"""Transcripts: the words that were said, when; files of every kind; what cannot be read is told."""

from __future__ import annotations

import itertools
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.runtime.hearing import TellTale
from tests.runtime.speech_folders import write_recogniser
from tests.toy_speech import make_clips, speak
from typer.testing import CliRunner

from minna.cli import transcribe as verb
from minna.cli import verbs
from minna.cli.main import app
from minna.corpus.audio import store_clip
from minna.corpus.clip_read import read_clips
from minna.corpus.clip_rows import phones_told
from minna.corpus.phonemes import same_reading
from minna.errors import DataError, UsageError
from minna.runtime.recordings import Recording, find_recordings, names_for
from minna.runtime.subtitles import cues_of, plain, written
from minna.runtime.transcribe import Sound, Transcript, Word, transcribe, transcribe_files
from minna.tokenizer.sounds import sounds_of_inventory

RUN = CliRunner()
verbs.register(app)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return make_clips(tmp_path_factory.mktemp("said") / "corpus", clips=12)


@pytest.fixture(scope="module")
def phones(corpus):
    return TellTale(corpus)


@pytest.fixture
def folder(corpus, tmp_path):
    """Recordings as files: flac and wav, one in a folder below, one that is none."""
    clips = list(read_clips(corpus, split="all"))
    (tmp_path / "said" / "more").mkdir(parents=True)
    for place, name in enumerate(["a.flac", "b.wav", "more/a.flac"]):
        content = store_clip(clips[place].audio, form=name.rsplit(".", 1)[1])
        (tmp_path / "said" / name).write_bytes(content)
    (tmp_path / "said" / "noise.mp3").write_bytes(b"no recording at all")
    (tmp_path / "said" / "notes.txt").write_text("x", encoding="utf-8")
    return tmp_path / "said"


@pytest.mark.parametrize("beam", [20, "greedy"])
def test_words_are_found_with_their_times(corpus, phones, beam):
    for clip in read_clips(corpus, split="all"):
        found = transcribe(phones, clip.audio, beam=beam)
        assert found.text == phones_told(clip.words) and found.kind == "phones"
        assert found.seconds == pytest.approx(clip.seconds) and found.score < 0
        timed = [one for one in clip.timed if one[0] != "pau"]
        sounds = [sound for word in found.words for sound in word.sounds]
        for sound, (phone, start, end) in zip(sounds, timed, strict=True):
            assert sound.text == phone
            assert start - 0.02 <= sound.start < sound.end <= end + 0.04
        for word in found.words:
            assert (word.start, word.end) == (word.sounds[0].start, word.sounds[-1].end)


def test_phones_are_written_as_kana_and_kana_as_they_are(corpus, phones):
    kana = TellTale(corpus, kind="kana")
    for clip in read_clips(corpus, split="valid"):
        found = transcribe(phones, clip.audio, to="kana")
        assert found.kind == "kana" and len(found.text.split()) == len(clip.words)
        assert same_reading(found.text, clip.kana)
        assert transcribe(kana, clip.audio).text.replace(" ", "") == clip.kana
        with pytest.raises(UsageError, match="this model writes kana"):
            transcribe(kana, clip.audio, to="phones")


def test_kana_without_boundaries_are_parted_where_nothing_is_said():
    class Slow:
        name, sounds = "slow", sounds_of_inventory("kana")

        def logprobs(self, samples):
            logits = np.zeros((100, self.sounds.size))
            logits[:, 0] = 9
            for frame, kana in ((5, "カ"), (10, "キ"), (60, "ク"), (64, "ケ")):
                logits[frame, self.sounds.encode([kana])[0]] = 20
            return logits - np.logaddexp.reduce(logits, axis=1, keepdims=True)

    found = transcribe(Slow(), np.zeros(32_080, np.float32))
    assert found.text == "カキ クケ"
    assert [(word.start, word.end) for word in found.words] == [(0.1, 0.22), (1.2, 1.3)]


def test_silence_says_nothing_and_is_a_transcript_all_the_same(phones):
    found = transcribe(phones, np.zeros(16_000, np.float32))
    assert (found.text, found.words, found.seconds) == ("", (), 1.0)
    assert written(found, "text") == "" and written(found, "srt") == ""
    assert written(found, "vtt") == "WEBVTT\n"
    assert json.loads(written(found, "json"))["words"] == []


def said(*spans):
    words = tuple(Word(text, a, b, (Sound(text, a, b),)) for text, a, b in spans)
    return Transcript(kind="kana", text="", words=words, seconds=12_345.0, score=-1.0)


def test_cues_break_at_pauses_and_before_they_get_long():
    told = said(("ア", 0.5, 1.0), ("イ", 1.2, 3.0), ("ウ", 4.0, 5.0), ("エ", 5.1, 11.0))
    cues = cues_of(told)
    assert [(cue.text, cue.start, cue.end) for cue in cues] == [
        ("ア イ", 0.5, 3.3),
        ("ウ", 4.0, 5.1),  # it stays until the next begins
        ("エ", 5.1, 11.3),
    ]


def test_subtitles_are_what_players_read():
    told = said(("ア<&", 0.5, 1.0), ("イ", 12_340.0, 12_344.9))
    assert written(told, "srt") == (
        "1\n00:00:00,500 --> 00:00:01,300\nア<&\n\n2\n03:25:40,000 --> 03:25:45,000\nイ\n"
    )
    assert written(told, "vtt") == (
        "WEBVTT\n\n00:00:00.500 --> 00:00:01.300\nア&lt;&amp;\n\n"
        "03:25:40.000 --> 03:25:45.000\nイ\n"
    )
    assert written(told, "text") == "ア<&\nイ\n"
    assert json.loads(written(told, "json")) == json.loads(json.dumps(plain(told)))


@given(st.lists(st.tuples(st.floats(0.02, 3), st.floats(0, 2)), max_size=12))
def test_cues_hold_every_word_once_in_order_and_never_overlap(steps):
    at, spans = 0.0, []
    for number, (length, gap) in enumerate(steps):
        spans.append((f"{number}", round(at + gap, 3), round(at + gap + length, 3)))
        at += gap + length
    cues = cues_of(said(*spans))
    assert [name for cue in cues for name in cue.text.split()] == [name for name, _, _ in spans]
    assert all(one.end <= other.start for one, other in itertools.pairwise(cues))
    assert all(cue.end > cue.start for cue in cues)


def test_recordings_are_found_in_folders_by_pattern_and_by_name(folder):
    found = find_recordings([str(folder)])
    assert [one.name for one in found] == ["a.flac", "b.wav", "more/a.flac", "noise.mp3"]
    assert [one.name for one in find_recordings([str(folder / "*.flac")])] == ["a.flac"]
    assert [one.name for one in find_recordings([str(folder / "notes.txt")])] == ["notes.txt"]
    both = find_recordings([str(folder / "a.flac"), str(folder)])
    assert [one.name for one in both].count("a.flac") == 1 and len(both) == 4
    for nothing in ("nowhere", str(folder / "*.ogg")):
        with pytest.raises(UsageError, match="there is no recording at"):
            find_recordings([nothing])


def test_no_two_transcripts_get_one_name(tmp_path):
    names = ["a.wav", "A.flac", "b.wav", "c/b.wav", "b.wav"]
    files = [Recording(tmp_path / str(k), name) for k, name in enumerate(names)]
    found = list(names_for(files, ".srt").values())
    assert found == ["a.wav.srt", "A.flac.srt", "b.wav.srt", "c/b.srt", "b.wav-2.srt"]


def test_what_cannot_be_read_is_told_and_the_others_are_heard(folder, phones, capsys):
    bad = {}
    files = find_recordings([str(folder)])
    found = {file.name: one for file, one in transcribe_files(phones, files, bad=bad)}
    assert list(found) == ["a.flac", "b.wav", "more/a.flac"]
    assert found["a.flac"].words and bad == {(folder / "noise.mp3").as_posix(): "not_audio"}
    assert "noise.mp3" in capsys.readouterr().err
    with pytest.raises(DataError, match="none of 1 recordings can be read: not_audio"):
        list(transcribe_files(phones, [Recording(folder / "noise.mp3", "noise.mp3")], bad={}))


def test_a_beam_may_be_greedy_or_a_number(corpus, phones):
    clip = next(read_clips(corpus, split="test"))
    with pytest.raises(UsageError, match="a beam of 0"):
        transcribe(phones, clip.audio, beam=0)


def test_the_verb_prints_writes_and_refuses(folder, phones, tmp_path, monkeypatch):
    monkeypatch.setattr(verb, "_opened", lambda *_: phones)
    model = str(tmp_path / "model")

    def run(*more):
        return RUN.invoke(app, ["transcribe", model, *map(str, more)])

    one = run(folder / "a.flac")
    assert one.exit_code == 0 and one.stdout.count("\n") >= 1 and " " in one.stdout
    several = run(folder)
    assert several.exit_code == 0
    assert several.stdout.splitlines()[1].startswith(f"{folder / 'b.wav'}\t")
    srt = run(folder, "--format", "srt", "--out", tmp_path / "out")
    assert srt.exit_code == 0, srt.output
    assert "-->" in (tmp_path / "out" / "more" / "a.srt").read_text(encoding="utf-8")
    printed = run(folder / "a.flac", "--format", "vtt", "--to", "kana")
    assert printed.stdout.startswith("WEBVTT\n\n00:00:00.")
    found = json.loads(run(folder, "--json", "--beam", "greedy").stdout.splitlines()[-1])
    assert len(found["recordings"]) == 3 and found["recordings"][0]["words"][0]["sounds"]
    assert [one["problem"] for one in found["bad"]] == ["not_audio"]
    for more, words in (
        ((folder, "--format", "srt"), "4 recordings cannot be printed as one srt"),
        ((), "there is no recording to transcribe"),
        ((folder, "--format", "str"), "did you mean 'srt'"),
        ((folder, "--to", "kanji"), "did you mean 'kana'"),
        ((folder, "--beam", "0"), "--beam 0 is no number"),
        ((folder, "--beam", "wide"), "--beam wide is no number"),
        ((folder, "--report", "x"), "--report goes with --data"),
        ((folder, "--data", "x"), "recordings was given too"),
        (("--data", "x", "--format", "srt"), "--format was given too"),
        (("--data", "x"), "a measurement becomes a report"),
    ):
        assert words in str(run(*more).exception)


def test_a_model_from_its_folder_hears_a_recording_of_any_length(tmp_path):
    samples, _, _ = speak(["カキ", "サシ"], seed=1)
    long = np.tile(samples, 40)[: 40 * 16_000]
    (tmp_path / "long.flac").write_bytes(store_clip(long))
    model = write_recogniser(tmp_path / "model")
    done = RUN.invoke(
        app, ["transcribe", str(model), str(tmp_path / "long.flac"), "--device", "cpu", "--json"]
    )
    assert done.exit_code == 0, done.output
    (found,) = json.loads(done.stdout.splitlines()[-1])["recordings"]
    assert found["seconds"] == pytest.approx(len(long) / 16_000, abs=0.001)
