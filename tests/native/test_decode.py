"""The native step gives the decoder's numbers: against float64, in odd shapes, in any company."""

from __future__ import annotations

import random

import pytest
import torch
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as some
from tests.machine import needs_kernels

from minna.models import Decoder, DecoderConfig
from minna.models.decoder import RotaryBands
from minna.native.linear import NativeLinear, decode_library
from minna.native.quantise import GROUP, QuantisedLinear, quantise
from minna.runtime.cache import KeyValueCache
from minna.runtime.pack import has_bf16_instructions, pack
from minna.runtime.step import native_step

pytestmark = needs_kernels
KINDS = ["fp32", "int8", "int4"] + (["bf16"] if has_bf16_instructions() else [])
# relative error of a product of random fp32 numbers: only bf16 rounds its inputs
CLOSE = {"fp32": 1e-6, "bf16": 4e-3, "int8": 1e-6, "int4": 1e-6}


def noise(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def rounded(weight, kind):
    """The weights a kind stands for, in float64."""
    if kind in GROUP:
        return quantise(weight, kind=kind).weight().double()
    return (weight.bfloat16() if kind == "bf16" else weight).double()


def difference(found, expected):
    return float((found.double() - expected).norm() / expected.norm().clamp(min=1e-12))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("outputs", "inputs"), [(1, 1), (77, 40), (31, 100), (96, 128), (33, 65), (5, 1100)]
)
def test_products_of_odd_sizes_equal_float64_for_few_and_many_rows(kind, outputs, inputs):
    weight, bias = noise(outputs, inputs), noise(outputs, seed=1)
    for with_bias in (None, bias):
        layer = NativeLinear(weight, with_bias, kind=kind)
        for rows in (1, 2, 8, 9, 16, 17, 70):
            x = noise(rows, inputs, seed=2)
            expected = x.double() @ rounded(weight, kind).T
            expected = expected + (0 if with_bias is None else bias.double())
            assert difference(layer(x), expected) < CLOSE[kind]
            half = x.bfloat16()
            assert layer(half).dtype == torch.bfloat16
            expected = half.double() @ rounded(weight, kind).T
            expected = expected + (0 if with_bias is None else bias.double())
            assert difference(layer(half), expected) < 8e-3


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("rows", [3, 19])
def test_nothing_is_written_beside_the_result(kind, rows):
    layer = NativeLinear(noise(45, 50), None, kind=kind)
    out = torch.full((rows * 45 + 128,), 7.0)
    x = noise(rows, 50)
    kernels = decode_library()
    assert kernels.linear(layer.matrix, rows, 0, x.data_ptr(), out[64:].data_ptr()) == 0
    assert torch.equal(out[64:-64].view(rows, 45), layer(x))
    assert (out[:64] == 7).all() and (out[-64:] == 7).all()


@pytest.mark.parametrize("kind", ["int8", "int4"])
def test_rounding_stays_within_its_bound_and_zeros_stay_zero(kind):
    weight = noise(20, 100) * torch.logspace(-20, 3, 20)[:, None]
    weight[3] = 0
    found = quantise(weight, kind=kind).weight()
    error = (found - weight).norm(dim=1) / weight.norm(dim=1).clamp(min=1e-30)
    assert float(error.max()) < {"int8": 0.01, "int4": 0.12}[kind]
    assert (found[3] == 0).all()


@pytest.mark.parametrize("kind", ["int8", "int4"])
def test_the_twin_in_torch_is_the_same_matrix(kind):
    weight, bias, x = noise(77, 100), noise(77, seed=1), noise(5, 100, seed=2)
    twin = QuantisedLinear(weight, bias, kind=kind)
    expected = x.double() @ rounded(weight, kind).T + bias.double()
    assert difference(twin(x), expected) < 1e-6
    assert difference(NativeLinear(weight, bias, kind=kind)(x), twin(x).double()) < CLOSE[kind]
    assert twin(x.bfloat16()).dtype == torch.bfloat16


