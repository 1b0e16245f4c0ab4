"""The bench of pre-training: both sides learn the same loss from the same clips, and are measured."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from tests.toy_speech import make_clips

BENCH = Path(__file__).resolve().parents[2] / "bench"
FAMILIES = ["hubert", "wav2vec2"]
TINY = (
    *("model.layers=1", "model.width=32", "model.heads=2", "model.ffn=64"),
    f"model.conv_widths={[16] * 7}",
    *("stream.row_tokens=300", "stream.longest=2", "train.tokens_per_step=300"),
    "evaluate.valid_documents=3",
)


@pytest.fixture(scope="module")
def bench():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(BENCH))
        import bench_speech
        import speech_ours
        import speech_peer

        patch.setattr("minna.train.precision.matrix_peak", lambda *_: 1.0)  # seconds each
        patch.setattr(speech_ours, "OVERRIDES", (*speech_ours.OVERRIDES, *TINY))
        yield SimpleNamespace(main=bench_speech, ours=speech_ours, peer=speech_peer)
        for name in ("bench_speech", "speech_ours", "speech_peer", "tune_work", "machine"):
            sys.modules.pop(name, None)


@pytest.fixture(scope="module")
def made(bench, tmp_path_factory):
    work = tmp_path_factory.mktemp("speech")
    options = argparse.Namespace(
        work=work, folder=work / "both", corpus=make_clips(work / "corpus"), family=FAMILIES,
        minutes=0, warmup=0, steps=1, precision="fp32", trained=work / "trained",
    )  # fmt: skip
    options.folder.mkdir()
    assert bench.ours.make_corpus(options) == options.corpus
    options.labels = bench.ours.make_labels(options.corpus, options)
    options.plans = bench.ours.prepare(options)
    return options


def test_random_order_hears_every_clip_and_sorted_batches_are_of_one_length(bench):
    lengths = np.arange(20)[::-1] * 100
    drawn = bench.peer.batches_of(lengths, rows=4, order="random", seed=0)
    assert sorted(np.concatenate([next(drawn) for _ in range(5)])) == list(range(20))
    alike = bench.peer.batches_of(lengths, rows=4, order="sorted", seed=0)
    batches = [next(alike) for _ in range(5)]
    assert all(np.ptp(lengths[one]) == 300 for one in batches)
    assert sorted(np.concatenate(batches)) == list(range(20))


def test_the_peer_reads_what_our_stream_reads(bench, made):
    plan = made.plans["hubert"]
    clips = bench.peer.Clips(made.folder / "clips", longest=plan["longest"])
    assert len(clips.lengths) == plan["clips"] and clips.lengths.sum() / 16_000 == plan["seconds"]
    batch = clips.batch(np.array([0, 1]))
    _, parts, _ = bench.ours.parts_of("hubert", made, precision="fp32")
    stream = parts.stream
    for row in (0, 1):
        own = stream.batch(stream.numbers[[row]], epoch=0)
        length = clips.lengths[row]
        samples, frames = own["samples"].shape[1], own["labels"].shape[1]
        assert length - samples < 320 * (8 if frames >= 64 else 1)  # long cuts are rounded
        assert torch.equal(batch["samples"][row, :samples], own["samples"][0])
        assert torch.equal(batch["labels"][row, :frames], own["labels"][0])
        assert batch["there"][row].sum() == length
        assert (batch["labels"][row, bench.peer.frames_of(length) :] == -100).all()


def test_hubert_beside_it_is_the_objective_of_ours(bench, made, monkeypatch):
    _, parts, _ = bench.ours.parts_of("hubert", made, precision="fp32")
    batch = next(parts.stream)
    batch = {name: one[:3] for name, one in batch.items()}
    peer = bench.peer.Hubert(made.folder / "hubert", made.plans["hubert"]).eval()
    monkeypatch.setattr(peer, "hide", lambda _: batch["masked"].numpy())
    there = torch.ones_like(batch["samples"], dtype=torch.long)
    peer({"there": there, **batch}).backward()
    model, objective = parts.model.eval(), parts.objective.eval()
    sums, _ = objective.loss(model, batch)
    counts = objective.counts(batch)
    terms = {name: value / counts[name] for name, value in sums.items()}
    sum(parts.weights[name] * term for name, term in terms.items()).backward()
    learned = dict(peer.named_parameters())
    for name, parameter in [*model.named_parameters(), *objective.named_parameters()]:
        expected = learned[name if name in learned else f"hub.{name}"].grad
        torch.testing.assert_close(parameter.grad, expected, rtol=1e-3, atol=1e-5, msg=name)


@pytest.mark.parametrize("family", FAMILIES)
def test_both_sides_are_measured_and_judged_by_one_code(bench, made, family):
    options = argparse.Namespace(**{**vars(made), "family": [family]})
    found = {"minna": bench.ours.run_minna(options)}
    nats = {"minna": bench.ours.run_held_out(options)["figures"][bench.main.NATS[family]]}
    for order in ("random", "sorted"):
        found[order] = bench.peer.run(
            made.folder, family=family, order=order, seed=0, trained=made.trained
        )
        nats[order] = bench.ours.run_held_out(options)["figures"][bench.main.NATS[family]]
    assert all(len(one["ends"]) == 2 and one["heard"][0] > 0 for one in found.values())
    assert all(one["computed"][0] >= one["heard"][0] for one in found.values())
    assert max(nats.values()) < 10 and len(set(nats.values())) == 3
