"""Clips in batches: of one length, exactly those frames, and the same wherever a run goes on."""

from __future__ import annotations

from itertools import islice

import numpy as np
import pytest
import torch
from tests.toy_speech import make_clips

from minna import artifact
from minna.corpus.clip_read import read_clips
from minna.errors import DataError
from minna.models.speech.config import frames_of
from minna.models.speech.masks import SpanSettings
from minna.streams import (
    ClipStream,
    ClipStreamSettings,
    SoundRows,
    UtteranceStream,
    UtteranceStreamSettings,
    write_sounds_of,
)
from minna.streams.clips import Portions, chosen, cut
from minna.tokenizer.settings import NoTokenizerSettings, SoundsSettings
from minna.tokenizer.sound_folder import write_vocabulary
from minna.tokenizer.sounds import Sounds, sounds_of_inventory

JULIUS = sounds_of_inventory("julius")
CLIPS = ClipStreamSettings(kind="clips", row_tokens=300, longest=1.2, shortest=0.4)
UTTERANCES = UtteranceStreamSettings(kind="utterances", row_tokens=300, longest=5.0)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return make_clips(tmp_path_factory.mktemp("clips") / "corpus", clips=48)


@pytest.fixture(scope="module")
def written(corpus, tmp_path_factory):
    return write(corpus, tmp_path_factory.mktemp("tokens"), JULIUS)


def write(corpus, root, sounds):
    settings = SoundsSettings(kind="sounds") if sounds else NoTokenizerSettings(kind="none")
    vocabulary = write_vocabulary(root / "tokenizer", settings)
    return write_sounds_of(corpus, sounds=sounds, vocabulary=vocabulary, out=root / "tokens")


class Counted:
    """Labels that say which frame of its clip each is, and ask for nothing that is not there."""

    rate, clusters = 50, 10_000

    def of(self, id, start, frames):  # noqa: A002 - what the column is called
        return np.arange(start, start + frames)


def same(ours, theirs):
    return ours.keys() == theirs.keys() and all(torch.equal(ours[k], theirs[k]) for k in ours)


def test_samples_on_disk_are_those_of_the_corpus(corpus, written):
    rows = SoundRows(written, split="train")
    clips = list(read_clips(corpus, split="train"))
    assert [rows.id_of(n) for n in range(len(rows))] == [clip.id for clip in clips]
    for number, clip in enumerate(clips):
        np.testing.assert_array_equal(rows.audio_of(number), clip.audio)
        np.testing.assert_array_equal(
            rows.audio_of(number, start=320, samples=400), clip.audio[320:720]
        )
        assert JULIUS.words(rows.targets_of(number)) == [tuple(w) for w in JULIUS.said_in(clip)]
    assert rows.seconds == pytest.approx(sum(clip.seconds for clip in clips))
    assert rows.words().startswith(f"{len(clips)} clips")


def test_writing_again_does_nothing_and_another_vocabulary_writes_anew(corpus, tmp_path):
    out = write(corpus, tmp_path, JULIUS)
    before = artifact.read_manifest(out).created
    assert artifact.read_manifest(write(corpus, tmp_path, JULIUS)).created == before
    bare = write(corpus, tmp_path / "bare", None)
    assert not SoundRows(bare, split="train").needs_N.any()


def test_clips_that_cannot_be_learned_are_left_out_and_counted(corpus, tmp_path, capsys):
    few = Sounds("phones", tuple(one for one in JULIUS.symbols if one != "sh"))
    rows = SoundRows(write(corpus, tmp_path, few), split="train")
    clips = list(read_clips(corpus, split="train"))
    odd = sum("sh" in clip.phones.split() for clip in clips)
    assert 0 < odd < len(clips)
    assert rows.left_out == {"unknown_sound": odd}
    assert len(rows) == len(clips) - odd
    assert "unknown sound" in capsys.readouterr().err
    none = Sounds("phones", ("zz",))
    with pytest.raises(DataError, match="no clip whose words can be learned"):
        write(corpus, tmp_path / "none", none)
    assert not (tmp_path / "none" / "tokens").exists()


