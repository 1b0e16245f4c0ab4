"""Folders of encoders and recognisers: transformers opens them and says the same."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import load_file
from tests.speech_models import encoder, noise, recogniser

from minna.export.files import ExportSettings
from minna.export.speech import write_speech
from minna.models.weights.speech import CLASSES, PRETRAINING
from minna.objectives.masked_clusters import MaskedClusters, MaskedClustersSettings
from minna.objectives.quantised_contrast import QuantisedContrast, QuantisedContrastSettings
from minna.objectives.self_distillation import SelfDistillation, SelfDistillationSettings

transformers = pytest.importorskip("transformers")
CODES = QuantisedContrastSettings(codes=6, code_width=8, projected=10)


def learned(mode, model):
    if mode.startswith("hubert"):
        return MaskedClusters(MaskedClustersSettings(clusters=7, projected=12), width=32)
    if mode == "data2vec":
        return SelfDistillation(SelfDistillationSettings(), model=model)
    return QuantisedContrast(CODES, features=16, width=32)


@pytest.mark.parametrize("mode", ["hubert", "hubert-large", "wav2vec2", "data2vec"])
def test_an_encoder_with_what_was_learned_beside_it(mode, tmp_path):
    model = encoder(mode).eval()
    beside = learned(mode, model).to_disk()
    fields = CODES.disk_fields if mode == "wav2vec2" else None
    write_speech(tmp_path, model, settings=ExportSettings(), beside=beside, fields=fields)
    prepare = transformers.AutoFeatureExtractor.from_pretrained(tmp_path)
    samples = noise(1, 3_000) * 5
    given = prepare(samples[0].numpy(), sampling_rate=16_000, return_tensors="pt").input_values
    start = CLASSES[model.config.family]
    other = getattr(transformers, f"{start}Model").from_pretrained(tmp_path).eval()
    torch.testing.assert_close(
        other(given).last_hidden_state, model(samples).hidden, rtol=0, atol=5e-5
    )
    kept = load_file(tmp_path / PRETRAINING)
    assert set(kept) == set(beside) and all(torch.equal(kept[name], beside[name]) for name in kept)
    if mode == "wav2vec2":
        whole, told = transformers.Wav2Vec2ForPreTraining.from_pretrained(
            tmp_path, output_loading_info=True
        )
        assert not any(told.values()), told
        assert torch.equal(whole.quantizer.codevectors, beside["quantizer.codevectors"])


@pytest.mark.parametrize("mode", ["hubert", "data2vec"])
def test_a_recogniser(mode, tmp_path):
    model = recogniser(mode).eval()
    write_speech(tmp_path, model, settings=ExportSettings(dtype="bfloat16"))
    other, told = transformers.AutoModelForCTC.from_pretrained(
        tmp_path, output_loading_info=True, dtype=torch.float32
    )
    assert not any(told.values()), told
    samples = noise(1, 3_000) * 5
    prepare = transformers.AutoFeatureExtractor.from_pretrained(tmp_path)
    given = prepare(samples[0].numpy(), sampling_rate=16_000, return_tensors="pt").input_values
    said = model(samples).logits
    near = other.eval()(given).logits
    assert (near - said).abs().mean() < 0.02 * said.abs().mean()
    assert not (tmp_path / PRETRAINING).exists()
