"""TRL's PPOTrainer and GRPOTrainer as bench_ppo.py measures them; runs in the peer's environment.

TRL took PPOTrainer out after 1.12.0, so PPO has an environment of its own with that release, and
GRPO the current one. Gradient checkpointing, which TRL turns on by itself, is off, because ours is.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

from machine import peak_bytes


def run_ppo(folder: Path, plan: dict[str, Any], *, at_once: int) -> dict[str, Any]:
    """Some rollouts of PPO: policy, reference, critic and a reward model of one size."""
    import numpy as np
    import torch
    import transformers
    import trl
    from datasets import Dataset
    from transformers import (
        AutoModelForCausalLM,
        AutoModelForSequenceClassification,
        AutoTokenizer,
    )
    from trl.experimental.ppo import PPOConfig, PPOTrainer, ppo_trainer

    from tune_work import Clock

    # PPOTrainer's own Accelerator is not told of `bf16`; `accelerate launch` tells it this way
    os.environ["ACCELERATE_MIXED_PRECISION"] = "bf16" if plan["precision"] == "bf16" else "no"
    clock = Clock()
    ppo_trainer.batch_generation = clock.timed("generation", ppo_trainer.batch_generation)
    words = AutoTokenizer.from_pretrained(folder / "policy")
    prompts = np.load(folder / "prompts.npy").tolist()
    data = Dataset.from_dict({"input_ids": prompts})
    arguments = PPOConfig(
        output_dir=str(folder / "trl"),
        total_episodes=plan["rollouts"] * plan["rollout_rows"],
        # of one micro-batch, so that every minibatch is an update (TRL accumulates across them)
        per_device_train_batch_size=plan["rollout_rows"],
        gradient_accumulation_steps=1,
        num_mini_batches=plan["rollout_rows"] // plan["update_rows"],
        num_ppo_epochs=plan["passes"],
        local_rollout_forward_batch_size=at_once,
        response_length=plan["answer_tokens"],
        temperature=1.0,
        kl_coef=plan["kl"],
        learning_rate=plan["lr"],
        lr_scheduler_type="constant",
        optim="adamw_torch_fused",
        adam_beta2=plan["beta2"],
        weight_decay=0.0,
        bf16=plan["precision"] == "bf16",
        gradient_checkpointing=False,
        use_cpu=True,
        num_sample_generations=0,
        report_to=[],
        save_strategy="no",
        disable_tqdm=True,
    )

    def judge(name: str) -> Any:
        return AutoModelForSequenceClassification.from_pretrained(
            folder / name, num_labels=1, dtype=torch.float32
        )

    marks = _marks(clock)
    trainer = PPOTrainer(
        args=arguments,
        processing_class=words,
        model=AutoModelForCausalLM.from_pretrained(folder / "policy", dtype=torch.float32),
        ref_model=AutoModelForCausalLM.from_pretrained(folder / "policy", dtype=torch.float32),
        reward_model=judge("reward"),
        value_model=judge("critic"),
        train_dataset=data,
        eval_dataset=data.select(range(8)),
        callbacks=[marks],
    )
    trainer.train()
    return marks.found(every=1) | {
        "settings": {
            "trl": trl.__version__,
            "transformers": transformers.__version__,
            "mixed precision": trainer.accelerator.mixed_precision,
            "attention": trainer.policy_model.config._attn_implementation,  # noqa: SLF001
            "answers at once": at_once,
            "clip of the gradient": "none (PPOTrainer does not)",
            "checkpointing": arguments.gradient_checkpointing,
            "threads": torch.get_num_threads(),
        }
    }


def run_grpo(folder: Path, plan: dict[str, Any], *, at_once: int) -> dict[str, Any]:
    """Some rollouts of GRPO with a rule; `at_once` completions are made before any is learned."""
    import json

    import torch
    import transformers
    import trl
    from datasets import Dataset, disable_progress_bars
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from tune_work import Clock

    disable_progress_bars()
    clock = Clock()
    rows, update = plan["rollout_rows"], plan["update_rows"]
    with (folder / "prompts.jsonl").open(encoding="utf-8") as file:
        prompts = [json.loads(line) for line in file]
    lengths: set[int] = set()

    def even(completion_ids: list[list[int]], **_: Any) -> list[float]:
        lengths.update(map(len, completion_ids))
        return [sum(one % 2 == 0 for one in ids) / len(ids) for ids in completion_ids]

    class Timed(trl.GRPOTrainer):
        def _generate_single_turn(self, *given: Any, **named: Any) -> Any:
            return clock.timed("generation", super()._generate_single_turn)(*given, **named)

        def _generate_and_score_completions(self, *given: Any, **named: Any) -> Any:
            score = super()._generate_and_score_completions
            return clock.timed("rollout", score)(*given, **named)

    arguments = trl.GRPOConfig(
        output_dir=str(folder / "trl"),
        per_device_train_batch_size=update,
        generation_batch_size=at_once,
        gradient_accumulation_steps=1,
        max_steps=plan["rollouts"] * rows // update,
        num_generations=plan["samples"],
        max_completion_length=plan["answer_tokens"],
        generation_kwargs={"min_new_tokens": plan["answer_tokens"]},
        num_iterations=plan["passes"],
        beta=plan["kl"],
        learning_rate=plan["lr"],
        lr_scheduler_type="constant",
        optim="adamw_torch_fused",
        adam_beta2=plan["beta2"],
        weight_decay=0.0,
        max_grad_norm=1.0,
        bf16=plan["precision"] == "bf16",
        gradient_checkpointing=False,
        use_cpu=True,
        logging_steps=rows // update,
        report_to=[],
        save_strategy="no",
        disable_tqdm=True,
    )
    marks = _marks(clock)
    trainer = Timed(
        model=AutoModelForCausalLM.from_pretrained(folder / "policy", dtype=torch.float32),
        args=arguments,
        processing_class=AutoTokenizer.from_pretrained(folder / "policy"),
        reward_funcs=[even],
        train_dataset=Dataset.from_list([{"prompt": one} for one in prompts]),
        callbacks=[marks],
    )
    trainer.train()
    if lengths != {plan["answer_tokens"]}:
        raise SystemExit(f"completions of {sorted(lengths)} tokens, not {plan['answer_tokens']}")
    return marks.found(every=rows // update) | {
        "settings": {
            "trl": trl.__version__,
            "transformers": transformers.__version__,
            "mixed precision": trainer.accelerator.mixed_precision,
            "attention": trainer.model.config._attn_implementation,  # noqa: SLF001
            "answers at once": at_once,
            "loss": arguments.loss_type,
            "scale": arguments.scale_rewards,
            "clip of the gradient": arguments.max_grad_norm,
            "checkpointing": arguments.gradient_checkpointing,
            "threads": torch.get_num_threads(),
        }
    }


def _marks(clock: Any) -> Any:
    """Return a callback that notes moments, what was spent on what until then, and figures."""
    from torch.optim.optimizer import register_optimizer_step_post_hook
    from transformers import TrainerCallback

    class Marks(TrainerCallback):
        def __init__(self) -> None:
            self.moments: list[float] = []
            self.spent: list[dict[str, float]] = []
            self.logs: list[dict[str, float]] = []
            self.updates = 0

        def _mark(self) -> None:
            self.moments.append(time.perf_counter())
            self.spent.append(dict(clock.seconds))

        def on_train_begin(self, *_: Any, **__: Any) -> None:
            self._mark()

        def on_step_end(self, *_: Any, **__: Any) -> None:
            self._mark()

        def on_log(self, *_: Any, logs: dict[str, float], **__: Any) -> None:
            self.logs.append(logs)

        def found(self, *, every: int) -> dict[str, Any]:
            """Per rollout (`every` trainer's steps): moments, what was spent until then, scores."""
            named = ("objective/scores", "reward")
            scores = [float(log[name]) for log in self.logs for name in named if name in log]
            return {
                "ends": self.moments[::every],
                "spent": self.spent[::every],
                "scores": scores,
                "updates": self.updates,
                "peak": peak_bytes(),
            }

    marks = Marks()

    def count(*_: Any) -> None:
        marks.updates += 1

    # counted, not computed: accumulation may skip some
    register_optimizer_step_post_hook(count)
    return marks
