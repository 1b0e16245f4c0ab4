"""Llama, Qwen 1 and Qwen2 in their original layouts: loaded, exported and loaded again, one model."""

from __future__ import annotations

import json

import pytest
import torch
from safetensors.torch import save_file
from tests.models.qwen_reference import qwen_logits
from tests.models.test_parity import equal_to_transformers

from minna.errors import ArtifactError
from minna.export.causal_lm import ExportSettings, write_model
from minna.models import find_family
from minna.models.decoder import RotaryBands
from minna.models.family import QwenShape
from minna.runtime.load import build_decoder
from minna.runtime.weights import read_json, read_weights

SMALL = {
    "vocab_size": 64,
    "hidden_size": 48,
    "intermediate_size": 72,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "max_position_embeddings": 64,
}
BANDS = {
    "factor": 8.0,
    "low_freq_factor": 0.2,
    "high_freq_factor": 1.5,
    "original_max_position_embeddings": 16,
}
SAVED = {
    "llama-2": ("llama", {"rms_norm_eps": 1e-5}),
    "llama-2, as its own file spells it": ("llama", {"num_key_value_heads": 4}),
    "llama-3.2, tied": (
        "llama",
        {
            "num_key_value_heads": 2,
            "tie_word_embeddings": True,
            "rope_parameters": {"rope_type": "llama3", "rope_theta": 500.0, **BANDS},
        },
    ),
    "llama-3.1, as its own file spells it": ("llama", {"num_key_value_heads": 2}),
    "qwen2": ("qwen2", {"num_key_value_heads": 2, "rope_parameters": {"rope_theta": 1e6}}),
    "qwen2, tied": ("qwen2", {"num_key_value_heads": 4, "tie_word_embeddings": True}),
    "qwen2.5, as its own file spells it": ("qwen2", {"num_key_value_heads": 2}),
}
SPELT = {
    "llama-2, as its own file spells it": {"rope_scaling": None, "pretraining_tp": 1},
    "llama-3.1, as its own file spells it": {
        "rope_theta": 500000.0,
        "rope_scaling": {"rope_type": "llama3", **BANDS},
    },
    "qwen2.5, as its own file spells it": {
        "rope_theta": 1000000.0,
        "use_sliding_window": False,
        "sliding_window": 131072,
        "max_window_layers": 1,
    },
}
QWEN = QwenShape(layers=2, width=48, heads=4, ffn=36, context=64)


class Words:
    """What an export asks of a tokenizer."""

    bos_id, eos_id, pad_id = 1, 2, -1


