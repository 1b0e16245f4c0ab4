"""Both sides of the contrastive bench compute the same thing."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import pytest

BENCH = Path(__file__).resolve().parents[2] / "bench"


@pytest.fixture(scope="module")
def bench():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(BENCH))
        import bench_contrastive

        yield bench_contrastive
        for name in ("bench_contrastive", "tune_work", "machine"):
            sys.modules.pop(name, None)


@pytest.mark.parametrize("loss", ["InfoNCE", "InfoLOOB", "sigmoid"])
def test_both_sides_find_the_same_loss_and_gradients(bench, loss):
    def measured(side: str, pairs: int) -> dict:
        options = argparse.Namespace(pairs=[pairs], device="cpu", side=side, loss=loss, seconds=0.0)
        return bench.measure(options)

    sides = {side: measured(side, 40) for side in bench.SIDES}
    bench.refuse_difference(loss, 40, sides)
    assert all(one["seconds"] > 0 for one in sides.values())
    other = {"plain": measured("plain", 40), "minna": measured("minna", 41)}
    with pytest.raises(SystemExit, match="differs"):
        bench.refuse_difference(loss, 40, other)
