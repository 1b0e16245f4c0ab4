"""What an evaluation asks of whoever runs the model: two calls, answered in any order.

Both calls take everything at once, because order is where the time goes: our engine sorts, shares
common beginnings and refills rows; a server wants many requests in flight. Each answer carries its
index and comes as soon as it is certain, so that a run that is killed keeps what it has.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from minna.evaluate.records import Candidate
from minna.runtime.likelihood import Likelihood, Reading
from minna.runtime.text import StopsAfter
from minna.tokenizer.coder import Coder

__all__ = ["Backend", "Finish", "Generated", "Generation", "Likelihood", "Reading"]


@dataclass(frozen=True, kw_only=True)
class Generation:
    """A prompt to go on from, greedily.

    Attributes:
        prompt: token ids, at least one, already cut to fit.
        max_new_tokens: at most so many, at least 1.
        stop_ids: ids that end the answer.
        stop_texts: texts that end it.
        text: the prompt as text, for a backend without token ids; "" where only ids are known.
        messages: the prompt as (role, text) pairs, for a server that has its own chat template.
        stops_after: where a stop text counts: "any" where, or only from the first character of
            "text" on, white space left out.
    """

    prompt: tuple[int, ...]
    max_new_tokens: int
    stop_ids: tuple[int, ...] = ()
    stop_texts: tuple[str, ...] = ()
    text: str = ""
    messages: tuple[tuple[str, str], ...] = ()
    stops_after: StopsAfter = "any"


Finish = Literal["stop", "stop-text", "length"]


@dataclass(frozen=True, kw_only=True)
class Generated:
    """An answer.

    Attributes:
        ids: every token, the stop id included when there was one; () from a backend that only
            gives text.
        finish: "stop" (a stop id), "stop-text" (a stop text, which may end inside the last token),
            or "length".
        text: the answer before its stop id or stop text, special tokens left out.
        finite: whether the model's logits were numbers wherever a token was chosen.
        prompt_tokens: tokens of the prompt, where only the backend can count them; else 0.
    """

    ids: tuple[int, ...]
    finish: Finish
    text: str
    finite: bool = True
    prompt_tokens: int = 0


class Backend(Protocol):
    """A model that answers; `coder` is None where texts are asked, not ids."""

    @property
    def name(self) -> str:
        """Such as "minna", "transformers" or "endpoint"."""
        ...

    @property
    def coder(self) -> Coder | None:
        """The model's tokenizer."""
        ...

    @property
    def max_length(self) -> int:
        """Tokens its context holds."""
        ...

    @property
    def eos_ids(self) -> tuple[int, ...]:
        """Ids that end a text."""
        ...

    @property
    def id_limit(self) -> int | None:
        """One more than the highest id the model has a row for; None where that is not known."""
        ...

    @property
    def reading(self) -> Reading:
        """What was read so far, and what sharing spared."""
        ...

    def conditions(self) -> dict[str, Any]:
        """What a report says about how the numbers came about: device, dtype, versions."""
        ...

    def likelihoods(
        self, groups: Sequence[Sequence[Candidate]]
    ) -> Iterator[tuple[int, list[Likelihood]]]:
        """Score candidates; each group (one document's choices) comes back whole, with its index.

        Raises:
            MinnaError: this backend cannot score, or it failed.
        """
        ...

    def generate(self, jobs: Sequence[Generation]) -> Iterator[tuple[int, Generated]]:
        """Answer each job, with its index.

        Raises:
            MinnaError: the backend failed.
        """
        ...
