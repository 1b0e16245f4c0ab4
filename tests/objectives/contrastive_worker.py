"""A toy of two towers and its updates, alone or as one of several ranks (tests/objectives).

Usage: contrastive_worker.py OUT; it becomes four ranks, of which the first two meet first.
"""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import sys
from datetime import timedelta
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from torch import nn

from minna.objectives import ClipSettings, CloobSettings, Contrastive, SiglipSettings
from minna.train.optim import AdamWSettings, make_optimisers
from minna.train.parallel import Whole
from minna.train.protocols import Parts
from minna.train.quality import nothing
from minna.train.ranks import ALONE, Ranks
from minna.train.schedule import Cosine
from minna.train.step import take_step

ROWS, WORDS, FEATURES = 8, 23, 6
STEPS = 3
KINDS = {
    "clip": ClipSettings(kind="clip"),
    "siglip": SiglipSettings(kind="siglip"),
    "cloob": CloobSettings(kind="cloob"),
    "cloob-learned": CloobSettings(kind="cloob", inv_tau="learned", hopfield=14.3, rescale="rinna"),
}


def objective_of(name: str, ranks: Ranks = ALONE) -> Contrastive:
    return Contrastive(KINDS[name], ranks=ranks)


class Towers(nn.Module):
    """Mean of word vectors, and a matrix for features."""

    def __init__(
        self,
        *,
        words: int = WORDS,
        features: int = FEATURES,
        width: int = 5,
        dropout: float = 0.0,
        scores: str = "clip",
    ) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(1)
        self.words = nn.Parameter(torch.randn(words, width, generator=generator))
        self.features = nn.Parameter(torch.randn(features, width, generator=generator))
        self.dropout = dropout
        learns = scores != "cloob"
        start = torch.tensor(10.0 if scores == "siglip" else 1 / 0.07).log()
        self.logit_scale = nn.Parameter(start) if learns else None
        self.logit_bias = nn.Parameter(torch.tensor(-10.0)) if scores == "siglip" else None

    def forward(self, tokens, lengths):
        seen = torch.arange(tokens.shape[1]) < lengths[:, None]
        mean = (self.words[tokens] * seen[..., None]).sum(1) / lengths[:, None]
        return nn.functional.dropout(mean, self.dropout)

    def embed_features(self, features):
        return nn.functional.dropout(features @ self.features, self.dropout)

    def both(self, batch):
        return self(batch["tokens"], batch["lengths"]), self.embed_features(batch["features"])


def batch_of(rows) -> dict[str, torch.Tensor]:
    """Rows of a small world by their numbers; 2 and 5 say the same, and so do 0 and 8."""
    found = []
    for row in rows:
        generator = torch.Generator().manual_seed(100 + row)
        tokens = torch.randint(WORDS, (4,), generator=generator)
        features = torch.randn(FEATURES, generator=generator)
        said = {5: 2, 8: 0}.get(row, row)
        found.append((tokens, 1 + row % 4, features, said))
    tokens, lengths, features, same = zip(*found, strict=True)
    return {
        "tokens": torch.stack(tokens),
        "lengths": torch.tensor(lengths),
        "features": torch.stack(features),
        "same": torch.tensor(same),
    }


class Rows:
    """Step s has the rows 8 s to 8 s + 7, told out to ranks and micro-batches."""

    def __init__(self, ranks: Ranks, rows: int) -> None:
        self._ranks, self._rows, self._next = ranks, rows, 0

    def __next__(self):
        start = (self._next * self._ranks.count + self._ranks.rank) * self._rows
        self._next += 1
        return batch_of(range(start, start + self._rows))


def steps(name: str, *, rows: int, ranks: Ranks = ALONE) -> dict:
    """A few updates: losses, figures, norms and final weights."""
    model, objective = Towers(scores=name), objective_of(name, ranks)
    parts = Parts(
        model=model,
        objective=objective,
        placement=Whole(model, objective, ranks=ranks),
        stream=Rows(ranks, rows),
        optimisers=make_optimisers(model, settings=AdamWSettings(lr=0.05)),
        schedule=Cosine(floor=1.0),
        clip=1.0,
        evaluators=[],
        weights=dict.fromkeys(Contrastive.terms, 0.0) | {"loss/pairs": 1.0},
        micro_batch_tokens=rows,
        accumulation=ROWS // rows // ranks.count,
        flops_per_token=1,
        quality=nothing,
    )
    found = [
        take_step(parts, step=n, total=20, autocast=contextlib.nullcontext()) for n in range(STEPS)
    ]
    return {
        "losses": [one.loss for one in found],
        "norms": [one.gradient_norm for one in found],
        "figures": [one.figures for one in found],
        "weights": {key: tensor.tolist() for key, tensor in model.state_dict().items()},
    }


def assert_alike(one: dict, other: dict) -> None:
    """Two runs of `steps` were the same but for rounding."""
    assert other["losses"] == pytest.approx(one["losses"], rel=1e-5, abs=1e-5)
    assert other["norms"] == pytest.approx(one["norms"], rel=1e-4, abs=1e-6)
    for mine, theirs in zip(one["figures"], other["figures"], strict=True):
        assert theirs == pytest.approx(mine, rel=1e-4, abs=1e-5)
    assert one["weights"].keys() == other["weights"].keys()
    for key, weights in one["weights"].items():
        torch.testing.assert_close(
            torch.tensor(other["weights"][key]), torch.tensor(weights), rtol=0, atol=2e-5, msg=key
        )


def be(rank: int, out: Path) -> None:
    """Rank 0 or 1 of two, then one of four."""
    torch.set_num_threads(1)
    for count in (2, 4):
        if rank >= count:
            continue
        store = dist.FileStore(str(out / f"meet-{count}"), count)
        dist.init_process_group(
            "gloo", store=store, rank=rank, world_size=count, timeout=timedelta(seconds=60)
        )
        ranks = Ranks(rank=rank, count=count, control=dist.new_group(backend="gloo"))
        for name in KINDS:
            for rows in (4, 2) if count == 2 else (2,):
                found = steps(name, rows=rows, ranks=ranks)
                if ranks.first:
                    file = out / f"{name}-{count}x{rows}.json"
                    file.write_text(json.dumps(found), encoding="utf-8")
        dist.destroy_process_group()


def main() -> None:
    # forked before anything is computed: importing torch four times is what would cost
    fork = multiprocessing.get_context("fork")
    started = [fork.Process(target=be, args=(rank, Path(sys.argv[1]))) for rank in range(4)]
    for process in started:
        process.start()
    for process in started:
        process.join()
    sys.exit(any(process.exitcode for process in started))


if __name__ == "__main__":
    main()