@pytest.mark.parametrize(("counts", "pick"), [("shortest", min), ("longest", max)])
def test_batches_hold_every_clip_once_and_no_more_than_their_frames(counts, pick):
    frames = np.sort(np.random.default_rng(0).integers(20, 100, 500))
    slices = cut(frames, row_frames=400, counts=counts)
    assert [k for one in slices for k in range(one.start, one.stop)] == list(range(500))
    for one in slices:
        own = frames[one]
        assert len(own) * pick(own) <= 400 or len(own) == 1
    assert cut(np.array([900]), row_frames=400, counts=counts) == [slice(0, 1)]


def test_a_batch_is_cut_to_its_shortest_clip_at_whole_frames(written):
    rows = SoundRows(written, split="train")
    stream = ClipStream(rows, settings=CLIPS, labels=Counted(), seed=3)
    heard = 0
    for batch in islice(stream, 30):
        B, S = batch["samples"].shape
        F = frames_of(S)
        assert S == 320 * (F - 1) + 400, "no sample is heard by no frame"
        assert CLIPS.shortest * 16_000 - 400 < S <= CLIPS.longest * 16_000
        assert CLIPS.row_tokens >= B * F
        assert batch["masked"].shape == batch["labels"].shape == (B, F)
        assert (batch["masked"].sum(1) >= 2).all()
        assert not batch["masked"].all(1).any()
        for row in range(B):
            start = 320 * int(batch["labels"][row, 0])
            number = numbers_of(rows)[int(batch["clip"][row])]
            expected = rows.audio_of(number, start=start, samples=S)
            np.testing.assert_array_equal(batch["samples"][row].numpy(), expected)
            heard += start > 0
    assert heard > 10, "clips are cut at other places than their start"


def test_long_cuts_have_few_lengths(written):
    rows = SoundRows(written, split="train")
    longer = ClipStreamSettings(kind="clips", row_tokens=300, longest=9.0, shortest=0.4)
    stream = ClipStream(rows, settings=longer, labels=Counted(), seed=3)
    lengths = [frames_of(batch["samples"].shape[1]) for batch in islice(stream, 40)]
    assert all(F % 8 == 0 for F in lengths if F > 64)
    assert max(lengths) > 64 and any(F % 8 for F in lengths)
    frames = rows.samples_N // 320
    assert max(lengths) > frames.max() - 40, "nearly all of a clip is heard"


def numbers_of(rows):
    from minna.models.speech.masks import clip_number

    return {clip_number(rows.id_of(n)): n for n in range(len(rows))}


