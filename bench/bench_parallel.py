"""Several ranks beside one: the same losses, the bytes each sends, the seconds it costs.

A GPT-NeoX of 6 layers x 256 (7 M parameters), fp32, AdamW, 8 rows of 128 tokens a step over all
ranks, one micro-batch each, over gloo on this machine, one thread a rank. Bytes are what the system
says a process has written (/proc/self/io, sockets included; nothing else is written meanwhile),
beside what follows from the algorithms. Overhead is the step of N ranks less the step of one
process with the rows of one rank; where ranks outnumber cores it says nothing.

    python bench/bench_parallel.py [--rounds 5] [--steps 10]
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import socket
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from machine import processor

SHAPE = {"layers": 6, "width": 256, "heads": 4, "ffn": 1024, "context": 128}
VOCAB, ROW, ROWS, WARMUP = 4096, 128, 8, 2
TOLERANCE = 1e-5
# name -> (ranks, sharding, rows of one rank)
CASES = {
    "1 rank": (1, "auto", ROWS),
    "2 ranks, copies": (2, "replicate", ROWS // 2),
    "2 ranks, parts": (2, "shard", ROWS // 2),
    "4 ranks, copies": (4, "replicate", ROWS // 4),
    "4 ranks, parts": (4, "shard", ROWS // 4),
    "1 rank, 4 rows": (1, "auto", ROWS // 2),
    "1 rank, 2 rows": (1, "auto", ROWS // 4),
}
BASE = {ROWS: "1 rank", ROWS // 2: "1 rank, 4 rows", ROWS // 4: "1 rank, 2 rows"}


def main() -> None:
    """Run the rounds and print the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=10, help="timed steps of a round")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        work(arguments.worker, steps=arguments.steps)
        return
    found: dict[str, list[list[dict[str, Any]]]] = {name: [] for name in CASES}
    for number in range(arguments.rounds):
        for name in CASES:
            found[name].append(start(name, steps=arguments.steps))
        sys.stderr.write(f"round {number + 1} of {arguments.rounds}\n")
    print(table(found))


def start(name: str, *, steps: int) -> list[dict[str, Any]]:
    """Start the ranks of a case and return what each found."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port = one.getsockname()[1]
    ranks = CASES[name][0]
    command = [sys.executable, __file__, "--worker", name, "--steps", str(steps)]
    common = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": str(ranks)}
    common |= {"OMP_NUM_THREADS": "1", "MINNA_KERNELS": "torch"}
    processes = [
        subprocess.Popen(
            command,
            env={**os.environ, **common, "RANK": str(rank), "LOCAL_RANK": str(rank)},
            stdout=subprocess.PIPE,
            text=True,
        )
        for rank in range(ranks)
    ]
    said = [process.communicate()[0] for process in processes]
    if any(process.returncode for process in processes):
        raise SystemExit(f"{name}: a rank failed (see above)")
    return [json.loads(text) for text in said]


class Rows:
    """Random rows, the same for any number of ranks."""

    def __init__(self, *, rank: int, rows: int) -> None:
        self.rank, self.rows, self.step = rank, rows, 0

    def __next__(self) -> dict[str, Any]:
        import torch

        generator = torch.Generator().manual_seed(self.step)
        self.step += 1
        window = torch.randint(VOCAB, (ROWS, ROW + 1), generator=generator)
        mine = window[self.rank * self.rows : (self.rank + 1) * self.rows]
        return {"tokens": mine[:, :-1].contiguous(), "targets": mine[:, 1:].contiguous()}

    def state_dict(self) -> dict[str, Any]:
        """Return the position."""
        return {"step": self.step}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go to a position."""
        self.step = state["step"]


def work(name: str, *, steps: int) -> None:
    """Be one rank of a case: train, and print what it cost."""
    import torch

    from minna.train.ranks import Ranks, joined
    from minna.train.step import take_step

    torch.set_num_threads(1)
    _, sharding, rows = CASES[name]
    spent = {"seconds": 0.0, "calls": 0}
    real = Ranks._reduce  # noqa: SLF001 - what is measured

    def timed(*arguments: Any) -> list[float]:
        begin = time.perf_counter()
        result = real(*arguments)
        spent["seconds"] += time.perf_counter() - begin
        spent["calls"] += 1
        return result

    Ranks._reduce = timed  # noqa: SLF001
    with joined(device="cpu", wait_seconds=120) as ranks:
        parts, sizes = make(ranks, sharding=sharding, rows=rows)
        losses, lengths = [], []
        before = 0
        for step in range(WARMUP + steps):
            if step == WARMUP:
                ranks.wait()
                spent["seconds"], spent["calls"], before = 0.0, 0, written()
            begin = time.perf_counter()
            result = take_step(parts, step=step, total=100, autocast=contextlib.nullcontext())
            ranks.largest([0.0])  # as the loop does, for time and signals
            lengths.append(time.perf_counter() - begin)
            losses.append(result.loss)
        sent = (written() - before) / steps
        ranks.wait()
    result = {
        "losses": losses,
        "step": statistics.median(lengths[WARMUP:]),
        "sent": sent,
        "control_seconds": spent["seconds"] / steps,
        "control_calls": spent["calls"] / steps,
        **sizes,
    }
    print(json.dumps(result))


