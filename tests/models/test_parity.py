"""The decoder is transformers' model: same weights, same logits, same gradients."""

from __future__ import annotations

import json

import pytest
import torch

from minna.errors import ArtifactError
from minna.models import Decoder, find_family
from minna.models.decoder import RotaryBands
from minna.models.family import Gpt2Shape, GptNeoXShape, LlamaShape, Qwen2Shape, Qwen3Shape

SHAPES = {
    "gpt2": Gpt2Shape(layers=3, width=48, heads=4, ffn=160, context=40, dropout=0.0),
    "gpt2-untied": Gpt2Shape(
        layers=2, width=32, heads=2, ffn=64, context=40, dropout=0.0, tied=False
    ),
    "gpt2-exact-gelu": Gpt2Shape(
        layers=2, width=32, heads=2, ffn=64, context=40, dropout=0.0, activation="gelu"
    ),
    "gpt_neox": GptNeoXShape(layers=3, width=48, heads=4, ffn=160, context=40),
    "gpt_neox-parallel": GptNeoXShape(
        layers=2, width=48, heads=3, ffn=96, context=40, residual="parallel", rotary_fraction=0.25
    ),
    "gpt_neox-tied": GptNeoXShape(
        layers=2, width=48, heads=3, ffn=96, context=40, tied=True, attention_bias=False
    ),
    "gpt_neox-8k": GptNeoXShape(
        layers=2, width=48, heads=2, ffn=96, context=40, rotary_scaling=4.0
    ),
    "llama": LlamaShape(layers=3, width=48, heads=4, ffn=96, context=40),
    "llama-grouped-tied-biased": LlamaShape(
        layers=2,
        width=48,
        heads=6,
        kv_heads=2,
        ffn=96,
        context=40,
        tied=True,
        attention_bias=True,
        mlp_bias=True,
    ),
    "llama-scaled": LlamaShape(
        layers=2, width=48, heads=2, kv_heads=1, ffn=96, context=40, rotary_scaling=2.0
    ),
    "llama-bands": LlamaShape(
        layers=2,
        width=48,
        heads=2,
        kv_heads=1,
        ffn=96,
        context=40,
        rotary_base=500.0,
        rotary_scaling=8.0,
        rotary_bands=RotaryBands(low=0.2, high=1.5, context=20),
    ),
    "qwen2": Qwen2Shape(layers=3, width=48, heads=4, ffn=96, context=40, rotary_base=1e6),
    "qwen2-grouped-tied": Qwen2Shape(
        layers=2, width=48, heads=6, kv_heads=2, ffn=96, context=40, tied=True
    ),
    "qwen3": Qwen3Shape(layers=3, width=48, heads=4, ffn=96, context=40),
    "qwen3-grouped-wide-heads": Qwen3Shape(
        layers=2, width=40, heads=6, kv_heads=2, head_dim=16, ffn=96, context=40
    ),
    "qwen3-tied-scaled": Qwen3Shape(
        layers=2, width=48, heads=4, kv_heads=1, ffn=96, context=40, tied=True, rotary_scaling=2.0
    ),
}


def theirs(config, family, state):
    from transformers import AutoConfig, AutoModelForCausalLM

    fields = dict(family.config_to_disk(config))
    written = AutoConfig.for_model(fields.pop("model_type"), **fields)
    model = AutoModelForCausalLM.from_config(written)
    disk = family.to_disk(state, config)
    if "embed_out.weight" in disk:
        disk["lm_head.weight"] = disk.pop("embed_out.weight")
    missing, unexpected = model.load_state_dict(disk, strict=False)
    assert not unexpected
    assert all("lm_head" in name for name in missing) and (not missing or config.tied)
    return model.eval()


