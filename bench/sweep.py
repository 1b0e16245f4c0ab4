"""Changes to a recipe side by side: the same data, seeds and tokens, bits per byte at the end.

A setting is better or it is not: this prints which, at equal tokens (a try with another batch gets
as many tokens, not as many steps; the warm-up shrinks with the run). Bits per byte do not depend on
how busy the machine is, tokens per second do. Every run is kept under --out and found there again,
so a sweep that was cut goes on, and the next one shares its baseline.

    python bench/sweep.py modern-toy --corpus build/corpus --tokenizer build/tokenizer \
        --steps 300 --try model.tied=true --try "optim.lr=4e-3 optim.matrix_lr=0.02"

A file of tries is a TOML with `try = ["model.tied=true", ...]`; --set changes all runs alike. The
difference between seeds (--seeds 2) says which differences are worth believing.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import statistics
import tomllib
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class Result:
    """What one run came to."""

    bits_per_byte: float
    tokens_per_second: float


def main() -> None:
    """Run the baseline and every try, and print the table as it grows."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("recipe")
    parser.add_argument("--corpus", type=Path, required=True)
    parser.add_argument("--tokenizer", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=Path("build/sweep"))
    parser.add_argument("--steps", type=int, default=300, help="of the recipe's own batch")
    parser.add_argument("--seeds", type=int, default=1, help="runs of each try")
    parser.add_argument("--set", action="append", default=[], help="overrides of every run")
    parser.add_argument("--try", action="append", default=[], dest="tries", help="overrides")
    parser.add_argument("--file", type=Path, help="a TOML file: try = [...]")
    options = parser.parse_args()
    tries: list[str] = options.tries
    if options.file:
        tries = tries + tomllib.loads(options.file.read_text(encoding="utf-8"))["try"]
    print(f"{options.recipe}, {options.steps} steps of its batch, {options.seeds} seeds a try\n")
    print("| change | parameters | MFLOP a token | bits per byte | difference | tokens/s |")
    print("|---|---|---|---|---|---|")
    base: float | None = None
    for change in ["", *tries]:
        overrides = [*options.set, *change.split()]
        results = [run(options, overrides, seed=seed) for seed in range(options.seeds)]
        mean = statistics.mean(result.bits_per_byte for result in results)
        base = mean if base is None else base
        parameters, flops = size(options.recipe, overrides)
        print(
            f"| {change or 'none'} | {parameters / 1e6:.2f} M | {flops / 1e6:.1f} "
            f"| {' '.join(f'{result.bits_per_byte:.4f}' for result in results)} "
            f"| {mean - base:+.4f} "
            f"| {statistics.mean(result.tokens_per_second for result in results):,.0f} |",
            flush=True,
        )


def run(options: argparse.Namespace, overrides: list[str], *, seed: int) -> Result:
    """Train one try, or read what an earlier sweep found."""
    from minna import recipe

    chosen = recipe.load(options.recipe, overrides=scaled(options, overrides, seed=seed))
    name = hashlib.sha256(recipe.to_toml(chosen).encode()).hexdigest()[:12]
    out = options.out / name
    recipe.run_recipe(chosen, corpus=options.corpus, tokenizer=options.tokenizer, out=out)
    lines = (out / "log.jsonl").read_text(encoding="utf-8").splitlines()
    events = [json.loads(line) for line in lines]
    looks = [event for event in events if event["event"] == "evaluate"]
    speeds = [event["tokens_per_second"] for event in events if event["event"] == "train"]
    return Result(
        bits_per_byte=looks[-1]["bits_per_byte"], tokens_per_second=statistics.median(speeds)
    )


def scaled(options: argparse.Namespace, overrides: list[str], *, seed: int) -> list[str]:
    """The overrides of a run that sees as many tokens as --steps of the recipe's own batch."""
    from minna import recipe

    whole = recipe.load(options.recipe)
    mine = recipe.load(options.recipe, overrides=overrides)
    steps = options.steps * whole.train.tokens_per_step // mine.train.tokens_per_step
    warmup = max(1, round(mine.schedule.warmup * steps / mine.train.steps))
    return [
        *overrides,
        f"train.steps={steps}",
        f"schedule.warmup={warmup}",
        f"train.evaluate_every={steps}",
        f"train.save_every={steps}",
        f"train.seed={seed}",
        "evaluate.prompts=[]",
    ]


def size(name: str, overrides: list[str]) -> tuple[int, int]:
    """Parameters, and floating-point operations of a trained token."""
    import torch

    from minna import recipe
    from minna.models import build

    chosen = recipe.load(name, overrides=overrides)
    with torch.device("meta"):
        model = build(chosen.model, vocab=chosen.tokenizer.vocab_size)
    flops = model.flops_per_token(row_tokens=chosen.stream.row_tokens)
    return sum(p.numel() for p in model.parameters()), flops


if __name__ == "__main__":
    main()
