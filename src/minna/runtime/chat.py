"""A dialogue with a model: questions to ids, answers as they come, and what the next one builds on.

Earlier turns are not read again: the engine keeps the row of the last answer, and the next prompt
begins with the same ids. What no longer fits the context is left out from the front, a question
with its answer, never cut in the middle: half a turn is a prompt no training has shown. An answer
that was stopped half-way stays as far as it came, and one of nothing is no turn.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import Literal, Protocol

from minna.errors import UsageError
from minna.prompts import Format, Turn
from minna.runtime.engine import Engine
from minna.runtime.load import LoadedModel
from minna.runtime.request import Finish, Request
from minna.runtime.sampling import Sampling
from minna.runtime.text import overlap
from minna.tokenizer.chat import ChatCoder, TemplateCoder
from minna.tokenizer.coder import training_tokenizer

ANSWER_TOKENS = 512
_LEAST_SHARE = 4  # a quarter of the context is kept for an answer whose length nobody gave


class Asks(Protocol):
    """How a dialogue is asked: by a prompt format, or by a model's own template."""

    @property
    def newline(self) -> str:
        """What a line break within a turn becomes."""
        ...

    @property
    def turns(self) -> Literal["many", "one"]:
        """Whether a dialogue may go on after its first answer."""
        ...

    def prompt(self, turns: Sequence[Turn]) -> list[int]:
        """Ids of the text up to where the next answer begins."""
        ...


def open_asks(model: Path, fmt: Format | None) -> Asks:
    """How the model at `model` is asked: in a format, or else by the template it brings.

    Raises:
        UsageError: no format is given, and the model has no template.
        ArtifactError: it has no tokenizer.
        DataError: its template or tokenizer cannot be used.
    """
    return TemplateCoder(model) if fmt is None else ChatCoder(training_tokenizer(model), fmt)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Reply:
    """What came of a question.

    Attributes:
        text: the answer.
        finish: "stopped" where nobody waited for its end, else as in `Result`.
        tokens: of the answer.
        prompt_tokens: of the prompt.
        read_tokens: of the prompt, those that had to be read.
        left_out: pairs of turns that stand in front of the prompt's first and are not in it.
        seconds: from the question to the end of the answer.
    """

    text: str
    finish: Finish | Literal["stopped"]
    tokens: int
    prompt_tokens: int
    read_tokens: int
    left_out: int
    seconds: float


