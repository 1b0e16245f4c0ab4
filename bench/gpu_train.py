"""Training beside transformers Trainer on a GPU: two sections of the GPU pack.

Same weights, rows and updates on both sides. FLOPs of a token are minna's own count for both (6 per
weight of a matrix, causal attention at half its scores, nothing for recomputation), so that shares
of the peak compare.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import torch

from gpu_task import Task, about, fresh, micro_rows, share_of_peak, wait
from minna.models import Decoder, find_family


def minna(task: Task) -> None:
    """The step of minna: documents in sight of each other, and apart."""
    for attention in ("across", "within"):
        measure = partial(train_minna, task, attention=attention)
        task.attempt(f"documents {attention}", partial(with_fewer_rows, task, measure))


def modes(task: Task) -> None:
    """What torch.compile's modes are worth, against minna's choice (the default mode)."""
    for mode in ("default", "max-autotune-no-cudagraphs", "reduce-overhead"):
        measure = partial(train_minna, task, attention="across", mode=mode)
        task.attempt(mode, partial(with_fewer_rows, task, measure))


def with_fewer_rows(task: Task, measure: Callable[..., dict[str, Any]]) -> dict[str, Any]:
    """Measure with `at_once` rows a micro-batch of `total` a step; half as many while memory fails.

    The tokens of a step stay the same, so that both sides do the same updates.
    """
    at_once = micro_rows(task, fresh(task))
    total = task.scale.accumulation * at_once
    while True:
        try:
            return measure(at_once=at_once, total=total)
        except torch.OutOfMemoryError:
            if at_once == 1:
                raise
            at_once //= 2
        gc.collect()
        torch.cuda.empty_cache()
        torch.compiler.reset()


def train_minna(
    task: Task, *, attention: str, at_once: int, total: int, mode: str | None = None
) -> dict[str, Any]:
    """Time `take_step`, set up as recipe/build.py does; `mode` overrides the compiler's."""
    from minna.objectives import CausalLM
    from minna.train.optim import AdamWSettings, make_optimisers
    from minna.train.parallel import Whole
    from minna.train.precision import compile_or_fall_back, decide
    from minna.train.protocols import Parts
    from minna.train.quality import bits_per_byte
    from minna.train.schedule import Cosine
    from minna.train.step import take_step, to_device

    cuda = task.device == "cuda"
    numerics = decide(
        device="cuda" if cuda else "cpu",
        precision="bf16" if cuda else "auto",
        compile_="on" if cuda else "off",
    )
    if cuda:
        torch.cuda.reset_peak_memory_stats()
    decoder = fresh(task).to(task.device)
    decoder.attention_kind = "flex" if cuda else "fused"
    stream: Any = task.batches(at_once, attention=attention)
    objective = CausalLM()
    parts = Parts(
        model=decoder,
        objective=objective,
        placement=Whole(decoder, objective),
        stream=stream,
        optimisers=make_optimisers(decoder, settings=AdamWSettings(lr=6e-4)),
        schedule=Cosine(floor=1.0),
        clip=1.0,
        evaluators=[],
        weights={"next_token": 1.0},
        micro_batch_tokens=at_once * task.scale.row,
        accumulation=total // at_once,
        flops_per_token=decoder.flops_per_token(row_tokens=task.scale.row),
        quality=bits_per_byte(1.0),
    )
    start = time.perf_counter()
    example = to_device(next(task.batches(at_once, attention=attention)), torch.device(task.device))
    if mode is None or not cuda:
        compiled: str = compile_or_fall_back(parts, example=example, numerics=numerics)
    else:
        decoder.compile(dynamic=False, mode=mode)
        parts.objective.compile_pieces()
        compiled = mode
    losses: list[float] = []
    for step in range(task.scale.warmup):
        result = take_step(parts, step=step, total=10**6, autocast=numerics.autocast())
        losses.append(result.loss)
    wait(task.device)
    warm = time.perf_counter()
    for step in range(task.scale.steps):
        result = take_step(parts, step=step, total=10**6, autocast=numerics.autocast())
        losses.append(result.loss)
    wait(task.device)
    seconds = time.perf_counter() - warm
    return timed(task, decoder, seconds=seconds, rows=total, peak=numerics.peak) | {
        "compile": compiled,
        "precision": numerics.precision,
        "compile_and_warmup_seconds": round(warm - start, 2),
        "micro_batch_rows": at_once,
        "loss": sum(losses) / len(losses),
        "losses": losses,
    }


