"""How models that learn from dialogues and preferences are looked at, on what was held out.

The same documents and the same seeds at every look, so that only the model changes.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn

from minna import prompts
from minna.console import warn
from minna.metrics.calibration import expected_calibration_error
from minna.models import Decoder
from minna.models.scorer import HeldOut, Scorer
from minna.objectives import DPO, DPOSettings
from minna.objectives.reference import token_logprobs
from minna.prompts import Turn
from minna.recipe.kinds import Scene
from minna.runtime.reward import Reward
from minna.runtime.rollout import Question, answer
from minna.streams import (
    ChatStreamSettings,
    Documents,
    Experience,
    ExperienceSettings,
    PairStreamSettings,
    TokenShards,
    read_turns,
)
from minna.streams.chat import IGNORE
from minna.tokenizer.chat import ChatCoder
from minna.train.protocols import Evaluation, Evaluator, Stream

_BATCH_TOKENS = 4096
_SHOWN = 6


def of_answers(scene: Scene, _stream: Stream) -> list[Evaluator]:
    """Perplexity of held-out answers, and the recipe's prompts asked."""
    valid = _held_out(scene)
    found = [answers(valid, scene)] if valid is not None else []
    return [*found, *_asked(scene)]


def of_rewards(scene: Scene, _stream: Stream) -> list[Evaluator]:
    """How a reward model does on held-out pairs, which it also remembers."""
    valid = _held_out(scene)
    return [] if valid is None else [rewards(valid, scene)]


def of_preferences(scene: Scene, _stream: Stream) -> list[Evaluator]:
    """How a policy's implicit rewards do on held-out pairs, and the recipe's prompts asked."""
    valid = _held_out(scene)
    found = [preferences(valid, scene)] if valid is not None else []
    return [*found, *_asked(scene)]


def of_experience(scene: Scene, stream: Stream) -> list[Evaluator]:
    """Rewards of answers to held-out prompts; and some of the last rollout, with their scores."""
    assert isinstance(stream, Experience), "this is of experience"
    valid = _held_out(scene)

    def rollout(_model: nn.Module) -> Evaluation:
        return Evaluation(samples=stream.samples)

    found = [held_out_rewards(valid, scene, reward=stream.reward)] if valid is not None else []
    return [*found, rollout]


def answers(valid: TokenShards, scene: Scene) -> Evaluator:
    """Perplexity per learned token of up to `evaluate.valid_documents` dialogues."""
    chosen = _spread(valid, limit=scene.recipe.evaluate.valid_documents, side_by_side=1)
    vocab = scene.words.vocab_size

    @torch.no_grad()
    def look(model: nn.Module) -> Evaluation:
        assert isinstance(model, Decoder), "decoders answer"
        nats, count = 0.0, 0
        for batch in _batches(chosen, device=model.embed.weight.device):
            logprobs_N, _, _ = token_logprobs(model, batch, vocab=vocab)
            nats, count = nats - float(logprobs_N.cpu().double().sum()), count + len(logprobs_N)
        return Evaluation(figures={"perplexity": math.exp(min(nats / max(1, count), 50))})

    return look


def rewards(valid: TokenShards, scene: Scene) -> Evaluator:
    """Accuracy, margin and calibration on held-out pairs; the model keeps what it is told so.

    Calibration: where the model says that an answer is better with probability p, it should be in p
    of the cases (ten bins; Naeini et al. 2015).
    """
    chosen = _spread(valid, limit=scene.recipe.evaluate.valid_documents, side_by_side=2)

    @torch.no_grad()
    def look(model: nn.Module) -> Evaluation:
        assert isinstance(model, Scorer), "a reward model scores"
        found: list[Tensor] = []
        for batch in _batches(chosen, device=model.embed.weight.device):
            hidden_BSD = model(batch["tokens"])
            rows = torch.arange(len(hidden_BSD), device=hidden_BSD.device)
            found.append(model.scores(hidden_BSD[rows, batch["last"]]).cpu().double())
        scores_P2 = torch.cat(found)[chosen.back].view(-1, 2)
        margin_P = scores_P2[:, 0] - scores_P2[:, 1]
        accuracy = float((margin_P > 0).double().mean())
        deviation = float(scores_P2.std(unbiased=False))
        known = HeldOut(
            accuracy=accuracy,
            pairs=len(margin_P),
            mean=float(scores_P2.mean()),
            deviation=deviation if deviation > 0 else 1.0,
        )
        model.learn_of(known)
        probabilities = margin_P.abs().sigmoid().tolist()
        right = (margin_P > 0).tolist()
        return Evaluation(
            figures={
                "pairs/accuracy": accuracy,
                "pairs/margin": float(margin_P.mean()),
                "pairs/calibration_error": expected_calibration_error(probabilities, right),
                "scores/mean": known.mean,
                "scores/std": deviation,
            }
        )

    return look


