"""Pre-training of HuBERT and wav2vec 2.0 beside plain loops around transformers' models.

Ours is what `minna train laptop-hubert-1` and `laptop-wav2vec2` do (3 layers x 192, convolutions of
128 channels): clips of about one length, cut to the shortest, 32 s in a batch. Theirs are loops
around HubertModel and Wav2Vec2ForPreTraining with padded batches of as many clips as are 32 s in
the mean, in random order, and sorted by length (batches of neighbours, drawn in any order). Both
have the same clips, first weights, rates of learning, optimiser, clipping, masks (as often and as
long), dropout, penalties and arithmetic (bf16 where this machine does it faster). Both read decoded
samples, 16 bits, mapped from a file: what a plain loop would take to open recordings is left out.

What is counted is speech: seconds of audio that are heard, without padding. Every round of every
variant is a process of its own, rounds are interleaved. What is timed is whole steps, from the end
of one to the end of the next: batch, masks, forward, backward, clipping, optimiser. Seconds of the
processor stand beside those of the clock, which others' work lengthens. What the weights are worth
afterwards is measured by one and the same code, ours, on held-out clips with the same frames
hidden, in fp32: nats of a hidden frame.

    python bench/bench_speech.py [--rounds 5] [--steps 60] [--corpus DIR] [--peer-python PATH]
    python bench/bench_speech.py --quick    a smoke run: 1 round of 2 steps of one family

Without --corpus sentences are spoken by `minna corpus build synth`, once.
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
from minna.train.allocator import SETTINGS
from speech_ours import RECIPES, make_corpus, make_labels, prepare, run_held_out, run_minna
from tune_work import call, load_average, say, spread, told

HERE = Path(__file__).resolve()
PEER = HERE.parent / "speech_peer.py"
OURS = "minna"
RANDOM, SORTED = "transformers, padded, random order", "transformers, padded, sorted by length"
# name -> (order of the peer's clips, environment)
VARIANTS: dict[str, tuple[str, dict[str, str]]] = {
    RANDOM: ("random", {}),
    SORTED: ("sorted", {}),
    f"{RANDOM}, our allocator settings": ("random", SETTINGS),
    f"{SORTED}, our allocator settings": ("sorted", SETTINGS),
    OURS: ("", SETTINGS),
}
NATS = {"hubert": "valid/loss/clusters", "wav2vec2": "valid/loss/contrast"}
COLUMNS = (
    "variant",
    "s of speech / s, median (range)",
    "minna / it",
    "s of speech / s of processor",
    "minna / it",
    "padding",
    "peak memory, MB",
    "minna / it",
    "held-out nats",
)


def main() -> None:
    """Prepare what both sides read, run the rounds, print the tables; or be one measurement."""
    options = parse()
    if options.worker:
        print(json.dumps(WORKERS[options.worker](options)))
        return
    if options.quick:
        options.rounds, options.warmup, options.steps, options.family = 1, 1, 2, ["hubert"]
        options.sentences, options.minutes = 60, 2.0
    options.work.mkdir(parents=True, exist_ok=True)
    options.corpus = make_corpus(options)
    options.labels = make_labels(options.corpus, options)
    with tempfile.TemporaryDirectory(dir=options.work) as name:
        options.folder = Path(name)
        plans = prepare(options)
        wanted = [name for name in VARIANTS if options.only in name or name == OURS]
        for family, plan in plans.items():
            found: dict[str, list[dict[str, Any]]] = {name: [] for name in wanted}
            for number in range(options.rounds):
                for variant in wanted:
                    one = measure(variant, family, number, options)
                    found[variant].append(one)
                    say(
                        f"{family}, round {number + 1} {variant}: {one['speed']:.1f} s of speech "
                        f"in a second, {one['nats']:.4f} nats, load {load_average()}"
                    )
            start = held_out(family, options.folder / family, options)
            print(table(family, found, plan, options, start=start), flush=True)


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("worker", nargs="?", choices=list(WORKERS), help=argparse.SUPPRESS)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=60, help="timed steps of a round")
    parser.add_argument("--warmup", type=int, default=3)
    parser.add_argument("--minutes", type=float, default=30.0, help="of speech; 0: all there is")
    parser.add_argument("--family", nargs="+", choices=list(RECIPES), default=list(RECIPES))
    parser.add_argument("--only", default="", help="variants whose names hold this, and ours")
    parser.add_argument("--quick", action="store_true", help="1 round of 2 steps of one family")
    parser.add_argument("--corpus", type=Path, help="of clips; default: sentences are spoken")
    parser.add_argument("--sentences", type=int, default=600, help="that are spoken")
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--work", type=Path, default=Path("build/bench-speech"))
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--peer-python", default=sys.executable)
    parser.add_argument("--precision", default="auto", choices=["auto", "bf16", "fp32"])
    for name in ("folder", "labels", "trained"):
        parser.add_argument(f"--{name}", type=Path, help=argparse.SUPPRESS)
    return parser.parse_args()


def measure(variant: str, family: str, number: int, options: argparse.Namespace) -> dict[str, Any]:
    """One round of one variant, and what its weights are worth."""
    order, environment = VARIANTS[variant]
    trained = options.folder / "trained"
    if order:
        arguments = {"folder": options.folder, "order": order, "seed": number}
        script, worker, python = PEER, "run", options.peer_python
    else:
        arguments = ours(options)
        script, worker, python = HERE, "minna", sys.executable
    found = call(
        script,
        worker,
        python=python,
        threads=options.threads,
        arguments=arguments | {"family": family, "trained": trained},
        environment=environment,
    )
    begin = options.warmup
    ends = zip(found["ends"][begin], found["ends"][-1], strict=True)
    clock, spent = (last - first for first, last in ends)
    heard = sum(found["heard"][begin:])
    found |= {
        "speed": heard / clock,
        "thrift": heard / spent,
        "padding": 1 - heard / sum(found["computed"][begin:]),
        "step": heard / options.steps,
        "nats": held_out(family, trained, options),
    }
    return found


def ours(options: argparse.Namespace) -> dict[str, Any]:
    """What a process of our own is told."""
    names = ("folder", "corpus", "labels", "work", "minutes", "precision", "warmup", "steps")
    return {name: getattr(options, name) for name in names}


def held_out(family: str, trained: Path, options: argparse.Namespace) -> float:
    """Nats of a hidden frame of held-out clips."""
    found = call(
        HERE,
        "held-out",
        python=sys.executable,
        threads=options.threads,
        arguments=ours(options) | {"family": family, "trained": trained},
        environment=SETTINGS,
    )
    return found["figures"][NATS[family]]


def table(
    family: str,
    found: dict[str, list[dict[str, Any]]],
    plan: dict[str, Any],
    options: argparse.Namespace,
    *,
    start: float,
) -> str:
    """Markdown: speeds with their ranges, ratios of rounds, padding, memory, loss."""
    import torch

    setting = (
        f"{family}: {options.rounds} interleaved rounds of {options.steps} steps, after "
        f"{options.warmup} to warm up; {plan['clips']} clips, {plan['seconds'] / 60:.1f} minutes; "
        f"{options.threads} threads, torch {torch.__version__}, {processor()}; load average "
        f"{load_average()}. Held-out nats of the first weights: {start:.4f}."
    )
    lines = [setting, "", f"| {' | '.join(COLUMNS)} |", "|---" * len(COLUMNS) + "|"]
    mine = found[OURS]
    for name, rounds in found.items():
        pairs = list(zip(mine, rounds, strict=True))
        faster, thriftier = (
            spread([own[what] / one[what] for own, one in pairs], digits=2)
            for what in ("speed", "thrift")
        )
        memory, own_memory = (
            statistics.median(one["peak"] for one in all_) for all_ in (rounds, mine)
        )
        nats = spread([one["nats"] for one in rounds], digits=4)
        lines.append(
            f"| {name} | {spread([one['speed'] for one in rounds], digits=1)} | {faster} "
            f"| {statistics.median(one['thrift'] for one in rounds):.1f} | {thriftier} "
            f"| {statistics.median(one['padding'] for one in rounds):.0%} "
            f"| {memory / 1e6:,.0f} | {own_memory / memory:.2f} | {nats} |"
        )
    settings = {
        name: {"s of speech in a step": f"{rounds[0]['step']:.1f}"} | rounds[0]["settings"]
        for name, rounds in found.items()
    }
    same = {"rate": max(plan["rates"])} | {
        name: plan[name] for name in ("betas", "eps", "decay", "clip", "features_weight")
    }
    if "unmasked_weight" in plan:
        same["unmasked_weight"] = plan["unmasked_weight"]
    same |= {"hidden": f"{plan['start_probability']} x {plan['span']}", "optimiser": "fused AdamW"}
    return "\n".join([*lines, "", told({"both": same, **settings}), ""])


WORKERS = {"minna": run_minna, "held-out": run_held_out}

if __name__ == "__main__":
    main()
