"""Generation against transformers' `generate`: same weights, same prompts, greedy, no early stop.

Every variant lives in a process of its own (so that its peak memory is its own), loads the same
model dir, and waits. A round asks each once, in turn, so that a noisy minute falls on all of them;
medians are over rounds. Tokens per second count the prompt's reading as part of the time.

    python bench/bench_generate.py [--quick] [--rounds 5] [--threads 2] [--peer-python PATH]

The peer's environment: `pip install -r bench/env/generate.txt`.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

VOCAB, PROMPT, NEW = 32000, 128, 128
BATCHES = (1, 8)
VARIANTS = ("minna fp32", "minna bf16", "transformers fp32", "transformers bf16")


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
    """Peak resident memory of this process."""
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3 * 1.024


def open_minna(folder: Path, dtype: str) -> tuple[Any, dict[str, Any]]:
    from minna.runtime import Engine, Request, load_model
    from minna.runtime.engine import cache_dtype

    model = load_model(folder, device="cpu", dtype=dtype)
    cache = str(cache_dtype(model.device, model.dtype)).removeprefix("torch.")

    def answer(asked: list[list[int]]) -> int:
        requests = [Request(prompt=tuple(p), max_new_tokens=NEW, stop_ids=()) for p in asked]
        return sum(len(r.ids) for r in Engine(model, slots=len(asked)).run(requests))

    return answer, {"weights": type(model.decoder.head).__name__, "cache": cache}


def open_transformers(folder: Path, dtype: str) -> tuple[Any, dict[str, Any]]:
    import torch
    import transformers

    transformers.logging.set_verbosity_error()
    kind = {"fp32": torch.float32, "bf16": torch.bfloat16}[dtype]
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=kind).eval()

    def answer(asked: list[list[int]]) -> int:
        ids = torch.tensor(asked)
        out = model.generate(
            ids,
            attention_mask=torch.ones_like(ids),
            do_sample=False,
            pad_token_id=3,
            max_new_tokens=NEW,
            min_new_tokens=NEW,
            use_cache=True,
        )
        return out.numel() - ids.numel()

    attention = model.config._attn_implementation  # noqa: SLF001 - the only place that tells
    return answer, {"transformers": transformers.__version__, "attention": attention}


def work(variant: str, folder: Path, threads: int) -> None:
    """Answer the parent's orders, one JSON line each."""
    import torch

    torch.set_num_threads(threads)
    name, dtype = variant.split()
    answer, settings = (open_minna if name == "minna" else open_transformers)(folder, dtype)
    settings |= {"torch": torch.__version__, "threads": torch.get_num_threads()}
    print(json.dumps({"settings": settings, "peak": peak_mb()}), flush=True)
    for line in sys.stdin:
        order = json.loads(line)
        asked = prompts(order["batch"], order["seed"])
        wall, cpu = time.perf_counter(), time.process_time()
        tokens = answer(asked)
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        done = {"tokens": tokens, "wall": wall, "cpu": cpu, "peak": peak_mb()}
        print(json.dumps(done), flush=True)


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
        self.settings = self.read()["settings"]
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


def table(workers: dict[str, Worker]) -> str:
    """Markdown: medians, spread, ratio to transformers in the same type (by round)."""
    lines = [
        "| batch | variant | median tok/s | min-max | CPU s | vs transformers | peak RSS MB |",
        "|---|---|---|---|---|---|---|",
    ]
    for batch in BATCHES:
        for variant, worker in workers.items():
            rows = worker.rows[batch]
            speed = [row["tokens"] / row["wall"] for row in rows]
            peer = workers[f"transformers {variant.split()[1]}"].rows[batch]
            ratios = [other["wall"] / row["wall"] for row, other in zip(rows, peer, strict=True)]
            spread = f"{min(speed):.1f}-{max(speed):.1f}"
            ratio = f"{statistics.median(ratios):.2f} ({min(ratios):.2f}-{max(ratios):.2f})"
            cpu = statistics.median(row["cpu"] for row in rows)
            lines.append(
                f"| {batch} | {variant} | {statistics.median(speed):.1f} | {spread} | {cpu:.1f} "
                f"| {ratio} | {max(row['peak'] for row in rows):.0f} |"
            )
    return "\n".join(lines)


def main() -> None:
    arguments = argparse.ArgumentParser(description="Generation, us against transformers.")
    arguments.add_argument("--rounds", type=int, default=5)
    arguments.add_argument("--quick", action="store_true", help="2 rounds")
    arguments.add_argument("--threads", type=int, default=2)
    arguments.add_argument("--peer-python", default=sys.executable)
    arguments.add_argument("--work", help=argparse.SUPPRESS)
    arguments.add_argument("--model", type=Path, help=argparse.SUPPRESS)
    given = arguments.parse_args()
    if given.work:
        work(given.work, given.model, given.threads)
        return
    rounds = 2 if given.quick else given.rounds
    with tempfile.TemporaryDirectory() as name:
        write_model(Path(name))
        workers = {
            variant: Worker(
                variant,
                Path(name),
                given.threads,
                sys.executable if variant.startswith("minna") else given.peer_python,
            )
            for variant in VARIANTS
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
        f"{rounds} interleaved rounds\n"
    )
    print(table(workers))
    print()
    for variant, worker in workers.items():
        print(f"- {variant}: {', '.join(f'{k} {v}' for k, v in worker.settings.items())}")


if __name__ == "__main__":
    main()
