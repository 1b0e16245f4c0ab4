"""One answer in the making: what it has, when it ends.

Where no stop text waits for it and nobody asked for pieces, text is made once, at the end: rollouts
of 64 rows would pay for 64 pieces a step that nobody reads.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

from minna.runtime.request import Event, Finish, Request, Result, Timings
from minna.runtime.sampling import Sampling
from minna.runtime.text import TextStream
from minna.tokenizer.coder import Streams

Told = Literal["each", "last"]
"""Of which tokens of an answer there are events."""


class Answer:
    """One sample of one request, from its submission to its result."""

    def __init__(
        self,
        request: Request,
        number: int,
        sample: int,
        *,
        stop_ids: Sequence[int],
        tokenizer: Streams,
        events: Told = "each",
    ) -> None:
        self.request = request
        self.number = number
        self.sample = sample
        self.ids: list[int] = []
        self.sampling: Sampling = request.sampling
        self.generator: torch.Generator = request.sampling.generator(sample)
        self._events: Told = events
        self._text_at_end = events == "last" and not any(request.stop_texts)
        self._stop_ids = frozenset(stop_ids)
        self._seen = np.empty(len(request.prompt) + request.max_new_tokens, dtype=np.int64)
        self._seen[: len(request.prompt)] = request.prompt
        self._text = TextStream(
            tokenizer, stop_texts=request.stop_texts, stops_after=request.stops_after
        )
        self._logprobs: list[float] = []
        self._raw_logprobs: list[float] = []
        self._submitted = self._admitted = self._first = time.monotonic()

    @property
    def seen(self) -> NDArray[np.int64]:
        """Prompt and answer so far, which the repetition penalty looks at."""
        return self._seen[: len(self.request.prompt) + len(self.ids)]

    def admit(self) -> None:
        """Note the time at which it got a row."""
        self._admitted = time.monotonic()

    def take(self, token: int, *, logprob: float, raw_logprob: float) -> Event | None:
        """Add a token; the last one's event carries the result. None: nobody waits for this one."""
        if not self.ids:
            self._first = time.monotonic()
        self._seen[len(self.request.prompt) + len(self.ids)] = token
        self.ids.append(token)
        self._logprobs.append(logprob)
        self._raw_logprobs.append(raw_logprob)
        stops = token in self._stop_ids
        piece = "" if stops or self._text_at_end else self._text.feed(token)
        finish: Finish | None = None
        if stops:
            finish = "stop"
        elif self._text.stopped:
            finish = "stop-text"
        elif len(self.ids) == self.request.max_new_tokens:
            finish = "length"
        if finish is None:
            if self._events == "last":
                return None
            return Event(request=self.number, sample=self.sample, token=token, piece=piece)
        if self._text_at_end:
            piece = "".join(
                [self._text.feed(number) for number in self.ids[: -1 if stops else None]]
            )
        piece += self._text.close()
        if self._text.stopped:
            finish = "stop-text"
        return Event(
            request=self.number,
            sample=self.sample,
            token=token,
            piece=piece if self._events == "each" else self._text.text,
            result=self._result(finish),
        )

    def _result(self, finish: Finish) -> Result:
        return Result(
            request=self.number,
            sample=self.sample,
            ids=tuple(self.ids),
            text=self._text.text,
            finish=finish,
            logprobs=tuple(self._logprobs),
            raw_logprobs=tuple(self._raw_logprobs),
            timings=Timings(
                queued=self._admitted - self._submitted,
                first_token=self._first - self._submitted,
                total=time.monotonic() - self._submitted,
            ),
        )
