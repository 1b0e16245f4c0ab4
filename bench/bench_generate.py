"""Generation against transformers and llama.cpp: same weights, same prompts, greedy, no early stop.

Every variant lives in a process of its own (so that its peak memory is its own), loads the same
model dir, and waits. A round asks each once, in turn, so that a noisy minute falls on all of them;
medians are over rounds. Tokens per second count the prompt's reading as part of the time; the rate
at which weights are read does not (the time of the same prompt with one new token is taken off),
and is compared with the bandwidth measured at the start.

    python bench/bench_generate.py [--quick] [--rounds 5] [--threads 2] [--only minna,llama.cpp]

The peer's environment: `pip install -r bench/env/generate.txt`.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from generate_peers import (
    open_llama_cpp,
    open_minna,
    open_transformers,
    read_bandwidth,
    write_gguf,
)

VOCAB, PROMPT, NEW = 32000, 128, 128
BATCHES = (1, 8)
GGUF = ("BF16", "Q8_0", "Q4_0")
PEER = "transformers bf16"
VARIANTS = (
    *(f"minna {kind}" for kind in ("fp32", "bf16", "int8", "int4")),
    *(f"transformers {kind}" for kind in ("fp32", "bf16", "int8")),
    *(f"llama.cpp {kind}" for kind in GGUF),
)
OPEN = {"minna": open_minna, "transformers": open_transformers, "llama.cpp": open_llama_cpp}


def write_model(folder: Path) -> None:
    """A GPT-NeoX of 134 M parameters with random weights, and a tokenizer of 32,000 words."""
    import sentencepiece
    from safetensors.torch import save_file

    from minna.models import Decoder, find_family
    from minna.models.family import GptNeoXShape

    family = find_family("gpt_neox")
    decoder = Decoder(GptNeoXShape(layers=12, width=768, heads=12, ffn=3072).decoder(VOCAB))
    decoder.initialise(seed=0)
    state = family.to_disk(decoder.state_dict(), decoder.config)
    tensors = {name: tensor.contiguous() for name, tensor in state.items()}
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    config = family.config_to_disk(decoder.config) | {"bos_token_id": 1, "eos_token_id": 2}
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    words = folder / "words.txt"
    codes = range(0x4E00, 0x4E00 + VOCAB)
    words.write_text("\n".join(chr(code) for code in codes), encoding="utf-8")
    sentencepiece.SentencePieceTrainer.train(
        input=str(words),
        model_prefix=str(folder / "tokenizer"),
        vocab_size=VOCAB,
        model_type="char",
        character_coverage=1.0,
        hard_vocab_limit=False,
        minloglevel=2,
    )


def prompts(batch: int, seed: int) -> list[list[int]]:
    """Random prompts, different in every round, the same for every variant."""
    import random

    chance = random.Random(1000 * seed + batch)
    return [[chance.randrange(4, 20000) for _ in range(PROMPT)] for _ in range(batch)]


def peak_mb() -> float:
    """Peak resident memory of this program (getrusage would count what its parent held)."""
    from minna.runtime.memory import peak_bytes

    return (peak_bytes() or 0) / 1e6


def work(variant: str, folder: Path, threads: int) -> None:
    """Answer the parent's orders, one JSON line each."""
    name, kind = variant.split()
    answer, read, settings = OPEN[name](folder, kind, threads)
    settings |= {"threads": threads}
    say = os.fdopen(os.dup(1), "w", encoding="utf-8")  # what a peer prints goes elsewhere
    os.dup2(2, 1)
    print(json.dumps({"settings": settings, "read": read}), file=say, flush=True)
    for line in sys.stdin:
        order = json.loads(line)
        asked = prompts(order["batch"], order["seed"])
        start = time.perf_counter()
        answer(asked, 1)
        first = time.perf_counter() - start
        start, cpu = time.perf_counter(), time.process_time()
        tokens = answer(asked, NEW)
        wall, cpu = time.perf_counter() - start, time.process_time() - cpu
        done = {"tokens": tokens, "wall": wall, "first": first, "cpu": cpu, "peak": peak_mb()}
        print(json.dumps(done), file=say, flush=True)