def timed(
    task: Task, decoder: Decoder, *, seconds: float, rows: int, peak: float
) -> dict[str, Any]:
    """The figures both sides report of `task.scale.steps` updates of `rows` rows."""
    tokens = rows * task.scale.row
    rate = tokens * task.scale.steps / seconds
    flops = decoder.flops_per_token(row_tokens=task.scale.row)
    nominal = about(task.device).get("nominal_flops_per_second")
    return {
        "tokens_per_second": rate,
        "share_of_peak": share_of_peak(tokens_per_second=rate, flops_per_token=flops, peak=peak),
        "share_of_nominal": nominal
        and share_of_peak(tokens_per_second=rate, flops_per_token=flops, peak=nominal),
        "peak_flops_per_second": peak,
        "flops_per_token": flops,
        "parameters": sum(p.numel() for p in decoder.parameters()),
        "tokens_per_step": tokens,
        "steps": task.scale.steps,
        "seconds": seconds,
        "memory_bytes": torch.cuda.max_memory_allocated() if task.device == "cuda" else None,
    }


def trainer(task: Task) -> None:
    """Transformers Trainer on the same weights and rows, as its users run it, then compiled."""
    for mode in ("eager", "torch_compile"):
        measure = partial(train_peer, task, mode=mode)
        task.attempt(mode, partial(with_fewer_rows, task, measure))


def train_peer(task: Task, *, mode: str, at_once: int, total: int) -> dict[str, Any]:
    """Time Trainer: bf16, sdpa attention, fused AdamW, everything else as it comes."""
    import transformers

    from minna.train.precision import matrix_peak

    decoder = fresh(task)
    cuda, scale = task.device == "cuda", task.scale
    if cuda:
        torch.cuda.reset_peak_memory_stats()
    stream = task.batches(1, attention="across")
    # Trainer shifts the labels inside, so it learns one target fewer a row.
    data = [
        {"input_ids": row, "labels": row}
        for row in (next(stream)["tokens"][0] for _ in range((scale.warmup + scale.steps) * total))
    ]
    moments: dict[str, float] = {}

    class Clock(transformers.TrainerCallback):
        def on_step_begin(self, _args: Any, state: Any, *_: Any, **__: Any) -> None:
            if state.global_step == scale.warmup and "begin" not in moments:
                wait(task.device)
                moments["begin"] = time.perf_counter()

        def on_step_end(self, _args: Any, state: Any, *_: Any, **__: Any) -> None:
            if state.global_step == scale.warmup + scale.steps:
                wait(task.device)
                moments["end"] = time.perf_counter()

    class InOrder(transformers.Trainer):
        def _get_train_sampler(self, *_: Any, **__: Any) -> torch.utils.data.Sampler[int]:
            return torch.utils.data.SequentialSampler(data)

    arguments = transformers.TrainingArguments(
        output_dir=str(task.folder / "trainer"),
        per_device_train_batch_size=at_once,
        gradient_accumulation_steps=total // at_once,
        max_steps=scale.warmup + scale.steps,
        learning_rate=6e-4,
        lr_scheduler_type="constant",
        adam_beta2=0.95,
        weight_decay=0.01,
        max_grad_norm=1.0,
        bf16=cuda,
        use_cpu=not cuda,
        torch_compile=mode == "torch_compile" and cuda,
        logging_steps=scale.warmup + scale.steps,
        report_to=[],
        save_strategy="no",
        disable_tqdm=True,
    )
    peer = as_transformers(decoder)
    start = time.perf_counter()
    done = InOrder(model=peer, args=arguments, train_dataset=data, callbacks=[Clock()])
    outcome = done.train()
    peak = matrix_peak(task.device, torch.bfloat16 if cuda else torch.float32)
    seconds = moments["end"] - moments["begin"]
    return timed(task, decoder, seconds=seconds, rows=total, peak=peak) | {
        "torch_compile": arguments.torch_compile,
        "attention": peer.config._attn_implementation,  # noqa: SLF001 - the only place that tells
        "optimiser": str(arguments.optim),
        "compile_and_warmup_seconds": round(moments["begin"] - start, 2),
        "micro_batch_rows": at_once,
        # Trainer divides the losses of row - 1 targets by row
        "loss": outcome.training_loss * scale.row / (scale.row - 1),
    }


def as_transformers(decoder: Decoder) -> Any:
    """The same weights as transformers' GPT-2, sdpa attention."""
    import transformers

    family = find_family("gpt2")
    config = transformers.GPT2Config(
        **family.config_to_disk(decoder.config), attn_implementation="sdpa"
    )
    peer = transformers.GPT2LMHeadModel(config)
    lacking = peer.load_state_dict(
        family.to_disk(decoder.state_dict(), decoder.config), strict=False
    )
    if lacking.unexpected_keys or set(lacking.missing_keys) - {"lm_head.weight"}:
        raise RuntimeError(f"the peer's weights do not fit: {lacking}")
    return peer
