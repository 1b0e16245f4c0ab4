"""HuBERT's loss against a plain one in float64; splitting; labels; clips of tones are learned."""

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
    rows_of,
    step,
    syllables,
)

from minna.errors import DataError
from minna.objectives.masked_clusters import MaskedClusters, MaskedClustersSettings


def objective(**fields):
    settings = MaskedClustersSettings(clusters=7, projected=12, **fields)
    return MaskedClusters(settings, width=32, seed=5)


def plain(model, made, given, *, weight):
    """The formula, frame by frame, clip by clip."""
    nats = torch.zeros(2, dtype=torch.float64)
    right = torch.zeros(2)
    square = torch.zeros((), dtype=torch.float64)
    for row, length in enumerate(given["lengths"].tolist()):
        masked = given["masked"][row : row + 1, : model.frames(length)]
        samples = given["samples"][row : row + 1, :length]
        heard = model(samples, masked_BF=masked, feature_gradient=0.1)
        square = square + (heard.raw**2).mean(-1).sum()
        for place, hidden in enumerate(heard.hidden[0]):
            label = int(given["labels"][row, place])
            if label < 0:
                continue
            projected = made.final_proj(hidden)
            cosines = torch.stack(
                [F.cosine_similarity(projected, one, dim=0) for one in made.label_embs_concat]
            )
            logits = cosines / 0.1
            side = 0 if masked[0, place] else 1
            nats = nats + F.one_hot(torch.tensor(side), 2) * (logits.logsumexp(0) - logits[label])
            right[side] += int(logits.argmax()) == label
    return nats[0] + weight * nats[1], square, right[0], nats[1], right[1]


@pytest.mark.parametrize(("mode", "weight"), [("hubert", 0.0), ("hubert-large", 0.5)])
def test_loss_and_gradients_are_those_of_the_plain_formula(mode, weight):
    given = batch([5_000, 2_700, 4_100])
    given["labels"][0, 2] = -100
    ours, model = objective(unmasked_weight=weight), encoder(mode)
    sums, figures = ours.loss(model, given)
    assert figures == {} and tuple(sums) == ours.terms == tuple(ours.settings.weights)
    (sums["loss/clusters"] + 10 * sums["loss/features"]).backward()
    double, made = encoder(mode).double(), objective().double()
    samples = {**given, "samples": given["samples"].double()}
    expected = plain(double, made, samples, weight=weight)
    (expected[0] + 10 * expected[1]).backward()
    for name, value in zip(ours.terms, expected, strict=True):
        torch.testing.assert_close(
            sums[name].double(), value.double(), rtol=1e-5, atol=1e-5, msg=name
        )
    near(gradients(model), gradients(double))
    near(gradients(ours), gradients(made))


def test_counts_are_frames():
    given = batch([5_000, 2_700])
    given["labels"][0, 2] = -100
    known = given["labels"] >= 0
    counts = objective().counts(given)
    assert counts["loss/clusters"] == int((given["masked"] & known).sum())
    assert counts["loss/features"] == 15 + 8
    assert counts["unmasked/nats"] == int((~given["masked"] & known).sum())
    nothing = {**given, "labels": torch.full_like(given["labels"], -100)}
    assert objective().counts(nothing)["loss/clusters"] == 0
    assert objective().counts(nothing)["unmasked/nats"] == 0


def test_labels_of_another_clustering_are_refused():
    given = batch([5_000])
    given["labels"][0, 0] = 7
    with pytest.raises(DataError, match="label 7, and objective.clusters is 7"):
        objective().counts(given)


def test_one_batch_of_eight_clips_is_eight_of_one():
    given = batch([4_000, 2_400, 3_000, 3_500, 2_000, 4_000, 2_222, 3_100])
    assert_split_is_whole(lambda: (objective(unmasked_weight=0.3), encoder()), given)
    full = batch([3_000] * 4, full=True)
    told = {**full, "lengths": torch.tensor([3_000] * 4)}
    assert step(objective(), encoder(), [full])[0] == step(objective(), encoder(), [told])[0]
    assert rows_of(told, 1, 2)["samples"].shape == (1, 3_000)


def test_bf16_is_near_fp32():
    given = batch([5_000, 5_000], full=True)
    ours, model = objective(), encoder()
    exact, _ = ours.loss(model, given)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rounded, _ = ours.loss(model, given)
    for name in ("loss/clusters", "loss/features"):
        assert rounded[name].dtype == torch.float32
        assert rounded[name].item() == pytest.approx(exact[name].item(), rel=0.02)


def test_what_is_learned_beside_goes_to_disk_and_back():
    ours, other = objective(), MaskedClusters(objective().settings, width=32, seed=6)
    told = ours.to_disk()
    assert sorted(told) == ["final_proj.bias", "final_proj.weight", "label_embs_concat"]
    other.load_state_dict(told)
    given = batch([3_000])
    model = encoder()
    assert torch.equal(
        ours.loss(model, given)[0]["loss/clusters"], other.loss(model, given)[0]["loss/clusters"]
    )


def test_phones_are_told_behind_the_mask():
    given = syllables(6)
    torch.manual_seed(0)
    made = MaskedClusters(
        MaskedClustersSettings(clusters=int(given["labels"].max()) + 1, projected=16), width=32
    )
    told = learn(made, encoder(feature_dropout=0.1), [given], steps=60)
    assert told[0]["masked/accuracy"] < 0.4 and told[-1]["masked/accuracy"] > 0.8
    assert told[-1]["loss/clusters"] < 0.5 * told[0]["loss/clusters"]
