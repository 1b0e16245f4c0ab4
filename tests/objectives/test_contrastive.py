"""Contrastive losses beside plain float64 ones, split over micro-batches and ranks, and learned."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as some
from tests.objectives import contrastive_worker as worker
from tests.objectives import plain_contrastive as plain

from minna.errors import TrainingError, UsageError
from minna.objectives import ClipSettings, CloobSettings, Contrastive, SiglipSettings, comparing
from minna.objectives import contrastive_losses as ours

ROOT = Path(__file__).resolve().parents[2]
CLOOB = {"hopfield": 8.0, "factor": torch.tensor(1 / 30)}


def sides(rows, width=5, seed=0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    both = torch.randn(2, rows, width, generator=generator, dtype=torch.float64)
    return [F.normalize(one, dim=1).to(dtype).requires_grad_() for one in both]


def losses(kind, a, b, scale, bias, same):
    """(ours, plain, what both are differentiated by)."""
    if kind == "clip":
        found = ours.info_nce(a, b, scale, same_N=same)
        return found, plain.info_nce(a, b, scale, same), [a, b, scale]
    if kind == "siglip":
        found = ours.sigmoid(a, b, scale, bias, same_N=same)
        return found, plain.sigmoid(a, b, scale, bias, same), [a, b, scale, bias]
    found = ours.info_loob(a, b, scale, hopfield=8.0, factor=1 / scale, same_N=same)
    return found, plain.info_loob(a, b, scale, 8.0, 1 / scale, same), [a, b, scale]


@settings(deadline=None, max_examples=100)
@given(
    kind=some.sampled_from(["clip", "cloob", "siglip"]),
    rows=some.integers(2, 12),
    seed=some.integers(0, 10**6),
    scale=some.sampled_from([1.0, 14.3, 100.0]),
    masked=some.booleans(),
    chunk=some.sampled_from([1, 30, 10**6]),
    kept=some.sampled_from([0, 10**6]),
)
def test_losses_and_gradients_are_those_of_plain_float64(
    kind, rows, seed, scale, masked, chunk, kept
):
    generator = torch.Generator().manual_seed(seed)
    same = torch.randint(rows, (rows,), generator=generator) if masked else None
    a, b = sides(rows, seed=seed)
    scale = torch.tensor(scale, dtype=torch.float64, requires_grad=True)
    bias = torch.tensor(-2.0, dtype=torch.float64, requires_grad=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(comparing, "CHUNK_LOGITS", chunk)
        patch.setattr(comparing, "KEPT_LOGITS", kept)
        found, rows_of_plain, by = losses(kind, a, b, scale, bias, same)
        mine = torch.autograd.grad(3 * found.loss, by)
    expected = torch.autograd.grad(3 * rows_of_plain.sum(), by)
    torch.testing.assert_close(found.rows, rows_of_plain.detach())
    torch.testing.assert_close(found.loss.detach(), rows_of_plain.sum().detach())
    for one, other in zip(mine, expected, strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize("kind", ["clip", "cloob", "siglip"])
def test_half_precision_is_computed_in_fp32_under_autocast(kind):
    a, b = sides(64, width=32, dtype=torch.bfloat16)
    scale, bias = (torch.tensor(x, requires_grad=True) for x in (100.0, -2.0))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found, _, by = losses(kind, a, b, scale, bias, None)
        mine = torch.autograd.grad(found.loss, by)  # as `prepare` does, autocast still on
    wide = [one.detach().double().requires_grad_() for one in (a, b, scale, bias)]
    _, expected, by = losses(kind, *wide, None)
    assert found.loss.dtype == torch.float32
    torch.testing.assert_close(found.rows.double(), expected.detach(), rtol=1e-4, atol=1e-4)
    theirs = torch.autograd.grad(expected.sum(), by)
    for one, other in zip(mine, theirs, strict=True):
        # what comes back is rounded to the type of the embeddings, and nothing before
        tolerance = 8e-3 if one.dtype == torch.bfloat16 else 2e-4
        top = float(other.abs().max())
        torch.testing.assert_close(one.double(), other, rtol=tolerance, atol=tolerance * top)


def test_a_large_scale_neither_overflows_nor_vanishes():
    a = F.normalize(torch.tensor([[1.0, 0.0], [1.0, 1e-3], [-1.0, 0.0]]), dim=1).requires_grad_()
    b = (-a.detach()).requires_grad_()  # every pair is as far apart as can be
    found = ours.info_nce(a, b, torch.tensor(100.0))
    expected = plain.info_nce(a.detach().double(), b.detach().double(), 100.0)
    torch.testing.assert_close(found.rows.double(), expected, rtol=1e-5, atol=1e-4)
    assert float(found.rows.min()) > 99
    found.loss.backward()
    assert a.grad.isfinite().all() and float(a.grad.abs().max()) > 1


def test_retrieval_averages_what_is_stored_by_nearness():
    state, stored = torch.eye(3)[:2], torch.eye(3)
    torch.testing.assert_close(ours.retrieve(state, stored, 100.0), state)
    torch.testing.assert_close(ours.retrieve(state, stored, 1e-6), torch.full((2, 3), 1 / 3))


def test_the_two_published_ways_to_rescale_differ_by_a_factor():
    a, b = sides(8)
    original, rinna = (
        ours.info_loob(a, b, torch.tensor(30.0), hopfield=15.0, factor=torch.tensor(factor))
        for factor in (1 / 30, 0.5)
    )
    torch.testing.assert_close(original.loss, rinna.loss * 2 / 30)
    for name, factor in (("original", 1 / 30), ("rinna", 0.5)):
        settings_ = CloobSettings(kind="cloob", inv_tau=30, hopfield=15, rescale=name)
        model = worker.Towers(scores="cloob")
        batch = worker.batch_of(range(6))
        found, _ = Contrastive(settings_).loss(model, batch)
        x, y = (F.normalize(one, dim=1) for one in model.both(batch))
        expected = plain.info_loob(x, y, 30, 15, factor, batch["same"]).sum()
        torch.testing.assert_close(found["loss/pairs"], expected, rtol=1e-4, atol=1e-5)


def test_pairs_that_are_told_apart_give_a_negative_infoloob():
    a = torch.eye(4)
    found = ours.info_loob(a, a, torch.tensor(30.0), hopfield=30.0, factor=torch.tensor(0.5))
    assert float(found.loss) < 0
    assert found.found.tolist() == [[1.0] * 4] * 2


@pytest.mark.parametrize("kind", ["clip", "cloob"])
def test_rows_without_negatives_teach_nothing(kind):
    a, b = sides(4)
    scale = torch.tensor(14.3, dtype=torch.float64, requires_grad=True)
    found, _, by = losses(kind, a, b, scale, None, torch.zeros(4, dtype=torch.int64))
    assert found.rows.tolist() == [0.0] * 4
    assert found.found.tolist() == [[1.0] * 4] * 2
    # but CLOOB's factor, which multiplies nothing
    for gradient in torch.autograd.grad(found.loss, by):
        assert not gradient.any()


def test_embeddings_that_are_all_alike_find_nothing_and_lose_by_chance():
    a = torch.ones(6, 4) / 2
    same = torch.tensor([0, 0, 1, 2, 3, 4])
    scale = torch.tensor(10.0)
    for found in (
        ours.info_nce(a, a, scale, same_N=same),
        ours.info_loob(a, a, scale, hopfield=8.0, factor=torch.tensor(0.5), same_N=same),
    ):
        assert not found.found.any()
        torch.testing.assert_close(found.rows, found.chance, rtol=1e-5, atol=1e-5)
    assert ours.info_nce(a, a, scale).chance.tolist() == pytest.approx([math.log(6)] * 6)
    # of the sigmoid, the constant that loses least: 1 of 6 is a pair
    bias = torch.tensor(math.log(1 / 5) - 10)
    found = ours.sigmoid(a, a, scale, bias)
    torch.testing.assert_close(found.rows, found.chance, rtol=1e-4, atol=1e-4)


def test_one_pair_alone_is_an_error():
    objective = Contrastive(ClipSettings(kind="clip"))
    with pytest.raises(TrainingError, match="a step has one"):
        objective.loss(worker.Towers(), worker.batch_of([0]))


def test_a_model_without_the_scale_is_told_of():
    model = worker.Towers(scores="cloob")
    for settings_ in (
        ClipSettings(kind="clip"),
        CloobSettings(kind="cloob", inv_tau="learned"),
        SiglipSettings(kind="siglip"),
    ):
        with pytest.raises(UsageError, match="logit_scale"):
            Contrastive(settings_).loss(model, worker.batch_of(range(4)))


def test_the_scale_stays_in_its_bounds():
    model = worker.Towers()
    objective = Contrastive(ClipSettings(kind="clip"))
    for value, kept in ((9.0, math.log(100)), (-1.0, 0.0), (2.0, 2.0)):
        model.logit_scale.data.fill_(value)
        objective.after_step(model)
        assert model.logit_scale.item() == pytest.approx(kept)


@pytest.mark.parametrize("name", worker.KINDS)
def test_one_micro_batch_and_eight_give_the_same_update(name):
    whole = worker.steps(name, rows=worker.ROWS)
    split = worker.steps(name, rows=1)
    worker.assert_alike(whole, split)


@pytest.mark.parametrize("name", ["clip", "siglip"])
def test_dropout_is_the_same_in_both_passes(name):
    batches = [worker.batch_of(rows) for rows in ([0, 1, 2], [3, 4, 5], [6, 7, 0])]
    model, objective = worker.Towers(dropout=0.4, scores=name), worker.objective_of(name)
    torch.manual_seed(5)
    both = [model.both(batch) for batch in batches]
    a, b = (torch.cat(side) for side in zip(*both, strict=True))
    same = torch.cat([batch["same"] for batch in batches])
    expected = objective.compare(model, a, b, same_N=same).loss
    expected.backward()
    wanted = {key: p.grad.clone() for key, p in model.named_parameters()}
    after = torch.rand(())
    model.zero_grad()
    torch.manual_seed(5)
    prepared = objective.prepare(model, batches)
    found = [objective.loss(model, batch)[0]["loss/pairs"] for batch in prepared]
    sum(found).backward()
    torch.testing.assert_close(sum(found), expected)
    for key, parameter in model.named_parameters():
        torch.testing.assert_close(parameter.grad, wanted[key], msg=key)
    assert torch.equal(torch.rand(()), after)  # the generator stands where it would


@pytest.fixture(scope="module")
def ranks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two ranks, then four."""
    out = tmp_path_factory.mktemp("ranks")
    paths = [str(ROOT), str(ROOT / "src"), os.environ.get("PYTHONPATH", "")]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(paths)}
    command = [sys.executable, str(Path(worker.__file__)), str(out)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-4000:]
    return out


