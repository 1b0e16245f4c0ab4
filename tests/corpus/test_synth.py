"""Synthetic speech: what is said, by whom, where and when; the same from the same seed.

Speaking itself is tested with the engine inside pyopenjtalk-plus, which is always there; what
belongs to the programs (their call, the times they tell) with programs made here, and with the real
ones where a machine has them.
"""

from __future__ import annotations

import json
import shutil
import sys
from itertools import pairwise

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from tests.corpus.made_clips import tone
from typer.testing import CliRunner

from minna import artifact
from minna.cli.corpus import app
from minna.corpus import ClipSettings, build_clips, read_clips
from minna.corpus.audio import RATE, loudness, open_clip
from minna.corpus.synth_engines import say_pyopenjtalk
from minna.corpus.synth_rooms import surrounded
from minna.corpus.synth_speakers import Speaker, draw_speakers
from minna.corpus.synth_texts import Sentence, cut, sentences
from minna.errors import DataError, UsageError

LINES = [
    "ITA_001:王様(おうさま)は東京(とうきょう)へ行(い)った。,オーサマワトーキョーエイッタ。",
    "ITA_002:水を買わなくてはならないのです。,ミズオカワナクテワナラナイノデス。",
    "山と川。海はどこ？",
    "English only.",
    "か",
]
FAKE_HTS = """\
import re, sys, wave
given = sys.argv[1:]
if "-h" in given:
    print("Version 9.9 (made)"); sys.exit()
option = dict(zip(given[0:-1:2], given[1:-1:2]))
labels = open(given[-1], encoding="utf-8").read().split()
silent = any("-v+" in label for label in labels)
ticks = round(1_000_000 / float(option["-r"]))
with open(option["-od"], "w") as out:
    for n, label in enumerate(labels):
        print(n * ticks, (n + 1) * ticks, label, file=out)
if not silent:
    with wave.open(option["-ow"], "wb") as out:
        out.setnchannels(1); out.setsampwidth(2); out.setframerate(48000)
        count = round(len(labels) * ticks * 48000 / 1e7)
        out.writeframes(b"".join(((n * 400) % 9000).to_bytes(2, "little") for n in range(count)))
"""
FAKE_ESPEAK = """\
import sys, wave
given = sys.argv[1:]
if "--version" in given:
    print("eSpeak NG text-to-speech: 9.9  Data at: /x"); sys.exit()
option = dict(zip(given[0::2], given[1::2]))
assert 80 < int(option["-s"]) < 300 and 0 <= int(option["-p"]) < 100, option
text = open(option["-f"], encoding="utf-8").read()
with wave.open(option["-w"], "wb") as out:
    out.setnchannels(1); out.setsampwidth(2); out.setframerate(22050)
    pitch = 90 + 7 * sum(map(ord, option["-v"] + text)) % 400
    out.writeframes(b"".join(((n * pitch) % 9000).to_bytes(2, "little") for n in range(1500 * len(text))))
"""


