"""Our own engine as a judge's model: shared beginnings, many answers at once, or all of it plainly.

`plain` asks one thing at a time and shares nothing: the reference that the fast way is compared
with, and what the benchmark calls a straightforward harness.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any, Literal

import torch

from minna.errors import UsageError
from minna.evaluate.backends.base import Generated, Generation, Likelihood, Reading
from minna.evaluate.records import Candidate
from minna.runtime.branches import likelihoods, plain
from minna.runtime.engine import Engine, cache_dtype
from minna.runtime.load import LoadedModel
from minna.runtime.request import Request, Result
from minna.tokenizer.coder import Coder, load_coder

Way = Literal["shared", "plain"]

_MOST_SLOTS = 64
_CACHE_BYTES = 2 << 30  # keys and values of all rows; a laptop has that to spare
_CACHE_SHARE = 0.4  # of what a GPU has free
_BATCH_TOKENS = {"cpu": 2048, "cuda": 32768, "mps": 8192}


class EngineBackend:
    """A loaded model dir.

    Attributes:
        reading: how much was read, and how much did not have to be.
    """

    name = "minna"

    def __init__(
        self,
        model: LoadedModel,
        *,
        coder: Coder | None = None,
        way: Way = "shared",
        batch_tokens: int | None = None,
    ) -> None:
        self.model = model
        if coder is None:
            assert model.path is not None, "a model in memory needs its coder"
            coder = load_coder(model.path)
        self.coder: Coder | None = coder
        self.max_length = model.decoder.config.context
        self.eos_ids = model.eos_ids
        self.id_limit: int | None = model.decoder.config.vocab
        self.reading = Reading()
        self._way: Way = way
        self._batch_tokens = batch_tokens or _BATCH_TOKENS[model.device.type]

    def conditions(self) -> dict[str, Any]:
        """Device, type, and how it was asked."""
        return {
            "backend": self.name,
            "device": self.model.device.type,
            "dtype": self.model.precision,
            "way": self._way,
            "torch": torch.__version__,
        }

    def likelihoods(
        self, groups: Sequence[Sequence[Candidate]]
    ) -> Iterator[tuple[int, list[Likelihood]]]:
        """Score groups; see `runtime.branches`."""
        if self._way == "plain":
            return plain(self.model, groups, reading=self.reading)
        return likelihoods(
            self.model, groups, batch_tokens=self._batch_tokens, reading=self.reading
        )

    def generate(self, jobs: Sequence[Generation]) -> Iterator[tuple[int, Generated]]:
        """Answer jobs, rows being filled again as soon as they are free.

        Raises:
            UsageError: not even one row fits the memory.
        """
        # neighbours share their beginning, which is then copied and not read
        pending = dict.fromkeys(sorted(range(len(jobs)), key=lambda number: jobs[number].prompt))
        if self._way == "plain":
            for number in pending:
                yield from self._answer(jobs, [number], slots=1)
            return
        slots = min(len(jobs), self._slots(jobs)) if jobs else 0
        while pending:
            try:
                for number, generated in self._answer(jobs, list(pending), slots=slots):
                    del pending[number]
                    yield number, generated
            except torch.OutOfMemoryError as error:
                if slots == 1:
                    raise UsageError(
                        "one prompt and its answer do not fit the memory of the device",
                        remedy="use --dtype bf16, a smaller --batch-tokens, or --device cpu",
                    ) from error
                slots //= 2
                torch.cuda.empty_cache()

    def _answer(
        self, jobs: Sequence[Generation], numbers: Sequence[int], *, slots: int
    ) -> Iterator[tuple[int, Generated]]:
        engine = Engine(self.model, slots=slots, prefill_tokens=self._batch_tokens)
        asked = {engine.submit(_request(jobs[number])): number for number in numbers}
        while engine.busy:
            for event in engine.step():
                if event.result is not None:
                    number = asked[event.request]
                    self.reading.tokens += len(event.result.ids) - 1
                    self.reading.spared += len(jobs[number].prompt)
                    yield number, self._generated(event.result)
        self.reading.tokens += engine.prompt_tokens_read
        self.reading.spared -= engine.prompt_tokens_read

    def _generated(self, result: Result) -> Generated:
        return Generated(
            ids=result.ids,
            finish=result.finish,
            text=result.text,
            finite=all(map(math.isfinite, result.raw_logprobs)),
        )

    def _slots(self, jobs: Sequence[Generation]) -> int:
        """As many rows as the memory for keys and values allows."""
        config = self.model.decoder.config
        longest = max(len(job.prompt) + job.max_new_tokens for job in jobs)
        width = torch.finfo(cache_dtype(self.model.device, self.model.dtype)).bits // 8
        row = 2 * config.layers * config.key_value_heads * config.head_width * longest * width
        room = _CACHE_BYTES
        if self.model.device.type == "cuda":
            free, _ = torch.cuda.mem_get_info(self.model.device)
            # what torch keeps for itself between calls is free too
            kept = torch.cuda.memory_reserved() - torch.cuda.memory_allocated()
            room = int((free + kept) * _CACHE_SHARE)
        # the cache doubles as it grows, and holds old and new while it does
        return max(1, min(_MOST_SLOTS, room // (3 * row)))


def _request(job: Generation) -> Request:
    return Request(
        prompt=job.prompt,
        max_new_tokens=job.max_new_tokens,
        stop_ids=job.stop_ids,
        stop_texts=job.stop_texts,
        stops_after=job.stops_after,
    )
