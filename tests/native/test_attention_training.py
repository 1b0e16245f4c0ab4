"""Whole short training runs with our attention on and off; what a run remembers of its kernels."""

from __future__ import annotations

import contextlib
from dataclasses import asdict

import pytest
import torch
from tests.machine import needs_kernels
from tests.toys import assert_packed_is_alone, toy_parts

from minna.native import attention as native
from minna.train import precision
from minna.train.precision import Numerics, compile_or_fall_back
from minna.train.step import take_step


def losses(kind, *, steps, numerics=None, parts=None):
    parts = parts or toy_parts(row_tokens=48)
    parts.model.attention_kind = kind
    found = []
    for step in range(steps):
        context = numerics.autocast() if numerics else contextlib.nullcontext()
        found.append(take_step(parts, step=step, total=steps, autocast=context).loss)
    return found


@needs_kernels
@pytest.mark.parametrize(("precision_", "tolerance"), [("fp32", 1e-3), ("bf16", 3e-2)])
def test_thirty_steps_with_and_without_the_kernel(precision_, tolerance):
    numerics = Numerics(device="cpu", precision=precision_, compile="off", peak=1e11)
    fused = losses("fused", steps=30, numerics=numerics)
    given = losses("native", steps=30, numerics=numerics)
    assert given == pytest.approx(fused, abs=tolerance)
    assert given != fused  # it was used
    assert given[-1] < given[0] - 0.2


@needs_kernels
@pytest.mark.full
@pytest.mark.parametrize("attention", ["within", "across"])
def test_a_compiled_run_is_the_eager_one(attention):
    numerics = Numerics(device="cpu", precision="bf16", compile="on", peak=1e11)
    eager = losses("native", steps=4, numerics=numerics, parts=toy_parts(attention=attention))
    parts = toy_parts(attention=attention)
    parts.model.attention_kind = "native"
    example = next(toy_parts(attention=attention).stream)
    if compile_or_fall_back(parts, example=example, numerics=numerics) == "off":
        pytest.skip("torch.compile needs a C++ compiler, and none was found")
    given = losses("native", steps=4, numerics=numerics, parts=parts)
    assert given == pytest.approx(eager, abs=2e-2)


@needs_kernels
def test_the_compiler_passes_over_the_kernel_without_a_break():
    parts = toy_parts()
    parts.model.attention_kind = "native"
    batch = next(parts.stream)
    torch._dynamo.reset()
    explained = torch._dynamo.explain(parts.model)(
        batch["tokens"], positions_BS=batch["positions"], segments_BS=batch["segments"]
    )
    assert explained.graph_break_count == 0


@needs_kernels
def test_packed_documents_are_documents_alone():
    parts = toy_parts(rows=3, attention="within", row_tokens=60)
    parts.model.attention_kind = "native"
    assert_packed_is_alone(parts)


def test_a_run_of_before_the_kernels_stays_with_torch_s():
    before = asdict(Numerics(device="cpu", precision="fp32", compile="off", peak=1e11))
    del before["kernels"]
    assert precision.keep(before).kernels == "torch"


def test_a_run_whose_kernels_are_gone_says_so_and_goes_on(monkeypatch, capsys):
    monkeypatch.setattr(native, "ready", lambda _dtype: False)
    numerics = Numerics(device="cpu", precision="fp32", compile="off", peak=1e11, kernels="native")
    assert precision.keep(asdict(numerics)).kernels == "torch"
    said = capsys.readouterr().err
    assert "our own kernels" in said and said.count("\n") <= 2


@needs_kernels
def test_a_run_keeps_its_kernels():
    numerics = Numerics(device="cpu", precision="fp32", compile="off", peak=1e11, kernels="native")
    assert precision.keep(asdict(numerics)) == numerics


def test_a_machine_without_kernels_decides_for_torch_s(monkeypatch):
    monkeypatch.setattr(native, "ready", lambda _dtype: False)
    monkeypatch.setattr(precision, "matrix_peak", lambda *_: 1e11)
    decided = precision.decide(device="cpu", precision="auto", compile_="off")
    assert decided.kernels == "torch" and decided.precision == "fp32"