@pytest.fixture
def programs(tmp_path, monkeypatch):
    """A PATH with no program but those put there."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))

    def put(name, code):
        file = folder / name
        file.write_text(f"#!{sys.executable}\n{code}", encoding="utf-8")
        file.chmod(0o755)

    return put


def text(tmp_path, lines=LINES, name="text.txt"):
    path = tmp_path / name
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def build(tmp_path, path, **values):
    usual = {
        "source": "synth",
        "workers": 1,
        "valid": 0,
        "test": 0,
        "speakers": 4,
        "licence": "CC0-1.0",
    }
    settings = ClipSettings(path=path, **{**usual, **values})
    return build_clips(settings=settings, out=tmp_path / "corpus")


# ---- sentences


def test_listed_sentences_lose_their_furigana_and_texts_are_cut():
    told = [one for line in LINES for one in cut(line, language="ja")]
    assert told == [
        Sentence("王様は東京へ行った。", "オーサマワトーキョーエイッタ。"),
        Sentence("水を買わなくてはならないのです。", "ミズオカワナクテワナラナイノデス。"),
        Sentence("山と川。"),
        Sentence("海はどこ？"),
    ]
    assert list(cut("ID_1:山と川。", language="ja")) == [Sentence("山と川。")]
    assert list(cut("彼は「行く。」と言った。", language="ja")) == [
        Sentence("彼は「行く。」と言った。")
    ]
    assert [one.text for one in cut("He can 't go . Why ? OK", language="en")] == [
        "He can't go.",
        "Why?",
    ]
    assert list(cut("あ" * 81, language="ja")) == []


def test_sentences_come_once_in_an_order_of_the_seed_from_files_tables_and_corpora(tmp_path):
    lines = [f"{n}番目の文です。" for n in range(50)]
    path = text(tmp_path, [*lines, *lines])

    def told(path, **values):
        usual = {"language": "ja", "field": "text", "seed": 0, "most": None}
        return [one.text for one in sentences(path, **{**usual, **values})]

    every = told(path)
    assert sorted(every) == sorted(lines) and every != lines
    assert told(path, most=7) == every[:7] and told(path, seed=1) != every
    folder = tmp_path / "folder"
    folder.mkdir()
    rows = "".join(json.dumps({"text": line}) + "\n" for line in lines)
    (folder / "a.jsonl").write_text(rows, encoding="utf-8")
    assert told(folder) == every
    with pytest.raises(DataError, match=r"no field 'txt'.*did you mean 'text'"):
        told(folder, field="txt")
    with pytest.raises(DataError, match="holds no sentence to speak"):
        told(text(tmp_path, ["only English here"], "en.txt"))
    with pytest.raises(DataError, match="does not exist"):
        told(tmp_path / "nowhere")


def test_bounded_reading_finds_the_same_first_sentences(tmp_path):
    path = text(tmp_path, [f"文の番号は{n}です。" for n in range(6000)])
    told = [
        sentences(path, language="ja", field="text", seed=3, most=most) for most in (None, 5, 300)
    ]
    assert told[0][:5] == told[1] and told[0][:300] == told[2]


# ---- speakers


@given(
    count=st.integers(3, 60),
    seed=st.integers(0, 5),
    shares=st.tuples(st.floats(0, 0.3), st.floats(0, 0.3)),
)
def test_speakers_cover_their_span_and_belong_to_one_split(count, seed, shares):
    valid, test = shares
    speakers = draw_speakers(count, valid=valid, test=test, seed=seed)
    assert speakers == draw_speakers(count, valid=valid, test=test, seed=seed)
    assert len({one.name for one in speakers}) == count == len(speakers)
    splits = [one.split for one in speakers]
    assert ("test" in splits) == (test > 0) and ("valid" in splits) == (valid > 0)
    warps = sorted(one.warp for one in speakers)
    assert warps[0] > 8 / 9 - 1e-3 and warps[-1] < 9 / 8 + 1e-3
    steps = [np.log(b / a) for a, b in pairwise(warps)]
    assert max(steps) < 2.01 * np.log(81 / 64) / count + 1e-3  # a stratum each


def test_too_few_speakers_are_refused(tmp_path):
    with pytest.raises(UsageError, match="speakers=2 leaves none"):
        draw_speakers(2, valid=0.05, test=0.05, seed=0)
    with pytest.raises(UsageError, match="takes=5, and only 4 of 4"):
        build(tmp_path, text(tmp_path), takes=5)


# ---- rooms


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 1000), kind=st.sampled_from(["mixed", "none"]))
def test_surroundings_keep_length_place_and_full_scale(seed, kind):
    burst = 0.2 * np.random.default_rng(1).normal(size=8000)
    dry = np.concatenate([np.zeros(4000), burst, np.zeros(2000)]).astype(np.float32)
    heard = surrounded(dry, kind=kind, random=np.random.default_rng(seed))
    assert heard.dtype == np.float32 and len(heard) == len(dry) and np.abs(heard).max() <= 0.901
    assert -45 < loudness(heard).level < -14
    start = np.correlate(heard, dry[4000:6000], "valid").argmax()
    assert abs(start - 4000) <= 2  # the direct sound stays where it was
    again = surrounded(dry, kind=kind, random=np.random.default_rng(seed))
    np.testing.assert_array_equal(heard, again)


def test_silence_stays_silence():
    nothing = np.zeros(1000, np.float32)
    assert surrounded(nothing, kind="mixed", random=np.random.default_rng(0)).max() == 0


# ---- speaking with pyopenjtalk


def test_text_is_spoken_without_the_program_and_it_is_said(tmp_path, programs, capsys):
    report = build(tmp_path, text(tmp_path), takes=2)
    assert "hts_engine is not there" in capsys.readouterr().err
    assert (report.read, report.kept, report.phoned, report.timed) == (8, 8, 8, 0)
    assert report.sources == {"synthetic": 8} and report.splits["train"] == 8
    clips = list(read_clips(report.path, split="train"))
    king = [one for one in clips if one.transcript.startswith("王様")]
    assert (
        len(king) == 2
        and len({one.speaker for one in king}) == 2
        and len({one.group for one in king}) == 1
    )
    assert king[0].phones == "o o s a m a | w a | t o o ky o o | e | i cl | t a"
    assert king[0].kana == "オーサマワトーキョーエイッタ" and king[0].timed == []
    assert all(1 < one.seconds < 6 and one.rate == RATE for one in clips)
    manifest = artifact.read_manifest(report.path)
    assert manifest.settings["engine"] == "pyopenjtalk" and manifest.settings["times"] == "none"
    assert [one.licence for one in manifest.licences] == ["CC0-1.0", "CC BY 3.0"]
    row = pq.read_table(report.path / "data").to_pylist()[0]
    assert row["licence"] == "CC BY 3.0 (voice), CC0-1.0 (text)" and row["audio"][:4] == b"fLaC"
    card = (report.path / "card.md").read_text(encoding="utf-8")
    for words in ("Synthetic speech", "合成音声", "no times of phones", "MMDAgent"):
        assert words in card
    with pytest.raises(UsageError, match="apt-get install htsengine"):
        build(tmp_path, text(tmp_path), engine="hts_engine")


def test_the_same_seed_says_the_same_and_another_something_else(tmp_path, programs):
    def spoken(seed, workers, engine="pyopenjtalk"):
        report = build(tmp_path, text(tmp_path), seed=seed, workers=workers, engine=engine)
        table = pq.read_table(report.path / "data")
        shutil.rmtree(report.path)
        return table

    first = spoken(0, 1)
    assert first.equals(spoken(0, 1))
    assert not set(first.column("id").to_pylist()) & set(spoken(1, 1).column("id").to_pylist())


def test_neither_a_sentence_nor_a_voice_is_in_two_splits(tmp_path, monkeypatch):
    from minna.corpus import synth

    def hum(labels, speaker):
        return synth.Said(tone(0.3 + len(labels) / 100, seed=int(speaker.name[-4:])), ())

    monkeypatch.setattr(synth, "say_pyopenjtalk", hum)
    lines = [f"{n}番目の文です。" for n in range(150)]
    report = build(
        tmp_path,
        text(tmp_path, lines),
        engine="pyopenjtalk",
        valid=0.2,
        test=0.2,
        speakers=12,
        takes=2,
    )
    rows = (
        pq.read_table(report.path / "data")
        .select(["transcript", "speaker", "split", "group"])
        .to_pylist()
    )
    assert len(rows) == 300 and all(count > 25 for count in report.splits.values())
    for name in ("transcript", "speaker", "group"):
        sides = {}
        for row in rows:
            sides.setdefault(row[name], set()).add(row["split"])
        assert all(len(side) == 1 for side in sides.values())


def test_a_warp_moves_formants_and_nothing_else():
    from minna.corpus.phonemes import read_aloud

    labels = read_aloud("あいうえおが大きい。").labels
    plain = {
        "name": "x",
        "split": "train",
        "half_tones": 0.0,
        "rate": 1.0,
        "all_pass": 0.55,
        "intonation": 1.0,
    }
    short, same, long = (
        say_pyopenjtalk(labels, Speaker(**plain, warp=warp)).samples for warp in (9 / 8, 1.0, 8 / 9)
    )
    assert abs(len(short) - len(same)) < 0.03 * len(same) > abs(len(long) - len(same))

    def centre(samples):
        """Where the middle of the spectrum's power lies, in Hz, up to 4 kHz."""
        power = np.abs(np.fft.rfft(samples)) ** 0.5
        frequencies = np.fft.rfftfreq(len(samples), 1 / RATE)
        heard = frequencies < 4000
        return np.average(frequencies[heard], weights=power[heard])

    assert centre(short) > 1.02 * centre(same) > 1.04 * centre(long)