configs = some.builds(
    lambda shape, **choices: DecoderConfig(
        vocab=77, context=24, layers=2, ffn=100, **dict(zip(NAMES, shape, strict=True)), **choices
    ),
    some.sampled_from(
        [(40, 5, None), (40, 2, 1), (48, 3, 1), (72, 6, 2), (128, 2, 1), (160, 2, 1), (256, 2, 1)]
    ),
    norm=some.sampled_from(["layer", "rms"]),
    positions=some.sampled_from(["learned", "rotary"]),
    rotary_fraction=some.sampled_from([1.0, 0.5]),
    rotary_scaling=some.sampled_from([1.0, 4.0]),
    rotary_bands=some.sampled_from([None, RotaryBands(low=0.3, high=2.0, context=12)]),
    activation=some.sampled_from(["gelu", "gelu_tanh", "silu"]),
    mlp=some.sampled_from(["plain", "gated"]),
    residual=some.sampled_from(["sequential", "parallel"]),
    attention_bias=some.booleans(),
    attention_out_bias=some.sampled_from([None, False, True]),
    mlp_bias=some.booleans(),
    query_key_norm=some.booleans(),
    tied=some.booleans(),
)
NAMES = ("width", "heads", "kv_heads")


def random_decoder(config, seed=0):
    """Weights, norms and biases that all matter, and no product so large that attention is one key.

    A decoder whose scores are far apart answers a rounding with another key: its error tells
    nothing about the kernel.
    """
    decoder = Decoder(config)
    decoder.initialise(seed=seed)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in decoder.parameters():
            spread = 0.2 if parameter.ndim == 1 else parameter.shape[1] ** -0.5
            parameter.add_(torch.randn(parameter.shape, generator=generator) * spread)
    return decoder.eval().requires_grad_(requires_grad=False)


def copy_of(decoder):
    other = Decoder(decoder.config)
    other.load_state_dict(decoder.state_dict())
    return other.eval().requires_grad_(requires_grad=False)


def packed(decoder, kind):
    other = copy_of(decoder)
    if kind == "bf16":
        for parameter in other.parameters():
            parameter.data = parameter.data.bfloat16()
    return pack(other, kind=kind if kind in GROUP else None)


def reference(decoder, kind):
    """The same weights, as they are after rounding, in float64."""
    other = copy_of(decoder).double()
    head = "int8" if kind == "int4" else kind
    if other.head is None:
        other.head = torch.nn.Linear(1, 1, bias=False)
        other.head.weight = torch.nn.Parameter(other.embed.weight.data.clone())
    if kind == "bf16":
        for parameter in other.parameters():
            parameter.data = parameter.data.bfloat16().double()
    for module in other.modules():
        if isinstance(module, torch.nn.Linear):
            bits = head if module is other.head else kind
            module.weight.data = rounded(module.weight.data.float(), bits)
    return other.requires_grad_(requires_grad=False)


def decode(decoder, rows, *, cache_dtype=torch.float32):
    """Read rows token by token, row r from step r on: logits after each row's last token."""
    step = native_step(decoder)
    cache = KeyValueCache(
        decoder.config, rows=len(rows), dtype=cache_dtype, device=torch.device("cpu")
    )
    logits = {}
    for time in range(len(rows[0])):
        active = [row for row in range(len(rows)) if row <= time]
        tokens = [rows[row][time - row] for row in active]
        out = step(tokens, cache)
        for row in active:
            logits[row] = out[row]
    return [logits[row] for row in range(len(rows))]


def random_rows(count, *, longest=18, seed=0):
    chance = random.Random(seed)
    return [[chance.randrange(77) for _ in range(longest - row)] for row in range(count)]