def test_every_epoch_hears_every_clip_once_in_another_order(written):
    rows = SoundRows(written, split="train")
    portions = Portions(rows.samples_N // 320, row_frames=300, counts="shortest", seed=0)
    epochs: dict[int, list[int]] = {}
    for _ in range(60):
        epoch, numbers = portions.take()
        epochs.setdefault(epoch, []).extend(numbers.tolist())
    whole = [epochs[k] for k in range(max(epochs))]
    assert len(whole) >= 3
    assert all(sorted(one) == list(range(len(rows))) for one in whole)
    assert whole[0] != whole[1]


@pytest.mark.parametrize("kind", ["clips", "utterances"])
def test_a_stream_goes_on_where_it_stood_and_ranks_share_it(written, kind):
    rows = SoundRows(written, split="train")

    def made(rank=0, ranks=1):
        if kind == "clips":
            return ClipStream(rows, settings=CLIPS, labels=None, seed=1, rank=rank, ranks=ranks)
        return UtteranceStream(rows, settings=UTTERANCES, width=64, seed=1, rank=rank, ranks=ranks)

    alone = made()
    batches = list(islice(alone, 24))
    later = made()
    first = list(islice(later, 7))
    state = later.state_dict()
    resumed = made()
    resumed.load_state_dict(state)
    assert all(map(same, [*first, *islice(resumed, 17)], batches))
    both = [made(rank, 2) for rank in range(2)]
    shared = [next(both[k % 2]) for k in range(24)]
    assert all(map(same, shared, batches))
    assert both[0].state_dict() == both[1].state_dict() == alone.state_dict()
    assert alone.figures()["epochs"] > 1


def test_utterances_are_whole_and_padded_behind(written):
    rows = SoundRows(written, split="train")
    by_number = numbers_of(rows)
    assert by_number
    stream = UtteranceStream(rows, settings=UTTERANCES, width=96, seed=1)
    channels = frames = 0
    for batch in islice(stream, 20):
        B, S = batch["samples"].shape
        longest = frames_of(int(batch["lengths"].max()))
        assert frames_of(S) == (longest if longest <= 64 else -(-longest // 8) * 8)
        assert frames_of(S + 1) == frames_of(S) + 1  # one number of samples for so many frames
        assert B == 1 or B * frames_of(S) <= UTTERANCES.row_tokens
        behind = torch.arange(S) >= batch["lengths"][:, None]
        assert not batch["samples"][behind].any()
        assert batch["masked"].shape == (B, frames_of(S))
        there = torch.arange(frames_of(S)) < frames_of(batch["lengths"])[:, None]
        assert not (batch["masked"] & ~there).any()
        assert batch["channels"].shape == (B, 96)
        channels += int(batch["channels"].any(1).sum())
        frames += int(batch["masked"].any(1).sum())
        assert batch["target_lengths"].max() == batch["targets"].shape[1]
        assert (batch["targets"][:, 0] >= 2).all()
    assert channels
    assert frames


def test_what_is_hidden_of_a_clip_does_not_depend_on_its_batch(written):
    rows = SoundRows(written, split="train")
    stream = ClipStream(rows, settings=CLIPS, labels=None, seed=5)
    together = stream.batch(np.array([0, 1, 2]), epoch=4)
    F = together["masked"].shape[1]
    alone = [stream.batch(np.array([k]), epoch=4) for k in range(3)]
    for row, own in enumerate(alone):
        if own["masked"].shape[1] == F:
            assert same({k: v[row : row + 1] for k, v in together.items()}, own)
    assert any(own["masked"].shape[1] == F for own in alone)
    other = stream.batch(np.array([0, 1, 2]), epoch=5)
    assert not torch.equal(together["masked"], other["masked"])


def test_a_few_minutes_are_a_part_of_more_minutes(written):
    rows = SoundRows(written, split="train")
    found = [
        set(chosen(rows, shortest=0.1, longest=None, minutes=m)[0].tolist()) for m in (0.1, 0.3, 0)
    ]
    assert found[0] < found[1] < found[2] == set(range(len(rows)))
    for minutes, some in zip((0.1, 0.3), found, strict=False):
        seconds = rows.samples_N[sorted(some)].sum() / 16_000
        assert 60 * minutes <= seconds < 60 * minutes + 2.5
    with pytest.raises(DataError, match=r"stream.minutes is 99, and train has 0\.\d"):
        chosen(rows, shortest=0.1, longest=None, minutes=99)


def test_clips_too_short_or_too_long_are_left_out_and_counted(written):
    rows = SoundRows(written, split="train")
    seconds = rows.samples_N / 16_000
    numbers, left = chosen(rows, shortest=0.8, longest=1.5, minutes=0)
    assert set(numbers) == set(np.flatnonzero((seconds >= 0.8) & (seconds <= 1.5)))
    assert sum(left.values()) == len(rows) - len(numbers)
    with pytest.raises(DataError, match="is between 50 and any seconds"):
        chosen(rows, shortest=50, longest=None, minutes=0)


def test_nothing_is_hidden_where_nothing_is_asked(written):
    rows = SoundRows(written, split="train")
    none = SpanSettings(start_probability=0, least=0)
    settings = UtteranceStreamSettings(
        kind="utterances", row_tokens=300, longest=5.0, masks=none, channels=none
    )
    batch = next(UtteranceStream(rows, settings=settings, width=64, seed=1))
    assert not batch["masked"].any()
    assert not batch["channels"].any()