def test_what_cannot_be_read_or_spoken_is_counted(tmp_path, programs):
    programs("hts_engine", FAKE_HTS)  # says nothing where there is a v
    report = build(
        tmp_path, text(tmp_path, ["한국어와 山と川。", "ヴァイオリンです。", "山と川です。"])
    )
    assert report.dropped == {"unreadable": 1, "unspoken": 1} and report.kept == 1
    programs("hts_engine", "import sys; print('Version 0'); sys.exit(0)")
    with pytest.raises(DataError, match=r"0 kept \(unspoken: 1\)"):
        build(tmp_path, text(tmp_path, ["海がある。"]))


# ---- the programs


def test_times_come_from_the_program_and_follow_the_warp(tmp_path, programs):
    programs("hts_engine", FAKE_HTS)
    report = build(tmp_path, text(tmp_path), surroundings="none", takes=4)
    assert report.timed == report.kept == 16
    assert artifact.read_manifest(report.path).settings["engine"] == "hts_engine Version 9.9"
    assert "times of phones are exact" in (report.path / "card.md").read_text(encoding="utf-8")
    speakers = {one.name: one for one in draw_speakers(4, valid=0, test=0, seed=0)}
    for one in read_clips(report.path, split="train"):
        assert one.timed[0][0] == one.timed[-1][0] == "pau"
        assert one.timed[-1][2] == pytest.approx(one.seconds, abs=2e-3)
        spoken = 0.1 / speakers[one.speaker].rate  # the program's own length, at this rate
        assert np.diff([0, *one.times]) == pytest.approx([spoken] * len(one.times), rel=1e-3)
        assert [p for word in one.words for p in word] == [p for p, _, _ in one.timed if p != "pau"]


