"""A crew: several ranks of the real command line, any of which may have something wrong."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.conftest import ROOT
from tests.toy_chain import make_corpus

from minna.tokenizer import TokenizerSettings, train_tokenizer

RECIPE = """
name = "crew"
description = "A toy that several ranks train"
source = "own choice"
[tokenizer]
vocab_size = 420
[model]
family = "gpt_neox"
layers = 2
width = 32
heads = 2
ffn = 64
context = 32
dropout = 0.1
[stream]
row_tokens = 32
[optim]
kind = "adamw"
lr = 3e-3
[schedule]
kind = "cosine"
warmup = 2
[train]
steps = 12
tokens_per_step = 256
micro_batch_rows = 2
log_every = 1
evaluate_every = 100
save_every = 4
keep = 2
compile = "off"
precision = "fp32"
device = "cpu"
hang_seconds = 30
[evaluate]
valid_documents = 0
prompts = []
"""


@dataclass(frozen=True)
class Inputs:
    """What every crew trains on."""

    recipe: Path
    corpus: Path
    tokenizer: Path

    def command(self, out: Path, *overrides: str, corpus: Path | None = None) -> list[str]:
        """The words after `minna`."""
        places = {"corpus": corpus or self.corpus, "tokenizer": self.tokenizer, "out": out}
        options = [word for name, place in places.items() for word in (f"--{name}", str(place))]
        return ["train", str(self.recipe), *options, *overrides]


@dataclass(frozen=True)
class Outcome:
    """Exit status (negative: a signal; "hung") and stderr of every rank."""

    statuses: list[int | str]
    errors: list[str]

    @property
    def done(self) -> bool:
        """Whether all ranks ended well."""
        return all(status == 0 for status in self.statuses)


class Crews:
    """Starts crews; one server process for all of them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        paths = [str(ROOT), str(ROOT / "src"), os.environ.get("PYTHONPATH", "")]
        environment = {
            **os.environ,
            "OMP_NUM_THREADS": "1",
            "MINNA_ALLOCATOR": "system",
            "MINNA_KERNELS": "torch",
            "PYTHONPATH": os.pathsep.join(paths),
        }
        self.server = subprocess.Popen(
            [sys.executable, "-m", "tests.faults.server"],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            encoding="utf-8",
        )

    def run(
        self,
        *commands: list[str],
        faults: Mapping[int, dict[str, Any]] | None = None,
        kill: dict[str, Any] | None = None,
        world: int | None = None,
        first: int = 0,
        limit: float = 60,
    ) -> Outcome:
        """Start one rank with each command, all as one run, and wait for their end.

        Args:
            commands: of each rank.
            faults: of `inject.py`, by rank.
            kill: from outside, {"after": seconds, "ranks": [...]}.
            world: how many ranks they are told to be, if not so many.
            first: number of the first one.
            limit: seconds until they count as hung.
        """
        return self.beside(
            [list(commands)], faults=faults, kill=kill, world=world, first=first, limit=limit
        )[0]

    def beside(
        self,
        crews: list[list[list[str]]],
        *,
        faults: Mapping[int, dict[str, Any]] | None = None,
        kill: dict[str, Any] | None = None,
        world: int | None = None,
        first: int = 0,
        limit: float = 60,
    ) -> list[Outcome]:
        """Start several crews at once; faults and kills count ranks through all of them."""
        ranks: list[dict[str, Any]] = []
        for crew in crews:
            port = str(_free_port())
            for number, argv in enumerate(crew, start=first):
                env = {"RANK": str(number), "LOCAL_RANK": str(number)}
                env |= {"WORLD_SIZE": str(world or len(crew))}
                env |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
                errors = str(self.folder / f"errors-{len(ranks)}.txt")
                fault = (faults or {}).get(len(ranks))
                ranks.append({"argv": argv, "env": env, "fault": fault, "errors": errors})
        request = {"ranks": ranks, "kill": kill, "limit": limit}
        assert self.server.stdin is not None and self.server.stdout is not None
        self.server.stdin.write(json.dumps(request) + "\n")
        self.server.stdin.flush()
        statuses = json.loads(self.server.stdout.readline())
        said = [Path(rank["errors"]).read_text(encoding="utf-8") for rank in ranks]
        outcomes = []
        for crew in crews:
            size, before = len(crew), sum(len(other.statuses) for other in outcomes)
            part = slice(before, before + size)
            outcomes.append(Outcome(statuses[part], said[part]))
        return outcomes

    def close(self) -> None:
        """Let the server end."""
        assert self.server.stdin is not None
        self.server.stdin.close()
        self.server.wait(timeout=30)


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


@pytest.fixture(scope="session")
def crews(tmp_path_factory):
    """The server of forked ranks."""
    if not hasattr(os, "fork"):
        pytest.skip("ranks are forked here, which this system cannot")
    made = Crews(tmp_path_factory.mktemp("crews"))
    yield made
    made.close()


@pytest.fixture(scope="session")
def inputs(tmp_path_factory) -> Inputs:
    """A corpus, a tokenizer and a recipe."""
    folder = tmp_path_factory.mktemp("inputs")
    (folder / "crew.toml").write_text(RECIPE, encoding="utf-8")
    corpus = make_corpus(folder, count=600)
    settings = TokenizerSettings(vocab_size=420)
    words = train_tokenizer(corpus, out=folder / "tokenizer", settings=settings)
    return Inputs(folder / "crew.toml", corpus, words)
