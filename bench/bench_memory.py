"""Peak memory of a training step, way by way, beside what `minna plan` predicts and Trainer takes.

Two shapes: the GPT-NeoX of bench_train.py (6 layers x 384, vocabulary 16,384, 16 rows of 512) and a
modern one (Qwen3 layout, 8 layers x 512). Every variant is a process (or two, over gloo) of its
own. Two figures each: bytes of tensors that torch held at most (states counted, then every
allocation of a step followed by torch's profiler), which is what a plan predicts, and the growth of
the resident set from a level taken after a toy of the same kind was compiled and trained (VmHWM).

    python bench/bench_memory.py [--steps 3] [--peer-python PATH] [--only WORD]
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from machine import peak_bytes, processor

SOME_CPU_FACTS: dict[str, Any] = {
    "key": "cpu",
    "name": "some CPU",
    "memory_gb": 1000,
    "bf16_tflops": 1,
    "fp32_tflops": 0.5,
    "bandwidth_gbs": 10,
    "link_gbs": 1,
    "network_gbs": 1,
    "gpus_per_node": 1,
    "source": "its bytes alone are asked for",
}

VOCAB, ROW = 16384, 512
SHAPES: dict[str, dict[str, Any]] = {
    "gpt_neox": {"layers": 6, "width": 384, "heads": 6, "ffn": 1536, "context": 512},
    "qwen3": {"layers": 8, "width": 512, "heads": 8, "kv_heads": 4, "ffn": 1408, "context": 512},
}
ROWS = {"gpt_neox": 16, "qwen3": 8}
MALLOC = {
    "MALLOC_MMAP_MAX_": "0",
    "MALLOC_TRIM_THRESHOLD_": "34359738368",
    "MALLOC_TOP_PAD_": "67108864",
    "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1",
}
POLICIES = ("none", "selective", "full")


def variants() -> list[dict[str, Any]]:
    """What is measured, in the order of the table."""
    found: list[dict[str, Any]] = []
    for family in SHAPES:
        plain = {"family": family, "ranks": 1, "sharding": "auto"}
        ours = {"who": "minna", **plain, "compile": "on"}
        peer = {"who": "trainer", **plain, "compile": "off"}
        found += [{**ours, "policy": policy} for policy in POLICIES]
        found += [{**ours, "policy": "none", "compile": "off"}]
        found += [{**peer, "policy": policy} for policy in ("none", "full")]
        found += [{**who, "policy": "none", "malloc": True} for who in (ours, peer)]
    found += [
        {
            "who": "minna",
            "family": "gpt_neox",
            "ranks": 2,
            "sharding": sharding,
            "compile": "on",
            "policy": policy,
        }
        for sharding in ("replicate", "shard")
        for policy in ("none", "full")
    ]
    found += [
        {"who": "minna", **plain, "policy": "none", "compile": "on", "adapter": base}
        for base in ("fp32", "bf16", "nf4")
    ]
    return found


def main() -> None:
    """Run every variant, print the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--peer-python", default=sys.executable)
    parser.add_argument("--only", default="", help="variants whose JSON contains this word")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        variant = json.loads(options.worker)
        worker = run_trainer if variant["who"] == "trainer" else run_minna
        result = worker(variant, options.steps)
        if os.environ.get("RANK", "0") == "0":
            print(json.dumps(result))
        return
    rows = []
    for variant in variants():
        if options.only in json.dumps(variant):
            found = call(variant, options)
            sys.stderr.write(f"{variant}: {found}\n")
            rows.append((variant, found))
    print(table(rows))


