"""What both sides of the bench of locked-image tuning read is what our stream gave."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from minna.models.pictures.lite0 import Lite0, to_disk

BENCH = Path(__file__).resolve().parents[2] / "bench"


@pytest.fixture(scope="module")
def bench():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(BENCH))
        import clip_ours
        import clip_peer

        yield SimpleNamespace(ours=clip_ours, peer=clip_peer)
        for name in ("clip_ours", "clip_peer", "machine"):
            sys.modules.pop(name, None)


def batch(seed: int, tokens: int) -> dict[str, torch.Tensor]:
    torch.manual_seed(seed)
    return {
        "features": torch.randn(2, 5),
        "tokens": torch.randint(5, 20, (2, tokens)),
        "lengths": torch.tensor([tokens, 2]),
    }


def test_both_sides_read_the_same_batches_again_and_again(bench, tmp_path):
    given = [batch(0, 4), batch(1, 6)]
    bench.ours.write_batches(tmp_path, iter(given), name="features", count=2, pad=3)
    ours = list(bench.ours.batches_of(tmp_path, name="features", count=3, same=True))
    asked = SimpleNamespace(tower="given", text="bert", warmup=1, steps=2)
    peer = bench.peer.batches_of(tmp_path, asked, {})
    assert len(ours) == len(peer) == 3
    for number, (one, (features, ids)) in enumerate(zip(ours, peer, strict=True)):
        was = given[number % 2]
        assert torch.equal(one["features"], was["features"]) and torch.equal(features, was["features"])  # fmt: skip
        assert torch.equal(one["tokens"], ids) and torch.equal(one["lengths"], was["lengths"])
        width = was["tokens"].shape[1]
        assert torch.equal(ids[:, :width], was["tokens"]) and (ids[:, width:] == 3).all()


def test_open_clip_reads_a_text_where_its_highest_id_stands(bench):
    ids = np.array([[7, 8, 3, 3], [7, 8, 9, 6]])
    found = bench.peer.ended(ids, np.array([2, 4]), end=20)
    assert found.tolist() == [[7, 8, 20, 0], [7, 8, 9, 20]]


def test_every_tensor_of_the_tower_gets_a_name_of_its_own(bench):
    state = to_disk(Lite0().state_dict())
    names = bench.peer.timm_names(state)
    assert len(names) == len(state)
    assert names["blocks.0.0.conv_pw.weight"] is state["blocks.0.project.conv.weight"]
    assert names["blocks.6.0.bn3.bias"] is state["blocks.15.project.norm.bias"]
    assert names["conv_head.weight"] is state["head.conv.weight"]