def test_a_killed_build_goes_on_behind_its_last_shard(tmp_path, programs, monkeypatch):
    from minna.corpus import synth

    monkeypatch.setattr(synth, "_PER_SHARD", 2)
    programs("hts_engine", FAKE_HTS)
    path = text(tmp_path, [f"{n}番の山と川。" for n in range(6)])
    whole = build(tmp_path, path)
    expected = pq.read_table(whole.path / "data")
    shutil.rmtree(whole.path)
    said, real = [], synth.say_hts

    def stop(labels, speaker):
        said.append(labels)
        if len(said) == 4:
            raise KeyboardInterrupt
        return real(labels, speaker)

    monkeypatch.setattr(synth, "say_hts", stop)
    with pytest.raises(KeyboardInterrupt):
        build(tmp_path, path)
    report = build(tmp_path, path)
    assert report.state == "resumed" and len(said) == 4 + 4
    assert pq.read_table(report.path / "data").equals(expected)


def test_english_is_spoken_by_espeak(tmp_path, programs):
    path = text(tmp_path, ["show your own business .", "I like both. He can 't go .", "日本語だけ"])
    with pytest.raises(UsageError, match="apt-get install espeak-ng"):
        build(tmp_path, path, source="synth-en")
    programs("espeak-ng", FAKE_ESPEAK)
    report = build(tmp_path, path, source="synth-en", surroundings="none")
    assert (report.kept, report.phoned, report.notes) == (3, 0, {})
    rows = pq.read_table(report.path / "data").to_pylist()
    assert {row["transcript"] for row in rows} == {
        "show your own business.",
        "I like both.",
        "He can't go.",
    }
    assert {row["source"] for row in rows} == {"synthetic-en"} and rows[0]["speaker"].startswith(
        "synthetic-en-0-"
    )
    assert artifact.read_manifest(report.path).settings["engine"] == "eSpeak NG text-to-speech: 9.9"
    card = (report.path / "card.md").read_text(encoding="utf-8")
    assert "Synthetic speech" in card and "30 of its voices" in card
    one = build(tmp_path, path, source="synth-en", surroundings="none", voices=1)
    assert artifact.read_manifest(one.path).settings["voices"] == ["en-us+m1"]
    with pytest.raises(UsageError, match="does not read voices"):
        build(tmp_path, path, voices=1)
    with pytest.raises(UsageError, match="does not read engine"):
        build(tmp_path, path, source="synth-en", engine="pyopenjtalk")


def write_voice(file, *, alpha="0.55", labels="HTS_TTS_JPN"):
    head = f"[GLOBAL]\nFULLCONTEXT_FORMAT:{labels}\n[STREAM]\nOPTION[MCP]:ALPHA={alpha}\n[DATA]\n"
    file.parent.mkdir(exist_ok=True)
    file.write_bytes(head.encode() + bytes(range(256)))
    return file


TELLING_HTS = FAKE_HTS.replace(
    "labels = open",
    "print(option['-m'], option['-a'], file=open(sys.argv[0] + '.heard', 'a')); labels = open",
)


