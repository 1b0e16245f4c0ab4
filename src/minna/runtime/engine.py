"""One small engine for judging, serving and rollouts: rows come and go while others go on.

A step first admits waiting prompts into free rows (several are read in one call, common beginnings
once), then takes one token for every active row. Against transformers' generate that saves the
waiting of short answers for long ones, the reading of a prompt per sample, and, on a CPU, more than
half of each token: one native call for all layers (`step.py`), a cache written in place
(`cache.py`), and only the last position through the head (bench/bench_generate.py).

An answer does not depend on what else is in the batch: its rows are its own, its generator is its
own, and padding is either causally invisible or masked (tests/runtime/test_engine.py). With
weights in 8 or 4 bits one thing shows, in the last digits: whether a chat's earlier turn was still
at hand (read as it was generated) or had to be read again (as a prompt is). Not
thread-safe: one thread calls `submit`, `step` and `cancel`.
"""

from __future__ import annotations

import collections
from collections.abc import Generator, Iterable, Sequence

import torch
from torch import Tensor

from minna.errors import UsageError
from minna.models.decoder import Decoder
from minna.runtime.answer import Answer, Told
from minna.runtime.cache import KeyValueCache
from minna.runtime.load import LoadedModel
from minna.runtime.pack import has_tiles
from minna.runtime.prefix import cluster
from minna.runtime.request import Event, Request, Result
from minna.runtime.sampling import choose
from minna.runtime.slots import Slots
from minna.runtime.step import native_step

# A batch of prompts is padded to its longest; beyond a quarter of waste a second call is cheaper.
_PADDING = 1.25