def preferences(valid: TokenShards, scene: Scene) -> Evaluator:
    """Share of held-out pairs whose better answer gained more on the reference than the worse."""
    chosen = _spread(valid, limit=scene.recipe.evaluate.valid_documents, side_by_side=2)
    objective = scene.objective
    assert isinstance(objective, DPO), "this is of DPO"
    beta = cast("DPOSettings", scene.recipe.objective).beta

    @torch.no_grad()
    def look(model: nn.Module) -> Evaluation:
        assert isinstance(model, Decoder), "decoders answer"
        found = [
            objective.gained(model, batch).cpu().double()
            for batch in _batches(chosen, device=model.embed.weight.device)
        ]
        gained_P2 = torch.cat(found)[chosen.back].view(-1, 2)
        margin_P = beta * (gained_P2[:, 0] - gained_P2[:, 1])
        return Evaluation(
            figures={
                "pairs/accuracy": float((margin_P > 0).double().mean()),
                "pairs/margin": float(margin_P.mean()),
                "pairs/better_reward": float(beta * gained_P2[:, 0].mean()),
                "pairs/worse_reward": float(beta * gained_P2[:, 1].mean()),
            }
        )

    return look


def held_out_rewards(valid: TokenShards, scene: Scene, *, reward: Reward) -> Evaluator:
    """Mean reward of answers to held-out prompts, drawn as in training."""
    stream = cast("ExperienceSettings", scene.recipe.stream)
    documents, turns = Documents(valid), read_turns(valid)
    limit = min(scene.recipe.evaluate.valid_documents, documents.count)
    chosen = np.linspace(0, documents.count - 1, limit).astype(int)
    questions = [
        Question(ids=tuple(documents[number][0].tolist()), turns=turns[number], seed=place)
        for place, number in enumerate(chosen.tolist())
    ]

    def look(model: nn.Module) -> Evaluation:
        assert isinstance(model, Decoder), "decoders answer"
        said = answer(
            model,
            scene.words,
            questions,
            answer_tokens=stream.answer_tokens,
            temperature=stream.temperature,
        )
        scores = reward(said)
        ended = sum(one.ended for one in said) / len(said)
        figures = {"answers/score": sum(scores) / len(scores), "answers/ended": ended}
        return Evaluation(figures=figures)

    return look


def _asked(scene: Scene) -> list[Evaluator]:
    """Ask the recipe's prompts, each as the only turn."""
    evaluate = scene.recipe.evaluate
    if not evaluate.prompts:
        return []
    stream = cast("ChatStreamSettings | PairStreamSettings", scene.recipe.stream)
    coder = ChatCoder(scene.words, prompts.load(stream.format))
    asked = [(Turn("user", prompt),) for prompt in evaluate.prompts]
    questions = [
        Question(ids=tuple(coder.prompt(turns)), turns=turns, seed=scene.recipe.train.seed)
        for turns in asked
    ]

    room = scene.recipe.model.context - max(len(question.ids) for question in questions)
    if room < 1:
        warn(f"evaluate.prompts leave no room for an answer in {scene.recipe.model.context} tokens")
        return []

    def look(model: nn.Module) -> Evaluation:
        assert isinstance(model, Decoder), "decoders answer"
        said = answer(
            model,
            scene.words,
            questions,
            answer_tokens=min(evaluate.sample_tokens, room),
            temperature=evaluate.temperature,
            top_p=evaluate.top_p,
        )
        return Evaluation(
            samples=[{"prompt": one.turns[-1].text, "text": f" → {one.text}"} for one in said]
        )

    return [look]


def _held_out(scene: Scene) -> TokenShards | None:
    valid = TokenShards(scene.tokens, split="valid")
    return valid if valid.documents and scene.recipe.evaluate.valid_documents else None


class _Chosen:
    """Documents in the order of their length, and where each went."""

    def __init__(self, rows: Sequence[tuple[Tensor, Tensor]]) -> None:
        order = sorted(range(len(rows)), key=lambda place: -len(rows[place][0]))
        self.rows = [rows[place] for place in order]
        self.back = torch.tensor(order).argsort()


def _spread(shards: TokenShards, *, limit: int, side_by_side: int) -> _Chosen:
    """Up to `limit` documents, or pairs of them, spread evenly over a split."""
    documents = Documents(shards)
    items = documents.count // side_by_side
    numbers = np.linspace(0, items - 1, min(limit, items)).astype(int)
    rows: list[tuple[Tensor, Tensor]] = []
    for item in numbers.tolist():
        for side in range(side_by_side):
            ids, learned = documents[item * side_by_side + side]
            targets = np.append(np.where(learned[1:], ids[1:], IGNORE), IGNORE)
            if side_by_side == 1:  # as in training: what ends an answer is not read
                ids, targets = ids[:-1], targets[:-1]
            rows.append((torch.from_numpy(ids), torch.from_numpy(targets)))
    return _Chosen(rows)


def _batches(chosen: _Chosen, *, device: torch.device) -> Iterator[dict[str, Tensor]]:
    """Rows of like length, padded on the right.

    `tokens` and `targets` [B, S], `last` [B], and by what pairs are told apart.
    """
    start = 0
    while start < len(chosen.rows):
        longest = len(chosen.rows[start][0])
        rows = chosen.rows[start : start + max(1, _BATCH_TOKENS // longest)]
        start += len(rows)
        tokens = torch.zeros(len(rows), longest, dtype=torch.int64)
        targets = torch.full((len(rows), longest), IGNORE)
        for line, (ids, asked) in enumerate(rows):
            tokens[line, : len(ids)], targets[line, : len(ids)] = ids, asked
        last = torch.tensor([len(ids) - 1 for ids, _ in rows])
        lines = torch.arange(len(rows))
        batch = {
            "tokens": tokens,
            "targets": targets,
            "last": last,
            "ends": lines * longest + last,
            "documents": lines[:, None].expand(-1, longest),
        }
        yield {name: tensor.to(device) for name, tensor in batch.items()}
