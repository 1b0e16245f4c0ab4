"""The benches of speech: made-up logits say what was said, scores are true, both engines agree."""

from __future__ import annotations

import argparse
import itertools
import math
import sys
from pathlib import Path

import numpy as np
import pytest

BENCH = Path(__file__).resolve().parents[2] / "bench"


def opened(name):
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(BENCH))
        module = __import__(name)
        yield module
        for one in (name, "tune_work", "machine"):
            sys.modules.pop(one, None)


@pytest.fixture(scope="module")
def beam():
    yield from opened("bench_beam")


@pytest.fixture(scope="module")
def labels():
    yield from opened("bench_labels")


def test_logits_say_what_was_said_and_both_engines_find_it(beam, tmp_path):
    file = tmp_path / "logits.npz"
    logits, said = beam.utterance(np.random.default_rng(0), noise=0.1)
    np.savez(file, logits0000=logits, said0000=said)
    from minna.native import beam as native

    for engine in ("numpy", "native") if native.ready() else ("numpy",):
        options = argparse.Namespace(logits=file, engine=engine, beam=20)
        found = beam.measure(options)
        assert found["ids"] == [said.tolist()] and found["seconds"] > 0


def test_the_score_is_that_of_all_alignments(beam):
    logits = np.random.default_rng(1).normal(size=(5, 4)).astype(np.float32)
    shares = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)

    def likely(text):
        return sum(
            math.prod(shares[t, k] for t, k in enumerate(path))
            for path in itertools.product(range(4), repeat=5)
            if [k for k, _ in itertools.groupby(path) if k] == text
        )

    assert beam.score(logits, [2, 3], bare=False) == pytest.approx(math.log(likely([2, 3])))
    both = max(likely([*a, 2, *b]) for a in ([], [1]) for b in ([], [1]))
    assert beam.score(logits, [2], bare=True) == pytest.approx(math.log(both))


def test_labels_are_made_and_measured(labels, tmp_path):
    options = argparse.Namespace(minutes=0.2, part=["mfcc"])
    made = labels.prepare(tmp_path, options)
    assert made["hours"] >= 0.2 / 60 and made["model"] is None
    call = argparse.Namespace(
        corpus=made["corpus"], out=tmp_path / "out", features="mfcc", layer=None
    )
    found = labels.measure(argparse.Namespace(**vars(call), clusters=20, sample=2000))
    assert found["disk"] < 20_000 and found["seconds"] > 0
    far = labels.distance("mfcc", made, found["centres"])
    np.save(tmp_path / "centres.npy", np.zeros((2, 39), np.float32))
    assert 0 < far < labels.distance("mfcc", made, str(tmp_path / "centres.npy"))