class Worker:
    """A variant in its own process."""

    def __init__(self, variant: str, folder: Path, threads: int, python: str) -> None:
        command = [python, __file__, "--work", variant, "--model", str(folder)]
        self.process = subprocess.Popen(
            [*command, "--threads", str(threads)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            encoding="utf-8",
        )
        opened = self.read()
        self.settings, self.bytes = opened["settings"], opened["read"]
        self.rows: dict[int, list[dict[str, float]]] = {batch: [] for batch in BATCHES}

    def read(self) -> dict[str, Any]:
        """One line of its output."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            sys.exit(f"{self.process.args} ended with {self.process.wait()}")
        return json.loads(line)

    def ask(self, batch: int, seed: int) -> dict[str, float]:
        """Let it answer a batch of prompts."""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps({"batch": batch, "seed": seed}) + "\n")
        self.process.stdin.flush()
        return self.read()


def table(workers: dict[str, Worker], bandwidth: float) -> str:
    """Markdown: medians, spread, ratio to transformers bf16 (by round), what decoding reads."""
    lines = [
        "| batch | variant | tok/s | min-max | vs transformers bf16 | GB/s | of read | peak MB |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for batch in BATCHES:
        for variant, worker in workers.items():
            rows = worker.rows[batch]
            speed = [row["tokens"] / row["wall"] for row in rows]
            cells = [str(batch), variant, f"{statistics.median(speed):.1f}"]
            cells.append(f"{min(speed):.1f}-{max(speed):.1f}")
            if (peer := workers.get(PEER)) is None:
                cells.append("-")
            else:
                pairs = zip(rows, peer.rows[batch], strict=True)
                ratios = [other["wall"] / row["wall"] for row, other in pairs]
                spread = f"({min(ratios):.2f}-{max(ratios):.2f})"
                cells.append(f"{statistics.median(ratios):.2f} {spread}")
            decode = statistics.median(row["wall"] - row["first"] for row in rows)
            rate = worker.bytes * (NEW - 1) / decode / 1e9
            cells += [f"{rate:.1f}", f"{rate / bandwidth:.0%}"]
            cells.append(f"{max(row['peak'] for row in rows):.0f}")
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    arguments = argparse.ArgumentParser(description="Generation, us against transformers.")
    arguments.add_argument("--rounds", type=int, default=5)
    arguments.add_argument("--quick", action="store_true", help="2 rounds")
    arguments.add_argument("--threads", type=int, default=2)
    arguments.add_argument("--peer-python", default=sys.executable)
    arguments.add_argument("--only", default="", help="names or kinds, by commas")
    arguments.add_argument("--work", help=argparse.SUPPRESS)
    arguments.add_argument("--model", type=Path, help=argparse.SUPPRESS)
    given = arguments.parse_args()
    if given.work:
        work(given.work, given.model, given.threads)
        return
    rounds = 2 if given.quick else given.rounds
    only = set(filter(None, given.only.split(",")))
    wanted = [v for v in VARIANTS if not only or only & {v, *v.split()}]
    bandwidth = read_bandwidth(given.threads)
    with tempfile.TemporaryDirectory() as name:
        write_model(Path(name))
        sizes = {
            kind: write_gguf(Path(name), kind) for kind in GGUF if f"llama.cpp {kind}" in wanted
        }
        (Path(name) / "gguf.json").write_text(json.dumps(sizes), encoding="utf-8")
        workers = {
            variant: Worker(
                variant,
                Path(name),
                given.threads,
                sys.executable if variant.startswith("minna") else given.peer_python,
            )
            for variant in wanted
        }
        for worker in workers.values():
            worker.ask(1, 0)  # warm-up, not counted
        for number in range(rounds):
            for batch in BATCHES:
                for variant, worker in workers.items():
                    row = worker.ask(batch, number + 1)
                    worker.rows[batch].append(row)
                    print(
                        f"round {number + 1} batch {batch} {variant}: {row['wall']:.2f} s",
                        file=sys.stderr,
                    )
        for worker in workers.values():
            worker.process.communicate()
    print(
        f"GPT-NeoX 12 layers x 768, vocabulary {VOCAB}, greedy, prompt {PROMPT} + {NEW} new, "
        f"{rounds} interleaved rounds; {given.threads} threads read {bandwidth:.1f} GB/s\n"
    )
    print(table(workers, bandwidth))
    print()
    for variant, worker in workers.items():
        print(f"- {variant}: {', '.join(f'{k} {v}' for k, v in worker.settings.items())}")


if __name__ == "__main__":
    main()
