"""Supervised tuning beside TRL's SFTTrainer: the same dialogues, weights, rate and updates.

A random GPT-NeoX of 6 layers x 384, 6 heads, ffn 1,536, vocabulary 16,384 learns the answers of 599
real Japanese dialogues (the other 70 are held out). Both sides read one Hugging Face folder; the
prompt format is in it as a chat template with generation marks, and the run stops if the two sides
would learn another number of tokens. Packed, an update is 16 rows of 512 tokens; one dialogue a
row, as many dialogues as lie in 16 such rows, so that an update learns about as much.

Every round of every variant is a process of its own, rounds are interleaved. What is timed is whole
updates, from the end of one to the end of the next: data, forward, backward, clipping, optimiser.
What the weights are worth afterwards is measured by one and the same code, ours, on held-out
answers, in fp32.

    python bench/bench_sft.py [--rounds 5] [--updates 11] [--data PATH] [--peer-python PATH]
    python bench/bench_sft.py --quick       a smoke run: 1 round of 2 updates
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from machine import peak_bytes, processor
from tune_work import (
    MALLOC,
    call,
    constant,
    load_average,
    make_tokenizer,
    say,
    spread,
    told,
    trainable,
    write_folder,
)

HERE = Path(__file__).resolve()
SHAPE = {"layers": 6, "width": 384, "heads": 6, "ffn": 1536, "context": 512}
VOCAB, ROOM, ROWS = 16384, 512, 16
LEARNING_RATE, DECAY, BETA2 = 6e-4, 0.01, 0.95
OURS = "minna, packed"
# name -> (side, rows, rows of a micro-batch (0: all of an update, or 15 dialogues), environment)
VARIANTS: dict[str, tuple[str, str, int, dict[str, str]]] = {
    "TRL, packed, 16 rows at once": ("trl", "packed", 16, {}),
    "TRL, packed, row by row": ("trl", "packed", 1, {}),
    "TRL, packed, row by row, our allocator settings": ("trl", "packed", 1, MALLOC),
    "TRL, one dialogue a row": ("trl", "single", 15, {}),
    "TRL, one dialogue a row, our allocator settings": ("trl", "single", 15, MALLOC),
    OURS: ("minna", "packed", 16, MALLOC),
    "minna, one dialogue a row": ("minna", "single", 15, MALLOC),
}


def main() -> None:
    """Prepare data and weights, run the rounds, print the tables; or be one measurement."""
    options = parse()
    if options.worker:
        print(json.dumps(WORKERS[options.worker](options)))
        return
    if options.quick:
        options.rounds, options.warmup, options.updates = 1, 1, 2
    options.work.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=options.work) as name:
        folder = Path(name)
        prepare(folder, options)
        results: dict[str, list[dict[str, Any]]] = {name: [] for name in VARIANTS}
        for number in range(options.rounds):
            for variant in VARIANTS:
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
    parser.add_argument("--quick", action="store_true", help="1 round of 2 updates")
    parser.add_argument("--data", type=Path, default=Path("../shared/data/instruction_ja/data.jsonl"))
    parser.add_argument("--work", type=Path, default=Path("build/bench-tune"))
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
    plan = {
        "updates": options.warmup + options.updates,
        "lr": LEARNING_RATE,
        "beta2": BETA2,
        "decay": DECAY,
        "precision": found.precision,
        "longest": max(lengths),
        "dialogues": round(len(lengths) * ROWS / packed_rows(folder)),
    }
    (folder / "plan.json").write_text(json.dumps(plan), encoding="utf-8")


def write_data(folder: Path, *, tokenizer: Path, data: Path, room: int) -> list[int]:
    """Write shards for us and messages for the peer; return the lengths of training dialogues."""
    import numpy as np

    from minna import prompts
    from minna.corpus.dialogue_corpus import DialogueSettings, build_dialogues, read_dialogues
    from minna.streams import TokenShards, write_dialogues

    settings = DialogueSettings(source="dialogues", path=data, valid=0.1, test=0.0)
    corpus = build_dialogues(settings=settings, out=folder / "dialogues").path
    tokens = write_dialogues(
        corpus,
        tokenizer=tokenizer,
        fmt=prompts.load("minna"),
        content="answers",
        room=room,
        out=folder / "tokens",
    )
    with (folder / "messages.jsonl").open("w", encoding="utf-8") as file:
        for dialogue in read_dialogues(corpus, split="train"):
            turns = [{"role": turn.role, "content": turn.text} for turn in dialogue.turns]
            file.write(json.dumps(turns, ensure_ascii=False) + "\n")
    shards = TokenShards(tokens, split="train").shards
    return np.concatenate([np.diff(shard.offsets) for shard in shards]).tolist()


def write_weights(folder: Path, model: Any, *, tokenizer: Path) -> None:
    """Write the model with its prompt format as a chat template."""
    from minna import prompts
    from minna.export.chat import write_chat_template

    write_folder(folder / "model", model, tokenizer=tokenizer)
    write_chat_template(folder / "model", prompts.load("minna"))


def packed_rows(folder: Path) -> int:
    """Rows that the training dialogues fill when packed."""
    from minna.streams import ChatStream, TokenShards

    shards = TokenShards(folder / "tokens", split="train")
    stream = ChatStream(shards, room=ROOM, rows="packed", batch_rows=1, fill=0, seed=0)
    return stream.filled()[0]


def measure(variant: str, folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    """One round of one variant, and what its weights are worth."""
    side, rows, micro, environment = VARIANTS[variant]
    plan = json.loads((folder / "plan.json").read_text(encoding="utf-8"))
    an_update = ROWS if rows == "packed" else plan["dialogues"]
    found = call(
        HERE,
        side,
        python=sys.executable if side == "minna" else options.peer_python,
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
        arguments={"folder": folder, "trained": folder / "trained"},
        environment=MALLOC,
    )["loss"]
    begin = options.warmup
    seconds = found["ends"][-1] - found["ends"][begin]
    found["speed"] = sum(found["learned"][begin:]) / seconds
    found["computed"] = sum(found["tokens"][begin:]) / seconds
    return found


def sft_parts(folder: Path, *, rows: Any, micro: int, accumulation: int, room: int) -> Any:
    """Return (parts, numerics) of minna's own supervised tuning, as `minna train` decides."""
    from minna.objectives import CausalLM
    from minna.recipe.build import attention_kind
    from minna.streams import ChatStream, TokenShards
    from minna.train.optim import AdamWSettings, make_optimisers
    from minna.train.parallel import Whole
    from minna.train.precision import compile_or_fall_back, decide
    from minna.train.protocols import Parts
    from minna.train.quality import perplexity

    plan = json.loads((folder / "plan.json").read_text(encoding="utf-8"))
    numerics = decide(
        device="cpu", precision=plan["precision"], compile_=plan.get("compile", "auto")
    )
    model = trainable(folder / "model")
    model.attention_kind = attention_kind(model, row_tokens=room, numerics=numerics)
    settings = AdamWSettings(
        lr=plan["lr"], betas=(0.9, plan["beta2"]), weight_decay=plan["decay"]
    )
    shards = TokenShards(folder / "tokens", split="train")
    stream = ChatStream(shards, room=room, rows=rows, batch_rows=micro, fill=0, seed=0)
    objective = CausalLM()
    parts = Parts(
        model=model,
        objective=objective,
        placement=Whole(model, objective),
        stream=stream,
        optimisers=make_optimisers(model, settings=settings),
        schedule=constant(),
        clip=1.0,
        evaluators=[],
        weights={"next_token": 1.0},
        micro_batch_tokens=micro * room,
        accumulation=accumulation,
        flops_per_token=1,
        quality=perplexity,
    )
    begin = stream.state_dict()
    compile_or_fall_back(parts, example=next(stream), numerics=numerics)
    stream.load_state_dict(begin)
    return parts, numerics