@pytest.mark.parametrize("name", SHAPES)
def test_logits_and_gradients_equal_transformers(name):
    shape = SHAPES[name]
    family = find_family(shape.family)
    ours = Decoder(shape.decoder(101))
    ours.initialise(seed=3)
    with torch.no_grad():
        for parameter in ours.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.05)
    peer = theirs(ours.config, family, ours.state_dict())
    tokens = torch.randint(0, 101, (3, 40), generator=torch.Generator().manual_seed(0))
    mine = ours.logits(ours(tokens))
    other = peer(tokens).logits
    torch.testing.assert_close(mine, other, rtol=1e-4, atol=1e-5)
    weight = torch.randn(mine.shape, generator=torch.Generator().manual_seed(1))
    (mine * weight).sum().backward()
    (other * weight).sum().backward()
    gradients = {n: p.grad for n, p in ours.named_parameters()}
    expected = {n: p.grad for n, p in peer.named_parameters()}
    if "lm_head.weight" in expected and shape.family == "gpt_neox":
        expected["embed_out.weight"] = expected.pop("lm_head.weight")
    for disk_name, gradient in family.to_disk(gradients, ours.config).items():
        torch.testing.assert_close(
            gradient, expected[disk_name], rtol=2e-3, atol=2e-4, msg=disk_name
        )


@pytest.mark.parametrize("name", SHAPES)
def test_weights_and_config_survive_the_way_to_disk_and_back(name):
    shape = SHAPES[name]
    family = find_family(shape.family)
    ours = Decoder(shape.decoder(101))
    ours.initialise(seed=5)
    disk = family.to_disk(ours.state_dict(), ours.config)
    back = dict(family.from_disk(dict(disk), ours.config))
    assert set(back) == set(ours.state_dict())
    assert all(torch.equal(back[key], value) for key, value in ours.state_dict().items())
    again = family.config_from_disk(family.config_to_disk(ours.config))
    assert again == ours.config


