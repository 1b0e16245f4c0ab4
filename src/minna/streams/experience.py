"""A stream of what the policy itself says: questions drawn, answered, judged, learned from.

The loop sees batches like any other. When those of a rollout are used up, the next one is made:
each rank answers its share with the weights of now, rewards judge, the objective says what it
thinks of every token, ranks tell each other, and the objective settles advantages over all of it.
The micro-batches of the first pass are those on which the objective was asked, so that its first
update sees the same numbers bit for bit.

What is in work is in `Episodes`, saved with the objective; where the stream stands is a few
numbers. Every answer has a seed of its own from the seed of the run, the rollout and its place, so
that a run is the same run on any number of ranks, and after any stop.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass as plain_dataclass
from typing import Any, Literal, Protocol

import numpy as np
import torch
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass
from torch import Tensor

from minna.errors import DataError, TrainingError, UsageError
from minna.metrics.repetition import repeated_grams
from minna.models.decoder import Decoder
from minna.prompts import Turn
from minna.prompts import format as prompt_formats
from minna.runtime.episodes import Episodes, Said
from minna.runtime.reward import Reward
from minna.runtime.rollout import Question, answer
from minna.streams.chat import Documents
from minna.tokenizer.coder import AnyTokenizer

Batch = dict[str, Tensor]
_SAMPLES = 6
_MIXED = 0x9E3779B97F4A7C15  # no two nearby seeds draw alike
_FEW = 8  # a rollout of so few answers may well repeat one


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class ExperienceSettings:
    """What is asked, how it is answered, and who judges.

    Attributes:
        row_tokens: prompt and answer together.
        answer_tokens: of these, longest answer, its end counted.
        rollout_rows: answers that are made at once (over all ranks), then learned from.
        samples: answers to each prompt: 1, or for GRPO the size of a group.
        passes: how often each answer is learned from.
        temperature: answers are drawn at, and every log-probability is taken at.
        reward: "rule:NAME", "rule:FILE.py:NAME", or the folder of a reward model.
        least_accuracy: share of held-out pairs that a reward model must tell apart.
        old_logprobs: of the policy that answered: "scored" asks the objective before it learns, so
            that the first ratios are exactly 1; "drawn" takes those of the draw, a forward pass
            less and off by rounding (`val/drawn_apart` of the other way says how far). For GRPO
            without a penalty, which asks for nothing else.
        no_end_penalty: taken off the score of an answer that was cut off.
        stop_kl: nats of an answer away from the reference at which the run stops: it has left.
        stop_alike: share of different answers in a rollout below which it stops: it says one thing.
        format: the prompt format.
    """

    kind: str = Field(default="experience", pattern="^experience$")
    row_tokens: int = Field(ge=3)
    answer_tokens: int = Field(ge=1)
    rollout_rows: int = Field(ge=1)
    samples: int = Field(default=1, ge=1)
    passes: int = Field(default=4, ge=1)
    temperature: float = Field(default=1.0, gt=0)
    reward: str = ""
    least_accuracy: float = Field(default=0.6, ge=0, le=1)
    old_logprobs: Literal["scored", "drawn"] = "scored"
    no_end_penalty: float = Field(default=1.0, ge=0)
    stop_kl: float = Field(default=100.0, gt=0)
    stop_alike: float = Field(default=0.05, ge=0, le=1)
    format: str = "minna"

    @property
    def prompt_tokens(self) -> int:
        """Longest prompt."""
        return self.row_tokens - self.answer_tokens


class Learner(Protocol):
    """What experience asks of an objective."""

    episodes: Episodes

    def annotate(self, model: Decoder, batch: Batch) -> dict[str, Tensor]:
        """Say of each target what the models think, by the names of `Episodes`."""
        ...

    def settle(self) -> dict[str, float]:
        """Turn scores into advantages."""
        ...

    def first_ratio(self) -> float:
        """Largest |ratio - 1| of the first update of a rollout."""
        ...


class Among(Protocol):
    """The ranks of a run, as far as experience is shared."""

    @property
    def rank(self) -> int:
        """Number of this one."""
        ...

    @property
    def count(self) -> int:
        """How many there are."""
        ...

    def gather(self, tensor: Tensor) -> list[Tensor]:
        """Return the tensor of every rank."""
        ...


@plain_dataclass(frozen=True, kw_only=True)
class Actors:
    """Who takes part.

    Attributes:
        policy: the model that is trained.
        learner: its objective.
        reward: who judges.
        words: the policy's tokenizer.
        autocast: the arithmetic of training, as a context.
        ranks: among whom.
    """

    policy: Decoder
    learner: Learner
    reward: Reward
    words: AnyTokenizer
    autocast: Callable[[], AbstractContextManager[None]]
    ranks: Among


class Experience:
    """An endless iterator of micro-batches of episodes.

    Args:
        prompts: the training split of shards of prompts, and their turns.
        actors: who takes part.
        settings: of `[stream]`.
        rows: episodes of a micro-batch on this rank.
        rows_per_step: episodes of one update, over all ranks and micro-batches.
        seed: fixes the order of prompts, every answer and every shuffle.
    """

    def __init__(
        self,
        prompts: tuple[Documents, Sequence[tuple[Turn, ...]]],
        *,
        actors: Actors,
        settings: ExperienceSettings,
        rows: int,
        rows_per_step: int,
        seed: int,
    ) -> None:
        self._documents, self._turns = prompts
        if not self._documents.count:
            raise DataError("there is no prompt to answer", remedy="give a larger corpus")
        check_rollout(settings, rows_per_step=rows_per_step)
        self._actors, self._settings, self._seed = actors, settings, seed
        self._rows, self._rows_per_step = rows, rows_per_step
        self._rollout, self._place, self._made = 0, 0, -1
        self._asked = 0
        self._figures: dict[str, float] = {}
        self.samples: list[dict[str, str]] = []
        self._newline = prompt_formats.load(settings.format).newline
        self._batches = settings.rollout_rows // (rows * actors.ranks.count)

    @property
    def reward(self) -> Reward:
        """Who judges."""
        return self._actors.reward

    def state_dict(self) -> dict[str, Any]:
        """Where the stream stands; what it learned from is the objective's to save."""
        return {
            "rollout": self._rollout,
            "place": self._place,
            "made": self._made,
            "asked": self._asked,
            "rows": self._rows * self._actors.ranks.count,
            "figures": self._figures,
            "samples": self.samples,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go to a place; the episodes there are those of the objective."""
        self._figures, self.samples = state["figures"], state["samples"]
        self._rollout, self._made = state["rollout"], state["made"]
        self._asked = state["asked"]
        # in episodes, which another number of ranks or rows counts alike
        self._place = state["place"] * state["rows"] // (self._rows * self._actors.ranks.count)

    def figures(self) -> dict[str, float]:
        """Say what the last rollout was like."""
        if not self._figures or self._settings.old_logprobs == "drawn":
            return self._figures
        return {**self._figures, "val/first_ratio_error": self._actors.learner.first_ratio()}

    def __iter__(self) -> Iterator[Batch]:
        return self

    def __next__(self) -> Batch:
        if self._place == self._batches * self._settings.passes:
            self._rollout, self._place = self._rollout + 1, 0
        if self._made != self._rollout:
            self._make()
        done, place = divmod(self._place, self._batches)
        rows = self._rows_of(done, place)
        batch = self._actors.learner.episodes.batch(rows)
        if done == 0 and (place + 1) * self._rows * self._actors.ranks.count <= self._rows_per_step:
            batch["first"] = torch.ones(())
        self._place += 1
        return batch

    def _rows_of(self, done: int, place: int) -> list[int]:
        """Episodes of micro-batch `place` of pass `done` on this rank."""
        ranks = self._actors.ranks
        order = np.random.default_rng((self._seed, self._rollout, done)).permutation(
            self._settings.rollout_rows
        )
        start = (place * ranks.count + ranks.rank) * self._rows
        return order[start : start + self._rows].tolist()

    def _make(self) -> None:
        """Make a rollout."""
        learner, ranks = self._actors.learner, self._actors.ranks
        episodes = learner.episodes
        own = self._own_rows()
        questions = self._questions()
        said = answer(
            self._actors.policy,
            self._actors.words,
            [questions[row] for row in own],
            answer_tokens=self._settings.answer_tokens,
            temperature=self._settings.temperature,
            newline=self._newline,
        )
        scores = self._actors.reward(said)
        episodes.put(own, said, groups=[row // self._settings.samples for row in own])
        for row, one, score in zip(own, said, scores, strict=True):
            penalty = 0.0 if one.ended else self._settings.no_end_penalty
            episodes.scores[row] = score - penalty
        if self._settings.old_logprobs == "drawn":
            episodes.keep_drawn(own, said)
        _share(episodes, own=own, ranks=ranks)
        if self._settings.old_logprobs == "scored":
            self._annotate()
        self._figures = {**learner.settle(), **_variety(episodes)}
        self._figures["rollout"] = float(self._rollout)
        self._figures["val/drawn_apart"] = self._drawn_apart(own, said)
        self.samples = [
            {
                "prompt": one.turns[-1].text,
                "text": f" → {one.text}{'' if one.ended else ' …'}  [{score:.2f}]",
            }
            for one, score in zip(said[:_SAMPLES], scores, strict=False)
        ]
        self._made = self._rollout
        self._stop_if_lost()

    def _drawn_apart(self, own: Sequence[int], said: Sequence[Said]) -> float:
        """Largest distance of what was drawn from, by the engine, to what is learned, in nats."""
        old = self._actors.learner.episodes.of("old_logprobs")
        return max(
            float((old[row, : len(one.logprobs)].cpu() - torch.tensor(one.logprobs)).abs().max())
            for row, one in zip(own, said, strict=True)
        )

    def _own_rows(self) -> list[int]:
        """Episodes that this rank answers."""
        ranks = self._actors.ranks
        share = self._settings.rollout_rows // ranks.count
        return list(range(ranks.rank * share, (ranks.rank + 1) * share))

    def _questions(self) -> list[Question]:
        """The prompts of the next rollout, each `samples` times; the next ones come after."""
        wanted = self._settings.rollout_rows // self._settings.samples
        found: list[Question] = []
        for _ in range(wanted):
            epoch, place = divmod(self._asked, self._documents.count)
            # apart from the seeds of passes, which have three numbers
            order = np.random.default_rng((self._seed, epoch)).permutation(self._documents.count)
            number = int(order[place])
            self._asked += 1
            ids, _ = self._documents[number]
            for _ in range(self._settings.samples):
                row = self._rollout * self._settings.rollout_rows + len(found)
                seed = (self._seed * _MIXED + row) % 2**63
                question = Question(ids=tuple(ids.tolist()), turns=self._turns[number], seed=seed)
                found.append(question)
        return found

    def _annotate(self) -> None:
        """Ask the objective about every micro-batch of the first pass, and share what it said."""
        actors = self._actors
        learner = actors.learner
        asked: list[int] = []
        for place in range(self._batches):
            rows = self._rows_of(0, place)
            batch = learner.episodes.batch(rows)
            with actors.autocast():
                known = learner.annotate(actors.policy, batch)
            learner.episodes.keep(rows, batch, known)
            asked += rows
        _share(learner.episodes, own=asked, ranks=actors.ranks)

    def _stop_if_lost(self) -> None:
        """Stop a run that optimises its reward and nothing else.

        Raises:
            TrainingError: naming the figure and its limit.
        """
        remedy = (
            "the last checkpoint is good: train.steps=<its step> ends the run there, and it can be "
            "exported; to go another way: raise objective.kl, lower optim.lr or mend the reward, "
            "in another --out"
        )
        kl = self._figures["objective/kl"]
        if kl > self._settings.stop_kl:
            raise TrainingError(
                f"rollout {self._rollout} is {kl:.1f} nats an answer away from the reference, and "
                f"stream.stop_kl is {self._settings.stop_kl:g}: the policy has left it",
                remedy=remedy,
            )
        different, episodes = self._figures["answers/different"], self._actors.learner.episodes
        few = different < self._settings.stop_alike or round(different * len(episodes)) <= 1
        if len(episodes) >= _FEW and few:
            raise TrainingError(
                f"of rollout {self._rollout} {different:.1%} of the answers are different, and "
                f"stream.stop_alike is {self._settings.stop_alike:.0%}: the policy says one thing",
                remedy=remedy,
            )


def check_rollout(settings: ExperienceSettings, *, rows_per_step: int) -> None:
    """Check that a rollout can be told out in groups and updates.

    Raises:
        UsageError: naming the numbers that do not fit.
    """
    if settings.prompt_tokens < 1:
        raise UsageError(
            f"stream.answer_tokens {settings.answer_tokens} leaves no room for a prompt in "
            f"stream.row_tokens {settings.row_tokens}",
            remedy="lengthen the rows, or shorten the answers",
        )
    for name, part in (("stream.samples", settings.samples), ("rows of an update", rows_per_step)):
        if settings.rollout_rows % part:
            low = settings.rollout_rows // part * part
            raise UsageError(
                f"stream.rollout_rows {settings.rollout_rows} is not a multiple of {part} ({name})",
                remedy=f"nearest are {max(part, low)} and {low + part}",
            )


def _share(episodes: Episodes, *, own: Sequence[int], ranks: Among) -> None:
    """Give every rank what each knows of its own rows."""
    if ranks.count == 1:
        return
    rows = [part.tolist() for part in ranks.gather(torch.tensor(own))]
    for tensor in episodes.tensors().values():
        for part, index in zip(ranks.gather(tensor[own].cpu().contiguous()), rows, strict=True):
            tensor[index] = part.to(tensor.device)


def _variety(episodes: Episodes) -> dict[str, float]:
    """How much the answers of a rollout differ, from each other and within themselves."""
    spans = zip(episodes.prompt.tolist(), episodes.answer.tolist(), strict=True)
    answers = [
        tuple(ids[start : start + size])
        for ids, (start, size) in zip(episodes.ids.tolist(), spans, strict=True)
    ]
    repeated = [repeated_grams(ids) for ids in answers]
    pairs = Counter(pair for ids in answers for pair in itertools.pairwise(ids))
    return {
        "answers/different": len(set(answers)) / len(answers),
        "answers/repeated_3grams": sum(repeated) / len(repeated),
        "answers/distinct_2": len(pairs) / max(1, sum(pairs.values())),
    }
