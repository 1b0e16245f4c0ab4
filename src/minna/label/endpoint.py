"""Translations by a chat model behind an OpenAI-compatible server: vLLM, llama.cpp, or far away."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from minna.errors import DataError
from minna.label.settings import Direction
from minna.label.translator import Refusal, parent_of_server
from minna.label.wording import Wording
from minna.runtime.http import Http, HttpSettings, ServerError

USUAL_WORDING: Final = "instruct"
_OF_THE_TEXT: Final = frozenset({400, 413, 422})
"""Refusals that may be due to the text: too long for the model, or against the house's rules."""
_SHOWN: Final = 200
_THOUGHT = re.compile(r"\A\s*<think>.*?</think>", re.DOTALL)  # what reasoning models say first


class EndpointTranslator:
    """A chat model behind a server, asked for one text a request.

    Args:
        url: base URL, such as http://127.0.0.1:8000/v1.
        model: its name there.
        wording: how it is asked.
        direction: the languages.
        max_new_tokens: longest answer; None leaves that to the server.
        settings: key, patience, requests in flight.
        pause: waits so many seconds; for tests.

    Raises:
        UsageError: a bad URL, or the variable of the key is not set.
    """

    at_once = 1
    licence = ""

    def __init__(
        self,
        url: str,
        *,
        model: str,
        wording: Wording,
        direction: Direction,
        max_new_tokens: int | None = None,
        settings: HttpSettings | None = None,
        pause: Callable[[float], object] | None = None,
    ) -> None:
        self._http = Http(url, settings=settings or HttpSettings(), pause=pause)
        self._model = model
        self._wording = wording
        self._direction = direction
        self._max_new_tokens = max_new_tokens
        self.name = f"{model} behind {self._http.url}"
        self.parent = parent_of_server(self._http.url, model)
        self.workers = self._http.settings.concurrency

    @property
    def identity(self) -> Mapping[str, Any]:
        """Address, name, messages, languages, longest answer."""
        return {
            "kind": "endpoint",
            "url": self._http.url,
            "model": self._model,
            "system": self._wording.system,
            "user": self._wording.user,
            "source": self._direction.source,
            "target": self._direction.target,
            "max_new_tokens": self._max_new_tokens,
        }

    def translate(self, texts: Sequence[str]) -> list[str | Refusal]:
        """Ask for each text; see `Translator`.

        Raises:
            ServerError: the server failed, or refused everybody.
            DataError: it does not speak the protocol.
        """
        return [self._translate(text) for text in texts]

    def give_up(self) -> None:
        """Try no request again."""
        self._http.given_up.set()

    def _translate(self, text: str) -> str | Refusal:
        turns = self._wording.turns(text, direction=self._direction)
        body: dict[str, Any] = {
            "model": self._model,
            "messages": [{"role": turn.role, "content": turn.text} for turn in turns],
            "temperature": 0,
        }
        if self._max_new_tokens is not None:
            body["max_tokens"] = self._max_new_tokens
        try:
            answer = self._http.post("/chat/completions", body)
        except ServerError as error:
            if error.status in _OF_THE_TEXT:
                return Refusal(error.rule)
            raise
        return self._said(answer)

    def _said(self, answer: dict[str, Any]) -> str | Refusal:
        choices: Any = answer.get("choices")
        choice: Any = choices[0] if isinstance(choices, list) and choices else None
        message: Any = choice.get("message") if isinstance(choice, dict) else None
        if not isinstance(message, dict):
            raise DataError(
                f"{self._http.url} answered without a message: {str(answer)[:_SHOWN]}",
                remedy="check that the URL is the base of an OpenAI-compatible API (.../v1)",
            )
        finish: Any = choice.get("finish_reason")
        if finish == "length":
            return Refusal("the answer did not end and was cut")
        text: Any = message.get("content")
        if not isinstance(text, str):
            said: Any = message.get("refusal") or finish
            return Refusal(f"the server gave no text: {str(said)[:_SHOWN]}")
        return _THOUGHT.sub("", text).strip()
