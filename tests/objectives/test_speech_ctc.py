"""CTC against all paths added up, and against transformers; clips that are skipped; freezing."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from tests.speech_models import (
    assert_split_is_whole,
    batch,
    gradients,
    learn,
    near,
    recogniser,
    step,
    syllables,
)

from minna.errors import DataError
from minna.models.weights import speech as disk
from minna.objectives.ctc import Ctc, CtcSettings, _nothing, fitting

transformers = pytest.importorskip("transformers")


def given_targets(lengths, targets, **fields):
    given = batch(lengths, **fields)
    del given["masked"], given["labels"]
    given["targets"] = torch.nn.utils.rnn.pad_sequence(
        [torch.tensor(one) for one in targets], batch_first=True, padding_value=-100
    )
    given["target_lengths"] = torch.tensor([len(one) for one in targets])
    return given


def collapsed(path):
    return [symbol for symbol, _ in itertools.groupby(path) if symbol]


def test_loss_is_that_of_all_paths_added_up():
    targets = [[1, 1], [2], [3, 1, 2]]
    given = given_targets([1_700, 1_100, 2_000], targets)  # 5, 3 and 6 frames
    model, made = recogniser(vocab=4), Ctc(CtcSettings(), vocab=4)
    sums, figures = made.loss(model, given)
    assert tuple(sums) == made.terms == tuple(made.settings.weights)
    assert figures == {"ctc/skipped": 0}
    sums["loss/ctc"].backward()
    double = recogniser(vocab=4).double()
    said = double(given["samples"].double(), given["lengths"])
    assert said.frames.tolist() == [5, 3, 6]
    total = torch.zeros((), dtype=torch.float64)
    for row, target in enumerate(targets):
        logprobs = said.logits[row, : said.frames[row]].log_softmax(-1)
        paths = [
            sum(logprobs[place, symbol] for place, symbol in enumerate(path))
            for path in itertools.product(range(4), repeat=len(logprobs))
            if collapsed(path) == target
        ]
        total = total - torch.stack(paths).logsumexp(0)
    total.backward()
    assert sums["loss/ctc"].item() == pytest.approx(total.item(), rel=1e-5)
    near(gradients(model), gradients(double))


def test_loss_is_that_of_transformers():
    given = given_targets([4_000, 4_000], [[1, 2, 2, 5], [3]], full=True)
    model = recogniser("hubert", vocab=9).eval()
    config = disk.config_to_disk(model.config)
    known = transformers.HubertConfig.from_dict(config)
    tensors = disk.recogniser_to_disk(model.state_dict(), model.config)
    other = transformers.HubertForCTC.from_pretrained(None, config=known, state_dict=tensors).eval()
    expected = other(given["samples"], labels=given["targets"]).loss
    found = Ctc(CtcSettings(), vocab=9).loss(model, given)[0]["loss/ctc"]
    assert found.item() == pytest.approx(expected.item(), rel=1e-5)


def test_targets_that_do_not_fit_are_left_out_and_counted():
    # 5 frames: [1, 1, 1] needs a blank between each, [1, 2, 1, 2, 1] fits, six do not
    targets = [[1, 1, 1], [1, 1, 1, 1], [1, 2, 1, 2, 1], [1, 2, 1, 2, 1, 2]]
    given = given_targets([1_700] * 4, targets)
    assert fitting(given).tolist() == [True, False, True, False]
    made = Ctc(CtcSettings(), vocab=4)
    assert made.counts(given) == {"loss/ctc": 2, "ctc/nats_per_symbol": 8}
    model = recogniser(vocab=4)
    sums, figures = made.loss(model, given)
    assert figures == {"ctc/skipped": 2} and math.isfinite(sums["loss/ctc"].item())
    some = given_targets([1_700] * 2, [targets[0], targets[2]])
    some["samples"] = given["samples"][[0, 2]]
    kept, _ = made.loss(model, some)
    torch.testing.assert_close(sums["loss/ctc"], kept["loss/ctc"])
    nothing = given_targets([1_700], [[1, 1, 1, 1]])
    assert made.counts(nothing) == {"loss/ctc": 0, "ctc/nats_per_symbol": 0}
    empty = given_targets([1_700, 1_700], [[1], []])
    assert made.counts(empty)["loss/ctc"] == 2  # silence is said by blanks
    assert math.isfinite(made.loss(model, empty)[0]["loss/ctc"].item())


@pytest.mark.parametrize("symbol", [0, 4, -2])
def test_symbols_that_the_head_has_not_are_refused(symbol):
    given = given_targets([4_000], [[1, symbol, 2]])
    with pytest.raises(DataError, match="those of the head are 1 to 3"):
        Ctc(CtcSettings(), vocab=4).counts(given)


def test_the_head_learns_alone_at_first():
    given = given_targets([4_000, 3_000], [[1, 2], [3]])
    model, made = recogniser(vocab=4), Ctc(CtcSettings(frozen_steps=2), vocab=4)
    names = []
    for _ in range(3):
        _, _, found = step(made, model, [given])
        made.after_step(model)
        names.append(set(found))
    assert names[0] == names[1] == {"lm_head.weight", "lm_head.bias"}
    everything = {name for name, _ in model.named_parameters()} - {"body.masked_spec_embed"}
    assert names[2] == everything
    again = Ctc(CtcSettings(frozen_steps=5), vocab=4)
    again.load_state_dict(made.state_dict())
    assert int(again.steps) == 3 and made.to_disk() == {}
    model.zero_grad()
    _nothing(model.body).backward()  # what several ranks add, so that nobody waits
    for name, parameter in model.body.named_parameters():
        assert parameter.grad is not None and not parameter.grad.any(), name


def test_frames_and_channels_of_the_batch_are_hidden():
    given = given_targets([4_000, 4_000], [[1, 2], [3]], full=True)
    model, made = recogniser(vocab=4).eval(), Ctc(CtcSettings(), vocab=4)
    plain = made.loss(model, given)[0]["loss/ctc"].item()
    masked = torch.zeros(2, 12, dtype=torch.bool)
    channels = torch.zeros(2, 32, dtype=torch.bool)
    nothing = made.loss(model, {**given, "masked": masked, "channels": channels})[0]
    assert nothing["loss/ctc"].item() == pytest.approx(plain, rel=1e-6)
    masked[0, :5] = True
    channels[1, :9] = True
    for some in ({"masked": masked}, {"channels": channels}):
        other = made.loss(model, given | some)[0]["loss/ctc"].item()
        assert other != pytest.approx(plain, rel=1e-4)


def test_one_batch_of_eight_clips_is_eight_of_one():
    lengths = [4_000, 2_400, 3_000, 3_500, 2_000, 4_000, 2_222, 3_100]
    given = batch(lengths)
    given["targets"] = torch.randint(1, 9, (8, 3), generator=torch.Generator().manual_seed(0))
    given["target_lengths"] = torch.tensor([3, 1, 2, 3, 0, 3, 2, 1])
    assert_split_is_whole(lambda: (Ctc(CtcSettings(), vocab=9), recogniser()), given)


def test_probabilities_are_fp32_in_bf16():
    given = given_targets([4_000, 3_000], [[1, 2], [3]])
    model, made = recogniser(vocab=4), Ctc(CtcSettings(), vocab=4)
    exact = made.loss(model, given)[0]["loss/ctc"].item()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rounded = made.loss(model, given)[0]["loss/ctc"]
    assert rounded.dtype == torch.float32
    assert rounded.item() == pytest.approx(exact, rel=0.03)


def test_phones_of_toy_speech_are_learned():
    given = syllables(6)
    del given["masked"]
    torch.manual_seed(0)
    vocab = int(given["targets"].max()) + 1
    model, made = recogniser(vocab=vocab), Ctc(CtcSettings(), vocab=vocab)
    told = learn(made, model, [given], steps=150, lr=5e-3)
    assert told[-1]["ctc/nats_per_symbol"] < 0.15 < 1.5 < told[0]["ctc/nats_per_symbol"]
    said = model.eval()(given["samples"], given["lengths"])
    for row, frames in enumerate(said.frames.tolist()):
        path = said.logits[row, :frames].argmax(-1).tolist()
        target = given["targets"][row, : given["target_lengths"][row]].tolist()
        assert collapsed(path) == target
