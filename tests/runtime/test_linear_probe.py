"""The probe: the least of its problem, chosen on what it was not trained on."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from minna.errors import DataError
from minna.runtime import linear_probe
from minna.runtime.linear_probe import fit_probe


def world(count, *, seed, classes=4, width=16, spread=1.0):
    generator = np.random.default_rng(seed)
    centres = np.random.default_rng(0).normal(size=(classes, width))
    labels = generator.integers(0, classes, count)
    rows = centres[labels] + spread * generator.normal(size=(count, width))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32), labels


def test_it_finds_classes_that_are_apart():
    pictures, labels = world(200, seed=1)
    probe = fit_probe(pictures, labels, classes=4)
    unseen, right = world(300, seed=2)
    assert (probe.scores(unseen).argmax(axis=1) == right).mean() > 0.9
    assert probe.held_out > 0.9


def test_its_weights_are_the_least_of_the_written_problem():
    pictures, labels = world(80, seed=3)
    strength = 0.01
    probe = fit_probe(pictures, labels, classes=4, strengths=(strength,))
    scale = np.sqrt(pictures.shape[1])  # entries of size one
    weights = torch.tensor(probe.weights / scale, dtype=torch.float64, requires_grad=True)
    bias = torch.tensor(probe.bias, dtype=torch.float64, requires_grad=True)
    x, y = torch.from_numpy(pictures).double() * scale, torch.from_numpy(labels)
    loss = (
        torch.nn.functional.cross_entropy(x @ weights.T + bias, y)
        + strength * weights.square().sum()
    )
    loss.backward()
    assert float(weights.grad.abs().max()) < 1e-4
    assert float(bias.grad.abs().max()) < 1e-4


def test_the_strength_is_chosen_for_pictures_it_has_not_seen():
    pictures, labels = world(60, seed=4, width=120, spread=2.5)
    chosen = fit_probe(pictures, labels, classes=4)
    loose = fit_probe(pictures, labels, classes=4, strengths=(min(linear_probe.STRENGTHS),))
    assert chosen.strength > loose.strength
    assert chosen.held_out >= loose.held_out


def test_every_class_with_two_pictures_is_held_out_and_trained_on():
    labels = np.array([0] * 20 + [1] * 2 + [2])
    held = linear_probe._held_out(labels, seed=0)
    assert [int(held[labels == label].sum()) for label in range(3)] == [4, 1, 0]


def test_nothing_to_tell_apart_is_refused():
    for labels in ([0, 0, 0], [0, 1, 2]):
        with pytest.raises(DataError, match="two classes and two pictures"):
            fit_probe(np.eye(3, dtype=np.float32), np.array(labels), classes=3)