def test_speakers_are_made_of_the_voices_that_are_given_in_turn(tmp_path, programs):
    programs("hts_engine", TELLING_HTS)
    voices = [
        write_voice(tmp_path / "voices" / "a.htsvoice"),
        write_voice(tmp_path / "voices" / "b.htsvoice", alpha="0.42"),
    ]
    given = {"voice_licence": "CC BY 4.0", "voice_attribution": "somebody"}
    usual = {"surroundings": "none", "takes": 4}
    report = build(tmp_path, text(tmp_path), voice_files=tmp_path / "voices", **usual, **given)
    told = (tmp_path / "bin" / "hts_engine.heard").read_text(encoding="utf-8").split()
    heard = set(zip(told[0::2], told[1::2], strict=True))
    speakers = draw_speakers(4, valid=0, test=0, seed=0)
    assert heard == {
        (str(voices[n % 2].resolve()), f"{one.all_pass - (0, 0.13)[n % 2]:.4f}")
        for n, one in enumerate(speakers)
    }
    manifest = artifact.read_manifest(report.path)
    assert manifest.licences[-1].source == "HTS voices: a, b"
    assert (manifest.licences[-1].licence, manifest.licences[-1].attribution) == tuple(
        given.values()
    )
    card = (report.path / "card.md").read_text(encoding="utf-8")
    assert "made of voices of hts_engine (a, b)" in card and "2 つの声（a、b）" in card
    rows = pq.read_table(report.path / "data").to_pylist()
    assert {row["licence"] for row in rows} == {"CC BY 4.0 (voice), CC0-1.0 (text)"}
    again = build(tmp_path, text(tmp_path), voice_files=voices[0], **usual, **given)
    assert artifact.read_manifest(again.path).licences[-1].source == "HTS voices: a"


def test_what_is_no_japanese_voice_is_refused(tmp_path, programs):
    programs("hts_engine", FAKE_HTS)
    path = text(tmp_path)
    (tmp_path / "empty").mkdir()
    english = write_voice(tmp_path / "en.htsvoice", labels="HTS_TTS_ENG")
    noise = tmp_path / "noise.htsvoice"
    noise.write_bytes(bytes(range(256)) * 9)
    for voice, words in (
        (tmp_path / "empty", "no voice of hts_engine is in"),
        (english, "its head names HTS_TTS_ENG as its labels"),
        (noise, "its head names nothing as its labels"),
        (tmp_path / "gone.htsvoice", "cannot be read"),
    ):
        with pytest.raises(DataError, match=words):
            build(tmp_path, path, voice_files=voice)
    with pytest.raises(UsageError, match="is for the program hts_engine, and pyopenjtalk speaks"):
        build(tmp_path, path, voice_files=english, engine="pyopenjtalk")
    with pytest.raises(ValidationError, match="are of voice_files"):
        build(tmp_path, path, voice_licence="CC0")
    with pytest.raises(UsageError, match="does not read voice_files"):
        build(tmp_path, path, source="synth-en", voice_files=english)


@pytest.mark.skipif(not shutil.which("hts_engine"), reason="the program hts_engine is not there")
def test_the_real_program_tells_when_each_phone_is_said(tmp_path):
    report = build(tmp_path, text(tmp_path), engine="hts_engine", surroundings="none")
    assert report.timed == report.kept == 4
    for one in read_clips(report.path, split="train"):
        assert one.timed[-1][2] == pytest.approx(one.seconds, abs=0.01)
        loud = {"vowel": [], "pau": []}
        for phone, start, end in one.timed:
            kind = "vowel" if phone in "aeo" else "pau" if phone == "pau" else ""
            if kind and end - start > 0.04:
                middle = one.audio[round((start + 0.01) * RATE) : round((end - 0.01) * RATE)]
                loud[kind].append(loudness(middle).level)
        assert np.median(loud["vowel"]) > np.median(loud["pau"]) + 20
    first = pq.read_table(report.path / "data")
    shutil.rmtree(report.path)
    again = build(tmp_path, text(tmp_path), engine="hts_engine", surroundings="none")
    assert pq.read_table(again.path / "data").equals(first)


@pytest.mark.skipif(not shutil.which("espeak-ng"), reason="the program espeak-ng is not there")
def test_the_real_espeak_has_every_voice_that_is_named(tmp_path):
    lines = [f"This is sentence number {n}." for n in range(2)]
    report = build(tmp_path, text(tmp_path, lines), source="synth-en", speakers=31, takes=31)
    assert report.kept == 62 and report.speakers == 31


def test_the_command_line_speaks(tmp_path):
    out = tmp_path / "corpus"
    call = [
        "build",
        "synth",
        "--from",
        str(text(tmp_path)),
        "--out",
        str(out),
        "--valid",
        "0",
        "--test",
        "0",
    ]
    done = CliRunner().invoke(
        app, [*call, "--workers", "1", "--limit", "2", "speakers=3", "engine=pyopenjtalk", "--json"]
    )
    assert done.exit_code == 0, done.output
    report = json.loads(done.stdout)
    assert (report["kept"], report["speakers"] <= 2, report["timed"]) == (2, True, 0)
    with pytest.raises(UsageError, match="--files does not apply to the source synth"):
        CliRunner().invoke(app, [*call, "--files", "x"], catch_exceptions=False)
    assert len(open_clip(pq.read_table(out / "data").to_pylist()[0]["audio"])) > RATE
    assert artifact.inspect(out)[1] == []
