"""minna's own PPO and GRPO as bench_ppo.py measures them, and the networks that both sides load."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from machine import peak_bytes
from tune_work import Clock, constant, trainable, write_folder

SHAPE = {"layers": 4, "width": 256, "heads": 4, "ffn": 1024, "context": 64}
PROMPT, PROMPTS = 16, 1024


def prepare(folder: Path, tokenizer: Path, *, shape: dict[str, int] | None = None) -> None:
    """Write policy, critic, reward model and prompts that all sides load."""
    import torch

    from minna.models import build
    from minna.models.family import GptNeoXShape
    from minna.models.scorer import Scorer
    from minna.tokenizer.load import load_tokenizer

    words = load_tokenizer(tokenizer)
    policy = build(GptNeoXShape(**(shape or SHAPE)), vocab=words.vocab_size)
    policy.initialise(seed=0)
    write_folder(folder / "policy", policy, tokenizer=tokenizer)
    reward = Scorer(policy.config)
    reward.initialise(seed=1)
    write_folder(folder / "reward", reward, tokenizer=tokenizer)
    critic = Scorer(policy.config)
    theirs = dict(policy.named_parameters())
    with torch.no_grad():
        for name, parameter in critic.named_parameters():
            parameter.copy_(theirs[name]) if name in theirs else parameter.zero_()
    write_folder(folder / "critic", critic, tokenizer=tokenizer)
    write_prompts(folder, tokenizer)


def write_prompts(folder: Path, tokenizer: Path) -> None:
    """Write the first 16 tokens of real sentences, those that are read back as 16 tokens."""
    import numpy as np

    from minna import artifact
    from minna.corpus.read import text_batches
    from minna.tokenizer.load import load_tokenizer

    words = load_tokenizer(tokenizer)
    corpus = Path(artifact.read_manifest(tokenizer).parent("corpus").path)
    found: list[list[int]] = []
    texts: list[str] = []
    for batch, _ in text_batches(corpus, split="train"):
        for text in batch:
            ids = words.encode(text)[:PROMPT]
            short = words.decode(ids)
            if len(ids) == PROMPT and words.encode(short) == ids and short not in texts:
                found.append(list(ids))
                texts.append(short)
            if len(found) == PROMPTS:
                break
        if len(found) == PROMPTS:
            break
    if not found:
        raise SystemExit(f"no text of {corpus} begins with {PROMPT} tokens that are read back")
    np.save(folder / "prompts.npy", np.array(found))
    lines = [json.dumps(text, ensure_ascii=False) for text in texts]
    (folder / "prompts.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")


class Endless:
    """A tokenizer of which no token ends an answer."""

    eos_id = -1

    def __init__(self, words: Any) -> None:
        self._words = words

    def __getattr__(self, name: str) -> Any:
        return getattr(self._words, name)


class Prompts:
    """Shards of prompts, in memory."""

    def __init__(self, prompts: Any) -> None:
        import numpy as np

        from minna.streams.shards import Shard

        offsets = np.arange(len(prompts) + 1) * prompts.shape[1]
        tokens = prompts.astype(np.uint16).ravel()
        learned = np.zeros(len(tokens), np.bool_)
        self.shards = [Shard(tokens=tokens, offsets=offsets, byte_ends=offsets, learned=learned)]


def even(said: Sequence[Any]) -> list[float]:
    """The rule: the share of even ids in an answer."""
    return [sum(one % 2 == 0 for one in s.answer_ids) / len(s.answer_ids) for s in said]


def experience_parts(folder: Path, kind: str, plan: dict[str, Any], clock: Clock) -> Any:
    """Return (parts, numerics) of minna's own PPO or GRPO, as `minna train` decides."""
    from minna.recipe.build import attention_kind
    from minna.train.optim import AdamWSettings, make_optimisers
    from minna.train.parallel import Whole
    from minna.train.precision import decide
    from minna.train.protocols import Parts
    from minna.train.quality import nothing

    # answers are of all lengths, so `minna train` does not compile here
    numerics = decide(device="cpu", precision=plan["precision"], compile_="off")
    model = trainable(folder / "policy")
    room = plan["prompt_tokens"] + plan["answer_tokens"]
    model.attention_kind = attention_kind(model, row_tokens=room, numerics=numerics)
    objective, weights = learner(folder, kind, plan, model)
    settings = AdamWSettings(lr=plan["lr"], betas=(0.9, plan["beta2"]), weight_decay=0.0)
    parts = Parts(
        model=model,
        objective=objective,
        placement=Whole(model, objective),
        stream=experience(folder, kind, plan, model, objective, numerics, clock),
        optimisers=[
            *make_optimisers(model, settings=settings),
            *make_optimisers(objective, settings=settings),
        ],
        schedule=constant(),
        clip=1.0,
        evaluators=[],
        weights=weights,
        micro_batch_tokens=plan["update_rows"] * room,
        accumulation=1,
        flops_per_token=1,
        quality=nothing,
    )
    return parts, numerics


def learner(folder: Path, kind: str, plan: dict[str, Any], model: Any) -> tuple[Any, Any]:
    """Return the objective and the weights of its terms."""
    from minna.objectives import GRPO, PPO, GRPOSettings, PPOSettings, Reference
    from minna.runtime.episodes import Episodes
    from minna.runtime.reward import load_scorer

    shared = {
        "episodes": Episodes(
            count=plan["rollout_rows"],
            prompt_tokens=plan["prompt_tokens"],
            answer_tokens=plan["answer_tokens"],
        ),
        "vocab": model.config.vocab,
        "temperature": 1.0,
    }
    if kind == "grpo":
        grpo = GRPOSettings(kind="grpo", kl=plan["kl"])
        reference = Reference(model) if plan["kl"] else None
        terms = dict.fromkeys(GRPO.terms, 0.0) | {"loss/policy": 1.0}
        return GRPO(grpo, reference=reference, **shared), terms
    ppo = PPOSettings(kind="ppo", kl=plan["kl"], kl_target=0.0)  # fixed, as TRL's is
    critic, _ = load_scorer(folder / "critic")
    critic.requires_grad_(requires_grad=True)
    terms = dict.fromkeys(PPO.terms, 0.0)
    terms |= {"loss/policy": 1.0, "loss/value": ppo.value_weight}
    made = PPO(ppo, critic=critic, width=model.config.width, reference=Reference(model), **shared)
    return made, terms


