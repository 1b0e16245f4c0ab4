"""Models in 8 and 4 bits: loaded, asked, shared and refused as any other."""

from __future__ import annotations

import random

import pytest
import torch

from minna.errors import UsageError
from minna.native.linear import NativeLinear
from minna.native.quantise import QuantisedLinear
from minna.runtime import Engine, Request, load_model, score


def logits(model, ids):
    return model.decoder.logits(model.decoder(torch.tensor([ids]))).float()


@pytest.fixture(params=["int8", "int4"])
def bits(request):
    return request.param


def test_a_quantised_model_stays_near_its_own_weights(kernels, model_dirs, models, bits):
    for name, path in model_dirs.items():
        model = load_model(path, device="cpu", dtype=bits)
        assert isinstance(model.decoder.head, NativeLinear)
        assert (model.bits, model.precision) == (bits, bits)
        ids = list(range(5, 40))
        found, full = logits(model, ids), logits(models[name], ids)
        assert float((found - full).norm() / full.norm()) < {"int8": 0.1, "int4": 0.6}[bits]
        text = ["吾輩は猫である。"]
        assert score(model, text)[0] == pytest.approx(score(models[name], text)[0], rel=0.5)


def test_without_kernels_the_twin_gives_the_same_numbers(request, kernels, model_dirs, bits):
    path = model_dirs["gpt_neox"]
    native = load_model(path, device="cpu", dtype=bits)
    request.getfixturevalue("no_kernels")
    twin = load_model(path, device="cpu", dtype=bits)
    assert isinstance(twin.decoder.head, QuantisedLinear)
    ids = list(range(5, 40))
    found, expected = logits(twin, ids), logits(native, ids)
    assert float((found - expected).norm() / expected.norm()) < 0.05
    request_ = Request(prompt=tuple(ids), max_new_tokens=4, stop_ids=())
    assert len(Engine(twin, slots=2).run([request_])[0].ids) == 4


def test_shared_beginnings_and_late_rows_change_no_answer(kernels, monkeypatch, model_dirs, bits):
    # beside the 8-bit steps everything is fp32, as on a processor without bf16
    monkeypatch.setattr("minna.runtime.load.has_bf16_instructions", lambda: False)
    model = load_model(model_dirs["gpt_neox"], device="cpu", dtype=bits)
    chance = random.Random(0)
    shared = tuple(chance.randrange(4, 380) for _ in range(30))
    asked = [(*shared, *(chance.randrange(4, 380) for _ in range(2 + n))) for n in range(4)]
    requests = [Request(prompt=p, max_new_tokens=12, samples=2, stop_ids=()) for p in asked]
    engine = Engine(model, slots=3)
    together = engine.run(requests)
    assert engine.prompt_tokens_read < sum(map(len, asked))
    for result in together:
        alone = Engine(model, slots=1).run([requests[result.request]])[0]
        assert result.ids == alone.ids
        assert result.raw_logprobs == pytest.approx(alone.raw_logprobs, abs=1e-3)


def test_greedy_answers_with_and_without_kernels_are_the_same(request, kernels, models, model_dirs):
    prompts = [tuple(range(n, n + 20)) for n in (5, 90, 200)]
    requests = [Request(prompt=p, max_new_tokens=20, stop_ids=()) for p in prompts]
    native = {name: Engine(model, slots=3).run(requests) for name, model in models.items()}
    request.getfixturevalue("no_kernels")
    for name, path in model_dirs.items():
        model = load_model(path, device="cpu", dtype="fp32")
        found = Engine(model, slots=3).run(requests)
        assert [r.ids for r in found] == [r.ids for r in native[name]]


def test_what_cannot_be_is_refused_with_the_nearest_name(model_dirs):
    path = model_dirs["gpt2"]
    with pytest.raises(UsageError, match="no dtype 'int5'.*did you mean 'int"):
        load_model(path, dtype="int5")
    with pytest.raises(UsageError, match="cannot be read back, trained"):
        load_model(path, dtype="int8", layout="plain")