def call(variant: dict[str, Any], options: argparse.Namespace) -> dict[str, Any]:
    """Run one variant in a process of its own, or one for each rank."""
    python = options.peer_python if variant["who"] == "trainer" else sys.executable
    command = [python]
    if variant["ranks"] > 1:
        command += ["-m", "torch.distributed.run", "--standalone"]
        command += [f"--nproc-per-node={variant['ranks']}"]
    command += [__file__, "--worker", json.dumps(variant), "--steps", str(options.steps)]
    settings = MALLOC if variant.get("malloc") else {}
    threads = {"OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "1")}
    done = subprocess.run(
        command,
        env={**os.environ, **threads, **settings},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SystemExit(f"{variant} failed:\n{done.stderr[-3000:]}")
    return json.loads(done.stdout.strip().splitlines()[-1])


def run_minna(variant: dict[str, Any], steps: int) -> dict[str, Any]:
    """Train with minna's own step, and count."""
    import torch

    from minna.train.precision import decide
    from minna.train.ranks import joined

    numerics = decide(device="cpu", precision="bf16", compile_=variant["compile"])
    with joined(device="cpu", wait_seconds=300) as ranks:
        toy = {**variant, "toy": True}
        train(build_parts(toy, numerics, ranks), numerics, steps=1)
        torch.compiler.reset()
        gc.collect()
        level = start_counting()
        parts = build_parts(variant, numerics, ranks)
        train(parts, numerics, steps=steps)
        peak = peak_bytes()
        counted = count_step(parts, numerics)
    return {"resident": peak - level, "tensors": counted, "predicted": predicted(variant)}


def build_parts(variant: dict[str, Any], numerics: Any, ranks: Any) -> Any:
    """The parts of a run on rows of random words, compiled as the variant says."""
    import torch

    from minna.models import build, find_family
    from minna.models.adapters import adapt
    from minna.objectives import CausalLM
    from minna.recipe.build import attention_kind
    from minna.train.optim import AdamWSettings, make_optimisers
    from minna.train.parallel import place
    from minna.train.precision import compile_or_fall_back
    from minna.train.protocols import Parts
    from minna.train.quality import bits_per_byte
    from minna.train.schedule import Cosine

    toy = variant.get("toy", False)
    family = variant["family"]
    rows = 1 if toy else ROWS[family] // variant["ranks"]
    model = build(shape_of(variant), vocab=512 if toy else VOCAB)
    model.initialise(seed=0)
    model.attention_kind = attention_kind(model, row_tokens=ROW, numerics=numerics)
    model.checkpointing = variant["policy"]
    if base := variant.get("adapter"):
        adapt(model, adapter_of(base), device="cpu", seed=0)
    model.train()
    objective = CausalLM()
    placement = place(
        model,
        objective,
        sharding=variant["sharding"],
        units=find_family(family).shard_units,
        ranks=ranks,
        precision=numerics.precision,
        device=numerics.device,
    )
    tokens = torch.randint(0, 512, (rows, ROW + 1))
    batch = {"tokens": tokens[:, :-1].contiguous(), "targets": tokens[:, 1:].contiguous()}
    parts = Parts(
        model=model,
        objective=objective,
        placement=placement,
        stream=Same(batch),
        optimisers=make_optimisers(model, settings=AdamWSettings(lr=1e-4)),
        schedule=Cosine(floor=1.0),
        clip=1.0,
        evaluators=[],
        weights={"next_token": 1.0},
        micro_batch_tokens=rows * ROW * ranks.count,
        accumulation=1,
        flops_per_token=1,
        quality=bits_per_byte(1.0),
    )
    compile_or_fall_back(parts, example=batch, numerics=numerics)
    return parts


def adapter_of(base: str | None) -> Any:
    """Adapters of rank 16 beside a base so kept, or none."""
    from minna.models.adapters import AdapterSettings

    return AdapterSettings(rank=16, base=base) if base else AdapterSettings()


class Same:
    """A stream of one batch."""

    def __init__(self, batch: dict[str, Any]) -> None:
        self.batch = batch

    def __next__(self) -> dict[str, Any]:
        return self.batch

    def state_dict(self) -> dict[str, Any]:
        """Nothing: there is no place to go back to."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Stay."""
        del state


def shape_of(variant: dict[str, Any]) -> Any:
    """The model's shape in our words."""
    from minna.models.family import GptNeoXShape, Qwen3Shape

    return (GptNeoXShape if variant["family"] == "gpt_neox" else Qwen3Shape)(**sizes(variant))


def sizes(variant: dict[str, Any]) -> dict[str, Any]:
    """The numbers of a shape; those of a toy have the same operators."""
    size = dict(SHAPES[variant["family"]])
    if variant.get("toy"):
        size |= {"layers": 1, "width": 128, "heads": 2, "ffn": 256}
        size |= {"kv_heads": 1} if "kv_heads" in size else {}
    return size


def train(parts: Any, numerics: Any, *, steps: int) -> None:
    """So many updates."""
    from minna.train.step import take_step

    for step in range(steps):
        take_step(parts, step=step, total=10**6, autocast=numerics.autocast())


def count_step(parts: Any, numerics: Any) -> int:
    """Most bytes of tensors at once in an update: what lives between updates, and what comes.

    Of what lives, Python knows all: DDP's buckets too, by their views.
    """
    import torch
    from torch.distributed.tensor import DTensor

    gc.collect()
    storages = {}
    for thing in gc.get_objects():
        if isinstance(thing, torch.Tensor) and not isinstance(thing, DTensor):
            with contextlib.suppress(NotImplementedError, RuntimeError):
                storage = thing.untyped_storage()
                storages[storage.data_ptr()] = storage.nbytes()
    living = sum(storages.values())
    activities = [torch.profiler.ProfilerActivity.CPU]
    with torch.profiler.profile(activities=activities, profile_memory=True) as profile:
        train(parts, numerics, steps=1)
    events = [e for e in profile.profiler.kineto_results.events() if e.name() == "[memory]"]
    now = most = 0
    for event in sorted(events, key=lambda e: e.start_ns()):
        now += event.nbytes()
        most = max(most, now)
    return living + most


def start_counting() -> int:
    """Forget the peak so far; return what this process holds now."""
    Path("/proc/self/clear_refs").write_text("5", encoding="utf-8")
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) * 1024


def predicted(variant: dict[str, Any]) -> dict[str, int]:
    """What `minna plan` says of this variant, part by part."""
    from dataclasses import asdict, replace

    from minna import plan, recipe

    rows = ROWS[variant["family"]]
    base = recipe.load("japanese-gpt-neox-small")
    own = replace(
        base,
        model=shape_of(variant),
        adapter=adapter_of(variant.get("adapter")),
        stream=replace(base.stream, row_tokens=ROW),
        train=replace(
            base.train,
            tokens_per_step=rows * ROW,
            micro_batch_rows=rows // variant["ranks"],
            compile=variant["compile"],
            precision="bf16",
        ),
    )
    made = plan.plan(own, gpus=variant["ranks"], device=plan.Device(**SOME_CPU_FACTS), vocab=VOCAB)
    sharding = "shard" if variant["sharding"] == "shard" else "replicate"
    wanted = (sharding, variant["policy"])
    way = next(e for e in made.ways if (e.way.sharding, e.way.checkpointing) == wanted)
    return {**asdict(way.memory), "total": way.memory.total}


def run_trainer(variant: dict[str, Any], steps: int) -> dict[str, Any]:
    """Train with transformers Trainer as its users do: sdpa attention, bf16, fused AdamW."""
    train_peer({**variant, "toy": True}, steps=1)
    gc.collect()
    level = start_counting()
    train_peer(variant, steps=steps)
    return {"resident": peak_bytes() - level}


def train_peer(variant: dict[str, Any], *, steps: int) -> None:
    """A few steps of Trainer on the same shapes."""
    import tempfile

    import torch
    from transformers import (
        GPTNeoXConfig,
        GPTNeoXForCausalLM,
        Qwen3Config,
        Qwen3ForCausalLM,
        Trainer,
        TrainingArguments,
    )

    size = sizes(variant)
    common = {
        "hidden_size": size["width"],
        "num_hidden_layers": size["layers"],
        "num_attention_heads": size["heads"],
        "intermediate_size": size["ffn"],
        "max_position_embeddings": size["context"],
        "vocab_size": 512 if variant.get("toy") else VOCAB,
        "tie_word_embeddings": False,
        "use_cache": False,
    }
    if variant["family"] == "gpt_neox":
        neox = GPTNeoXConfig(**common, rotary_pct=1.0, use_parallel_residual=False)
        model: Any = GPTNeoXForCausalLM(neox)
    else:
        heads = {
            "num_key_value_heads": size["kv_heads"],
            "head_dim": size["width"] // size["heads"],
        }
        model = Qwen3ForCausalLM(Qwen3Config(**common, **heads))
    rows = 1 if variant.get("toy") else ROWS[variant["family"]]
    data = [{"input_ids": (words := torch.randint(0, 512, (ROW,))), "labels": words}] * rows
    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            output_dir=folder,
            per_device_train_batch_size=rows,
            max_steps=steps,
            learning_rate=1e-4,
            bf16=True,
            use_cpu=True,
            gradient_checkpointing=variant["policy"] == "full",
            report_to=[],
            save_strategy="no",
            disable_tqdm=True,
        )
        Trainer(model=model, args=arguments, train_dataset=data).train()