def make(ranks: Any, *, sharding: Any, rows: int) -> tuple[Any, dict[str, int]]:
    """Model, objective, optimiser, and bytes of fp32 in layers and around them."""
    from minna.models import build
    from minna.models.family import GptNeoXShape, find_family
    from minna.objectives import CausalLM
    from minna.train.optim import AdamWSettings, make_optimisers
    from minna.train.parallel import place
    from minna.train.protocols import Parts
    from minna.train.quality import bits_per_byte
    from minna.train.schedule import Cosine

    model = build(GptNeoXShape(**SHAPE), vocab=VOCAB)
    model.initialise(seed=0)
    everything = 4 * sum(p.numel() for p in model.parameters())
    inside = 4 * sum(p.numel() for n, p in model.named_parameters() if n.startswith("layers."))
    objective = CausalLM()
    units = find_family("gpt_neox").shard_units
    placement = place(
        model,
        objective,
        device="cpu",
        sharding=sharding,
        units=units,
        ranks=ranks,
        precision="fp32",
    )
    parts = Parts(
        model=model,
        objective=objective,
        placement=placement,
        stream=Rows(rank=ranks.rank, rows=rows),
        optimisers=make_optimisers(model, settings=AdamWSettings(lr=1e-3)),
        schedule=Cosine(warmup=2),
        clip=1.0,
        evaluators=[],
        weights={"next_token": 1.0},
        micro_batch_tokens=ROWS * ROW,
        accumulation=1,
        flops_per_token=1,
        quality=bits_per_byte(1.0),
    )
    return parts, {"bytes": everything, "layers": inside}


def written() -> int:
    """Bytes this process has written so far, to files and sockets."""
    lines = Path("/proc/self/io").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("wchar"))


def theory(ranks: int, sharding: str, *, everything: int, layers: int, gloo: bool) -> float:
    """Bytes one rank sends in a step: rings pass on (N - 1) / N of what is gathered or reduced."""
    share = (ranks - 1) / ranks
    if sharding == "replicate":
        return 2 * share * everything
    # gathered for forward, layers once more for backward; then gradients go to their owners
    reduced = 2 if gloo else 1  # gloo has no reduce-scatter: torch does an all-reduce there
    return share * (everything + layers) + reduced * share * everything


def table(found: dict[str, list[list[dict[str, Any]]]]) -> str:
    """Medians over rounds."""
    steps = {
        name: [max(rank["step"] for rank in round_) for round_ in rounds]
        for name, rounds in found.items()
    }
    reference = found["1 rank"][0][0]["losses"]
    size, count = found["1 rank"][0][0]["bytes"] / 1e6, len(steps["1 rank"])
    heads = ("", "losses differ by", "sent by a rank in a step", "gloo's algorithms", "rings")
    heads += ("a step", "over one rank's rows alone", "of it, words between ranks")
    lines = [
        f"{processor()}, {os.cpu_count()} cores; {size:.1f} MB of weights; {count} rounds",
        "",
        f"| {' | '.join(heads)} |",
        "|---" * len(heads) + "|",
    ]
    for name, (ranks, sharding, rows) in CASES.items():
        rounds = found[name]
        one = rounds[0][0]
        length = statistics.median(steps[name])
        text = f"| {name} | "
        if ranks == 1:
            lines.append(text + f"- | - | - | - | {1e3 * length:.0f} ms | - | - |")
            continue
        pairs = zip(one["losses"], reference, strict=True)
        worst = max(abs(left - right) for left, right in pairs)
        sizes = {"everything": one["bytes"], "layers": one["layers"]}
        expected, rings = (theory(ranks, sharding, **sizes, gloo=gloo) for gloo in (True, False))
        sent = statistics.median(rank["sent"] for round_ in rounds for rank in round_)
        over = statistics.median(
            one - other for one, other in zip(steps[name], steps[BASE[rows]], strict=True)
        )
        control = statistics.median(r["control_seconds"] for round_ in rounds for r in round_)
        verdict = "" if worst <= TOLERANCE else " (!)"
        cells = (
            f"{worst:.1e}{verdict}",
            f"{sent / 1e6:.2f} MB",
            f"{expected / 1e6:.2f} MB (x {sent / expected:.3f})",
            f"{rings / 1e6:.2f} MB",
            f"{1e3 * length:.0f} ms",
            f"{1e3 * over:.0f} ms",
            f"{one['control_calls']:.0f}: {1e3 * control:.1f} ms",
        )
        lines.append(text + " | ".join(cells) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
