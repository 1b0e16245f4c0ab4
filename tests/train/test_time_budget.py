"""Runs of so many minutes: where they end, what the schedule sees, how they go on. The clock is ours."""

from __future__ import annotations

import dataclasses

import pytest
from tests.toys import toy_parts
from tests.train.test_invariants import EAGER, train

from minna.errors import UsageError
from minna.recipe import load
from minna.train import checkpoint, loop
from minna.train.budget import Budget
from minna.train.checkpoint import Progress
from minna.train.log import read_log
from minna.train.loop import TrainSettings
from minna.train.protocols import Evaluation
from minna.train.schedule import Cosine, StableDecay


class Clock:
    """Time that passes only in steps: the next of `lengths` each, then the last of them for ever."""

    def __init__(self, monkeypatch, *, lengths=(1.0,), compiling=0.0):
        self.now, self.lengths = 1000.0, list(lengths)
        take_step, compile_ = loop.take_step, loop.compile_or_fall_back
        self.scales = []

        def timed_step(*args, **kwargs):
            result = take_step(*args, **kwargs)
            self.now += self.lengths.pop(0) if len(self.lengths) > 1 else self.lengths[0]
            self.scales.append(result.lr_scale)
            return result

        def timed_compile(*args, **kwargs):
            self.now += compiling
            return compile_(*args, **kwargs)

        monkeypatch.setattr(loop, "take_step", timed_step)
        monkeypatch.setattr(loop, "compile_or_fall_back", timed_compile)
        monkeypatch.setattr(loop.time, "monotonic", lambda: self.now)


def parts_with(schedule):
    return dataclasses.replace(toy_parts(), schedule=schedule)


def settings(**more):
    given = {"minutes": 1.0, "evaluate_every": 1000, "save_every": 1000} | more
    return TrainSettings(tokens_per_step=128, micro_batch_rows=8, log_every=1, **given)


def test_a_run_of_a_minute_ends_with_the_step_in_which_the_minute_is_over(tmp_path, monkeypatch):
    Clock(monkeypatch, lengths=[1.5], compiling=6.0)
    done = train(toy_parts(), settings=settings(), numerics=EAGER, run=tmp_path)
    assert (done.step, done.seconds) == (36, 60.0)
    assert done.tokens == 36 * 128
    assert checkpoint.progress_of(checkpoint.saved(tmp_path)[-1]) == done


def test_looks_and_checkpoints_take_no_time_of_the_budget(tmp_path, monkeypatch):
    clock = Clock(monkeypatch)

    def look(_model):
        clock.now += 500.0
        return Evaluation(figures={"bits_per_byte": 1.0})

    parts = dataclasses.replace(toy_parts(), evaluators=[look])
    done = train(parts, settings=settings(save_every=7), numerics=EAGER, run=tmp_path)
    assert (done.step, done.seconds) == (60, 60.0)
    looks = [entry for entry in read_log(tmp_path) if entry["event"] == "evaluate"]
    assert [entry["seconds"] for entry in looks] == [0, 6, 12, 18, 24, 30, 36, 42, 48, 54, 60]
    assert [entry["tokens"] for entry in looks] == [128 * entry["seconds"] for entry in looks]


def test_compiling_that_takes_all_the_time_leaves_one_step(tmp_path, monkeypatch):
    Clock(monkeypatch, compiling=100.0)
    done = train(toy_parts(), settings=settings(), numerics=EAGER, run=tmp_path)
    assert (done.step, done.seconds) == (1, 101.0)
    assert len(checkpoint.saved(tmp_path)) == 1


def test_steps_stay_the_upper_bound_and_the_schedule_knows(tmp_path, monkeypatch):
    clock = Clock(monkeypatch)
    given = settings(steps=20)
    done = train(parts_with(StableDecay()), settings=given, numerics=EAGER, run=tmp_path)
    assert (done.step, done.seconds) == (20, 20.0)
    assert clock.scales[-1] == pytest.approx(0.1)


@pytest.mark.parametrize(
    "lengths",
    [
        [1.0],
        [2.0] * 10 + [0.5],
        [0.25] * 100 + [1.0] * 10 + [0.5],
        [1.0, 0.5, 1.5, 0.1, 0.9] * 200,
    ],
)
@pytest.mark.parametrize(
    "schedule", [StableDecay(warmup=4, decay=0.4, floor=0.02), Cosine(warmup=4)]
)
def test_the_decay_reaches_its_floor_with_the_last_step_however_steps_differ(
    tmp_path, monkeypatch, lengths, schedule
):
    clock = Clock(monkeypatch, lengths=lengths, compiling=3.0)
    train(parts_with(schedule), settings=settings(), numerics=EAGER, run=tmp_path)
    assert clock.scales[:4] == [0.25, 0.5, 0.75, 1.0]
    decay = clock.scales[4:]
    assert decay == sorted(decay, reverse=True)
    assert decay[-1] == pytest.approx(schedule.floor, abs=0.06)


def test_the_flat_part_is_flat_until_the_share_of_time_at_which_the_decay_begins(
    tmp_path, monkeypatch
):
    clock = Clock(monkeypatch, lengths=[2.0] * 15 + [0.5])
    schedule = StableDecay(warmup=0, decay=0.5)
    train(parts_with(schedule), settings=settings(), numerics=EAGER, run=tmp_path)
    assert clock.scales[:16] == [1.0] * 16  # 15 steps of 2 s: half of the minute
    assert clock.scales[16:] == pytest.approx([1 - i / 60 for i in range(1, 60)])


def test_a_resumed_run_goes_on_with_the_time_it_has_used_and_pays_for_no_second_compiling(
    tmp_path, monkeypatch
):
    class StoppedError(Exception):
        pass

    clock = Clock(monkeypatch, compiling=10.0)

    def look(_model):
        if clock.now > 1035.0:
            raise StoppedError
        return Evaluation(figures={"bits_per_byte": 1.0})

    parts = dataclasses.replace(toy_parts(), evaluators=[look])
    with pytest.raises(StoppedError):
        train(parts, settings=settings(save_every=5), numerics=EAGER, run=tmp_path)
    found = checkpoint.newest_good(tmp_path)
    assert found is not None
    assert checkpoint.progress_of(found).seconds == 35.0
    clock.scales.clear()
    done = train(toy_parts(), settings=settings(), numerics=EAGER, run=tmp_path)
    assert (done.step, done.seconds) == (50, 60.0)
    assert len(clock.scales) == 25


def test_a_budget_says_how_far_a_run_is():
    budget = Budget(steps=1000, seconds=100.0)
    start, half = Progress(seconds=5.0), Progress(step=20, seconds=50.0)
    assert budget.total(start) == 1000
    assert budget.total(half) == 40
    assert budget.share(half) == 0.5
    assert budget.seconds_left(half) == 50.0
    assert budget.crosses(start, half, marks=2)
    assert not budget.crosses(start, half, marks=1)
    assert Budget(steps=100).total(half) == 100
    assert not Budget(steps=100).is_time_for_a_look(start, half)


@pytest.mark.parametrize("minutes", ["0", "-1", "inf", "nan", "ten"])
def test_minutes_that_are_no_time_are_refused(minutes):
    with pytest.raises(UsageError, match=r"train\.minutes"):
        load("toy-gpt-neox", overrides=[f"train.minutes={minutes}"])


def test_a_run_needs_an_end():
    with pytest.raises(ValueError, match="steps is missing"):
        TrainSettings(tokens_per_step=128, micro_batch_rows=8)
