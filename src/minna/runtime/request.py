"""What is asked of the engine, and what it answers: plain records."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from minna.runtime.sampling import Sampling
from minna.runtime.text import StopsAfter

Finish = Literal["stop", "length", "stop-text"]


@dataclass(frozen=True, kw_only=True)
class Request:
    """One prompt to go on from.

    Attributes:
        prompt: token ids, at least one; nothing is put before them.
        max_new_tokens: at most so many; prompt and these must fit the model's context.
        sampling: how tokens are chosen.
        samples: how many independent answers (the prompt is read once).
        stop_ids: ids that end the answer; None takes the model's own end of text, () none.
        stop_texts: texts that end the answer; they are cut off its text.
        stops_after: where stop texts count: "any" where, or only from the first character of
            "text" on, white space left out.
    """

    prompt: tuple[int, ...]
    max_new_tokens: int
    sampling: Sampling = field(default_factory=Sampling)
    samples: int = 1
    stop_ids: tuple[int, ...] | None = None
    stop_texts: tuple[str, ...] = ()
    stops_after: StopsAfter = "any"


@dataclass(frozen=True, kw_only=True)
class Timings:
    """Seconds from submission: until it was admitted, until its first token, until its end."""

    queued: float
    first_token: float
    total: float


@dataclass(frozen=True, kw_only=True)
class Result:
    """One answer.

    Attributes:
        request: the number `submit` gave.
        sample: which of the request's samples.
        ids: every chosen token, the stop id included when there was one.
        text: their text, without stop id and stop text.
        finish: "stop" (a stop id), "stop-text", or "length".
        logprobs: of each token in the distribution it was drawn from (0 for greedy: certain).
        raw_logprobs: of each token under the model itself (log-softmax of the untouched logits).
        timings: see `Timings`.
    """

    request: int
    sample: int
    ids: tuple[int, ...]
    text: str
    finish: Finish
    logprobs: tuple[float, ...]
    raw_logprobs: tuple[float, ...]
    timings: Timings


@dataclass(frozen=True, kw_only=True)
class Event:
    """One token of one answer; the last carries the result.

    Attributes:
        piece: text that became certain with it, possibly none.
    """

    request: int
    sample: int
    token: int
    piece: str
    result: Result | None = None
