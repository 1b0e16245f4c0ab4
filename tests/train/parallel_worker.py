"""What one of several ranks does in tests/train/test_parallel.py, started by torchrun.

Usage: parallel_worker.py OUT CASE...; a case is a name of `CASES`. Rank 0 writes OUT/CASE.json.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
from dataclasses import replace
from pathlib import Path

import torch
from experiments.ppo_proof import world
from safetensors.torch import save_file
from tests.toys import toy_parts, weights

from minna.train import checkpoint, loop
from minna.train.loop import TrainSettings
from minna.train.optim import AdamWSettings, MuonSettings
from minna.train.parallel import whole
from minna.train.precision import Numerics
from minna.train.protocols import Evaluation
from minna.train.ranks import Ranks, joined
from minna.train.step import take_step

EAGER = Numerics(device="cpu", precision="fp32", compile="off", peak=1e11)
ROWS_PER_STEP = 8
OPTIM = {"adamw": AdamWSettings(lr=3e-3), "muon": MuonSettings(lr=3e-3, matrix_lr=0.02)}


def make(ranks: Ranks, *, sharding: str, optim: str, rows: int = 1, dropout: float = 0.0):
    return toy_parts(
        rows=rows,
        accumulation=ROWS_PER_STEP // rows // ranks.count,
        optim=OPTIM[optim],
        dropout=dropout,
        ranks=ranks,
        sharding=sharding,
    )


def steps(ranks: Ranks, out: Path, sharding: str, optim: str) -> dict:
    """Five updates: losses, gradient norms, final weights (as sums, and one whole matrix)."""
    parts = make(ranks, sharding=sharding, optim=optim)
    found = [
        take_step(parts, step=n, total=20, autocast=contextlib.nullcontext()) for n in range(5)
    ]
    final = {name: whole(tensor) for name, tensor in weights(parts).items()}
    if ranks.first:
        save_file(final, out / f"weights-{sharding}-{optim}-{ranks.count}.safetensors")
    return {
        "losses": [result.loss for result in found],
        "norms": [result.gradient_norm for result in found],
    }


class _StopSignal:
    """Asks the run to stop, on one rank only: a look after step N - 1 stops it after N."""

    def __init__(self, after: int) -> None:
        self.left = after

    def __call__(self, _model: torch.nn.Module) -> Evaluation:
        self.left -= 1
        if self.left == 0:
            os.kill(os.getpid(), signal.SIGTERM)
        return Evaluation()


def run(ranks: Ranks, out: Path, sharding: str, optim: str, to: int, name: str) -> dict:
    """The loop from the newest checkpoint of OUT/NAME towards step 8; stopped after `to`."""
    parts = make(ranks, sharding=sharding, optim=optim)
    settings = TrainSettings(
        steps=8,
        tokens_per_step=128,
        micro_batch_rows=1,
        save_every=3,
        log_every=1,
        evaluate_every=1,
    )
    place = out / name
    place.mkdir(exist_ok=True)
    found = checkpoint.newest_good(place)
    at = checkpoint.progress_of(found).step if found else -1
    if to < settings.steps and ranks.rank == ranks.count - 1:
        parts = replace(parts, evaluators=[_StopSignal(to - at - 1)])
    done = loop.train(parts, settings=settings, numerics=EAGER, run=place, found=found)
    assert done.step == to, f"stopped at {done.step}, not at {to}"
    return {"step": done.step, "tokens": done.tokens}


def reinforce(ranks: Ranks) -> dict:
    """Two rollouts of the small PPO world: what was said, what was learned."""
    said = world.settings()
    said["ppo"] |= {"rollout_rows": 16, "update_rows": 8, "passes": 2}
    said["model"]["base_steps"] = 5
    base = world.base_model(said, seed=0)
    parts = world.parts_of(base, said, said["arms"]["adaptive"], seed=0, ranks=ranks)
    course = world.run(parts, said, iterations=2)
    episodes = parts.objective.episodes
    return {"figures": course.figures, "ids": episodes.ids.tolist()}


def main() -> None:
    out, cases = Path(sys.argv[1]), sys.argv[2:]
    torch.set_num_threads(1)
    with joined(device="cpu", wait_seconds=60) as ranks:
        for case in cases:
            kind, *words = case.split(":")
            if kind == "steps":
                result = steps(ranks, out, *words)
            elif kind == "reinforce":
                result = reinforce(ranks)
            else:
                result = run(ranks, out, words[0], words[1], int(words[2]), words[3])
            if ranks.first:
                file = out / f"{case.replace(':', '-')}-{ranks.count}.json"
                file.write_text(json.dumps(result), encoding="utf-8")


if __name__ == "__main__":
    main()
