"""wav2vec 2.0's loss is that of transformers; negatives; splitting a step; collapse; on disk."""

from __future__ import annotations

import json
from unittest import mock

import pytest
import torch
from safetensors.torch import save_file
from tests.speech_models import (
    assert_split_is_whole,
    batch,
    encoder,
    gradients,
    learn,
    near,
    rows_of,
    step,
    syllables,
)

from minna.errors import TrainingError, UsageError
from minna.models.weights import speech as disk
from minna.objectives.quantised_contrast import (
    QuantisedContrast,
    QuantisedContrastSettings,
    _asked,
)
from minna.objectives.quantiser import clip_generator, perplexity
from minna.objectives.speech_frames import places_of

transformers = pytest.importorskip("transformers")
SMALL = {"groups": 2, "codes": 6, "code_width": 8, "projected": 10, "negatives": 5}


def objective(*, seed=5, **fields):
    settings = QuantisedContrastSettings(**(SMALL | {"feature_dropout": 0.0} | fields))
    return QuantisedContrast(settings, features=16, width=32, seed=seed)


def theirs(model, made):
    """transformers' model of ours and of what the objective learned."""
    config = disk.config_to_disk(model.config) | made.settings.disk_fields
    known = transformers.Wav2Vec2Config.from_dict(config)
    tensors = disk.pretraining_to_disk(model.state_dict(), made.to_disk(), model.config)
    other, told = transformers.Wav2Vec2ForPreTraining.from_pretrained(
        None, config=known, state_dict=tensors, output_loading_info=True
    )
    assert not any(told.values()), told
    return other


def given_noise(made, given, places):
    """The noise of our quantiser where frames are hidden, as theirs asks for it: [B F G, V]."""
    B, F = given["masked"].shape
    noise = torch.zeros(B * F, SMALL["groups"], SMALL["codes"])
    clips = made._clips(given, _asked(given["masked"]), purpose=0)
    drawn = [-torch.empty(n, 2, 6).exponential_(generator=one).log() for n, one in clips]
    noise[places] = torch.cat(drawn)
    return noise.view(-1, SMALL["codes"])


def test_loss_and_gradients_are_those_of_transformers():
    given = batch([5_000] * 3, full=True)
    model, made = encoder("wav2vec2").train(), objective(feature_gradient=1.0)
    other = theirs(model, made).train()
    asked = given["masked"]
    assert torch.equal(asked, _asked(asked))
    places = places_of(asked)
    noise = given_noise(made, given, places)

    def choose(logits, tau, hard):
        assert hard and tau == 2
        soft = ((logits + noise) / tau).softmax(-1)
        return torch.nn.functional.one_hot(soft.argmax(-1), 6) - soft.detach() + soft

    negatives = torch.zeros(*asked.shape, SMALL["negatives"], dtype=torch.long)
    for row, drawn in enumerate(made.negatives(given, asked)):
        hidden = asked[row].nonzero()[:, 0]
        negatives[row, hidden] = hidden[drawn] + row * asked.shape[1]
    with mock.patch("torch.nn.functional.gumbel_softmax", choose):
        said = other(given["samples"], mask_time_indices=asked, sampled_negative_indices=negatives)
    said.loss.backward()
    sums, _ = made.loss(model, given)
    (sums["loss/contrast"] + 0.1 * sums["loss/diversity"]).backward()
    N = len(places)
    assert sums["loss/contrast"].item() == pytest.approx(said.contrastive_loss.item(), rel=1e-5)
    assert sums["loss/diversity"].item() == pytest.approx(said.diversity_loss.item(), rel=1e-4)
    perplex = sums["codes/soft_perplexity"].item() / N
    assert perplex == pytest.approx(said.codevector_perplexity.item(), rel=1e-4)
    expected = gradients(other)
    bare = {name.removeprefix("wav2vec2."): one for name, one in expected.items()}
    near(gradients(model) | gradients(made), bare)


def test_a_pretraining_folder_is_opened_by_transformers(tmp_path):
    model, made = encoder("wav2vec2").eval(), objective()
    tensors = disk.pretraining_to_disk(model.state_dict(), made.to_disk(), model.config)
    config = disk.config_to_disk(model.config) | made.settings.disk_fields
    (tmp_path / "config.json").write_text(json.dumps(config), encoding="utf-8")
    save_file(
        {name: one.contiguous() for name, one in tensors.items()},
        tmp_path / "model.safetensors",
        metadata={"format": "pt"},
    )
    samples = batch([4_000, 4_000], full=True)["samples"]
    heard = model(samples)
    other = transformers.Wav2Vec2ForPreTraining.from_pretrained(tmp_path).eval()
    said = other(samples)
    torch.testing.assert_close(
        said.projected_states, made.project_hid(heard.hidden), rtol=0, atol=2e-5
    )
    logits = made.quantizer.logits(heard.features.flatten(0, 1), [])
    codes = made.quantizer.codevectors.view(2, 6, 4)[torch.arange(2), logits.argmax(-1)]
    quantised = made.project_q(codes.flatten(1)).view_as(said.projected_quantized_states)
    torch.testing.assert_close(said.projected_quantized_states, quantised, rtol=0, atol=2e-5)
    bare = transformers.Wav2Vec2Model.from_pretrained(tmp_path).eval()
    torch.testing.assert_close(bare(samples).last_hidden_state, heard.hidden, rtol=0, atol=2e-5)
    back = dict(disk.encoder_from_disk(tensors, model.config))
    assert set(back) == set(model.state_dict())
    again = objective(seed=9)
    assert not again.load_state_dict(made.to_disk(), strict=False).unexpected_keys
    assert torch.equal(again.quantizer.codevectors, made.quantizer.codevectors)


