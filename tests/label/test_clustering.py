"""K-means: the clusters that are there, no worse than plain Lloyd, the same every time."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from minna.errors import DataError
from minna.label import clustering as room
from minna.label.clustering import FitSettings, assign, fit_centres


def blobs(count, clusters, *, width=8, spread=0.3, seed=0):
    generator = torch.Generator().manual_seed(seed)
    middles = 4 * torch.randn(clusters, width, generator=generator)
    which = torch.randint(clusters, (count,), generator=generator)
    return middles[which] + spread * torch.randn(count, width, generator=generator), middles, which


def lloyd(sample, clusters, *, seed, rounds=50):
    """The plainest k-means: random frames as first centres, whole passes."""
    generator = torch.Generator().manual_seed(seed)
    centres = sample[torch.randperm(len(sample), generator=generator)[:clusters]].clone()
    for _ in range(rounds):
        labels = torch.cdist(sample, centres).argmin(1)
        for k in range(clusters):
            if (labels == k).any():
                centres[k] = sample[labels == k].mean(0)
    return float(torch.cdist(sample, centres).min(1).values.square().mean())


@given(st.integers(0, 30), st.integers(1, 9), st.integers(1, 7), st.integers(0, 99))
@settings(max_examples=40, deadline=None)
def test_the_nearest_centre_is_found_whatever_the_block(frames, clusters, width, seed):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(frames, width, generator=generator)
    centres = torch.randn(clusters, width, generator=generator)
    kept, room._BLOCK = room._BLOCK, 7
    try:
        labels, squared = assign(x, centres)
    finally:
        room._BLOCK = kept
    apart = (x[:, None] - centres).square().sum(2)
    torch.testing.assert_close(squared, apart.min(1).values, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(apart.gather(1, labels[:, None])[:, 0], apart.min(1).values)


def test_clusters_that_are_there_are_found():
    sample, middles, which = blobs(3000, 12)
    found = fit_centres(sample, clusters=12)
    apart = torch.cdist(middles, found.centres)
    assert apart.min(1).values.max() < 0.1
    labels, _ = assign(sample, found.centres)
    assert len(set(zip(labels.tolist(), which.tolist(), strict=True))) == 12
    assert found.inertia == pytest.approx(8 * 0.3**2, rel=0.1) and found.frames == 3000


@pytest.mark.parametrize("clusters", [5, 40])
def test_the_error_is_near_the_best_of_plain_runs(clusters):
    sample = blobs(2000, 30, width=5, spread=1.5, seed=1)[0]
    plain = min(lloyd(sample, clusters, seed=seed) for seed in range(4))
    assert fit_centres(sample, clusters=clusters).inertia < 1.04 * plain
    small = FitSettings(batch=250, settling=20, tolerance=1e-4)
    assert fit_centres(sample, clusters=clusters, settings=small).inertia < 1.04 * plain


def test_mini_batches_alone_come_near_and_settling_gains():
    sample = blobs(4000, 50, width=6, spread=2.0, seed=2)[0]
    alone = fit_centres(sample, clusters=50, settings=FitSettings(batch=200, settling=0))
    settled = fit_centres(sample, clusters=50, settings=FitSettings(batch=200))
    first = fit_centres(sample, clusters=50, settings=FitSettings(passes=0, settling=0))
    assert settled.inertia < alone.inertia < first.inertia


def test_the_same_seed_gives_the_same_centres_and_leaves_the_sample():
    sample = blobs(900, 20, spread=1.0)[0]
    kept = sample.clone()
    one, two, other = (fit_centres(sample, clusters=9, seed=seed) for seed in (3, 3, 4))
    assert torch.equal(one.centres, two.centres)
    assert not torch.equal(one.centres, other.centres)
    assert torch.equal(sample, kept)


def test_no_centre_stays_empty():
    sample = torch.cat([torch.zeros(500, 2), torch.eye(2).repeat(3, 1), 9 * torch.ones(1, 2)])
    found = fit_centres(sample, clusters=4)
    labels, squared = assign(sample, found.centres)
    assert len(labels.unique()) == 4 and squared.max() < 1e-6
    centres = torch.full((3, 2), 100.0)
    centres[0] = 0
    room._settled(sample, centres, FitSettings())
    assert len(assign(sample, centres)[0].unique()) == 3


@pytest.mark.parametrize(
    ("sample", "clusters", "said"),
    [
        (torch.randn(5, 3), 6, "6 clusters need 6 different frames or more, and there are 5"),
        (torch.ones(50, 3), 2, "and there are 1"),
        (torch.tensor([[0.0], [1.0]]).repeat(40, 1), 3, "and there are 2"),
        (torch.tensor([[0.0], [float("nan")]]), 1, "are no numbers"),
    ],
)
def test_too_few_frames_and_no_numbers_are_told(sample, clusters, said):
    with pytest.raises(DataError, match=said):
        fit_centres(sample, clusters=clusters)
    assert assign(torch.zeros(0, 3), torch.zeros(2, 3))[0].tolist() == []
