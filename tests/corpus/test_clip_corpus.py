"""A corpus of clips: each layout, what is kept, what goes and why, what stays together."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.corpus.fake_hub import FakeHub, Repository
from tests.corpus.made_clips import clip, saved, talk, tone
from tests.corpus.made_pictures import tar
from tests.toy_speech import make_clips
from typer.testing import CliRunner

from minna import artifact
from minna.cli.corpus import app
from minna.corpus import (
    CLIP_COLUMNS,
    ClipSettings,
    build_clips,
    columns_of,
    holds_clips,
    holds_pairs,
    read_clips,
    texts,
)
from minna.corpus import clip_corpus as module
from minna.corpus.audio import open_clip
from minna.corpus.settings import BuildSettings
from minna.corpus.sources import DESCRIPTIONS, open_source
from minna.errors import ArtifactError, DataError, UsageError

RUN = CliRunner()
TOFUGU = Path("../shared/data/speech/tofugu-valid.tsv")


def write(folder, files):
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return folder


def lines(*rows):
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def build(tmp_path, path, **values):
    usual = {"licence": "CC0-1.0", "reading": "none", "workers": 1}
    settings = ClipSettings(source="clips", path=path, **{**usual, **values})
    return build_clips(settings=settings, out=tmp_path / "corpus")


def told(report, *names):
    """Columns of all rows."""
    rows = pq.read_table(report.path / "data").to_pylist()
    return [tuple(row[name] for name in names) if len(names) > 1 else row[names[0]] for row in rows]


# ---- layouts


def test_a_folder_with_texts_beside_becomes_a_corpus_with_columns_terms_and_counts(tmp_path):
    files = {
        "a/1.flac": clip(1),
        "a/1.txt": "王様　です\n",
        "2.wav": clip(2, "WAV"),
        "2.json": json.dumps({"text": "海", "speaker": "花子", "license": "MIT", "group": "s"}),
        "3.ogg": clip(3, "OGG"),
        "notes.md": "x",
    }
    report = build(
        tmp_path,
        write(tmp_path / "data", files),
        valid=0,
        test=0,
        attribution="me",
        reading="open-jtalk",
    )
    assert (report.state, report.read, report.kept, report.splits["train"]) == ("built", 3, 3, 3)
    assert (report.transcribed, report.phoned, report.timed, report.speakers) == (2, 2, 0, 1)
    assert report.seconds == pytest.approx(1.8, abs=1e-3)
    second, third, first = pq.read_table(report.path / "data").to_pylist()
    assert tuple(first) == CLIP_COLUMNS == columns_of(report.path)
    assert (
        first["audio"] == files["a/1.flac"] and third["audio"] == files["3.ogg"]
    )  # their own bytes
    assert (first["samples"], first["rate"], first["split"]) == (9600, 16_000, "train")
    assert (first["transcript"], first["kana"]) == ("王様 です", "オーサマデス")
    assert first["phones"] == "o o s a m a | d e s u" and first["times"] == []
    assert (second["speaker"], second["licence"], second["group"]) == ("花子", "MIT", "s")
    assert first["licence"] == "CC0-1.0" and third["transcript"] == third["phones"] == ""
    assert len(first["id"]) == 16 and first["group"] == first["id"]
    manifest = artifact.read_manifest(report.path, kind="corpus")
    assert [(one.licence, one.attribution) for one in manifest.licences] == [("CC0-1.0", "me")]
    assert any("voice" in note for note in manifest.legal)
    assert (
        manifest.counts["seconds"].value == report.seconds and manifest.counts["clips"].value == 3
    )
    low, middle, high = report.levels
    assert -20 < low <= middle <= high < -5
    card = (report.path / "card.md").read_text(encoding="utf-8")
    for words in ("3 クリップ", "3 clips kept", "王様 です", "o o s a m a", "花子", "MIT"):
        assert words in card
    assert artifact.inspect(report.path)[1] == []
    assert not (report.path / "stage").exists()
    assert holds_clips(report.path) and not holds_pairs(report.path)


def test_clips_come_back_in_order_by_split_and_without_sound(tmp_path):
    files = {f"{n:02d}.flac": clip(n) for n in range(40)} | {
        f"{n:02d}.txt": f"{n}番" for n in range(40)
    }
    report = build(tmp_path, write(tmp_path / "data", files), valid=0.3, test=0.3)
    every = list(read_clips(report.path, split="all"))
    assert [one.transcript for one in every] == [f"{n}番" for n in range(40)]
    np.testing.assert_array_equal(every[7].audio, open_clip(files["07.flac"]))
    assert every[0].seconds == 0.6 and every[0].words == [] == every[0].timed
    parts = {name: list(read_clips(report.path, split=name)) for name in report.splits}
    assert {name: len(found) for name, found in parts.items()} == report.splits
    assert all(len(found) > 3 for found in parts.values())
    left = list(read_clips(report.path, split="test", audio="left"))
    assert [one.id for one in left] == [one.id for one in parts["test"]]
    assert all(len(one.audio) == 0 and one.samples == 9600 for one in left)
    with pytest.raises(UsageError, match="did you mean 'train'"):
        list(read_clips(report.path, split="trian"))


@pytest.mark.parametrize("kind", ["tsv", "plain", "jsonl"])
def test_a_table_names_files(tmp_path, kind):
    table = {
        "tsv": ("list.tsv", "path\tsentence\tspeaker\n1.wav\t一\tA\nd/2.flac\t二\tB\n"),
        "plain": ("list.tsv", "1.wav\t一\tA\nd/2.flac\t二\tB\n"),
        "jsonl": (
            "manifest.jsonl",
            lines(
                {
                    "audio_filepath": str(tmp_path / "data" / "1.wav"),
                    "duration": 0.6,
                    "text": "一",
                    "speaker": "A",
                },
                {"audio_filepath": "d/2.flac", "text": "二", "speaker": "B"},
            ),
        ),
    }[kind]
    files = {"1.wav": clip(1, "WAV"), "d/2.flac": clip(2), "d/3.flac": clip(3), table[0]: table[1]}
    report = build(tmp_path, write(tmp_path / "data", files))
    assert told(report, "transcript", "speaker") == [("一", "A"), ("二", "B")]
    assert report.speakers == 2


def test_sections_of_a_long_recording_are_cut_out_by_their_times(tmp_path):
    lecture = talk((1.0, 2.0), (1.0, 3.0), seed=2)
    table = (
        "file\tstart\tend\ttext\tkana\nA01.wav\t1.0\t3.0\t前半\tゼンハン\nA01.wav\t4.0\t7.0\t後半\tコウハン\n"
        "A01.wav\t7.2\t9.9\t外\tソト\nA01.wav\tx\t9\t\t\nB.wav\t\t\t全部\tゼンブ\n"
    )
    files = {"WAV/A01.wav": saved(lecture, "WAV"), "WAV/B.wav": clip(5, "WAV"), "csj.tsv": table}
    folder = write(tmp_path / "data", files)
    with pytest.raises(DataError, match=r"2 recordings read, 0 kept \(missing: 2\)"):
        build(tmp_path, folder)
    report = build(tmp_path, folder, audio=folder / "WAV", reading="open-jtalk")
    rows = told(report, "transcript", "kana", "samples", "phones")
    assert rows[0] == ("前半", "ゼンハン", 32_000, "z e N h a N")
    assert [row[0] for row in rows] == ["前半", "後半", "全部"]
    assert report.dropped == {"outside_recording": 1, "malformed": 1} and report.read == 2
    clips = list(read_clips(report.path, split="all"))
    np.testing.assert_allclose(clips[0].audio, lecture[16_000:48_000], atol=1e-4)
    assert clips[0].group == clips[1].group != clips[2].group  # one recording, one side


def test_a_table_beside_a_tar_tells_of_its_members(tmp_path):
    folder = tmp_path / "data"
    folder.mkdir()
    tar(
        folder / "words-train.tar",
        {"w-1.flac": clip(1), "w-2.ogg": clip(2, "OGG"), "w-9.flac": clip(9)},
    )
    tar(folder / "words-valid.tar", {"x/w-3.flac": clip(3), "readme.txt": b"?"})
    write(folder, {
        "words-train.tsv": "file\ttext\tkana\tsamples\nw-1.flac\t王\tおう\t9600\nw-2.ogg\t山\tかわ\t9600\n",
        "words-valid.tsv": "file\ttext\tkana\tsamples\nw-3.flac\t海\tうみ\t9600\n",
        "other.txt": "text",
    })  # fmt: skip
    report = build(tmp_path, folder, splits="stated", reading="open-jtalk")
    assert report.dropped == {"not_listed": 1} and report.notes == {"reading_differs": 1}
    assert told(report, "transcript", "kana", "phones", "split") == [
        ("王", "オー", "o o", "train"), ("山", "カワ", "", "train"), ("海", "ウミ", "u m i", "valid"),
    ]  # fmt: skip
    one = build(tmp_path, folder / "words-valid.tsv")
    assert told(one, "transcript") == ["海"]


def test_reazonspeech_has_one_table_for_many_tars(tmp_path):
    folder = write(tmp_path / "data", {"small.tsv": "000/a.flac\tはい\n001/b.flac\tいいえ\n"})
    (folder / "data").mkdir()
    tar(folder / "data" / "000.tar", {"000/a.flac": clip(1)})
    tar(folder / "data" / "001.tar", {"001/b.flac": clip(2)})
    report = build(tmp_path, folder, source_name="reazonspeech", reading="open-jtalk")
    assert told(report, "transcript", "phones", "source") == [
        ("はい", "h a i", "reazonspeech"), ("いいえ", "i i e", "reazonspeech"),
    ]  # fmt: skip
    unpacked = write(tmp_path / "unpacked", {
        "small.tsv": "000/a.flac\tはい\n", "000/a.flac": clip(1),
    })  # fmt: skip
    assert told(build(tmp_path, unpacked), "transcript") == ["はい"]


def test_webdataset_shards_are_read_member_by_member(tmp_path):
    folder = write(tmp_path / "data", {"stats.json": "{}"})
    tar(folder / "00000.tar", {
        "000.flac": clip(1), "000.txt": "一".encode(),
        "001.wav": clip(2, "WAV"),
        "001.json": b'{"transcript": "\\u4e8c", "speaker_id": 7, "phones": "n i", "times": [0.2, 0.6]}',
        "002.txt": b"no recording", "003.flac": b"",
    })  # fmt: skip
    report = build(tmp_path, folder)
    assert told(report, "transcript", "speaker", "phones") == [("一", "", ""), ("二", "7", "n i")]
    assert report.dropped == {"empty": 1, "no_audio": 1} and report.timed == 1
    assert list(read_clips(report.path, split="all"))[1].timed[1] == (
        "i",
        pytest.approx(0.2),
        pytest.approx(0.6),
    )


def test_librispeech_has_its_speakers_chapters_and_splits(tmp_path):
    files = {
        "LibriSpeech/dev-clean/84/121/84-121-0000.flac": clip(1),
        "LibriSpeech/dev-clean/84/121/84-121-0001.flac": clip(2),
        "LibriSpeech/dev-clean/84/121/84-121.trans.txt": "84-121-0000 GO ON\n84-121-0001 DO YOU\n",
        "LibriSpeech/train-clean-100/9/5/9-5-0000.flac": clip(3),
        "LibriSpeech/train-clean-100/9/5/9-5.trans.txt": "9-5-0000 YES\n9-5-0001 LOST\n",
        "LibriSpeech/README.TXT": "x",
    }
    folder = write(tmp_path / "data", files)
    report = build(tmp_path, folder, splits="stated", reading="open-jtalk")
    assert told(report, "transcript", "speaker", "group", "split") == [
        ("GO ON", "84", "84-121", "valid"), ("DO YOU", "84", "84-121", "valid"), ("YES", "9", "9-5", "train"),
    ]  # fmt: skip
    assert report.dropped == {"missing": 1} and report.notes == {"not_japanese": 3}
    write(folder, {"LibriSpeech/train-clean-100/9/5/9-5.trans.txt": "hello there\n"})
    with pytest.raises(DataError, match="line 1: 'hello there' does not begin with SPEAKER"):
        build(tmp_path, folder)


def test_jsut_and_jvs_have_transcripts_beside_wav(tmp_path):
    files = {
        "jsut/basic5000/transcript_utf8.txt": "B_0001:水を。\nB_0002:火を：消す。\n",
        "jsut/basic5000/wav/B_0001.wav": clip(1, "WAV"),
        "jsut/basic5000/wav/B_0002.wav": clip(2, "WAV"),
        "jvs_ver1/jvs007/parallel100/transcripts_utf8.txt": "V_001:土を。\n",
        "jvs_ver1/jvs007/parallel100/wav24kHz16bit/V_001.wav": saved(
            tone(rate=24_000), "WAV", rate=24_000
        ),
    }
    folder = write(tmp_path / "data", files)
    report = build(tmp_path, folder, source_name="jsut")
    assert told(report, "transcript", "speaker", "rate") == [
        ("水を。", "jsut", 16_000), ("火を：消す。", "jsut", 16_000), ("土を。", "jvs007", 24_000),
    ]  # fmt: skip
    write(folder, {"jsut/basic5000/transcript_utf8.txt": "../B_0001:水\n"})
    with pytest.raises(DataError, match="is not ID:text"):
        build(tmp_path, folder)


def test_common_voice_has_a_table_of_what_was_validated(tmp_path):
    head = "client_id\tpath\tsentence\tup_votes\n"
    files = {
        "ja/validated.tsv": head + "aa\tc1.mp3\t一つ\t2\nbb\tc2.mp3\t二つ\t2\n",
        "ja/train.tsv": head + "aa\tc1.mp3\t一つ\t2\n",
        "ja/test.tsv": head + "bb\tc2.mp3\t二つ\t2\n",
        "ja/clips/c1.mp3": clip(1, "MP3"),
        "ja/clips/c2.mp3": clip(2, "MP3"),
    }
    folder = write(tmp_path / "data", files)
    report = build(tmp_path, folder, group_by="speaker")
    assert told(report, "transcript", "speaker", "group") == [
        ("一つ", "aa", "speaker aa"), ("二つ", "bb", "speaker bb"),
    ]  # fmt: skip
    stated = build(tmp_path, folder, splits="stated")
    assert sorted(told(stated, "transcript", "split")) == [("一つ", "train"), ("二つ", "test")]


@pytest.mark.parametrize("form", ["bytes", "struct", "path"])
def test_parquet_holds_recordings_or_names_them(tmp_path, form):
    contents = [clip(1), clip(2, "OGG"), None]
    column = {
        "bytes": contents,
        "struct": [{"bytes": c, "path": "x"} for c in contents],
        "path": ["p/1.flac", "p/2.ogg", None],
    }[form]
    files = {"p/1.flac": contents[0], "p/2.ogg": contents[1]}
    folder = write(tmp_path / "data", files if form == "path" else {"read.me": b"x"})
    pq.write_table(
        pa.table({"audio": column, "transcription": ["山", "川", "海"], "speaker_id": [1, 2, 3]}),
        folder / "test-00000.parquet",
    )
    report = build(tmp_path, folder, files="*.parquet" if form == "path" else "", splits="stated")
    assert told(report, "transcript", "speaker", "split") == [
        ("山", "1", "test"),
        ("川", "2", "test"),
    ]
    assert report.dropped["no_audio"] == 1 if form != "struct" else report.dropped["missing"] == 1


def test_a_data_set_of_the_hub_is_read_at_one_commit_with_its_own_terms(tmp_path, monkeypatch):
    sink = pa.BufferOutputStream()
    audio = [{"bytes": clip(n), "path": f"{n}.flac"} for n in (1, 2)]
    pq.write_table(pa.table({"audio": audio, "text": ["1番", "2番"]}), sink)
    served = FakeHub()
    monkeypatch.setenv("HF_ENDPOINT", served.endpoint)
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "cache"))
    repository = served.repositories["lab/speech"] = Repository(card={"license": "cc-by-4.0"})
    commit = repository.commit(
        {"README.md": b"#", "data/validation-0.parquet": sink.getvalue().to_pybytes()}
    )
    report = build(tmp_path, Path("hub:lab/speech"), licence="not stated", splits="stated")
    assert told(report, "transcript", "licence", "split", "source")[0] == (
        "1番",
        "cc-by-4.0",
        "valid",
        "hub:lab/speech",
    )
    (licence,) = artifact.read_manifest(report.path).licences
    assert licence.licence == "cc-by-4.0" and commit in licence.url
    assert (
        build(tmp_path, Path("hub:lab/speech"), licence="not stated", splits="stated").state
        == "unchanged"
    )
    with pytest.raises(UsageError, match="audio="):
        build(tmp_path, Path("hub:lab/speech"), audio=tmp_path)
    served.close()


def test_real_recordings_of_words_are_read_as_they_lie(tmp_path):
    if not TOFUGU.is_file():
        pytest.skip("the recordings are not beside this checkout")
    report = build(tmp_path, TOFUGU, limit=40, licence="CC BY-SA 4.0", reading="open-jtalk")
    assert (report.read, report.kept) == (40, 40) and report.phoned >= 38
    assert told(report, "transcript", "kana", "phones")[0] == ("〜付き", "ツキ", "ts u k i")


# ---- what goes, and why


def test_what_is_left_out_is_counted_by_its_reason(tmp_path):
    quiet = (tone() * 1e-4).astype(np.float32)
    spoilt = tone()
    spoilt[5] = np.nan
    flac = clip(1)
    rows = {
        "ok.flac": flac, "same.wav": saved(open_clip(flac), "WAV"), "text.wav": b"no sound at all",
        "cut.flac": clip(3, seconds=2.0)[:9000], "one.wav": saved(tone(1 / 16_000), "WAV"),
        "short.wav": saved(tone(0.05), "WAV"), "silent.flac": saved(quiet),
        "zero.flac": saved(np.zeros(9000, np.float32)), "nan.wav": saved(spoilt, "WAV", subtype="FLOAT"),
        "loud.wav": saved(np.clip(9 * tone(seed=8), -1, 1), "WAV"), "empty.wav": b"",
        "five.wav": saved(tone(seed=9), "WAV", channels=5), "phone.wav": saved(tone(seed=6, rate=8_000), "WAV", rate=8_000),
        "mp3.wav": clip(7, "MP3"), "../secret.flac": clip(9),
    }  # fmt: skip
    named = [*rows, "gone.flac", "/etc/hostname", " "]
    table = "file\ttext\n" + "".join(f"{name}\t文{n}\n" for n, name in enumerate(named))
    report = build(tmp_path, write(tmp_path / "data", {**rows, "t.tsv": table}))
    assert report.dropped == {
        "outside": 2, "silent": 2, "empty": 1, "truncated": 1, "not_audio": 1, "too_short": 2, "duplicate": 1,
        "not_finite": 1, "clipped": 1, "missing": 1, "no_audio": 1,
    } or report.dropped | {"damaged": 1} == report.dropped  # fmt: skip
    assert told(report, "transcript", "rate") == [
        ("文0", 16_000),
        ("文11", 16_000),
        ("文12", 8_000),
        ("文13", 16_000),
    ]
    assert report.read == report.kept + sum(report.dropped.values()) == len(named)
    card = (report.path / "card.md").read_text(encoding="utf-8")
    assert "同じ音声が先に現れている / the same sound came before" in card


def test_a_low_rate_is_warned_of_and_kept(tmp_path, capsys):
    files = {"a.wav": saved(tone(rate=8_000), "WAV", rate=8_000), "b.wav": clip(2, "WAV")}
    report = build(tmp_path, write(tmp_path / "data", files), valid=0, test=0)
    assert "1 clips have fewer than 16000 samples a second" in capsys.readouterr().err
    assert [len(one.audio) for one in read_clips(report.path, split="all")] == [9600, 9600]


def test_long_recordings_are_cut_and_long_ones_with_a_transcript_left_out(tmp_path, capsys):
    speech = talk((1.0, 2.0), (1.0, 2.5), (2.0, 1.5), seed=3)
    files = {
        "a.wav": saved(speech, "WAV"),
        "b.wav": saved(talk((0.5, 4.0), (1.0, 2.0)), "WAV"),
        "b.txt": "長い",
    }
    report = build(tmp_path, write(tmp_path / "data", files), longest=4, valid=0, test=0)
    assert (report.read, report.kept, report.dropped) == (2, 3, {"too_long": 1})
    assert "a transcript cannot be cut" in capsys.readouterr().err
    assert len(set(told(report, "group"))) == 1 and len(set(told(report, "id"))) == 3
    assert all(2 * 0.7 * 16_000 < samples <= 4 * 16_000 for samples in told(report, "samples"))
    first = next(iter(read_clips(report.path, split="all")))
    np.testing.assert_allclose(
        first.audio[8_000:24_000], speech[14_400 + 8_000 :][:16_000], atol=0.7
    )
    again = build(tmp_path, tmp_path / "data", longest=30, valid=0, test=0)
    assert (again.kept, again.transcribed) == (2, 1)


def test_clips_can_be_stored_as_flac_or_opus_at_one_rate(tmp_path):
    files = {"a.wav": saved(tone(1.0, rate=44_100), "WAV", rate=44_100, channels=2)}
    folder = write(tmp_path / "data", files)
    for store, head in (("flac", b"fLaC"), ("opus", b"OggS")):
        report = build(tmp_path, folder, store=store, valid=0, test=0)
        ((audio, samples, rate),) = told(report, "audio", "samples", "rate")
        assert audio[:4] == head and (samples, rate) == (16_000, 16_000)
    own = build(tmp_path, folder, valid=0, test=0)
    assert told(own, "audio", "samples", "rate") == [(files["a.wav"], 44_100, 44_100)]


def test_stated_phones_are_checked(tmp_path):
    rows = [
        {"file": "1.flac", "text": "か", "phones": "sil k A | sil", "times": [0.1, 0.2, 0.3, 0.6]},
        {"file": "2.flac", "text": "か", "phones": "k q"},
        {"file": "3.flac", "text": "か", "phones": "k a", "times": [0.3]},
        {"file": "4.flac", "text": "か", "phones": "k a", "times": "0.3 0.2"},
        {"file": "5.flac", "text": "か", "times": {"a": 1}},
    ]
    files = {f"{n}.flac": clip(n) for n in range(1, 6)} | {"m.jsonl": lines(*rows)}
    report = build(tmp_path, write(tmp_path / "data", files))
    assert report.dropped == {"bad_times": 2, "unknown_phone": 1, "malformed": 1}
    assert told(report, "phones") == ["pau k a | pau"] and report.timed == 1


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.tsv", "file\ttext\nx.wav\n", "line 2: 1 tab-separated"),
        ("a.jsonl", '{"file": "x.wav"}\n{"file"\n', "line 2 is not JSON"),
        ("a.jsonl", "", "has no rows"),
        ("a.tsv", "x.wav\t\xff".encode("latin-1"), "is not UTF-8"),
        ("a.jsonl", '{"bild": "x.wav"}\n', "no column for the file"),
        ("a.doc", "x", "holds no recordings"),
    ],
)
def test_what_cannot_be_read_says_where(tmp_path, name, content, words):
    with pytest.raises(DataError, match=words):
        build(tmp_path, write(tmp_path / "data", {name: content}))


def test_nothing_left_is_an_error_that_says_why(tmp_path):
    folder = write(tmp_path / "data", {"a.tsv": "x.wav\tイ\n"})
    with pytest.raises(DataError, match=r"1 recordings read, 0 kept \(missing: 1\)"):
        build(tmp_path, folder)
    assert not (tmp_path / "corpus").exists()
    with pytest.raises(DataError, match="does not exist"):
        build(tmp_path, tmp_path / "nowhere")


# ---- what stays together


def test_groups_never_straddle_a_split_whatever_makes_them(tmp_path):
    rows = [
        {
            "file": f"{n:02d}.flac",
            "speaker": f"s{n % 7}",
            "text": f"文{n % 5}",
            "session": f"r{n % 9}",
        }
        for n in range(60)
    ]
    files = {f"{n:02d}.flac": clip(n, seconds=0.2) for n in range(60)} | {"m.jsonl": lines(*rows)}
    folder = write(tmp_path / "data", files)
    for group_by, groups, key in (("recording", 9, 9), ("speaker", 7, 7), ("text", 5, 5)):
        report = build(tmp_path, folder, group_by=group_by, valid=0.3, test=0.3, seed=4)
        assert report.groups == groups
        sides = {}
        for row, split in zip(rows, told(report, "split"), strict=True):
            name = {"recording": "session", "speaker": "speaker", "text": "text"}[group_by]
            sides.setdefault(row[name], set()).add(split)
        assert len(sides) == key and all(len(side) == 1 for side in sides.values())


def test_a_copy_pulls_two_groups_together(tmp_path):
    rows = [("a", 1), ("a", 2), ("b", 1), ("b", 3), ("c", 4)]
    table = lines(*({"file": f"{g}{n}.flac", "group": g} for g, n in rows))
    files = {f"{g}{n}.flac": clip(n) for g, n in rows} | {"m.jsonl": table}
    report = build(tmp_path, write(tmp_path / "data", files))
    assert report.dropped == {"duplicate": 1} and report.groups == 2
    assert told(report, "group") == ["a", "a", "a", "c"]


# ---- built again, killed, elsewhere


def test_a_build_that_was_killed_goes_on_behind_its_last_shard(tmp_path, monkeypatch):
    folder = tmp_path / "data"
    folder.mkdir()
    for number in range(3):
        tar(folder / f"{number}.tar", {f"{n}.flac": clip(10 * number + n) for n in range(4)})
    whole = build(tmp_path, folder)
    expected = pq.read_table(whole.path / "data")
    (whole.path / "data").rename(tmp_path / "kept")
    shutil.rmtree(whole.path)
    heard = []

    def stop(given, **values):
        heard.append(given)
        if len(heard) == 7:
            raise KeyboardInterrupt
        return real(given, **values)

    real = module.clip_hear.hear
    monkeypatch.setattr(module.clip_hear, "hear", stop)
    with pytest.raises(KeyboardInterrupt):
        build(tmp_path, folder)
    heard.clear()
    monkeypatch.setattr(
        module.clip_hear, "hear", lambda given, **v: heard.append(given) or real(given, **v)
    )
    report = build(tmp_path, folder)
    assert report.state == "resumed" and len(heard) == 8  # the second shard and the third
    assert pq.read_table(report.path / "data").equals(expected)
    assert build(tmp_path, folder).state == "unchanged"


def test_the_result_does_not_depend_on_the_workers(tmp_path):
    files = {f"{n}.wav": saved(talk((0.3, 1.5), (0.5, 1.0), seed=n), "WAV") for n in range(70)}
    folder = write(tmp_path / "data", files)
    tables = []
    for workers in (1, 2):
        report = build(tmp_path, folder, longest=2, workers=workers)
        tables.append(pq.read_table(report.path / "data"))
        (report.path / "minna.json").rename(tmp_path / f"{workers}.json")
        shutil.rmtree(report.path)
    assert tables[0].num_rows == 140 and tables[0].equals(tables[1])


def test_a_source_that_changes_meanwhile_is_refused(tmp_path, monkeypatch):
    folder = write(tmp_path / "data", {"a.flac": clip(1), "b.flac": clip(2)})
    real = module.select

    def meanwhile(parts, **values):
        (folder / "b.flac").write_bytes(clip(3))
        return real(parts, **values)

    monkeypatch.setattr(module, "select", meanwhile)
    with pytest.raises(DataError, match="has changed while"):
        build(tmp_path, folder)


def test_wrong_places_and_wrong_settings_are_refused(tmp_path):
    folder = write(tmp_path / "data", {"a.flac": clip(1)})
    with pytest.raises(UsageError, match="is where the source"):
        build_clips(settings=ClipSettings(source="clips", path=folder), out=folder / "corpus")
    with pytest.raises(UsageError, match="does not read takes, and takes=2"):
        build(tmp_path, folder, takes=2)
    with pytest.raises(UsageError, match="audio="):
        build(tmp_path, folder, audio=folder)
    with pytest.raises(UsageError, match="needs the place"):
        build_clips(settings=ClipSettings(source="clips"), out=tmp_path / "c")
    with pytest.raises(ValueError, match="must be under 1"):
        ClipSettings(source="clips", valid=0.5, test=0.5)
    with pytest.raises(ValueError, match="must be under longest"):
        ClipSettings(source="clips", shortest=5, longest=2)
    with pytest.raises(UsageError, match="gives clips, and documents are needed"):
        open_source(BuildSettings(source="synth"))
    pictures = tmp_path / "corpus"
    with artifact.writing(pictures, kind="corpus", settings={}) as draft:
        draft.count("pairs", 1, "pairs")
    with pytest.raises(ArtifactError, match="a corpus without clips"):
        build(tmp_path, folder)
    with pytest.raises(ArtifactError, match="holds no clips"):
        read_clips(pictures, split="all")


def test_toy_speech_is_a_corpus_whose_times_fit_its_phones(tmp_path):
    corpus = make_clips(tmp_path / "toy", clips=12)
    clips = list(read_clips(corpus, split="all"))
    assert len(clips) == 12 and {one.split for one in clips} == {"train", "valid", "test"}
    assert {one.speaker for one in clips if one.split == "test"} == {"held-out"}
    for one in clips:
        assert one.timed[-1][2] == pytest.approx(one.seconds, abs=1e-3)
        assert [p for word in one.words for p in word] == [p for p, _, _ in one.timed if p != "pau"]
    again = make_clips(tmp_path / "again", clips=12)
    assert pq.read_table(corpus / "data").equals(pq.read_table(again / "data"))


# ---- the command line, and text verbs


def test_the_command_line_builds_shows_and_refuses(tmp_path):
    files = {"a.flac": clip(1), "a.txt": "王様", "b.flac": clip(2)}
    folder, out = write(tmp_path / "data", files), tmp_path / "corpus"
    call = [
        "build",
        "clips",
        "--from",
        str(folder),
        "--out",
        str(out),
        "--licence",
        "CC0-1.0",
        "--workers",
        "1",
    ]
    done = RUN.invoke(app, [*call, "valid=0", "test=0", "--json"])
    assert done.exit_code == 0, done.output
    report = json.loads(done.stdout)
    assert (report["kept"], report["transcribed"], report["state"]) == (2, 1, "built")
    assert "already there" in RUN.invoke(app, [*call, "valid=0", "test=0"]).stdout
    rows = [json.loads(line) for line in RUN.invoke(app, ["cat", str(out)]).stdout.splitlines()]
    assert rows[0]["audio"].endswith("kB") and rows[0]["phones"] == "o o s a m a"
    refused = RUN.invoke(app, [*call, "--language", "en"])
    assert isinstance(refused.exception, UsageError) and "--language" in str(refused.exception)
    wrong = RUN.invoke(app, [*call, "longist=3"])
    assert isinstance(wrong.exception, UsageError) and "longest" in str(wrong.exception)
    assert {"clips", "synth", "synth-en"} <= set(DESCRIPTIONS)


def test_the_text_of_clips_is_what_is_said(tmp_path):
    files = {
        "a.flac": clip(1),
        "a.txt": "王様",
        "b.flac": clip(2),
        "c.flac": clip(3),
        "c.txt": "海",
    }
    report = build(tmp_path, write(tmp_path / "data", files), valid=0, test=0)
    assert [document.text for document in texts(report.path, split="train")] == ["王様", "海"]