def test_negatives_are_other_hidden_frames_of_the_clip_drawn_by_seed_step_and_clip():
    given = batch([6_000, 3_000, 9_000])
    made = objective(negatives=400)
    asked = _asked(given["masked"])
    together = made.negatives(given, asked)
    for row, drawn in enumerate(together):
        hidden = int(asked[row].sum())
        assert drawn.shape == (hidden, 400) and drawn.min() == 0 and drawn.max() == hidden - 1
        assert not (drawn == torch.arange(hidden)[:, None]).any()
        for place in range(hidden):  # every other one is drawn
            assert len(drawn[place].unique()) == hidden - 1
        one = rows_of(given, row, row + 1)
        assert torch.equal(made.negatives(one, _asked(one["masked"]))[0], drawn)
    made.steps += 1
    assert not torch.equal(made.negatives(given, asked)[0], together[0])
    other = objective(negatives=400, seed=6)
    assert not torch.equal(other.negatives(given, asked)[0], together[0])


def test_equal_codes_are_no_negatives():
    given = batch([5_000, 4_000])
    made = objective()
    with torch.no_grad():
        made.quantizer.weight_proj.bias[0] += 1e6
        made.quantizer.weight_proj.bias[6] += 1e6  # all frames take the first code of each group
    terms, _, _ = step(made, encoder("wav2vec2"), [given])
    assert terms["loss/contrast"] == pytest.approx(0, abs=1e-6)
    assert terms["codes/perplexity"] == pytest.approx(2, abs=1e-4)
    assert terms["loss/diversity"] == pytest.approx((12 - 2) / 12, abs=1e-4)


def test_a_clip_with_one_hidden_frame_is_not_asked():
    given = batch([5_000, 4_000])
    given["masked"][1] = False
    given["masked"][1, 3] = True
    hidden = int(given["masked"][0].sum())
    assert objective().counts(given)["loss/contrast"] == hidden
    both, _, _ = step(objective(), encoder("wav2vec2"), [given])
    alone, _, _ = step(objective(), encoder("wav2vec2"), [rows_of(given, 0, 1)])
    assert both["loss/contrast"] == pytest.approx(alone["loss/contrast"], rel=1e-5)


def test_one_batch_of_eight_clips_is_eight_of_one_with_diversity_over_all():
    given = batch([4_000, 2_400, 3_000, 3_500, 2_000, 4_000, 2_222, 3_100])
    make = lambda: (objective(feature_dropout=0.3), encoder("wav2vec2"))  # noqa: E731
    assert_split_is_whole(make, given)
    made, model = make()
    apart = step(made, model, [rows_of(given, 0, 4)])[0]["codes/soft_perplexity"]
    whole = step(made, model, [given])[0]["codes/soft_perplexity"]
    assert abs(apart - whole) > 1e-3  # of half of the step it would be another


def test_diversity_is_the_plain_formula_with_its_gradient():
    shares = torch.tensor([[0.7, 0.2, 0.1], [1.0, 0.0, 0.0]], dtype=torch.float64)
    entropy = -(shares * shares.clamp_min(1e-30).log()).sum(1)
    assert perplexity(shares).item() == pytest.approx(entropy.exp().sum().item(), abs=1e-5)
    uniform = torch.full((2, 320), 1 / 320)
    assert perplexity(uniform).item() == pytest.approx(640, rel=1e-4)


def test_the_choice_of_codes_cools_and_goes_on_after_a_restart():
    made = objective(temperature=2.0, temperature_decay=0.9, temperature_end=1.5)
    seen = []
    for _ in range(4):
        seen.append(made.temperature)
        made.after_step(None)
    assert seen == pytest.approx([2.0, 1.8, 1.62, 1.5])
    again = objective(temperature=2.0, temperature_decay=0.9, temperature_end=1.5)
    again.load_state_dict(made.state_dict())
    assert again.temperature == made.temperature and int(again.steps) == 4
    first, second = (
        torch.rand(3, generator=clip_generator(1, s, 2, purpose=0, device=torch.device("cpu")))
        for s in (0, 1)
    )
    assert not torch.equal(first, second)


def test_collapsed_codes_stop_the_run():
    given = batch([3_000, 3_000], full=True)
    made, model = objective(patience=3), encoder("wav2vec2")
    step(made, model, [given])
    made.after_step(model)
    with torch.no_grad():
        made.quantizer.weight_proj.bias[0] += 1e6
        made.quantizer.weight_proj.bias[6] += 1e6
    with pytest.raises(TrainingError, match=r"perplexity .* is 2 at step 4, and below 2.5 for 3"):
        for _ in range(4):
            step(made, model, [given])
            made.after_step(model)


def test_groups_divide_the_width_of_codes():
    with pytest.raises(UsageError, match="code_width 8 is not a multiple of groups 3"):
        QuantisedContrastSettings(**(SMALL | {"groups": 3}))


def test_frames_of_toy_speech_are_told_apart():
    given = syllables(6)
    torch.manual_seed(0)
    settings = QuantisedContrastSettings(codes=8, code_width=16, projected=16, negatives=10)
    made = QuantisedContrast(settings, features=16, width=32)
    told = learn(made, encoder("wav2vec2"), [given], steps=60)
    assert told[-1]["loss/contrast"] < 0.75 * told[0]["loss/contrast"]
    assert told[-1]["contrast/accuracy"] > 1.5 * told[0]["contrast/accuracy"]
    assert told[-1]["codes/perplexity"] > 3