@pytest.mark.xdist_group("ranks")
@pytest.mark.parametrize("name", worker.KINDS)
@pytest.mark.parametrize("case", ["2x4", "2x2", "4x2"])
def test_ranks_and_their_micro_batches_do_the_updates_of_one_process(ranks, name, case):
    found = json.loads((ranks / f"{name}-{case}.json").read_text(encoding="utf-8"))
    worker.assert_alike(worker.steps(name, rows=worker.ROWS), found)


@pytest.mark.parametrize("name", worker.KINDS)
def test_a_small_model_learns_64_pairs_by_heart(name):
    torch.manual_seed(0)
    count = 64
    tokens = torch.arange(2 * count).view(count, 2) % (count + 1)
    batch = {
        "tokens": tokens,
        "lengths": torch.full((count,), 2),
        "features": torch.randn(count, 16),
    }
    model = worker.Towers(words=count + 1, features=16, width=16, scores=name)
    objective = worker.objective_of(name)
    optimiser = torch.optim.AdamW(model.parameters(), lr=0.03, weight_decay=0)
    first = None
    for _ in range(150):
        sums, _ = objective.loss(model, batch)
        first = first or sums["loss/pairs"].item()
        optimiser.zero_grad()
        sums["loss/pairs"].backward()
        optimiser.step()
        objective.after_step(model)
    assert float(sums["retrieval/by_text"]) == count
    assert float(sums["retrieval/of_text"]) == count
    assert sums["loss/pairs"].item() < first
    assert float(sums["pairs/above_chance"]) < 0


def test_texts_are_compared_with_texts():
    model, objective = worker.Towers(), worker.objective_of("clip")
    batch = worker.batch_of(range(6))
    del batch["features"]
    batch |= {"tokens_b": batch["tokens"].flip(1), "lengths_b": batch["lengths"]}
    found, _ = objective.loss(model, batch)
    x, y = (
        F.normalize(model(batch[key], batch["lengths"]), dim=1) for key in ("tokens", "tokens_b")
    )
    expected = plain.info_nce(x, y, model.logit_scale.exp(), batch["same"]).sum()
    torch.testing.assert_close(found["loss/pairs"], expected)
    assert float(found["pairs/scale"]) == pytest.approx(6 / 0.07)
    with torch.no_grad():
        assert not objective.loss(model, batch)[0]["loss/pairs"].requires_grad
