"""Answers of a model that is being trained, drawn from exactly the distribution that is scored.

No top-k, no top-p, no penalty, and only ids that the tokenizer knows: a policy that is scored under
another distribution than it draws from shows negative divergences and learns from errors of its own
sampler (the most reported failure of PPO on language models).

On a CPU the weights are copied and packed for every rollout, so that a token is one call of C++
(`step.py`); a copy costs what a few tokens do. Elsewhere, and beside adapters, the model itself
answers.
"""

from __future__ import annotations

import copy
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import nn
from torch.distributed.fsdp import FSDPModule

from minna.models.adapters import is_adapted
from minna.models.decoder import Decoder
from minna.prompts import Turn
from minna.runtime.engine import Engine
from minna.runtime.episodes import Said
from minna.runtime.load import LoadedModel
from minna.runtime.pack import pack
from minna.runtime.request import Request
from minna.runtime.sampling import Sampling
from minna.tokenizer.coder import AnyTokenizer

_SLOTS = 64


@dataclass(frozen=True, kw_only=True)
class Question:
    """A prompt to answer.

    Attributes:
        ids: of the prompt.
        turns: what it says.
        seed: of the answer.
    """

    ids: tuple[int, ...]
    turns: tuple[Turn, ...]
    seed: int


@torch.no_grad()
def answer(
    model: Decoder,
    words: AnyTokenizer,
    questions: Sequence[Question],
    *,
    answer_tokens: int,
    temperature: float,
    top_p: float = 1.0,
    newline: str = "\n",
) -> list[Said]:
    """Answer each question once, until it ends or has `answer_tokens`.

    Args:
        model: as it is now; its mode and weights are left as they are.
        words: its tokenizer.
        questions: what is asked, each with a seed of its own.
        answer_tokens: longest answer, its end counted.
        temperature: 0 takes the most likely.
        top_p: 1 in training; less only where answers are shown.
        newline: what a line break within a turn is to the model; in texts it is one again.
    """
    requests = [
        Request(
            prompt=question.ids,
            max_new_tokens=answer_tokens,
            sampling=Sampling(temperature=temperature, top_p=top_p, seed=question.seed),
        )
        for question in questions
    ]
    with _asked(model, words) as loaded:
        engine = Engine(loaded, slots=max(1, min(_SLOTS, len(requests))))
        results = engine.run(requests)
    return [
        Said(
            turns=question.turns,
            text=result.text.replace(newline, "\n"),
            prompt_ids=question.ids,
            answer_ids=result.ids,
            ended=result.finish == "stop",
            logprobs=result.logprobs,
        )
        for question, result in zip(questions, results, strict=True)
    ]


@contextmanager
def _asked(model: Decoder, words: AnyTokenizer) -> Generator[LoadedModel]:
    """A model as the engine asks it, for the length of a `with`."""
    training = model.training
    kind = model.attention_kind
    try:
        whole = not is_adapted(model) and not isinstance(model, FSDPModule)
        if model.embed.weight.device.type == "cpu" and whole:
            yield _loaded(pack(_copy(model)), words)
        else:
            yield _loaded(model.eval(), words)
    finally:
        model.train(training)
        model.attention_kind = kind


def _copy(model: Decoder) -> Decoder:
    compiled = vars(model).pop("_compiled_call_impl", None)  # cannot be copied, and is not needed
    try:
        copied = copy.deepcopy(model)
    finally:
        if compiled is not None:
            model._compiled_call_impl = compiled  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
    copied.attention_kind = "fused"
    copied.checkpointing = "none"
    return copied.eval().requires_grad_(requires_grad=False)


def _loaded(model: nn.Module, words: AnyTokenizer) -> LoadedModel:
    assert isinstance(model, Decoder), "decoders answer"
    return LoadedModel(decoder=model, tokenizer=words, config={}, generation={})