class Chat:
    """A dialogue that goes on.

    Args:
        model: from `load_model`.
        asks: how it is asked.
        sampling: how tokens are chosen; every question has the next seed.
        max_new_tokens: of an answer; None means 512, or a quarter of a context under 2,048.
        system: the system turn, None for none.

    Attributes:
        turns: questions and answers, the system turn left out.
        last: what came of the last question.

    Raises:
        UsageError: answers of that length leave no room for a question, or the template knows no
            system turn.
        DataError: the format knows none.
    """

    def __init__(
        self,
        model: LoadedModel,
        asks: Asks,
        *,
        sampling: Sampling | None = None,
        max_new_tokens: int | None = None,
        system: str | None = None,
    ) -> None:
        context = model.decoder.config.context
        if max_new_tokens is not None and not 1 <= max_new_tokens < context:
            raise UsageError(
                f"max_new_tokens must be 1 or more and leave room for a question in the context "
                f"of {context}, and is {max_new_tokens}",
                remedy=f"use for example {max(1, context // _LEAST_SHARE)}",
            )
        self.turns: list[Turn] = []
        self.last: Reply | None = None
        self._asks = asks
        self._context = context
        self._max_new_tokens = max_new_tokens
        self._sampling = sampling or Sampling()
        self._engine = Engine(model, slots=1)
        ends = {*model.eos_ids, model.tokenizer.eos_id}
        self._stop_ids = tuple(sorted(number for number in ends if number >= 0))
        self._asked = 0
        self._left_out = 0
        self._system: str | None = None
        self.system = system

    @property
    def system(self) -> str | None:
        """The system turn, None for none; a new one counts from the next question on."""
        return self._system

    @system.setter
    def system(self, text: str | None) -> None:
        if text is not None:
            self._asks.prompt([Turn("system", text), Turn("user", "x")])
        self._system = text
        self._left_out = 0

    @property
    def why_left_out(self) -> str:
        """Why turns are left out of prompts, in words."""
        if self._asks.turns == "one":
            return (
                "this model's format holds one question and one answer: each question is asked "
                "without those before it"
            )
        return (
            f"the dialogue no longer fits the context of {self._context} tokens; from here on its "
            "oldest questions and answers are left out"
        )

    def ask(self, question: str) -> Generator[str]:
        """Ask; the pieces of the answer, one a token and some of them empty, joined are its text.

        Closing the iterator stops the answer. Once it has begun, question and answer are turns
        (unless the answer is nothing), and `last` says what came of it.

        Raises:
            UsageError: the question is empty, or does not fit the context; nothing has changed.
            DataError: it is not valid Unicode.
        """
        if not question.strip():
            raise UsageError("a question must not be empty", remedy="ask something")
        prompt, left_out = self._prompt(Turn("user", question))
        self._left_out = left_out
        room = self._context - len(prompt)
        request = Request(
            prompt=tuple(prompt),
            max_new_tokens=self._max_new_tokens or min(ANSWER_TOKENS, room),
            sampling=dataclasses.replace(self._sampling, seed=self._sampling.seed + self._asked),
            stop_ids=self._stop_ids,
        )
        self._asked += 1
        return self._answer(question, request)

    def undo(self) -> str | None:
        """Take the last question and its answer back; the question, or None where there is none."""
        if not self.turns:
            return None
        question = self.turns[-2].text
        del self.turns[-2:]
        self._left_out = 0
        return question

    def reset(self) -> None:
        """Forget all questions and answers; the system turn stays."""
        self.turns.clear()
        self._left_out = 0

    def _prompt(self, question: Turn) -> tuple[list[int], int]:
        """Ids of what is asked, and how many pairs are left out of it."""
        pairs = len(self.turns) // 2
        front = [] if self._system is None else [Turn("system", self._system)]
        answer = self._max_new_tokens or min(ANSWER_TOKENS, self._context // _LEAST_SHARE)
        first = pairs if self._asks.turns == "one" else self._left_out
        while True:
            ids = self._asks.prompt([*front, *self.turns[2 * first :], question])
            if len(ids) + answer <= self._context:
                return ids, first
            if first == pairs:
                raise UsageError(
                    f"a question of {len(ids)} tokens (with what stands around it) and an answer "
                    f"of {answer} do not fit the model's context of {self._context}",
                    remedy="ask a shorter question, or for a shorter answer (--max-new-tokens)",
                )
            first += 1

    def _answer(self, question: str, request: Request) -> Generator[str]:
        start, read = time.monotonic(), self._engine.prompt_tokens_read
        lines = _Lines(self._asks.newline)
        text, tokens = "", 0
        finish: Finish | Literal["stopped"] = "stopped"
        events = self._engine.stream(request)
        try:
            for event in events:
                tokens += 1
                piece = lines.feed(event.piece)
                if event.result is not None:
                    finish = event.result.finish
                    piece += lines.close()
                text += piece
                yield piece
        finally:
            events.close()
            if text.strip():
                self.turns += [Turn("user", question), Turn("assistant", text)]
            self.last = Reply(
                text=text,
                finish=finish,
                tokens=tokens,
                prompt_tokens=len(request.prompt),
                read_tokens=self._engine.prompt_tokens_read - read,
                left_out=self._left_out,
                seconds=time.monotonic() - start,
            )


class _Lines:
    """Text in which a mark such as "<NL>" stands for a line break, with line breaks."""

    def __init__(self, newline: str) -> None:
        self._newline = newline
        self._held = ""

    def feed(self, piece: str) -> str:
        text = (self._held + piece).replace(self._newline, "\n")
        keep = overlap(text, self._newline)
        self._held = text[len(text) - keep :]
        return text[: len(text) - keep]

    def close(self) -> str:
        rest, self._held = self._held, ""
        return rest
