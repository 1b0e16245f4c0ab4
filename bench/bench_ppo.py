"""Reinforcement beside TRL: PPO beside its PPOTrainer, GRPO beside its GRPOTrainer, on one machine.

A random GPT-NeoX of 4 layers x 256, 4 heads, ffn 1,024, vocabulary 4,096 answers prompts of 16
tokens of real sentences with exactly 32 tokens (nothing ends an answer), on both sides in fp32, or
as `--precision bf16` says.

PPO: 128 answers a rollout, four passes in minibatches of 32, with a reference, a critic of its own
and a reward model, each of the policy's size; all four networks are the same files on both sides.
GRPO: 64 prompts x 4 answers, one pass in updates of 32, a rule (the share of even ids), no
reference. Every round of every variant is a process of its own; what is timed is whole rollouts
with all that is learned from them.

TRL took PPOTrainer out after release 1.12.0: PPO is measured beside that one, in an environment of
its own (bench/env/ppo.txt), GRPO beside the current one.

    python bench/bench_ppo.py [--rounds 5] [--rollouts 4] [--peer-python PATH] [--ppo-python PATH]
    python bench/bench_ppo.py --quick       a smoke run: 1 round of 1 rollout
    python bench/bench_ppo.py --profile     where our own time goes, function by function
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

from machine import processor
from ppo_ours import PROMPT, prepare, profile, run_minna
from tune_work import MALLOC, call, load_average, make_tokenizer, say, spread, told

HERE = Path(__file__).resolve()
VOCAB, ANSWER = 4096, 32
PLANS: dict[str, dict[str, Any]] = {
    "ppo": {
        "rollout_rows": 128,
        "update_rows": 32,
        "samples": 1,
        "passes": 4,
        "kl": 0.05,
        "lr": 1e-4,
    },
    "grpo": {
        "rollout_rows": 256,
        "update_rows": 32,
        "samples": 4,
        "passes": 1,
        "kl": 0.0,
        "lr": 1e-3,
    },
}
# kind -> name -> (side, answers that TRL makes at once, environment); the last is ours
VARIANTS: dict[str, dict[str, tuple[str, int, dict[str, str]]]] = {
    "ppo": {
        "TRL PPOTrainer, 64 answers at once": ("trl-ppo", 64, {}),
        "TRL PPOTrainer, 128 answers at once": ("trl-ppo", 128, {}),
        "TRL PPOTrainer, 128 at once, our allocator settings": ("trl-ppo", 128, MALLOC),
        "minna PPO": ("minna-ppo", 0, MALLOC),
    },
    "grpo": {
        "TRL GRPOTrainer, 32 answers at once": ("trl-grpo", 32, {}),
        "TRL GRPOTrainer, 256 answers at once": ("trl-grpo", 256, {}),
        "TRL GRPOTrainer, 256 at once, our allocator settings": ("trl-grpo", 256, MALLOC),
        "minna GRPO": ("minna-grpo", 0, MALLOC),
    },
}
COLUMNS = (
    "variant",
    "answers/s, median (range)",
    "minna / it",
    "peak memory, MB",
    "minna / it",
    "a rollout, s",
    "generation",
    "scoring",
    "updates",
    "updates of weights",
    "mean score, first and last rollout",
)


def main() -> None:
    """Prepare networks and prompts, run the rounds, print the tables; or be one measurement."""
    options = parse()
    if options.worker:
        print(json.dumps(work(options)))
        return
    if options.quick:
        options.rounds, options.warmup, options.rollouts = 1, 1, 1
    options.work.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=options.work) as name:
        folder = Path(name)
        prepare(folder, make_tokenizer(options.work, vocab=VOCAB))
        for kind, plan in PLANS.items():
            whole = plan | {"rollouts": options.warmup + options.rollouts}
            whole |= {"answer_tokens": ANSWER, "prompt_tokens": PROMPT, "beta2": 0.95}
            whole |= {"precision": options.precision}
            (folder / f"{kind}.json").write_text(json.dumps(whole), encoding="utf-8")
        for kind in options.only.split(","):
            if options.profile:
                found = call(
                    HERE,
                    f"profile-{kind}",
                    python=sys.executable,
                    threads=options.threads,
                    arguments={"folder": folder},
                    environment=MALLOC,
                )
                print(found["text"])
            else:
                print(table(kind, rounds_of(kind, folder, options), options), end="\n\n")


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    workers = {side for kind in VARIANTS.values() for side, _, _ in kind.values()}
    workers |= {"profile-ppo", "profile-grpo"}
    parser.add_argument("worker", nargs="?", choices=sorted(workers), help=argparse.SUPPRESS)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--rollouts", type=int, default=4, help="timed rollouts of a round")
    parser.add_argument("--warmup", type=int, default=1)
    parser.add_argument("--quick", action="store_true", help="1 round of 1 rollout")
    parser.add_argument("--profile", action="store_true", help="only where our time goes")
    parser.add_argument("--only", default="ppo,grpo", help="one of them")
    parser.add_argument("--work", type=Path, default=Path("build/bench-tune"))
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--precision", default="fp32", choices=["fp32", "bf16"], help="both sides")
    parser.add_argument("--peer-python", default=sys.executable, help="has TRL, for GRPO")
    parser.add_argument("--ppo-python", default=sys.executable, help="has a TRL with PPOTrainer")
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--at-once", type=int, default=0, help=argparse.SUPPRESS)
    return parser.parse_args()


def rounds_of(kind: str, folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Every round of every variant of a kind."""
    pythons = {"trl-ppo": options.ppo_python, "trl-grpo": options.peer_python}
    results: dict[str, list[dict[str, Any]]] = {name: [] for name in VARIANTS[kind]}
    for number in range(options.rounds):
        for name, (side, at_once, environment) in VARIANTS[kind].items():
            found = call(
                HERE,
                side,
                python=pythons.get(side, sys.executable),
                threads=options.threads,
                arguments={"folder": folder, "at-once": at_once},
                environment=environment,
            )
            results[name].append(found)
            speed = speed_of(found, kind, options)
            say(f"round {number + 1} {name}: {speed:.1f} answers/s, load {load_average()}")
    return results


