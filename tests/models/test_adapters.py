"""Adapters: what learns, what is stored, and that both ways out compute what was trained."""

from __future__ import annotations

import pytest
import torch
from tests.toy_chain import SHAPES

from minna.errors import UsageError
from minna.models import build, find_family
from minna.models.adapters import (
    AdapterSettings,
    FrozenEmbedding,
    FrozenLinear,
    adapt,
    adapter_parameters,
    as_peft,
    merge,
    size_of,
)

VOCAB = 96
DECODERS = sorted(SHAPES)


def decoder(family):
    model = build(SHAPES[family], vocab=VOCAB)
    model.initialise(seed=3)
    return model.eval()


def logits(model, ids):
    with torch.no_grad():
        return model.logits(model(ids)).float()


def with_knowledge(model):
    """As after training: a B that is not 0."""
    generator = torch.Generator().manual_seed(5)
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            parameter.data.normal_(0.0, 0.1, generator=generator)
    return model


@pytest.fixture
def ids():
    return torch.randint(0, VOCAB, (2, 16), generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("family", DECODERS)
def test_an_adapted_model_begins_as_it_was_and_merges_into_what_it_learned(family, ids):
    model, settings = decoder(family), AdapterSettings(rank=4, alpha=8)
    before, count = logits(model, ids), size_of(model)
    expected = adapter_parameters(model, settings)
    learned = adapt(model, settings, device="cpu", seed=0)
    assert torch.equal(logits(model, ids), before)
    assert {name.rsplit(".lora_", 1)[1] for name in learned} == {
        "A.default.weight",
        "B.default.weight",
    }
    assert size_of(model) == count + expected
    after = logits(with_knowledge(model), ids)
    assert float((after - before).abs().max()) > 0.05
    plain = build(SHAPES[family], vocab=VOCAB).eval()
    plain.load_state_dict(merge(model))
    torch.testing.assert_close(logits(plain, ids), after, atol=2e-5, rtol=1e-4)


@pytest.mark.parametrize("family", [name for name in DECODERS if name != "qwen"])
def test_peft_beside_the_base_in_transformers_gives_the_same_logits(family, ids, tmp_path):
    from peft import LoraConfig, get_peft_model, set_peft_model_state_dict
    from transformers import AutoConfig, AutoModelForCausalLM

    model, settings = decoder(family), AdapterSettings(rank=4, alpha=8)
    record = find_family(family)
    disk = {
        name: tensor.clone()
        for name, tensor in record.to_disk(model.state_dict(), model.config).items()
    }
    config = AutoConfig.for_model(**record.config_to_disk(model.config))
    theirs = AutoModelForCausalLM.from_config(config).eval()
    theirs.load_state_dict(disk, strict=False)
    theirs.tie_weights()
    adapt(model, settings, device="cpu", seed=0)
    after = logits(with_knowledge(model), ids)
    said, tensors = as_peft(
        model, settings, to_disk=lambda state: record.to_disk(state, model.config), base="base"
    )
    assert (said["peft_type"], said["r"], said["base_model_name_or_path"]) == ("LORA", 4, "base")
    adapted = get_peft_model(theirs, LoraConfig(**{k: said[k] for k in ("r", "lora_alpha", "target_modules", "fan_in_fan_out", "task_type")}))  # fmt: skip
    result = set_peft_model_state_dict(adapted, tensors)
    assert not result.unexpected_keys
    assert len(tensors) == sum("lora_" in name for name, _ in adapted.named_parameters())
    with torch.no_grad():
        torch.testing.assert_close(adapted(ids).logits, after, atol=2e-5, rtol=1e-4)


@pytest.mark.parametrize(("base", "near"), [("bf16", 0.02), ("nf4", 0.2)])
def test_a_smaller_base_learns_and_merges_as_what_it_stands_for(base, near, ids):
    model, settings = decoder("llama"), AdapterSettings(rank=4, base=base)
    before = logits(model, ids)
    held = sum(p.numel() * p.element_size() for p in model.parameters())
    learned = adapt(model, settings, device="cpu", seed=0)
    frozen = [p for name, p in model.named_parameters() if name not in learned]
    assert sum(p.numel() * p.element_size() for p in frozen) < 0.55 * held
    assert isinstance(model.embed, FrozenEmbedding) and isinstance(model.head, FrozenLinear)
    assert float((logits(model, ids) - before).abs().max()) < near * float(before.abs().max())
    after = logits(with_knowledge(model), ids)
    model.logits(model(ids)).float().square().mean().backward()
    assert all((p.grad is not None) == (n in learned) for n, p in model.named_parameters())
    plain = build(SHAPES["llama"], vocab=VOCAB).eval()
    plain.load_state_dict(merge(model))
    assert float((logits(plain, ids) - after).abs().max()) < 0.03 * float(after.abs().max())


def test_targets_choose_and_what_cannot_be_is_refused():
    model = decoder("gpt2")
    learned = adapt(model, AdapterSettings(rank=2, targets=("qkv",)), device="cpu", seed=0)
    assert {name.split(".lora_")[0] for name in learned} == {
        f"layers.{n}.attention.qkv" for n in (0, 1)
    }
    with pytest.raises(UsageError, match=r"targets gate: the model has none"):
        adapt(decoder("gpt2"), AdapterSettings(rank=2, targets=("gate",)), device="cpu", seed=0)
    with pytest.raises(UsageError, match=r"rank 32 is not below the sides of layers\.0"):
        adapt(decoder("gpt2"), AdapterSettings(rank=32), device="cpu", seed=0)
    with pytest.raises(UsageError, match="no kernels of its own on mps"):
        adapt(decoder("llama"), AdapterSettings(rank=2, base="nf4"), device="mps", seed=0)


def test_a_is_drawn_from_the_seed_and_draws_nothing_from_anyone_else():
    found = []
    models = [decoder("gpt2") for _ in range(3)]
    state = torch.get_rng_state()
    for seed, model in zip((0, 0, 1), models, strict=True):
        adapt(model, AdapterSettings(rank=2), device="cpu", seed=seed)
        found.append(dict(model.named_parameters())["layers.0.mlp.up.lora_A.default.weight"])
    assert torch.equal(found[0], found[1]) and not torch.equal(found[0], found[2])
    assert torch.equal(torch.get_rng_state(), state)