def experience(
    folder: Path,
    kind: str,
    plan: dict[str, Any],
    model: Any,
    objective: Any,
    numerics: Any,
    clock: Clock,
) -> Any:
    """Return the stream, its parts timed."""
    import numpy as np

    from minna.models.scorer import HeldOut
    from minna.prompts import Turn
    from minna.runtime.reward import ModelReward, load_scorer
    from minna.runtime.rollout import answer
    from minna.streams import Actors, Documents, Experience, ExperienceSettings
    from minna.streams import experience as room
    from minna.tokenizer.load import load_tokenizer
    from minna.train.ranks import ALONE

    reward: Any = even
    if kind == "ppo":
        scorer, config = load_scorer(folder / "reward")
        bias = float(config["reward_bias"])
        reward = ModelReward(name="reward", scorer=scorer, bias=bias, known=HeldOut())
    prompts = np.load(folder / "prompts.npy")
    lines = (folder / "prompts.jsonl").read_text(encoding="utf-8").splitlines()
    room.answer = clock.timed("generation", answer)
    objective.annotate = clock.timed("annotate", objective.annotate)
    return Experience(
        (Documents(Prompts(prompts)), [(Turn("user", json.loads(line)),) for line in lines]),
        actors=Actors(
            policy=model,
            learner=objective,
            reward=clock.timed("reward", reward),
            words=Endless(load_tokenizer(folder / "policy")),
            autocast=numerics.autocast,
            ranks=ALONE,
        ),
        settings=ExperienceSettings(
            row_tokens=plan["prompt_tokens"] + plan["answer_tokens"],
            answer_tokens=plan["answer_tokens"],
            rollout_rows=plan["rollout_rows"],
            samples=plan["samples"],
            passes=plan["passes"],
            no_end_penalty=0.0,
            # without a penalty nothing else is asked about answers before they are learned from
            old_logprobs="drawn" if kind == "grpo" and not plan["kl"] else "scored",
        ),
        rows=plan["update_rows"],
        rows_per_step=plan["update_rows"],
        seed=0,
    )


class _Watched:
    """A stream whose time is noted."""

    def __init__(self, stream: Any, clock: Clock) -> None:
        self._stream = stream
        self._next = clock.timed("rollout", stream.__next__)

    def __next__(self) -> Any:
        return self._next()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def run_minna(folder: Path, kind: str, plan: dict[str, Any]) -> dict[str, Any]:
    """Some rollouts of minna's own, and what was learned from them."""
    from dataclasses import replace

    import torch

    from minna.train.step import take_step

    clock = Clock()
    parts, numerics = experience_parts(folder, kind, plan, clock)
    parts = replace(parts, stream=_Watched(parts.stream, clock))
    updates = plan["passes"] * plan["rollout_rows"] // plan["update_rows"]
    ends, spent, scores, ratios = [time.perf_counter()], [dict(clock.seconds)], [], []
    for step in range(plan["rollouts"] * updates):
        take_step(parts, step=step, total=10**6, autocast=numerics.autocast())
        if (step + 1) % updates == 0:
            ends.append(time.perf_counter())
            spent.append(dict(clock.seconds))
            figures = parts.stream.figures()
            scores.append(figures["objective/scores"])
            ratios.append(parts.objective.first_ratio())
    lengths = set(parts.objective.episodes.answer.tolist())
    if lengths != {plan["answer_tokens"]}:
        raise SystemExit(f"answers of {sorted(lengths)} tokens, not {plan['answer_tokens']}")
    return {
        "ends": ends,
        "spent": spent,
        "scores": scores,
        "updates": plan["rollouts"] * updates,
        "peak": peak_bytes(),
        "settings": {
            "precision": numerics.precision,
            "compile": numerics.compile,
            "attention": parts.model.attention_kind,
            "answers at once": min(64, plan["rollout_rows"]),
            "clip of the gradient": parts.clip,
            "largest first |ratio - 1|": max(ratios),
            "threads": torch.get_num_threads(),
        },
    }


def profile(folder: Path, kind: str, plan: dict[str, Any]) -> dict[str, Any]:
    """Say where the time of our rollouts goes, by function and by operator, the first left out."""
    import cProfile
    import io
    import pstats

    import torch

    found = run_minna(folder, kind, plan | {"rollouts": 2})
    first, last = found["spent"][1], found["spent"][2]
    parts = {name: round(last[name] - first[name], 3) for name in last}
    parts["whole"] = round(found["ends"][2] - found["ends"][1], 3)
    text = io.StringIO()
    print(f"{kind}: seconds of a rollout: {parts}", file=text)
    watch = cProfile.Profile()
    watch.runcall(run_minna, folder, kind, plan | {"rollouts": 1})
    pstats.Stats(watch, stream=text).sort_stats("tottime").print_stats(25)
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as record:
        run_minna(folder, kind, plan | {"rollouts": 1})
    print(record.key_averages().table(sort_by="self_cpu_time_total", row_limit=20), file=text)
    return {"text": text.getvalue()}
