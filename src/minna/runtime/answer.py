"""One answer in the making: what it has, when it ends."""

from __future__ import annotations

import time
from collections.abc import Sequence

import torch

from minna.runtime.request import Event, Finish, Request, Result, Timings
from minna.runtime.text import TextStream
from minna.tokenizer.coder import Streams


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
    ) -> None:
        self.request = request
        self.number = number
        self.sample = sample
        self.ids: list[int] = []
        self.generator: torch.Generator = request.sampling.generator(sample)
        self._stop_ids = frozenset(stop_ids)
        self._text = TextStream(
            tokenizer, stop_texts=request.stop_texts, stops_after=request.stops_after
        )
        self._logprobs: list[float] = []
        self._raw_logprobs: list[float] = []
        self._submitted = self._admitted = self._first = time.monotonic()

    @property
    def seen(self) -> list[int]:
        """Prompt and answer so far, which the repetition penalty looks at."""
        return [*self.request.prompt, *self.ids]

    def admit(self) -> None:
        """Note the time at which it got a row."""
        self._admitted = time.monotonic()

    def take(self, token: int, *, logprob: float, raw_logprob: float) -> Event:
        """Add a token; the event carries the result if it was the last."""
        if not self.ids:
            self._first = time.monotonic()
        self.ids.append(token)
        self._logprobs.append(logprob)
        self._raw_logprobs.append(raw_logprob)
        finish: Finish | None = None
        piece = ""
        if token in self._stop_ids:
            finish = "stop"
        else:
            piece = self._text.feed(token)
            if self._text.stopped:
                finish = "stop-text"
            elif len(self.ids) == self.request.max_new_tokens:
                finish = "length"
        if finish is None:
            return Event(request=self.number, sample=self.sample, token=token, piece=piece)
        piece += self._text.close()
        if self._text.stopped:
            finish = "stop-text"
        return Event(
            request=self.number,
            sample=self.sample,
            token=token,
            piece=piece,
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