@pytest.mark.parametrize("name", SHAPES)
def test_explicit_attention_equals_fused(name):
    model = Decoder(SHAPES[name].decoder(50))
    model.initialise(seed=1)
    tokens = torch.randint(0, 50, (2, 24), generator=torch.Generator().manual_seed(0))
    fused = model(tokens)
    model.attention_kind = "explicit"
    torch.testing.assert_close(model(tokens), fused, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("masked", ["causal", "documents"])
def test_explicit_attention_in_blocks_equals_fused_with_gradients(masked):
    from minna.models.attention import document_mask

    shape = GptNeoXShape(layers=1, width=32, heads=2, ffn=32, context=320)
    model = Decoder(shape.decoder(50))
    model.initialise(seed=1)
    generator = torch.Generator().manual_seed(0)
    tokens = torch.randint(0, 50, (2, 300), generator=generator)
    segments = torch.arange(300).div(70, rounding_mode="floor").expand(2, 300)
    mask = document_mask(segments) if masked == "documents" else None
    outs, gradients = [], []
    for kind in ("fused", "explicit"):
        model.attention_kind = kind
        model.zero_grad()
        out = model(tokens, mask=mask)
        out.square().sum().backward()
        outs.append(out.detach())
        gradients.append(model.layers[0].attention.qkv.weight.grad.clone())
    torch.testing.assert_close(outs[0], outs[1], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(gradients[0], gradients[1], rtol=1e-3, atol=1e-3)


def equal_to_transformers(folder, *, vocab, length=40):
    """Load a model dir here and in transformers: the same logits."""
    from transformers import AutoModelForCausalLM

    from minna.runtime.load import build_decoder
    from minna.runtime.weights import read_json, read_weights

    config = read_json(folder / "config.json")
    ours = build_decoder(
        config,
        find_family(config["model_type"]),
        read_weights(folder),
        device=torch.device("cpu"),
        dtype="fp32",
    )
    peer = AutoModelForCausalLM.from_pretrained(folder).eval()
    tokens = torch.randint(0, vocab, (2, length), generator=torch.Generator().manual_seed(4))
    with torch.no_grad():
        torch.testing.assert_close(
            ours.logits(ours(tokens)), peer(tokens).logits, rtol=1e-4, atol=1e-5
        )
    return ours


# The released models, made small, as transformers itself writes them: what is not the class's default
# (sequential residual, full rotation, FastGELU, padded rows, dropouts) is spelt out as on their pages.
RELEASED = {
    "japanese-gpt2-medium": {"model_type": "gpt2", "n_inner": 4 * 48, "vocab_size": 64},
    "japanese-gpt2-xsmall": {"model_type": "gpt2", "n_inner": 216, "vocab_size": 64},
    "japanese-gpt-1b": {
        "model_type": "gpt2",
        "n_inner": None,
        "vocab_size": 128,
        "activation_function": "gelu_fast",
        "bos_token_id": 2,
        "eos_token_id": 3,
    },
    "japanese-gpt-neox-3.6b": {"model_type": "gpt_neox", "vocab_size": 64},
    "bilingual-gpt-neox-4b": {
        "model_type": "gpt_neox",
        "vocab_size": 128,
        "attention_dropout": 0.1,
        "hidden_dropout": 0.1,
    },
    "bilingual-gpt-neox-4b-8k": {
        "model_type": "gpt_neox",
        "vocab_size": 128,
        "rope_scaling": {"type": "linear", "factor": 4.0},
    },
}
COMMON = {
    "gpt2": {"n_embd": 48, "n_layer": 2, "n_head": 4, "n_positions": 64},
    "gpt_neox": {
        "hidden_size": 48,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "intermediate_size": 192,
        "max_position_embeddings": 64,
        "rotary_pct": 1.0,
        "rotary_emb_base": 10000,
        "use_parallel_residual": False,
        "bos_token_id": 2,
        "eos_token_id": 3,
    },
}


@pytest.mark.parametrize("name", RELEASED)
def test_a_small_copy_of_each_released_model_saved_by_transformers_loads_here(name, tmp_path):
    from transformers import AutoConfig, AutoModelForCausalLM

    settings = dict(RELEASED[name])
    family = settings.pop("model_type")
    config = AutoConfig.for_model(family, **COMMON[family], **settings)
    torch.manual_seed(0)
    AutoModelForCausalLM.from_config(config).save_pretrained(tmp_path)
    ours = equal_to_transformers(tmp_path, vocab=config.vocab_size)
    scaling = ours.config.rotary_scaling
    assert scaling == (4.0 if name.endswith("8k") else 1.0)
    assert ours.config.residual == "sequential"


@pytest.mark.parametrize("spelling", ["both", "rope_parameters", "rope_scaling"])
def test_scaled_rotation_is_read_alike_from_either_spelling(spelling, tmp_path):
    from safetensors.torch import save_file

    shape = SHAPES["gpt_neox-8k"]
    family = find_family("gpt_neox")
    ours = Decoder(shape.decoder(101))
    ours.initialise(seed=2)
    config = family.config_to_disk(ours.config)
    new = ("rope_parameters",)
    old = ("rope_scaling", "rotary_pct", "rotary_emb_base")
    for field in {"both": (), "rope_parameters": old, "rope_scaling": new}[spelling]:
        del config[field]
    assert family.config_from_disk(config) == ours.config
    (tmp_path / "config.json").write_text(json.dumps(config), encoding="utf-8")
    disk = family.to_disk(ours.state_dict(), ours.config)
    save_file(
        {name: tensor.clone() for name, tensor in disk.items()},
        tmp_path / "model.safetensors",
        metadata={"format": "pt"},
    )
    read = equal_to_transformers(tmp_path, vocab=101)
    assert torch.equal(read.cos, ours.cos) and torch.equal(read.sin, ours.sin)


def test_the_last_position_of_a_lengthened_context_has_an_angle_the_short_one_had():
    short = Decoder(GptNeoXShape(layers=1, width=32, heads=2, ffn=32, context=64).decoder(9))
    long = Decoder(
        GptNeoXShape(layers=1, width=32, heads=2, ffn=32, context=256, rotary_scaling=4).decoder(9)
    )
    assert torch.equal(long.cos[::4], short.cos) and torch.equal(long.sin[::4], short.sin)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"rope_scaling": {"type": "dynamic", "factor": 2.0}}, "must be linear with a factor"),
        ({"rope_scaling": {"type": "linear"}}, "must be linear with a factor"),
        ({"rope_parameters": {"rope_type": "yarn", "factor": 2.0}}, "must be linear with a factor"),
        ({"rope_scaling": {"type": "linear", "factor": 2.0}}, "by two factors"),
    ],
)
def test_other_scalings_of_the_rotation_are_refused(change, words):
    family = find_family("gpt_neox")
    config = family.config_to_disk(SHAPES["gpt_neox-8k"].decoder(9))
    with pytest.raises(ArtifactError, match=words):
        family.config_from_disk(config | change)


