"""Reinforcement beside TRL: PPO beside its PPOTrainer, GRPO beside its GRPOTrainer, on one machine.

A random GPT-NeoX of 4 layers x 256, 4 heads, ffn 1,024, vocabulary 4,096 answers prompts of 16
tokens of real sentences with exactly 32 tokens (nothing ends an answer), in fp32 on both sides.

PPO: 128 answers a rollout, four passes in minibatches of 32, with a reference, a critic of its own
and a reward model, each of the policy's size; all four networks are the same files on both sides.
GRPO: 64 prompts x 4 answers, one pass in updates of 32, a rule (the share of even ids), no
reference. Every round of every variant is a process of its own; what is timed is whole rollouts
with all that is learned from them.

TRL took PPOTrainer out after release 1.12.0: PPO is measured beside that one, in an environment of
its own (bench/env/ppo.txt), GRPO beside the current one.

    python bench/bench_ppo.py [--rounds 5] [--rollouts 4] [--peer-python PATH] [--ppo-python PATH]
    python bench/bench_ppo.py --quick       a smoke run: 1 round of 1 rollout
    python bench/bench_ppo.py --profile     where our own time goes, function by function
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from machine import peak_bytes, processor
from tune_work import (
    MALLOC,
    Clock,
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
SHAPE = {"layers": 4, "width": 256, "heads": 4, "ffn": 1024, "context": 64}
VOCAB, PROMPT, ANSWER, PROMPTS = 4096, 16, 32, 1024
PLANS: dict[str, dict[str, Any]] = {
    "ppo": {
        "rollout_rows": 128,
        "update_rows": 32,
        "samples": 1,
        "passes": 4,
        "kl": 0.05,
        "lr": 1e-5,
    },
    "grpo": {
        "rollout_rows": 256,
        "update_rows": 32,
        "samples": 4,
        "passes": 1,
        "kl": 0.0,
        "lr": 1e-6,
    },
}
# kind -> name -> (side, answers that TRL makes at once, environment); the last is ours
VARIANTS: dict[str, dict[str, tuple[str, int, dict[str, str]]]] = {
    "ppo": {
        "TRL PPOTrainer, 64 answers at once": ("trl-ppo", 64, {}),
        "TRL PPOTrainer, 128 answers at once": ("trl-ppo", 128, {}),
        "TRL PPOTrainer, 128 at once, our allocator settings": ("trl-ppo", 128, MALLOC),
        "minna PPO": ("minna-ppo", 0, MALLOC),
    },
    "grpo": {
        "TRL GRPOTrainer, 32 answers at once": ("trl-grpo", 32, {}),
        "TRL GRPOTrainer, 256 answers at once": ("trl-grpo", 256, {}),
        "TRL GRPOTrainer, 256 at once, our allocator settings": ("trl-grpo", 256, MALLOC),
        "minna GRPO": ("minna-grpo", 0, MALLOC),
    },
}


def main() -> None:
    """Prepare networks and prompts, run the rounds, print the tables; or be one measurement."""
    options = parse()
    if options.worker:
        print(json.dumps(work(options)))
        return
    if options.quick:
        options.rounds, options.warmup, options.rollouts = 1, 1, 1
    options.work.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=options.work) as name:
        folder = Path(name)
        prepare(folder, make_tokenizer(options.work, vocab=VOCAB))
        for kind, plan in PLANS.items():
            whole = plan | {"rollouts": options.warmup + options.rollouts}
            whole |= {"answer_tokens": ANSWER, "prompt_tokens": PROMPT, "beta2": 0.95}
            (folder / f"{kind}.json").write_text(json.dumps(whole), encoding="utf-8")
        for kind in options.only.split(","):
            if options.profile:
                profile(folder, kind)
            else:
                print(table(kind, rounds_of(kind, folder, options), options), end="\n\n")


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    workers = [side for kind in VARIANTS.values() for side, _, _ in kind.values()]
    parser.add_argument("worker", nargs="?", choices=workers, help=argparse.SUPPRESS)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--rollouts", type=int, default=4, help="timed rollouts of a round")
    parser.add_argument("--warmup", type=int, default=1)
    parser.add_argument("--quick", action="store_true", help="1 round of 1 rollout")
    parser.add_argument("--profile", action="store_true", help="only where our time goes")
    parser.add_argument("--only", default="ppo,grpo", help="one of them")
    parser.add_argument("--work", type=Path, default=Path("build/bench-tune"))
    parser.add_argument("--peer-python", default=sys.executable, help="has TRL, for GRPO")
    parser.add_argument("--ppo-python", default=sys.executable, help="has a TRL with PPOTrainer")
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--at-once", type=int, default=0, help=argparse.SUPPRESS)
    return parser.parse_args()


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
    np.save(folder / "prompts.npy", np.array(found))
    lines = [json.dumps(text, ensure_ascii=False) for text in texts]
    (folder / "prompts.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")


def rounds_of(kind: str, folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Every round of every variant of a kind."""
    pythons = {"trl-ppo": options.ppo_python, "trl-grpo": options.peer_python}
    results: dict[str, list[dict[str, Any]]] = {name: [] for name in VARIANTS[kind]}
    for number in range(options.rounds):
        for name, (side, at_once, environment) in VARIANTS[kind].items():
            found = call(
                HERE,
                side,
                python=pythons.get(side, sys.executable),
                arguments={"folder": folder, "at-once": at_once},
                environment=environment,
            )
            results[name].append(found)
            speed = speed_of(found, kind, options)
            say(f"round {number + 1} {name}: {speed:.1f} answers/s, load {load_average()}")
    return results