def work(options: argparse.Namespace) -> dict[str, Any]:
    """One measurement."""
    side, kind = options.worker.split("-")
    plan = json.loads((options.folder / f"{kind}.json").read_text(encoding="utf-8"))
    if side == "minna":
        return run_minna(options.folder, kind, plan)
    if side == "profile":
        return profile(options.folder, kind, plan)
    import ppo_peers

    run = ppo_peers.run_ppo if kind == "ppo" else ppo_peers.run_grpo
    return run(options.folder, plan, at_once=options.at_once)


def speed_of(found: dict[str, Any], kind: str, options: argparse.Namespace) -> float:
    """Answers made and learned from per second, after those that warm up."""
    seconds = found["ends"][-1] - found["ends"][options.warmup]
    return PLANS[kind]["rollout_rows"] * options.rollouts / seconds


def parts_of(found: dict[str, Any], options: argparse.Namespace) -> dict[str, float]:
    """Seconds of a rollout: generation, scoring, updates; what a side does not tell is left out."""
    first, last = found["spent"][options.warmup], found["spent"][-1]
    apart = {name: (last[name] - first.get(name, 0.0)) / options.rollouts for name in last}
    whole = (found["ends"][-1] - found["ends"][options.warmup]) / options.rollouts
    told_of = {"whole": whole, "generation": apart["generation"]}
    if "rollout" in apart:
        told_of["scoring"] = apart["rollout"] - apart["generation"]
        told_of["updates"] = whole - apart["rollout"]
    return told_of


def _setting(kind: str, options: argparse.Namespace) -> str:
    import torch

    return (
        f"{kind.upper()}: {options.rounds} interleaved rounds of {options.rollouts} rollouts of "
        f"{PLANS[kind]['rollout_rows']} answers, after {options.warmup} to warm up; "
        f"{options.threads} threads, torch {torch.__version__}, {processor()}; load average "
        f"{load_average()}"
    )


def table(kind: str, results: dict[str, list[dict[str, Any]]], options: argparse.Namespace) -> str:
    """Markdown: speed, ratio, memory, where a rollout's seconds go, what was scored."""
    plan = PLANS[kind]
    (*_, ours) = results
    lines = [
        _setting(kind, options),
        "",
        f"| {' | '.join(COLUMNS)} |",
        "|---" * len(COLUMNS) + "|",
    ]
    own = statistics.median(one["peak"] for one in results[ours])
    for name, rounds in results.items():
        speeds = [speed_of(one, kind, options) for one in rounds]
        mine = [speed_of(one, kind, options) for one in results[ours]]
        faster = [a / b for a, b in zip(mine, speeds, strict=True)]
        memory = statistics.median(one["peak"] for one in rounds)
        parts = [parts_of(one, options) for one in rounds]
        seconds = [
            f"{statistics.median(one[part] for one in parts):.2f}" if part in parts[0] else "-"
            for part in ("whole", "generation", "scoring", "updates")
        ]
        scores = rounds[0]["scores"]
        lines.append(
            f"| {name} | {spread(speeds, digits=1)} | {spread(faster, digits=2)} "
            f"| {memory / 1e6:,.0f} | {own / memory:.2f} | {' | '.join(seconds)} "
            f"| {rounds[0]['updates']} | {scores[0]:.3f}, {scores[-1]:.3f} |"
        )
    same = {name: plan[name] for name in ("update_rows", "passes", "samples", "kl", "lr")}
    same |= {"temperature": 1.0, "optimiser": "fused AdamW", "decay": 0}
    settings = {name: rounds[0]["settings"] for name, rounds in results.items()}
    return "\n".join([*lines, "", told({"both": same, **settings})])


if __name__ == "__main__":
    main()