class Engine:
    """Answers requests, `slots` at a time.

    Args:
        model: from `load_model`; the engine only reads it.
        slots: rows that go on at once; the cache has as many.
        prefill_tokens: prompt tokens read in one call, so that a long queue of prompts does not
            make running answers wait, and activations stay bounded.
    """

    def __init__(self, model: LoadedModel, *, slots: int = 8, prefill_tokens: int = 2048) -> None:
        if slots < 1:
            raise UsageError(f"slots must be 1 or more, not {slots}", remedy="use for example 8")
        self.model = model
        self._decoder: Decoder = model.decoder
        self._prefill_tokens = prefill_tokens
        self._step = native_step(model.decoder)
        self._cache = KeyValueCache(
            model.decoder.config,
            rows=slots,
            dtype=cache_dtype(model.device, model.dtype)
            if self._step is None
            else self._step.cache_dtype,
            device=model.device,
        )
        self._slots = Slots(self._cache)
        self._waiting: collections.deque[Answer] = collections.deque()
        self._active: list[Answer] = []
        self._submitted = 0
        self.prompt_tokens_read = 0  # what sharing spared is the prompts' tokens less these

    @property
    def busy(self) -> bool:
        """Whether anything waits or goes on."""
        return bool(self._waiting or self._active)

    def submit(self, request: Request, *, events: Told = "each") -> int:
        """Queue a request; return the number its events carry.

        Args:
            request: what is asked.
            events: of "each" token, with the text that became certain, or only of the "last" of
                each answer: text is then made once, at its end.

        Raises:
            UsageError: no tokens, ids outside the vocabulary, or more than the context holds.
                Nothing is ever cut off silently.
        """
        check_request(request, self.model)
        number = self._submitted
        self._submitted += 1
        stops = self.model.eos_ids if request.stop_ids is None else request.stop_ids
        for sample in range(request.samples):
            self._waiting.append(
                Answer(
                    request,
                    number,
                    sample,
                    stop_ids=stops,
                    tokenizer=self.model.tokenizer,
                    events=events,
                )
            )
        return number

    def cancel(self, number: int) -> None:
        """Drop every answer of a request; it gives no more events."""
        self._waiting = collections.deque(a for a in self._waiting if a.number != number)
        self._release([row for row, a in enumerate(self._active) if a.number == number])

    def forget(self) -> None:
        """Drop finished prompts kept for reuse; call it when the weights have changed."""
        self._slots.forget()

    @torch.no_grad()
    def step(self) -> list[Event]:
        """Admit what fits, then take one token for every active row."""
        events = self._admit() if self._waiting and self._slots.free else []
        if self._active:
            events += self._advance()
        return events

    def run(self, requests: Iterable[Request]) -> list[Result]:
        """Answer all requests; results in the order of requests and samples."""
        numbers = {self.submit(request, events="last") for request in requests}
        results: list[Result] = []
        while self.busy and numbers:
            results += [
                event.result
                for event in self.step()
                if event.result is not None and event.request in numbers
            ]
        return sorted(results, key=lambda result: (result.request, result.sample))

    def stream(self, request: Request) -> Generator[Event]:
        """Answer one request token by token; closing the iterator cancels it."""
        number = self.submit(request)
        left = request.samples
        try:
            while left:
                for event in self.step():
                    if event.request == number:
                        left -= event.result is not None
                        yield event
        finally:
            self.cancel(number)

    def _advance(self) -> list[Event]:
        """One token for every active row."""
        rows = range(len(self._active))
        new = [answer.ids[-1] for answer in self._active]
        logits_BV = self._next_logits(new)
        for row, token in zip(rows, new, strict=True):
            self._slots.read(row, (token,))
        return self._choose(logits_BV, self._active)

    def _next_logits(self, new: list[int]) -> Tensor:
        """Read one token into each active row; logits [B, V] of what follows."""
        if self._step is not None:
            return self._step(new, self._cache)
        rows = range(len(new))
        positions_B1, mask = self._cache.open(rows, new=1)
        hidden_B1D = self._decoder(
            torch.tensor(new, device=self.model.device)[:, None],
            positions_BS=positions_B1,
            mask=mask,
            caches=self._cache.layers,
        )
        self._cache.commit(rows, added=[1] * len(new))
        return self._decoder.logits(hidden_B1D[:, 0])

    def _admit(self) -> list[Event]:
        """Read waiting prompts into free rows and take the first token of each answer."""
        by_prompt = self._next_prompts()
        jobs: list[tuple[int, tuple[int, ...]]] = []
        admitted: list[Answer] = []
        for shared, prompts in cluster(list(by_prompt)):
            for prompt in prompts:
                row, known = self._slots.claim(prompt)
                if shared > known:
                    # the first of its group reads what all share; the others will find it there
                    self._read([(row, prompt[known:shared])])
                    known = shared
                jobs.append((row, prompt[known:]))
                admitted.append(by_prompt[prompt][0])
        logits_BV = self._decoder.logits(self._read(jobs))
        asked = list(range(len(jobs)))
        for place, (row, _) in enumerate(jobs):
            for twin in by_prompt[admitted[place].request.prompt][1:]:
                self._slots.branch(row)
                admitted.append(twin)
                asked.append(place)
        for answer in admitted:
            answer.admit()
        self._active += admitted
        first = len(self._active) - len(admitted)
        return self._choose(logits_BV[asked], admitted, first=first)

    def _next_prompts(self) -> dict[tuple[int, ...], list[Answer]]:
        """Take waiting answers for the free rows, within `prefill_tokens`, at least one."""
        chosen: dict[tuple[int, ...], list[Answer]] = {}
        rows, tokens = self._slots.free, self._prefill_tokens
        while self._waiting and rows:
            prompt = self._waiting[0].request.prompt
            tokens -= 0 if prompt in chosen else len(prompt)
            if chosen and tokens < 0:
                break
            chosen.setdefault(prompt, []).append(self._waiting.popleft())
            rows -= 1
        return chosen

    def _read(self, jobs: Sequence[tuple[int, tuple[int, ...]]]) -> Tensor:
        """Let the model read tokens into rows; return the hidden states [jobs, D] at their ends."""
        hidden: list[Tensor] = [torch.empty(0)] * len(jobs)
        for batch in self._batches(jobs):
            rows = [jobs[place][0] for place in batch]
            tails = [jobs[place][1] for place in batch]
            longest = max(map(len, tails))
            # padded on the right: what follows a prompt is invisible to it, and overwritten later
            padded = [[*tail, *[0] * (longest - len(tail))] for tail in tails]
            positions_BS, mask = self._cache.open(rows, new=longest)
            hidden_BSD = self._decoder(
                torch.tensor(padded, device=self.model.device),
                positions_BS=positions_BS,
                mask=mask,
                caches=self._cache.layers,
            )
            self._cache.commit(rows, added=[len(tail) for tail in tails])
            self.prompt_tokens_read += sum(map(len, tails))
            for index, place in enumerate(batch):
                hidden[place] = hidden_BSD[index, len(tails[index]) - 1]
                self._slots.read(rows[index], tails[index])
        return torch.stack(hidden)

    def _batches(self, jobs: Sequence[tuple[int, tuple[int, ...]]]) -> list[list[int]]:
        """Split jobs into calls of similar length, fresh rows (which need no mask) apart."""

        def fresh(place: int) -> bool:
            return self._cache.lengths[jobs[place][0]] == 0

        order = sorted(range(len(jobs)), key=lambda place: (fresh(place), -len(jobs[place][1])))
        batches: list[list[int]] = []
        for place in order:
            size = len(jobs[place][1])
            if batches:
                longest = len(jobs[batches[-1][0]][1])
                if (
                    fresh(batches[-1][0]) == fresh(place)
                    and longest <= size * _PADDING
                    and longest * (len(batches[-1]) + 1) <= self._prefill_tokens
                ):
                    batches[-1].append(place)
                    continue
            batches.append([place])
        return [sorted(batch, key=lambda place: jobs[place][0]) for batch in batches]

    def _choose(
        self, logits_BV: Tensor, answers: Sequence[Answer], *, first: int = 0
    ) -> list[Event]:
        """Take a token for each answer (rows first, first + 1, ...); release those that end."""
        logits_BV = logits_BV.float()
        chosen, logprobs = choose(logits_BV[:, : self.model.vocab], answers)
        picked = torch.tensor(chosen, device=logits_BV.device)[:, None]
        raw: list[float] = logits_BV.log_softmax(-1).gather(1, picked)[:, 0].tolist()
        events: list[Event] = []
        ended: list[int] = []
        for row, answer in enumerate(answers):
            event = answer.take(chosen[row], logprob=logprobs[row], raw_logprob=raw[row])
            if event is not None:
                events.append(event)
                if event.result is not None:
                    ended.append(first + row)
        self._release(ended)
        return events

    def _release(self, rows: Sequence[int]) -> None:
        """Give rows back, the last first, so that most need no exchange."""
        for row in sorted(rows, reverse=True):
            self._slots.release(row)
            self._active[row] = self._active[-1]
            self._active.pop()


