"""Encoders of speech: the numbers of transformers, alone as in a batch, both ways on disk."""

from __future__ import annotations

import copy
import functools
import itertools
import json
import re

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from tests.speech_models import MODES, batch, but, encoder, noise, recogniser, shape

from minna.errors import ArtifactError, DataError, UsageError
from minna.models.speech import config as shapes
from minna.models.speech import convolutions
from minna.models.speech.blocks import SpeechBlock
from minna.models.speech.config import KERNELS, STRIDES, SpeechConfig, frames_of
from minna.models.speech.convolutions import by_fourier, normalised
from minna.models.speech.encoder import PARTS, SHARD_UNITS, SpeechEncoder
from minna.models.trainable import set_trainable
from minna.models.weights import speech as disk

transformers = pytest.importorskip("transformers")


def theirs(kind, config, state):
    """A model of transformers on a state dict of its own names, nothing of it missing or left."""
    start = disk.CLASSES[config.family]
    known = getattr(transformers, f"{start}Config").from_dict(disk.config_to_disk(config))
    model, told = getattr(transformers, f"{start}{kind}").from_pretrained(
        None, config=known, state_dict=dict(state), output_loading_info=True
    )
    assert not any(told.values()), told
    return model.eval()


def test_frames_are_those_of_seven_convolutions():
    samples = torch.arange(400, 60_001)
    count = samples
    for kernel, stride in zip(KERNELS, STRIDES, strict=True):
        count = (count - kernel) // stride + 1
    assert torch.equal(frames_of(samples), count)
    assert [frames_of(n) for n in (0, 399, 400, 719, 720, 60_000)] == [0, 0, 1, 1, 2, 187]
    assert frames_of(torch.tensor([0, 399, 400])).tolist() == [0, 0, 1]


@functools.cache
def small():
    return encoder(layers=1).eval()


@settings(deadline=None, max_examples=20)
@given(st.integers(400, 6_000))
def test_an_encoder_says_as_many_frames(samples):
    model = small()
    heard = model(noise(1, samples), upto=0)
    assert heard.hidden.shape[1] == model.frames(samples) == int(heard.frames[0])


@pytest.mark.parametrize("mode", MODES)
def test_hidden_states_are_those_of_transformers(mode):
    ours = encoder(mode, audio="as_recorded").eval()
    other = theirs("Model", ours.config, disk.encoder_to_disk(ours.state_dict())).double()
    ours, samples = ours.double(), normalised(noise(2, 5_000).double(), None)
    with torch.no_grad():
        heard = ours(samples, kept="all")
        said = other(samples, output_hidden_states=True)
    torch.testing.assert_close(heard.hidden, said.last_hidden_state, rtol=0, atol=1e-10)
    assert len(heard.layers) == ours.config.layers + 1
    for mine, his in zip(heard.layers, said.hidden_states, strict=True):
        torch.testing.assert_close(mine, his, rtol=0, atol=1e-10)
    for count in range(ours.config.layers + 1):
        some = ours(samples, upto=count).hidden
        if 0 < count < ours.config.layers:
            torch.testing.assert_close(some, heard.layers[count], rtol=0, atol=1e-12)
    assert torch.equal(ours(samples, upto=0).hidden, heard.projected)


@pytest.mark.parametrize("mode", ["wav2vec2", "hubert-large"])
def test_gradients_with_hidden_frames_are_those_of_transformers(mode):
    ours = encoder(mode, audio="as_recorded").train()
    other = theirs("Model", ours.config, disk.encoder_to_disk(ours.state_dict())).train().double()
    ours, masked = ours.double(), batch([6_000, 6_000])["masked"]
    samples = normalised(noise(2, 6_000).double(), None)
    ours(samples, masked_BF=masked).hidden.square().sum().backward()
    other(samples, mask_time_indices=masked).last_hidden_state.square().sum().backward()
    expected = dict(other.named_parameters())
    for name, parameter in ours.named_parameters():
        gradient = expected[name].grad
        torch.testing.assert_close(parameter.grad, gradient, rtol=1e-8, atol=1e-10, msg=name)


