"""What a layer keeps changes memory, never numbers: eager, compiled, with dropout, from a recipe."""

from __future__ import annotations

import contextlib

import pytest
import torch
import torch.distributed as dist
from tests.machine import needs_kernels
from tests.toys import VOCAB, toy_parts

from minna.models import build
from minna.models.checkpointing import run
from minna.models.family import Gpt2Shape, GptNeoXShape, Qwen3Shape
from minna.objectives import CausalLM
from minna.train.parallel import divide, whole
from minna.train.ranks import ALONE
from minna.train.step import take_step

POLICIES = ("none", "selective", "full")
SIZE = {"layers": 3, "width": 64, "heads": 4, "context": 64}
SHAPES = {
    "gpt2 with dropout": Gpt2Shape(**SIZE, ffn=256, dropout=0.1),
    "gpt_neox": GptNeoXShape(**SIZE, ffn=256),
    "gpt_neox in parallel": GptNeoXShape(**SIZE, ffn=256, residual="parallel"),
    "qwen3": Qwen3Shape(**SIZE, kv_heads=2, ffn=176),
}


def made(shape, *, checkpointing, attention="fused"):
    model = build(shape, vocab=VOCAB)
    model.initialise(seed=0)
    model.train()
    model.checkpointing, model.attention_kind = checkpointing, attention
    return model


def batch(rows=4):
    generator = torch.Generator().manual_seed(0)
    tokens = torch.randint(0, VOCAB, (rows, 64), generator=generator)
    segments = (torch.arange(64) >= 40).long().expand(rows, -1)
    return {"tokens": tokens, "targets": tokens.roll(-1, 1), "segments": segments}


def learned(model, data, *, dtype=None):
    """Loss and gradients, dropping the same each time."""
    torch.manual_seed(7)
    with torch.autocast("cpu", dtype=dtype or torch.bfloat16, enabled=dtype is not None):
        loss = CausalLM().loss(model, data)[0]["next_token"]
    loss.backward()
    gradients = {name: p.grad.clone() for name, p in model.named_parameters()}
    model.zero_grad()
    return loss.detach(), gradients


def living(model, data):
    """Bytes of a forward pass that live on until its backward pass, as torch's profiler counts."""
    activities = [torch.profiler.ProfilerActivity.CPU]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        CausalLM().loss(model, data)[0]["next_token"].backward()
        model.zero_grad()
        with torch.profiler.profile(activities=activities, profile_memory=True) as profile:
            loss = CausalLM().loss(model, data)[0]["next_token"]
    events = profile.profiler.kineto_results.events()
    return sum(e.nbytes() for e in events if e.name() == "[memory]"), loss


NATIVE = pytest.param("native", marks=needs_kernels)


@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize("attention", ["fused", NATIVE, "explicit"])
@pytest.mark.parametrize("dtype", [None, torch.bfloat16])
def test_gradients_are_those_of_keeping_everything(name, attention, dtype):
    expected = learned(
        made(SHAPES[name], checkpointing="none", attention=attention), batch(), dtype=dtype
    )
    for policy in ("selective", "full"):
        model = made(SHAPES[name], checkpointing=policy, attention=attention)
        loss, gradients = learned(model, batch(), dtype=dtype)
        assert torch.equal(loss, expected[0])
        for parameter, gradient in gradients.items():
            assert torch.equal(gradient, expected[1][parameter]), (policy, parameter)


@pytest.mark.parametrize("attention", ["fused", NATIVE])
def test_less_is_kept_by_each_way(attention):
    shape = GptNeoXShape(**SIZE, ffn=256)
    kept = {
        policy: living(made(shape, checkpointing=policy, attention=attention), batch(16))[0]
        for policy in POLICIES
    }
    tokens, D, heads = 16 * 64, 64, 4
    # a layer's input in fp32; its products and attention in bf16, beside a statistic of each head
    full, selective = 4 * D, 2 * (9 * D + D) + 4 * heads
    assert kept["selective"] - kept["full"] == 3 * tokens * selective
    assert kept["none"] > 1.2 * kept["selective"]
    # beside the layers: the input of the last norm, gradients of the hidden states and the head
    # (and, small here, a mask of the documents)
    rest = 2 * 4 * D * tokens + 4 * VOCAB * D
    assert kept["full"] == pytest.approx(3 * tokens * full + rest, rel=0.1)


def test_what_autograd_saves_falls_to_the_inputs_of_layers():
    shape, counted = GptNeoXShape(**SIZE, ffn=256), {}
    for policy in POLICIES:
        model = made(shape, checkpointing=policy)
        storages = {}

        def pack(tensor, storages=storages):
            storage = tensor.untyped_storage()
            storages[storage.data_ptr()] = storage.nbytes()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            loss = CausalLM().loss(model, batch(16))[0]["next_token"]
        counted[policy] = sum(storages.values())
        del loss
    assert counted["full"] < counted["none"] / 4


def test_a_model_in_use_keeps_nothing_whatever_it_was_trained_with():
    model = made(SHAPES["qwen3"], checkpointing="full").eval()
    plain = made(SHAPES["qwen3"], checkpointing="none").eval()
    with torch.no_grad():
        assert torch.equal(model(batch()["tokens"]), plain(batch()["tokens"]))


def test_an_error_inside_a_layer_is_that_error():
    def broken(x):
        raise ValueError("not finite")

    for policy in POLICIES:
        with pytest.raises(ValueError, match="not finite"):
            run(policy, broken, torch.ones(1, requires_grad=True))


@needs_kernels
@pytest.mark.parametrize("policy", ["selective", "full"])
@pytest.mark.parametrize("name", ["gpt2 with dropout", "qwen3"])
@pytest.mark.parametrize(
    "backend", ["aot_eager_decomp_partition", pytest.param("inductor", marks=pytest.mark.full)]
)
def test_compiled_gradients_are_those_of_keeping_everything_compiled(name, policy, backend):
    """The first compiler does all but writing the kernels: what is kept is decided there."""
    found = {}
    for how in ("none", policy):
        torch.compiler.reset()
        model = made(SHAPES[name], checkpointing=how, attention="native")
        model.compile(dynamic=False, backend=backend)
        found[how] = learned(model, batch())
    torch.testing.assert_close(found[policy], found["none"], rtol=1e-5, atol=1e-5)


def test_a_run_steps_alike_with_each():
    results = []
    for policy in POLICIES:
        parts = toy_parts(accumulation=2)
        parts.model.checkpointing = policy
        parts.model.train()
        steps = [
            take_step(parts, step=step, total=4, autocast=contextlib.nullcontext())
            for step in range(2)
        ]
        results.append([step.loss for step in steps])
    assert results[0] == results[1] == results[2]


@pytest.fixture
def one_rank():
    """A process group of one, so that FSDP2's gathering and freeing is really done."""
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    yield
    dist.destroy_process_group()


@pytest.mark.parametrize("policy", ["selective", "full"])
def test_a_model_in_parts_learns_the_same(policy, one_rank):
    found = {}
    for how in ("none", policy):
        model = made(SHAPES["gpt_neox"], checkpointing=how)
        divide(model, units=r"^layers\.\d+$", ranks=ALONE, precision="fp32", device="cpu")
        loss, gradients = learned(model, batch())
        found[how] = loss, {name: whole(g) for name, g in gradients.items()}
    assert torch.equal(found["none"][0], found[policy][0])
    for name, gradient in found["none"][1].items():
        assert torch.equal(gradient, found[policy][1][name]), name