def table(rows: list[tuple[dict[str, Any], dict[str, Any]]]) -> str:
    """Markdown: predicted, counted, error, resident."""
    import torch

    head = "| model | who | ranks | checkpointing | compile | predicted, MB | tensors, MB | error "
    head += "| resident, MB | with our allocator settings |"
    lines = [f"torch {torch.__version__}, {processor()}", "", head, "|---" * 10 + "|"]
    for variant, found in rows:
        if variant.get("malloc"):
            continue
        who = variant["who"]
        ranks = "1" if variant["ranks"] == 1 else f"{variant['ranks']}, {variant['sharding']}"
        told, counted = found.get("predicted"), found.get("tensors")
        tuned = [f for v, f in rows if v == {**variant, "malloc": True}]
        cells = [
            variant["family"]
            + (f", adapters beside {variant['adapter']}" if "adapter" in variant else ""),
            "transformers Trainer" if who == "trainer" else who,
            ranks,
            variant["policy"],
            variant["compile"],
            f"{told['total'] / 1e6:,.0f}" if told else "",
            f"{counted / 1e6:,.0f}" if counted else "",
            f"{told['total'] / counted - 1:+.1%}" if told and counted else "",
            f"{found['resident'] / 1e6:,.0f}",
            f"{tuned[0]['resident'] / 1e6:,.0f}" if tuned else "",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
