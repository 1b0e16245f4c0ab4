"""What must not change the result: how a step is split, packing, compiling, stopping and going on."""

from __future__ import annotations

import contextlib

import pytest
import torch
from tests.toys import assert_packed_is_alone, same_bits, toy_parts, weights

from minna.train import checkpoint, loop
from minna.train.loop import TrainSettings
from minna.train.optim import AdamWSettings, MuonSettings
from minna.train.precision import Numerics, compile_or_fall_back
from minna.train.step import take_step

EAGER = Numerics(device="cpu", precision="fp32", compile="off", peak=1e11)


def train(parts, *, settings, numerics, run):
    """The loop from the newest good checkpoint, as a recipe calls it."""
    found = checkpoint.newest_good(run)
    return loop.train(parts, settings=settings, numerics=numerics, run=run, found=found)


def run_steps(parts, steps, total=20, autocast=None):
    losses = []
    for step in range(steps):
        context = autocast or contextlib.nullcontext()
        losses.append(take_step(parts, step=step, total=total, autocast=context).loss)
    return losses


@pytest.mark.parametrize("optim", [AdamWSettings(lr=3e-3), MuonSettings(lr=3e-3, matrix_lr=0.02)])
def test_one_batch_of_eight_rows_equals_eight_of_one(optim):
    whole = toy_parts(rows=8, accumulation=1, optim=optim)
    split = toy_parts(rows=1, accumulation=8, optim=optim)
    # Muon rounds to bf16 inside, so a difference in the last bit of a gradient shows in the weights.
    exact = isinstance(optim, AdamWSettings)
    losses = run_steps(split, 5)
    assert run_steps(whole, 5) == pytest.approx(losses, abs=1e-5 if exact else 2e-3)
    if exact:
        for name, tensor in weights(whole).items():
            torch.testing.assert_close(tensor, weights(split)[name], rtol=0, atol=1e-5, msg=name)


def test_uneven_micro_batches_are_weighted_by_their_targets():
    parts = toy_parts(rows=4, accumulation=2)
    batches = [next(parts.stream) for _ in range(2)]
    batches[0]["targets"][:, 4:] = -100
    joined = {name: torch.cat([batch[name] for batch in batches]) for name in batches[0]}

    def gradient(given):
        total = sum(parts.objective.counts(batch)["next_token"] for batch in given)
        parts.model.zero_grad()
        for batch in given:
            (parts.objective.loss(parts.model, batch)[0]["next_token"] / total).backward()
        return {n: p.grad.clone() for n, p in parts.model.named_parameters()}

    apart, together = gradient(batches), gradient([joined])
    for name, tensor in together.items():
        torch.testing.assert_close(apart[name], tensor, rtol=1e-4, atol=1e-6, msg=name)


@pytest.mark.parametrize("family", ["gpt_neox", "gpt2", "llama", "qwen", "qwen3"])
def test_packed_documents_give_the_losses_and_gradients_of_documents_alone(family):
    parts = toy_parts(rows=6, attention="within", row_tokens=40, family=family)
    assert_packed_is_alone(parts)


def test_attention_across_documents_differs_from_within():
    within, across = toy_parts(attention="within"), toy_parts(attention="across")
    apart = within.objective.loss(within.model, next(within.stream))[0]["next_token"]
    joined = across.objective.loss(across.model, next(across.stream))[0]["next_token"]
    assert float(apart) != pytest.approx(float(joined), rel=1e-6)


@pytest.mark.parametrize(
    ("precision", "tolerance"), [("bf16", 2e-2), pytest.param("fp32", 2e-4, marks=pytest.mark.full)]
)
def test_compiled_equals_eager_within_the_stated_tolerance(precision, tolerance):
    numerics = Numerics(device="cpu", precision=precision, compile="on", peak=1e11)
    eager, compiled = toy_parts(attention="across"), toy_parts(attention="across")
    compiled.model.attention_kind = "explicit"
    example = next(toy_parts(attention="across").stream)
    if compile_or_fall_back(compiled, example=example, numerics=numerics) == "off":
        pytest.skip("torch.compile needs a C++ compiler, and none was found")
    losses = run_steps(eager, 4, autocast=numerics.autocast())
    assert run_steps(compiled, 4, autocast=numerics.autocast()) == pytest.approx(
        losses, abs=tolerance
    )


def settings(steps=12, **more):
    return TrainSettings(
        steps=steps, tokens_per_step=128, micro_batch_rows=8, save_every=4, log_every=1, **more
    )


@pytest.mark.parametrize("optim", [AdamWSettings(lr=3e-3), MuonSettings(lr=3e-3, matrix_lr=0.02)])
def test_a_resumed_run_is_the_uninterrupted_run_bit_for_bit(tmp_path, optim):
    straight = toy_parts(optim=optim, dropout=0.1)
    train(straight, settings=settings(), numerics=EAGER, run=tmp_path / "straight")

    broken = toy_parts(optim=optim, dropout=0.1)
    object.__setattr__(broken, "evaluators", [_After(calls=1)])
    with pytest.raises(PullThePlugError):
        train(broken, settings=settings(evaluate_every=7), numerics=EAGER, run=tmp_path / "resumed")
    resumed = toy_parts(optim=optim, dropout=0.1, seed=0)
    with torch.no_grad():
        for parameter in resumed.model.parameters():
            parameter.fill_(9.0)  # whatever was there before must not matter
    done = train(resumed, settings=settings(), numerics=EAGER, run=tmp_path / "resumed")
    assert done.step == 12
    assert same_bits(weights(straight), weights(resumed))


class PullThePlugError(Exception):
    """Ends a run in the middle."""


class _After:
    """An evaluator that fails after so many calls."""

    def __init__(self, *, calls):
        self.left = calls

    def __call__(self, model):
        from minna.train.protocols import Evaluation

        if self.left == 0:
            raise PullThePlugError
        self.left -= 1
        return Evaluation()


def test_the_log_of_a_resumed_run_has_every_step_once(tmp_path):
    from minna.train.log import read_log

    parts = toy_parts()
    object.__setattr__(parts, "evaluators", [_After(calls=1)])
    with pytest.raises(PullThePlugError):
        train(parts, settings=settings(evaluate_every=7), numerics=EAGER, run=tmp_path)
    train(toy_parts(), settings=settings(), numerics=EAGER, run=tmp_path)
    steps = [entry["step"] for entry in read_log(tmp_path) if entry["event"] == "train"]
    assert steps == list(range(1, 13))


def test_loss_falls_on_learnable_text():
    parts = toy_parts(rows=16, row_tokens=40, optim=AdamWSettings(lr=1e-2))
    losses = run_steps(parts, 80, total=80)
    assert losses[-1] < 0.75 * losses[0]