@pytest.mark.parametrize("mode", MODES)
def test_a_clip_says_the_same_alone_and_in_a_batch(mode):
    model = encoder(mode).eval()
    given = batch([7_000, 2_345, 3_333])
    masked = given["masked"]
    with torch.no_grad():
        together = model(given["samples"], given["lengths"], masked_BF=masked, kept="all")
        given["samples"][1, 2_345:] = 7.0  # what lies there is nobody's
        again = model(given["samples"], given["lengths"], masked_BF=masked)
        for row, length in enumerate(given["lengths"].tolist()):
            frames = frames_of(length)
            alone = model(
                given["samples"][row : row + 1, :length],
                masked_BF=masked[row : row + 1, :frames],
                kept="all",
            )
            assert int(together.frames[row]) == frames
            for name in ("hidden", "features", "raw", "projected"):
                expected = getattr(alone, name)[0]
                found = getattr(together, name)[row, :frames]
                torch.testing.assert_close(found, expected, rtol=0, atol=2e-5)
                torch.testing.assert_close(
                    getattr(again, name)[row, :frames], expected, rtol=0, atol=2e-5
                )
            for mine, its in zip(together.layers, alone.layers, strict=True):
                torch.testing.assert_close(mine[row, :frames], its[0], rtol=0, atol=2e-5)


@pytest.mark.parametrize(("mode", "apart"), [("hubert", 1e-2), ("data2vec", 1e-3)])
def test_transformers_lets_padding_into_the_group_norm_and_into_places(mode, apart):
    ours = encoder(mode).eval()
    other = theirs("Model", ours.config, disk.encoder_to_disk(ours.state_dict()))
    samples = normalised(noise(2, 6_000), None)
    samples[1, 2_000:] = 0
    seen = torch.arange(6_000) < torch.tensor([[6_000], [2_000]])
    with torch.no_grad():
        together = other(samples, attention_mask=seen.long()).last_hidden_state[1, :6]
        alone = other(samples[1:, :2_000]).last_hidden_state[0]
    assert (together - alone).abs().max() > apart


