"""The workers of the GPU pack: `gpu_sections.py FOLDER` does FOLDER/task.json."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch

import gpu_attention
from gpu_task import SHAPES, Task, about, share_of_peak, wait
from gpu_train import minna, modes, trainer
from minna.models import build


def peak(task: Task) -> None:
    """Matrix products and copies: what the shares are of."""
    from minna.train.precision import matrix_peak

    def products() -> dict[str, Any]:
        found = {
            str(dtype).removeprefix("torch."): matrix_peak(task.device, dtype)
            for dtype in (torch.bfloat16, torch.float32)
        }
        return {"flops_per_second": found, **about(task.device)}

    def copies() -> dict[str, Any]:
        size = 1 << (30 if task.device == "cuda" else 20)
        source = torch.zeros(size, dtype=torch.uint8, device=task.device)
        target = torch.empty_like(source)
        target.copy_(source)
        wait(task.device)
        start = time.perf_counter()
        for _ in range(20):
            target.copy_(source)
        wait(task.device)
        return {"bytes_per_second": 2 * size * 20 / (time.perf_counter() - start)}

    task.attempt("matrix products", products)
    task.attempt("copies", copies)


def attention(task: Task) -> None:
    """Attention alone: torch's ways for documents of a row, forward and backward."""
    shape, _ = SHAPES["tiny" if task.asked["scale"] == "tiny" else "124m"]
    batch = next(task.batches(task.scale.most_rows, attention="within"))
    heads = (shape.heads, shape.width // shape.heads)
    for name in gpu_attention.WAYS:
        measure = partial(gpu_attention.measure, name, segments=batch["segments"], heads=heads)
        task.attempt(name, partial(measure, device=task.device))


def speedrun(task: Task) -> None:
    """Train the recipe for so many minutes and say what it reached."""
    task.attempt("speedrun", lambda: run_speed(task))


_TRACK = "h100-10min-aozora"
# Only the time ends the run and its tenths are the looks, at fewer documents and no samples: a look
# takes none of the training's time, but of the pack's.
_SPEED = (
    "train.steps=1_000_000_000",
    "train.evaluate_every=1_000_000_000",
    "train.save_every=1_000_000_000",
    "evaluate.valid_documents=200",
    "evaluate.prompts=[]",
)
_TINY_SPEED = (
    *("model.layers=2", "model.width=64", "model.heads=2", "model.ffn=128", "model.context=64"),
    *("stream.row_tokens=32", "train.micro_batch_rows=4", "train.tokens_per_step=256"),
    *("train.compile=off", "schedule.warmup=1", "evaluate.valid_documents=4"),
)


def run_speed(task: Task) -> dict[str, Any]:
    """The recipe of the H100 track for so many minutes, on the bundle instead of its text.

    A record of the track is `minna speedrun --track h100-10min-aozora`; this is its rehearsal.
    """
    from minna.recipe import load
    from minna.recipe.build import build_parts
    from minna.recipe.schema import resolved
    from minna.speedrun import track as tracks
    from minna.train.log import read_log
    from minna.train.loop import settle_numerics, sole_user, train

    track = tracks.load(_TRACK)
    name, overrides = track.recipe, track.overrides
    if task.asked["scale"] == "tiny":
        name, overrides = "modern-toy", _TINY_SPEED
    chosen = (f"train.minutes={task.asked['minutes']}", f"train.device={task.device}")
    recipe = load(name, overrides=(*_SPEED, *overrides, *chosen))
    numerics = settle_numerics(recipe.train, found=None)
    tokens, words, run = task.data / "tokens", task.data / "tokenizer", task.folder / "run"
    parts = build_parts(recipe, tokens=tokens, tokenizer=words, numerics=numerics, fresh=True)
    with sole_user(run):
        done = train(parts, settings=recipe.train, numerics=numerics, run=run, found=None)
    looks = [entry for entry in read_log(run) if entry["event"] == "evaluate"]
    rate = done.tokens / done.seconds
    return {
        "track": track.name,
        "track_minutes": track.minutes,
        "recipe": resolved(recipe),
        "parameters": sum(p.numel() for p in parts.model.parameters()),
        "steps": done.step,
        "tokens": done.tokens,
        "epochs": done.tokens / task.bundle.train_tokens,
        "seconds": done.seconds,
        "tokens_per_second": rate,
        "share_of_peak": share_of_peak(
            tokens_per_second=rate, flops_per_token=parts.flops_per_token, peak=numerics.peak
        ),
        "bits_per_byte": looks[-1]["bits_per_byte"],
        "curve": looks,
    }


def generate(task: Task) -> None:
    """Greedy generation beside transformers' generate, bf16 on a GPU, no early stop."""
    import shutil

    from minna.export.causal_lm import write_model
    from minna.tokenizer.load import load_tokenizer

    folder = task.folder / "model"
    shutil.copytree(task.data / "tokenizer", folder)
    (folder / "minna.json").unlink()
    shape, _ = task.shape
    decoder = build(shape, vocab=task.bundle.vocab)
    decoder.initialise(seed=0)
    write_model(folder, decoder, family="gpt2", words=load_tokenizer(folder))
    for name, start in (("minna", answering_minna), ("transformers", answering_peer)):
        answer = start(folder, task)
        for batch in task.scale.batches:
            task.attempt(f"{name} b{batch}", partial(answered, task, answer, batch))


def answered(task: Task, answer: Callable[[list[list[int]]], int], batch: int) -> dict[str, Any]:
    """Median of three askings after one to warm up; tokens/s count the prompt's reading as time."""
    import random

    chance = random.Random(batch)
    seconds: list[float] = []
    for _ in range(4):
        asked = [
            [chance.randrange(4, task.bundle.vocab) for _ in range(task.scale.prompt)]
            for _ in range(batch)
        ]
        start = time.perf_counter()
        made = answer(asked)
        wait(task.device)
        seconds.append(time.perf_counter() - start)
        if made != batch * task.scale.new:
            raise RuntimeError(f"{made} tokens came back, not {batch * task.scale.new}")
    middle = sorted(seconds[1:])[1]
    return {"tokens_per_second": batch * task.scale.new / middle, "seconds": seconds}


def answering_minna(folder: Path, task: Task) -> Callable[[list[list[int]]], int]:
    """The engine of minna on the model dir."""
    from minna.runtime import Engine, Request, load_model

    cuda = task.device == "cuda"
    model = load_model(folder, device="cuda" if cuda else "cpu", dtype="bf16" if cuda else "fp32")

    def answer(asked: list[list[int]]) -> int:
        new = task.scale.new
        requests = [Request(prompt=tuple(p), max_new_tokens=new, stop_ids=()) for p in asked]
        return sum(len(r.ids) for r in Engine(model, slots=len(asked)).run(requests))

    return answer


def answering_peer(folder: Path, task: Task) -> Callable[[list[list[int]]], int]:
    """Generate of transformers on the same model dir."""
    import transformers

    dtype = torch.bfloat16 if task.device == "cuda" else torch.float32
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=dtype)
    model = model.to(task.device).eval()

    def answer(asked: list[list[int]]) -> int:
        ids = torch.tensor(asked, device=task.device)
        out = model.generate(
            ids,
            attention_mask=torch.ones_like(ids),
            do_sample=False,
            pad_token_id=0,
            max_new_tokens=task.scale.new,
            min_new_tokens=task.scale.new,
            use_cache=True,
        )
        return out.numel() - ids.numel()

    return answer


WORKERS = {
    "peak": peak,
    "minna": minna,
    "trainer": trainer,
    "speedrun": speedrun,
    "attention": attention,
    "generate": generate,
    "modes": modes,
}


def main() -> None:
    """Do the task of the folder given."""
    task = Task(Path(sys.argv[1]))
    WORKERS[task.asked["worker"]](task)
    if task.results and all("error" in result for result in task.results):
        raise SystemExit("every variant failed: " + task.results[-1]["error"])


if __name__ == "__main__":
    main()
