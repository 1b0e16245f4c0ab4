"""data2vec's targets and loss against plain ones in float64; the teacher; padding; collapse."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from tests.speech_models import (
    assert_split_is_whole,
    batch,
    encoder,
    gradients,
    learn,
    near,
    step,
    syllables,
)

from minna.errors import TrainingError
from minna.models.weights import speech as disk
from minna.objectives.self_distillation import (
    SelfDistillation,
    SelfDistillationSettings,
    over_time,
)

transformers = pytest.importorskip("transformers")


def pair(*, layers=3, top=2, **fields):
    """A student, and an objective whose teacher is another encoder: so that they can be told apart."""
    model = encoder("data2vec", layers=layers)
    settings = SelfDistillationSettings(top=top, **fields)
    made = SelfDistillation(settings, model=encoder("data2vec", layers=layers, seed=8), seed=5)
    return made, model


def plain_targets(model, made, samples, *, top):
    """Of one clip: transformers' model with the teacher's blocks, its feed-forwards listened to."""
    config = transformers.Data2VecAudioConfig.from_dict(disk.config_to_disk(model.config))
    state = model.state_dict() | {
        f"encoder.{name}": one for name, one in made.teacher.state_dict().items()
    }
    other = transformers.Data2VecAudioModel.from_pretrained(
        None, config=config, state_dict=disk.encoder_to_disk(state)
    )
    other = other.double().eval()
    told = []
    for layer in other.encoder.layers:
        layer.feed_forward.register_forward_hook(lambda _m, _i, out: told.append(out))
    with torch.no_grad():
        other(samples)
    normed = [F.instance_norm(one.transpose(1, 2)).transpose(1, 2) for one in told[-top:]]
    return sum(normed) / top


@pytest.mark.parametrize("top", [2, 3])
def test_loss_and_gradients_are_those_of_the_plain_formula(top):
    given = batch([5_000, 2_700, 4_100])
    made, model = pair(top=top)
    sums, figures = made.loss(model, given)
    assert figures == {} and tuple(sums) == made.terms == tuple(made.settings.weights)
    sums["loss/distance"].backward()
    double, head = pair()[1].double(), pair()[0].final_proj.double()
    total = torch.zeros((), dtype=torch.float64)
    for row, length in enumerate(given["lengths"].tolist()):
        samples = given["samples"][row : row + 1, :length].double()
        masked = given["masked"][row : row + 1, : model.frames(length)]
        clip = samples - samples.mean()  # transformers is given what the encoder makes itself
        clip = clip / (samples.var(correction=0) + 1e-7).sqrt()
        asked = plain_targets(model, made, clip, top=top)[masked]
        found = head(double(samples, masked_BF=masked).hidden[masked])
        total = total + ((found - asked) ** 2).sum() / 32**0.5
    total.backward()
    assert sums["loss/distance"].item() == pytest.approx(total.item(), rel=1e-5)
    near(gradients(model), gradients(double))
    near(gradients(made), {f"final_proj.{name}": one for name, one in gradients(head).items()})


def test_targets_do_not_move_with_padding_and_have_no_gradient():
    given = batch([6_000, 2_345])
    made, model = pair()
    heard = model.train()(given["samples"], given["lengths"])
    found = made.targets(model, heard, given)
    assert not found.requires_grad and found.dtype == torch.float32
    frames = model.frames(2_345)
    alone = {"samples": given["samples"][1:, :2_345]}
    expected = made.targets(model, model(alone["samples"]), alone)
    torch.testing.assert_close(found[1, :frames], expected[0], rtol=0, atol=5e-5)
    x = torch.randn(2, 9, 4)
    seen = torch.arange(9) < torch.tensor([[9], [5]])
    torch.testing.assert_close(over_time(x, seen)[1, :5], over_time(x[1:, :5], None)[0])
    assert not over_time(x, seen)[1, 5:].any()


def test_the_teacher_follows_and_never_learns_or_drops():
    made, model = pair(decay=0.9, decay_end=0.99, decay_steps=4)
    before = {name: one.clone() for name, one in made.teacher.named_parameters()}
    students = dict(model.encoder.named_parameters())
    assert not any(name.startswith("pos_conv_embed") for name in before)
    assert "layer_norm.weight" in before and "layers.2.attention.q_proj.weight" in before
    decays = [0.9, 0.9225, 0.945, 0.9675, 0.99, 0.99]
    for decay in decays:
        assert made.decay == pytest.approx(decay)
        made.after_step(model)
        for name, one in before.items():
            one.mul_(decay).add_((1 - decay) * students[name].detach())
    for name, one in made.teacher.named_parameters():
        torch.testing.assert_close(one, before[name])
        assert not one.requires_grad and one.dtype == torch.float32
    made.train()
    assert not any(module.training for module in made.teacher.modules())
    kept = made.state_dict()
    assert {f"teacher.{name}" for name in before} | {"steps"} <= set(kept)
    again = pair(decay=0.9, decay_end=0.99, decay_steps=4)[0]
    again.load_state_dict(kept)
    assert again.decay == made.decay
    assert sorted(made.to_disk()) == ["final_proj.bias", "final_proj.weight"]
    fresh = SelfDistillation(SelfDistillationSettings(), model=model)
    for name, one in fresh.teacher.named_parameters():
        assert torch.equal(one, students[name]) and one is not students[name]


def test_one_batch_of_eight_clips_is_eight_of_one():
    given = batch([4_000, 2_400, 3_000, 3_500, 2_000, 4_000, 2_222, 3_100])
    made, model = pair()
    told = step(made, model, [given])[0]
    assert_split_is_whole(
        pair, {**given, "samples": given["samples"]}, logged=("loss/distance", "teacher/decay")
    )
    assert told["teacher/decay"] == pytest.approx(0.999)
    assert 0.3 < told["targets/deviation"] < 1.5 and told["predictions/deviation"] > 0.05


def test_collapsed_predictions_stop_the_run_but_not_before_the_time():
    given = batch([3_000, 3_000], full=True)
    made, model = pair(patience=2, watch_after=3)
    with torch.no_grad():
        made.final_proj.weight.zero_()
    for _ in range(4):
        step(made, model, [given])
        made.after_step(model)
    again = pair(patience=2, watch_after=3)[0]
    again.load_state_dict(made.state_dict())  # what was counted is kept over a restart
    step(again, model, [given])
    with pytest.raises(TrainingError, match=r"deviation of predictions .* is 0.001 at step 5"):
        again.after_step(model)


def test_one_hidden_frame_has_no_deviation():
    given = batch([3_000])
    given["masked"][:] = False
    given["masked"][0, 2] = True
    made, model = pair()
    terms, loss, _ = step(made, model, [given])
    assert loss > 0 and terms["targets/deviation"] == 0


def test_toy_speech_is_learned():
    given = syllables(6)
    torch.manual_seed(0)
    model = encoder("data2vec", layers=2)
    made = SelfDistillation(SelfDistillationSettings(), model=model)
    told = learn(made, model, [given], steps=50)
    assert told[-1]["loss/distance"] < 0.6 * told[0]["loss/distance"]
    assert told[-1]["targets/deviation"] > 0.3
