"""Model dirs are read as transformers reads them, and refused where it would guess."""

from __future__ import annotations

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from minna.errors import ArtifactError
from minna.native.linear import NativeLinear
from minna.runtime import load_model
from minna.runtime.load import choose_dtype
from minna.runtime.pack import PackedLinear, can_pack, has_bf16_instructions

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}


@pytest.fixture
def folder(model_dirs, tmp_path):
    return shutil.copytree(model_dirs["gpt_neox"], tmp_path / "model")


def edit_config(folder, **changes):
    file = folder / "config.json"
    config = json.loads(file.read_text(encoding="utf-8")) | changes
    file.write_text(json.dumps(config), encoding="utf-8")


def logits(model):
    tokens = torch.tensor([[5, 9, 20, 33, 7]])
    return model.decoder.logits(model.decoder(tokens))


@pytest.mark.parametrize("name", ["gpt2", "gpt_neox"])
def test_logits_equal_transformers_on_the_same_directory(model_dirs, models, name):
    from transformers import AutoModelForCausalLM

    peer = AutoModelForCausalLM.from_pretrained(model_dirs[name], dtype=torch.float32).eval()
    with torch.no_grad():
        expected = peer(torch.tensor([[5, 9, 20, 33, 7]])).logits
    torch.testing.assert_close(logits(models[name]), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("whose", ["ours", "torch"])
@pytest.mark.parametrize("dtype", ["fp32", "bf16"])
def test_packed_matrices_compute_what_plain_ones_do(request, model_dirs, dtype, whose):
    if whose == "torch":
        request.getfixturevalue("no_kernels")
        kind = PackedLinear if can_pack("cpu", DTYPES[dtype]) else torch.nn.Linear
    elif dtype == "bf16" and not has_bf16_instructions():
        pytest.skip("this CPU has no bf16 instructions")
    else:
        request.getfixturevalue("kernels")
        kind = NativeLinear
    for path in model_dirs.values():
        plain = logits(load_model(path, device="cpu", dtype=dtype, layout="plain"))
        packed = load_model(path, device="cpu", dtype=dtype)
        assert isinstance(packed.decoder.head, kind)
        tolerance = {"fp32": 1e-4, "bf16": 0.3}[dtype]
        torch.testing.assert_close(logits(packed), plain, rtol=0.02, atol=tolerance)


def test_sharded_files_and_torch_files_give_the_same_weights(folder, models):
    state = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    names = sorted(state)
    halves = {"a.safetensors": names[::2], "b.safetensors": names[1::2]}
    for file, part in halves.items():
        save_file({name: state[name] for name in part}, folder / file)
    where = {name: file for file, part in halves.items() for name in part}
    index = folder / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": where}), encoding="utf-8")
    expected = logits(models["gpt_neox"])
    assert torch.equal(logits(load_model(folder, device="cpu", dtype="fp32")), expected)

    index.write_text(
        json.dumps({"weight_map": where | {"x": "../a.safetensors"}}), encoding="utf-8"
    )
    with pytest.raises(ArtifactError, match="outside its directory"):
        load_model(folder)

    index.unlink()
    torch.save(state, folder / "pytorch_model.bin")
    assert torch.equal(logits(load_model(folder, device="cpu", dtype="fp32")), expected)


def test_half_precision_files_are_read(folder, models):
    state = {k: v.half() for k, v in load_file(folder / "model.safetensors").items()}
    save_file(state, folder / "model.safetensors")
    model = load_model(folder, device="cpu", dtype="fp32")
    assert model.dtype == torch.float32
    torch.testing.assert_close(logits(model), logits(models["gpt_neox"]), rtol=0.05, atol=0.1)


def test_a_torch_file_with_more_than_tensors_is_refused(folder):
    (folder / "model.safetensors").unlink()
    torch.save({"weights": torch.nn.Linear(2, 2)}, folder / "pytorch_model.bin")
    with pytest.raises(ArtifactError, match="more than tensors"):
        load_model(folder)


def test_a_truncated_file_is_refused(folder):
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-1000])
    with pytest.raises(ArtifactError, match="not a whole safetensors file"):
        load_model(folder)


def test_a_missing_an_unknown_and_a_misshapen_tensor_are_named(folder):
    file = folder / "model.safetensors"
    state = load_file(file)
    norm = "gpt_neox.final_layer_norm.weight"
    for change, message in (
        ({norm: None}, f"no tensor '{norm}'"),
        ({"gpt_neox.extra": torch.zeros(1)}, r"unknown to this family: gpt_neox\.extra"),
        ({norm: torch.zeros(7)}, r"final_layer_norm.weight' has shape \[7\].*\[48\]"),
    ):
        changed = {k: v for k, v in (state | change).items() if v is not None}
        save_file(changed, file)
        with pytest.raises(ArtifactError, match=message):
            load_model(folder)


def test_a_directory_without_config_weights_or_known_family_is_refused(folder, tmp_path):
    with pytest.raises(ArtifactError, match="is not a directory"):
        load_model(tmp_path / "nothing")
    edit_config(folder, model_type="gpt_neo")
    with pytest.raises(ArtifactError, match="did you mean 'gpt_neox'"):
        load_model(folder)
    edit_config(folder, model_type="gpt_neox")
    (folder / "model.safetensors").unlink()
    with pytest.raises(ArtifactError, match="holds no weights"):
        load_model(folder)
    (folder / "config.json").unlink()
    with pytest.raises(ArtifactError, match=r"no config\.json"):
        load_model(folder)


def test_a_misspelt_config_key_is_warned_of_with_its_neighbour(folder, capsys):
    load_model(folder, device="cpu")
    assert "warning" not in capsys.readouterr().err
    edit_config(folder, use_parallel_residuals=True, my_own_note="kept")
    load_model(folder, device="cpu")
    shown = capsys.readouterr().err
    assert "'use_parallel_residuals'" in shown
    assert "'use_parallel_residual'" in shown
    assert "my_own_note" not in shown


def test_small_models_run_in_fp32_by_default():
    assert choose_dtype(torch.device("cpu"), parameters=1_000_000) == torch.float32
