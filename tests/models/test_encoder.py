"""RoBERTa: transformers' logits on the same weights, both ways, and rinna's own folder."""

from __future__ import annotations

import json

import pytest
import torch
from safetensors.torch import save_file

from minna.errors import ArtifactError, UsageError
from minna.models.encoder import EncoderConfig
from minna.models.family import RobertaShape, build, find_family

FAMILY = find_family("roberta")
SHAPE = RobertaShape(layers=2, width=32, heads=4, ffn=48, context=20, dropout=0.0)


def random_encoder(shape=SHAPE, vocab=61):
    torch.manual_seed(0)
    model = build(shape, vocab=vocab).eval()
    model.initialise(seed=1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    return model


def test_the_logits_are_those_of_transformers():
    transformers = pytest.importorskip("transformers")
    ours = random_encoder()
    config = transformers.RobertaConfig(**FAMILY.config_to_disk(ours.config))
    theirs = transformers.RobertaForMaskedLM(config).eval()
    theirs.load_state_dict(FAMILY.to_disk(ours.state_dict(), ours.config), strict=False)
    tokens = torch.randint(7, 61, (3, 20))
    positions = torch.arange(20).expand(3, 20)
    with torch.no_grad():
        expected = theirs(tokens, position_ids=positions).logits
        torch.testing.assert_close(ours.logits(ours(tokens)), expected, rtol=0, atol=1e-5)


def test_transformers_own_weights_come_in_and_go_out_as_they_were():
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(3)
    config = transformers.RobertaConfig(**FAMILY.config_to_disk(random_encoder().config))
    theirs = transformers.RobertaForMaskedLM(config).eval().state_dict()
    shape = FAMILY.config_from_disk(config.to_dict())
    ours = dict(FAMILY.from_disk(dict(theirs), shape))
    back = FAMILY.to_disk(ours, shape)
    assert {name for name in theirs if "decoder" not in name} == set(back)
    assert all(torch.equal(back[name], theirs[name]) for name in back)


@pytest.mark.parametrize("keep", ["selective", "full"])
def test_gradients_are_the_same_whatever_is_kept(keep):
    tokens = torch.randint(7, 61, (3, 20))
    found = []
    for how in ("none", keep):
        model = random_encoder().train()
        model.checkpointing = how
        model.logits(model(tokens)).square().sum().backward()
        found.append({name: p.grad for name, p in model.named_parameters()})
    for name, gradient in found[0].items():
        torch.testing.assert_close(found[1][name], gradient, msg=name)


def test_a_missing_tensor_and_another_activation_are_refused():
    model = random_encoder()
    disk = FAMILY.to_disk(model.state_dict(), model.config)
    del disk["lm_head.bias"]
    with pytest.raises(ArtifactError, match=r"lm_head\.bias"):
        dict(FAMILY.from_disk(disk, model.config))
    with pytest.raises(ArtifactError, match="hidden_act"):
        FAMILY.config_from_disk({**FAMILY.config_to_disk(model.config), "hidden_act": "relu"})
    with pytest.raises(UsageError, match="not a multiple"):
        EncoderConfig(vocab=9, context=4, position_rows=4, layers=1, width=10, heads=4, ffn=8)


def test_rinnas_folder_fills_gaps_with_its_own_ids(tmp_path, shared_data):
    from minna.runtime.fill import encode_masked, fill, is_masked, load_masked

    model = random_encoder(vocab=32000)
    content = FAMILY.config_to_disk(model.config)
    (tmp_path / "config.json").write_text(json.dumps(content), encoding="utf-8")
    disk = FAMILY.to_disk(model.state_dict(), model.config)
    disk["roberta.embeddings.position_ids"] = torch.arange(22).unsqueeze(0)
    save_file(disk, tmp_path / "model.safetensors", metadata={"format": "pt"})
    spiece = shared_data / "rinna" / "google_sp.model"
    (tmp_path / "spiece.model").write_bytes(spiece.read_bytes())
    lower = json.dumps({"do_lower_case": True})
    (tmp_path / "tokenizer_config.json").write_text(lower, encoding="utf-8")
    assert is_masked(tmp_path)
    encoder, words = load_masked(tmp_path)
    ids = encode_masked(words, "4年に1度[MASK]は開かれる。")
    assert ids == [4, 1602, 44, 24, 368, 6, 11, 21583, 8]
    (found,) = fill(encoder, words, ["4年に1度[MASK]は開かれる。"], top=3)
    assert len(found.places) == 1 and len(found.places[0]) == 3
    with torch.no_grad():
        chances = encoder.logits(encoder(torch.tensor([ids])))[0, 5].softmax(-1)
    best = found.places[0][0]
    assert best.id == int(chances.argmax()) and best.probability == pytest.approx(
        float(chances.max()), rel=1e-5
    )
    with pytest.raises(UsageError, match="no \\[MASK\\]"):
        fill(encoder, words, ["4年に1度"])
    with pytest.raises(UsageError, match="reads 20"):
        fill(encoder, words, ["[MASK]" * 30])