def run_minna(options: argparse.Namespace) -> dict[str, Any]:
    """Train with minna's own step."""
    import torch

    from minna.train.step import take_step

    folder = options.folder
    plan = json.loads((folder / "plan.json").read_text(encoding="utf-8"))
    room, micro, accumulation = options.room, options.micro, options.accumulation
    parts, numerics = sft_parts(
        folder, rows=options.rows, micro=micro, accumulation=accumulation, room=room
    )
    learned: list[int] = []
    count = parts.objective.counts

    def counting(batch: dict[str, Any]) -> dict[str, int]:
        found = count(batch)
        learned.append(found["next_token"])
        return found

    parts.objective.counts = counting
    ends = [time.perf_counter()]
    for step in range(plan["updates"]):
        take_step(parts, step=step, total=10**6, autocast=numerics.autocast())
        ends.append(time.perf_counter())
    peak = peak_bytes()
    write_folder(folder / "trained", parts.model, tokenizer=folder / "model")
    shards = parts.stream.documents
    whole = [shards[number] for number in range(shards.count)]
    return {
        "ends": ends,
        "learned": [
            sum(learned[place : place + accumulation])
            for place in range(0, len(learned), accumulation)
        ],
        "tokens": [micro * accumulation * room] * plan["updates"],
        "peak": peak,
        "data_learned": sum(int(mask.sum()) for _, mask in whole),
        "data_tokens": sum(len(ids) for ids, _ in whole),
        "settings": {
            "precision": numerics.precision,
            "compile": numerics.compile,
            "attention": parts.model.attention_kind,
            "rows": f"{micro} x {accumulation} micro-batches",
            "row tokens": room,
            "threads": torch.get_num_threads(),
        },
    }


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


