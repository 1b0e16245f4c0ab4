"""Supervised tuning beside TRL's SFTTrainer: the same dialogues, weights, rate and updates.

A random GPT-NeoX of 6 layers x 384, 6 heads, ffn 1,536, vocabulary 16,384 learns the answers of 599
real Japanese dialogues (the other 70 are held out). Both sides read one Hugging Face folder; the
prompt format is in it as a chat template with generation marks, and it is an error if the two sides
learn another number of tokens of the data. (Of all tokens TRL has a few less: it encodes a dialogue
whole, so that the space a prompt ends in and a bracket that the answer begins with become one
token; ours keeps prompt and answer apart, as they are when the model is asked.)

Packed, an update is 16 rows of 512 tokens; one dialogue a row, about as many dialogues as lie in 16
such rows, so that an update learns about as much. TRL lays the packed rows of a micro-batch behind
each other as one row, and without flash attention transformers keeps the dialogues apart by a mask
of that row's whole length squared: the more rows at once, the slower. So it is measured with 4 rows
at once, and row by row, which is its best here.

Every round of every variant is a process of its own, rounds are interleaved. What is timed is whole
updates, from the end of one to the end of the next: data, forward, backward, clipping, optimiser.
What the weights are worth afterwards is measured by one and the same code, ours, on held-out
answers, in fp32.

    python bench/bench_sft.py [--rounds 5] [--updates 11] [--data PATH] [--peer-python PATH]
    python bench/bench_sft.py --quick       a smoke run: 1 round of 2 updates of 4 rows
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
from sft_ours import ROOM, packed_rows, run_held_out, run_minna, write_data, write_weights
from tune_work import MALLOC, call, load_average, make_tokenizer, say, spread, told

HERE = Path(__file__).resolve()
SHAPE = {"layers": 6, "width": 384, "heads": 6, "ffn": 1536, "context": 512}
VOCAB = 16384
ALL, ALONE = 0, 15  # rows of a micro-batch: all of an update; of dialogues that lie alone
LEARNING_RATE, DECAY, BETA2 = 6e-4, 0.01, 0.95
OURS = "minna, packed"
# name -> (side, rows, rows of a micro-batch, environment)
VARIANTS: dict[str, tuple[str, str, int, dict[str, str]]] = {
    "TRL, packed, 4 rows at once": ("trl", "packed", 4, {}),
    "TRL, packed, row by row": ("trl", "packed", 1, {}),
    "TRL, packed, row by row, our allocator settings": ("trl", "packed", 1, MALLOC),
    "TRL, one dialogue a row": ("trl", "single", ALONE, {}),
    "TRL, one dialogue a row, our allocator settings": ("trl", "single", ALONE, MALLOC),
    OURS: ("minna", "packed", ALL, MALLOC),
    "minna, one dialogue a row": ("minna", "single", ALONE, MALLOC),
}
COLUMNS = (
    "variant",
    "learned tokens/s, median (range)",
    f"{OURS} / it",
    "tokens/s, padding counted",
    "peak memory, MB",
    f"{OURS} / it",
    "learned in a round",
    "held-out loss",
)


def main() -> None:
    """Prepare data and weights, run the rounds, print the tables; or be one measurement."""
    options = parse()
    if options.worker:
        print(json.dumps(WORKERS[options.worker](options)))
        return
    if options.quick:
        options.rounds, options.warmup, options.updates, options.update_rows = 1, 1, 2, 4
    options.work.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=options.work) as name:
        folder = Path(name)
        prepare(folder, options)
        wanted = [name for name in VARIANTS if options.only in name or name == OURS]
        results: dict[str, list[dict[str, Any]]] = {name: [] for name in wanted}
        for number in range(options.rounds):
            for variant in wanted:
                found = measure(variant, folder, options)
                results[variant].append(found)
                say(
                    f"round {number + 1} {variant}: {found['speed']:.0f} learned tokens/s, "
                    f"held-out loss {found['loss']:.4f}, load {load_average()}"
                )
        start = call(
            HERE,
            "held-out",
            python=sys.executable,
            threads=options.threads,
            arguments={"folder": folder, "trained": folder / "model"},
            environment=MALLOC,
        )["loss"]
    print(table(results, options, start=start))


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("worker", nargs="?", choices=list(WORKERS), help=argparse.SUPPRESS)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--updates", type=int, default=11, help="timed updates of a round")
    parser.add_argument("--warmup", type=int, default=2)
    parser.add_argument("--update-rows", type=int, default=16, help="packed rows of an update")
    parser.add_argument("--quick", action="store_true", help="1 round of 2 updates of 4 rows")
    parser.add_argument("--only", default="", help="variants whose names hold this")
    parser.add_argument(
        "--data", type=Path, default=Path("../shared/data/instruction_ja/data.jsonl")
    )
    parser.add_argument("--work", type=Path, default=Path("build/bench-tune"))
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--peer-python", default=sys.executable)
    parser.add_argument("--precision", default="auto", choices=["auto", "bf16", "fp32"])
    for name in ("folder", "trained"):
        parser.add_argument(f"--{name}", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--rows", default="packed", help=argparse.SUPPRESS)
    for name in ("micro", "accumulation", "room"):
        parser.add_argument(f"--{name}", type=int, default=1, help=argparse.SUPPRESS)
    return parser.parse_args()


def prepare(folder: Path, options: argparse.Namespace) -> None:
    """Write what both sides read: dialogues, as shards and as messages, and initial weights."""
    from minna.models import build
    from minna.models.family import GptNeoXShape
    from minna.train.precision import decide

    tokenizer = make_tokenizer(options.work, vocab=VOCAB)
    lengths = write_data(folder, tokenizer=tokenizer, data=options.data, room=ROOM)
    model = build(GptNeoXShape(**SHAPE), vocab=VOCAB)
    model.initialise(seed=0)
    write_weights(folder, model, tokenizer=tokenizer)
    # minna decides by measuring; the other side is given the same arithmetic
    found = decide(device="cpu", precision=options.precision, compile_="auto")
    each = len(lengths) / packed_rows(folder)
    plan = {
        "updates": options.warmup + options.updates,
        "lr": LEARNING_RATE,
        "beta2": BETA2,
        "decay": DECAY,
        "precision": found.precision,
        "longest": max(lengths),
        "dialogues": ALONE * max(1, round(each * options.update_rows / ALONE)),
    }
    (folder / "plan.json").write_text(json.dumps(plan), encoding="utf-8")


def measure(variant: str, folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    """One round of one variant, and what its weights are worth."""
    side, rows, micro, environment = VARIANTS[variant]
    plan = json.loads((folder / "plan.json").read_text(encoding="utf-8"))
    an_update = options.update_rows if rows == "packed" else plan["dialogues"]
    micro = micro or an_update
    found = call(
        HERE,
        side,
        python=sys.executable if side == "minna" else options.peer_python,
        threads=options.threads,
        arguments={
            "folder": folder,
            "rows": rows,
            "micro": micro,
            "accumulation": an_update // micro,
            # alone in its row a dialogue needs no longer row than the longest of them
            "room": ROOM if rows == "packed" else -(-plan["longest"] // 32) * 32,
        },
        environment=environment,
    )
    found["loss"] = call(
        HERE,
        "held-out",
        python=sys.executable,
        threads=options.threads,
        arguments={"folder": folder, "trained": folder / "trained"},
        environment=MALLOC,
    )["loss"]
    begin = options.warmup
    seconds = found["ends"][-1] - found["ends"][begin]
    found["speed"] = sum(found["learned"][begin:]) / seconds
    found["computed"] = sum(found["tokens"][begin:]) / seconds
    return found


def run_peer(options: argparse.Namespace) -> dict[str, Any]:
    """Train with TRL."""
    import sft_peer

    return sft_peer.run_trl(
        options.folder,
        packed=options.rows == "packed",
        micro=options.micro,
        accumulation=options.accumulation,
        room=options.room,
        plan=json.loads((options.folder / "plan.json").read_text(encoding="utf-8")),
    )


def table(
    results: dict[str, list[dict[str, Any]]], options: argparse.Namespace, *, start: float
) -> str:
    """Markdown: whether both learn the same, medians with range, ratios, memory, loss reached."""
    import torch

    ours, data = results[OURS], learned_of(results)
    setting = (
        f"{options.rounds} interleaved rounds of {options.updates} updates, after "
        f"{options.warmup} to warm up; {options.threads} threads, torch {torch.__version__}, "
        f"{processor()}; load average {load_average()}"
    )
    lines = [
        setting,
        "",
        f"Learned tokens of the data: {data}. Held-out loss of the initial weights: {start:.4f}.",
        "",
        f"| {' | '.join(COLUMNS)} |",
        "|---" * len(COLUMNS) + "|",
    ]
    for name, rounds in results.items():
        speeds = [one["speed"] for one in rounds]
        faster = [mine["speed"] / one["speed"] for mine, one in zip(ours, rounds, strict=True)]
        memory = statistics.median(one["peak"] for one in rounds)
        own = statistics.median(one["peak"] for one in ours)
        lines.append(
            f"| {name} | {spread(speeds)} | {spread(faster, digits=2)} "
            f"| {statistics.median(one['computed'] for one in rounds):,.0f} "
            f"| {memory / 1e6:,.0f} | {own / memory:.2f} | {sum(rounds[0]['learned']):,} "
            f"| {statistics.median(one['loss'] for one in rounds):.4f} |"
        )
    settings = {name: rounds[0]["settings"] for name, rounds in results.items()}
    same = {"rate": LEARNING_RATE, "schedule": "constant", "betas": (0.9, BETA2)}
    same |= {"decay": DECAY, "clip": 1.0, "optimiser": "fused AdamW"}
    return "\n".join([*lines, "", told({"both": same, **settings})])


def learned_of(results: dict[str, list[dict[str, Any]]]) -> str:
    """Say what both sides learn of the data.

    Raises:
        SystemExit: not the same number of tokens: then nothing here can be compared.
    """
    found = {name.split(",")[0]: rounds[0] for name, rounds in results.items()}
    text = ", ".join(
        f"{side} {one['data_learned']:,} of {one['data_tokens']:,}" for side, one in found.items()
    )
    if len({rounds[0]["data_learned"] for rounds in results.values()}) != 1:
        raise SystemExit(f"the two sides do not learn the same tokens of the data: {text}")
    return text


WORKERS = {"minna": run_minna, "trl": run_peer, "held-out": run_held_out}

if __name__ == "__main__":
    main()
