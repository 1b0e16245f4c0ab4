"""Rollouts of reinforcement: how long a token of 64 answers takes, and where the time goes.

A policy that learns is small steps of many rows: the model's own part is short, so whatever Python
does row by row is most of the time. A random GPT-NeoX (4 layers of 256, 4,096 words) answers 64
prompts of 32 tokens with 64 tokens each, drawn from the full distribution, all at once and never
stopped. `plain` weights are those training updates, `packed` those of a loaded model dir.

    python bench/bench_rollout.py [--rounds 5] [--top-p 0.9] [--penalty 1.1] [--profile]
"""

from __future__ import annotations

import argparse
import cProfile
import pstats
import random
import statistics
import tempfile
import time
from pathlib import Path

import sentencepiece
import torch

from minna.models import Decoder
from minna.models.family import GptNeoXShape
from minna.runtime import Engine, LoadedModel, Request, Sampling
from minna.runtime.pack import pack
from minna.tokenizer import load_tokenizer

ROWS, PROMPT, NEW, VOCAB = 64, 32, 64, 4096


def make_model(layout: str) -> LoadedModel:
    """A random model, and a tokenizer of single characters."""
    decoder = Decoder(GptNeoXShape(layers=4, width=256, heads=4, ffn=1024).decoder(VOCAB))
    decoder.initialise(seed=0)
    decoder.eval().requires_grad_(requires_grad=False)
    if layout == "packed":
        pack(decoder)
    with tempfile.TemporaryDirectory() as folder:
        words = Path(folder) / "words.txt"
        words.write_text("\n".join(chr(0x4E00 + n) for n in range(VOCAB)), encoding="utf-8")
        sentencepiece.SentencePieceTrainer.train(
            input=str(words),
            model_prefix=str(Path(folder) / "tokenizer"),
            vocab_size=VOCAB,
            model_type="char",
            character_coverage=1.0,
            minloglevel=2,
        )
        tokenizer = load_tokenizer(Path(folder))
    return LoadedModel(decoder=decoder, tokenizer=tokenizer, config={}, generation={})


def requests(seed: int, sampling: dict[str, float]) -> list[Request]:
    """One round's prompts."""
    chance = random.Random(seed)
    return [
        Request(
            prompt=tuple(chance.randrange(4, VOCAB) for _ in range(PROMPT)),
            max_new_tokens=NEW,
            sampling=Sampling(temperature=1.0, seed=1000 * seed + row, **sampling),
            stop_ids=(),
        )
        for row in range(ROWS)
    ]


def measure(layout: str, *, rounds: int, sampling: dict[str, float], profile: bool) -> str:
    """Answer some rounds; a line of what they took."""
    engine = Engine(make_model(layout), slots=ROWS)
    engine.run(requests(0, sampling))
    times: list[float] = []
    for seed in range(1, rounds + 1):
        asked = requests(seed, sampling)
        engine.forget()
        start = time.perf_counter()
        results = engine.run(asked)
        times.append((time.perf_counter() - start) / NEW * 1000)
        assert all(len(result.ids) == NEW for result in results)
    if profile:
        watch = cProfile.Profile()
        engine.forget()
        watch.runcall(engine.run, requests(rounds + 1, sampling))
        pstats.Stats(watch).sort_stats("tottime").print_stats(14)
    low, high = min(times), max(times)
    return f"| {layout} | {statistics.median(times):.1f} ({low:.1f} to {high:.1f}) |"


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--top-p", type=float)
    parser.add_argument("--penalty", type=float)
    parser.add_argument("--profile", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    given = {"top_p": options.top_p, "repetition_penalty": options.penalty}
    sampling = {name: value for name, value in given.items() if value is not None}
    print(f"{ROWS} rows x {NEW} tokens, {options.threads} threads, torch {torch.__version__}")
    print("| weights | ms per token of all rows, median (range) |\n|---|---|")
    for layout in ("plain", "packed"):
        line = measure(layout, rounds=options.rounds, sampling=sampling, profile=options.profile)
        print(line, flush=True)


if __name__ == "__main__":
    main()
