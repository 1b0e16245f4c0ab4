"""Plans of released models: sizes, what fits where, what a wrong call is told."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from minna import plan, recipe
from minna.errors import UsageError
from minna.plan import devices
from minna.plan.anatomy import anatomy
from minna.plan.formulas import CHECKPOINTINGS, USABLE

SIZES = {
    "japanese-gpt2-xsmall": 37_398_016,
    "japanese-gpt2-small": 110_418_432,
    "japanese-gpt-1b": 1_302_712_320,
    "japanese-gpt-neox-3.6b": 3_607_245_312,
    "bilingual-gpt-neox-4b": 3_796_120_064,
}
H100 = devices.find("h100")


def made(name, *overrides, gpus=8, device=H100, **more):
    return plan.plan(recipe.load(name, overrides=overrides), gpus=gpus, device=device, **more)


@pytest.mark.parametrize(("name", "parameters"), SIZES.items())
def test_published_sizes_are_counted_exactly(name, parameters):
    chosen = recipe.load(name)
    model = anatomy(chosen, vocab=chosen.tokenizer.vocab_size)
    assert model.parameters == model.learning == parameters
    assert model.units * model.unit + model.around == parameters
    assert model.state_numbers == 2 * parameters


def test_flops_are_six_for_each_weight_of_a_matrix_and_attention_at_half():
    chosen = recipe.load("japanese-gpt-neox-3.6b")
    model = anatomy(chosen, vocab=32000)
    matrices = 36 * 12 * 2816 * 2816 + 32000 * 2816
    assert model.flops == 6 * matrices + 6 * 36 * 2816 * 2048
    assert model.forward == 2 * 36 * 12 * 2816 * 2816 + 2 * 36 * 2816 * 2048


def test_muon_keeps_one_number_for_each_entry_of_a_layers_matrix():
    model = anatomy(recipe.load("modern-124m"), vocab=32000)
    assert model.state_numbers == 2 * model.parameters - model.units * model.unit_matrices


def test_what_is_frozen_has_neither_gradient_nor_state():
    frozen = recipe.load("toy-gpt-neox", overrides=["trainable.layers=false"])
    model = anatomy(frozen, vocab=4096)
    assert model.learning == model.parameters - model.units * model.unit
    assert model.state_numbers == 2 * model.learning


def test_a_small_model_is_copied_and_keeps_everything():
    chosen = made("japanese-gpt2-small").chosen
    assert chosen.way.sharding == "replicate"
    assert chosen.way.checkpointing == "none"


def test_a_model_whose_state_exceeds_a_device_is_divided():
    found = made("bilingual-gpt-neox-4b", device=devices.find("l4"), gpus=64)
    assert found.chosen.way.sharding == "shard"
    copied = [each for each in found.ways if each.way.sharding == "replicate"]
    assert not any(each.fits for each in copied)
    assert found.chosen.memory.total <= USABLE * 24e9
    assert "train.sharding=shard" in plan.settings(found, found.chosen)


def test_each_way_of_keeping_less_needs_less():
    for sharding in ("replicate", "shard"):
        totals = [
            each.memory.total
            for keep in CHECKPOINTINGS
            for each in made("japanese-gpt-neox-3.6b").ways
            if (each.way.sharding, each.way.checkpointing) == (sharding, keep)
        ]
        assert totals == sorted(totals, reverse=True)
        assert len(set(totals)) == len(totals)


def test_parts_take_a_share_of_the_state_and_whole_gradients_travel():
    found = made("japanese-gpt-neox-3.6b", gpus=8)
    parameters = found.anatomy.parameters
    shard = next(each for each in found.ways if each.way.sharding == "shard")
    copies = found.ways[0]
    assert copies.memory.optimiser == 8 * parameters
    assert shard.memory.weights == -(-parameters // 8) * 4
    assert shard.memory.optimiser == 8 * parameters // 8
    assert copies.traffic == round(2 * 7 / 8 * 4 * parameters)
    inside = found.anatomy.units * found.anatomy.unit
    once = 2 * 2 * inside + 4 * found.anatomy.around + 4 * parameters
    assert shard.traffic == round(7 / 8 * once * shard.micro_batches)


def test_a_recipe_that_fits_nowhere_says_on_how_many_it_would():
    found = made("bilingual-gpt-neox-4b", device=devices.find("4090"), gpus=1)
    assert found.chosen is None
    assert found.run_seconds is None and found.cost is None
    assert found.would_fit in (4, 8, 16)
    told = "\n".join(plan.lines(found))
    assert f"--gpus {found.would_fit}" in told and "no way" in told
    smaller = plan.plan(found.recipe, gpus=found.would_fit, device=found.device)
    assert smaller.chosen is not None


def test_a_device_too_small_for_one_layer_is_named_as_such():
    tiny = devices.Device(**{**vars(devices.find("l4")), "memory_gb": 0.1})
    found = made("japanese-gpt-neox-3.6b", device=tiny)
    assert found.would_fit is None
    assert "a device with more memory" in "\n".join(plan.lines(found))


def test_a_step_that_the_ranks_cannot_share_is_planned_with_the_nearest_and_says_so():
    found = made("japanese-gpt2-xsmall", gpus=64)
    assert found.rounded
    assert found.work.step_tokens % (64 * 1024) == 0
    assert "no multiple of the 65,536" in "\n".join(plan.lines(found))
    assert f"train.tokens_per_step={found.work.step_tokens}" in plan.settings(found, found.chosen)


def test_the_settings_told_make_the_recipe_that_was_planned():
    found = made("japanese-gpt-neox-3.6b", gpus=16, device=devices.find("a100"))
    told = plan.settings(found, found.chosen).split()
    again = made("japanese-gpt-neox-3.6b", *told, gpus=16, device=devices.find("a100"))
    assert plan.settings(again, again.chosen) == ""
    assert again.chosen == found.chosen


def test_what_a_recipe_asks_for_by_name_is_kept_to_where_it_fits():
    asked = ("train.sharding=shard", "train.checkpointing=full")
    chosen = made("japanese-gpt2-small", *asked).chosen
    assert (chosen.way.sharding, chosen.way.checkpointing) == ("shard", "full")
    tight = made("bilingual-gpt-neox-4b", "train.sharding=replicate", device=devices.find("a100"))
    assert tight.chosen.way.sharding == "shard"


def test_twice_the_price_costs_twice_as_much():
    one, two = (made("japanese-gpt-1b", price=price) for price in (1.0, 2.0))
    assert two.cost == pytest.approx(2 * one.cost)
    assert one.cost == pytest.approx(8 * one.run_seconds / 3600)


def test_a_run_of_minutes_has_as_many_steps_as_fit_in():
    found = made("modern-124m", "train.minutes=10")
    assert found.steps == int(600 / found.chosen.seconds.step)


def test_no_device_a_misspelt_device_and_a_negative_price_are_refused():
    with pytest.raises(UsageError, match="at least 1, not 0"):
        made("toy-gpt2", gpus=0)
    with pytest.raises(UsageError, match="did you mean 'h100'"):
        devices.find("H100s")
    with pytest.raises(UsageError, match="--price"):
        made("toy-gpt2", price=-1.0)


def test_every_device_says_where_its_figures_are_from():
    for name in devices.names():
        if name != "cpu":
            device = devices.find(name)
            assert device.source and device.bf16_tflops > device.fp32_tflops > 0
            assert device.wire(device.gpus_per_node + 1) <= device.wire(device.gpus_per_node)


@pytest.mark.parametrize(
    ("told", "key"),
    [("NVIDIA H100 80GB HBM3", "h100"), ("NVIDIA L4", "l4"), ("NVIDIA GeForce RTX 4090", "4090")],
)
def test_a_gpu_is_known_by_its_name_and_has_the_memory_it_has(monkeypatch, told, key):
    found = SimpleNamespace(name=told, total_memory=33 * 10**9)
    monkeypatch.setattr("torch.cuda.get_device_properties", lambda _: found)
    device = devices.of_cuda()
    assert (device.key, device.memory_gb) == (key, 33)
    assert device.bf16_tflops == devices.find(key).bf16_tflops


def test_a_gpu_without_figures_is_refused_by_name(monkeypatch):
    found = SimpleNamespace(name="NVIDIA L40S", total_memory=48 * 10**9)
    monkeypatch.setattr("torch.cuda.get_device_properties", lambda _: found)
    with pytest.raises(UsageError, match="L40S are not known"):
        devices.of_cuda()


def test_the_cpu_is_this_machine():
    here = devices.find("cpu")
    assert here.memory_gb > 0.5
    assert here.fp32_tflops > 0
    assert here.bandwidth_gbs > 0.1
