"""Training speed and memory beside transformers Trainer, on the same rows from the same weights.

The reference shape is a GPT-NeoX of 6 layers x 384, 6 heads, ffn 1,536, vocabulary 16,384, rows of
512 tokens, 16 rows a step (8,192 tokens), 23 M parameters, AdamW, clipping at 1. Every variant is a
process of its own, so that peak memory is its own; rounds are interleaved, so that a busy minute
hits all; the table shows medians with their range. Ratios under 1.25 on a shared machine are ties.

    python bench/bench_train.py [--rounds 5] [--steps 3] [--peer-python PATH]
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

SHAPE = {"layers": 6, "width": 384, "heads": 6, "ffn": 1536, "context": 512}
VOCAB, ROW, ROWS, LEARNING_RATE = 16384, 512, 16, 6e-4
MALLOC = {
    "MALLOC_MMAP_MAX_": "0",
    "MALLOC_TRIM_THRESHOLD_": "34359738368",
    "MALLOC_TOP_PAD_": "67108864",
    "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1",
}
VARIANTS = {
    "Trainer fp32": ("trainer", {"precision": "fp32"}, {}),
    "Trainer bf16": ("trainer", {"precision": "bf16"}, {}),
    "Trainer bf16, our allocator settings": ("trainer", {"precision": "bf16"}, MALLOC),
    "minna": ("minna", {"precision": "auto"}, MALLOC),
}


def main() -> None:
    """Prepare data and weights, run the rounds, print the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=3, help="timed steps of a round")
    parser.add_argument("--warmup", type=int, default=2)
    parser.add_argument("--peer-python", default=sys.executable)
    parser.add_argument("--worker", choices=["trainer", "minna"])
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--folder", type=Path)
    options = parser.parse_args()
    if options.worker:
        worker = {"trainer": run_trainer, "minna": run_minna}[options.worker]
        print(json.dumps(worker(options) | {"rss": peak_rss()}))
        return
    with tempfile.TemporaryDirectory() as folder:
        prepare(Path(folder), steps=options.warmup + options.steps)
        results: dict[str, list[dict[str, Any]]] = {name: [] for name in VARIANTS}
        for number in range(options.rounds):
            for name, (worker, arguments, environment) in VARIANTS.items():
                python = options.peer_python if worker == "trainer" else sys.executable
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
    memory = {name: statistics.median(r["rss"] for r in rounds) for name, rounds in results.items()}
    setting = (
        f"{options.rounds} interleaved rounds of {options.steps} steps of {ROW * ROWS} tokens, "
        f"{torch.get_num_threads()} threads, torch {torch.__version__}, {processor()}; "
        f"minna ran in {results['minna'][0]['precision']}"
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
    model = build(GptNeoXShape(**SHAPE), vocab=VOCAB)
    model.initialise(seed=0)
    shutil.copytree(folder / "tokenizer", folder / "model")
    (folder / "model" / "minna.json").unlink()
    write_model(folder / "model", model, family="gpt_neox", words=words)


def run_minna(options: argparse.Namespace) -> dict[str, Any]:
    """Train with minna's own step: bf16 or fp32 as it decides, compiled, chunked loss."""
    import numpy as np
    import torch

    from minna.objectives import CausalLM
    from minna.runtime.load import load_model
    from minna.train.optim import AdamWSettings, make_optimisers
    from minna.train.precision import compile_or_fall_back, decide
    from minna.train.protocols import Parts
    from minna.train.schedule import Cosine
    from minna.train.step import take_step

    rows = torch.from_numpy(np.load(options.folder / "rows.npy"))
    batches = [
        {"tokens": chunk[:, :-1].contiguous(), "targets": chunk[:, 1:].contiguous()}
        for chunk in rows.split(ROWS)
    ]
    loaded = load_model(options.folder / "model", device="cpu", dtype="fp32", layout="plain")
    model = loaded.decoder.train()
    for parameter in model.parameters():
        parameter.requires_grad_(True)
    numerics = decide(device="cpu", precision="auto", compile_="auto")
    parts = Parts(
        model=model,
        objective=CausalLM(),
        stream=_Given(batches),
        optimisers=make_optimisers(model, settings=AdamWSettings(lr=LEARNING_RATE)),
        schedule=Cosine(floor=1.0),
        clip=1.0,
        evaluators=[],
        weights={"next_token": 1.0},
        micro_batch_tokens=ROW * ROWS,
        accumulation=1,
        flops_per_token=1,
        tokens_per_byte=1.0,
    )
    compile_or_fall_back(parts, example=batches[0], numerics=numerics)
    times, losses = [], []
    for step in range(options.warmup + options.steps):
        start = time.perf_counter()
        result = take_step(parts, step=step, total=10**6, autocast=numerics.autocast())
        times.append(time.perf_counter() - start)
        losses.append(result.loss)
    return measured(times, losses, options) | {"precision": numerics.precision}


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
        adam_beta2=0.95,
        weight_decay=0.01,
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


def peak_rss() -> int:
    """Peak resident bytes of this process."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def processor() -> str:
    """The processor's name, as far as the system tells."""
    file = Path("/proc/cpuinfo")
    names = [
        line.partition(":")[2].strip()
        for line in (file.read_text(encoding="utf-8").splitlines() if file.exists() else [])
        if line.startswith("model name")
    ]
    import torch

    amx = torch.cpu._is_amx_tile_supported()  # noqa: SLF001 - no public question exists
    return f"{names[0] if names else 'unknown processor'}, AMX {'yes' if amx else 'no'}"


if __name__ == "__main__":
    main()