def noise_in_biases(model):
    """transformers begins biases at 0, where a forgotten one cannot be seen."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("bias") or "norm" in name:
                parameter.add_(torch.randn_like(parameter) * 0.3)


def logits_of(folder, *, length=40):
    config = read_json(folder / "config.json")
    ours = build_decoder(
        config,
        find_family(config["model_type"]),
        read_weights(folder),
        device=torch.device("cpu"),
        dtype="fp32",
    )
    return ours, ours.logits(ours(tokens_of(length)))


def tokens_of(length=40):
    return torch.randint(0, 64, (2, length), generator=torch.Generator().manual_seed(4))


def export(model, folder, *, family, **settings):
    folder.mkdir()
    write_model(folder, model, family=family, words=Words(), settings=ExportSettings(**settings))
    return folder


@pytest.mark.parametrize("name", SAVED)
def test_a_model_saved_by_transformers_loads_here_and_comes_back_the_same(name, tmp_path):
    from transformers import AutoConfig, AutoModelForCausalLM

    family, settings = SAVED[name]
    torch.manual_seed(0)
    peer = AutoModelForCausalLM.from_config(AutoConfig.for_model(family, **SMALL, **settings))
    noise_in_biases(peer)
    peer.save_pretrained(tmp_path / "theirs")
    if name in SPELT:
        file = tmp_path / "theirs" / "config.json"
        content = json.loads(file.read_text(encoding="utf-8"))
        for field in ("rope_parameters", "layer_types", "head_dim"):
            content.pop(field, None)
        file.write_text(json.dumps(content | SPELT[name]), encoding="utf-8")
    ours = equal_to_transformers(tmp_path / "theirs", vocab=64)
    if name.startswith("llama-3"):
        assert ours.config.rotary_bands == RotaryBands(low=0.2, high=1.5, context=16)
    back = export(ours, tmp_path / "ours", family=family)
    again = equal_to_transformers(back, vocab=64)
    assert again.config == ours.config
    for key, tensor in ours.state_dict().items():
        assert torch.equal(tensor, again.state_dict()[key])


def random_qwen(folder, *, seed=0, **changes):
    """A Qwen 1 directory as Qwen's own files are: names, fields and all."""
    generator = torch.Generator().manual_seed(seed)
    config = {
        "architectures": ["QWenLMHeadModel"],
        "model_type": "qwen",
        "vocab_size": 64,
        "hidden_size": 48,
        "intermediate_size": 72,  # two halves of 36
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "kv_channels": 12,
        "max_position_embeddings": 256,
        "seq_length": 64,
        "rotary_pct": 1.0,
        "rotary_emb_base": 10000,
        "layer_norm_epsilon": 1e-6,
        "use_dynamic_ntk": True,
        "use_logn_attn": True,
        "no_bias": True,
        "tie_word_embeddings": False,
        "scale_attn_weights": True,
        "use_flash_attn": "auto",
        **changes,
    }

    def draw(*shape):
        return torch.randn(*shape, generator=generator) * 0.3

    state = {
        "transformer.wte.weight": draw(config["vocab_size"], 48),
        "transformer.ln_f.weight": 1 + draw(48),
        "lm_head.weight": draw(config["vocab_size"], 48),
        "transformer.rotary_emb.inv_freq": draw(6),  # old files carry it
    }
    for n in range(2):
        state |= {
            f"transformer.h.{n}.{name}": tensor
            for name, tensor in {
                "ln_1.weight": 1 + draw(48),
                "ln_2.weight": 1 + draw(48),
                "attn.c_attn.weight": draw(144, 48),
                "attn.c_attn.bias": draw(144),
                "attn.c_proj.weight": draw(48, 48),
                "mlp.w1.weight": draw(36, 48),
                "mlp.w2.weight": draw(36, 48),
                "mlp.c_proj.weight": draw(48, 36),
            }.items()
        }
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


def test_qwen_1_gives_the_logits_of_a_reference_of_its_own(tmp_path):
    folder = random_qwen(tmp_path / "qwen")
    config, disk = read_json(folder / "config.json"), read_weights(folder)
    ours, logits = logits_of(folder)
    for row, found in zip(tokens_of(), logits, strict=True):
        expected = qwen_logits(disk, config, row)
        torch.testing.assert_close(found.double(), expected, rtol=1e-4, atol=1e-5)
    back = export(ours, tmp_path / "ours", family="qwen")
    written = read_json(back / "config.json")
    for row, found in zip(tokens_of(), logits_of(back)[1], strict=True):
        expected = qwen_logits(read_weights(back), written, row)
        torch.testing.assert_close(found.double(), expected, rtol=1e-4, atol=1e-5)
    assert set(read_weights(back)) == set(disk) - {"transformer.rotary_emb.inv_freq"}
    same = set(config) - {"max_position_embeddings"}
    assert {key: written[key] for key in same} == {key: config[key] for key in same}


def as_qwen2(folder, out):
    """Qwen 1's tensors by Qwen2's names: what transformers can run without foreign code."""
    config, state = read_json(folder / "config.json"), read_weights(folder)
    disk = {
        "model.embed_tokens.weight": state["transformer.wte.weight"],
        "model.norm.weight": state["transformer.ln_f.weight"],
        "lm_head.weight": state["lm_head.weight"],
    }
    plain = {
        "ln_1": "input_layernorm",
        "ln_2": "post_attention_layernorm",
        "attn.c_proj": "self_attn.o_proj",
        "mlp.w1": "mlp.up_proj",
        "mlp.w2": "mlp.gate_proj",
        "mlp.c_proj": "mlp.down_proj",
    }
    for n in range(2):
        for theirs, name in plain.items():
            weight = state[f"transformer.h.{n}.{theirs}.weight"]
            disk[f"model.layers.{n}.{name}.weight"] = weight
        for part in ("weight", "bias"):
            thirds = state[f"transformer.h.{n}.attn.c_attn.{part}"].chunk(3)
            for letter, third in zip("qkv", thirds, strict=True):
                disk[f"model.layers.{n}.self_attn.{letter}_proj.{part}"] = third.clone()
    out.mkdir()
    fields = {
        "model_type": "qwen2",
        "architectures": ["Qwen2ForCausalLM"],
        "vocab_size": 64,
        "hidden_size": 48,
        "intermediate_size": 36,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 4,
        "max_position_embeddings": 64,
        "rms_norm_eps": config["layer_norm_epsilon"],
        "rope_theta": float(config["rotary_emb_base"]),
        "tie_word_embeddings": False,
    }
    (out / "config.json").write_text(json.dumps(fields), encoding="utf-8")
    save_file(disk, out / "model.safetensors", metadata={"format": "pt"})
    return out


