"""Text in, text out: the engine behind two calls.

A prompt is encoded as it is: no beginning-of-text token is put before it and no end-of-text after
it, as the exported tokenizer does in transformers. Only an empty prompt becomes one end-of-text
token, the context every training document begins from. An answer ends at the model's end-of-text
token.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from minna.errors import UsageError
from minna.runtime.engine import Engine
from minna.runtime.load import LoadedModel
from minna.runtime.request import Request, Result
from minna.runtime.sampling import Sampling

DEFAULT_NEW_TOKENS = 128


@dataclass(frozen=True, kw_only=True)
class GenerateSettings:
    """How to go on from a prompt.

    Attributes:
        max_new_tokens: None means 128, or what the context still holds if that is less.
        sampling: how tokens are chosen.
        samples: answers per prompt.
        stop_texts: texts that end an answer and are cut off.
        slots: answers that go on at once.
    """

    max_new_tokens: int | None = None
    sampling: Sampling = field(default_factory=Sampling)
    samples: int = 1
    stop_texts: tuple[str, ...] = ()
    slots: int = 8


def generate(
    model: LoadedModel, prompts: Sequence[str], *, settings: GenerateSettings | None = None
) -> list[Result]:
    """Go on from each prompt; results in the order of prompts and samples.

    Raises:
        UsageError: a prompt and its new tokens do not fit the context.
        DataError: a prompt is not valid Unicode.
    """
    settings = settings or GenerateSettings()
    slots = max(1, min(settings.slots, len(prompts) * settings.samples))
    requests = [request_of(model, prompt, settings=settings) for prompt in prompts]
    return Engine(model, slots=slots).run(requests)


def stream_text(
    model: LoadedModel, prompt: str, *, settings: GenerateSettings | None = None
) -> Iterator[str]:
    """Go on from one prompt, giving text as it becomes certain (whole characters only).

    Raises:
        UsageError: more than one sample, or the context is too small.
    """
    settings = settings or GenerateSettings()
    if settings.samples != 1:
        raise UsageError(
            f"one answer can be streamed, not {settings.samples}", remedy="use generate"
        )
    request = request_of(model, prompt, settings=settings)
    for event in Engine(model, slots=1).stream(request):
        if event.piece:
            yield event.piece


def request_of(model: LoadedModel, prompt: str, *, settings: GenerateSettings) -> Request:
    """Encode a prompt and apply the settings.

    Raises:
        UsageError: the prompt alone fills the context, or it is empty and there is no end-of-text.
    """
    ids = tuple(model.tokenizer.encode(prompt)) or model.eos_ids[:1]
    new = settings.max_new_tokens
    if new is None:
        room = model.decoder.config.context - len(ids)
        new = max(1, min(DEFAULT_NEW_TOKENS, room))
    return Request(
        prompt=ids,
        max_new_tokens=new,
        sampling=settings.sampling,
        samples=settings.samples,
        stop_texts=settings.stop_texts,
    )


def default_sampling(model: LoadedModel, *, seed: int, **given: Any) -> Sampling:
    """The model's own generation_config.json, with what the caller gave on top.

    Without `do_sample` in it, and without a temperature from the caller, the answer is greedy.
    """
    values = dict[str, Any](temperature=0.0)
    if model.generation.get("do_sample"):
        values["temperature"] = model.generation.get("temperature") or 1.0
        values["top_p"] = model.generation.get("top_p") or 1.0
        values["top_k"] = model.generation.get("top_k") or None
    values["repetition_penalty"] = model.generation.get("repetition_penalty") or 1.0
    values |= {name: value for name, value in given.items() if value is not None}
    return Sampling(seed=seed, **values)