def work(options: argparse.Namespace) -> dict[str, Any]:
    """One measurement."""
    side, kind = options.worker.split("-")
    plan = json.loads((options.folder / f"{kind}.json").read_text(encoding="utf-8"))
    if side == "minna":
        return run_minna(options.folder, kind, plan)
    import ppo_peers

    run = ppo_peers.run_ppo if kind == "ppo" else ppo_peers.run_grpo
    return run(options.folder, plan, at_once=options.at_once)


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
    """Return (parts, numerics) of minna's own PPO or GRPO, as `minna train` decides in fp32."""
    from dataclasses import replace

    from minna.recipe.build import attention_kind
    from minna.train.optim import AdamWSettings, make_optimisers
    from minna.train.parallel import Whole
    from minna.train.precision import decide
    from minna.train.protocols import Parts
    from minna.train.quality import nothing

    # answers are of all lengths, so `minna train` does not compile here
    numerics = replace(decide(device="cpu", precision="fp32", compile_="off"), compile="off")
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
    made = PPO(
        ppo, critic=critic, width=model.config.width, reference=Reference(model), **shared
    )
    return made, terms


def experience(
    folder: Path, kind: str, plan: dict[str, Any], model: Any, objective: Any, numerics: Any,
    clock: Clock,
) -> Any:
    """Return the stream, its parts timed."""
    import numpy as np

    from minna.models.scorer import HeldOut
    from minna.prompts import Turn
    from minna.runtime.reward import ModelReward, load_scorer
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
    room.answer = clock.timed("generation", room.answer)
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
            ratios.append(figures["val/first_ratio_error"])
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


def speed_of(found: dict[str, Any], kind: str, options: argparse.Namespace) -> float:
    """Answers made and learned from per second, after those that warm up."""
    seconds = found["ends"][-1] - found["ends"][options.warmup]
    return PLANS[kind]["rollout_rows"] * options.rollouts / seconds


def parts_of(found: dict[str, Any], options: argparse.Namespace) -> dict[str, float]:
    """Seconds of a rollout: generation, scoring, updates; what a side does not tell is left out."""
    first, last = found["spent"][options.warmup], found["spent"][-1]
    apart = {name: (last[name] - first.get(name, 0.0)) / options.rollouts for name in last}
    whole = (found["ends"][-1] - found["ends"][options.warmup]) / options.rollouts
    told_of = {"whole": whole, "generation": apart["generation"]}
    if "rollout" in apart:
        told_of["scoring"] = apart["rollout"] - apart["generation"]
        told_of["updates"] = whole - apart["rollout"]
    return told_of


def table(
    kind: str, results: dict[str, list[dict[str, Any]]], options: argparse.Namespace
) -> str:
    """Markdown: speed, ratio, memory, where a rollout's seconds go, what was scored."""
    import torch

    plan = PLANS[kind]
    (*_, ours) = results
    lines = [
        f"{kind.upper()}: {options.rounds} interleaved rounds of {options.rollouts} rollouts of "
        f"{plan['rollout_rows']} answers, after {options.warmup} to warm up; torch "
        f"{torch.__version__}, {processor()}; load average {load_average()}",
        "",
        "| variant | answers/s, median (range) | minna / it | peak memory, MB | minna / it "
        "| a rollout, s | generation | scoring | updates | updates of weights | mean score, first "
        "and last rollout |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    own = statistics.median(one["peak"] for one in results[ours])
    for name, rounds in results.items():
        speeds = [speed_of(one, kind, options) for one in rounds]
        mine = [speed_of(one, kind, options) for one in results[ours]]
        faster = [a / b for a, b in zip(mine, speeds, strict=True)]
        memory = statistics.median(one["peak"] for one in rounds)
        parts = [parts_of(one, options) for one in rounds]
        seconds = [
            f"{statistics.median(one[part] for one in parts):.2f}" if part in parts[0] else "-"
            for part in ("whole", "generation", "scoring", "updates")
        ]
        scores = rounds[0]["scores"]
        lines.append(
            f"| {name} | {spread(speeds, digits=1)} | {spread(faster, digits=2)} "
            f"| {memory / 1e6:,.0f} | {own / memory:.2f} | {' | '.join(seconds)} "
            f"| {rounds[0]['updates']} | {scores[0]:.3f}, {scores[-1]:.3f} |"
        )
    same = {name: plan[name] for name in ("update_rows", "passes", "samples", "kl", "lr")}
    same |= {"temperature": 1.0, "precision": "fp32", "optimiser": "fused AdamW", "decay": 0}
    settings = {name: rounds[0]["settings"] for name, rounds in results.items()}
    return "\n".join([*lines, "", told({"both": same, **settings})])


def profile(folder: Path, kind: str) -> None:
    """Print where the time of two of our rollouts goes."""
    import cProfile
    import pstats

    plan = json.loads((folder / f"{kind}.json").read_text(encoding="utf-8"))
    watch = cProfile.Profile()
    found = watch.runcall(run_minna, folder, kind, plan | {"rollouts": 2})
    print({name: round(seconds, 3) for name, seconds in found["spent"][-1].items()})
    pstats.Stats(watch).sort_stats("tottime").print_stats(25)


if __name__ == "__main__":
    main()