def test_qwen_1_by_the_names_of_qwen_2_gives_transformers_logits(tmp_path):
    folder = random_qwen(tmp_path / "qwen")
    renamed = as_qwen2(folder, tmp_path / "qwen2")
    equal_to_transformers(renamed, vocab=64)
    torch.testing.assert_close(logits_of(folder)[1], logits_of(renamed)[1], rtol=1e-5, atol=1e-6)


def test_qwen_1_ends_where_its_own_code_begins_to_stretch_the_rotation(tmp_path):
    ours, _ = logits_of(random_qwen(tmp_path / "stretched"))
    assert ours.config.context == 64
    plain = random_qwen(tmp_path / "plain", use_dynamic_ntk=False, use_logn_attn=False)
    assert logits_of(plain)[0].config.context == 256


@pytest.mark.parametrize(
    ("family", "change", "words"),
    [
        ("qwen", {"no_bias": False}, "no_bias = False; here it must be True"),
        ("qwen", {"rotary_pct": 0.5}, "rotary_pct = 0.5"),
        ("qwen", {"kv_channels": 99}, "heads of kv_channels 99"),
        ("qwen", {"intermediate_size": 71}, "intermediate_size 71"),
        ("qwen2", {"use_sliding_window": True}, "use_sliding_window = True"),
        ("qwen2", {"layer_types": ["sliding_attention"]}, "sliding_attention"),
        ("llama", {"hidden_act": "gelu"}, "hidden_act = 'gelu'"),
        ("llama", {"rope_scaling": {"rope_type": "yarn", "factor": 4.0}}, "rotary scaling"),
        ("llama", {"rope_scaling": {"rope_type": "llama3", "factor": 4.0}}, "low_freq_factor"),
        (
            "llama",
            {
                "rope_scaling": {"rope_type": "llama3", **BANDS},
                "rope_parameters": {"rope_type": "linear", "factor": 2.0},
            },
            "in two ways",
        ),
    ],
)
def test_what_a_family_does_not_do_is_refused_by_name(family, change, words):
    record = find_family(family)
    shape = {"qwen": QWEN}.get(family)
    if shape is None:
        from tests.models.test_parity import SHAPES

        shape = SHAPES[family]
    with pytest.raises(ArtifactError, match=words):
        record.config_from_disk(record.config_to_disk(shape.decoder(9)) | change)


def test_old_llama_files_may_carry_buffers_and_a_missing_tensor_is_named(tmp_path):
    from tests.models.test_parity import SHAPES

    from minna.models import Decoder

    record, model = find_family("llama"), Decoder(SHAPES["llama"].decoder(9))
    disk = record.to_disk(model.state_dict(), model.config)
    old = disk | {"model.layers.0.self_attn.rotary_emb.inv_freq": torch.zeros(6)}
    assert set(dict(record.from_disk(old, model.config))) == set(model.state_dict())
    del old["model.layers.1.mlp.up_proj.weight"]
    with pytest.raises(ArtifactError, match="model.layers.1.mlp.up_proj.weight"):
        dict(record.from_disk(old, model.config))


@pytest.mark.parametrize("family", ["llama", "qwen"])
def test_large_models_are_written_and_read_in_shards(family, tmp_path):
    from minna.models import Decoder, build
    from minna.models.family import LlamaShape

    shapes = {
        "llama": LlamaShape(layers=2, width=192, heads=4, ffn=512, context=64),
        "qwen": QwenShape(layers=2, width=192, heads=4, ffn=512, context=64),
    }
    model: Decoder = build(shapes[family], vocab=256)
    model.initialise(seed=1)
    folder = export(model, tmp_path / "shards", family=family, shard_bytes=1_000_000)
    assert (folder / "model.safetensors.index.json").is_file()
    assert len(list(folder.glob("model-*.safetensors"))) > 3
    _, logits = logits_of(folder)
    with torch.no_grad():
        torch.testing.assert_close(logits, model.eval().logits(model(tokens_of())))
    if family == "llama":
        equal_to_transformers(folder, vocab=256)