def cache_dtype(device: torch.device, dtype: torch.dtype) -> torch.dtype:
    """The type keys and values are kept in (see `cache.py` for the numbers)."""
    if device.type == "cpu" and not has_tiles():
        return torch.float32
    return dtype


def check_request(request: Request, model: LoadedModel) -> None:
    """Refuse what the model cannot answer.

    Raises:
        UsageError: see `Engine.submit`.
    """
    context = model.decoder.config.context
    size = len(request.prompt)
    if not request.prompt:
        raise UsageError(
            "a prompt must hold at least one token", remedy="begin with the end-of-text token"
        )
    if request.max_new_tokens < 1 or request.samples < 1:
        raise UsageError(
            f"max_new_tokens {request.max_new_tokens} and samples {request.samples} must be "
            "1 or more",
            remedy="ask for something",
        )
    if size + request.max_new_tokens > context:
        raise UsageError(
            f"prompt of {size} tokens and {request.max_new_tokens} new ones do not fit the model's "
            f"context of {context}",
            remedy=f"shorten the prompt, or ask for at most {max(0, context - size)} new tokens",
        )
    vocab = model.decoder.config.vocab
    wrong = [number for number in request.prompt if not 0 <= number < vocab]
    if wrong:
        raise UsageError(
            f"prompt id {wrong[0]} is outside the vocabulary of {vocab}",
            remedy="encode the prompt with the model's own tokenizer",
        )
