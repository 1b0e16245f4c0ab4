"""minna's own supervised tuning as bench_sft.py measures it, and what both sides read."""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

from machine import peak_bytes
from tune_work import constant, trainable, write_folder

ROOM = 512


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


def sft_parts(folder: Path, *, rows: Any, micro: int, accumulation: int, room: int) -> Any:
    """Return (parts, numerics) of minna's own supervised tuning, as `minna train` decides."""
    from dataclasses import replace

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
    settings = AdamWSettings(lr=plan["lr"], betas=(0.9, plan["beta2"]), weight_decay=plan["decay"])
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
    settled = compile_or_fall_back(parts, example=next(stream), numerics=numerics)
    stream.load_state_dict(begin)
    return parts, replace(numerics, compile=settled)


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
