"""TRL's SFTTrainer as bench_sft.py measures it: the same dialogues, weights, rate and updates.

Runs in the peer's environment, which knows nothing of minna: it reads a Hugging Face folder whose
chat template has generation marks, and messages as JSON lines. Gradient checkpointing, which TRL
turns on by itself, is off, because ours is.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

from machine import peak_bytes


def run_trl(
    folder: Path, *, packed: bool, micro: int, accumulation: int, room: int, plan: dict[str, Any]
) -> dict[str, Any]:
    """Train `plan["updates"]` updates, then save; figures of every update."""
    import torch
    import transformers
    import trl
    from datasets import Dataset, disable_progress_bars
    from transformers import AutoModelForCausalLM, AutoTokenizer, TrainerCallback

    disable_progress_bars()
    with (folder / "messages.jsonl").open(encoding="utf-8") as file:
        data = Dataset.from_list([{"messages": json.loads(line)} for line in file])
    ends: list[float] = []
    learned: list[int] = [0]
    tokens: list[int] = [0]

    class Ends(TrainerCallback):
        def on_train_begin(self, *_: Any, **__: Any) -> None:
            ends.append(time.perf_counter())

        def on_step_end(self, *_: Any, **__: Any) -> None:
            ends.append(time.perf_counter())
            learned.append(0)
            tokens.append(0)

    class Counting(trl.SFTTrainer):
        def training_step(self, model: Any, inputs: dict[str, Any], *given: Any) -> Any:
            learned[-1] += int((inputs["labels"] != -100).sum())
            tokens[-1] += inputs["input_ids"].numel()
            return super().training_step(model, inputs, *given)

    arguments = trl.SFTConfig(
        output_dir=str(folder / "trl"),
        max_length=room,
        packing=packed,
        packing_strategy="bfd",
        assistant_only_loss=True,
        per_device_train_batch_size=micro,
        gradient_accumulation_steps=accumulation,
        max_steps=plan["updates"],
        learning_rate=plan["lr"],
        lr_scheduler_type="constant",
        optim="adamw_torch_fused",
        adam_beta2=plan["beta2"],
        weight_decay=plan["decay"],
        max_grad_norm=1.0,
        bf16=plan["precision"] == "bf16",
        gradient_checkpointing=False,
        use_cpu=True,
        logging_steps=plan["updates"],
        report_to=[],
        save_strategy="no",
        disable_tqdm=True,
    )
    trainer = Counting(
        model=AutoModelForCausalLM.from_pretrained(folder / "model", dtype=torch.float32),
        args=arguments,
        train_dataset=data,
        processing_class=AutoTokenizer.from_pretrained(folder / "model"),
        callbacks=[Ends()],
    )
    made = trainer.train_dataset
    trainer.train()
    peak = peak_bytes()
    trainer.save_model(str(folder / "trained"))
    return {
        "ends": ends,
        "learned": learned[:-1],
        "tokens": tokens[:-1],
        "peak": peak,
        "data_learned": sum(one != -100 for row in made["labels"] for one in row),
        "data_tokens": sum(len(row) for row in made["input_ids"]),
        "settings": {
            "trl": trl.__version__,
            "transformers": transformers.__version__,
            "precision": "bf16 autocast" if arguments.bf16 else "fp32",
            "attention": trainer.model.config._attn_implementation,  # noqa: SLF001 - only place
            "optimiser": arguments.optim,
            "packing": arguments.packing_strategy if packed else "off",
            "padding_free": trainer.padding_free,
            "rows": f"{micro} x {accumulation} micro-batches",
            "row tokens": room if packed else "the longest of a micro-batch",
            "checkpointing": arguments.gradient_checkpointing,
            "threads": torch.get_num_threads(),
        },
    }
