"""A tiny model dir, as transformers would write it, and a tokenizer trained on a few sentences."""

from __future__ import annotations

import json
import shutil

import pytest
import sentencepiece
import torch
from safetensors.torch import save_file
from tests.machine import NO_KERNELS, WITHOUT_KERNELS

from minna.models import Decoder, find_family
from minna.models.family import Gpt2Shape, GptNeoXShape, LlamaShape, Qwen2Shape, Qwen3Shape
from minna.native.build import library

TEXT = """吾輩は猫である。名前はまだ無い。
どこで生れたかとんと見当がつかぬ。
何でも薄暗いじめじめした所でニャーニャー泣いていた事だけは記憶している。
吾輩はここで始めて人間というものを見た。
しかもあとで聞くとそれは書生という人間中で一番獰悪な種族であったそうだ。
この書生というのは時々我々を捕えて煮て食うという話である。
The quick brown fox jumps over the lazy dog.
"""
SHAPES = {
    "gpt2": Gpt2Shape(layers=2, width=32, heads=2, ffn=64, context=96, dropout=0.0),
    "gpt_neox": GptNeoXShape(layers=2, width=48, heads=3, ffn=96, context=96),
    "llama": LlamaShape(layers=2, width=48, heads=4, kv_heads=2, ffn=64, context=96),
    "qwen2": Qwen2Shape(layers=2, width=48, heads=4, kv_heads=1, ffn=64, context=96),
    "qwen3": Qwen3Shape(layers=2, width=40, heads=4, kv_heads=2, head_dim=16, ffn=64, context=96),
}
PADDED_ROWS = 19


@pytest.fixture(scope="session")
def tokenizer_file(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tokenizer")
    corpus = folder / "text.txt"
    corpus.write_text(TEXT, encoding="utf-8")
    sentencepiece.SentencePieceTrainer.train(
        input=str(corpus),
        model_prefix=str(folder / "tokenizer"),
        vocab_size=380,
        model_type="bpe",
        byte_fallback=True,
        character_coverage=0.98,
        pad_id=3,
        normalization_rule_name="identity",
        add_dummy_prefix=False,
        remove_extra_whitespaces=False,
        minloglevel=2,
    )
    return folder / "tokenizer.model"


def write_model(path, shape, tokenizer_file, *, seed=0, scale=0.3, vocab=380 + PADDED_ROWS):
    """A model dir with random weights, large enough that logits differ clearly."""
    path.mkdir(parents=True, exist_ok=True)
    family = find_family(shape.family)
    decoder = Decoder(shape.decoder(vocab))
    decoder.initialise(seed=seed)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in decoder.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator) * scale)
    state = {
        k: v.contiguous() for k, v in family.to_disk(decoder.state_dict(), decoder.config).items()
    }
    save_file(state, path / "model.safetensors", metadata={"format": "pt"})
    config = family.config_to_disk(decoder.config) | {"bos_token_id": 1, "eos_token_id": 2}
    (path / "config.json").write_text(json.dumps(config), encoding="utf-8")
    (path / "generation_config.json").write_text('{"eos_token_id": 2}', encoding="utf-8")
    shutil.copy(tokenizer_file, path / "tokenizer.model")
    return path


@pytest.fixture(scope="session")
def model_dirs(tmp_path_factory, tokenizer_file):
    root = tmp_path_factory.mktemp("models")
    return {name: write_model(root / name, shape, tokenizer_file) for name, shape in SHAPES.items()}


@pytest.fixture(scope="session")
def models(model_dirs):
    from minna.runtime import load_model

    return {name: load_model(path, device="cpu", dtype="fp32") for name, path in model_dirs.items()}


@pytest.fixture(params=SHAPES)
def model(request, models):
    return models[request.param]


@pytest.fixture
def kernels():
    """Our kernels; a test of them is skipped where they cannot be built."""
    if WITHOUT_KERNELS:
        pytest.skip(NO_KERNELS)


@pytest.fixture
def no_kernels(monkeypatch):
    """A machine without our kernels."""
    monkeypatch.setenv("MINNA_KERNELS", "torch")
    library.cache_clear()
    yield
    library.cache_clear()


@pytest.fixture
def only_fp64_on_the_host(monkeypatch):
    """A device without fp64, as Apple's GPUs are; the list holds what was brought to the host."""
    brought = []
    to_host, double = torch.Tensor.cpu, torch.Tensor.double

    def cpu(tensor):
        brought.append(to_host(tensor))
        return brought[-1]

    def checked(tensor):
        assert any(tensor is known for known in brought), "the device has no float64"
        return double(tensor)

    monkeypatch.setattr(torch.Tensor, "cpu", cpu)
    monkeypatch.setattr(torch.Tensor, "double", checked)
    return brought
