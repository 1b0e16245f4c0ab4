"""Who says how good an answer is: a rule in code, or a model that learned from pairs.

`rule:NAME` is one of `RULES`; `rule:FILE.py:NAME` is a function of the user's own, called as
`NAME(question, answer)` with the text of the last turn and of the answer, or, where it takes
`turns`, with the whole dialogue; anything else is the folder of a reward model. A rule that raises
or gives no finite number stops the run with the answer it was asked about, because a reward that is
silently 0 is learned, too.
"""

from __future__ import annotations

import importlib.util
import inspect
import math
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from numbers import Real
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from minna.errors import ArtifactError, DataError, UsageError, nearest
from minna.metrics.keywords import keyword_score
from minna.metrics.polite import is_polite
from minna.models.scorer import SCORE, HeldOut, Scorer
from minna.runtime.episodes import Said
from minna.runtime.load import choose_device, family_of, warn_misspelt
from minna.runtime.weights import read_json, read_weights
from minna.tokenizer.coder import AnyTokenizer, open_tokenizer

RULE = "rule:"
_BATCH_TOKENS = 4096
_LEAST_PAIRS = 30  # of fewer, three in four may be half


class Reward(Protocol):
    """Numbers for answers; more is better."""

    def __call__(self, said: Sequence[Said]) -> list[float]:
        """Return one for each."""
        ...


def _polite(_question: str, answer: str) -> float:
    """1 for an answer that ends in です・ます, 0 for another."""
    return float(is_polite(answer))


RULES: dict[str, Callable[[str, str], float]] = {
    "polite": _polite,
    "keywords": keyword_score,
}


@dataclass(frozen=True, kw_only=True)
class RuleReward:
    """A function of question and answer.

    Attributes:
        name: as it was asked for.
        rule: the function.
        whole: whether it wants the whole dialogue.
    """

    name: str
    rule: Callable[..., object]
    whole: bool = False

    def __call__(self, said: Sequence[Said]) -> list[float]:
        """Return one number for each answer.

        Raises:
            DataError: the rule raised, or gave no finite number.
        """
        return [self._one(one) for one in said]

    def _one(self, said: Said) -> float:
        asked: Any = said.turns if self.whole else said.turns[-1].text
        shown = f"on the answer {said.text[:80]!r} to {said.turns[-1].text[:80]!r}"
        try:
            value = self.rule(asked, said.text)
        except Exception as error:
            raise DataError(
                f"the reward {self.name} raised {type(error).__name__}: {error}, {shown}",
                remedy="mend the rule; the last checkpoint is good, and the same command goes on",
            ) from error
        if isinstance(value, Real | np.generic) and math.isfinite(float(value)):
            return float(value)
        raise DataError(
            f"the reward {self.name} gave {value!r}, {shown}", remedy="give a finite number"
        )


@dataclass(frozen=True, kw_only=True)
class ModelReward:
    """A reward model; its scores are in deviations from the mean of its references.

    Attributes:
        name: its path.
        scorer: in eval mode.
        bias: what config.json adds to its scores.
        known: what it did on held-out pairs.
    """

    name: str
    scorer: Scorer
    bias: float
    known: HeldOut

    @torch.no_grad()
    def __call__(self, said: Sequence[Said]) -> list[float]:
        """Return the score read at the end of each answer.

        Raises:
            DataError: a dialogue is longer than its context.
        """
        context = self.scorer.config.context
        rows = [(*one.prompt_ids, *one.answer_ids) for one in said]
        if rows and (longest := max(map(len, rows))) > context:
            raise DataError(
                f"the reward model {self.name} reads {context} tokens, and an answer with its "
                f"dialogue has {longest}",
                remedy="shorten stream.row_tokens, or train a reward model with a longer context",
            )
        out = [0.0] * len(rows)
        for batch in _by_length(rows):
            ends = torch.tensor([len(rows[place]) - 1 for place in batch])
            padded = torch.zeros(len(batch), int(ends.max()) + 1, dtype=torch.int64)
            for line, place in enumerate(batch):
                padded[line, : len(rows[place])] = torch.tensor(rows[place])
            device = self.scorer.embed.weight.device
            hidden_BSD = self.scorer(padded.to(device))
            hidden_BD = hidden_BSD[torch.arange(len(batch)), ends.to(device)]
            scores: Tensor = self.scorer.scores(hidden_BD) + self.bias
            for place, value in zip(batch, scores.tolist(), strict=True):
                out[place] = value
        return out


def _by_length(rows: Sequence[Sequence[int]]) -> list[list[int]]:
    """Places of rows in batches of like length."""
    order = sorted(range(len(rows)), key=lambda place: -len(rows[place]))
    batches: list[list[int]] = []
    for place in order:
        if batches and len(rows[batches[-1][0]]) * (len(batches[-1]) + 1) <= _BATCH_TOKENS:
            batches[-1].append(place)
        else:
            batches.append([place])
    return batches