def test_places_by_fourier_are_those_of_the_convolution_with_their_gradients():
    for frames, width, groups, kernel in ((1, 8, 2, 128), (50, 24, 4, 128), (130, 8, 8, 33)):
        x = torch.randn(3, frames, width, dtype=torch.float64, requires_grad=True)
        weight = torch.randn(
            width, width // groups, kernel, dtype=torch.float64, requires_grad=True
        )
        push = torch.randn(3, frames, width, dtype=torch.float64)
        plain = F.conv1d(x.transpose(1, 2), weight, padding=kernel // 2, groups=groups)
        expected = plain[:, :, :frames].transpose(1, 2)
        found = by_fourier(x, weight, groups=groups, padding=kernel // 2)
        torch.testing.assert_close(found, expected)
        torch.testing.assert_close(
            torch.autograd.grad(found, (x, weight), push),
            torch.autograd.grad(expected, (x, weight), push),
        )


def test_the_way_back_by_products_is_that_of_the_convolution():
    for steps, kernel, stride in (
        (8, 3, 2),
        (9, 3, 2),
        (9, 2, 2),
        (7, 2, 2),
        (23, 10, 5),
        (4, 3, 1),
    ):
        x = torch.randn(3, steps, 6, dtype=torch.float64, requires_grad=True)
        weight = torch.randn(5, 6, kernel, dtype=torch.float64, requires_grad=True)
        expected = F.conv1d(x.transpose(1, 2), weight, stride=stride).transpose(1, 2)
        found = convolutions._Strided.apply(x, weight, stride)
        torch.testing.assert_close(found, expected)
        push = torch.randn_like(expected)
        torch.testing.assert_close(
            torch.autograd.grad(found, (x, weight), push),
            torch.autograd.grad(expected, (x, weight), push),
        )


@pytest.mark.parametrize("bias", [False, True])
def test_norm_within_the_first_convolution_is_that_behind_it(bias):
    model = encoder(conv_bias=bias).double()
    layer = model.feature_extractor.conv_layers[0]
    windows = noise(2, 3_000).double().unfold(1, 10, 5)
    conv, norm = layer.conv, layer.layer_norm
    for steps in (None, [599, 211]):
        heard = F.linear(windows, conv.weight[:, 0], conv.bias)
        rows = zip(heard, steps or [599] * 2, strict=True)
        pieces = [norm(row[None, :n].transpose(1, 2))[0].T for row, n in rows]
        expected = torch.nn.utils.rnn.pad_sequence(pieces, batch_first=True)
        found = convolutions._heard_and_normed(windows, layer, steps)
        torch.testing.assert_close(found, expected)
        push, learn = torch.randn_like(expected), [*conv.parameters(), *norm.parameters()]
        torch.testing.assert_close(
            torch.autograd.grad(found, learn, push), torch.autograd.grad(expected, learn, push)
        )


def test_convolutions_learn_at_a_fraction():
    samples = noise(2, 4_000)
    grads = {}
    for factor in (1.0, 0.1, 0.0):
        model = encoder()
        model(samples, feature_gradient=factor).hidden.square().sum().backward()
        grads[factor] = {name: one.grad for name, one in model.named_parameters()}
    for name, whole in grads[1.0].items():
        if name.startswith("feature_extractor."):
            torch.testing.assert_close(grads[0.1][name], 0.1 * whole)
            assert grads[0.0][name] is None
        elif name != "masked_spec_embed":
            torch.testing.assert_close(grads[0.1][name], whole)
            torch.testing.assert_close(grads[0.0][name], whole)


def test_hidden_frames_and_channels():
    model = encoder().eval()
    samples = noise(2, 4_000)
    masked = torch.zeros(2, 12, dtype=torch.bool)
    masked[0, 3:7] = True
    channels = torch.zeros(2, 32, dtype=torch.bool)
    channels[1, 5:20] = True
    seen = model(samples, upto=0).hidden
    heard = model(samples, masked_BF=masked, channels_BD=channels, upto=0).hidden
    assert torch.equal(heard[0, 3:7], model.masked_spec_embed.expand(4, 32))
    assert torch.equal(heard[1][:, channels[1]], torch.zeros(12, 15))
    assert torch.equal(heard[1][:, ~channels[1]], seen[1][:, ~channels[1]])
    assert torch.equal(heard[0][~masked[0]], seen[0][~masked[0]])


def test_audio_is_normalised_as_by_transformers():
    quiet = [noise(1, n, seed=n)[0] * 0.3 + 0.2 for n in (3_000, 1_000)]
    prepare = transformers.Wav2Vec2FeatureExtractor.from_dict(disk.preprocessor(shape("data2vec")))
    given = prepare(
        [one.numpy() for one in quiet], sampling_rate=16_000, padding=True, return_tensors="pt"
    )
    padded = torch.nn.utils.rnn.pad_sequence(quiet, batch_first=True)
    found = normalised(padded, [3_000, 1_000])
    torch.testing.assert_close(found, given["input_values"], rtol=0, atol=1e-5)
    assert torch.equal(normalised(torch.full((1, 400), 0.3), None), torch.zeros(1, 400))
    model = encoder("data2vec").eval()
    lengths = torch.tensor([3_000, 1_000])
    loud = model(padded * 3 + 0.1, lengths).hidden
    torch.testing.assert_close(loud, model(found, lengths).hidden, rtol=0, atol=1e-3)
    assert encoder("hubert").config.audio == "as_recorded"
    assert disk.preprocessor(shape("hubert"))["do_normalize"] is False


@pytest.mark.parametrize("how", ["selective", "full"])
def test_what_is_computed_again_gives_the_same_gradients(how):
    plain, again = encoder("hubert-large"), encoder("hubert-large")
    again.checkpointing = how
    for model in (plain, again):
        model.train()(noise(2, 3_000)).hidden.square().sum().backward()
    for name, parameter in plain.named_parameters():
        if parameter.grad is not None:
            torch.testing.assert_close(dict(again.named_parameters())[name].grad, parameter.grad)


def test_a_skipped_block_does_nothing_and_only_in_training():
    model = encoder(layer_drop=0.9, layers=3)
    samples = noise(1, 2_000)
    torch.manual_seed(0)
    skipped = [_unchanged(model.train()(samples, kept="all").layers) for _ in range(30)]
    assert 0.8 < np.mean(skipped) < 0.99
    assert not any(_unchanged(model.eval()(samples, kept="all").layers))


def test_among_ranks_a_skipped_block_is_run_and_thrown_away(monkeypatch):
    model = encoder(layer_drop=0.9, layers=3).train()
    monkeypatch.setattr("minna.models.speech.blocks.dist.is_initialized", lambda: True)
    torch.manual_seed(0)
    heard = model(noise(1, 2_000), kept="all")
    heard.hidden.square().sum().backward()
    unchanged = _unchanged(heard.layers)
    assert any(unchanged)
    for block, skipped in zip(model.encoder.layers, unchanged, strict=True):
        gradient = block.attention.v_proj.weight.grad
        assert gradient is not None and bool(gradient.any()) == (not skipped)


def _unchanged(layers):
    return [torch.equal(one, other) for one, other in itertools.pairwise(layers)]


def test_bf16_is_near_fp32():
    model = encoder(width=64, position_groups=4).eval()
    samples = noise(2, 8_000)
    with torch.no_grad():
        exact = model(samples).hidden
        with torch.autocast("cpu", dtype=torch.bfloat16):
            rounded = model(samples).hidden.float()
    assert float((exact - rounded).abs().mean() / exact.abs().mean()) < 0.03


def test_published_shapes_have_the_published_sizes():
    with torch.device("meta"):
        sizes = {
            name: sum(one.numel() for one in SpeechEncoder(made).parameters())
            for name, made in {
                "base": shapes.base("hubert"),
                "large": shapes.large("wav2vec2"),
                "data2vec": shapes.base("data2vec-audio"),
                "laptop": shapes.laptop("hubert"),
            }.items()
        }
    assert sizes["base"] == 94_371_712
    assert sizes["large"] == 315_438_720  # as transformers counts Wav2Vec2Model of that shape
    assert sizes["data2vec"] == 93_164_288
    assert sizes["laptop"] == 1_919_104


def test_fresh_weights_are_drawn_as_published_and_leave_other_draws_alone():
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    made = SpeechEncoder(
        SpeechConfig(
            family="wav2vec2",
            layers=1,
            width=128,
            heads=4,
            ffn=256,
            conv_widths=(64,) * 7,
            conv_bias=True,
        )
    )
    made.initialise(seed=1)
    assert torch.equal(torch.rand(3), expected)
    state = made.state_dict()
    assert state["feature_extractor.conv_layers.1.conv.weight"].std() == pytest.approx(
        (2 / (64 * 3)) ** 0.5, rel=0.03
    )
    places = made.encoder.pos_conv_embed.conv
    assert float(places.weight.detach().std()) == pytest.approx((4 / (128 * 128)) ** 0.5, rel=0.03)
    torch.testing.assert_close(places.weight, places.parametrizations.weight.original1)
    for part in ("attention.q_proj", "feed_forward.output_dense"):
        weight = state[f"encoder.layers.0.{part}.weight"]
        assert weight.std() == pytest.approx(0.02, rel=0.03)
        assert not state[f"encoder.layers.0.{part}.bias"].any()
    bound = 64**-0.5
    assert bound * 0.98 < state["feature_projection.projection.weight"].abs().max() < bound
    assert 0 <= made.masked_spec_embed.min() < 0.1 < 0.9 < made.masked_spec_embed.max() < 1
    other = copy.deepcopy(made)
    other.initialise(seed=2)
    assert not torch.equal(other.masked_spec_embed, made.masked_spec_embed)
    other.initialise(seed=1)
    for name, tensor in other.state_dict().items():
        assert torch.equal(tensor, state[name]), name


@pytest.mark.parametrize("mode", MODES)
def test_a_config_is_read_back_as_it_was_written(mode):
    made = shape(mode, dropout=0.3, head_dropout=0.2, position_groups=4, vocab=12)
    content = json.loads(json.dumps(disk.config_to_disk(made)))
    assert disk.config_from_disk(content) == made
    assert disk.config_from_disk({**content, "architectures": ["X"]}) == but(made, vocab=None)
    start = disk.CLASSES[made.family]
    known = getattr(transformers, f"{start}Config").from_dict(content).to_dict()
    assert disk.config_from_disk(known) == made  # transformers' own file, our key kept


@pytest.mark.parametrize(
    "fields",
    [
        {"model_type": "whisper"},
        {"conv_kernel": [10, 3, 3, 3, 3, 3, 3]},
        {"hidden_act": "relu"},
        {"pad_token_id": 3},
        {"add_adapter": True},
        {"hidden_size": None},
    ],
)
def test_another_network_is_refused(fields):
    content = disk.config_to_disk(shape(vocab=9)) | fields
    with pytest.raises(ArtifactError):
        disk.config_from_disk({key: one for key, one in content.items() if one is not None})


@pytest.mark.parametrize(
    "fields",
    [
        {"heads": 3},
        {"conv_widths": (16,) * 6},
        {"position_layers": 2},
        {"position_groups": 5},
        {"family": "data2vec-audio", "conv_norm": "group"},
        {"family": "data2vec-audio", "block_norm": "pre"},
    ],
)
def test_shapes_that_cannot_be_are_refused(fields):
    with pytest.raises(UsageError):
        shape(**fields)


@pytest.mark.parametrize("mode", MODES)
def test_an_encoder_goes_to_a_folder_and_back(mode, tmp_path):
    ours = encoder(mode, audio="as_recorded").eval()
    samples = normalised(noise(1, 3_000), None)
    expected = ours(samples).hidden
    _write(tmp_path / "ours", disk.config_to_disk(ours.config), ours.state_dict())
    kind = getattr(transformers, f"{disk.CLASSES[ours.config.family]}Model")
    other = kind.from_pretrained(tmp_path / "ours").eval()
    torch.testing.assert_close(other(samples).last_hidden_state, expected, rtol=0, atol=2e-5)
    other.save_pretrained(tmp_path / "theirs")
    state = load_file(tmp_path / "theirs" / "model.safetensors")
    for told in (state, disk.encoder_to_disk(ours.state_dict())):  # newer and older spelling
        back = dict(disk.encoder_from_disk(dict(told), ours.config))
        for name, tensor in ours.state_dict().items():
            assert torch.equal(back[name], tensor), name


def _write(folder, config, state, *, rename=disk.encoder_to_disk):
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    tensors = {name: one.contiguous() for name, one in rename(state).items()}
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


@pytest.mark.parametrize("mode", ["hubert", "wav2vec2-large", "data2vec"])
def test_a_recogniser_goes_to_a_folder_and_back(mode, tmp_path):
    ours = recogniser(mode, audio="as_recorded").eval()
    config = ours.config
    samples = normalised(noise(1, 3_000), None)
    _write(
        tmp_path / "ours",
        disk.config_to_disk(config),
        ours.state_dict(),
        rename=lambda state: disk.recogniser_to_disk(state, config),
    )
    kind = getattr(transformers, f"{disk.CLASSES[config.family]}ForCTC")
    other = kind.from_pretrained(tmp_path / "ours").eval()
    said = ours(samples).logits
    torch.testing.assert_close(other(samples).logits, said, rtol=0, atol=2e-5)
    assert other.config.pad_token_id == 0 and other.config.ctc_zero_infinity
    other.save_pretrained(tmp_path / "theirs")
    state = load_file(tmp_path / "theirs" / "model.safetensors")
    back = dict(disk.recogniser_from_disk(dict(state), config))
    for name, tensor in ours.state_dict().items():
        assert torch.equal(back[name], tensor), name
    body = dict(disk.encoder_from_disk(state, config))  # of Meta's fine-tuned ones too
    assert set(body) == set(ours.body.state_dict())


def test_weights_that_do_not_fit_are_refused_and_a_missing_vector_is_told(capsys):
    model = encoder()
    state = disk.encoder_to_disk(model.state_dict())
    with pytest.raises(ArtifactError, match=r"no tensor 'encoder.layer_norm.weight'"):
        left = {key: one for key, one in state.items() if key != "encoder.layer_norm.weight"}
        list(disk.encoder_from_disk(left, model.config))
    with pytest.raises(ArtifactError, match="unknown"):
        list(disk.encoder_from_disk({**state, "encoder.layers.2.x": torch.ones(1)}, model.config))
    state.pop("masked_spec_embed")
    told = dict(disk.encoder_from_disk(state, model.config))
    assert told["masked_spec_embed"].shape == (32,)
    assert "masked_spec_embed" in capsys.readouterr().err


def test_a_clip_shorter_than_a_frame_is_refused():
    with pytest.raises(DataError, match="399 samples"):
        encoder()(noise(2, 800), torch.tensor([800, 399]))


def test_short_names_find_their_parts():
    model = recogniser()
    frozen = set_trainable(model, patterns={PARTS["encoder"]: False})
    assert all(name.startswith("body.") for name in frozen)
    assert [name for name, one in model.named_parameters() if one.requires_grad] == [
        "lm_head.weight",
        "lm_head.bias",
    ]
    units = [one for name, one in model.named_modules() if re.search(SHARD_UNITS, name)]
    assert len(units) == 2 and all(isinstance(one, SpeechBlock) for one in units)


def test_operations_of_a_frame():
    model = encoder()
    often = (64, 32, 16, 8, 4, 2, 1)
    convolutions = sum(
        count * layer.conv.weight.numel()
        for count, layer in zip(often, model.feature_extractor.conv_layers, strict=True)
    )
    blocks = 2 * (4 * 32 * 32 + 2 * 32 * 48)
    places = 32 * 2 * 128 + 128
    rest = blocks + places + 16 * 32
    attention = 12 * 2 * 32 * 100
    found = model.flops_per_token(row_tokens=100)
    assert found == 6 * (convolutions + rest) + attention
    set_trainable(model, patterns={PARTS["convolutions"]: False})
    assert model.flops_per_token(row_tokens=100) == found - 4 * convolutions
