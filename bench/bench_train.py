"""Training speed and memory beside transformers Trainer and a plain loop: same rows, same weights.

The reference shape is a GPT-NeoX of 6 layers x 384, 6 heads, ffn 1,536, vocabulary 16,384, rows of
512 tokens, 16 rows a step (8,192 tokens), 23 M parameters, AdamW, clipping at 1. Every variant is a
process of its own, so that peak memory is its own; rounds are interleaved, so that a busy minute
hits all; the table shows medians with their range. Ratios under 1.25 on a shared machine are ties.

    python bench/bench_train.py [--rounds 5] [--steps 3] [--peer-python PATH]
    python bench/bench_train.py --profile     where a step's time goes, with our kernels and without
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from machine import peak_bytes, processor

SHAPE = {"layers": 6, "width": 384, "heads": 6, "ffn": 1536, "context": 512}
VOCAB, ROW, ROWS, LEARNING_RATE = 16384, 512, 16, 6e-4
DECAY, BETA2 = 0.01, 0.95
MALLOC = {
    "MALLOC_MMAP_MAX_": "0",
    "MALLOC_TRIM_THRESHOLD_": "34359738368",
    "MALLOC_TOP_PAD_": "67108864",
    "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1",
}
_TORCH = {"MINNA_KERNELS": "torch"}
# name -> (worker, its arguments, its environment); "documents" keeps the documents of a row apart
VARIANTS: dict[str, tuple[str, dict[str, str], dict[str, str]]] = {
    "Trainer fp32": ("trainer", {"precision": "fp32"}, {}),
    "Trainer bf16": ("trainer", {"precision": "bf16"}, {}),
    "Trainer bf16, our allocator settings": ("trainer", {"precision": "bf16"}, MALLOC),
    "plain loop, compiled, our allocator settings": ("plain", {}, MALLOC),
    "minna, torch's kernels": ("minna", {}, MALLOC | _TORCH),
    "minna": ("minna", {}, MALLOC),
    "minna, torch's kernels, documents apart": (
        "minna",
        {"rows": "documents"},
        MALLOC | _TORCH,
    ),
    "minna, documents apart": ("minna", {"rows": "documents"}, MALLOC),
}


def main() -> None:
    """Prepare data and weights, run the rounds, print the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=3, help="timed steps of a round")
    parser.add_argument("--warmup", type=int, default=2)
    parser.add_argument("--peer-python", default=sys.executable)
    parser.add_argument("--profile", action="store_true", help="only where our step's time goes")
    parser.add_argument("--worker", choices=list(WORKERS), help=argparse.SUPPRESS)
    parser.add_argument("--precision", default="auto", help=argparse.SUPPRESS)
    parser.add_argument("--rows", default="across", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        print(json.dumps(WORKERS[options.worker](options) | {"peak": peak_bytes()}))
        return
    with tempfile.TemporaryDirectory() as folder:
        prepare(Path(folder), steps=options.warmup + options.steps)
        if options.profile:
            print(profile_table(Path(folder), options))
            return
        results: dict[str, list[dict[str, Any]]] = {name: [] for name in VARIANTS}
        for number in range(options.rounds):
            for name, (worker, arguments, environment) in VARIANTS.items():
                python = sys.executable if worker == "minna" else options.peer_python
                result = call(python, worker, arguments, environment, Path(folder), options)
                results[name].append(result)
                speed = result["tokens_per_second"]
                sys.stderr.write(f"round {number + 1} {name}: {speed:.0f} tokens/s\n")
    print(table(results, options))


def call(
    python: str,
    worker: str,
    arguments: dict[str, str],
    environment: dict[str, str],
    folder: Path,
    options: argparse.Namespace,
) -> dict[str, Any]:
    """Run one variant in its own process."""
    command = [python, __file__, "--worker", worker, "--folder", str(folder)]
    command += ["--steps", str(options.steps), "--warmup", str(options.warmup)]
    for key, value in arguments.items():
        command += [f"--{key}", value]
    done = subprocess.run(
        command, env={**os.environ, **environment}, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(f"{worker} failed:\n{done.stderr[-3000:]}")
    return json.loads(done.stdout.strip().splitlines()[-1])


def table(results: dict[str, list[dict[str, Any]]], options: argparse.Namespace) -> str:
    """A markdown table: medians, range, ratios to every peer, memory, quality reached."""
    import torch

    middle = {
        name: statistics.median(r["tokens_per_second"] for r in rounds)
        for name, rounds in results.items()
    }
    memory = {
        name: statistics.median(r["peak"] for r in rounds) for name, rounds in results.items()
    }
    setting = (
        f"{options.rounds} interleaved rounds of {options.steps} steps of {ROW * ROWS} tokens, "
        f"{torch.get_num_threads()} threads, torch {torch.__version__}, {processor()}; "
        f"minna ran in {results['minna'][0]['precision']}, "
        f"kernels {results['minna'][0]['kernels']}"
    )
    head = (
        "| variant | tokens/s, median (range) | minna / it | peak memory, MB | minna / it "
        "| loss of the last step |"
    )
    lines = [setting, "", head, "|---|---|---|---|---|---|"]
    for name, rounds in results.items():
        speeds = [r["tokens_per_second"] for r in rounds]
        lines.append(
            f"| {name} | {middle[name]:,.0f} ({min(speeds):,.0f} to {max(speeds):,.0f}) "
            f"| {middle['minna'] / middle[name]:.2f} | {memory[name] / 1e6:,.0f} "
            f"| {memory['minna'] / memory[name]:.2f} | {rounds[0]['losses'][-1]:.4f} |"
        )
    return "\n".join(lines)


def prepare(folder: Path, *, steps: int) -> None:
    """Write real Japanese rows and initial weights that both sides load."""
    import numpy as np

    from minna.corpus import BuildSettings, build_corpus
    from minna.corpus.read import text_batches
    from minna.export.causal_lm import write_model
    from minna.models import build
    from minna.models.family import GptNeoXShape
    from minna.tokenizer.load import load_tokenizer
    from minna.tokenizer.train import TokenizerSettings, train_tokenizer

    corpus = build_corpus(settings=BuildSettings(source="tatoeba"), out=folder / "corpus")
    settings = TokenizerSettings(vocab_size=VOCAB)
    words = load_tokenizer(train_tokenizer(corpus, out=folder / "tokenizer", settings=settings))
    needed = steps * ROWS * (ROW + 1)
    flat = np.zeros(0, dtype=np.int64)
    for texts, _ in text_batches(corpus, split="train"):
        ids, offsets = words.encode_batch(texts)
        flat = np.concatenate((flat, np.insert(ids, offsets[1:], words.eos_id)))
        if len(flat) >= needed:
            break
    np.save(folder / "rows.npy", flat[:needed].reshape(-1, ROW + 1))
    np.save(folder / "eos.npy", np.array(words.eos_id))
    model = build(GptNeoXShape(**SHAPE), vocab=VOCAB)
    model.initialise(seed=0)
    shutil.copytree(folder / "tokenizer", folder / "model")
    (folder / "model" / "minna.json").unlink()
    write_model(folder / "model", model, family="gpt_neox", words=words)


def minna_parts(options: argparse.Namespace) -> tuple[Any, Any]:
    """Return (parts, numerics) of minna's own step: as it decides, compiled, chunked loss."""
    from minna.objectives import CausalLM
    from minna.recipe.build import attention_kind
    from minna.runtime.load import load_model
    from minna.train.optim import AdamWSettings, make_optimisers
    from minna.train.parallel import Whole
    from minna.train.precision import compile_or_fall_back, decide
    from minna.train.protocols import Parts
    from minna.train.quality import bits_per_byte
    from minna.train.schedule import Cosine

    batches = read_batches(options)
    model = load_model(options.folder / "model", device="cpu", dtype="fp32", layout="plain").decoder
    for parameter in model.train().parameters():
        parameter.requires_grad_(True)
    numerics = decide(device="cpu", precision="auto", compile_="auto")
    model.attention_kind = attention_kind(model, row_tokens=ROW, numerics=numerics)
    settings = AdamWSettings(lr=LEARNING_RATE, betas=(0.9, BETA2), weight_decay=DECAY)
    objective = CausalLM()
    parts = Parts(
        model=model,
        objective=objective,
        placement=Whole(model, objective),
        stream=_Given(batches),
        optimisers=make_optimisers(model, settings=settings),
        schedule=Cosine(floor=1.0),
        clip=1.0,
        evaluators=[],
        weights={"next_token": 1.0},
        micro_batch_tokens=ROW * ROWS,
        accumulation=1,
        flops_per_token=1,
        quality=bits_per_byte(1.0),
    )
    compile_or_fall_back(parts, example=batches[0], numerics=numerics)
    return parts, numerics


def read_batches(options: argparse.Namespace) -> list[dict[str, Any]]:
    """The prepared rows as batches; with segments and positions where documents are apart."""
    import numpy as np
    import torch

    rows = torch.from_numpy(np.load(options.folder / "rows.npy"))
    batches = []
    for chunk in rows.split(ROWS):
        tokens, targets = chunk[:, :-1].contiguous(), chunk[:, 1:].contiguous()
        batch = {"tokens": tokens, "targets": targets}
        if options.rows == "documents":
            eos = int(np.load(options.folder / "eos.npy"))
            # `</s>` is the first input of the document after it (docs/decisions/0002)
            batch["segments"] = (tokens == eos).cumsum(1)
            place = torch.arange(ROW).expand_as(tokens)
            start = torch.where(tokens == eos, place, 0).cummax(1).values
            batch["positions"] = place - start
        batches.append(batch)
    return batches


def run_minna(options: argparse.Namespace) -> dict[str, Any]:
    """Train with minna's own step."""
    from minna.train.step import take_step

    parts, numerics = minna_parts(options)
    times, losses = [], []
    for step in range(options.warmup + options.steps):
        start = time.perf_counter()
        result = take_step(parts, step=step, total=10**6, autocast=numerics.autocast())
        times.append(time.perf_counter() - start)
        losses.append(result.loss)
    facts = {"precision": numerics.precision, "kernels": numerics.kernels}
    return measured(times, losses, options) | facts


def run_profile(options: argparse.Namespace) -> dict[str, Any]:
    """One step of minna under torch's profiler: milliseconds by kind of work."""
    import torch

    from minna.train.step import take_step

    parts, numerics = minna_parts(options)
    for step in range(options.warmup):
        take_step(parts, step=step, total=10**6, autocast=numerics.autocast())
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
        take_step(parts, step=options.warmup, total=10**6, autocast=numerics.autocast())
    kinds = dict.fromkeys([*KINDS.values(), "the rest"], 0.0)
    for event in profile.key_averages():
        kind = next((kind for part, kind in KINDS.items() if part in event.key), "the rest")
        kinds[kind] += event.self_cpu_time_total / 1e3
    return {"kinds": kinds}


# part of an operator's name -> what it is; the first that fits
KINDS = {
    "attention_for_cpu_backward": "attention, backward",
    "attention_backward": "attention, backward",
    "attention": "attention, forward",
    "aten::mm": "matrix products",
    "aten::addmm": "matrix products",
    "aten::bmm": "matrix products",
    "CompiledFxGraph": "compiled elementwise, norms, softmax of the loss",
    "adamw": "optimiser",
}


def profile_table(folder: Path, options: argparse.Namespace) -> str:
    """Markdown: milliseconds of a step by kind, with torch's kernels and with ours."""
    sides = {"torch's kernels": MALLOC | _TORCH, "minna's": MALLOC}
    found = {
        name: call(sys.executable, "profile", {}, environment, folder, options)["kinds"]
        for name, environment in sides.items()
    }
    lines = [f"| ms of a step | {' | '.join(sides)} |", "|---|---|---|"]
    lines += [
        f"| {kind} | {' | '.join(f'{found[side][kind]:,.0f}' for side in sides)} |"
        for kind in found["minna's"]
    ]
    totals = [f"{sum(found[side].values()):,.0f}" for side in sides]
    return "\n".join([processor(), "", *lines, f"| all | {' | '.join(totals)} |"])


def run_plain(options: argparse.Namespace) -> dict[str, Any]:
    """Train with the plain loop of plain_loop.py."""
    import numpy as np
    import torch

    import plain_loop

    rows = torch.from_numpy(np.load(options.folder / "rows.npy"))
    model = plain_loop.load(options.folder / "model", row=ROW).train()
    optimiser = torch.optim.AdamW(
        model.parameters(),
        lr=LEARNING_RATE,
        betas=(0.9, BETA2),
        weight_decay=DECAY,
        fused=True,
    )
    compiled = torch.compile(model, dynamic=False)
    times, losses = [], []
    for step, chunk in enumerate(rows.split(ROWS)):
        if step == options.warmup + options.steps:
            break
        inputs, targets = chunk[:, :-1].contiguous(), chunk[:, 1:].contiguous()
        start = time.perf_counter()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            loss = compiled(inputs, targets)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
        losses.append(float(loss))
        times.append(time.perf_counter() - start)
    return measured(times, losses, options) | {"precision": "bf16"}


class _Given:
    """A stream of the rows that were prepared."""

    def __init__(self, batches: list[dict[str, Any]]) -> None:
        self.left = iter(batches)

    def __next__(self) -> dict[str, Any]:
        return next(self.left)

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        del state


def run_trainer(options: argparse.Namespace) -> dict[str, Any]:
    """Train with transformers Trainer as its users do: sdpa attention, fused AdamW, defaults."""
    import numpy as np
    import torch
    from transformers import AutoModelForCausalLM, Trainer, TrainerCallback, TrainingArguments

    rows = np.load(options.folder / "rows.npy")
    # Trainer shifts the labels inside, so it learns 511 targets of a row where we learn 512.
    data = [
        {"input_ids": torch.from_numpy(row[:-1]), "labels": torch.from_numpy(row[:-1])}
        for row in rows
    ]
    model = AutoModelForCausalLM.from_pretrained(options.folder / "model", dtype=torch.float32)
    moments: list[float] = []
    losses: list[float] = []

    class Clock(TrainerCallback):
        def on_step_begin(self, *_: Any, **__: Any) -> None:
            moments.append(time.perf_counter())

        def on_step_end(self, *_: Any, **__: Any) -> None:
            moments.append(time.perf_counter())

        def on_log(self, *_: Any, logs: dict[str, float], **__: Any) -> None:
            if "loss" in logs:
                losses.append(float(logs["loss"]))

    class InOrder(Trainer):
        def _get_train_sampler(self, *_: Any, **__: Any) -> torch.utils.data.Sampler[int]:
            return torch.utils.data.SequentialSampler(data)

    arguments = TrainingArguments(
        output_dir=str(options.folder / "trainer"),
        per_device_train_batch_size=ROWS,
        max_steps=options.warmup + options.steps,
        learning_rate=LEARNING_RATE,
        lr_scheduler_type="constant",
        adam_beta2=BETA2,
        weight_decay=DECAY,
        max_grad_norm=1.0,
        bf16=options.precision == "bf16",
        use_cpu=True,
        logging_steps=1,
        report_to=[],
        save_strategy="no",
        disable_tqdm=True,
    )
    InOrder(model=model, args=arguments, train_dataset=data, callbacks=[Clock()]).train()
    times = [end - start for start, end in zip(moments[::2], moments[1::2], strict=True)]
    return measured(times, losses, options) | {"precision": options.precision}


def measured(
    times: list[float], losses: list[float], options: argparse.Namespace
) -> dict[str, Any]:
    """Tokens per second by the median of the timed steps."""
    middle = statistics.median(times[options.warmup :])
    return {"tokens_per_second": ROW * ROWS / middle, "losses": losses}


WORKERS = {
    "trainer": run_trainer,
    "plain": run_plain,
    "minna": run_minna,
    "profile": run_profile,
}

if __name__ == "__main__":
    main()
