"""A world of 32 numbers in which PPO is seen whole: a base model, a rule, and the run of an arm.

The base model learns random numbers that end after about ten. The rule likes even ones: the share
of them in an answer, from -1 to 1, and -1 for an answer without an end. What there is to hack: a
short answer of even numbers is as good as a long one and easier to get.
"""

from __future__ import annotations

import contextlib
import copy
import tomllib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from minna.models import Decoder, build
from minna.models.family import Gpt2Shape
from minna.models.scorer import Scorer
from minna.objectives import PPO, CausalLM, PPOSettings, Reference
from minna.prompts import Turn
from minna.runtime.episodes import Episodes, Said
from minna.streams import Actors, Documents, Experience, ExperienceSettings
from minna.streams.shards import Shard
from minna.train.optim import AdamWSettings, make_optimisers
from minna.train.parallel import Whole
from minna.train.protocols import Parts
from minna.train.quality import nothing
from minna.train.ranks import ALONE, Ranks
from minna.train.schedule import Linear
from minna.train.step import take_step

END, BEGIN, FIRST = 0, 1, 2
SETTINGS = Path(__file__).with_name("settings.toml")


def settings() -> dict[str, Any]:
    """What was written down before the runs."""
    return tomllib.loads(SETTINGS.read_text(encoding="utf-8"))


class Numbers:
    """A tokenizer whose words are numbers."""

    eos_id = END

    def __init__(self, words: int) -> None:
        self.vocab_size = words

    def stream(self) -> Numbers:
        """Begin a text."""
        return self

    def feed(self, number: int) -> str:
        """Return a word."""
        return f"{number} "

    def close(self) -> str:
        """Return nothing."""
        return ""


class Prompts:
    """Shards of prompts, in memory."""

    def __init__(self, prompts: Sequence[Sequence[int]]) -> None:
        lengths = np.array([len(prompt) for prompt in prompts])
        offsets = np.concatenate(([0], np.cumsum(lengths)))
        tokens = np.concatenate([np.array(prompt, np.uint16) for prompt in prompts])
        learned = np.zeros(len(tokens), np.bool_)
        self.shards = [Shard(tokens=tokens, offsets=offsets, byte_ends=offsets, learned=learned)]


def even(said: Sequence[Said]) -> list[float]:
    """The rule: 2 x share of even numbers - 1; -1 for an answer that did not end."""
    return [score(one.answer_ids, ended=one.ended) for one in said]


def score(answer: Sequence[int], *, ended: bool) -> float:
    """The rule on one answer."""
    told = [number for number in answer if number != END]
    if not ended or not told:
        return -1.0
    return 2 * sum(number % 2 == 0 for number in told) / len(told) - 1


def texts(world: dict[str, Any], *, rows: int, generator: np.random.Generator) -> torch.Tensor:
    """Rows of random numbers that end, then nothing (END again)."""
    wide = world["prompt_tokens"] + world["answer_tokens"]
    out = generator.integers(FIRST, world["words"], (rows, wide))
    lengths = world["prompt_tokens"] + np.clip(
        generator.geometric(1 / world["mean_answer"], rows), 1, world["answer_tokens"] - 1
    )
    out[:, 0] = BEGIN
    out[np.arange(wide) >= lengths[:, None]] = END
    return torch.from_numpy(out)


def base_model(said: dict[str, Any], *, seed: int) -> Decoder:
    """A model that has learned the texts."""
    world, shape = said["world"], said["model"]
    model = build(
        Gpt2Shape(
            layers=shape["layers"],
            width=shape["width"],
            heads=shape["heads"],
            ffn=4 * shape["width"],
            context=world["prompt_tokens"] + world["answer_tokens"],
            dropout=0.0,
        ),
        vocab=world["words"],
    )
    model.initialise(seed=seed)
    generator = np.random.default_rng((seed, 1))
    optimiser = torch.optim.AdamW(model.parameters(), lr=shape["base_lr"])
    objective = CausalLM()
    for _ in range(shape["base_steps"]):
        rows = texts(world, rows=64, generator=generator)
        targets = rows[:, 1:].clone()
        ended = (rows[:, :-1] == END).cumsum(1) > 0
        targets[ended] = -100  # behind an end nothing is said
        batch = {"tokens": rows[:, :-1].contiguous(), "targets": targets}
        loss = objective.loss(model, batch)[0]["next_token"] / objective.counts(batch)["next_token"]
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return model


