"""Tiny encoders of speech with random weights, batches for them, and steps as the loop takes them."""

from __future__ import annotations

import dataclasses

import numpy as np
import torch

from minna.models.speech.config import SpeechConfig, frames_of
from minna.models.speech.encoder import SpeechEncoder
from minna.models.speech.masks import SpanSettings, hidden_of
from minna.models.speech.recogniser import SpeechRecogniser
from tests.toy_speech import speak

MODES = {
    "hubert": {"family": "hubert"},
    "hubert-large": {"family": "hubert", "conv_norm": "layer", "block_norm": "pre"},
    "wav2vec2": {"family": "wav2vec2"},
    "wav2vec2-large": {
        "family": "wav2vec2",
        "conv_norm": "layer",
        "block_norm": "pre",
        "conv_bias": True,
    },
    "data2vec": {"family": "data2vec-audio"},
}
STILL = {"dropout": 0.0, "attention_dropout": 0.0, "feature_dropout": 0.0, "layer_drop": 0.0}


def shape(mode="hubert", **fields):
    """A shape of two blocks of 32 channels that drops nothing."""
    tiny = {"layers": 2, "width": 32, "heads": 2, "ffn": 48, "conv_widths": (16,) * 7}
    return SpeechConfig(**(MODES[mode] | tiny | STILL | fields))


def encoder(mode="hubert", *, seed=3, **fields):
    """An encoder whose norms and biases are drawn too, so that a wrong one shows."""
    return _stirred(SpeechEncoder(shape(mode, **fields)), seed)


def recogniser(mode="hubert", *, vocab=9, seed=3, **fields):
    return _stirred(SpeechRecogniser(shape(mode, vocab=vocab, **fields)), seed)


def _stirred(model, seed):
    model.initialise(seed=seed)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 1:
                parameter.add_(torch.empty_like(parameter).normal_(0, 0.1, generator=generator))
    return model


def noise(rows, samples, *, seed=0):
    """Clips of coloured noise, as loud as speech."""
    generator = torch.Generator().manual_seed(seed)
    white = torch.randn(rows, samples + 4, generator=generator)
    return 0.05 * white.unfold(1, 5, 1).mean(2) + 0.01


def batch(lengths, *, seed=0, full=False, start_probability=0.08, classes=7):
    """What objectives of pre-training read; samples behind the end of a clip are 0."""
    samples = noise(len(lengths), max(lengths), seed=seed)
    for row, length in enumerate(lengths):
        samples[row, length:] = 0
    frames = [frames_of(length) for length in lengths]
    clips = [100 + row for row in range(len(lengths))]
    masked = hidden_of(
        clips,
        frames,
        settings=SpanSettings(start_probability=start_probability, span=4),
        seed=seed,
        epoch=0,
    )
    labels = torch.full(masked.shape, -100)
    generator = torch.Generator().manual_seed(seed)
    for row, count in enumerate(frames):
        labels[row, :count] = torch.randint(classes, (count,), generator=generator)
    made = {"samples": samples, "masked": masked, "labels": labels, "clip": torch.tensor(clips)}
    return made if full else {**made, "lengths": torch.tensor(lengths)}


def rows_of(given, start, end):
    """Some rows of a batch, without the padding that they do not need."""
    part = {name: one[start:end] for name, one in given.items()}
    samples = int(part["lengths"].max())
    frames = frames_of(samples)
    return {
        **part,
        "samples": part["samples"][:, :samples],
        **{name: part[name][:, :frames] for name in ("masked", "labels") if name in part},
    }


def but(config, **fields):
    return dataclasses.replace(config, **fields)


def step(objective, model, batches):
    """One step as the loop takes it: terms, loss, and the gradient of every parameter."""
    weights = objective.settings.weights
    counts = dict.fromkeys(weights, 0)
    for one in batches:
        for name, count in objective.counts(one).items():
            counts[name] += count
    model.zero_grad()
    objective.zero_grad()
    terms, total = dict.fromkeys(weights, 0.0), 0.0
    for one in objective.prepare(model, batches):
        sums, _ = objective.loss(model, one)
        loss = sum(weights[name] * sums[name] / counts[name] for name in sums)
        loss.backward()
        total += float(loss.detach())
        for name, value in sums.items():
            terms[name] += float(value.detach()) / counts[name]
    gradients = {
        name: one.grad.clone()
        for module in (model, objective)
        for name, one in module.named_parameters()
        if one.grad is not None
    }
    return terms, total, gradients


def assert_split_is_whole(make, given, *, logged=None, rtol=2e-4, atol=2e-6):
    """Eight micro-batches of a clip teach what one of eight clips does.

    Args:
        make: () -> (objective, model), the same every time.
        given: a batch of eight.
        logged: terms that are compared; None: all. (A deviation of parts is not that of the whole.)
    """
    rows = len(given["samples"])
    whole = step(*make(), [given])
    split = step(*make(), [rows_of(given, row, row + 1) for row in range(rows)])
    for name, value in whole[0].items():
        if logged is not None and name not in logged:
            continue
        assert abs(split[0][name] - value) <= 1e-4 * max(1, abs(value)), name
    assert set(whole[2]) == set(split[2])
    for name, gradient in whole[2].items():
        torch.testing.assert_close(split[2][name], gradient, rtol=rtol, atol=atol, msg=name)


def learn(objective, model, batches, *, steps, lr=3e-3):
    """Take steps of AdamW on the same batches; return the terms of each."""
    learning = [*model.parameters(), *(p for p in objective.parameters() if p.requires_grad)]
    optimiser = torch.optim.AdamW(learning, lr=lr)
    told = []
    for _ in range(steps):
        told.append(step(objective, model.train(), batches)[0])
        torch.nn.utils.clip_grad_norm_(learning, 1.0)
        optimiser.step()
        objective.after_step(model)
    return told


def near(found, expected, *, within=2e-3):
    """Compare gradients by name, each in the size of its largest number (or of the smallest seen)."""
    for name, gradient in expected.items():
        scale = gradient.abs().max().clamp_min(1e-3)
        torch.testing.assert_close(
            found[name] / scale,
            (gradient / scale).to(found[name].dtype),
            rtol=0,
            atol=within,
            msg=name,
        )


def gradients(module):
    return {name: one.grad for name, one in module.named_parameters() if one.grad is not None}


def syllables(clips, *, seed=0):
    """A batch of toy speech: `labels` is the phone of each frame, `targets` the phones of a clip."""
    drawn = np.random.default_rng(seed)
    kana = list("カシトネマスイ")
    said = [
        speak(["".join(drawn.choice(kana, 3))], pitch=float(drawn.choice([110, 160, 210])), seed=n)
        for n in range(clips)
    ]
    names = sorted({phone for _, words, _ in said for word in words for phone in word} - {"pau"})
    given = batch([len(samples) for samples, _, _ in said], seed=seed)
    targets = []
    for row, (samples, words, ends) in enumerate(said):
        given["samples"][row, : len(samples)] = torch.from_numpy(samples)
        phones = [phone for word in words for phone in word]
        numbers = torch.tensor([["pau", *names].index(phone) for phone in phones])
        middles = (torch.arange(frames_of(len(samples))) * 320 + 200) / 16_000
        places = torch.searchsorted(torch.tensor(ends), middles).clamp_max(len(phones) - 1)
        given["labels"][row, : len(places)] = numbers[places]
        targets.append(numbers[numbers > 0])
    given["targets"] = torch.nn.utils.rnn.pad_sequence(targets, batch_first=True)
    given["target_lengths"] = torch.tensor([len(one) for one in targets])
    return given