def open_reward(
    named: str, *, words: AnyTokenizer, least_accuracy: float, device: str = "cpu"
) -> Reward:
    """Open a reward by its name.

    Args:
        named: "rule:NAME", "rule:FILE.py:NAME", or the folder of a reward model.
        words: the policy's tokenizer.
        least_accuracy: share of held-out pairs that a reward model must tell apart.
        device: where a reward model computes.

    Raises:
        UsageError: there is no such rule, or the model is not good enough or of another vocabulary.
        ArtifactError: the folder is no reward model.
    """
    if named.startswith(RULE):
        return _rule(named)
    path = Path(named)
    scorer, config = load_scorer(path, device=device)
    theirs = open_tokenizer(path)
    if theirs.sha256 != words.sha256:
        raise UsageError(
            f"the reward model {path} is of another vocabulary ({theirs.vocab_size} words) than "
            f"the policy's ({words.vocab_size}): it would read other words",
            remedy="train a reward model from the same base model",
        )
    known = HeldOut(
        accuracy=float(config.get("reward_accuracy", 0.0)),
        pairs=int(config.get("reward_pairs", 0)),
        mean=0.0,
        deviation=1.0,
    )
    if known.accuracy < least_accuracy or (least_accuracy and known.pairs < _LEAST_PAIRS):
        said = f"{known.accuracy:.1%} of {known.pairs} held-out pairs"
        raise UsageError(
            f"the reward model {path} tells {said if known.pairs else 'no held-out pairs'} apart, "
            f"and stream.least_accuracy is {least_accuracy:.0%} (of {_LEAST_PAIRS} pairs or more): "
            "what it cannot tell apart, nobody learns from it",
            remedy="train a better one, on more pairs; stream.least_accuracy=0 takes any",
        )
    bias = float(config.get("reward_bias", 0.0))
    return ModelReward(name=named, scorer=scorer, bias=bias, known=known)


def load_scorer(path: Path, *, device: str = "cpu") -> tuple[Scorer, dict[str, Any]]:
    """Read a reward model: ours, or transformers' ...ForSequenceClassification with one label.

    Returns:
        The model in eval mode, and its config.json.

    Raises:
        ArtifactError: it is none, or of an unknown family.
    """
    if not path.is_dir():
        raise ArtifactError(
            f"the reward {path} is not a directory",
            remedy=f"give a reward model's folder, or rule:NAME ({', '.join(RULES)})",
        )
    config = read_json(path / "config.json")
    family = family_of(config, path)
    warn_misspelt(config, family)
    weights = dict(read_weights(path))
    row = weights.pop(SCORE, None)
    if row is None or row.shape[0] != 1:
        what = "no score.weight" if row is None else f"a score.weight of {row.shape[0]} rows"
        raise ArtifactError(
            f"{path} has {what}: it is no reward model",
            remedy="train one (objective bradley_terry), and export it",
        )
    scorer = Scorer(family.config_from_disk({**config, "tie_word_embeddings": True}))
    state = dict(family.from_disk(weights, scorer.config))
    state |= {SCORE: row, "held_out": scorer.held_out}
    scorer.load_state_dict({name: tensor.float() for name, tensor in state.items()})
    scorer.eval().requires_grad_(requires_grad=False)
    return scorer.to(choose_device(device)), config  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def _rule(named: str) -> RuleReward:
    """Find a rule.

    Raises:
        UsageError: there is none of that name, or its file cannot be read.
    """
    name = named.removeprefix(RULE)
    if name in RULES:
        return RuleReward(name=named, rule=RULES[name])
    file, _, function = name.rpartition(":")
    if not file.endswith(".py"):
        raise UsageError(
            f"no reward {named!r}{nearest(name, RULES)}",
            remedy=f"rules here: {', '.join(RULES)}; your own: rule:FILE.py:FUNCTION",
        )
    if not Path(file).is_file():
        raise UsageError(f"{named}: there is no file {file}", remedy="give its path")
    spec = importlib.util.spec_from_file_location("minna_rule", file)
    assert spec is not None and spec.loader is not None, "a .py file can be loaded"
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # where dataclasses look their own module up
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise UsageError(
            f"{file} cannot be loaded: {type(error).__name__}: {error}", remedy="mend it"
        ) from error
    found = getattr(module, function, None)
    if not callable(found):
        raise UsageError(f"{file} has no function {function!r}", remedy="name one that it has")
    first = next(iter(inspect.signature(found).parameters), "")
    return RuleReward(name=named, rule=found, whole=first == "turns")