def parts_of(
    base: Decoder, said: dict[str, Any], arm: dict[str, Any], *, seed: int, ranks: Ranks = ALONE
) -> Parts:
    """Everything the loop runs on, for one arm."""
    world, ppo = said["world"], said["ppo"]
    model = copy.deepcopy(base)
    critic = Scorer(model.config)
    with torch.no_grad():
        theirs = dict(model.named_parameters())
        for name, parameter in critic.named_parameters():
            parameter.copy_(theirs[name]) if name in theirs else parameter.zero_()
    stream = ExperienceSettings(
        row_tokens=world["prompt_tokens"] + world["answer_tokens"],
        answer_tokens=world["answer_tokens"],
        rollout_rows=ppo["rollout_rows"],
        passes=ppo["passes"],
        reward="even",
        no_end_penalty=0.0,
    )
    objective = PPO(
        PPOSettings(kind="ppo", value_weight=ppo["value_weight"], **arm),
        critic=critic,
        width=model.config.width,
        episodes=Episodes(
            count=ppo["rollout_rows"],
            prompt_tokens=world["prompt_tokens"],
            answer_tokens=world["answer_tokens"],
        ),
        reference=Reference(model),
        vocab=world["words"],
        temperature=1.0,
    )
    placement = Whole(model, objective, ranks=ranks)
    prompts = texts(world, rows=512, generator=np.random.default_rng((seed, 2)))
    asked = prompts[:, : world["prompt_tokens"]].tolist()
    rows = ppo["update_rows"] // ranks.count
    experience = Experience(
        (Documents(Prompts(asked)), [(Turn("user", str(one)),) for one in asked]),  # type: ignore[arg-type]
        actors=Actors(
            policy=model,
            learner=objective,
            reward=even,
            words=Numbers(world["words"]),  # type: ignore[arg-type]
            autocast=contextlib.nullcontext,
            ranks=ranks,
        ),
        settings=stream,
        rows=rows,
        rows_per_step=ppo["update_rows"],
        seed=seed,
    )
    optim = AdamWSettings(lr=ppo["lr"], betas=(0.9, 0.95), weight_decay=0.0, eps=1e-5)
    terms = dict.fromkeys(PPO.terms, 0.0)
    return Parts(
        model=model,
        objective=objective,
        placement=placement,
        stream=experience,
        optimisers=[
            *make_optimisers(model, settings=optim),
            *make_optimisers(objective, settings=optim),
        ],
        schedule=Linear(warmup=0, floor=0.1),
        clip=1.0,
        evaluators=[],
        weights=terms | {"loss/policy": 1.0, "loss/value": ppo["value_weight"]},
        micro_batch_tokens=ppo["update_rows"] * stream.row_tokens,
        accumulation=1,
        flops_per_token=1,
        quality=nothing,
    )


@dataclass
class Course:
    """What a run went through, a number for each rollout."""

    figures: list[dict[str, float]] = field(default_factory=list[dict[str, float]])

    def mean(self, name: str, rollouts: slice) -> float:
        """Mean of a figure over some rollouts."""
        found = [one[name] for one in self.figures[rollouts]]
        return sum(found) / len(found)


def run(parts: Parts, said: dict[str, Any], *, iterations: int) -> Course:
    """Train one arm and note every rollout."""
    ppo = said["ppo"]
    updates = ppo["passes"] * ppo["rollout_rows"] // ppo["update_rows"]
    course = Course()
    for step in range(iterations * updates):
        result = take_step(
            parts, step=step, total=iterations * updates, autocast=contextlib.nullcontext()
        )
        if (step + 1) % updates == 0:
            course.figures.append({**result.figures, **parts.stream.figures()})
    return course


def arms(said: dict[str, Any]) -> Iterable[tuple[str, dict[str, Any]]]:
    """Name and settings of each arm."""
    return said["arms"].items()
