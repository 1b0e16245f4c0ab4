"""The experiment of pre-training: parts of corpora, gains of one model over another, verdicts."""

from __future__ import annotations

import tomllib

import numpy as np
import pytest
from experiments.speech import run
from experiments.speech.world import PAIRS, edits, gain, gains_of, gap, gap_of, judged, part
from tests.runtime.hearing import TellTale
from tests.runtime.speech_folders import write_recogniser
from tests.toy_speech import make_clips

from minna import recipe
from minna.corpus.clip_read import read_clips
from minna.errors import DataError, UsageError
from minna.evaluate.report import read_report
from minna.evaluate.speech import RecognitionSettings, evaluate_recognition
from minna.evaluate.speech_measures import PHONES, WORDS
from minna.evaluate.subject import open_subject
from minna.metrics.interval import Interval

SAID = tomllib.loads(run.SETTINGS.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    return tmp_path_factory.mktemp("experiment")


@pytest.fixture(scope="module")
def corpus(home):
    return make_clips(home / "corpus", clips=60)


@pytest.fixture(scope="module")
def reports(home, corpus):
    """(model, minutes) -> a report of somebody who hears some vowels wrong."""
    model = open_subject(write_recogniser(home / "model")).parent
    wrong = {
        ("none", 3): {"a": "i", "o": "u", "e": "i"},
        ("none", 50): {"a": "i", "o": "u"},
        ("en", 3): {"a": "i", "o": "u"},
        ("en", 50): {"a": "i"},
        ("en-one", 3): {"a": "i", "o": "u"},
        ("en-one", 50): {"a": "i", "u": "i"},
        ("ja", 3): {"a": "i"},
        ("ja", 50): {"a": "i"},
    }
    found = {}
    for (name, minutes), changed in wrong.items():
        found[name, minutes] = [
            evaluate_recognition(
                TellTale(corpus, wrong=changed, name=f"{name}-{minutes}"),
                model=model,
                data=corpus,
                out=home / f"{name}-{minutes}",
                settings=RecognitionSettings(split="all"),
            )
        ]
    return found


def _ids(place, split):
    return {clip.id for clip in read_clips(place, split=split, audio="left")}


def test_parts_have_what_was_asked_and_share_no_training_clip(home, corpus):
    first = part(corpus, minutes=0.2, shortest=0.9, held_out=3, out=home / "first")
    second = part(corpus, minutes=0.1, shortest=0.5, held_out=5, out=home / "second", behind=first)
    for place, minutes, shortest, held_out in ((first, 0.2, 0.9, 3), (second, 0.1, 0.5, 5)):
        train = list(read_clips(place, split="train", audio="left"))
        assert all(clip.seconds >= shortest for clip in train)
        total = sum(clip.seconds for clip in train)
        assert 60 * minutes <= total < 60 * minutes + 2
        assert len(_ids(place, "valid")) == len(_ids(place, "test")) == held_out
    assert not _ids(first, "train") & _ids(second, "train")
    heard = [clip.id for clip in read_clips(corpus, split="train", audio="left")]
    places = [[heard.index(one) for one in _ids(place, "train")] for place in (first, second)]
    assert max(places[0]) < min(places[1])


def test_a_part_is_made_once_and_one_that_is_too_large_is_refused(home, corpus):
    asked = {"minutes": 0.1, "shortest": 0.5, "held_out": 2}
    place = part(corpus, **asked, out=home / "once")
    before = (place / "minna.json").read_bytes()
    assert part(corpus, **asked, out=place) == place
    assert (place / "minna.json").read_bytes() == before
    with pytest.raises(DataError, match="5 minutes of .* there are 0"):
        part(corpus, minutes=5, shortest=0.5, held_out=2, out=home / "too-large")


def test_a_gain_is_the_share_of_errors_that_is_saved():
    worse, better = np.array([4.0, 2.0, 4.0]), np.array([2.0, 1.0, 2.0])
    found = gain(worse, better, groups=["a", "b", "c"])
    assert (found.value, found.low, found.high) == (0.5, 0.5, 0.5)  # the same share of every clip
    none = gain(worse, worse, groups=["a", "b", "c"])
    assert (none.value, none.low) == (0, 0)
    assert gain(np.zeros(2), np.zeros(2), groups=["a", "b"]).value == 0


def test_a_gap_is_the_gain_with_few_labels_less_that_with_many():
    few = np.array([4.0, 8.0, 2.0]), np.array([1.0, 2.0, 0.5])
    many = np.array([2.0, 4.0, 8.0]), np.array([1.0, 2.0, 4.0])
    found = gap(few, many, groups=["a", "b", "c"])
    assert found.value == pytest.approx(0.75 - 0.5)
    assert found.low == pytest.approx(0.25) and found.high == pytest.approx(0.25)


def test_edits_of_several_reports_are_summed_clip_by_clip(reports):
    groups, one = edits(reports["ja", 3], PHONES)
    _, both = edits([*reports["ja", 3], *reports["en", 3]], PHONES)
    _, other = edits(reports["en", 3], PHONES)
    assert len(groups) == len(one) == 60
    assert (both == one + other).all()
    task = read_report(reports["ja", 3][0]).tasks[0]
    assert 100 * one[:, 0].sum() / one[:, 1].sum() == pytest.approx(task.metrics[PHONES].value)


def test_claims_are_judged_by_intervals(reports):
    gains = gains_of(reports, PHONES)
    assert list(gains) == [
        (worse, better, minutes) for worse, better in PAIRS[:-1] for minutes in (3, 50)
    ]
    more = gap_of(reports, PHONES, minutes=[3, 50])
    assert more is not None and more.low > 0
    told = judged(gains, more)
    assert told["japanese"] == {"3 min": True, "50 min": False}  # equal with many labels
    assert told["one_voice"] == {"3 min": True, "50 min": True}
    assert told["voices"] == {"3 min": False, "50 min": True}
    assert all(told["pretraining"].values()) and len(told["pretraining"]) == 6
    assert told["few"] == {"difference": True}
    assert told["iterations"] == {}  # the first was not asked
    assert list(told) == list(SAID["claims"])


def test_what_was_not_asked_is_not_judged(reports):
    some = {key: reports[key] for key in (("none", 3), ("ja", 3))}
    assert gap_of(some, WORDS, minutes=[3, 50]) is None
    told = judged(gains_of(some, WORDS), None)
    assert told == {name: {} for name in SAID["claims"]}
    lines = run.verdict_lines({("test", WORDS): told}, SAID["claims"]).splitlines()
    assert len(lines) == len(told) and all(line.endswith("not asked") for line in lines)


def test_tables_have_a_column_for_each_figure(reports):
    found = {key: {asked: {0: one} for asked in run.SETS} for key, (one,) in reports.items()}
    errors = run.errors_table(found).splitlines()
    assert len(errors) == 2 + len(reports)
    gains = {(asked, rate): gains_of(reports, rate) for asked in run.SETS for rate in run.RATES}
    table = run.gains_table(gains, paper=SAID["paper"]).splitlines()
    assert len(table) == 2 + 2 * len(PAIRS[:-1]) + len(SAID["paper"])
    assert "29 / 32 / 36" in table[-2] and "27 / 21 / 27" in table[-1]
    for lines in (errors, table):
        assert len({line.count("|") for line in lines}) == 1


def test_a_verdict_needs_every_number_of_minutes():
    above, below = (Interval(value=0.1, low=low, high=0.2, units=9) for low in (0.01, -0.01))
    told = judged({("ja-1", "ja", 3): above, ("ja-1", "ja", 50): below}, None)
    line = run.verdict_lines({("real", PHONES): told}, {"iterations": "it is better"})
    assert line == "- it is better: not shown by recorded PER (3 min: yes, 50 min: no)"


def test_models_are_named_or_refused():
    assert run.chosen("ja,none") == ["none", "ja"]
    with pytest.raises(UsageError, match="--only has no fr"):
        run.chosen("ja,fr")


def test_the_recipes_take_the_settings():
    pretrain, tune = SAID["pretrain"], SAID["tune"]
    for which in ("first", "second"):
        found = recipe.load(pretrain[which], overrides=[*pretrain["overrides"], "stream.labels=x"])
        assert found.stream.shortest == SAID["parts"]["heard"]["shortest"]
    found = recipe.load(tune["recipe"], overrides=[*tune["overrides"], *tune["none"]])
    assert found.trainable == {"convolutions": True} and found.objective.frozen_steps == 0
    assert found.train.steps == found.train.evaluate_every  # the test clips are heard once, later