@examples(max_examples=30, deadline=None)
@given(config=configs, count=some.integers(1, 9), kind=some.sampled_from(KINDS))
def test_the_step_equals_a_float64_decoder_for_every_choice_of_config(config, count, kind):
    decoder = random_decoder(config)
    rows = random_rows(count)
    found = decode(packed(decoder, kind), rows)
    truth = reference(decoder, kind)
    for row, logits in zip(rows, found, strict=True):
        expected = truth.logits(truth(torch.tensor([row])))[0, -1]
        # twice the largest of 3,000 random ones (1.4e-6, 0.009, 0.04)
        assert difference(logits, expected) < {"fp32": 5e-6, "bf16": 0.02}.get(kind, 0.08)


@pytest.mark.parametrize("kind", KINDS)
def test_a_row_is_bit_for_bit_the_same_alone_and_in_any_company(kind):
    config = DecoderConfig(vocab=77, context=300, layers=2, width=96, heads=4, kv_heads=2, ffn=200)
    decoder = packed(random_decoder(config), kind)
    rows = random_rows(11, longest=40)
    for dtype in (torch.float32, torch.bfloat16):
        together = decode(decoder, rows, cache_dtype=dtype)
        for number in (0, 3, 8, 10):
            (alone,) = decode(decoder, [rows[number]], cache_dtype=dtype)
            assert torch.equal(alone, together[number])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("residual", ["sequential", "parallel"])
def test_the_number_of_threads_changes_nothing(kind, residual):
    config = DecoderConfig(
        vocab=500, context=64, layers=2, width=256, heads=4, ffn=1000, residual=residual
    )
    decoder = packed(random_decoder(config), kind)
    layer, x = NativeLinear(noise(500, 300), noise(500), kind=kind), noise(70, 300)
    before, found = torch.get_num_threads(), []
    try:
        for threads in (1, 3):
            torch.set_num_threads(threads)
            found.append([*decode(decoder, random_rows(3)), layer(x[:3]), layer(x)])
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(a, b) for a, b in zip(*found, strict=True))


def test_keys_and_values_in_bf16_cost_their_rounding():
    config = DecoderConfig(vocab=77, context=300, layers=2, width=256, heads=2, ffn=200)
    decoder = random_decoder(config)
    rows = random_rows(3, longest=40)
    truth = reference(decoder, "fp32")
    for row, logits in zip(
        rows, decode(packed(decoder, "fp32"), rows, cache_dtype=torch.bfloat16), strict=True
    ):
        expected = truth.logits(truth(torch.tensor([row])))[0, -1]
        assert 1e-6 < difference(logits, expected) < 0.02


def test_what_lies_outside_is_refused_before_memory_is_touched():
    config = DecoderConfig(vocab=77, context=24, layers=1, width=32, heads=2, ffn=64)
    step = native_step(packed(random_decoder(config), "fp32"))
    cache = KeyValueCache(config, rows=2, dtype=torch.float32, device=torch.device("cpu"))
    for tokens in ([77], [-1], [1, 2, 3]):
        with pytest.raises(IndexError):
            step(tokens, cache)
    for _ in range(24):
        step([5], cache)
    with pytest.raises(IndexError, match="context of 24"):
        step([5], cache)


def test_a_kernel_that_onednn_refuses_is_an_error_and_no_crash():
    if "bf16" not in KINDS:
        pytest.skip("this CPU has no bf16 instructions")
    layer = NativeLinear(noise(64, 64), None, kind="bf16")
    with torch.backends.mkldnn.flags(enabled=False), pytest.raises(RuntimeError, match="oneDNN"):
        layer(noise(40, 64))
    assert layer(noise(40, 64)).shape == (40, 64)


def test_a_choice_the_kernel_does_not_know_is_left_to_torch(monkeypatch):
    config = DecoderConfig(vocab=77, context=24, layers=1, width=32, heads=2, ffn=64)
    decoder = packed(random_decoder(config), "fp32")
    assert native_step(decoder) is not None
    monkeypatch.setattr("minna.runtime.step._KNOWN", frozenset({"vocab"}))
    assert native_step(decoder) is None