QWEN3 = {
    "as written": {},
    "as Qwen's own files spell it": {
        "rope_parameters": None,
        "rope_theta": 1000000,
        "rope_scaling": None,
        "sliding_window": None,
        "max_window_layers": 2,
    },
    "with biases": {"attention_bias": True},
    "scaled": {"rope_parameters": {"rope_type": "linear", "factor": 3.0, "rope_theta": 5000.0}},
}


@pytest.mark.parametrize("tied", ["tied", "untied"])
@pytest.mark.parametrize("name", QWEN3)
def test_a_qwen3_saved_by_transformers_loads_here(name, tied, tmp_path):
    from transformers import AutoModelForCausalLM, Qwen3Config

    config = Qwen3Config(
        vocab_size=64,
        hidden_size=40,
        intermediate_size=72,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=16,
        max_position_embeddings=64,
        tie_word_embeddings=tied == "tied",
        **QWEN3[name],
    )
    torch.manual_seed(0)
    AutoModelForCausalLM.from_config(config).save_pretrained(tmp_path)
    if name == "as Qwen's own files spell it":
        file = tmp_path / "config.json"
        content = json.loads(file.read_text(encoding="utf-8"))
        del content["rope_parameters"], content["layer_types"]
        file.write_text(json.dumps(content | QWEN3[name]), encoding="utf-8")
    ours = equal_to_transformers(tmp_path, vocab=64)
    bases = {"scaled": 5000.0, "as Qwen's own files spell it": 1e6}
    assert ours.config.rotary_base == bases.get(name, 10000.0)
    assert ours.config.rotary_scaling == (3.0 if name == "scaled" else 1.0)
    assert (ours.head is None) == (tied == "tied")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"use_sliding_window": True}, "use_sliding_window = True; here it must be False"),
        ({"layer_types": ["full_attention", "sliding_attention"]}, "sliding_attention"),
        ({"hidden_act": "gelu"}, "hidden_act = 'gelu'; here it must be 'silu'"),
        ({"rope_scaling": {"rope_type": "yarn", "factor": 4.0}}, "must be linear with a factor"),
        ({"rope_parameters": {"partial_rotary_factor": 0.5}}, "partial_rotary_factor = 0.5"),
        ({"head_dim": None}, "has no 'head_dim'"),
        ({"num_key_value_heads": None}, "has no 'num_key_value_heads'"),
    ],
)
def test_a_qwen3_that_asks_for_what_we_do_not_do_is_refused(change, words):
    family = find_family("qwen3")
    config = family.config_to_disk(SHAPES["qwen3"].decoder(9)) | change
    config = {name: value for name, value in config.items() if name not in change or value}
    with pytest.raises(ArtifactError, match=words):
        family.config_from_disk(config)


def test_zero_init_makes_every_layer_the_identity_at_first():
    shape = Qwen3Shape(layers=2, width=32, heads=2, ffn=32, context=16, residual_init="zero")
    model = Decoder(shape.decoder(11))
    model.initialise(seed=0)
    tokens = torch.arange(11).view(1, 11)
    expected = model.final_norm(model.embed(tokens))
    torch.testing.assert_close(model(tokens), expected)


def test_a_width_that_heads_do_not_divide_needs_a_head_dim():
    from minna.errors import UsageError

    with pytest.raises(UsageError, match="width 30 is not a multiple of heads 4"):
        Qwen3Shape(layers=1, width=30, heads=4, ffn=32).decoder(9)
    assert Qwen3Shape(layers=1, width=30, heads=4, head_dim=8, ffn=32).decoder(9).head_width == 8


def test_llama_cpp_has_a_name_for_every_tensor_of_the_modern_family():
    gguf = pytest.importorskip("gguf")
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.QWEN3, 2)
    family = find_family("qwen3")
    model = Decoder(SHAPES["qwen3-grouped-wide-heads"].decoder(9))
    disk = family.to_disk(model.state_dict(), model.config)
    assert all(names.get_name(name, try_suffixes=(".weight",)) for name in disk)