def run_held_out(options: argparse.Namespace) -> dict[str, Any]:
    """Nats of a held-out learned token, whoever trained the weights."""
    import torch

    from minna.objectives.reference import token_logprobs
    from minna.runtime.load import load_model
    from minna.streams import ChatStream, TokenShards

    model = load_model(options.trained, device="cpu", dtype="fp32", layout="plain").decoder
    shards = TokenShards(options.folder / "tokens", split="valid")
    stream = ChatStream(shards, room=ROOM, rows="packed", batch_rows=1, fill=0, seed=0)
    nats, count = 0.0, 0
    with torch.no_grad():
        for _ in range(stream.filled()[0]):
            found, _, _ = token_logprobs(model, next(stream), vocab=model.config.vocab)
            nats, count = nats - float(found.double().sum()), count + len(found)
    return {"loss": nats / count, "learned": count}


def table(
    results: dict[str, list[dict[str, Any]]], options: argparse.Namespace, *, start: float
) -> str:
    """Markdown: whether both learn the same, medians with range, ratios, memory, loss reached."""
    import torch

    data = {
        name: (rounds[0]["data_learned"], rounds[0]["data_tokens"])
        for name, rounds in results.items()
    }
    if len(set(data.values())) != 1:
        raise SystemExit(f"the two sides would not learn the same tokens of the data: {data}")
    (learned, tokens) = data[OURS]
    ours, theirs = results[OURS], "TRL, packed, row by row"
    lines = [
        f"{options.rounds} interleaved rounds of {options.updates} updates, after "
        f"{options.warmup} to warm up; torch {torch.__version__}, {processor()}; load average "
        f"{load_average()}",
        "",
        f"Learned tokens of the data, of all: minna {learned:,} of {tokens:,}, TRL "
        f"{data[theirs][0]:,} of {data[theirs][1]:,}. Held-out loss of the initial weights: "
        f"{start:.4f}.",
        "",
        "| variant | learned tokens/s, median (range) | minna, packed / it | tokens/s, padding "
        "counted | peak memory, MB | minna, packed / it | learned in a round | held-out loss |",
        "|---|---|---|---|---|---|---|---|",
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


WORKERS = {"minna": run_minna, "trl": run_peer, "held-out": run_held_out}

if __name__ == "__main__":
    main()
